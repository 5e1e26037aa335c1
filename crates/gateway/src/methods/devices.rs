//! `device.pair.*` and `device.token.*`: who waits, who is known, and the decisions about them.

use moltbot_protocol::error::WireError;
use moltbot_protocol::event;
use secrecy::ExposeSecret;
use serde::Deserialize;
use serde_json::json;

use super::{Call, Outcome};
use crate::devices::{Decider, DeviceError};
use crate::shared::Shared;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Nothing {}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Request {
    request_id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Token {
    device_id: String,
    role: String,
    #[serde(default)]
    scopes: Option<Vec<String>>,
}

pub(super) fn list(shared: &Shared, call: &Call) -> Outcome {
    let Nothing {} = call.params()?;
    Ok(shared.devices.list())
}

pub(super) async fn approve(shared: &Shared, call: &Call) -> Outcome {
    let Request { request_id } = call.params()?;
    let answer = shared.devices.approve(&request_id, Decider::Client(&call.grant)).await;
    let answer = answer.map_err(|error| failed(&error))?;
    resolved(shared, &request_id, answer.pointer("/device/deviceId"), "approved");
    Ok(answer)
}

pub(super) async fn reject(shared: &Shared, call: &Call) -> Outcome {
    let Request { request_id } = call.params()?;
    let answer = shared.devices.reject(&request_id, Decider::Client(&call.grant)).await;
    let answer = answer.map_err(|error| failed(&error))?;
    resolved(shared, &request_id, answer.get("deviceId"), "rejected");
    Ok(answer)
}

fn resolved(shared: &Shared, request: &str, device: Option<&serde_json::Value>, decision: &str) {
    let payload =
        json!({"requestId": request, "deviceId": device, "decision": decision, "ts": shared.now_ms()});
    shared.hub.broadcast_to_approvers(event::DEVICE_PAIR_RESOLVED, &payload);
}

pub(super) async fn rotate(shared: &Shared, call: &Call) -> Outcome {
    let Token { device_id, role, scopes } = call.params()?;
    let who = Decider::Client(&call.grant);
    let issued = shared.devices.rotate(&device_id, &role, scopes.as_deref(), who).await;
    let issued = issued.map_err(|error| failed(&error))?;
    // What the old token opened ends; who changes its own token may go on.
    if call.grant.device() != Some(device_id.as_str()) || role != call.grant.role().name() {
        shared.hub.close_device(&device_id, &role);
    }
    shared.clients.end_requests_of(&device_id);
    Ok(json!({
        "deviceId": device_id, "role": role, "token": issued.token.expose_secret(), "scopes": issued.scopes,
        "rotatedAtMs": issued.at_ms,
    }))
}

pub(super) async fn revoke(shared: &Shared, call: &Call) -> Outcome {
    let Token { device_id, role, scopes } = call.params()?;
    if scopes.is_some() {
        return Err(WireError::invalid(
            "invalid device.token.revoke params: scopes belong to device.token.rotate",
        ));
    }
    let revoked = shared.devices.revoke(&device_id, &role, Decider::Client(&call.grant)).await;
    let revoked = revoked.map_err(|error| failed(&error))?;
    shared.hub.close_device(&device_id, &role);
    shared.clients.end_requests_of(&device_id);
    shared.sign_in.forget(&device_id).await;
    Ok(json!({"deviceId": device_id, "role": role, "revokedAtMs": revoked}))
}

/// The error that a client sees.
pub(crate) fn failed(error: &DeviceError) -> WireError {
    match error {
        DeviceError::Refused(refusal) => WireError::invalid(refusal.message.clone()),
        DeviceError::Import { .. }
        | DeviceError::Random(_)
        | DeviceError::Store(_)
        | DeviceError::Unrecorded(_) => {
            tracing::error!(%error, "a device could not be changed");
            WireError::unavailable("this is not possible now: it cannot be recorded or kept")
        }
    }
}
