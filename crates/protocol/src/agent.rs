//! `agent`, `agent.wait` and the `agent` event.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Parameters of `agent`. Members of later parts of the protocol are known, so that existing clients are
/// understood; those that have no meaning here yet are refused with a sentence when they are set.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AgentParams {
    /// What is said.
    pub message: String,
    /// The agent; the default one when absent.
    #[serde(default)]
    pub agent_id: Option<String>,
    /// The conversation; the agent's main one when absent.
    #[serde(default)]
    pub session_key: Option<String>,
    /// The conversation by its id.
    #[serde(default)]
    pub session_id: Option<String>,
    /// The level of thinking asked for.
    #[serde(default)]
    pub thinking: Option<String>,
    /// Whether to deliver the answer to a channel.
    #[serde(default)]
    pub deliver: Option<bool>,
    /// Files sent along.
    #[serde(default)]
    pub attachments: Option<Vec<Value>>,
    /// Where to deliver.
    #[serde(default)]
    pub to: Option<String>,
    /// Which message is answered.
    #[serde(default)]
    pub reply_to: Option<String>,
    /// The channel of the conversation.
    #[serde(default)]
    pub channel: Option<String>,
    /// The channel of the answer.
    #[serde(default)]
    pub reply_channel: Option<String>,
    /// The account on the channel.
    #[serde(default)]
    pub account_id: Option<String>,
    /// The thread on the channel.
    #[serde(default)]
    pub thread_id: Option<String>,
    /// The longest time the turn may take, in seconds.
    #[serde(default)]
    pub timeout: Option<u64>,
    /// The queue it belongs to.
    #[serde(default)]
    pub lane: Option<String>,
    /// Instructions of this request alone.
    #[serde(default)]
    pub extra_system_prompt: Option<String>,
    /// Names the run; the same key is the same message.
    pub idempotency_key: String,
    /// A name for the session.
    #[serde(default)]
    pub label: Option<String>,
    /// The session that spawned this one.
    #[serde(default)]
    pub spawned_by: Option<String>,
}

/// Parameters of `agent.wait`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AgentWaitParams {
    /// The run.
    pub run_id: String,
    /// How long to wait, in milliseconds; 30 000 when absent.
    #[serde(default)]
    pub timeout_ms: Option<u64>,
}

/// Payload of the `agent` event.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AgentEvent {
    /// The run.
    pub run_id: String,
    /// The number of this event within its run, from 1.
    pub seq: u64,
    /// `lifecycle`, `assistant`, `tool` or `error`.
    pub stream: &'static str,
    /// When, in milliseconds since the epoch.
    pub ts: u64,
    /// What happened.
    pub data: Value,
    /// The conversation.
    pub session_key: String,
}
