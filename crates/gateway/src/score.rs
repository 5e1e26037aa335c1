//! How safe the installation was found to be, and when: kept in the state folder, the newest last, for whoever asks later.

use moltbot_vault::{FileError, StateDir};
use serde::{Deserialize, Serialize};

/// The file that keeps it.
const FILE: &str = "scores.json";
/// The largest such file, in bytes.
const BYTES: u64 = 128 * 1024;
/// Scores that are kept: a year of one a day.
const KEPT: usize = 366;

/// A score, with what it is made of.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ScoreFact {
    /// When, in milliseconds since the epoch.
    pub at_ms: u64,
    /// 0 to 100.
    pub score: u8,
    /// The word for it.
    pub rating: String,
    /// How much could be looked at, in percent.
    pub coverage: u8,
    /// Whether it was attacked as well.
    pub deep: bool,
    /// Findings by severity, the worst first.
    pub findings: [usize; 4],
}

impl ScoreFact {
    /// What is kept, the oldest first. A file that cannot be read has nothing to tell.
    pub fn read(state: &StateDir) -> Vec<Self> {
        let text = state.read(FILE, BYTES).unwrap_or_default().unwrap_or_default();
        serde_json::from_slice(&text).unwrap_or_default()
    }

    /// Keeps it with those before it, of which the oldest are forgotten.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn keep(self, state: &StateDir) -> Result<(), FileError> {
        let mut all = Self::read(state);
        all.push(self);
        let more = all.len().saturating_sub(KEPT);
        all.drain(..more);
        state.write(FILE, &serde_json::to_vec(&all).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_are_kept_for_a_year_and_a_broken_file_has_none() {
        let home = moltbot_testkit::home::Home::empty().unwrap();
        let state = home.state();
        assert!(ScoreFact::read(&state).is_empty());
        for at_ms in 0..400 {
            let rating = "EXCELLENT".to_owned();
            ScoreFact { at_ms, score: 97, rating, coverage: 100, deep: false, findings: [0, 0, 1, 2] }
                .keep(&state)
                .unwrap();
        }
        let kept = ScoreFact::read(&state);
        assert_eq!((kept.len(), kept.first().unwrap().at_ms, kept.last().unwrap().at_ms), (KEPT, 34, 399));
        state.write(FILE, b"[{").unwrap();
        assert!(ScoreFact::read(&state).is_empty());
    }
}
