//! Layer 1, network isolation: where the gateway listens, which requests it looks at, where it may connect.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};

use url::Url;

use crate::record::{Decision, Entry, Permit};
use crate::refusal::Refusal;

mod address;
mod announce;
mod bind;
mod forwarding;
mod front;
mod outbound;
mod proxies;
mod socket;

pub use address::is_public;
pub use announce::{AnnouncePermit, Audience};
pub use bind::{BindPermit, Endpoint, Transport, bind, own_socket};
pub use forwarding::{Forward, ForwardPermit, OwnForward, judge_forwards, take_back};
use front::is_this_machine;
pub(crate) use front::last_hop;
pub use front::{Caller, Front, RequestHead};
pub use outbound::{Way, outbound};
pub use proxies::ProxyRule;
pub use socket::{SocketPermit, local_socket};

/// What a decision on a connection is called in the book.
const EGRESS: &str = "egress.open";
/// How URLs name the process of a local model.
const PROCESS: &str = "moltbot-model.invalid";

/// What a connection to elsewhere is for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Purpose {
    /// Sending the book to an OpenTelemetry collector.
    Collector,
    /// What a command in its sandbox asks for.
    Command,
    /// Looking for a model server on this machine.
    Discovery,
    /// A command that talks to the owner's gateway on another machine.
    Gateway,
    /// Fetching a model that moltbot runs itself.
    ModelFile,
    /// Asking a model provider.
    Provider,
    /// Sending the book to a syslog server.
    Syslog,
    /// Asking Tailscale on this machine who somebody is, and having it pass requests on.
    Tailscale,
    /// Talking to a chat network.
    Vendor,
}

impl Purpose {
    /// The name in the book.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Collector => "collector",
            Self::Command => "command",
            Self::Discovery => "discovery",
            Self::Gateway => "gateway",
            Self::ModelFile => "model-file",
            Self::Provider => "provider",
            Self::Syslog => "syslog",
            Self::Tailscale => "tailscale",
            Self::Vendor => "vendor",
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
    /// Bytes in clear, with nothing of HTTP in them.
    Plain,
    /// HTTP on a pair of sockets to a process of ours.
    Process,
    /// TLS with nothing of HTTP in it.
    Tls,
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
        Ok(Self { scheme, host: canonical(host), port, reach })
    }

    /// The destination of a collector of the book: nothing goes to it in clear but within this machine.
    ///
    /// # Errors
    /// As [`Self::parse`], and for `http` to another machine.
    pub fn collector(url: &Url) -> Result<Self, Refusal> {
        let destination = Self::parse(url, Reach::Configured)?;
        if destination.scheme == Scheme::Http && !is_this_machine(url) {
            let message = format!("{}: http would send the book in clear; use https", redacted(url));
            return Err(Refusal::new("egress_refused", message));
        }
        Ok(destination)
    }

    /// The destination of a stream over TLS to a server that the owner named, by its name or literal address.
    ///
    /// # Errors
    /// When `host` is neither, or `port` is 0.
    pub fn tls(host: &str, port: u16) -> Result<Self, Refusal> {
        Self::stream(Scheme::Tls, host, port)
    }

    /// The destination of a stream in clear to a server of this machine or the owner's network that the owner named.
    ///
    /// # Errors
    /// As [`Self::tls`].
    pub fn plain(host: &str, port: u16) -> Result<Self, Refusal> {
        Self::stream(Scheme::Plain, host, port)
    }

    fn stream(scheme: Scheme, host: &str, port: u16) -> Result<Self, Refusal> {
        // The form of an address in brackets is that of a URL; a person may leave them out.
        let host = if host.parse::<Ipv6Addr>().is_ok() { format!("[{host}]") } else { host.to_owned() };
        let named = url::Host::parse(&host).ok().filter(|_| port > 0);
        let Some(named) = named else {
            return Err(Refusal::new("egress_refused", format!("{host:?} with port {port} is no server")));
        };
        let host = canonical(&named.to_string());
        Ok(Self { scheme, host, port, reach: Reach::Configured })
    }

    /// The destination of the owner's gateway on another machine, `wss://host:port`.
    ///
    /// # Errors
    /// When `url` is no such address, has more in it than a host and a port, or would send the credential in clear.
    pub fn gateway(url: &str) -> Result<Self, Refusal> {
        let refuse = |why: &str| {
            let message =
                format!("gateway.remote.url: {why}; write it as \"wss://moltbot.example.com:18789\"");
            Refusal::new("egress_refused", message)
        };
        let url = Url::parse(url).map_err(|_| refuse("it is no address"))?;
        if url.scheme() != "wss" {
            return Err(refuse("only wss:// keeps the credential from others on the way"));
        }
        let plain = url.username().is_empty() && url.password().is_none() && url.query().is_none();
        let (Some(host), true) = (url.host_str(), plain && url.path() == "/" && url.fragment().is_none())
        else {
            return Err(refuse("it has more in it than a host and a port"));
        };
        Self::tls(host, url.port().unwrap_or(443)).map_err(|_| refuse("it names no server"))
    }

    /// The process of a local model, to which connections are handed. No address is it, and its name is one that never
    /// stands for any (RFC 6761, 6.4): `http://moltbot-model.invalid`.
    pub fn process() -> Self {
        Self { scheme: Scheme::Process, host: PROCESS.into(), port: 80, reach: Reach::Configured }
    }

    /// The literal address, when the destination is one and not a name.
    pub fn address(&self) -> Option<IpAddr> {
        self.host.trim_matches(['[', ']']).parse().ok()
    }

    /// The host's name or literal address.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Whether what is sent to it is encrypted on the way.
    pub fn is_encrypted(&self) -> bool {
        matches!(self.scheme, Scheme::Https | Scheme::Tls)
    }

    /// The port.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// The host and port, as the book names them.
    pub fn target(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// Whether a connection to that address is one to this destination. Judged after the name was resolved,
    /// for every address that it stands for.
    ///
    /// What is in clear goes to addresses of this machine and the owner's network alone: on the way through the
    /// internet anybody could read the key.
    pub fn permits_address(&self, address: IpAddr) -> bool {
        match (self.reach, self.scheme) {
            (_, Scheme::Process) => false,
            (Reach::Public, _) => is_public(address),
            (Reach::Configured, Scheme::Https | Scheme::Tls) => !address::is_metadata(address),
            (Reach::Configured, Scheme::Http | Scheme::Plain) => {
                !is_public(address) && !address::is_metadata(address)
            }
        }
    }

    fn permits_url(&self, url: &Url) -> bool {
        let scheme = match self.scheme {
            Scheme::Http | Scheme::Process => "http",
            Scheme::Https => "https",
            Scheme::Plain | Scheme::Tls => return false,
        };
        let host = url.host_str().map(canonical);
        url.scheme() == scheme
            && host.as_deref() == Some(&self.host)
            && url.port_or_known_default() == Some(self.port)
    }
}

/// A name as it is compared and looked up: in lower case, and without the root's dot, which makes no other name of it.
fn canonical(host: &str) -> String {
    host.trim_end_matches('.').to_ascii_lowercase()
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
    /// The proxy that it goes through.
    via: Option<Destination>,
}

impl EgressPermit {
    /// Who connects.
    pub fn actor(&self) -> &str {
        &self.actor
    }

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
        let entry = entry(self.purpose, self.destination.target(), &self.actor, Decision::Allowed);
        match &self.via {
            Some(proxy) => entry.with("via", proxy.target()),
            None => entry,
        }
    }
}

fn entry(purpose: Purpose, target: String, actor: &str, decision: Decision) -> Entry {
    Entry::new(actor, EGRESS, target, decision).with("purpose", purpose.name())
}

/// What the book is told of a connection that was refused. `target` is the host and port, without what may be secret.
pub fn refused_egress(purpose: Purpose, target: String, actor: &str, refusal: &Refusal) -> Entry {
    entry(purpose, target, actor, Decision::Refused)
        .with("code", refusal.code)
        .with("reason", refusal.message.clone())
}

/// The entry of a decision on the owner's command line, which asks a gateway to write it: one that sends the book
/// elsewhere, or fetches a model. Nothing else gets into the book by being asked for.
pub(crate) fn relayed_egress(
    action: &str,
    target: &str,
    details: &BTreeMap<String, String>,
    actor: &str,
) -> Option<Entry> {
    let named = |purpose: &Purpose| details.get("purpose").is_some_and(|name| name == purpose.name());
    let purpose = [Purpose::Collector, Purpose::ModelFile, Purpose::Syslog].into_iter().find(named)?;
    let entry = |decision| entry(purpose, target.to_owned(), actor, decision).with("relayed", "yes");
    match (action == EGRESS, details.get("code"), details.get("reason")) {
        (true, None, None) => Some(entry(Decision::Allowed)),
        (true, Some(code), Some(reason)) => {
            Some(entry(Decision::Refused).with("code", code.clone()).with("reason", reason.clone()))
        }
        _ => None,
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
        let destination = destination.clone();
        return Ok(EgressPermit { purpose, destination, actor: actor.into(), via: None });
    }
    let message = format!(
        "{} is not {}:{}, which is all this client may reach",
        redacted(url),
        destination.host,
        destination.port
    );
    Err(Refusal::new("egress_refused", message))
}

/// Judges a connection to `url` as [`egress`] does, through the proxy of `rule`.
///
/// # Errors
/// When the URL is not at that destination, or connections to it do not go through a proxy.
pub fn egress_through(
    purpose: Purpose,
    url: &Url,
    destination: &Destination,
    rule: &ProxyRule,
    actor: &str,
) -> Result<EgressPermit, Refusal> {
    if !rule.holds(destination) {
        let message = format!("{} is not reached through a proxy", destination.target());
        return Err(Refusal::new("egress_refused", message));
    }
    let permit = egress(purpose, url, destination, actor)?;
    Ok(EgressPermit { via: Some(rule.destination().clone()), ..permit })
}

/// Judges a stream to `destination`. The addresses that its name stands for are judged when it is resolved, by
/// [`Destination::permits_address`].
///
/// # Errors
/// When the destination is one of HTTP, or a literal address that is out of reach.
pub fn egress_stream(
    purpose: Purpose,
    destination: &Destination,
    actor: &str,
) -> Result<EgressPermit, Refusal> {
    let refuse = |message: String| Err(Refusal::new("egress_refused", message));
    if !matches!(destination.scheme, Scheme::Plain | Scheme::Tls) {
        return refuse(format!("{} is not a destination for a stream", destination.target()));
    }
    match destination.address() {
        Some(address) if !destination.permits_address(address) => {
            refuse(format!("{address} may not be reached"))
        }
        _ => {
            let destination = destination.clone();
            Ok(EgressPermit { purpose, destination, actor: actor.into(), via: None })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn h05_a_client_reaches_its_destination_and_nothing_else() {
        let base = Url::parse("http://127.0.0.1:11434/v1").unwrap();
        let destination = Destination::parse(&base, Reach::Configured).unwrap();
        for (url, expected) in [
            ("http://127.0.0.1:11434/v1/chat/completions", true),
            ("http://127.0.0.1:11435/v1", false),
            ("https://127.0.0.1:11434/v1", false),
            ("http://127.0.0.2:11434/v1", false),
            ("http://127.0.0.1.evil.test:11434/", false),
            ("http://x-127-0-0-1.evil.test:11434/", false),
            ("http://127.0.0.1@evil.test:11434/", false),
            ("http://127.0.0.1.:11434/v1", true), // the same address, written with the root's dot
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
    fn a_stream_goes_to_a_server_of_its_own_over_tls_alone() {
        for (host, port, target) in [
            ("Logs.Example.org", 6514, Some("logs.example.org:6514")),
            ("127.0.0.1", 1, Some("127.0.0.1:1")),
            ("::1", 6514, Some("[::1]:6514")),
            ("[::1]", 6514, Some("[::1]:6514")),
            ("logs.example.org", 0, None),
            ("", 6514, None),
            ("logs.example.org/x", 6514, None),
            ("user@logs", 6514, None),
        ] {
            let destination = Destination::tls(host, port).ok();
            assert_eq!(destination.as_ref().map(Destination::target).as_deref(), target, "{host}");
            let permit = destination.map(|it| egress_stream(Purpose::Syslog, &it, "gateway"));
            assert!(permit.is_none_or(|permit| permit.is_ok()), "{host}");
        }
        let metadata = Destination::tls("169.254.169.254", 6514).unwrap();
        assert_eq!(egress_stream(Purpose::Syslog, &metadata, "x").unwrap_err().code, "egress_refused");
        let http = Destination::parse(&Url::parse("http://127.0.0.1").unwrap(), Reach::Configured).unwrap();
        assert!(egress_stream(Purpose::Syslog, &http, "x").is_err());
        let public = Destination::plain("203.0.114.1", 6667).unwrap();
        assert!(
            egress_stream(Purpose::Vendor, &public, "x").is_err(),
            "nothing goes through the internet in clear"
        );
        assert!(egress_stream(Purpose::Vendor, &Destination::plain("10.0.0.1", 6667).unwrap(), "x").is_ok());
        let tls = Destination::tls("127.0.0.1", 443).unwrap();
        assert!(egress(Purpose::Syslog, &Url::parse("https://127.0.0.1").unwrap(), &tls, "x").is_err());
    }

    #[test]
    fn the_book_is_sent_in_clear_within_this_machine_alone() {
        for (url, expected) in [
            ("https://collector.example.org/v1/logs", true),
            ("http://127.0.0.1:4318/v1/logs", true),
            ("http://localhost:4318/v1/logs", true),
            ("http://[::1]:4318/v1/logs", true),
            ("http://192.168.1.7:4318/v1/logs", false),
            ("http://collector.lan/v1/logs", false),
            ("https://user:pw@collector.example.org/", false),
        ] {
            assert_eq!(Destination::collector(&Url::parse(url).unwrap()).is_ok(), expected, "{url}");
        }
    }

    #[test]
    fn a_gateway_elsewhere_is_reached_over_tls_alone() {
        for (url, expected) in [
            ("wss://moltbot.example.com", Some("moltbot.example.com:443")),
            ("wss://192.168.1.7:18789/", Some("192.168.1.7:18789")),
            ("wss://[fd12::7]:18789", Some("[fd12::7]:18789")),
            ("ws://moltbot.example.com:18789", None),
            ("https://moltbot.example.com", None),
            ("wss://user:pw@moltbot.example.com", None),
            ("wss://moltbot.example.com/?token=x", None),
            ("wss://moltbot.example.com/path", None),
            ("moltbot.example.com", None),
        ] {
            let target = Destination::gateway(url).ok().map(|it| it.target());
            assert_eq!(target.as_deref(), expected, "{url}");
        }
    }

    #[test]
    fn only_what_sends_the_book_elsewhere_is_relayed_of_connections() {
        let details = |all: &[(&str, &str)]| {
            all.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        let relayed = |action, all: &[(&str, &str)]| {
            relayed_egress(action, "logs:6514", &details(all), "device:1").map(|entry| entry.decision)
        };
        assert_eq!(relayed(EGRESS, &[("purpose", "syslog")]), Some(Decision::Allowed));
        let refused = [("purpose", "collector"), ("code", "c"), ("reason", "r")];
        assert_eq!(relayed(EGRESS, &refused), Some(Decision::Refused));
        assert_eq!(relayed(EGRESS, &[("purpose", "provider")]), None);
        assert_eq!(relayed(EGRESS, &[]), None);
        assert_eq!(relayed("egress.close", &[("purpose", "syslog")]), None);
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
