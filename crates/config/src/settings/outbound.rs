//! `outbound`: which hosts the commands of an agent may reach, through the proxy of their sandbox.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use moltbot_protocol::ids::AgentId;
use schemars::JsonSchema;
use secrecy::SecretString;
use serde::Deserialize;

use super::{AgentsConfig, SecretSetting};

/// What commands reach when the network of their sandbox is `proxy`. Nothing is reached that is not named here.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct OutboundConfig {
    /// Hosts, such as `api.example.com`, `*.example.com` for all below it, or `pkg.example.com:8443`; port 443 when none
    /// is said. A name stands for public addresses alone; a server of the owner's own network is named by its address.
    pub allow: Vec<OutboundHost>,
    /// Headers that are added on the way, so that commands never have the secret.
    pub inject: Vec<OutboundCredential>,
    /// Megabytes (10⁶ bytes) that one command may send and receive together, 1 to 100 000.
    #[schemars(range(min = 1, max = 100_000))]
    pub max_megabytes: u32,
    /// The longest time that one connection may last, in seconds, 1 to 86 400.
    #[schemars(range(min = 1, max = 86_400))]
    pub max_seconds: u32,
}

impl Default for OutboundConfig {
    fn default() -> Self {
        Self { allow: Vec::new(), inject: Vec::new(), max_megabytes: 100, max_seconds: 600 }
    }
}

/// A header that is added to requests to one host. A command asks for `http://` and that host; the request goes on over
/// TLS, with the header.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct OutboundCredential {
    /// The host, as it stands in `allow`; not one with `*`.
    pub host: OutboundHost,
    /// The header, such as `authorization`.
    #[schemars(extend("x-moltbot-form" = "header-name"))]
    pub header: String,
    /// What stands in it.
    #[schemars(with = "SecretSetting")]
    pub value: SecretString,
}

/// A host in a list, and its port.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq)]
#[serde(try_from = "String")]
#[schemars(with = "String", extend("x-moltbot-form" = "outbound-host"))]
pub struct OutboundHost {
    /// Which hosts.
    pub pattern: HostPattern,
    /// Which port of theirs.
    pub port: u16,
}

/// Which hosts an entry of a list stands for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum HostPattern {
    /// One address.
    Address(IpAddr),
    /// Every name below this one, and not itself.
    Below(String),
    /// One name.
    Name(String),
}

impl OutboundHost {
    /// Reads `name`, `*.name` or an address, each with a port or without one. A name is in lower case, in its ASCII form
    /// (RFC 5890), and has a dot, so that it is no host of the local network.
    pub fn parse(text: &str) -> Option<Self> {
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) if !host.contains(':') || host.ends_with(']') => {
                let written = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
                (host, port.parse().ok().filter(|port| *port > 0 && written)?)
            }
            _ => (text, 443),
        };
        Some(Self { pattern: HostPattern::parse(host)?, port })
    }
}

impl HostPattern {
    fn parse(host: &str) -> Option<Self> {
        if let Some(address) = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            return address.parse::<Ipv6Addr>().ok().map(|address| Self::Address(address.into()));
        }
        if let Ok(address) = host.parse::<Ipv4Addr>() {
            return Some(Self::Address(address.into()));
        }
        match host.strip_prefix("*.") {
            Some(parent) => is_name(parent).then(|| Self::Below(parent.to_owned())),
            None => is_name(host).then(|| Self::Name(host.to_owned())),
        }
    }
}

/// Two labels or more, and the last is no number: such a name would be read as an address.
fn is_name(name: &str) -> bool {
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
    };
    let last_is_a_word = |(_, last): (&str, &str)| {
        last.bytes().any(|byte| byte.is_ascii_lowercase()) && !last.starts_with("0x")
    };
    name.len() <= 253 && name.split('.').all(label) && name.rsplit_once('.').is_some_and(last_is_a_word)
}

impl TryFrom<String> for OutboundHost {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text).ok_or("no host such as \"api.example.com\"")
    }
}

impl AgentsConfig {
    /// What commands of an agent may reach: what it says itself, and else what holds for all.
    pub fn outbound_of(&self, agent: &AgentId) -> &OutboundConfig {
        let entry = self.list.iter().find(|entry| entry.id == *agent);
        entry.and_then(|entry| entry.outbound.as_ref()).unwrap_or(&self.defaults.outbound)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_has_one_spelling() {
        let name = |name: &str, port| Some((HostPattern::Name(name.into()), port));
        for (text, expected) in [
            ("api.example.com", name("api.example.com", 443)),
            ("api.example.com:8443", name("api.example.com", 8443)),
            ("*.example.com", Some((HostPattern::Below("example.com".into()), 443))),
            ("10.0.0.7:80", Some((HostPattern::Address("10.0.0.7".parse().unwrap()), 80))),
            ("[fd00::1]:80", Some((HostPattern::Address("fd00::1".parse().unwrap()), 80))),
            ("[fd00::1]", Some((HostPattern::Address("fd00::1".parse().unwrap()), 443))),
            ("xn--bcher-kva.example", name("xn--bcher-kva.example", 443)),
            ("API.example.com", None),
            ("bücher.example", None),
            ("*", None),
            ("*.com:0", None),
            ("a.*.com", None),
            ("localhost", None),
            ("example.com.", None),
            ("-a.example.com", None),
            ("https://example.com", None),
            ("example.com/path", None),
            ("user@example.com", None),
            ("127.1", None),
            ("10.0.0.0x7", None),
            ("0x7f.0.0.1", None),
            ("example.com:+80", None),
            ("", None),
        ] {
            let read = OutboundHost::parse(text).map(|host| (host.pattern, host.port));
            assert_eq!(read, expected, "{text}");
        }
    }
}
