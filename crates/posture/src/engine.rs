//! Facts of a container engine: whether a command that runs in its containers has known ways out of them.

use crate::check::Check;

const ID: &str = "sandbox.engine";

/// Whether the runtime is older than the fixes of known escapes. Distributions mend older versions without raising their
/// number: what they name after it is told, and the judgement stays a warning.
pub fn engine(version: &str, runc: Option<&str>) -> Vec<Check> {
    let Some(runc) = runc else {
        return vec![Check::ok(
            ID,
            format!("the container engine {version} answers; it does not tell its runtime"),
        )];
    };
    let open: Vec<&str> =
        ESCAPES.iter().filter(|(_, fixed)| is_older(runc, fixed)).map(|(name, _)| *name).collect();
    if open.is_empty() {
        return vec![Check::ok(ID, format!("the container engine {version} answers, with runc {runc}"))];
    }
    let what = format!("runc {runc} is older than the fixes of {}: a container may be left", open.join(", "));
    let fix =
        "update runc and the engine; if your distribution has mended this version, its changelog says so";
    vec![Check::warn(ID, what, fix)]
}

/// Known ways out, each with the first versions, by their line, that do not have it.
const ESCAPES: [(&str, &[[u32; 3]]); 4] = [
    ("CVE-2024-21626", &[[1, 1, 12]]),
    ("CVE-2025-31133", &[[1, 2, 8], [1, 3, 3]]),
    ("CVE-2025-52565", &[[1, 2, 8], [1, 3, 3]]),
    ("CVE-2025-52881", &[[1, 2, 8], [1, 3, 3]]),
];

/// Whether a version is before the fix of its line. One that cannot be read is taken for old.
fn is_older(version: &str, fixed: &[[u32; 3]]) -> bool {
    let Some([major, minor, patch]) = numbers(version) else { return true };
    // A candidate of the fixed version came before it.
    let candidate = version.contains("-rc");
    match fixed.iter().find(|[of_major, of_minor, _]| (*of_major, *of_minor) == (major, minor)) {
        Some([_, _, first]) => patch < *first || (candidate && patch == *first),
        None => fixed.iter().all(|fix| [major, minor, patch] < *fix),
    }
}

/// The three numbers that a version begins with.
fn numbers(version: &str) -> Option<[u32; 3]> {
    let mut parts = version.trim_start_matches('v').splitn(3, '.');
    let (major, minor, rest) = (parts.next()?, parts.next()?, parts.next()?);
    let patch: String = rest.chars().take_while(char::is_ascii_digit).collect();
    Some([major.parse().ok()?, minor.parse().ok()?, patch.parse().ok()?])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{Level, worst};

    #[test]
    fn a_runtime_with_known_ways_out_is_told_by_their_names() {
        for (runc, names) in [
            ("1.1.5+ds1", vec!["CVE-2024-21626", "CVE-2025-31133"]),
            ("1.1.11", vec!["CVE-2024-21626", "CVE-2025-52565"]),
            ("1.1.12", vec!["CVE-2025-52881"]),
            ("1.1.15", vec!["CVE-2025-52881"]),
            ("1.2.7", vec!["CVE-2025-31133"]),
            ("1.3.2", vec!["CVE-2025-31133"]),
            ("1.3.3-rc.1", vec!["CVE-2025-31133"]),
            ("1.2.8", vec![]),
            ("v1.3.3", vec![]),
            ("1.4.0", vec![]),
            ("2.0.0", vec![]),
            ("unknown", vec!["CVE-2024-21626"]),
        ] {
            let checks = engine("28.0.0", Some(runc));
            assert_eq!(worst(&checks), if names.is_empty() { Level::Ok } else { Level::Warn }, "{runc}");
            assert!(names.iter().all(|name| checks[0].what.contains(name)), "{runc}: {}", checks[0].what);
        }
        assert!(!engine("28.0.0", Some("1.1.12"))[0].what.contains("CVE-2024-21626"));
        assert_eq!(worst(&engine("28.0.0", None)), Level::Ok);
    }
}
