//! How a gateway is found by those who look for one.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How a gateway is found by those who look for one.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct DiscoveryConfig {
    /// Announcements on the local network.
    pub mdns: MdnsConfig,
}

/// Announcements on the local network, by multicast DNS.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct MdnsConfig {
    /// What is announced. Nothing by default: everybody on the network hears it, and clients that have the address need it not.
    pub mode: MdnsMode,
}

/// What is announced on the local network.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum MdnsMode {
    /// That there is a gateway, its address and port, and its certificate's fingerprint: on the networks that `gateway.bind`
    /// opens it to, and nowhere when that is loopback.
    Minimal,
    /// Nothing.
    #[default]
    Off,
}
