//! How the gateway is reached from other machines, and how a command reaches one that runs elsewhere.

use std::borrow::Cow;
use std::net::IpAddr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use secrecy::SecretString;
use serde::de::{Deserializer, Error as _};
use serde::{Deserialize, Serialize};

use super::SecretSetting;

/// TLS on every address that is not loopback, and on loopback for who speaks it there. Versions 1.2 and 1.3.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct TlsConfig {
    /// Whether a certificate is made when `certPath` and `keyPath` name none. Its key is sealed, and its fingerprint is
    /// told at each start, for clients to pin.
    pub auto_generate: bool,
    /// The absolute path of the certificate and those between it and its authority, in PEM.
    pub cert_path: Option<String>,
    /// Whether TLS is spoken. Off: on loopback nobody listens in, and elsewhere the gateway does not listen without it.
    pub enabled: bool,
    /// The absolute path of the certificate's key in PEM, a file that its owner alone can read.
    pub key_path: Option<String>,
}

impl Default for TlsConfig {
    fn default() -> Self {
        Self { auto_generate: true, cert_path: None, enabled: false, key_path: None }
    }
}

/// A gateway that runs on another machine, which commands talk to when `gateway.mode` is `remote`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct RemoteConfig {
    /// Its password.
    #[schemars(with = "Option<SecretSetting>")]
    pub password: Option<SecretString>,
    /// The SHA-256 fingerprint of its certificate, 64 hexadecimal digits with or without colons. With it that certificate
    /// is believed and no other; without, the authorities of this machine vouch.
    #[schemars(extend("x-moltbot-form" = "fingerprint"))]
    pub tls_fingerprint: Option<String>,
    /// Its token.
    #[schemars(with = "Option<SecretSetting>")]
    pub token: Option<SecretString>,
    /// Its address, as `wss://moltbot.example.com:18789`; `ws://` to this machine alone, for a tunnel.
    #[schemars(extend("x-moltbot-form" = "gateway-address"))]
    pub url: Option<String>,
}

/// Whether Tailscale on this machine passes requests of the tailnet, or of the whole internet, on to the gateway.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct TailscaleConfig {
    /// `serve` for the tailnet, `funnel` for the internet, which needs a password. Off: being reachable is a decision.
    pub mode: TailscaleMode,
    /// Whether the gateway takes back what it set up in Tailscale when it stops. Off: the name then answers after a restart
    /// as before, and nothing else of Tailscale's settings changes.
    pub reset_on_exit: bool,
    /// The absolute path of tailscaled's socket. `/var/run/tailscale/tailscaled.sock` when absent.
    pub socket_path: Option<String>,
    /// The logins, such as `ann@example.com`, that sign in by being that person on the tailnet. The owner of this machine
    /// on the tailnet alone when empty.
    pub users: Vec<String>,
}

/// Who reaches the gateway through Tailscale.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum TailscaleMode {
    /// The internet.
    Funnel,
    /// Nobody.
    #[default]
    Off,
    /// The tailnet.
    Serve,
}

/// An address without a port.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Address(pub IpAddr);

impl<'de> Deserialize<'de> for Address {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map(Self).map_err(|_| D::Error::custom("an address, such as 192.168.1.7"))
    }
}

impl JsonSchema for Address {
    fn schema_name() -> Cow<'static, str> {
        "Address".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "x-moltbot-form": "address"})
    }
}

/// The name of a host, under which the gateway is asked for.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq)]
#[serde(transparent)]
#[schemars(transparent, extend("x-moltbot-form" = "host"))]
pub struct AllowedHost(pub String);
