//! Why a model did not answer, in sentences for the person who asked.

use std::time::Duration;

use moltbot_net::FetchError;
use moltbot_policy::Refusal;
use moltbot_vault::RandomError;
use serde_json::Value;
use thiserror::Error;

use super::catalog::NoModel;
use super::provider::Provider;

/// Why a model did not answer. No message has a key in it, and what a provider wrote is cut short.
#[derive(Debug, Error)]
#[expect(missing_docs, reason = "each message names its fields")]
#[non_exhaustive]
pub enum ModelError {
    /// The person stopped it.
    #[error("stopped")]
    Aborted,
    /// The provider does not know the key.
    #[error("{provider} did not accept {key}; put a valid key there")]
    BadKey { provider: String, key: String },
    /// The conversation does not fit.
    #[error("the conversation is longer than {model} can read; start a new one with `/new`")]
    ContextTooLong { model: String },
    /// The provider's filter stopped it.
    #[error("{provider} withheld the answer under its content rules; put the question differently")]
    Filtered { provider: String },
    /// The stream makes no sense.
    #[error("{provider} sent an answer that cannot be read: {what}; try again, or choose another model")]
    Garbage { provider: String, what: String },
    /// Nothing came for too long.
    #[error("{provider} was silent for {} s; try again, or choose a faster model", limit.as_secs())]
    Idle { provider: String, limit: Duration },
    /// The connection ended too early.
    #[error("the connection to {provider} ended before the answer was complete; try again")]
    Interrupted { provider: String },
    /// There is no money left.
    #[error("{provider} says that the account has no credit left; add some, or choose another provider")]
    NoCredit { provider: String },
    /// Too many requests.
    #[error("{provider} takes no more requests for now; try again later, or choose another provider")]
    RateLimited { provider: String, retry_after: Option<Duration> },
    /// No model is set up, or not this one.
    #[error(transparent)]
    NoModel(#[from] NoModel),
    /// The judge said no, or the book could not be written.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The operating system gave no random bytes.
    #[error(transparent)]
    Random(#[from] RandomError),
    /// The provider refused the request for another reason.
    #[error("{provider} refused the request (status {status}): {message}")]
    Rejected { provider: String, status: u16, message: String },
    /// The answer is larger than it may be.
    #[error("{provider} sent an answer larger than {max} bytes, which was thrown away; ask for less")]
    TooLarge { provider: String, max: usize },
    /// The provider has a problem of its own.
    #[error("{provider} cannot answer now (status {status}): {message}; try again later")]
    Unavailable { provider: String, status: u16, message: String, retry_after: Option<Duration> },
    /// The provider does not have the model.
    #[error("{provider} has no model named {model:?}; choose another in agents.defaults.model")]
    UnknownModel { provider: String, model: String },
    /// The provider could not be reached.
    #[error(transparent)]
    Unreachable(FetchError),
    /// The model cannot call tools: it must be asked without them.
    #[error("{model} cannot call tools")]
    WithoutTools { model: String },
    /// What answers is no model provider, or not under that path.
    #[error(
        "{provider} has no chat under that address (status {status}); correct models.providers.{provider}.baseUrl"
    )]
    WrongAddress { provider: String, status: u16 },
}

/// What an error names.
#[derive(Clone, Copy, Debug)]
pub(super) struct Named<'a> {
    pub(super) model: &'a str,
    pub(super) with: &'a Provider,
}

impl Named<'_> {
    /// The provider's name.
    pub(super) fn provider(&self) -> String {
        self.with.name.clone()
    }

    pub(super) fn garbage(&self, what: impl Into<String>) -> ModelError {
        let what = self.with.without_secrets(&what.into());
        ModelError::Garbage { provider: self.provider(), what }
    }

    /// What went wrong on the way.
    pub(super) fn fetch(&self, error: FetchError) -> ModelError {
        let provider = self.provider();
        match error {
            FetchError::Interrupted { .. } => ModelError::Interrupted { provider },
            FetchError::Refused(refusal) => ModelError::Refused(refusal),
            FetchError::Timeout { what, limit, .. } if what != "connecting" => {
                ModelError::Idle { provider, limit }
            }
            FetchError::TooLarge { max, .. } => ModelError::TooLarge { provider, max },
            other => ModelError::Unreachable(other),
        }
    }

    /// What a status other than 200 means, by the provider's own words. Some providers repeat the key or
    /// another header: they are cut out.
    pub(super) fn status(&self, status: u16, body: &str, retry_after: Option<Duration>) -> ModelError {
        let body = &self.with.without_secrets(body);
        let provider = self.provider();
        let said = Said::parse(body);
        match status {
            402 => ModelError::NoCredit { provider },
            _ if said.is(&["insufficient_quota", "billing_error"], &["credit balance is too low"]) => {
                ModelError::NoCredit { provider }
            }
            401 | 403 => ModelError::BadKey { provider, key: self.with.key_source.clone() },
            429 => ModelError::RateLimited { provider, retry_after },
            500.. => ModelError::Unavailable { provider, status, message: said.message, retry_after },
            _ if said.is(&["context_length_exceeded"], TOO_LONG) => {
                ModelError::ContextTooLong { model: self.model.into() }
            }
            _ if said.is(&[], &["does not support tools"]) => {
                ModelError::WithoutTools { model: self.model.into() }
            }
            404 if said.is(&[], &["model", "no endpoints found"]) => {
                ModelError::UnknownModel { provider, model: self.model.into() }
            }
            _ if said.is(&["model_not_found"], &["is not a valid model", "model not found"]) => {
                ModelError::UnknownModel { provider, model: self.model.into() }
            }
            404 | 405 => ModelError::WrongAddress { provider, status },
            _ => ModelError::Rejected { provider, status, message: said.message },
        }
    }

    /// What an error inside a stream means: it carries a type in place of a status.
    pub(super) fn event(&self, error: &Value) -> ModelError {
        let kind = error.get("type").and_then(Value::as_str).unwrap_or_default();
        let code = error.get("code").and_then(Value::as_u64).and_then(|code| u16::try_from(code).ok());
        let status = match kind {
            "authentication_error" => 401,
            "permission_error" => 403,
            "not_found_error" => 404,
            "rate_limit_error" | "rate_limit_exceeded" => 429,
            "invalid_request_error" => 400,
            "overloaded_error" => 529,
            _ => code.filter(|code| *code >= 400).unwrap_or(500),
        };
        self.status(status, &serde_json::json!({ "error": error }).to_string(), None)
    }
}

/// How providers and servers say that a prompt does not fit.
const TOO_LONG: &[&str] = &[
    "prompt is too long",
    "maximum context length",
    "exceeds the available context size",
    "context window",
    "exceed context limit",
];

/// The longest part of a provider's message that is passed on, in characters.
const MESSAGE_CHARS: usize = 300;

/// What a provider said about an error.
struct Said {
    kinds: Vec<String>,
    message: String,
}

impl Said {
    /// Reads `{"error":{"type","code","message"}}`, `{"error":"…"}`, or any text.
    fn parse(body: &str) -> Self {
        let value: Value = serde_json::from_str(body).unwrap_or(Value::Null);
        let error = value.get("error").unwrap_or(&value);
        let kinds = ["code", "type"].iter().filter_map(|name| error.get(name)?.as_str()).map(str::to_owned);
        let message = error.get("message").or(Some(error)).and_then(Value::as_str).unwrap_or(body);
        let printable = message.chars().map(|c| if c.is_control() { ' ' } else { c });
        let message: String = printable.take(MESSAGE_CHARS).collect();
        let message = message.trim();
        let message = if message.is_empty() { "no reason given" } else { message };
        Self { kinds: kinds.collect(), message: message.into() }
    }

    fn is(&self, kinds: &[&str], phrases: &[&str]) -> bool {
        let message = self.message.to_lowercase();
        self.kinds.iter().any(|kind| kinds.contains(&kind.as_str()))
            || phrases.iter().any(|phrase| message.contains(phrase))
    }
}

impl ModelError {
    /// Whether another try may go better.
    pub(super) const fn may_pass(&self) -> bool {
        match self {
            Self::RateLimited { .. } | Self::Unavailable { .. } | Self::Interrupted { .. } => true,
            Self::Unreachable(error) => {
                matches!(
                    error,
                    FetchError::Connect { .. } | FetchError::Resolve { .. } | FetchError::Timeout { .. }
                )
            }
            Self::Aborted
            | Self::BadKey { .. }
            | Self::ContextTooLong { .. }
            | Self::Filtered { .. }
            | Self::Garbage { .. }
            | Self::Idle { .. }
            | Self::NoCredit { .. }
            | Self::NoModel(_)
            | Self::Random(_)
            | Self::Refused(_)
            | Self::Rejected { .. }
            | Self::TooLarge { .. }
            | Self::UnknownModel { .. }
            | Self::WithoutTools { .. }
            | Self::WrongAddress { .. } => false,
        }
    }

    /// How long the provider asks us to wait.
    pub(super) const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::RateLimited { retry_after, .. } | Self::Unavailable { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}
