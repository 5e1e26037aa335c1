//! `moltbot security audit`: every check of [`checks.toml`](catalog), the findings, and the score that follows from them.
//!
//! A check looks at [`Facts`] and says what it found; it never looks at anything itself, so that an audit of the same
//! facts is the same audit. What could not be looked at is not passed.

mod age;
pub mod baseline;
pub mod catalog;
mod channels;
mod config;
mod credentials;
mod drills;
mod facts;
mod formats;
mod gateway;
mod raw;
mod report;
mod sandbox;
mod score;
mod state;
mod suppressions;
mod tools;

pub use age::{AgeFacts, missing_in_unit};
pub use catalog::{Info, Severity};
pub use drills::{DrillFact, Verdict};
pub use facts::{
    ConfigFact, CredentialFact, EngineFact, Facts, HostFacts, KeysFact, LedgerFact, PlainSecrets, SandboxFact,
};
pub use formats::{html, junit, sarif};
pub use report::{Counts, Finding, NotRun, Report};
pub use score::{Cap, Rating, Score};
pub use suppressions::{Ineffective, Suppressed};

/// What a check says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// Nothing is wrong, or there is nothing that could be.
    Passed,
    /// Each thing that is wrong.
    Found(Vec<Evidence>),
    /// It could not be looked at, and why.
    NotRun(String),
}

/// One thing that is wrong: where, and what was seen. Never a secret.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Evidence {
    /// A setting, or a path.
    pub place: String,
    /// What was seen there.
    pub seen: String,
    /// The channel that stands in the id's `<provider>`.
    pub provider: Option<String>,
}

impl Evidence {
    pub(crate) fn new(place: impl Into<String>, seen: impl Into<String>) -> Self {
        Self { place: place.into(), seen: seen.into(), provider: None }
    }

    pub(crate) fn of(provider: &str, place: impl Into<String>, seen: impl Into<String>) -> Self {
        Self { provider: Some(provider.to_owned()), ..Self::new(place, seen) }
    }
}

impl Outcome {
    /// Passed without evidence, found with it.
    pub(crate) fn from(evidence: Vec<Evidence>) -> Self {
        if evidence.is_empty() { Self::Passed } else { Self::Found(evidence) }
    }

    /// Found, when it is so.
    pub(crate) fn when(is_so: bool, place: &str, seen: impl Into<String>) -> Self {
        if is_so { Self::Found(vec![Evidence::new(place, seen)]) } else { Self::Passed }
    }
}

/// One check: what it looks at is in the facts.
pub(crate) type Check = fn(&Facts<'_>) -> Outcome;

/// Every check, by its id in the catalog.
pub(crate) fn checks() -> impl Iterator<Item = (&'static str, Check)> {
    [
        age::CHECKS,
        channels::CHECKS,
        config::CHECKS,
        credentials::CHECKS,
        drills::CHECKS,
        gateway::CHECKS,
        sandbox::CHECKS,
        state::CHECKS,
        tools::CHECKS,
    ]
    .into_iter()
    .flatten()
    .copied()
}

/// Looks at everything. Attacks count when they were asked for.
pub fn audit(facts: &Facts<'_>) -> Report {
    let is_asked_for = |id: &str| facts.drills.is_some() || !id.starts_with(drills::PREFIX);
    let outcomes = checks()
        .filter(|(id, _)| is_asked_for(id))
        .filter_map(|(id, check)| Some((catalog::info(id)?, check(facts))));
    report::Report::of(outcomes.collect(), facts)
}

#[cfg(test)]
mod tests;
