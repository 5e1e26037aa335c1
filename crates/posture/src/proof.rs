//! What is promised, and what shows it: the tables of `proof/`, as they were when this program was built.
//!
//! A program cannot know whether its tests passed; that is what `make test` finds out, which fails where one that is named here
//! did not. So nothing here says more than that there are tests, and which.

use std::collections::BTreeMap;

use serde::Deserialize;
use thiserror::Error;

/// The tables. Their rows are described at their heads.
const TABLES: [&str; 4] = [
    include_str!("../../../proof/hardening.toml"),
    include_str!("../../../proof/asvs.toml"),
    include_str!("../../../proof/agentic.toml"),
    include_str!("../../../proof/advisories.toml"),
];

/// The kinds of promises in the order in which they are told, with what each is.
pub const KINDS: [(&str, &str); 8] = [
    ("line", "the acceptance list of the hardening report"),
    ("SEC", "its ten controls"),
    ("breaking", "the changes that break configs of the original"),
    ("layer", "the seven layers"),
    ("suite", "the suites that the report names"),
    ("asvs", "OWASP ASVS 5.0, levels 2 and 3"),
    ("ASI", "OWASP Top 10 for Agentic Applications 2026"),
    ("advisory", "what was exploited in systems like this one"),
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
    /// Why it does not apply to moltbot.
    pub not_applicable: Option<String>,
    /// The level of a requirement of ASVS.
    pub level: Option<u8>,
}

/// How it is with a promise.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Status {
    /// It does not apply.
    NotApplicable,
    /// It has no tests, or not for all of it.
    Open,
    /// It has tests.
    Tested,
}

impl Status {
    /// Its name, for programs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NotApplicable => "not-applicable",
            Self::Open => "open",
            Self::Tested => "tested",
        }
    }
}

impl Promise {
    /// How it is with it.
    pub const fn status(&self) -> Status {
        match (&self.not_applicable, &self.open) {
            (Some(_), _) => Status::NotApplicable,
            (None, Some(_)) => Status::Open,
            (None, None) => Status::Tested,
        }
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
    na: Option<String>,
    level: Option<u8>,
}

/// All promises, each kind in its order.
///
/// # Errors
/// When the program was built with a table that is none.
pub fn promises() -> Result<Vec<Promise>, ProofError> {
    let mut table: BTreeMap<String, BTreeMap<String, Row>> = BTreeMap::new();
    for text in TABLES {
        table.extend(toml::from_str::<BTreeMap<_, _>>(text)?);
    }
    let mut all = Vec::new();
    for (kind, _) in KINDS {
        let mut rows: Vec<(String, Row)> = table.remove(kind).unwrap_or_default().into_iter().collect();
        rows.sort_by_key(|(name, _)| {
            let numbers: Vec<u32> = name.split('.').filter_map(|number| number.parse().ok()).collect();
            (numbers, name.clone())
        });
        all.extend(rows.into_iter().map(|(name, row)| promise(format!("{kind}.{name}"), row)));
    }
    // What stands for another one and is open leaves that one open.
    let open: Vec<String> =
        all.iter().filter(|one| one.status() == Status::Open).map(|one| one.id.clone()).collect();
    for one in &mut all {
        if let Some(stands) = one.shown_by.iter().find(|id| open.contains(id)) {
            one.open.get_or_insert(format!("{stands} is"));
        }
    }
    Ok(all)
}

fn promise(id: String, row: Row) -> Promise {
    let Row { promise, tests, steps, lines, matches, open, differs, na, level } = row;
    let lines = lines.into_iter().map(|line| format!("line.{line}"));
    let matches = matches.into_iter().map(|pattern| format!("tests named as /{pattern}/"));
    let shown_by = tests.into_iter().chain(steps).chain(lines).chain(matches).collect();
    Promise { id, promise, shown_by, open, differs, not_applicable: na, level }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_promise_is_there_in_order_with_what_shows_it_or_why_nothing_does() {
        let all = promises().unwrap();
        let ids: Vec<&str> = all.iter().map(|one| one.id.as_str()).collect();
        assert_eq!(ids.len(), 53 + 10 + 7 + 7 + 6 + 275 + 10 + 148);
        assert_eq!((ids[0], ids[9], ids[52], ids[53]), ("line.1", "line.10", "line.53", "SEC.01"));
        for one in &all {
            assert!(!one.promise.is_empty(), "{}", one.id);
            assert!(!one.shown_by.is_empty() || one.status() != Status::Tested, "{}", one.id);
        }
        // No claim that nobody may make.
        for word in ["military", "pentagon", "unhackable", "certified", "fully secure"] {
            assert!(TABLES.iter().all(|table| !table.to_lowercase().contains(word)), "{word}");
        }
    }

    #[test]
    fn a_control_is_open_where_a_line_that_stands_for_it_is() {
        let of = |id: &str| promises().unwrap().into_iter().find(|one| one.id == id).unwrap();
        assert_eq!(of("SEC.03").shown_by, ["line.8", "line.9", "line.10"]);
        assert_eq!(of("SEC.03").status(), Status::Tested);
        assert_eq!(of("ASI.07").open.as_deref(), Some("Agents do not talk to each other yet."));
    }
}
