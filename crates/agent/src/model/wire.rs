//! What a wire format has of its own. One implementation for each; everything else about a question is the same.

use moltbot_config::settings::ProviderApi;
use moltbot_net::Url;

use super::draft::Draft;
use super::provider::Model;
use super::{Deltas, ModelError, Prompt, ToolSpec, anthropic, gemini, ollama, openai, responses};

/// One wire format: where a question goes, how it is written, and how an answer is read.
pub(super) trait Wire: Sync {
    /// The address of questions, by the provider's base URL.
    fn endpoint(&self, base: &Url, model: &Model) -> Url;

    /// The address of the list of models.
    fn list(&self, base: &Url) -> Url {
        with_path(base, &["models"])
    }

    /// The header that a key goes in, and what stands before it.
    fn key_header(&self) -> (&'static str, &'static str) {
        BEARER
    }

    /// Further headers of every question.
    fn headers(&self, _model: &Model) -> &'static [(&'static str, &'static str)] {
        &[]
    }

    /// How an answer is cut into events.
    fn framing(&self) -> Framing {
        Framing::ServerSent
    }

    /// Whether a server that does not stream sends one document that is read as an event is.
    fn reads_documents(&self) -> bool {
        false
    }

    /// Writes a question.
    ///
    /// # Errors
    /// When it is not JSON.
    fn write(&self, model: &Model, prompt: &Prompt, tools: &[ToolSpec]) -> serde_json::Result<Vec<u8>>;

    /// Reads one event into the draft.
    ///
    /// # Errors
    /// When it makes no sense, or tells of an error.
    fn read(&self, data: &str, draft: &mut Draft<'_>, events: Deltas<'_>) -> Result<(), ModelError>;
}

/// How a key is sent to everybody but those who want it otherwise.
pub(super) const BEARER: (&str, &str) = ("authorization", "Bearer ");

/// How an answer is cut into events.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Framing {
    /// One JSON document a line.
    Lines,
    /// Server-sent events.
    ServerSent,
}

/// The implementation of a format.
pub(super) fn of(api: ProviderApi) -> &'static dyn Wire {
    match api {
        ProviderApi::AnthropicMessages => &anthropic::Anthropic,
        ProviderApi::GoogleGenerativeAi => &gemini::Gemini,
        ProviderApi::Ollama => &ollama::Ollama,
        ProviderApi::OpenAiCompletions => &openai::OpenAi,
        ProviderApi::OpenAiResponses => &responses::Responses,
    }
}

/// A base URL with more segments of a path. What is no part of a path in them is encoded.
pub(super) fn with_path(base: &Url, path: &[&str]) -> Url {
    let mut url = base.clone();
    if let Ok(mut segments) = url.path_segments_mut() {
        segments.pop_if_empty().extend(path);
    }
    url
}

/// The last segment of a base URL.
pub(super) fn last_segment(base: &Url) -> &str {
    base.path().trim_end_matches('/').rsplit('/').next().unwrap_or_default()
}

/// Scheme, host and port: what may be said of an address.
pub(super) fn origin_of(url: &Url) -> String {
    url.origin().ascii_serialization()
}
