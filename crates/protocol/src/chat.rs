//! `chat.*`: parameters, results, events.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::message::Message;

/// Parameters of `chat.send`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ChatSendParams {
    /// The conversation.
    pub session_key: String,
    /// The agent that a key without one is of.
    #[serde(default)]
    pub agent_id: Option<String>,
    /// The session's id, where the client knows it: nothing is said in a session that was begun anew since.
    #[serde(default)]
    pub session_id: Option<String>,
    /// What is said.
    pub message: String,
    /// The level of thinking asked for.
    #[serde(default)]
    pub thinking: Option<String>,
    /// Whether to deliver the answer to the session's last channel.
    #[serde(default)]
    pub deliver: Option<bool>,
    /// Files sent along.
    #[serde(default)]
    pub attachments: Option<Vec<Value>>,
    /// The longest time the turn may take, in milliseconds.
    #[serde(default)]
    pub timeout_ms: Option<u64>,
    /// Names the run; the same key is the same message.
    pub idempotency_key: String,
}

/// Parameters of `chat.history`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ChatHistoryParams {
    /// The conversation.
    pub session_key: String,
    /// The agent that a key without one is of.
    #[serde(default)]
    pub agent_id: Option<String>,
    /// How many messages, 1 to 1000, 200 when absent.
    #[serde(default)]
    pub limit: Option<u32>,
    /// How many of the newest to leave out: with it a transcript is read page by page, from its end.
    #[serde(default)]
    pub skip: Option<u32>,
}

/// Result of `chat.history`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ChatHistory {
    /// The canonical key.
    pub session_key: String,
    /// The session's id, absent when nothing was said yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_id: Option<String>,
    /// The messages, oldest first.
    pub messages: Vec<Message>,
    /// The level of thinking that was chosen for it, or is set for all.
    pub thinking_level: &'static str,
}

/// Parameters of `chat.abort`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ChatAbortParams {
    /// The conversation.
    pub session_key: String,
    /// The agent that a key without one is of.
    #[serde(default)]
    pub agent_id: Option<String>,
    /// One run of it; all when absent.
    #[serde(default)]
    pub run_id: Option<String>,
    /// Whether runs beside the conversation go on: there are none.
    #[serde(default)]
    pub preserve_side_runs: Option<bool>,
}

/// Parameters of `chat.inject`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ChatInjectParams {
    /// The conversation.
    pub session_key: String,
    /// What is to stand there.
    pub message: String,
    /// Where it comes from, which is put in front of it.
    #[serde(default)]
    pub label: Option<String>,
}

/// Result of an abort.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Aborted {
    /// Always true.
    pub ok: bool,
    /// Whether anything was running.
    pub aborted: bool,
    /// What was.
    pub run_ids: Vec<String>,
}

/// Payload of the `chat` event.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ChatEvent {
    /// The run.
    pub run_id: String,
    /// The conversation.
    pub session_key: String,
    /// The number of this event within its run, from 0.
    pub seq: u64,
    /// Where the run is.
    pub state: ChatState,
    /// The text so far, or the final message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<ChatText>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_message: Option<String>,
    /// Why the model stopped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_reason: Option<String>,
}

/// Where a run is.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ChatState {
    /// Stopped by a person.
    Aborted,
    /// More text; carries all of it so far.
    Delta,
    /// Failed.
    Error,
    /// Done.
    Final,
}

/// An assistant's message as chat events carry it.
#[derive(Clone, Debug, Serialize)]
pub struct ChatText {
    /// Always `assistant`.
    pub role: &'static str,
    /// One text part.
    pub content: [TextPart; 1],
    /// When, in milliseconds since the epoch.
    pub timestamp: u64,
}

impl ChatText {
    /// The assistant's text.
    pub fn new(text: impl Into<String>, timestamp: u64) -> Self {
        Self { role: "assistant", content: [TextPart { kind: "text", text: text.into() }], timestamp }
    }
}

/// A text part of a chat event.
#[derive(Clone, Debug, Serialize)]
pub struct TextPart {
    /// Always `text`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// The words.
    pub text: String,
}
