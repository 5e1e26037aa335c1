//! Devices: which are known and for what, and which wait for a person.

use std::collections::BTreeMap;

use rusqlite::Connection;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::database::{self, Failure};

/// What a device says of itself. Confers nothing.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DeviceClaims {
    /// A name for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    /// The platform.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<String>,
    /// The program's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    /// The program's mode.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_mode: Option<String>,
}

/// A device that waits for a person.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DeviceRequest {
    /// The request's id, a UUID.
    pub request_id: String,
    /// SHA-256 of the public key, in hex.
    pub device_id: String,
    /// The public key, as it came.
    pub public_key: String,
    /// What it says of itself.
    #[serde(flatten)]
    pub claims: DeviceClaims,
    /// The role it asks for.
    pub role: String,
    /// The scopes it asks for, by name.
    pub scopes: Vec<String>,
    /// The commands that a node offers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub commands: Vec<String>,
    /// Where it is.
    pub remote_ip: String,
    /// Whether the device is known already.
    pub is_repair: bool,
    /// When it asked, in milliseconds since the epoch.
    pub ts: u64,
}

/// A device that is known.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PairedDevice {
    /// SHA-256 of the public key, in hex.
    pub device_id: String,
    /// The public key, as it came.
    pub public_key: String,
    /// What it says of itself.
    #[serde(flatten)]
    pub claims: DeviceClaims,
    /// Where it was when it was approved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote_ip: Option<String>,
    /// When it was first known, in milliseconds since the epoch.
    pub created_at_ms: u64,
    /// When it was last approved, in milliseconds since the epoch.
    pub approved_at_ms: u64,
    /// What it may be, by role.
    pub roles: BTreeMap<String, DeviceRole>,
}

/// What is approved for a device in one role.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DeviceRole {
    /// The approved scopes, by name. Empty is none.
    pub scopes: Vec<String>,
    /// The commands that may be asked of a node. Empty is none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub commands: Vec<String>,
    /// SHA-256 of the token, in hex; nothing while it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_digest: Option<String>,
    /// When the token was made, in milliseconds since the epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_at_ms: Option<u64>,
    /// When the token last took the place of another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotated_at_ms: Option<u64>,
    /// When the approval ended. Nothing is approved then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_at_ms: Option<u64>,
    /// When the device last signed in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_used_at_ms: Option<u64>,
}

/// Changes that are kept together or not at all.
#[derive(Clone, Debug, Default)]
pub struct DeviceChange {
    /// Devices as they are now.
    pub keep: Vec<PairedDevice>,
    /// A request that waits from now on.
    pub ask: Option<DeviceRequest>,
    /// Ids of requests that do not wait any more.
    pub settle: Vec<String>,
}

/// Every device that is known, and every request that waits.
pub(crate) fn all(database: &Connection) -> Result<(Vec<PairedDevice>, Vec<DeviceRequest>), Failure> {
    Ok((
        bodies(database, "SELECT body FROM devices ORDER BY id")?,
        bodies(database, "SELECT body FROM device_requests ORDER BY id")?,
    ))
}

fn bodies<T: DeserializeOwned>(database: &Connection, sql: &str) -> Result<Vec<T>, Failure> {
    let mut statement = database.prepare(sql)?;
    let mut rows = statement.query([])?;
    let mut read = Vec::new();
    while let Some(row) = rows.next()? {
        let body = row.get_ref(0)?.as_str().map_err(rusqlite::Error::from)?;
        read.push(database::from_json("a device", body)?);
    }
    Ok(read)
}

/// Keeps a change.
pub(crate) fn change(database: &Connection, change: &DeviceChange) -> Result<(), Failure> {
    let mut settle = database.prepare_cached("DELETE FROM device_requests WHERE id = ?1")?;
    for id in &change.settle {
        settle.execute([id])?;
    }
    let mut keep = database.prepare_cached("INSERT OR REPLACE INTO devices (id, body) VALUES (?1, ?2)")?;
    for device in &change.keep {
        keep.execute((&device.device_id, database::to_json(device)?))?;
    }
    if let Some(request) = &change.ask {
        let mut ask =
            database.prepare_cached("INSERT OR REPLACE INTO device_requests (id, body) VALUES (?1, ?2)")?;
        ask.execute((&request.request_id, database::to_json(request)?))?;
    }
    Ok(())
}
