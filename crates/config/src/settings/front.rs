//! Whom the gateway takes a request from, beyond programs of this machine.

use std::borrow::Cow;

use ipnet::IpNet;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::{Deserializer, Error as _};

/// The page in the browser.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct ControlUiConfig {
    /// Origins, such as `https://moltbot.example.com`, under which a proxy serves the gateway: their names are taken in
    /// `Host`, and their pages may connect. Without any, only this machine's own names are.
    pub allowed_origins: Vec<AllowedOrigin>,
}

/// `https://host` or `https://host:port`.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq)]
#[serde(transparent)]
#[schemars(transparent, extend("x-moltbot-form" = "origin"))]
pub struct AllowedOrigin(pub String);

/// An address, or a network such as `10.0.0.0/8`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Network(pub IpNet);

impl Network {
    /// Reads an address or a network. All addresses at once are none.
    pub fn parse(text: &str) -> Option<Self> {
        let network =
            text.parse::<IpNet>().ok().or_else(|| Some(IpNet::from(text.parse::<std::net::IpAddr>().ok()?)));
        network.filter(|network| network.prefix_len() > 0).map(Self)
    }
}

impl<'de> Deserialize<'de> for Network {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| D::Error::custom("an address, or a network such as 10.0.0.0/8"))
    }
}

impl JsonSchema for Network {
    fn schema_name() -> Cow<'static, str> {
        "Network".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "x-moltbot-form": "network"})
    }
}
