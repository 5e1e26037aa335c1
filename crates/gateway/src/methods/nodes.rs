//! `node.*`: who waits, who is there, and commands on their way to a node and back.

use std::time::Duration;

use moltbot_config::limits;
use moltbot_policy::nodes::{Invocation, InvokePermit, invoke as judge, refused_invoke};
use moltbot_policy::{Book as _, Decision, Entry, record_soon};
use moltbot_protocol::error::WireError;
use moltbot_protocol::event;
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::{Value, json};

use super::devices::failed;
use super::{Call, Outcome, not_recorded};
use crate::devices::Decider;
use crate::nodes::{Answered, Key, OnDuty};
use crate::shared::Shared;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Request {
    request_id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct One {
    node_id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Named {
    node_id: String,
    display_name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Token {
    node_id: String,
    token: SecretString,
}

/// What other generations say of a node that asks. It counts only what the node itself said when it connected.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Asking {
    node_id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Invoke {
    node_id: String,
    command: String,
    #[serde(default)]
    params: Value,
    #[serde(default)]
    timeout_ms: Option<u64>,
    idempotency_key: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct InvokeResult {
    id: String,
    node_id: String,
    ok: bool,
    #[serde(default)]
    payload: Value,
    /// A text with JSON; newer nodes leave it out, and some send what it would stand for.
    #[serde(default, rename = "payloadJSON")]
    payload_json: Value,
    #[serde(default)]
    error: Value,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Happened {
    event: String,
    #[serde(default, rename = "payload")]
    _payload: Option<serde::de::IgnoredAny>,
    #[serde(default, rename = "payloadJSON")]
    _payload_json: Option<serde::de::IgnoredAny>,
}

/// The nodes: those that are approved, with what they say when they are connected.
pub(super) fn list(shared: &Shared, call: &Call) -> Outcome {
    let Nothing {} = call.params()?;
    let paired = shared.devices.nodes().get_mut("paired").map(Value::take).unwrap_or_default();
    let Value::Array(paired) = paired else { return Ok(json!({"ts": shared.now_ms(), "nodes": []})) };
    let nodes: Vec<Value> = paired.into_iter().map(|node| shared.nodes.shown(node)).collect();
    Ok(json!({"ts": shared.now_ms(), "nodes": nodes}))
}

/// One node.
pub(super) fn describe(shared: &Shared, call: &Call) -> Outcome {
    let One { node_id } = call.params()?;
    let node = shared.devices.node(&node_id).ok_or_else(unknown)?;
    let mut node = shared.nodes.shown(node);
    if let Some(members) = node.as_object_mut() {
        members.insert("ts".into(), json!(shared.now_ms()));
    }
    Ok(node)
}

pub(super) fn pairs(shared: &Shared, call: &Call) -> Outcome {
    let Nothing {} = call.params()?;
    Ok(shared.devices.nodes())
}

/// A node asks by connecting with its key. Here is only told that it waits.
pub(super) fn request(shared: &Shared, call: &Call) -> Outcome {
    let Asking { node_id } = call.params()?;
    match shared.devices.node_waiting(&node_id) {
        Some(request) => Ok(json!({"status": "pending", "request": request, "created": false})),
        None => Err(WireError::invalid(
            "no such node waits: a node asks to be approved by connecting with its key, as `node run` does",
        )),
    }
}

pub(super) async fn approve(shared: &Shared, call: &Call) -> Outcome {
    let request_id = of_node(shared, call)?;
    let answer = shared.devices.approve(&request_id, Decider::Client(&call.grant)).await;
    let answer = answer.map_err(|error| failed(&error))?;
    let id = answer.pointer("/device/deviceId").and_then(Value::as_str).unwrap_or_default();
    resolved(shared, &request_id, id, "approved");
    Ok(json!({"requestId": request_id, "node": shared.devices.node(id)}))
}

pub(super) async fn reject(shared: &Shared, call: &Call) -> Outcome {
    let request_id = of_node(shared, call)?;
    let answer = shared.devices.reject(&request_id, Decider::Client(&call.grant)).await;
    let answer = answer.map_err(|error| failed(&error))?;
    let id = answer.get("deviceId").and_then(Value::as_str).unwrap_or_default();
    resolved(shared, &request_id, id, "rejected");
    Ok(json!({"requestId": request_id, "nodeId": id}))
}

/// The request, when it is a node's: an operator's is decided about under its own name.
fn of_node(shared: &Shared, call: &Call) -> Result<String, WireError> {
    let Request { request_id } = call.params()?;
    if shared.devices.is_of_node(&request_id) {
        return Ok(request_id);
    }
    Err(WireError::invalid("unknown requestId"))
}

fn resolved(shared: &Shared, request: &str, node: &str, decision: &str) {
    let ts = shared.now_ms();
    let payload = json!({"requestId": request, "nodeId": node, "decision": decision, "ts": ts});
    shared.hub.broadcast_to_approvers(event::NODE_PAIR_RESOLVED, &payload);
    let payload = json!({"requestId": request, "deviceId": node, "decision": decision, "ts": ts});
    shared.hub.broadcast_to_approvers(event::DEVICE_PAIR_RESOLVED, &payload);
}

pub(super) fn verify(shared: &Shared, call: &Call) -> Outcome {
    let Token { node_id, token } = call.params()?;
    if !shared.devices.is_token_of_node(&node_id, &token) {
        return Ok(json!({"ok": false}));
    }
    Ok(json!({"ok": true, "node": shared.devices.node(&node_id)}))
}

pub(super) async fn rename(shared: &Shared, call: &Call) -> Outcome {
    let Named { node_id, display_name } = call.params()?;
    let renamed = shared.devices.rename_node(&node_id, &display_name, Decider::Client(&call.grant)).await;
    renamed.map_err(|error| failed(&error))?;
    let name =
        shared.devices.node(&node_id).and_then(|mut node| node.get_mut("displayName").map(Value::take));
    Ok(json!({"nodeId": node_id, "displayName": name}))
}

/// Has a node do a command, once for each key, and answers what came of it.
pub(super) async fn invoke(shared: &Shared, call: &Call) -> Outcome {
    let asked: Invoke = call.params()?;
    let patience = patience(asked.timeout_ms)?;
    if !(1..=limits::DEVICE_TEXT_CHARS).contains(&asked.idempotency_key.len()) {
        return Err(WireError::invalid("invalid node.invoke params: idempotencyKey has 1 to 128 bytes"));
    }
    let permit = judged(shared, call, &asked)?;
    let key: Key = (call.grant.actor().to_owned(), asked.idempotency_key);
    let request = json!([asked.node_id, asked.command, asked.params]).to_string();
    if let Some(known) = shared.nodes.take_key(&key, &digest(&request))? {
        return known;
    }
    let permit = match record_soon(permit, &shared.ledger).await {
        Ok(permit) => permit,
        Err(unrecorded) => {
            shared.nodes.give_key_back(&key);
            return Err(not_recorded(&unrecorded));
        }
    };
    let Some((outcome, ended)) = shared.nodes.ask(&permit, &asked.params, &key.1, patience).await else {
        shared.nodes.give_key_back(&key);
        return Err(not_connected());
    };
    shared.nodes.done(&key, &outcome);
    enter(shared, permit.permit().end(ended));
    outcome
}

fn patience(asked: Option<u64>) -> Result<Duration, WireError> {
    let milliseconds = asked.unwrap_or(limits::NODE_INVOKE_MS);
    if (1..=limits::NODE_INVOKE_LONGEST_MS).contains(&milliseconds) {
        return Ok(Duration::from_millis(milliseconds));
    }
    let most = limits::NODE_INVOKE_LONGEST_MS;
    Err(WireError::invalid(format!("invalid node.invoke params: timeoutMs is 1 to {most}")))
}

/// The judge's yes, or his recorded no.
fn judged(shared: &Shared, call: &Call, asked: &Invoke) -> Result<InvokePermit, WireError> {
    let Invoke { node_id, command, params, .. } = asked;
    let approved = shared.devices.commands(node_id).ok_or_else(unknown)?;
    let offered = shared.nodes.offered(node_id).ok_or_else(not_connected)?;
    let platform = shared.devices.platform(node_id).unwrap_or_default();
    let (platform, approved, offered) = (platform.as_str(), &approved, &offered);
    let invocation = Invocation { node: node_id, command, params, platform, approved, offered };
    judge(&call.grant, invocation, shared.nodes.rules()).map_err(|refusal| {
        enter(shared, refused_invoke(&call.grant, node_id, command, &refusal).buffered());
        let details = json!({"code": refusal.code, "command": command});
        WireError::invalid(refusal.message).with_details(details)
    })
}

/// What was asked for, as it is remembered.
fn digest(request: &str) -> String {
    moltbot_policy::pairing::TokenDigest::of(&SecretString::from(request)).to_hex()
}

fn unknown() -> WireError {
    WireError::invalid("unknown nodeId")
}

fn not_connected() -> WireError {
    WireError::unavailable("node not connected").with_details(json!({"code": "NOT_CONNECTED"}))
}

/// What came of a command, as the node says that was asked. A late answer is nobody's.
pub(super) fn result(call: &Call) -> Outcome {
    let InvokeResult { id, node_id, ok, payload, payload_json, error } = call.params()?;
    let node = on_duty(call)?;
    if call.grant.device() != Some(node_id.as_str()) {
        return Err(WireError::invalid("nodeId mismatch"));
    }
    let (payload, payload_json) = match payload_json {
        Value::String(text) => (payload, Some(text)),
        Value::Null => (payload, None),
        other if payload.is_null() => (other, None),
        _ => (payload, None),
    };
    if node.answer(&id, Answered { ok, payload, payload_json, error }) {
        return Ok(json!({"ok": true}));
    }
    Ok(json!({"ok": true, "ignored": true}))
}

/// What happened at a node. Nothing that it could speak of was begun here, so nothing follows: no turn, and no end of a
/// command. The book is told.
pub(super) fn happened(shared: &Shared, call: &Call) -> Outcome {
    let Happened { event, .. } = call.params()?;
    if let Some(count) = on_duty(call)?.count_event() {
        let event: String = event.chars().take(limits::NODE_COMMAND_CHARS).collect();
        let target = format!("node:{}", call.grant.device().unwrap_or_default());
        let entry = Entry::new(call.grant.actor(), "node.event", target, Decision::Refused)
            .with("event", event)
            .with("code", "nothing_begun")
            .with("count", count.to_string());
        enter(shared, entry.buffered());
    }
    Ok(json!({"ok": true, "ignored": true}))
}

/// The programs of skills, of which there are none.
pub(super) fn bins(call: &Call) -> Outcome {
    let Nothing {} = call.params()?;
    Ok(json!({"bins": []}))
}

fn on_duty(call: &Call) -> Result<&OnDuty, WireError> {
    call.node.as_deref().ok_or_else(|| WireError::invalid("unauthorized role: operator"))
}

/// Buffered: it permits nothing, and does not wait for the disk.
fn enter(shared: &Shared, entry: Entry) {
    if let Err(error) = shared.ledger.enter(entry) {
        tracing::error!(%error, "what became of a node's command could not be recorded");
    }
}
