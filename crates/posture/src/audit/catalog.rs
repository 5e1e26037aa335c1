//! The checks as data: their severity, why they matter, and how what they find is put right.

use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

use std::collections::BTreeMap;

/// How bad a finding is. The order is that of badness.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing.
    Info,
    /// It makes an attack easier.
    Warn,
    /// One more mistake, and an attack succeeds.
    High,
    /// An attack succeeds.
    Critical,
}

impl Severity {
    /// Its points in the sum, as OpenSSF Scorecard weighs, times four so that they are whole numbers.
    pub(crate) const fn weight(self) -> u32 {
        match self {
            Self::Info => 10,
            Self::Warn => 20,
            Self::High => 30,
            Self::Critical => 40,
        }
    }

    /// The name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warn => "warn",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }
}

/// What is said of a check.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Info {
    /// Its stable id; `<provider>` stands for a channel.
    pub id: String,
    /// How bad what it finds is.
    pub severity: Severity,
    /// Which part of the defence it looks at.
    pub topic: String,
    /// What it finds, in a line.
    pub title: String,
    /// Why that matters.
    pub why: String,
    /// What to do.
    pub fix: String,
    /// Whether `security audit --fix` does it.
    #[serde(default)]
    pub fixable: bool,
}

/// An id of other generations that is not looked at.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct NotApplicable {
    /// The id; `*` stands for several.
    #[serde(rename(serialize = "checkId"))]
    pub id: String,
    /// Why.
    pub reason: String,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Catalog {
    topics: BTreeMap<String, Vec<String>>,
    check: Vec<Info>,
    not_applicable: Vec<NotApplicable>,
}

/// The table is compiled in and a test reads it, so that it cannot be unreadable here; without it nothing would pass.
static CATALOG: LazyLock<Catalog> =
    LazyLock::new(|| toml::from_str(include_str!("checks.toml")).unwrap_or_default());

/// What is said of the check `id`.
pub fn info(id: &str) -> Option<&'static Info> {
    CATALOG.check.iter().find(|info| info.id == id)
}

/// Every check, in the order of the table.
pub fn all() -> &'static [Info] {
    &CATALOG.check
}

/// Ids of other generations that are not looked at, each with the reason.
pub fn not_applicable() -> &'static [NotApplicable] {
    &CATALOG.not_applicable
}

/// The requirements of norms that a topic's checks bear on.
pub fn bears_on(topic: &str) -> &'static [String] {
    CATALOG.topics.get(topic).map_or(&[], Vec::as_slice)
}

impl Info {
    /// Whether it describes and does not judge: its weight is 0.
    pub(crate) fn is_descriptive(&self) -> bool {
        matches!(self.id.as_str(), "summary.attack_surface" | "security.audit.suppressions.active")
    }
}
