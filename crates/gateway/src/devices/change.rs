//! What a device's record says, and how a decision changes it.

use moltbot_config::limits;
use moltbot_policy::Refusal;
use moltbot_policy::nodes::CommandSet;
use moltbot_policy::pairing::{self, Rights, TokenDigest};
use moltbot_protocol::scope::{Role, ScopeSet};
use moltbot_store::{DeviceRequest, DeviceRole, PairedDevice};
use serde_json::{Value, json};

use super::{DeviceError, Issued, Known};

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

/// What a request asks for. A role that is not known is nothing to approve.
pub(super) fn rights_of(request: &DeviceRequest) -> Result<Rights, DeviceError> {
    match Role::parse(Some(&request.role)) {
        Some(Role::Node) => Ok(Rights::node(request.commands.iter().cloned().collect())),
        Some(Role::Operator) => Ok(Rights::operator(pairing::scopes_of(&request.scopes))),
        None => Err(unknown(&request.device_id, &request.role)),
    }
}

/// Approves more in one role; what was revoked counts no more.
pub(super) fn approve(device: &mut PairedDevice, rights: &Rights, now: u64) {
    device.approved_at_ms = now;
    let role = device.roles.entry(rights.role().name().into()).or_default();
    let mut scopes = pairing::scopes_of(&role.scopes);
    let mut commands: CommandSet = role.commands.iter().cloned().collect();
    if role.revoked_at_ms.take().is_some() {
        scopes.clear();
        commands.clear();
    }
    scopes.extend(rights.scopes());
    commands.extend(rights.commands().iter().cloned());
    role.scopes = names(&scopes);
    role.commands = commands.into_iter().collect();
}

pub(super) fn give_token(
    device: &mut PairedDevice,
    role: Role,
    scopes: &ScopeSet,
    now: u64,
) -> Result<Issued, DeviceError> {
    let token = moltbot_vault::draw_token().map_err(|error| DeviceError::Random(error.to_string()))?;
    let role: &mut DeviceRole = device.roles.entry(role.name().into()).or_default();
    role.rotated_at_ms = role.token_digest.is_some().then_some(now);
    role.created_at_ms = Some(now);
    role.scopes = names(scopes);
    role.token_digest = Some(TokenDigest::of(&token).to_hex());
    Ok(Issued { token, at_ms: now, scopes: role.scopes.clone() })
}

/// A device that signs in: it gets a token when it has none, and the time is noted.
pub(super) fn welcome(
    device: &mut PairedDevice,
    role: Role,
    now: u64,
) -> Result<Option<Issued>, DeviceError> {
    let Some(kept) = device.roles.get_mut(role.name()) else { return Ok(None) };
    kept.last_used_at_ms = Some(now);
    if kept.token_digest.is_some() {
        return Ok(None);
    }
    let scopes = pairing::scopes_of(&kept.scopes);
    give_token(device, role, &scopes, now).map(Some)
}

/// A device as clients see it: its tokens without what is kept of them.
pub(super) fn shown(device: &PairedDevice) -> Value {
    let tokens: Vec<Value> = device.roles.iter().map(|(role, approved)| {
        let DeviceRole { scopes, commands, token_digest, created_at_ms, rotated_at_ms, revoked_at_ms, last_used_at_ms } = approved;
        json!({
            "role": role, "scopes": scopes, "commands": commands, "issued": token_digest.is_some(), "createdAtMs": created_at_ms,
            "rotatedAtMs": rotated_at_ms, "revokedAtMs": revoked_at_ms, "lastUsedAtMs": last_used_at_ms,
        })
    }).collect();
    // Clients show one role: that of a person's client when there is one.
    let one = Some(Role::Operator.name()).filter(|role| device.roles.contains_key(*role));
    let one = one.or_else(|| device.roles.keys().next().map(String::as_str));
    let role = one.and_then(|role| device.roles.get(role));
    let mut value = json!(device);
    if let Some(members) = value.as_object_mut() {
        members.insert("roles".into(), json!(device.roles.keys().collect::<Vec<_>>()));
        members.insert("role".into(), json!(one));
        members.insert("scopes".into(), json!(role.map(|role| &role.scopes)));
        members.insert("tokens".into(), json!(tokens));
    }
    value
}
