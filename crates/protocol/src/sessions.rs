//! `sessions.*`: parameters and rows.

use serde::{Deserialize, Serialize};

use crate::message::{Message, Usage};

/// Parameters of `sessions.list`. Filters for sessions that cannot exist here yet are accepted.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct SessionsListParams {
    /// How many, 1 to 1000.
    pub limit: Option<u32>,
    /// Only those with a message in that many minutes.
    pub active_minutes: Option<u64>,
    /// Whether to include the global session.
    pub include_global: Option<bool>,
    /// Whether to include sessions of an unknown kind.
    pub include_unknown: Option<bool>,
    /// Whether to derive a title from the first message.
    pub include_derived_titles: Option<bool>,
    /// Whether to include the last message's text.
    pub include_last_message: Option<bool>,
    /// Only the one of that label.
    pub label: Option<String>,
    /// Only those spawned by that session.
    pub spawned_by: Option<String>,
    /// Only those of that agent.
    pub agent_id: Option<String>,
    /// Only those whose key or label has that text.
    pub search: Option<String>,
}

/// One session in a list.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SessionRow {
    /// The key.
    pub key: String,
    /// `direct`, `group`, `global` or `unknown`.
    pub kind: &'static str,
    /// The session's id.
    pub session_id: String,
    /// When it last changed, in milliseconds since the epoch.
    pub updated_at: u64,
    /// Tokens used by all its runs.
    pub usage: Usage,
    /// Tokens used, as upstream clients read them.
    pub total_tokens: u64,
    /// The number of messages.
    pub message_count: u64,
    /// The model that was chosen for it, or that of the last run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// The provider of the model that was chosen for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model_provider: Option<String>,
    /// The level of thinking that was chosen for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub thinking_level: Option<&'static str>,
    /// How much of its tools is told, where that was chosen for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verbose_level: Option<&'static str>,
    /// What a person called it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// The text of the first message, shortened.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub derived_title: Option<String>,
    /// The text of the last message, shortened.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_message_preview: Option<String>,
    /// Why nothing runs in it before its owner lets it go on; absent when nothing keeps it from it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quarantine: Option<SessionQuarantine>,
}

/// A session in quarantine.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SessionQuarantine {
    /// The session's key.
    pub session_key: String,
    /// Since when, in milliseconds since the epoch.
    pub since_ms: u64,
    /// The run in which it began.
    pub run_id: String,
    /// Why, in a clause.
    pub reason: String,
}

/// Parameters of `sessions.release`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SessionReleaseParams {
    /// The key.
    pub key: String,
    /// The agent that a key without one is of.
    #[serde(default)]
    pub agent_id: Option<String>,
}

/// Parameters of `sessions.preview`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SessionsPreviewParams {
    /// At most 64 keys.
    pub keys: Vec<String>,
    /// Messages a session; 12 when absent.
    #[serde(default)]
    pub limit: Option<u32>,
    /// Characters a message; 240 when absent.
    #[serde(default)]
    pub max_chars: Option<u32>,
}

/// Parameters of `sessions.reset` and `sessions.delete`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SessionKeyParams {
    /// The key.
    pub key: String,
    /// The agent that a key without one is of.
    #[serde(default)]
    pub agent_id: Option<String>,
    /// Why a session is begun anew: `new` or `reset`, which are the same here.
    #[serde(default)]
    pub reason: Option<String>,
    /// Whether a deleted session's transcript goes too; true when absent.
    #[serde(default)]
    pub delete_transcript: Option<bool>,
}

/// Parameters of `sessions.import`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SessionsImportParams {
    /// The key.
    pub key: String,
    /// The agent that a key without one is of.
    #[serde(default)]
    pub agent_id: Option<String>,
    /// How many messages the conversation has already, which is where these go on: 0 for one that is not there.
    #[serde(default)]
    pub skip: u64,
    /// What was said, oldest first, in whole turns.
    pub messages: Vec<Message>,
}
