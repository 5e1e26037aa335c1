//! Devices that were paired with another gateway program: `devices/paired.json`, read once.
//!
//! Its tokens stand there in plaintext. They go on working, as digests; the file is removed when that is on the disk.
//! Requests in `devices/pending.json` live for five minutes: they are removed, and their devices ask again.

use std::collections::BTreeMap;

use moltbot_config::limits;
use moltbot_policy::nodes::CommandSet;
use moltbot_policy::pairing::{self, DeviceAct, DevicePermit, Rights, TokenDigest};
use moltbot_policy::record_soon;
use moltbot_protocol::scope::Role;
use moltbot_store::{DeviceChange, DeviceClaims, DeviceRole, PairedDevice};
use moltbot_vault::{FileError, StateDir};
use secrecy::SecretString;
use secrecy::zeroize::Zeroizing;
use serde::Deserialize;

use super::change::{names, room_for_one};
use super::{DeviceError, Devices};
use crate::shared::lock;

const FOLDER: &str = "devices";
const PAIRED: &str = "paired.json";
const PENDING: &str = "pending.json";

/// A device in the file. Members that play no part are passed over.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    device_id: String,
    public_key: String,
    #[serde(flatten)]
    claims: DeviceClaims,
    #[serde(default)]
    remote_ip: Option<String>,
    #[serde(default)]
    tokens: BTreeMap<String, Token>,
    #[serde(default)]
    created_at_ms: u64,
    #[serde(default)]
    approved_at_ms: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Token {
    token: SecretString,
    #[serde(default)]
    scopes: Vec<String>,
    #[serde(default)]
    created_at_ms: Option<u64>,
    #[serde(default)]
    rotated_at_ms: Option<u64>,
    #[serde(default)]
    revoked_at_ms: Option<u64>,
    #[serde(default)]
    last_used_at_ms: Option<u64>,
}

impl Devices {
    /// Imports the file, if there is one.
    pub(super) async fn import(&self, state: &StateDir) -> Result<(), DeviceError> {
        let names = state.list().map_err(|error| failed(&error))?;
        if !names.iter().any(|name| name == FOLDER) {
            return Ok(());
        }
        let folder = state.folder(FOLDER).map_err(|error| failed(&error))?;
        let bytes = folder.read(PAIRED, limits::DEVICES_FILE_BYTES).map_err(|error| failed(&error))?;
        if let Some(bytes) = bytes {
            let bytes = Zeroizing::new(bytes);
            let entries: BTreeMap<String, Entry> = serde_json::from_slice(&bytes).map_err(|error| {
                let (line, column) = (error.line(), error.column());
                failed(&format!("it is not as expected in line {line}, column {column}"))
            })?;
            let mut imported = 0_usize;
            for entry in entries.into_values() {
                imported += usize::from(self.take_over(entry).await?);
            }
            remove(&folder, PAIRED)?;
            tracing::warn!(
                imported,
                "devices/paired.json held tokens in plaintext; its devices were taken over and the file was removed"
            );
        }
        remove(&folder, PENDING)
    }

    /// Takes one device over, unless it is known here: what was decided here counts.
    async fn take_over(&self, entry: Entry) -> Result<bool, DeviceError> {
        let device = {
            let known = lock(&self.known);
            let Some(device) = device(entry) else { return Ok(false) };
            if known.paired.contains_key(&device.device_id) {
                return Ok(false);
            }
            room_for_one(&known)?;
            device
        };
        // One record for each role; what the device is goes to the disk after the last.
        let mut permits: Vec<DevicePermit> = device
            .roles
            .iter()
            .filter_map(|(role, kept)| {
                let rights = match Role::parse(Some(role))? {
                    Role::Node => Rights::node(CommandSet::new()),
                    Role::Operator => Rights::operator(pairing::scopes_of(&kept.scopes)),
                };
                Some(DevicePermit::by_gateway(DeviceAct::Import, &device.device_id, rights, None))
            })
            .collect();
        let Some(last) = permits.pop() else { return Ok(false) };
        for permit in permits {
            drop(record_soon(permit, &self.ledger).await?);
        }
        self.change(last, DeviceChange { keep: vec![device], ..DeviceChange::default() }).await?;
        Ok(true)
    }
}

/// The device in our form; nothing when its key and id do not fit, or it has no role that there is. A node's commands were
/// in no such file: a person is asked about them when it comes.
fn device(mut entry: Entry) -> Option<PairedDevice> {
    let fits =
        moltbot_policy::authentication::device_id(&entry.public_key).is_some_and(|id| id == entry.device_id);
    let tokens = [Role::Node, Role::Operator].map(|role| (role, entry.tokens.remove(role.name())));
    let roles: BTreeMap<String, DeviceRole> = tokens
        .into_iter()
        .filter_map(|(role, token)| Some((role.name().into(), kept(role, token?))))
        .collect();
    if !fits || roles.is_empty() {
        tracing::warn!(device = %entry.device_id.escape_debug(), "a device of devices/paired.json has no role or its id does not fit its key; it is left out");
        return None;
    }
    Some(PairedDevice {
        device_id: entry.device_id,
        public_key: entry.public_key,
        claims: entry.claims,
        remote_ip: entry.remote_ip,
        created_at_ms: entry.created_at_ms,
        approved_at_ms: entry.approved_at_ms,
        roles,
    })
}

/// A role of it. Whatever scopes a node has there, it has none.
fn kept(role: Role, token: Token) -> DeviceRole {
    let revoked = token.revoked_at_ms.is_some();
    let scopes = match role {
        Role::Operator if !revoked => names(&pairing::scopes_of(&token.scopes)),
        Role::Node | Role::Operator => Vec::new(),
    };
    DeviceRole {
        scopes,
        commands: Vec::new(),
        token_digest: (!revoked).then(|| TokenDigest::of(&token.token).to_hex()),
        created_at_ms: token.created_at_ms,
        rotated_at_ms: token.rotated_at_ms,
        revoked_at_ms: token.revoked_at_ms,
        last_used_at_ms: token.last_used_at_ms,
    }
}

fn remove(folder: &StateDir, name: &str) -> Result<(), DeviceError> {
    match folder.remove(name) {
        Ok(()) | Err(FileError::Missing { .. }) => Ok(()),
        Err(error) => Err(failed(&error)),
    }
}

fn failed(detail: &impl ToString) -> DeviceError {
    DeviceError::Import { file: PAIRED, detail: detail.to_string() }
}
