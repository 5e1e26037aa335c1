//! What a command costs behind the walls, as the sandbox's own bench measured it beside a plain fork and exec.

use std::path::Path;

use crate::Outcome;
use crate::figures::{Figure, Limit, Reference};

/// Reads the lines `name: p50 1.23 ms, p99 4.56 ms` of `cargo bench -p moltbot-sandbox --bench spawn`.
#[expect(clippy::disallowed_methods, reason = "what the bench before this one printed")]
pub(crate) fn spawns(path: &Path) -> Outcome<Vec<Figure>> {
    let text = std::fs::read_to_string(path)?;
    let median = |name: &str| -> Outcome<f64> {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": p50 "));
        let line = line.ok_or_else(|| format!("{} has no line of {name}", path.display()))?;
        Ok(line.split(' ').next().unwrap_or_default().parse()?)
    };
    let plain = median("plain fork and exec")?;
    let walls = median("sandbox, with both lines of the book")?;
    Ok(vec![
        Figure::new("plain fork and exec of `true`", "ms", plain, Limit::None),
        Figure::new("sandbox spawn of `true`, recorded", "ms", walls, Limit::None)
            .beside(Reference::Time("a plain fork and exec", plain)),
    ])
}
