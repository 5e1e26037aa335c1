//! What a device's record says, and how a decision changes it.

use moltbot_config::limits;
use moltbot_policy::Refusal;
use moltbot_policy::pairing::{self, TokenDigest};
use moltbot_protocol::scope::ScopeSet;
use moltbot_store::{DeviceRequest, DeviceRole, PairedDevice};
use serde_json::{Value, json};

use super::{DeviceError, Issued, Known, ROLE};

pub(super) fn unknown(id: &str, role: &str) -> DeviceError {
    let id: String = id.chars().take(limits::DEVICE_TEXT_CHARS).collect();
    let role: String = role.chars().take(limits::DEVICE_TEXT_CHARS).collect();
    let message = format!("no device {id:?} is approved as {role:?}");
    DeviceError::Refused(Refusal::new("unknown_device", message))
}

pub(super) fn room_for_one(known: &Known) -> Result<(), DeviceError> {
    if known.paired.len() < limits::PAIRED_DEVICES {
        return Ok(());
    }
    let message =
        format!("{} devices are known already, and none is forgotten by itself", limits::PAIRED_DEVICES);
    Err(DeviceError::Refused(Refusal::new("too_many_devices", message)))
}

pub(super) fn is_over(request: &DeviceRequest, now: u64) -> bool {
    // A clock that was set back ends a request too: how old it is cannot be told.
    request.ts > now || now.saturating_sub(request.ts) >= limits::PENDING_DEVICE_MS
}

pub(super) fn names(scopes: &ScopeSet) -> Vec<String> {
    scopes.iter().map(|scope| scope.name().to_owned()).collect()
}

/// Approves more scopes; what was revoked counts no more.
pub(super) fn approve(device: &mut PairedDevice, scopes: &ScopeSet, now: u64) {
    device.approved_at_ms = now;
    let role = device.roles.entry(ROLE.into()).or_default();
    let mut approved = pairing::scopes_of(&role.scopes);
    if role.revoked_at_ms.take().is_some() {
        approved.clear();
    }
    approved.extend(scopes);
    role.scopes = names(&approved);
}

pub(super) fn give_token(
    device: &mut PairedDevice,
    scopes: &ScopeSet,
    now: u64,
) -> Result<Issued, DeviceError> {
    let token = moltbot_vault::draw_token().map_err(|error| DeviceError::Random(error.to_string()))?;
    let role: &mut DeviceRole = device.roles.entry(ROLE.into()).or_default();
    role.rotated_at_ms = role.token_digest.is_some().then_some(now);
    role.created_at_ms = Some(now);
    role.scopes = names(scopes);
    role.token_digest = Some(TokenDigest::of(&token).to_hex());
    Ok(Issued { token, at_ms: now, scopes: role.scopes.clone() })
}

/// A device that signs in: it gets a token when it has none, and the time is noted.
pub(super) fn welcome(device: &mut PairedDevice, now: u64) -> Result<Option<Issued>, DeviceError> {
    let Some(role) = device.roles.get_mut(ROLE) else { return Ok(None) };
    role.last_used_at_ms = Some(now);
    if role.token_digest.is_some() {
        return Ok(None);
    }
    let scopes = pairing::scopes_of(&role.scopes);
    give_token(device, &scopes, now).map(Some)
}

/// A device as clients see it: its tokens without what is kept of them.
pub(super) fn shown(device: &PairedDevice) -> Value {
    let tokens: Vec<Value> = device.roles.iter().map(|(role, approved)| {
        let DeviceRole { scopes, token_digest, created_at_ms, rotated_at_ms, revoked_at_ms, last_used_at_ms } = approved;
        json!({
            "role": role, "scopes": scopes, "issued": token_digest.is_some(), "createdAtMs": created_at_ms,
            "rotatedAtMs": rotated_at_ms, "revokedAtMs": revoked_at_ms, "lastUsedAtMs": last_used_at_ms,
        })
    }).collect();
    let role = device.roles.get(ROLE);
    let mut value = json!(device);
    if let Some(members) = value.as_object_mut() {
        members.insert("roles".into(), json!(device.roles.keys().collect::<Vec<_>>()));
        members.insert("role".into(), json!(device.roles.keys().next()));
        members.insert("scopes".into(), json!(role.map(|role| &role.scopes)));
        members.insert("tokens".into(), json!(tokens));
    }
    value
}
