//! What a hook leaves for a heartbeat: it is kept and causes no turn of its own. It is told at the agent's next look, as text from
//! outside, and that look may no more than the hook.

use http::{Response, StatusCode};
use moltbot_channels::hooks::HookCall;
use moltbot_config::limits;
use moltbot_config::settings::WakeMode;
use moltbot_policy::hook::Delivery;
use moltbot_policy::{Book as _, Class, Decision, Entry};
use moltbot_protocol::ids::{AgentId, HookName, SessionKey};
use moltbot_protocol::principal::Principal;
use moltbot_store::{EventSource, HookDelivery, KeptEvent, NewEvent};
use serde_json::json;

use super::super::answer::{self, Body};
use super::failure::Failure;
use crate::heartbeat;
use crate::inbound::{self, InboundError};
use crate::shared::Shared;

/// Keeps what a call says for the agent's next look, and answers when it is on disk.
pub(super) async fn leave(
    shared: &Shared,
    call: HookCall,
    principal: Principal,
    delivery: Delivery,
) -> Result<Response<Body>, Failure> {
    let agent = call.agent.clone().unwrap_or_else(|| shared.default_agent());
    let text = match call.title {
        None => call.text,
        Some(title) => format!("{title}\n{}", call.text),
    };
    let text = text.trim().to_owned();
    if text.len() > limits::SYSTEM_EVENT_BYTES {
        let most = limits::SYSTEM_EVENT_BYTES;
        let error =
            format!("what waits for a heartbeat has at most {most} bytes; send less, or mode \"now\"");
        return Err(Failure::new(StatusCode::BAD_REQUEST, &error));
    }
    let delivery = known_by(&call.hook, delivery);
    if let Some(delivery) = &delivery
        && let Some(left) = left(shared, delivery).await?
    {
        return again(&left, delivery);
    }
    let session = SessionKey::main_of(&agent);
    inbound::require_taken(shared, &session, &principal)?;
    require_look(shared, &agent, &principal).await?;
    let entry = Entry::new(principal.to_string(), "heartbeat.tell", agent.as_str(), Decision::Allowed);
    let entry = Entry { class: Class::Immediate, ..entry.in_session(session.as_str()) };
    shared.ledger.enter_soon(vec![entry]).await.map_err(InboundError::from)?;
    let event = NewEvent { source: EventSource { agent, by: principal }, text, delivery: delivery.clone() };
    match (heartbeat::keep(shared, event).await.map_err(InboundError::from)?, delivery) {
        (KeptEvent::Known(left), Some(delivery)) => again(&left, &delivery),
        (KeptEvent::Fresh | KeptEvent::Known(_), _) => Ok(kept()),
        (KeptEvent::Full, _) => Err(full()),
    }
}

fn known_by(hook: &HookName, delivery: Delivery) -> Option<HookDelivery> {
    let Delivery { run, content } = delivery;
    content.map(|content| HookDelivery { hook: hook.clone(), run, content })
}

async fn left(shared: &Shared, delivery: &HookDelivery) -> Result<Option<String>, Failure> {
    Ok(shared.store.left_delivery(delivery.clone()).await.map_err(InboundError::from)?)
}

/// Demands that the agent looks by itself, and that there is room for what it would be told: what nobody is told would be lost in
/// silence.
pub(super) async fn require_look(
    shared: &Shared,
    agent: &AgentId,
    principal: &Principal,
) -> Result<(), Failure> {
    if !shared.heartbeats.looks(agent) {
        let error = format!(
            "heartbeats of the agent {agent} are off, so nothing can wait for one; send mode \"now\", or have its owner switch them on"
        );
        return Err(Failure::new(StatusCode::SERVICE_UNAVAILABLE, &error));
    }
    let has_room = heartbeat::has_room(shared, principal).await.map_err(InboundError::from)?;
    if has_room { Ok(()) } else { Err(full()) }
}

/// Demands that a delivery that is to have a turn was not left for a look before.
pub(super) async fn require_not_left(
    shared: &Shared,
    hook: &HookName,
    delivery: &Delivery,
) -> Result<(), Failure> {
    let Some(delivery) = known_by(hook, delivery.clone()) else { return Ok(()) };
    match left(shared, &delivery).await? {
        None => Ok(()),
        Some(_) => Err(InboundError::Reused.into()),
    }
}

fn again(left: &str, delivery: &HookDelivery) -> Result<Response<Body>, Failure> {
    if left == delivery.content { Ok(kept()) } else { Err(InboundError::Reused.into()) }
}

fn kept() -> Response<Body> {
    answer::json(StatusCode::OK, &json!({"ok": true, "mode": WakeMode::NextHeartbeat.name()}))
}

fn full() -> Failure {
    let most = limits::HOOK_EVENTS;
    let error =
        format!("{most} things of hooks wait already to be told; send this again after the next heartbeat");
    Failure::new(StatusCode::TOO_MANY_REQUESTS, &error)
}
