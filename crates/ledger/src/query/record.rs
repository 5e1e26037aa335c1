//! A record of the book as it is read.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// One line of the book. What it says is not verified here: see `moltbot ledger verify`.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Record {
    /// The version of its form.
    pub v: u64,
    /// Its number.
    pub seq: u64,
    /// When it was written: UTC, RFC 3339.
    pub ts: String,
    /// Nanoseconds since the book was opened.
    pub mono: u64,
    /// The process that wrote it.
    pub boot: String,
    /// Who acts.
    pub actor: String,
    /// The conversation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    /// What is done.
    pub action: String,
    /// What it is done to.
    pub target: String,
    /// `allowed`, `done` or `refused`.
    pub decision: String,
    /// More facts.
    pub details: BTreeMap<String, String>,
    /// The hash of the record before.
    pub prev: String,
    /// Its own hash.
    pub h: String,
}

impl Record {
    /// Reads a line without its line feed; nothing when it is not one of a record.
    pub fn parse(line: &[u8]) -> Option<Self> {
        serde_json::from_slice(line).ok()
    }

    /// When it was written, in milliseconds since the epoch; 0 when that cannot be read.
    pub fn millis(&self) -> i64 {
        self.ts.parse::<jiff::Timestamp>().map(jiff::Timestamp::as_millisecond).unwrap_or(0)
    }

    /// A fact by its name.
    pub fn detail(&self, name: &str) -> Option<&str> {
        self.details.get(name).map(String::as_str)
    }

    /// The run that acts.
    pub fn run(&self) -> Option<&str> {
        self.actor.strip_prefix("agent:").or_else(|| self.detail("run"))
    }

    /// Whether it was refused.
    pub fn is_refused(&self) -> bool {
        self.decision == "refused"
    }
}
