//! Devices: what is known of them, who waits, and every change to that.
//!
//! What is in memory is what is on the disk: a change is recorded, then committed, and only then seen. Changes are made
//! one after the other, so that what was judged is what is changed.

mod change;
mod import;
mod node;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Mutex;

use moltbot_config::{hole, limits};
use moltbot_ledger::Ledger;
use moltbot_policy::authorization::Grant;
use moltbot_policy::chat::ChatCommandPermit;
use moltbot_policy::nodes::CommandSet;
use moltbot_policy::pairing::{self, DeviceAct, DevicePermit, Rights, Standing, TokenDigest};
use moltbot_policy::throttle::Source;
use moltbot_policy::{Refusal, Unrecorded, record_soon};
use moltbot_protocol::scope::{Role, ScopeSet};
use moltbot_store::{DeviceChange, DeviceClaims, DeviceRequest, PairedDevice, Store, StoreError};
use moltbot_vault::StateDir;
use secrecy::SecretString;
use serde_json::{Value, json};
use thiserror::Error;

use crate::shared::lock;
use change::{approve, give_token, is_over, names, rights_of, room_for_one, shown, unknown, welcome};

/// Who decides about a device.
#[derive(Clone, Copy, Debug)]
pub enum Decider<'a> {
    /// The owner in a chat, who decides about senders alone.
    Chat(&'a ChatCommandPermit),
    /// Somebody who signed in.
    Client(&'a Grant),
    /// The owner at the command line, under that name, while no gateway runs.
    Owner(&'a str),
}

/// Why nothing was changed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DeviceError {
    /// The file of the original cannot be read.
    #[error(
        "devices/{file} cannot be imported: {detail}; repair it, or move it away and pair its devices again"
    )]
    #[expect(missing_docs, reason = "the message names its fields")]
    Import { file: &'static str, detail: String },
    /// Random numbers are missing.
    #[error("no token can be drawn: {0}")]
    Random(String),
    /// It is not allowed, or there is no such device or request.
    #[error("{0}")]
    Refused(Refusal),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The book cannot be written.
    #[error(transparent)]
    Unrecorded(#[from] Unrecorded),
}

/// A token that was made just now. It is told once and not kept.
pub struct Issued {
    /// The token.
    pub token: SecretString,
    /// When, in milliseconds since the epoch.
    pub at_ms: u64,
    /// The device's approved scopes.
    pub scopes: Vec<String>,
}

/// A device that connects.
pub(crate) struct Connecting {
    pub(crate) id: String,
    pub(crate) public_key: String,
    pub(crate) claims: DeviceClaims,
    pub(crate) client: IpAddr,
}

#[derive(Debug, Default)]
struct Known {
    paired: BTreeMap<String, PairedDevice>,
    pending: BTreeMap<String, DeviceRequest>,
}

/// The devices of one installation.
pub struct Devices {
    store: Store,
    ledger: Ledger,
    clock: fn() -> u64,
    known: Mutex<Known>,
    changing: tokio::sync::Mutex<()>,
}

impl Devices {
    /// Reads what is kept, and imports once what another gateway program kept in `devices/paired.json`.
    ///
    /// # Errors
    /// When it cannot be read, recorded or kept.
    pub async fn open(
        store: Store,
        ledger: Ledger,
        state: &StateDir,
        clock: fn() -> u64,
    ) -> Result<Self, DeviceError> {
        let (paired, pending) = store.devices().await?;
        let known = Known {
            paired: paired.into_iter().map(|device| (device.device_id.clone(), device)).collect(),
            pending: pending.into_iter().map(|request| (request.request_id.clone(), request)).collect(),
        };
        let devices =
            Self { store, ledger, clock, known: Mutex::new(known), changing: tokio::sync::Mutex::default() };
        devices.import(state).await?;
        Ok(devices)
    }

    /// What is approved for a device as an operator.
    pub(crate) fn standing(&self, id: &str) -> Standing {
        self.standing_as(id, Role::Operator)
    }

    fn standing_as(&self, id: &str, role: Role) -> Standing {
        match lock(&self.known).paired.get(id).and_then(|device| device.roles.get(role.name())) {
            None => Standing::Unknown,
            Some(role) if role.revoked_at_ms.is_some() => Standing::Revoked,
            Some(role) => Standing::Approved(pairing::scopes_of(&role.scopes)),
        }
    }

    /// The commands that are approved for a device as a node; nothing when it is not approved as one.
    pub(crate) fn commands(&self, id: &str) -> Option<CommandSet> {
        let known = lock(&self.known);
        let role = known.paired.get(id)?.roles.get(Role::Node.name())?;
        role.revoked_at_ms.is_none().then(|| role.commands.iter().cloned().collect())
    }

    /// What is kept of a device's token in a role.
    pub(crate) fn token(&self, id: &str, role: Role) -> Option<TokenDigest> {
        let known = lock(&self.known);
        let role = known.paired.get(id)?.roles.get(role.name())?;
        let digest = role.token_digest.as_deref().filter(|_| role.revoked_at_ms.is_none())?;
        TokenDigest::from_hex(digest)
    }

    /// The device whose token that is, as an operator: a node's opens nothing but a node's connection. Each is compared in constant time.
    pub(crate) fn holder(&self, token: &SecretString) -> Option<String> {
        let known = lock(&self.known);
        let holds = |device: &&PairedDevice| {
            let role = device.roles.get(Role::Operator.name());
            let role = role.filter(|role| role.revoked_at_ms.is_none());
            let digest = role.and_then(|role| TokenDigest::from_hex(role.token_digest.as_deref()?));
            digest.is_some_and(|digest| digest.matches(token))
        };
        known.paired.values().find(holds).map(|device| device.device_id.clone())
    }

    /// Whether a grant still stands: the device was not revoked since, nor the token `held` replaced that gave it.
    pub(crate) fn stands(&self, grant: &Grant, held: Option<TokenDigest>) -> bool {
        let Some(id) = grant.device() else { return true };
        if grant.by_device_token() && self.token(id, grant.role()) != held {
            return false;
        }
        match self.standing_as(id, grant.role()) {
            // Unknown is a device of this machine that could not be kept.
            Standing::Approved(_) | Standing::Unknown => true,
            Standing::Revoked => false,
        }
    }

    /// Devices that wait and devices that are known. No token and no digest is in there.
    pub fn list(&self) -> Value {
        let now = (self.clock)();
        let known = lock(&self.known);
        let waits = |request: &&DeviceRequest| !is_over(request, now);
        let pending: Vec<Value> =
            known.pending.values().filter(waits).map(|request| json!(request)).collect();
        let paired: Vec<Value> = known.paired.values().map(shown).collect();
        json!({"pending": pending, "paired": paired})
    }

    /// Lets a device wait for a person. Answers its request, and whether it is a new one: who asks for the same again
    /// goes on waiting under the same id; who asks for something else gets another one, so that what a person saw is
    /// what he approves.
    pub(crate) async fn ask(
        &self,
        device: &Connecting,
        asked: &Rights,
    ) -> Result<(DeviceRequest, bool), DeviceError> {
        let _alone = self.changing.lock().await;
        let now = (self.clock)();
        let (role, scopes) = (asked.role().name(), names(asked.scopes()));
        let commands: Vec<String> = asked.commands().iter().cloned().collect();
        let (mut settle, mut here, mut all) = (Vec::new(), 0, 0);
        let is_repair = {
            let known = lock(&self.known);
            for request in known.pending.values() {
                let own = request.device_id == device.id && request.role == role;
                if own && request.scopes == scopes && request.commands == commands && !is_over(request, now) {
                    return Ok((request.clone(), false));
                }
                if own || is_over(request, now) {
                    settle.push(request.request_id.clone());
                    continue;
                }
                all += 1;
                let source = request.remote_ip.parse::<IpAddr>().map(Source::of);
                here += usize::from(source.is_ok_and(|source| source == Source::of(device.client)));
            }
            known.paired.contains_key(&device.id)
        };
        pairing::require_room(here, all).map_err(DeviceError::Refused)?;
        let request = DeviceRequest {
            request_id: moltbot_vault::random_id().map_err(|error| DeviceError::Random(error.to_string()))?,
            device_id: device.id.clone(),
            public_key: device.public_key.clone(),
            claims: device.claims.clone(),
            role: role.into(),
            scopes,
            commands,
            remote_ip: device.client.to_string(),
            is_repair,
            ts: now,
        };
        let client = Some(request.remote_ip.clone());
        let permit = DevicePermit::by_gateway(DeviceAct::Request, &device.id, asked.clone(), client);
        self.change(permit, DeviceChange { keep: Vec::new(), ask: Some(request.clone()), settle }).await?;
        Ok((request, true))
    }

    /// Approves a request for exactly what it asks for, besides what was approved before.
    ///
    /// # Errors
    /// When there is no such request any more, or the decider holds less than he would give.
    pub async fn approve(&self, request_id: &str, who: Decider<'_>) -> Result<Value, DeviceError> {
        let _alone = self.changing.lock().await;
        let (request, known) = {
            let known = lock(&self.known);
            let request = self.waiting(&known, request_id)?;
            let device = known.paired.get(&request.device_id).cloned();
            if device.is_none() {
                room_for_one(&known)?;
            }
            (request, device)
        };
        let rights = rights_of(&request)?;
        let permit = who.permit(DeviceAct::Approve, &request.device_id, rights.clone())?;
        let mut device = known.unwrap_or_else(|| PairedDevice {
            device_id: request.device_id.clone(),
            public_key: request.public_key.clone(),
            claims: request.claims.clone(),
            remote_ip: None,
            created_at_ms: (self.clock)(),
            approved_at_ms: 0,
            roles: BTreeMap::new(),
        });
        device.remote_ip = Some(request.remote_ip.clone());
        approve(&mut device, &rights, (self.clock)());
        let answer = json!({"requestId": request_id, "device": shown(&device)});
        self.change(permit, DeviceChange { keep: vec![device], ask: None, settle: vec![request_id.into()] })
            .await?;
        Ok(answer)
    }

    /// Refuses a request. The device may ask again.
    ///
    /// # Errors
    /// When there is no such request any more, or the decider may not decide.
    pub async fn reject(&self, request_id: &str, who: Decider<'_>) -> Result<Value, DeviceError> {
        let _alone = self.changing.lock().await;
        let request = self.waiting(&lock(&self.known), request_id)?;
        let permit = who.permit(DeviceAct::Reject, &request.device_id, rights_of(&request)?)?;
        self.change(permit, DeviceChange { keep: Vec::new(), ask: None, settle: vec![request_id.into()] })
            .await?;
        Ok(json!({"requestId": request_id, "deviceId": request.device_id}))
    }

    /// Gives a device another token, and fewer scopes when `scopes` says so. The old token is none from now on.
    ///
    /// # Errors
    /// When the device is not approved in that role or for these scopes, or the decider holds less.
    pub async fn rotate(
        &self,
        id: &str,
        role: &str,
        scopes: Option<&[String]>,
        who: Decider<'_>,
    ) -> Result<Issued, DeviceError> {
        let _alone = self.changing.lock().await;
        let (mut device, role) = self.in_role(id, role)?;
        let approved = match self.standing_as(id, role) {
            Standing::Approved(approved) => approved,
            Standing::Revoked | Standing::Unknown => return Err(unknown(id, role.name())),
        };
        let scopes = scopes.map_or_else(|| approved.clone(), pairing::scopes_of);
        if !scopes.is_subset(&approved) {
            let refusal = Refusal::new("not_approved", "these scopes are not approved for the device");
            return Err(DeviceError::Refused(refusal));
        }
        // A token is as good as what it opens: who gives a node's may have the node do its commands.
        let rights = match role {
            Role::Node => Rights::node(self.commands(id).unwrap_or_default()),
            Role::Operator => Rights::operator(scopes.clone()),
        };
        let permit = who.permit(DeviceAct::Rotate, id, rights)?;
        let issued = give_token(&mut device, role, &scopes, (self.clock)())?;
        self.change(permit, DeviceChange { keep: vec![device], ..DeviceChange::default() }).await?;
        Ok(issued)
    }

    /// Ends a device's approval. Answers when, in milliseconds since the epoch.
    ///
    /// # Errors
    /// When the device was never approved in that role, or the decider may not decide.
    pub async fn revoke(&self, id: &str, role: &str, who: Decider<'_>) -> Result<u64, DeviceError> {
        let _alone = self.changing.lock().await;
        let (mut device, role) = self.in_role(id, role)?;
        let permit = who.permit(DeviceAct::Revoke, id, Rights::none(role))?;
        let now = (self.clock)();
        if let Some(role) = device.roles.get_mut(role.name())
            && !hole!("revoked-device")
        {
            role.token_digest = None;
            role.scopes.clear();
            role.commands.clear();
            role.revoked_at_ms = Some(now);
        }
        let settle = {
            let known = lock(&self.known);
            let is_own = |it: &&DeviceRequest| it.device_id == id && it.role == role.name();
            let own = known.pending.values().filter(is_own);
            own.map(|request| request.request_id.clone()).collect()
        };
        self.change(permit, DeviceChange { keep: vec![device], ask: None, settle }).await?;
        Ok(now)
    }

    /// Keeps a device of this machine as approved for these scopes. It gets a token when it has none.
    pub(crate) async fn pair_silently(
        &self,
        device: &Connecting,
        scopes: &ScopeSet,
    ) -> Result<Option<Issued>, DeviceError> {
        let _alone = self.changing.lock().await;
        let now = (self.clock)();
        let mut kept = {
            let known = lock(&self.known);
            match known.paired.get(&device.id) {
                Some(kept) => kept.clone(),
                None => {
                    room_for_one(&known)?;
                    device.new_pairing(now)
                }
            }
        };
        let revoked = kept.roles.get(Role::Operator.name()).is_some_and(|role| role.revoked_at_ms.is_some());
        if revoked {
            return Err(DeviceError::Refused(Refusal::new("not_paired", pairing::PAIRING_REQUIRED)));
        }
        let rights = Rights::operator(scopes.clone());
        approve(&mut kept, &rights, now);
        let issued = welcome(&mut kept, Role::Operator, now)?;
        let client = Some(device.client.to_string());
        let permit = DevicePermit::by_gateway(DeviceAct::Silent, &device.id, rights, client);
        self.change(permit, DeviceChange { keep: vec![kept], ..DeviceChange::default() }).await?;
        Ok(issued)
    }

    /// A device that signed in: it gets a token when it has none, and the time is kept.
    pub(crate) async fn welcome(
        &self,
        id: &str,
        role: Role,
        client: IpAddr,
    ) -> Result<Option<Issued>, DeviceError> {
        let now = (self.clock)();
        let due = {
            let known = lock(&self.known);
            let role = known.paired.get(id).and_then(|device| device.roles.get(role.name()));
            role.is_some_and(|role| {
                let seen = role.last_used_at_ms.unwrap_or(0).saturating_add(limits::DEVICE_SEEN_MS);
                role.token_digest.is_none() || seen <= now
            })
        };
        if !due {
            return Ok(None);
        }
        let _alone = self.changing.lock().await;
        let Standing::Approved(scopes) = self.standing_as(id, role) else {
            return Err(DeviceError::Refused(Refusal::new("not_paired", pairing::PAIRING_REQUIRED)));
        };
        let rights = match role {
            Role::Node => Rights::node(self.commands(id).unwrap_or_default()),
            Role::Operator => Rights::operator(scopes),
        };
        let (mut device, _) = self.in_role(id, role.name())?;
        let issued = welcome(&mut device, role, now)?;
        let change = DeviceChange { keep: vec![device], ..DeviceChange::default() };
        if issued.is_some() {
            let client = Some(client.to_string());
            let permit = DevicePermit::by_gateway(DeviceAct::Issue, id, rights, client);
            self.change(permit, change).await?;
        } else {
            self.keep(change).await?;
        }
        Ok(issued)
    }

    fn waiting(&self, known: &Known, request_id: &str) -> Result<DeviceRequest, DeviceError> {
        let now = (self.clock)();
        let request = known.pending.get(request_id).filter(|request| !is_over(request, now)).cloned();
        request.ok_or_else(|| DeviceError::Refused(Refusal::new("unknown_request", "unknown requestId")))
    }

    fn in_role(&self, id: &str, role: &str) -> Result<(PairedDevice, Role), DeviceError> {
        let parsed = Role::parse(Some(role)).ok_or_else(|| unknown(id, role))?;
        let known = lock(&self.known);
        let device = known.paired.get(id).filter(|device| device.roles.contains_key(role));
        device.cloned().map(|device| (device, parsed)).ok_or_else(|| unknown(id, role))
    }

    /// Records the decision, keeps what it changes, and only then lets it be seen.
    async fn change(&self, permit: DevicePermit, change: DeviceChange) -> Result<(), DeviceError> {
        drop(record_soon(permit, &self.ledger).await?);
        self.keep(change).await
    }

    async fn keep(&self, change: DeviceChange) -> Result<(), DeviceError> {
        self.store.change_devices(change.clone()).await?;
        let mut known = lock(&self.known);
        for id in &change.settle {
            known.pending.remove(id);
        }
        for device in change.keep {
            known.paired.insert(device.device_id.clone(), device);
        }
        if let Some(request) = change.ask {
            known.pending.insert(request.request_id.clone(), request);
        }
        Ok(())
    }
}

impl Decider<'_> {
    fn permit(&self, act: DeviceAct, device: &str, rights: Rights) -> Result<DevicePermit, DeviceError> {
        match self {
            Self::Chat(_) => {
                let message = "devices are not decided about in a chat; use `moltbot devices`";
                Err(DeviceError::Refused(Refusal::new("not_in_a_chat", message)))
            }
            Self::Client(grant) => DevicePermit::by(grant, act, device, rights).map_err(DeviceError::Refused),
            Self::Owner(owner) => Ok(DevicePermit::by_owner(act, device, rights, owner)),
        }
    }
}

impl Connecting {
    fn new_pairing(&self, now: u64) -> PairedDevice {
        PairedDevice {
            device_id: self.id.clone(),
            public_key: self.public_key.clone(),
            claims: self.claims.clone(),
            remote_ip: Some(self.client.to_string()),
            created_at_ms: now,
            approved_at_ms: now,
            roles: BTreeMap::new(),
        }
    }
}
