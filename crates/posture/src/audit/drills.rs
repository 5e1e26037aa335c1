//! Checks that tried it: what came of the owner's attacks on his own installation. They count when they were asked for.

use serde::Serialize;

use super::facts::Facts;
use super::{Check, Outcome};

/// What came of a drill.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// The attack failed.
    Held,
    /// It succeeded.
    GotThrough,
    /// It could not be tried: that is no success.
    NotRun,
}

impl Verdict {
    /// In words, for the book and for people.
    pub const fn name(self) -> &'static str {
        match self {
            Self::GotThrough => "got through",
            Self::Held => "held",
            Self::NotRun => "not run",
        }
    }
}

/// One drill, as it went.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct DrillFact {
    /// Its name; its check is `drill.<name>`.
    pub name: &'static str,
    /// What came of it.
    pub verdict: Verdict,
    /// What was tried.
    pub tried: &'static str,
    /// What was seen, or why it was not tried. No secret.
    pub seen: String,
}

/// How the ids of these checks begin.
pub(super) const PREFIX: &str = "drill.";

macro_rules! drills {
    ($($name:literal),+ $(,)?) => {
        pub(super) const CHECKS: &[(&str, Check)] =
            &[$((concat!("drill.", $name), |facts| came_of(facts, $name))),+];
    };
}

drills!(
    "bad-sign-ins",
    "changed-ledger",
    "denied-command",
    "foreign-host",
    "foreign-origin",
    "forged-forwarding",
    "log-canary",
    "no-credentials",
    "open-dm-policy",
    "replayed-signature",
    "revoked-device",
    "sandbox-escape",
    "sandbox-fork-bomb",
    "sandbox-secret",
    "sandbox-socket",
    "short-token",
    "stop-button",
    "swapped-envelope",
);

fn came_of(facts: &Facts<'_>, name: &str) -> Outcome {
    let drills = facts.drills.as_deref().unwrap_or_default();
    let Some(one) = drills.iter().find(|one| one.name == name) else {
        return Outcome::NotRun("it was not tried".into());
    };
    match one.verdict {
        Verdict::GotThrough => Outcome::when(true, one.tried, one.seen.clone()),
        Verdict::Held => Outcome::Passed,
        Verdict::NotRun => Outcome::NotRun(one.seen.clone()),
    }
}
