//! Why a request is not answered, in the words of OpenAI's interface.

use http::StatusCode;
use serde_json::{Value, json};

/// Why a request is not answered.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    pub(crate) code: &'static str,
    pub(crate) message: String,
    /// The member of the request that it is about.
    pub(crate) member: Option<String>,
}

impl Refusal {
    pub(crate) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), member: None }
    }

    /// A request of which one member cannot be taken.
    pub(crate) fn member(member: &str, code: &'static str, what: &str) -> Self {
        Self {
            member: Some(member.into()),
            ..Self::new(StatusCode::BAD_REQUEST, code, format!("{member}: {what}"))
        }
    }

    /// A request that came while too many others wait.
    pub(crate) fn busy(what: &str) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "model_busy", what)
    }

    /// A failure that is not the request's.
    pub(crate) fn failed(what: &str) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "model_failed", what)
    }

    /// The body of the answer.
    pub(crate) fn body(&self) -> Value {
        let kind = if self.status.is_client_error() { "invalid_request_error" } else { "server_error" };
        json!({ "error": { "message": self.message, "type": kind, "param": self.member, "code": self.code } })
    }
}
