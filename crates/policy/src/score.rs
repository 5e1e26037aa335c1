//! That the owner's command line keeps a score of the installation.

use std::collections::BTreeMap;

use crate::record::{Decision, Entry, Permit};

/// The action in the book.
const KEEP: &str = "security.score";

/// Proof that a score may be kept.
#[derive(Debug)]
#[must_use = "a permit that is dropped keeps nothing"]
pub struct ScorePermit {
    score: u8,
    actor: String,
}

impl ScorePermit {
    /// For the owner.
    pub fn for_owner(score: u8, actor: impl Into<String>) -> Self {
        Self { score, actor: actor.into() }
    }
}

impl Permit for ScorePermit {
    fn entry(&self) -> Entry {
        let entry = Entry::new(self.actor.clone(), KEEP, "scores.json", Decision::Allowed);
        entry.with("score", self.score.to_string())
    }
}

/// The entry of such a permit on the owner's command line, which asks a gateway to write it.
pub(crate) fn relayed(action: &str, details: &BTreeMap<String, String>, actor: &str) -> Option<Entry> {
    let score = details.get("score").and_then(|score| score.parse().ok()).filter(|score| *score <= 100)?;
    (action == KEEP).then(|| ScorePermit::for_owner(score, actor).entry().with("relayed", "yes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kept_score_is_relayed_with_its_number_alone() {
        let entry = ScorePermit::for_owner(97, "cli").entry();
        let details = |score: &str| BTreeMap::from([("score".to_owned(), score.to_owned())]);
        assert_eq!(relayed(KEEP, &details("97"), "cli"), Some(entry.with("relayed", "yes")));
        for (action, score) in [("drill.start", "97"), (KEEP, "101"), (KEEP, "x")] {
            assert_eq!(relayed(action, &details(score), "cli"), None, "{action} {score}");
        }
    }
}
