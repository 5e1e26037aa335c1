//! `sessions.patch`, `sessions.compact` and `sessions.subscribe`.
//!
//! Kept is what has an effect: the label, and the model that answers. What clients set besides is refused with the reason,
//! so that nobody relies on it; saying what is so already, or taking away what is not there, is no change.

use moltbot_agent::TurnReport;
use moltbot_protocol::error::WireError;
use moltbot_protocol::event;
use moltbot_protocol::ids::SessionKey;
use moltbot_store::{SessionPatch, SessionRow, StoreError, TurnState};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::super::{Call, Outcome, session_of, store_failed};
use crate::outbox::InFlight;
use crate::shared::Shared;

/// Characters of a label.
const LABEL_CHARS: usize = 64;
/// Messages that stay, when the client does not say.
const LINES: u64 = 400;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Params {
    key: String,
    #[serde(default)]
    agent_id: Option<String>,
    #[serde(flatten)]
    members: Map<String, Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct CompactParams {
    key: String,
    #[serde(default)]
    agent_id: Option<String>,
    #[serde(default)]
    max_lines: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

/// What cannot be set: its name, the value that it has, and why it has no other.
const FIXED: [(&str, &str, &str); 12] = [
    ("elevatedLevel", "off", "commands always run in the sandbox"),
    ("execAsk", "", "what a command may do is set in the config, for all sessions"),
    ("execHost", "sandbox", "commands always run in the sandbox"),
    ("execNode", "", "there are no nodes"),
    ("execSecurity", "", "what a command may do is set in the config, for all sessions"),
    ("groupActivation", "", "when the agent speaks in a group is set in the config"),
    ("reasoningLevel", "off", "what a model thinks is not told"),
    ("responseUsage", "off", "usage is told by sessions.list and usage.cost"),
    ("sendPolicy", "allow", "replies go to whoever asked"),
    ("spawnedBy", "", "no session spawns another"),
    ("thinkingLevel", "off", "models think as much as they do by themselves"),
    ("verboseLevel", "", "clients are always told of tools"),
];

pub(in crate::methods) async fn patch(shared: &Shared, call: &Call) -> Outcome {
    let params: Params = call.params()?;
    let key = session_of(shared, &params.key, params.agent_id.as_deref())?;
    let patch = read(shared, params.members)?;
    let now = shared.now_ms();
    let row = shared.store.patch_session(&key, patch, now).await.map_err(|error| match error {
        StoreError::LabelTaken { .. } => WireError::invalid(error.to_string()),
        other => store_failed(&other),
    })?;
    shared.health.touch();
    changed(shared, &key, "patch", Some(&row.session_id));
    let resolved = resolved(shared, &row);
    Ok(
        json!({"ok": true, "path": "state.db", "key": key.as_str(), "entry": entry(&row), "resolved": resolved}),
    )
}

/// What is to be changed, if all of it can.
fn read(shared: &Shared, members: Map<String, Value>) -> Result<SessionPatch, WireError> {
    let mut patch = SessionPatch::default();
    for (name, value) in members {
        match name.as_str() {
            "label" => patch.label = Some(label(value)?),
            "model" => patch.chosen_model = Some(model(shared, value)?),
            other => require_fixed(other, &value)?,
        }
    }
    Ok(patch)
}

fn require_fixed(name: &str, value: &Value) -> Result<(), WireError> {
    let Some((_, fixed, because)) = FIXED.iter().find(|(known, _, _)| *known == name) else {
        let name: String = name.chars().take(100).collect();
        return Err(WireError::invalid(format!("invalid sessions.patch params: unknown field `{name}`")));
    };
    let same = value.is_null() || (!fixed.is_empty() && value.as_str() == Some(fixed));
    if same { Ok(()) } else { Err(WireError::invalid(format!("{name} cannot be set: {because}"))) }
}

fn text(name: &str, value: Value) -> Result<Option<String>, WireError> {
    match value {
        Value::Null => Ok(None),
        Value::String(text) => Ok(Some(text.trim().to_owned())),
        _ => {
            Err(WireError::invalid(format!("invalid sessions.patch params: {name} must be a string or null")))
        }
    }
}

fn label(value: Value) -> Result<Option<String>, WireError> {
    let label = text("label", value)?;
    let fits = |label: &String| {
        (1..=LABEL_CHARS).contains(&label.chars().count()) && !label.chars().any(char::is_control)
    };
    if label.as_ref().is_none_or(fits) {
        return Ok(label);
    }
    Err(WireError::invalid(format!("label must have 1 to {LABEL_CHARS} printable characters")))
}

/// The whole name of a model that can be asked.
fn model(shared: &Shared, value: Value) -> Result<Option<String>, WireError> {
    let Some(reference) = text("model", value)? else { return Ok(None) };
    let model = shared.agent.models().named(&reference);
    let model = model.map_err(|error| WireError::invalid(error.to_string()))?;
    Ok(Some(format!("{}/{}", model.provider(), model.id())))
}

fn entry(row: &SessionRow) -> Value {
    let mut entry = json!({"sessionId": row.session_id, "updatedAt": row.updated_ms});
    let chosen = row.chosen_model.as_deref().and_then(|chosen| chosen.split_once('/'));
    if let Some(members) = entry.as_object_mut() {
        if let Some(label) = &row.label {
            members.insert("label".into(), json!(label));
        }
        if let Some((provider, model)) = chosen {
            members.insert("providerOverride".into(), json!(provider));
            members.insert("modelOverride".into(), json!(model));
        }
    }
    entry
}

/// The model that answers from now on.
fn resolved(shared: &Shared, row: &SessionRow) -> Value {
    match row.chosen_model.as_deref().and_then(|chosen| chosen.split_once('/')) {
        Some((provider, model)) => json!({"modelProvider": provider, "model": model}),
        None => super::defaults(shared, &row.key.agent()),
    }
}

/// Tells a session that is short enough already. Others are not cut: a transcript is never thrown away in part, and what
/// would stand for it cannot be written here.
pub(in crate::methods) async fn compact(shared: &Shared, call: &Call) -> Outcome {
    let params: CompactParams = call.params()?;
    let key = session_of(shared, &params.key, params.agent_id.as_deref())?;
    let most = params.max_lines.unwrap_or(LINES);
    let row = shared.store.session(&key).await.map_err(|error| store_failed(&error))?;
    let told = |reason: &str| json!({"ok": true, "key": key.as_str(), "compacted": false, "reason": reason});
    match row {
        None => Ok(told("no transcript")),
        Some(row) if row.message_count <= most => {
            let mut told = told("short enough");
            if let Some(members) = told.as_object_mut() {
                members.insert("kept".into(), json!(row.message_count));
            }
            Ok(told)
        }
        Some(row) => Err(WireError::invalid(format!(
            "session {key} has {} messages and is not shortened: the model is told the newest that fit, and nothing is \
             summarised yet; sessions.reset begins it anew and keeps the old transcript",
            row.message_count
        ))),
    }
}

/// From now on this connection is told when a session is changed by a person, and when a turn of it has ended.
pub(in crate::methods) fn subscribe(call: &Call, place: &InFlight) -> Outcome {
    let Nothing {} = call.params()?;
    place.subscribe_to_sessions();
    Ok(json!({"subscribed": true}))
}

/// Tells whoever asked for it that a turn is on disk: clients wait for that before they take a conversation for settled.
pub(crate) fn ended(shared: &Shared, report: &TurnReport, session_id: &str) {
    let phase = if report.state == TurnState::Error { "error" } else { "end" };
    let (key, now) = (&report.session, shared.now_ms());
    let payload = json!({
        "sessionKey": key.as_str(), "agentId": key.agent().as_str(), "phase": phase, "runId": report.run.as_str(),
        "sessionId": session_id, "updatedAt": now, "ts": now,
    });
    shared.hub.broadcast_to_subscribers(event::SESSIONS_CHANGED, &payload);
}

/// Tells whoever asked for it that a session changed.
pub(in crate::methods) fn changed(shared: &Shared, key: &SessionKey, reason: &str, session_id: Option<&str>) {
    let now = shared.now_ms();
    let payload = json!({
        "sessionKey": key.as_str(), "agentId": key.agent().as_str(), "reason": reason, "sessionId": session_id,
        "updatedAt": now, "ts": now,
    });
    shared.hub.broadcast_to_subscribers(event::SESSIONS_CHANGED, &payload);
}
