//! Layer 1, network isolation: where the gateway listens, which requests it looks at, where it may connect.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use moltbot_config::settings::{BindMode, GatewayConfig};
use url::Url;

use crate::record::{Decision, Entry, Permit};
use crate::refusal::Refusal;

mod address;
mod front;

pub use address::is_public;
pub use front::{Caller, Front, RequestHead};

/// Proof that the gateway may listen, and where.
#[derive(Debug)]
#[must_use = "a permit that is dropped listens nowhere"]
pub struct BindPermit {
    addresses: Vec<SocketAddr>,
}

impl BindPermit {
    /// Every address to listen on; all of them or none.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }
}

impl Permit for BindPermit {
    fn entry(&self) -> Entry {
        let addresses: Vec<String> = self.addresses.iter().map(ToString::to_string).collect();
        Entry::new("gateway", "gateway.listen", addresses.join(" "), Decision::Allowed)
    }
}

/// Judges where to listen. Only loopback is offered in this version.
///
/// # Errors
/// For every other bind: never a different address than the one asked for.
pub fn bind(gateway: &GatewayConfig) -> Result<BindPermit, Refusal> {
    match gateway.bind {
        BindMode::Loopback => {
            let port = gateway.port;
            let addresses = vec![(Ipv4Addr::LOCALHOST, port).into(), (Ipv6Addr::LOCALHOST, port).into()];
            Ok(BindPermit { addresses })
        }
        BindMode::Auto | BindMode::Custom | BindMode::Lan | BindMode::Tailnet => {
            let message = "refusing to listen beyond this machine: gateway.bind must be \"loopback\", because TLS is not supported yet; reach it through an SSH tunnel";
            Err(Refusal::new("bind_refused", message))
        }
    }
}

/// What a connection to elsewhere is for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Purpose {
    /// Looking for a model server on this machine.
    Discovery,
    /// Asking a model provider.
    Provider,
}

impl Purpose {
    /// The name in the book.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Discovery => "discovery",
            Self::Provider => "provider",
        }
    }
}

/// The one place that a client may connect to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Destination {
    scheme: Scheme,
    host: String,
    port: u16,
    reach: Reach,
}

/// Whether bytes are encrypted on the way.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Scheme {
    Http,
    Https,
}

/// Which addresses a destination's name may stand for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Reach {
    /// Any: the owner wrote this host and port into the config.
    Configured,
    /// Public ones: what the name stands for is decided by strangers.
    Public,
}

impl Destination {
    /// The destination of a provider's base URL.
    ///
    /// # Errors
    /// When it is not an `http` or `https` URL with a host and without credentials, or `http` to a public
    /// address.
    pub fn parse(base_url: &Url, reach: Reach) -> Result<Self, Refusal> {
        let refuse =
            |message: &str| Refusal::new("egress_refused", format!("{}: {message}", redacted(base_url)));
        let scheme = match base_url.scheme() {
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            _ => return Err(refuse("only http and https are allowed")),
        };
        if !base_url.username().is_empty() || base_url.password().is_some() {
            return Err(refuse("a URL with a user name or password is refused; use apiKey or headers"));
        }
        let (Some(host), Some(port)) = (base_url.host_str(), base_url.port_or_known_default()) else {
            return Err(refuse("the URL has no host"));
        };
        if scheme == Scheme::Http && reach == Reach::Public {
            return Err(refuse("http would send the key in clear; use https"));
        }
        Ok(Self { scheme, host: host.to_ascii_lowercase(), port, reach })
    }

    /// The host's name or literal address.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Whether a connection to that address is one to this destination. Judged after the name was resolved,
    /// for every address that it stands for.
    ///
    /// Plain HTTP goes to addresses of this machine and the owner's network alone: on the way through the
    /// internet anybody could read the key.
    pub fn permits_address(&self, address: IpAddr) -> bool {
        match (self.reach, self.scheme) {
            (Reach::Public, _) => is_public(address),
            (Reach::Configured, Scheme::Https) => !address::is_metadata(address),
            (Reach::Configured, Scheme::Http) => !is_public(address) && !address::is_metadata(address),
        }
    }

    fn permits_url(&self, url: &Url) -> bool {
        let scheme = match self.scheme {
            Scheme::Http => "http",
            Scheme::Https => "https",
        };
        let host = url.host_str().map(str::to_ascii_lowercase);
        url.scheme() == scheme
            && host.as_deref() == Some(&self.host)
            && url.port_or_known_default() == Some(self.port)
    }
}

/// A URL without what may be secret in it.
fn redacted(url: &Url) -> String {
    format!("{}://{}", url.scheme(), url.host_str().unwrap_or_default())
}

/// Proof that a connection to one destination may be made.
#[derive(Debug)]
#[must_use = "a permit that is dropped connects nowhere"]
pub struct EgressPermit {
    purpose: Purpose,
    destination: Destination,
    actor: String,
}

impl EgressPermit {
    /// Where to.
    pub const fn destination(&self) -> &Destination {
        &self.destination
    }

    /// Whether a request to that URL is covered.
    pub fn covers(&self, url: &Url) -> bool {
        self.destination.permits_url(url)
    }
}

impl Permit for EgressPermit {
    fn entry(&self) -> Entry {
        let target = format!("{}:{}", self.destination.host, self.destination.port);
        Entry::new(self.actor.clone(), "egress.open", target, Decision::Allowed)
            .with("purpose", self.purpose.name())
    }
}

/// Judges a connection to `url` by the one destination that its client is bound to.
///
/// # Errors
/// When the URL is not at that destination.
pub fn egress(
    purpose: Purpose,
    url: &Url,
    destination: &Destination,
    actor: &str,
) -> Result<EgressPermit, Refusal> {
    if destination.permits_url(url) {
        return Ok(EgressPermit { purpose, destination: destination.clone(), actor: actor.into() });
    }
    let message = format!(
        "{} is not {}:{}, which is all this client may reach",
        redacted(url),
        destination.host,
        destination.port
    );
    Err(Refusal::new("egress_refused", message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_but_loopback_gets_a_bind_permit() {
        for mode in [BindMode::Auto, BindMode::Custom, BindMode::Lan, BindMode::Tailnet] {
            let gateway = GatewayConfig { bind: mode, ..GatewayConfig::default() };
            assert_eq!(bind(&gateway).unwrap_err().code, "bind_refused", "{mode:?}");
        }
        let permit = bind(&GatewayConfig::default()).unwrap();
        assert!(permit.addresses().iter().all(|address| address.ip().is_loopback()));
    }

    #[test]
    fn a_client_reaches_its_destination_and_nothing_else() {
        let base = Url::parse("http://127.0.0.1:11434/v1").unwrap();
        let destination = Destination::parse(&base, Reach::Configured).unwrap();
        for (url, expected) in [
            ("http://127.0.0.1:11434/v1/chat/completions", true),
            ("http://127.0.0.1:11435/v1", false),
            ("https://127.0.0.1:11434/v1", false),
            ("http://127.0.0.2:11434/v1", false),
            ("http://127.0.0.1.evil.test:11434/", false),
        ] {
            let verdict = egress(Purpose::Provider, &Url::parse(url).unwrap(), &destination, "agent");
            assert_eq!(verdict.is_ok(), expected, "{url}");
        }
    }

    #[test]
    fn an_address_is_judged_after_the_name_is_resolved() {
        let public =
            Destination::parse(&Url::parse("https://api.example.com").unwrap(), Reach::Public).unwrap();
        let own = Destination::parse(&Url::parse("http://llm.lan:8080").unwrap(), Reach::Configured).unwrap();
        for (address, from_public, from_own) in [
            ("203.0.114.1", true, false),
            ("10.1.2.3", false, true),
            ("127.0.0.1", false, true),
            ("169.254.169.254", false, false),
            ("::ffff:169.254.169.254", false, false),
            ("fd00:ec2::254", false, false),
            ("64:ff9b::a00:1", false, true),
        ] {
            let address: IpAddr = address.parse().unwrap();
            assert_eq!(public.permits_address(address), from_public, "public to {address}");
            assert_eq!(own.permits_address(address), from_own, "configured to {address}");
        }
    }

    #[test]
    fn a_key_is_never_sent_in_clear_to_strangers() {
        let refused = |url: &str, reach| Destination::parse(&Url::parse(url).unwrap(), reach).is_err();
        assert!(refused("http://api.example.com", Reach::Public));
        assert!(refused("https://user:pw@api.example.com", Reach::Public));
        assert!(refused("ftp://api.example.com", Reach::Configured));
        assert!(refused("unix:/run/x", Reach::Configured));
    }
}
