//! `sessions.patch`, `sessions.compact` and `sessions.subscribe`.
//!
//! Kept is what has an effect: the label, the model that answers, how much it thinks, how much is told of tools, and how
//! messages wait. What clients set besides is refused with the reason,
//! so that nobody relies on it; saying what is so already, or taking away what is not there, is no change.

use std::sync::Arc;

use moltbot_agent::TurnReport;
use moltbot_channels::webchat;
use moltbot_config::settings::{QueueDrop, QueueMode};
use moltbot_policy::record_soon;
use moltbot_policy::session::SettingsPermit;
use moltbot_protocol::error::WireError;
use moltbot_protocol::event;
use moltbot_protocol::ids::{AgentId, SessionKey};
use moltbot_protocol::message::{ThinkingLevel, VerboseLevel};
use moltbot_store::{SessionOptions, SessionPatch, SessionRow, StoreError, TurnState};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::super::{Call, Outcome, not_kept, not_recorded, session_of, store_failed, unusable};
use super::settings;
use crate::inbound::{self, End, Hearing, Received, queueing};
use crate::outbox::InFlight;
use crate::shared::Shared;
use crate::stop;

/// Characters of a label.
const LABEL_CHARS: usize = 64;

const THINKING: [&str; 6] = ThinkingLevel::NAMES;
const VERBOSE: [&str; 3] = VerboseLevel::NAMES;

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

/// What can be set.
const KEPT: [&str; 8] = [
    "label",
    "model",
    "queueCap",
    "queueDebounceMs",
    "queueDrop",
    "queueMode",
    "thinkingLevel",
    "verboseLevel",
];

/// What cannot be set: its name, the value that it has, and why it has no other.
const FIXED: [(&str, &str, &str); 10] = [
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
];

pub(in crate::methods) async fn patch(shared: &Shared, call: &Call) -> Outcome {
    let params: Params = call.params()?;
    let key = session_of(shared, &params.key, params.agent_id.as_deref())?;
    let current = shared.store.session(&key).await.map_err(|error| store_failed(&error))?;
    let changes = changes(&params.members);
    let patch =
        read(shared, &key.agent(), params.members, current.map(|row| row.options).unwrap_or_default())?;
    let permit = SettingsPermit::by_client(&call.grant, key.clone(), changes);
    let permit = permit.map_err(|refusal| WireError::invalid(refusal.message))?;
    let permit = record_soon(permit, &shared.ledger).await.map_err(|error| not_recorded(&error))?;
    let row = settings::apply(shared, permit, patch).await.map_err(|error| match error {
        StoreError::LabelTaken { .. } => WireError::invalid(error.to_string()),
        other => store_failed(&other),
    })?;
    let resolved = resolved(shared, &row);
    Ok(
        json!({"ok": true, "path": "state.db", "key": key.as_str(), "entry": entry(&row), "resolved": resolved}),
    )
}

/// What the book is told of a change: of a label only that it changes, because it is somebody's words.
fn changes(members: &Map<String, Value>) -> Vec<(&'static str, String)> {
    let known = KEPT.iter().filter_map(|name| Some((*name, members.get(*name)?)));
    let told = |(name, value): (&'static str, &Value)| match value {
        Value::String(text) if name != "label" => (name, text.chars().take(100).collect()),
        Value::Null => (name, "none".to_owned()),
        Value::Number(number) => (name, number.to_string()),
        _ => (name, "changed".to_owned()),
    };
    known.map(told).collect()
}

/// What is to be changed, if all of it can.
fn read(
    shared: &Shared,
    agent: &AgentId,
    members: Map<String, Value>,
    mut options: SessionOptions,
) -> Result<SessionPatch, WireError> {
    let mut patch = SessionPatch::default();
    let before = options.clone();
    for (name, value) in members {
        match name.as_str() {
            "label" => patch.label = Some(label(value)?),
            "model" => patch.chosen_model = Some(model(shared, agent, value)?),
            "queueCap" => options.queue_cap = number(&name, &value, 1, 100)?,
            "queueDebounceMs" => options.queue_debounce_ms = number(&name, &value, 0, 60_000)?,
            "queueDrop" => options.queue_drop = word(&name, value, QueueDrop::named)?,
            "queueMode" => options.queue_mode = word(&name, value, QueueMode::named)?,
            "thinkingLevel" => {
                options.thinking_level = level(&name, value, ThinkingLevel::parse, &THINKING)?;
            }
            "verboseLevel" => {
                options.verbose_level = level(&name, value, VerboseLevel::parse, &VERBOSE)?;
            }
            other => require_fixed(other, &value)?,
        }
    }
    patch.options = (options != before).then_some(options);
    Ok(patch)
}

/// A whole number of a range; nothing takes it away.
fn number(name: &str, value: &Value, least: u32, most: u32) -> Result<Option<u32>, WireError> {
    if value.is_null() {
        return Ok(None);
    }
    let number = value.as_u64().and_then(|number| u32::try_from(number).ok());
    match number.filter(|number| (least..=most).contains(number)) {
        Some(number) => Ok(Some(number)),
        None => Err(WireError::invalid(format!("{name} must be {least} to {most}"))),
    }
}

/// A word that `named` knows; nothing takes it away.
fn word<T>(name: &str, value: Value, named: impl Fn(&str) -> Option<T>) -> Result<Option<T>, WireError> {
    let Some(text) = text(name, value)? else { return Ok(None) };
    let known = named(&text);
    known.map(Some).ok_or_else(|| WireError::invalid(format!("{name} {text:?} is not known")))
}

/// The same, of levels that are told with the refusal.
fn level<T>(
    name: &str,
    value: Value,
    parse: impl Fn(&str) -> Option<T>,
    all: &[&str],
) -> Result<Option<T>, WireError> {
    let Some(text) = text(name, value)? else { return Ok(None) };
    let unknown = || {
        let text: String = text.chars().take(100).collect();
        WireError::invalid(format!("{name} {text:?} is not known; there are: {}", all.join(", ")))
    };
    parse(&text.to_ascii_lowercase()).map(Some).ok_or_else(unknown)
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
fn model(shared: &Shared, agent: &AgentId, value: Value) -> Result<Option<String>, WireError> {
    let Some(reference) = text("model", value)? else { return Ok(None) };
    settings::model(shared, agent, &reference).map(Some).map_err(WireError::invalid)
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
        if let Ok(Value::Object(options)) = serde_json::to_value(&row.options) {
            members.extend(options);
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

/// Has the older messages of a session summarised, in a turn of its own, and answers when that has ended. They stay in the
/// transcript. With `maxLines`, only when there are more messages than that.
pub(in crate::methods) async fn compact(shared: &Arc<Shared>, call: &Call) -> Outcome {
    let params: CompactParams = call.params()?;
    let key = session_of(shared, &params.key, params.agent_id.as_deref())?;
    let row = shared.store.session(&key).await.map_err(|error| store_failed(&error))?;
    let told = |reason: &str| json!({"ok": true, "key": key.as_str(), "compacted": false, "reason": reason});
    let Some(row) = row else { return Ok(told("no transcript")) };
    if params.max_lines.is_some_and(|most| row.message_count <= most) {
        let mut told = told("short enough");
        if let Some(members) = told.as_object_mut() {
            members.insert("kept".into(), json!(row.message_count));
        }
        return Ok(told);
    }
    if shared.stop.is_stopped() {
        return Err(WireError::unavailable(stop::REFUSED));
    }
    let run = moltbot_vault::random_id().map_err(|error| WireError::unavailable(error.to_string()))?;
    let message = webchat::compact_message(key.clone(), &run).map_err(|error| unusable(&error))?;
    let received = inbound::receive(shared, message, call.grant.actor(), Hearing::Answer).await;
    let Received::Fresh(run) = received.map_err(|error| not_kept(&error))? else {
        return Err(WireError::unavailable("the name of the run was taken; try again"));
    };
    let End::Report(report) = run.ended().await else {
        return Err(WireError::unavailable("the gateway is stopping; the summary is made at the next start"));
    };
    match report.state {
        TurnState::Done if report.text == moltbot_agent::NOTHING_TO_SUMMARISE => Ok(told("no transcript")),
        TurnState::Done => {
            changed(shared, &key, "compact", Some(&row.session_id));
            Ok(json!({"ok": true, "key": key.as_str(), "compacted": true, "reason": report.text}))
        }
        TurnState::Aborted => Ok(told("aborted")),
        TurnState::Error | TurnState::Received => {
            let error = report.error.as_deref().unwrap_or("the summary failed without saying why");
            Err(WireError::unavailable(error))
        }
    }
}

/// Does what a message says that is `/queue …` and no message for the agent; the words to show for it. Nothing for any other
/// message.
pub(in crate::methods) async fn queue_by_text(
    shared: &Shared,
    key: &SessionKey,
    message: &str,
) -> Option<Result<String, WireError>> {
    let mut words = message.split_whitespace();
    if words.next() != Some("/queue") {
        return None;
    }
    let words: Vec<&str> = words.collect();
    Some(set_queue(shared, key, webchat::CHANNEL, &words).await.map_err(|error| store_failed(&error)))
}

/// Sets how messages wait in a session, and says how they do, or what can be said.
pub(crate) async fn set_queue(
    shared: &Shared,
    key: &SessionKey,
    channel: &str,
    words: &[&str],
) -> Result<String, StoreError> {
    let before = shared.store.session(key).await?.map(|row| row.options).unwrap_or_default();
    let options = match queueing::said(words, &before) {
        Ok(options) => options,
        Err(usage) => return Ok(usage),
    };
    if options != before {
        let patch = SessionPatch { options: Some(options.clone()), ..SessionPatch::default() };
        let row = shared.store.patch_session(key, patch, shared.now_ms()).await?;
        shared.health.touch();
        changed(shared, key, "patch", Some(&row.session_id));
    }
    Ok(queueing::told(shared, &options, channel))
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
