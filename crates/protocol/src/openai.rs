//! The OpenAI chat completions format, as `/v1/chat/completions` reads and writes it.
//!
//! Unlike our own frames, unknown members are accepted here: every OpenAI library sends options that its
//! version knows, and none of them can raise the caller's rights.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The body of `POST /v1/chat/completions`.
#[derive(Debug, Deserialize)]
pub struct ChatCompletionRequest {
    /// `moltbot`, `moltbot:<agent>`, `agent:<agent>`, or another brand's; anything else means the default agent.
    #[serde(default)]
    pub model: Option<String>,
    /// The conversation as the caller has it.
    pub messages: Vec<ChatMessage>,
    /// Whether to stream.
    #[serde(default)]
    pub stream: bool,
    /// Options of streaming.
    #[serde(default)]
    pub stream_options: Option<StreamOptions>,
    /// The caller's user: the same user is the same session.
    #[serde(default)]
    pub user: Option<String>,
}

/// Options of streaming.
#[derive(Debug, Deserialize)]
pub struct StreamOptions {
    /// Whether a last chunk carries the usage.
    #[serde(default)]
    pub include_usage: bool,
}

/// One message of the caller.
#[derive(Debug, Deserialize)]
pub struct ChatMessage {
    /// `system`, `developer`, `user`, `assistant` or `tool`.
    pub role: String,
    /// A text, or parts with texts.
    #[serde(default)]
    pub content: Option<Value>,
}

impl ChatMessage {
    /// The text of the message; parts that are not text are left out.
    pub fn text(&self) -> String {
        match &self.content {
            Some(Value::String(text)) => text.clone(),
            Some(Value::Array(parts)) => {
                let texts = parts.iter().filter_map(|part| part.get("text").and_then(Value::as_str));
                texts.collect::<Vec<_>>().join("\n")
            }
            _ => String::new(),
        }
    }
}

/// Tokens used.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct CompletionUsage {
    /// Tokens read.
    pub prompt_tokens: u64,
    /// Tokens written.
    pub completion_tokens: u64,
    /// Both.
    pub total_tokens: u64,
}

/// The body of an error.
#[derive(Debug, Serialize)]
pub struct ErrorBody {
    /// The error.
    pub error: ErrorDetail,
}

/// The error in the body.
#[derive(Debug, Serialize)]
pub struct ErrorDetail {
    /// What happened and what to do.
    pub message: String,
    /// The kind, such as `invalid_request_error`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// The kind again, where libraries look for it.
    pub code: Option<&'static str>,
}

impl ErrorBody {
    /// An error body.
    pub fn new(kind: &'static str, message: impl Into<String>) -> Self {
        Self { error: ErrorDetail { message: message.into(), kind, code: Some(kind) } }
    }
}
