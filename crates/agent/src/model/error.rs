//! Why a model did not answer, in sentences for the person who asked.

use std::time::Duration;

use moltbot_config::limits;
use moltbot_net::FetchError;
use moltbot_policy::Refusal;
use moltbot_vault::RandomError;
use serde_json::Value;
use thiserror::Error;

use super::catalog::NoModel;
use super::conversation::Tried;
use super::provider::{Key, Provider};

/// Why a model did not answer. No message has a key in it, and what a provider wrote is cut short.
#[derive(Debug, Error)]
#[expect(missing_docs, reason = "each message names its fields")]
#[non_exhaustive]
pub enum ModelError {
    /// None of several answered.
    #[error("no model answered: {}", sentences(.tried))]
    AllFailed { tried: Vec<Tried> },
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
    /// The provider has no embeddings.
    #[error("{provider} has no embeddings; name a model of another provider, as provider/model")]
    WithoutEmbeddings { provider: String },
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
    pub(super) key: Option<&'a Key>,
}

impl Named<'_> {
    /// The provider's name.
    pub(super) fn provider(&self) -> String {
        self.with.name.clone()
    }

    /// Where the key is from that was not taken.
    fn key_source(&self) -> String {
        match self.key {
            Some(key) => key.source.clone(),
            None => format!("a request without a key (models.providers.{}.apiKey)", self.with.name),
        }
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
        let retry_after = retry_after.or(said.retry_after);
        match status {
            402 => ModelError::NoCredit { provider },
            _ if said.is(&["insufficient_quota", "billing_error"], &["credit balance is too low"]) => {
                ModelError::NoCredit { provider }
            }
            _ if said.is(FILTERED_KINDS, FILTERED) => ModelError::Filtered { provider },
            401 | 403 => ModelError::BadKey { provider, key: self.key_source() },
            400 if said.is(&["API_KEY_INVALID"], &[]) => {
                ModelError::BadKey { provider, key: self.key_source() }
            }
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
        let word = |name: &str| error.get(name).and_then(Value::as_str).unwrap_or_default();
        let code = error.get("code").and_then(Value::as_u64).and_then(|code| u16::try_from(code).ok());
        let of_word = |word: &str| match word {
            "authentication_error" | "invalid_api_key" => Some(401),
            "permission_error" => Some(403),
            "not_found_error" => Some(404),
            "rate_limit_error" | "rate_limit_exceeded" | "RESOURCE_EXHAUSTED" => Some(429),
            "context_length_exceeded" | "invalid_prompt" | "invalid_request_error" => Some(400),
            "overloaded_error" => Some(529),
            _ => None,
        };
        let named = of_word(word("code")).or_else(|| of_word(word("type")));
        let status = named.or(code.filter(|code| *code >= 400)).unwrap_or(500);
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
    "exceeds the maximum number of tokens",
];

/// How providers say that their rules forbid the question.
const FILTERED_KINDS: &[&str] = &["content_filter", "content_policy_violation"];
const FILTERED: &[&str] = &["input was flagged", "flagged by our"];

/// The longest part of a provider's message that is passed on, in characters.
const MESSAGE_CHARS: usize = 300;

/// What a provider said about an error.
struct Said {
    kinds: Vec<String>,
    message: String,
    /// How long to wait, where that is not in a header.
    retry_after: Option<Duration>,
}

impl Said {
    /// Reads `{"error":{"type","code","message"}}`, `{"error":"…"}`, Google's `{"error":{"status","details"}}` alone or in a
    /// list, OpenRouter's with the words of the provider behind it, or any text.
    fn parse(body: &str) -> Self {
        let value: Value = serde_json::from_str(body).unwrap_or(Value::Null);
        let value = value.get(0).unwrap_or(&value);
        let error = value.get("error").unwrap_or(value);
        let kinds = ["code", "status", "type"].iter().filter_map(|name| error.get(name)?.as_str());
        let details = error.get("details").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let reasons = details.iter().filter_map(|detail| detail.get("reason")?.as_str());
        let kinds = kinds.chain(reasons).map(str::to_owned);
        let delay = details.iter().find_map(|detail| detail.get("retryDelay")?.as_str());
        let seconds = delay.and_then(|delay| delay.trim_end_matches('s').parse::<f64>().ok());
        let retry_after = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        let behind = error.pointer("/metadata/raw").filter(|raw| raw.is_string());
        let message = behind.or(error.get("message")).or(Some(error)).and_then(Value::as_str).unwrap_or(body);
        let printable = message.chars().map(|c| if c.is_control() { ' ' } else { c });
        let message: String = printable.take(MESSAGE_CHARS).collect();
        let message = message.trim();
        let message = if message.is_empty() { "no reason given" } else { message };
        Self { kinds: kinds.collect(), message: message.into(), retry_after }
    }

    fn is(&self, kinds: &[&str], phrases: &[&str]) -> bool {
        let message = self.message.to_lowercase();
        self.kinds.iter().any(|kind| kinds.contains(&kind.as_str()))
            || phrases.iter().any(|phrase| message.contains(phrase))
    }
}

/// The tries in one sentence each.
fn sentences(tried: &[Tried]) -> String {
    // The same model may have been tried several times: its last failure stands for all.
    let last =
        |at: usize, it: &Tried| !tried.iter().skip(at.saturating_add(1)).any(|later| later.is_same(it));
    let shown = tried.iter().enumerate().filter(|(at, it)| last(*at, it));
    let shown = shown.map(|(_, it)| format!("{}/{}: {}", it.provider, it.model, it.why));
    shown.collect::<Vec<_>>().join("; ")
}

/// What an error says of what was asked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Failure {
    /// It ends the question, whoever else there is.
    Final,
    /// Another key of the same provider may be taken.
    Key {
        /// Whether a person has to change that.
        spent: bool,
    },
    /// Another model may answer.
    Model,
    /// The whole provider does not answer.
    Provider,
}

impl ModelError {
    /// The sentence that names all who were tried.
    pub(super) const fn all_failed(tried: Vec<Tried>) -> Self {
        Self::AllFailed { tried }
    }

    /// What the failure is of.
    pub(super) const fn failure(&self) -> Failure {
        match self {
            Self::BadKey { .. } | Self::NoCredit { .. } => Failure::Key { spent: true },
            Self::RateLimited { .. } => Failure::Key { spent: false },
            Self::Garbage { .. }
            | Self::Idle { .. }
            | Self::Interrupted { .. }
            | Self::Unavailable { .. }
            | Self::Unreachable(_)
            | Self::WrongAddress { .. } => Failure::Provider,
            Self::ContextTooLong { .. }
            | Self::Refused(_)
            | Self::Rejected { .. }
            | Self::TooLarge { .. }
            | Self::UnknownModel { .. } => Failure::Model,
            Self::Aborted
            | Self::AllFailed { .. }
            | Self::Filtered { .. }
            | Self::NoModel(_)
            | Self::Random(_)
            | Self::WithoutEmbeddings { .. }
            | Self::WithoutTools { .. } => Failure::Final,
        }
    }

    /// Whether it is told beside those of others, when several were tried.
    pub(super) fn is_one_of_many(&self) -> bool {
        self.failure() != Failure::Final
    }

    /// The kind of the failure, as logs and `models.test` name it.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Aborted => "stopped",
            Self::AllFailed { .. } => "all-failed",
            Self::BadKey { .. } => "auth",
            Self::ContextTooLong { .. } => "context-too-long",
            Self::Filtered { .. } => "content-refused",
            Self::Garbage { .. } => "malformed",
            Self::Idle { .. } => "silent",
            Self::Interrupted { .. } => "disconnected",
            Self::NoCredit { .. } => "no-credit",
            Self::NoModel(_) => "no-model",
            Self::Random(_) => "internal",
            Self::RateLimited { .. } => "rate-limited",
            Self::Refused(_) => "refused-here",
            Self::Rejected { .. } => "rejected",
            Self::TooLarge { .. } => "too-large",
            Self::Unavailable { .. } => "overloaded",
            Self::UnknownModel { .. } => "unknown-model",
            Self::Unreachable(_) => "unreachable",
            Self::WithoutEmbeddings { .. } => "without-embeddings",
            Self::WithoutTools { .. } => "without-tools",
            Self::WrongAddress { .. } => "wrong-address",
        }
    }

    /// How often it may be tried in all: what made no sense once more, what may pass several times.
    pub(super) const fn tries(&self) -> u32 {
        match self {
            Self::Garbage { .. } => 2,
            Self::Interrupted { .. } | Self::RateLimited { .. } | Self::Unavailable { .. } => {
                limits::PROVIDER_TRIES
            }
            Self::Unreachable(
                FetchError::Connect { .. } | FetchError::Resolve { .. } | FetchError::Timeout { .. },
            ) => limits::PROVIDER_TRIES,
            _ => 1,
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
