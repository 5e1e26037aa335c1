//! `last-heartbeat`, `set-heartbeats`, `system-event`, `wake`: what clients have to do with the agent's looking around by itself.

use moltbot_config::limits;
use moltbot_config::settings::WakeMode;
use moltbot_policy::{Book as _, Class, Decision, Entry};
use moltbot_protocol::error::WireError;
use moltbot_protocol::principal::Principal;
use moltbot_store::{EventSource, KeptEvent, NewEvent};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Call, Outcome, not_recorded, store_failed};
use crate::heartbeat;
use crate::shared::Shared;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SetParams {
    enabled: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WakeParams {
    mode: WakeMode,
    text: String,
}

/// What happened. Clients of other generations say of themselves besides what `connect` says already.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[expect(dead_code, reason = "read, so that a member of another type is refused")]
struct EventParams {
    text: String,
    #[serde(default)]
    device_family: Option<String>,
    #[serde(default)]
    device_id: Option<String>,
    #[serde(default)]
    host: Option<String>,
    #[serde(default)]
    instance_id: Option<String>,
    #[serde(default)]
    ip: Option<String>,
    #[serde(default)]
    last_input_seconds: Option<Value>,
    #[serde(default)]
    mode: Option<String>,
    #[serde(default)]
    model_identifier: Option<String>,
    #[serde(default)]
    platform: Option<String>,
    #[serde(default)]
    reason: Option<String>,
    #[serde(default)]
    roles: Option<Vec<String>>,
    #[serde(default)]
    scopes: Option<Vec<String>>,
    #[serde(default)]
    tags: Option<Vec<String>>,
    #[serde(default)]
    version: Option<String>,
}

/// What became of the last time.
pub(super) fn last(shared: &Shared, call: &Call) -> Outcome {
    let Nothing {} = call.params()?;
    Ok(shared.heartbeats.last())
}

/// Switches looks by itself off or on, until the gateway stops.
pub(super) async fn set(shared: &Shared, call: &Call) -> Outcome {
    let SetParams { enabled } = call.params()?;
    let what = if enabled { "on" } else { "off" };
    record(shared, call, "heartbeat.set", what).await?;
    shared.heartbeats.set(enabled);
    shared.health.touch();
    Ok(json!({"ok": true, "enabled": enabled, "agents": shared.heartbeats.looking()}))
}

/// Tells the agent something, now or when it looks next.
pub(super) async fn wake(shared: &Shared, call: &Call) -> Outcome {
    let WakeParams { mode, text } = call.params()?;
    let kept = keep(shared, call, &text).await;
    if mode == WakeMode::Now {
        shared.heartbeats.ask(&shared.default_agent());
    }
    kept.map(|()| json!({"ok": true}))
}

/// Tells the agent something when it looks next.
pub(super) async fn event(shared: &Shared, call: &Call) -> Outcome {
    let EventParams { text, .. } = call.params()?;
    keep(shared, call, &text).await?;
    Ok(json!({"ok": true}))
}

async fn keep(shared: &Shared, call: &Call, text: &str) -> Result<(), WireError> {
    let text = text.trim();
    if text.is_empty() || text.len() > limits::SYSTEM_EVENT_BYTES {
        let most = limits::SYSTEM_EVENT_BYTES;
        return Err(WireError::invalid(format!("text must have 1 to {most} bytes that say something")));
    }
    let agent = shared.default_agent();
    record(shared, call, "heartbeat.tell", agent.as_str()).await?;
    let source = EventSource { agent, by: Principal::Owner };
    let event = NewEvent { source, text: text.to_owned(), delivery: None };
    match heartbeat::keep(shared, event).await.map_err(|error| store_failed(&error))? {
        KeptEvent::Fresh => return Ok(()),
        KeptEvent::Full | KeptEvent::Known(_) => {}
    }
    let most = limits::SYSTEM_EVENTS;
    Err(WireError::unavailable(format!(
        "{most} things wait already to be told to the agent; this is taken once it has looked, so send it again then"
    )))
}

async fn record(shared: &Shared, call: &Call, action: &'static str, what: &str) -> Result<(), WireError> {
    let entry = Entry::new(call.grant.actor(), action, what, Decision::Allowed);
    let entry = Entry { class: Class::Immediate, ..entry };
    shared.ledger.enter_soon(vec![entry]).await.map(|_| ()).map_err(|error| not_recorded(&error))
}
