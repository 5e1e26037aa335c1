//! What the benches of single crates measured before this program ran.

use std::path::Path;

use moltbot_testkit::figure::Figure;

use crate::Outcome;

/// Reads the figures that a crate's bench printed, one a line.
#[expect(clippy::disallowed_methods, reason = "what the bench before this one printed")]
pub(crate) fn figures(path: &Path) -> Outcome<Vec<Figure>> {
    let text = std::fs::read_to_string(path)?;
    let figures: Vec<Figure> = text.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    if figures.is_empty() { Err(format!("{} has no figures", path.display()).into()) } else { Ok(figures) }
}
