//! The answers to calls of hooks that cause no turn, in the forms that upstream gives them.

use std::time::Duration;

use http::header::{self, HeaderValue};
use http::{Response, StatusCode};
use moltbot_channels::hooks::HookError;
use moltbot_policy::hook::{TOKEN_IN_URL, UNAUTHORIZED};
use serde_json::json;

use super::super::answer::{self, Body};
use super::super::refused;
use crate::inbound::InboundError;
use crate::sign_in::SignInError;

/// Why a call has no turn.
pub(super) struct Failure(Box<Response<Body>>);

impl Failure {
    /// JSON with a sentence.
    pub(super) fn new(status: StatusCode, error: &str) -> Self {
        Self(Box::new(answer::closing(status, &json!({"ok": false, "error": error}))))
    }

    /// A few words, as upstream says them.
    pub(super) fn plain(status: StatusCode, words: &'static str) -> Self {
        Self(Box::new(answer::plain(status, words)))
    }

    /// There is no room now.
    pub(super) fn busy() -> Self {
        let mut failure = Self::new(StatusCode::TOO_MANY_REQUESTS, "too many calls at once; try again");
        answer::retry_after(&mut failure.0, Duration::from_secs(1));
        failure
    }

    /// Only `POST` is answered.
    pub(super) fn method() -> Self {
        let mut failure = Self::plain(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed");
        failure.0.headers_mut().insert(header::ALLOW, HeaderValue::from_static("POST"));
        failure
    }

    /// The answer.
    pub(super) fn into_response(self) -> Response<Body> {
        *self.0
    }
}

impl From<HookError> for Failure {
    fn from(error: HookError) -> Self {
        let status = match error {
            HookError::Agent | HookError::Session { .. } => StatusCode::FORBIDDEN,
            _ => StatusCode::BAD_REQUEST,
        };
        Self::new(status, &error.to_string())
    }
}

impl From<SignInError> for Failure {
    fn from(error: SignInError) -> Self {
        match &error {
            SignInError::Refused(refusal) if refusal.message == TOKEN_IN_URL => {
                Self::new(StatusCode::BAD_REQUEST, TOKEN_IN_URL)
            }
            SignInError::Refused(_) => Self::plain(StatusCode::UNAUTHORIZED, UNAUTHORIZED),
            SignInError::Limited(_) | SignInError::Unrecorded(_) => Self(Box::new(refused(&error))),
        }
    }
}

impl From<InboundError> for Failure {
    fn from(error: InboundError) -> Self {
        let status = match &error {
            InboundError::Elsewhere(_) | InboundError::Reused => StatusCode::CONFLICT,
            InboundError::Full | InboundError::Spent(_) => StatusCode::TOO_MANY_REQUESTS,
            InboundError::Quarantined(_) => StatusCode::LOCKED,
            InboundError::LockedDown | InboundError::Stopping | InboundError::Unrecorded(_) => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            InboundError::Broken | InboundError::Store(_) => {
                tracing::error!(%error, "a call of a hook could not be kept");
                StatusCode::INTERNAL_SERVER_ERROR
            }
        };
        Self::new(status, &error.to_string())
    }
}
