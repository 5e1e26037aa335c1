//! The handshake: `connect.challenge`, `connect`, `hello-ok`.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The parameters of `connect`. Unknown members are refused.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ConnectParams {
    /// The oldest protocol that the client speaks.
    pub min_protocol: u32,
    /// The newest protocol that the client speaks.
    pub max_protocol: u32,
    /// What the client says it is. Confers nothing.
    pub client: ClientDescription,
    /// What the client can show.
    #[serde(default)]
    pub caps: Vec<String>,
    /// Commands that a node offers.
    #[serde(default)]
    pub commands: Vec<String>,
    /// Permissions that a node holds.
    #[serde(default)]
    pub permissions: Option<Value>,
    /// A node's search path.
    #[serde(default)]
    pub path_env: Option<String>,
    /// `operator` (default) or `node`.
    #[serde(default)]
    pub role: Option<String>,
    /// Scopes asked for. Absent and empty are the same: none.
    #[serde(default)]
    pub scopes: Option<Vec<String>>,
    /// The device's key and its signature over the challenge.
    #[serde(default)]
    pub device: Option<DeviceProof>,
    /// The shared credential.
    #[serde(default)]
    pub auth: Option<SharedCredential>,
    /// The client's language.
    #[serde(default)]
    pub locale: Option<String>,
    /// The client's user agent.
    #[serde(default)]
    pub user_agent: Option<String>,
}

/// What a client says it is.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ClientDescription {
    /// One of [`is_known_client`].
    pub id: String,
    /// A name for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    /// The client's version.
    pub version: String,
    /// The client's platform.
    pub platform: String,
    /// The kind of device (protocol 4).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_family: Option<String>,
    /// The model of device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model_identifier: Option<String>,
    /// One of [`CLIENT_MODES`].
    pub mode: String,
    /// Tells several instances of one client apart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance_id: Option<String>,
}

/// A device's key and signature.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DeviceProof {
    /// SHA-256 of the raw public key, in lower-case hex.
    pub id: String,
    /// Ed25519 public key: 32 raw bytes in base64url without padding, or PEM.
    pub public_key: String,
    /// Ed25519 signature in base64url without padding.
    pub signature: String,
    /// When it was signed, in milliseconds since the epoch.
    pub signed_at: u64,
    /// The challenge's nonce. Absent in version 1 signatures.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nonce: Option<String>,
}

/// The shared credential. Held only until it is compared; has no `Serialize`, and its `Debug` hides it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SharedCredential {
    /// The gateway token.
    #[serde(default)]
    pub token: Option<String>,
    /// The gateway password.
    #[serde(default)]
    pub password: Option<String>,
    /// The device's own token, where a client does not send it as `token`.
    #[serde(default)]
    pub device_token: Option<String>,
}

impl std::fmt::Debug for SharedCredential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SharedCredential(hidden)")
    }
}

/// The modes that clients of all generations send.
pub const CLIENT_MODES: [&str; 7] = ["webchat", "cli", "ui", "backend", "node", "probe", "test"];

const BRANDS: [&str; 3] = ["clawdbot", "moltbot", "openclaw"];
const BRANDED: [&str; 6] = ["control-ui", "macos", "ios", "android", "probe", "tui"];
const UNBRANDED: [&str; 7] =
    ["webchat-ui", "webchat", "cli", "gateway-client", "node-host", "test", "fingerprint"];

/// Whether `id` is in the closed list of client ids, under any brand.
pub fn is_known_client(id: &str) -> bool {
    UNBRANDED.contains(&id)
        || id.split_once('-').is_some_and(|(brand, rest)| BRANDS.contains(&brand) && BRANDED.contains(&rest))
}

/// The text that a device signs. Fields are joined by `|`, as every generation does.
#[derive(Clone, Copy, Debug)]
pub struct DeviceText<'a> {
    /// The device's id.
    pub device_id: &'a str,
    /// The client's id.
    pub client_id: &'a str,
    /// The client's mode.
    pub client_mode: &'a str,
    /// The role asked for.
    pub role: &'a str,
    /// The scopes as the client sent them.
    pub scopes: &'a [String],
    /// When it was signed, in milliseconds since the epoch.
    pub signed_at: u64,
    /// The token sent, or the empty text.
    pub token: &'a str,
    /// The challenge's nonce.
    pub nonce: Option<&'a str>,
    /// The client's platform.
    pub platform: &'a str,
    /// The kind of device.
    pub device_family: &'a str,
}

impl DeviceText<'_> {
    /// Version 1: without a nonce. Accepted from this machine only.
    pub fn version1(&self) -> String {
        self.common("v1")
    }

    /// Version 2: with the nonce.
    pub fn version2(&self) -> String {
        format!("{}|{}", self.common("v2"), self.nonce.unwrap_or_default())
    }

    /// Version 3: with the nonce, platform and device family.
    pub fn version3(&self) -> String {
        let (platform, family) = (self.platform.to_lowercase(), self.device_family.to_lowercase());
        format!("{}|{}|{platform}|{family}", self.common("v3"), self.nonce.unwrap_or_default())
    }

    fn common(&self, version: &str) -> String {
        let Self { device_id, client_id, client_mode, role, signed_at, token, .. } = self;
        let scopes = self.scopes.join(",");
        format!("{version}|{device_id}|{client_id}|{client_mode}|{role}|{scopes}|{signed_at}|{token}")
    }
}

/// The payload of a successful `connect`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HelloOk<'a, S> {
    /// Always `hello-ok`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// The protocol that both will speak.
    pub protocol: u32,
    /// Who answers.
    pub server: ServerDescription<'a>,
    /// What may be called and heard.
    pub features: Features,
    /// The state at this moment.
    pub snapshot: S,
    /// The limits that are enforced.
    pub policy: ConnectionPolicy,
    /// The rights of this connection.
    pub auth: GrantedAuth<'a>,
}

/// Who answers.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ServerDescription<'a> {
    /// The program's version.
    pub version: &'static str,
    /// This connection's id.
    pub conn_id: &'a str,
}

/// What may be called and heard.
#[derive(Clone, Debug, Serialize)]
pub struct Features {
    /// Names of methods.
    pub methods: Vec<&'static str>,
    /// Names of events.
    pub events: Vec<&'static str>,
    /// What else a client may count on.
    pub capabilities: &'static [&'static str],
}

/// Limits, told once and enforced.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ConnectionPolicy {
    /// The largest message accepted, in bytes.
    pub max_payload: usize,
    /// How much may wait to be sent to a client before it is dropped, in bytes.
    pub max_buffered_bytes: usize,
    /// The time between ticks, in milliseconds.
    pub tick_interval_ms: u64,
}

/// The rights that a connection got.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GrantedAuth<'a> {
    /// The role.
    pub role: &'static str,
    /// The scopes granted, by name.
    pub scopes: Vec<&'static str>,
    /// The token that the device is given to sign in with from now on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device_token: Option<&'a str>,
    /// When it was issued, in milliseconds since the epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub issued_at_ms: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signed_text_has_the_fields_of_each_version() {
        let scopes = ["operator.admin".to_owned(), "operator.approvals".to_owned()];
        let text = DeviceText {
            device_id: "d",
            client_id: "cli",
            client_mode: "cli",
            role: "operator",
            scopes: &scopes,
            signed_at: 7,
            token: "t",
            nonce: Some("n"),
            platform: "Linux",
            device_family: "PC",
        };
        assert_eq!(text.version1(), "v1|d|cli|cli|operator|operator.admin,operator.approvals|7|t");
        assert_eq!(text.version2(), "v2|d|cli|cli|operator|operator.admin,operator.approvals|7|t|n");
        assert_eq!(text.version3(), "v3|d|cli|cli|operator|operator.admin,operator.approvals|7|t|n|linux|pc");
    }

    #[test]
    fn client_ids_of_every_brand_are_known_and_no_others() {
        for id in
            ["cli", "clawdbot-control-ui", "moltbot-macos", "openclaw-tui", "gateway-client", "webchat-ui"]
        {
            assert!(is_known_client(id), "{id}");
        }
        for id in ["", "control-ui", "evil-macos", "moltbot-", "moltbot-cli", "CLI"] {
            assert!(!is_known_client(id), "{id}");
        }
    }

    #[test]
    fn an_unknown_member_of_connect_is_refused() {
        let text = r#"{"minProtocol":3,"maxProtocol":3,"client":{"id":"cli","version":"1","platform":"x","mode":"cli"},"admin":true}"#;
        assert!(serde_json::from_str::<ConnectParams>(text).is_err());
    }
}
