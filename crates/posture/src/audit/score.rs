//! The score, 0 to 100: a sum of weighted checks, and then caps, so that no number of small things done well buys back
//! one grave fault. The weights are OpenSSF Scorecard's, the caps work like SSL Labs'.
//!
//! The sum is over every check of the catalog, whether its subject is configured or not: a thing that is off cannot be
//! wrong, so switching it on never raises the score.

use serde::Serialize;

use super::catalog::{Info, Severity};

/// With a critical finding.
const CRITICAL_CAP: u8 = 39;
/// With one finding of high severity, and with three.
const HIGH_CAP: u8 = 69;
const HIGHS_CAP: u8 = 59;
/// When less than 90 % could be looked at.
const COVERAGE_CAP: u8 = 79;
/// With any finding that counts.
const OPEN_CAP: u8 = 99;

/// What became of a check in the sum.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Mark {
    Passed,
    Found,
    NotRun,
}

/// The score, and why it is no higher.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Score {
    /// 0 to 100.
    pub score: u8,
    /// The word for it.
    pub rating: Rating,
    /// How much could be looked at, in percent of the weights.
    pub coverage: u8,
    /// What the sum alone says.
    pub sum: u8,
    /// The caps that hold, lowest first.
    pub caps: Vec<Cap>,
}

/// A cap that holds.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Cap {
    /// The highest score that is possible with it.
    pub at_most: u8,
    /// Why.
    pub because: &'static str,
}

/// The words for a score.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Rating {
    /// 90 and more.
    Excellent,
    /// 80 to 89.
    Good,
    /// 70 to 79.
    Acceptable,
    /// 50 to 69.
    #[serde(rename = "NEEDS IMPROVEMENT")]
    NeedsImprovement,
    /// Below.
    Critical,
}

impl Rating {
    /// The word for `score`.
    pub const fn of(score: u8) -> Self {
        match score {
            90.. => Self::Excellent,
            80.. => Self::Good,
            70.. => Self::Acceptable,
            50.. => Self::NeedsImprovement,
            _ => Self::Critical,
        }
    }

    /// As it is printed.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Acceptable => "ACCEPTABLE",
            Self::Critical => "CRITICAL",
            Self::Excellent => "EXCELLENT",
            Self::Good => "GOOD",
            Self::NeedsImprovement => "NEEDS IMPROVEMENT",
        }
    }
}

/// The weight of a check: nothing, when it only describes.
pub(super) fn weight(info: &Info) -> u32 {
    if info.is_descriptive() { 0 } else { info.severity.weight() }
}

/// The score of these marks.
pub(super) fn score<'i>(marks: impl Iterator<Item = (&'i Info, Mark)>) -> Score {
    let (mut all, mut passed, mut run) = (0_u32, 0_u32, 0_u32);
    let (mut criticals, mut highs, mut open) = (0_u32, 0_u32, 0_u32);
    for (info, mark) in marks {
        let weight = weight(info);
        all = all.saturating_add(weight);
        match mark {
            Mark::Passed => {
                passed = passed.saturating_add(weight);
                run = run.saturating_add(weight);
            }
            Mark::Found if weight > 0 => {
                run = run.saturating_add(weight);
                open = open.saturating_add(1);
                match info.severity {
                    Severity::Critical => criticals = criticals.saturating_add(1),
                    Severity::High => highs = highs.saturating_add(1),
                    Severity::Info | Severity::Warn => {}
                }
            }
            Mark::Found | Mark::NotRun => {}
        }
    }
    let (sum, coverage) = (percent(passed, all), percent(run, all));
    let holds = [
        (criticals > 0, CRITICAL_CAP, "there is a critical finding"),
        (highs >= 3, HIGHS_CAP, "there are three findings of high severity"),
        (highs > 0, HIGH_CAP, "there is a finding of high severity"),
        (coverage < 90, COVERAGE_CAP, "less than 90 % could be looked at"),
        (open > 0, OPEN_CAP, "there is an open finding"),
    ];
    let caps: Vec<Cap> = holds
        .into_iter()
        .filter_map(|(holds, at_most, because)| holds.then_some(Cap { at_most, because }))
        .collect();
    let score = caps.iter().map(|cap| cap.at_most).fold(sum, u8::min);
    Score { score, rating: Rating::of(score), coverage, sum, caps }
}

/// Rounded down: 100 is all of it.
fn percent(part: u32, whole: u32) -> u8 {
    let percent = part.saturating_mul(100).checked_div(whole).unwrap_or(0);
    u8::try_from(percent).unwrap_or(100)
}
