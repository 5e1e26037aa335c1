//! The error that a peer sees: a stable code and an honest sentence. The cause stays in the log.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What went wrong, in the closed list that clients know.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ErrorCode {
    /// The run did not end within the time that the client gave it.
    AgentTimeout,
    /// The request is malformed, unknown, unauthorized or refused by policy.
    InvalidRequest,
    /// A channel is not signed in.
    NotLinked,
    /// The device is not paired, or not for what it asks.
    NotPaired,
    /// Too many attempts from this source.
    RateLimited,
    /// The gateway or something behind it cannot do it now.
    Unavailable,
}

/// The `error` member of a response frame.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WireError {
    /// The stable code.
    pub code: ErrorCode,
    /// What happened and what to do, for an honest client.
    pub message: String,
    /// Facts that a program may read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<Value>,
    /// Whether the same request may succeed later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retryable: Option<bool>,
    /// How long to wait before that, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
}

impl WireError {
    /// An error with a code and a sentence.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), details: None, retryable: None, retry_after_ms: None }
    }

    /// The request cannot be served as it is.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::InvalidRequest, message)
    }

    /// The gateway cannot serve it now.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self { retryable: Some(true), ..Self::new(ErrorCode::Unavailable, message) }
    }

    /// Adds facts that a program may read.
    #[must_use]
    pub fn with_details(mut self, details: Value) -> Self {
        self.details = Some(details);
        self
    }

    /// Says how long to wait before the next try, in milliseconds.
    #[must_use]
    pub fn retry_after(mut self, milliseconds: u64) -> Self {
        self.retryable = Some(true);
        self.retry_after_ms = Some(milliseconds);
        self
    }
}
