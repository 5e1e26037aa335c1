//! Whether the gateway is announced on the local network, where, and what is told.
//!
//! Everybody there hears it. What is told is what nobody can do without who wants to connect and to be sure whom he reached:
//! the address, the port, and the certificate's fingerprint. There are no names of this machine or its owner, no paths, no
//! versions, no other ports.

use std::net::{IpAddr, Ipv4Addr};

use moltbot_config::settings::{DiscoveryConfig, MdnsMode};

use super::address::is_tailnet;
use super::bind::BindPermit;
use crate::record::{Decision, Entry, Permit};
use crate::refusal::Refusal;

/// Where the gateway may be announced: what of the bind is on a local network.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Audience(Vec<Ipv4Addr>);

impl Audience {
    /// Judges whom the config wants to tell, before anything listens. Nobody when it wants none, or when the gateway listens
    /// on no local network: who hears of a gateway that he cannot reach learns about this machine and nothing else.
    ///
    /// # Errors
    /// When the gateway would be reached without TLS: who finds it would send his credential to whoever announces.
    pub fn of(discovery: &DiscoveryConfig, bind: &BindPermit) -> Result<Option<Self>, Refusal> {
        match discovery.mdns.mode {
            MdnsMode::Off => return Ok(None),
            MdnsMode::Minimal if bind.plaintext().is_empty() => {}
            MdnsMode::Minimal => {
                return Err(Refusal::new(
                    "announce_refused",
                    "discovery.mdns.mode \"minimal\" tells the fingerprint by which clients know this gateway, and without \
                     TLS there is none: set gateway.tls.enabled to true, or discovery.mdns.mode to \"off\"",
                ));
            }
        }
        let beyond = bind.beyond_loopback();
        let local =
            beyond.iter().filter(|address| !is_tailnet(**address)).filter_map(|address| match address {
                IpAddr::V4(address) => Some(*address),
                IpAddr::V6(_) => None,
            });
        let local: Vec<Ipv4Addr> = local.collect();
        Ok((!local.is_empty()).then_some(Self(local)))
    }

    /// What may be told them, once it is known where the gateway listens. `fingerprint` is the SHA-256 digest of its
    /// certificate.
    pub fn permit(self, port: u16, fingerprint: &[u8; 32]) -> AnnouncePermit {
        let fingerprint = fingerprint.iter().map(|byte| format!("{byte:02x}")).collect();
        AnnouncePermit { addresses: self.0, port, fingerprint }
    }
}

/// Proof that the gateway may be announced. Made by [`Audience`] alone.
#[derive(Debug)]
#[must_use = "a permit that is dropped announces nothing"]
pub struct AnnouncePermit {
    addresses: Vec<Ipv4Addr>,
    port: u16,
    fingerprint: String,
}

impl AnnouncePermit {
    /// The gateway's addresses, each on a network of its own.
    pub fn addresses(&self) -> &[Ipv4Addr] {
        &self.addresses
    }

    /// The gateway's port.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// The SHA-256 digest of its certificate, 64 digits in lower case.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }
}

impl Permit for AnnouncePermit {
    fn entry(&self) -> Entry {
        let addresses: Vec<String> =
            self.addresses.iter().map(|address| format!("{address}:{}", self.port)).collect();
        Entry::new("gateway", "gateway.announce", addresses.join(" "), Decision::Allowed)
            .with("by", "mdns")
            .with("fingerprint", self.fingerprint.clone())
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use moltbot_config::settings::{AuthConfig, BindMode, GatewayConfig, MdnsConfig};

    use super::*;
    use crate::authentication::Credential;
    use crate::network::bind;

    fn permit(mode: BindMode, tls: bool) -> BindPermit {
        let own = ["192.168.1.7", "10.0.0.5", "fd12::7", "100.101.102.103"].map(|text| text.parse().unwrap());
        let mut gateway = GatewayConfig { bind: mode, ..GatewayConfig::default() };
        gateway.tls.enabled = tls;
        gateway.dangerously_allow_plaintext_bind = true;
        let token = Some("q8Zr3VtLx0NwYbE5mKc7HdPfJ2sGuA9o1QiTeXyBvRM".into());
        let credential = Credential::from_config(&AuthConfig { token, ..AuthConfig::default() }).unwrap();
        bind(&gateway, &credential, &own, Path::new("/state")).unwrap()
    }

    #[test]
    fn p03_only_who_can_reach_it_is_told_and_nobody_by_default() {
        let on = DiscoveryConfig { mdns: MdnsConfig { mode: MdnsMode::Minimal } };
        let told = |discovery: &DiscoveryConfig, mode| {
            Audience::of(discovery, &permit(mode, true)).unwrap().map(|audience| audience.0)
        };
        let lan: Vec<Ipv4Addr> = vec![[192, 168, 1, 7].into(), [10, 0, 0, 5].into()];
        assert_eq!(told(&on, BindMode::Lan), Some(lan));
        for mode in [BindMode::Loopback, BindMode::Tailnet, BindMode::Auto] {
            assert_eq!(told(&on, mode), None, "{mode:?}");
        }
        assert_eq!(told(&DiscoveryConfig::default(), BindMode::Lan), None);
        let refused = Audience::of(&on, &permit(BindMode::Lan, false)).unwrap_err();
        assert!(refused.message.contains("gateway.tls.enabled"), "{refused}");
        let permit =
            Audience::of(&on, &permit(BindMode::Lan, true)).unwrap().unwrap().permit(18789, &[7; 32]);
        assert_eq!(permit.entry().target, "192.168.1.7:18789 10.0.0.5:18789");
    }
}
