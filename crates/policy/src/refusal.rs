//! A "no", for two audiences.

use std::fmt;

/// Why something is refused: a stable code and a sentence for the peer, and the cause for the log.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Refusal {
    /// Stable, lower case with underscores, such as `token_mismatch`.
    pub code: &'static str,
    /// What happened and what to do, safe to show to whoever asked.
    pub message: String,
    /// What only the owner may know. Empty when the message says it all.
    pub cause: String,
}

impl Refusal {
    /// A refusal whose message says it all.
    pub fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), cause: String::new() }
    }

    /// Adds what only the owner may know.
    #[must_use]
    pub fn because(mut self, cause: impl Into<String>) -> Self {
        self.cause = cause.into();
        self
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Refusal {}
