//! What is promised, and what shows it: the tables of `proof/`, as they were when this program was built.
//!
//! A program cannot know whether its tests passed; that is what `make test` finds out, which fails where one that is named here
//! did not. So nothing here says more than that there are tests, and which.

use std::collections::BTreeMap;

use serde::Deserialize;
use thiserror::Error;

/// The tables. Their rows are described at the head of the first.
const TABLE: &str = include_str!("../../../proof/hardening.toml");

/// The kinds of promises in the order in which they are told, with what each is.
pub const KINDS: [(&str, &str); 5] = [
    ("line", "the acceptance list of the hardening report"),
    ("SEC", "its ten controls"),
    ("breaking", "the changes that break configs of the original"),
    ("layer", "the seven layers"),
    ("suite", "the suites that the report names"),
];

/// The table cannot be read, which is a fault of the build.
#[derive(Debug, Error)]
#[error("what is promised cannot be read from this program: {0}")]
pub struct ProofError(#[from] toml::de::Error);

/// One promise.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Promise {
    /// Its kind and name, such as `line.14`.
    pub id: String,
    /// What is promised.
    pub promise: String,
    /// What shows it: names of tests, steps of the tests' run, or the ids of promises that stand for it.
    pub shown_by: Vec<String>,
    /// Why it is not proven, or not all of it.
    pub open: Option<String>,
    /// In what another thing is done than was promised.
    pub differs: Option<String>,
}

impl Promise {
    /// Whether all of it has something that shows it.
    pub const fn is_shown(&self) -> bool {
        self.open.is_none()
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    promise: String,
    #[serde(default)]
    tests: Vec<String>,
    #[serde(default)]
    steps: Vec<String>,
    #[serde(default)]
    lines: Vec<u32>,
    matches: Option<String>,
    open: Option<String>,
    differs: Option<String>,
}

/// All promises, each kind in its order.
///
/// # Errors
/// When the program was built with a table that is none.
pub fn promises() -> Result<Vec<Promise>, ProofError> {
    let mut table: BTreeMap<String, BTreeMap<String, Row>> = toml::from_str(TABLE)?;
    let mut all = Vec::new();
    for (kind, _) in KINDS {
        let mut rows: Vec<(String, Row)> = table.remove(kind).unwrap_or_default().into_iter().collect();
        rows.sort_by_key(|(name, _)| (name.parse::<u32>().unwrap_or(u32::MAX), name.clone()));
        all.extend(rows.into_iter().map(|(name, row)| promise(format!("{kind}.{name}"), row)));
    }
    // What stands for another one and is open leaves that one open.
    let open: Vec<String> = all.iter().filter(|one| !one.is_shown()).map(|one| one.id.clone()).collect();
    for one in &mut all {
        if let Some(stands) = one.shown_by.iter().find(|id| open.contains(id)) {
            one.open.get_or_insert(format!("{stands} is"));
        }
    }
    Ok(all)
}

fn promise(id: String, row: Row) -> Promise {
    let Row { promise, tests, steps, lines, matches, open, differs } = row;
    let lines = lines.into_iter().map(|line| format!("line.{line}"));
    let matches = matches.into_iter().map(|pattern| format!("tests named as /{pattern}/"));
    let shown_by = tests.into_iter().chain(steps).chain(lines).chain(matches).collect();
    Promise { id, promise, shown_by, open, differs }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_promise_is_there_in_order_with_what_shows_it_or_why_nothing_does() {
        let all = promises().unwrap();
        let ids: Vec<&str> = all.iter().map(|one| one.id.as_str()).collect();
        assert_eq!(ids.len(), 53 + 10 + 7 + 7 + 6);
        assert_eq!((ids[0], ids[9], ids[52], ids[53]), ("line.1", "line.10", "line.53", "SEC.01"));
        for one in &all {
            assert!(!one.promise.is_empty(), "{}", one.id);
            assert!(!one.shown_by.is_empty() || one.open.is_some(), "{}", one.id);
        }
        // No claim that nobody may make.
        for word in ["military", "pentagon", "unhackable", "certified", "fully secure"] {
            assert!(!TABLE.to_lowercase().contains(word), "{word}");
        }
    }

    #[test]
    fn a_control_is_open_where_a_line_that_stands_for_it_is() {
        let of = |id: &str| promises().unwrap().into_iter().find(|one| one.id == id).unwrap();
        assert_eq!(of("SEC.03").shown_by, ["line.8", "line.9", "line.10"]);
        assert!(of("SEC.03").is_shown());
        assert_eq!(of("line.39").open.as_deref(), Some("There is no `security migrate` yet."));
    }
}
