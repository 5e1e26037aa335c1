//! Nodes among the devices: as clients see them, and what is decided about them alone.

use moltbot_config::limits;
use moltbot_policy::Refusal;
use moltbot_policy::pairing::{DeviceAct, Rights, TokenDigest};
use moltbot_protocol::scope::Role;
use moltbot_store::{DeviceChange, DeviceRequest, DeviceRole, PairedDevice};
use secrecy::SecretString;
use serde_json::{Value, json};

use super::change::is_over;
use super::{Decider, DeviceError, Devices};
use crate::shared::lock;

const NODE: &str = Role::Node.name();

impl Devices {
    /// Nodes that wait and nodes that are approved. No token and no digest is in there.
    pub(crate) fn nodes(&self) -> Value {
        let now = (self.clock)();
        let known = lock(&self.known);
        let waits = |request: &&DeviceRequest| request.role == NODE && !is_over(request, now);
        let pending: Vec<Value> = known.pending.values().filter(waits).map(waiting).collect();
        let paired: Vec<Value> = known.paired.values().filter_map(approved).collect();
        json!({"pending": pending, "paired": paired})
    }

    /// An approved node, as clients see it.
    pub(crate) fn node(&self, id: &str) -> Option<Value> {
        lock(&self.known).paired.get(id).and_then(approved)
    }

    /// The platform that a node had when it was approved.
    pub(crate) fn platform(&self, id: &str) -> Option<String> {
        lock(&self.known).paired.get(id)?.claims.platform.clone()
    }

    /// The request of a node that waits.
    pub(crate) fn node_waiting(&self, id: &str) -> Option<Value> {
        let now = (self.clock)();
        let known = lock(&self.known);
        let own = |it: &&DeviceRequest| it.role == NODE && it.device_id == id && !is_over(it, now);
        known.pending.values().find(own).map(waiting)
    }

    /// Whether a request is a node's.
    pub(crate) fn is_of_node(&self, request_id: &str) -> bool {
        lock(&self.known).pending.get(request_id).is_some_and(|request| request.role == NODE)
    }

    /// Whether that is the token of an approved node. Compared in constant time.
    pub(crate) fn is_token_of_node(&self, id: &str, token: &SecretString) -> bool {
        self.token(id, Role::Node).is_some_and(|digest: TokenDigest| digest.matches(token))
    }

    /// Gives a node another name.
    pub(crate) async fn rename_node(
        &self,
        id: &str,
        name: &str,
        who: Decider<'_>,
    ) -> Result<(), DeviceError> {
        let _alone = self.changing.lock().await;
        let (mut device, role) = self.in_role(id, NODE)?;
        let name: String =
            name.trim().chars().filter(|c| !c.is_control()).take(limits::DEVICE_TEXT_CHARS).collect();
        if name.is_empty() {
            return Err(DeviceError::Refused(Refusal::new("no_name", "displayName required")));
        }
        let permit = who.permit(DeviceAct::Rename, id, Rights::none(role))?;
        device.claims.display_name = Some(name);
        self.change(permit, DeviceChange { keep: vec![device], ..DeviceChange::default() }).await
    }
}

fn waiting(request: &DeviceRequest) -> Value {
    let DeviceRequest { request_id, device_id, claims, commands, remote_ip, is_repair, ts, .. } = request;
    json!({
        "requestId": request_id, "nodeId": device_id, "displayName": claims.display_name,
        "platform": claims.platform, "commands": commands, "caps": [], "remoteIp": remote_ip,
        "isRepair": is_repair, "ts": ts,
    })
}

/// Nothing for a device that is no node, or not any more.
fn approved(device: &PairedDevice) -> Option<Value> {
    let role: &DeviceRole = device.roles.get(NODE).filter(|role| role.revoked_at_ms.is_none())?;
    let PairedDevice { device_id, claims, remote_ip, created_at_ms, approved_at_ms, .. } = device;
    Some(json!({
        "nodeId": device_id, "displayName": claims.display_name, "platform": claims.platform,
        "remoteIp": remote_ip, "commands": role.commands, "caps": [], "createdAtMs": created_at_ms,
        "approvedAtMs": approved_at_ms, "lastConnectedAtMs": role.last_used_at_ms,
    }))
}
