//! Which requests the gateway looks at, and where each one really comes from.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use moltbot_config::settings::{AllowedHost, GatewayConfig, Network};
use url::{Host, Origin, Url};

use crate::authentication::Locality;
use crate::refusal::Refusal;
use crate::throttle::Source;
use moltbot_config::hole;

/// Hops of a forwarded request that are looked at. More are no proxies in a row, but somebody's invention.
const HOPS: usize = 16;

/// What the head of a request says about where it comes from.
#[derive(Clone, Copy, Debug, Default)]
pub struct RequestHead<'a> {
    /// Whether it came over TLS that ends here.
    pub encrypted: bool,
    /// `Host`.
    pub host: Option<&'a str>,
    /// `Origin`.
    pub origin: Option<&'a str>,
    /// `Sec-Fetch-Site`.
    pub fetch_site: Option<&'a str>,
    /// Whether any forwarding header is there: `Forwarded`, `X-Forwarded-*`, `X-Real-IP`, `Via`.
    pub forwarded: bool,
    /// Whether `X-Forwarded-Host` is there.
    pub forwarded_host: bool,
    /// Whether `X-Forwarded-Proto` is there.
    pub forwarded_proto: bool,
    /// `Tailscale-User-Login`: empty when it is there twice or unreadable.
    pub tailscale_login: Option<&'a str>,
    /// `X-Forwarded-For`, all lines in their order, joined with commas.
    pub x_forwarded_for: Option<&'a str>,
    /// `Forwarded` (RFC 7239), all lines in their order, joined with commas.
    pub forwarded_for: Option<&'a str>,
}

/// Where a request comes from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Caller {
    /// The address that its tries are counted for, and that the book names.
    pub client: IpAddr,
    /// Whether it is on this machine, directly connected.
    pub locality: Locality,
}

impl Caller {
    /// The same, judged by whose program it is. Who is on this machine is the owner only when the operating system says that
    /// the other end belongs to the user that the gateway runs as: to others of this machine it is as far away as the
    /// network.
    #[must_use]
    pub fn run_by(self, user: Option<u32>, owner: u32) -> Self {
        match user {
            Some(user) if user == owner => self,
            Some(_) | None => Self { locality: Locality::Remote, ..self },
        }
    }
}

/// The rules for requests, from the config.
#[derive(Clone, Debug)]
pub struct Front {
    port: u16,
    /// What this machine is called besides `localhost`: addresses that are listened on, and names of the owner's.
    names: Vec<Host>,
    origins: Vec<Origin>,
    proxies: Vec<Network>,
}

impl Front {
    /// The rules of a gateway that listens on the port of its config, and on `addresses` beyond loopback.
    ///
    /// # Errors
    /// When an allowed origin or name is none.
    pub fn of(gateway: &GatewayConfig, addresses: &[IpAddr]) -> Result<Self, Refusal> {
        let origin = |text: &str| match Url::parse(text).map(|url| url.origin()) {
            Ok(origin @ Origin::Tuple(..)) => Ok(origin),
            _ => {
                let message = format!(
                    "gateway.controlUi.allowedOrigins: {text:?} is no origin; write it as https://host"
                );
                Err(Refusal::new("origin_invalid", message))
            }
        };
        let origins =
            gateway.control_ui.allowed_origins.iter().map(|it| origin(&it.0)).collect::<Result<_, _>>()?;
        let bound = addresses.iter().map(|address| match address.to_canonical() {
            IpAddr::V4(v4) => Host::Ipv4(v4),
            IpAddr::V6(v6) => Host::Ipv6(v6),
        });
        let mut names: Vec<Host> = bound.collect();
        for AllowedHost(text) in &gateway.allowed_hosts {
            names.push(name(text).ok_or_else(|| {
                let message = format!(
                    "gateway.allowedHosts: {text:?} is no name of a host; nothing stands for several"
                );
                Refusal::new("host_invalid", message)
            })?);
        }
        Ok(Self { port: gateway.port, names, origins, proxies: gateway.trusted_proxies.clone() })
    }

    /// The same on the port that was taken, when the config left it open.
    pub fn on_port(self, port: u16) -> Self {
        Self { port, ..self }
    }

    /// The same with another name of this machine, which is taken as it is and with nothing before it.
    pub fn named(mut self, own: &str) -> Self {
        self.names.extend(name(own));
        self
    }

    /// Judges a request by its head, before anything else is looked at. A page of another site can neither reach us under
    /// its own name (DNS rebinding) nor under ours (cross-site requests).
    ///
    /// # Errors
    /// When `Host` is neither this machine's nor that of an allowed origin, or the request comes from a page that is
    /// not ours.
    pub fn judge(&self, head: &RequestHead<'_>) -> Result<(), Refusal> {
        let host = head.host.and_then(|host| Url::parse(&format!("http://{host}/")).ok());
        let plain = |url: &Url| {
            url.username().is_empty()
                && url.password().is_none()
                && url.path() == "/"
                && url.query().is_none()
        };
        let is_ours = host.as_ref().is_some_and(|url| plain(url) && self.is_our_name(url));
        if !is_ours && !hole!("foreign-host") {
            return Err(Refusal::new(
                "host_refused",
                "the Host header must name this machine (localhost, 127.0.0.1 or [::1]), an address that it listens on, or a name of gateway.allowedHosts or gateway.controlUi.allowedOrigins",
            ));
        }
        let refused = || Refusal::new("origin_refused", "requests from pages of other origins are refused");
        let Some(origin) = head.origin else {
            return match head.fetch_site {
                None | Some("none" | "same-origin") => Ok(()),
                Some(_) => Err(refused()),
            };
        };
        let url = Url::parse(origin).map_err(|_| refused())?;
        // Named by the owner: that page may be elsewhere than the gateway.
        if self.origins.contains(&url.origin()) {
            return Ok(());
        }
        let ours = (is_this_machine(&url) || self.is_bound(&url))
            && url.scheme() == if head.encrypted { "https" } else { "http" }
            && url.port_or_known_default() == Some(self.port)
            && matches!(head.fetch_site, None | Some("none" | "same-origin"));
        if ours || hole!("foreign-origin") { Ok(()) } else { Err(refused()) }
    }

    /// Where a request comes from: the peer, or what a trusted proxy says. Of the hops that are named, the right-most that
    /// is no trusted proxy counts; what stands to the left of it, anybody may have written. A forwarding header or a
    /// page makes a request remote: a proxy on this machine speaks from loopback for somebody else.
    ///
    /// # Errors
    /// When a trusted proxy names its hops in two ways, or one that is no address.
    pub fn caller(&self, peer: IpAddr, head: &RequestHead<'_>) -> Result<Caller, Refusal> {
        let peer = peer.to_canonical();
        if !head.forwarded {
            let direct = peer.is_loopback() && head.origin.is_none();
            let locality = if direct { Locality::Local } else { Locality::Remote };
            return Ok(Caller { client: peer, locality });
        }
        let remote = |client: IpAddr| Caller { client, locality: Locality::Remote };
        if !self.is_trusted(peer) && !hole!("forged-forwarding") {
            return Ok(remote(peer));
        }
        let refused = |cause: &str| {
            let message = "the forwarding headers cannot be read; correct the proxy's settings";
            Refusal::new("forwarded_refused", message).because(format!("{cause}, by the proxy {peer}"))
        };
        let hops: Vec<&str> = match (head.x_forwarded_for, head.forwarded_for) {
            (Some(_), Some(_)) => return Err(refused("both X-Forwarded-For and Forwarded")),
            (Some(list), None) => list.rsplit(',').collect(),
            (None, Some(list)) => list.rsplit(',').map(node_of).collect(),
            // It says that it forwards, and not for whom.
            (None, None) => return Ok(remote(peer)),
        };
        for hop in hops.into_iter().take(HOPS) {
            let address = address_of(hop.trim()).ok_or_else(|| refused("a hop that is no address"))?;
            if !self.is_trusted(address) {
                return Ok(remote(address));
            }
        }
        // Proxies all the way: the last of them is all that is known.
        Ok(remote(peer))
    }

    /// The source that a peer is by its address alone, before it has sent anything. Nothing for this machine and for trusted
    /// proxies: their address does not say who speaks.
    pub fn source_of(&self, peer: IpAddr) -> Option<Source> {
        let peer = peer.to_canonical();
        (!peer.is_loopback() && !self.is_trusted(peer)).then(|| Source::of(peer))
    }

    fn is_trusted(&self, address: IpAddr) -> bool {
        self.proxies.iter().any(|network| network.0.contains(&address))
    }

    fn is_our_name(&self, url: &Url) -> bool {
        let named = |origin: &Origin| matches!(origin, Origin::Tuple(_, host, _) if url.host().is_some_and(|it| it.to_owned() == *host));
        is_this_machine(url) || self.is_bound(url) || self.origins.iter().any(named)
    }

    fn is_bound(&self, url: &Url) -> bool {
        url.host().is_some_and(|host| self.names.contains(&host.to_owned()))
    }
}

/// A name or literal address, as URLs write it. One with a wildcard is none.
fn name(text: &str) -> Option<Host> {
    let text = text.trim_end_matches('.');
    let bracketed = if text.parse::<Ipv6Addr>().is_ok() { format!("[{text}]") } else { text.to_owned() };
    Host::parse(&bracketed).ok().filter(|_| !text.contains('*'))
}

pub(super) fn is_this_machine(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address == Ipv4Addr::LOCALHOST,
        Some(Host::Ipv6(address)) => address == Ipv6Addr::LOCALHOST,
        None => false,
    }
}

/// The right-most hop of `X-Forwarded-For`, which the nearest proxy wrote.
pub(crate) fn last_hop(list: &str) -> Option<IpAddr> {
    address_of(list.rsplit(',').next()?.trim())
}

/// The `for` of one element of `Forwarded`; empty when it has none.
fn node_of(element: &str) -> &str {
    let named = element.split(';').filter_map(|pair| pair.split_once('='));
    let mut nodes =
        named.filter(|(name, _)| name.trim().eq_ignore_ascii_case("for")).map(|(_, node)| node.trim());
    match (nodes.next(), nodes.next()) {
        (Some(node), None) => node.strip_prefix('"').and_then(|node| node.strip_suffix('"')).unwrap_or(node),
        _ => "",
    }
}

/// The address of a hop: alone, in brackets, or with a port. Names, `unknown` and hidden ones are none.
fn address_of(hop: &str) -> Option<IpAddr> {
    let bare = hop.strip_prefix('[').and_then(|hop| hop.strip_suffix(']')).unwrap_or(hop);
    let address = bare.parse::<IpAddr>().ok().or_else(|| Some(hop.parse::<SocketAddr>().ok()?.ip()));
    address.map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use moltbot_config::settings::AllowedOrigin;

    use super::*;

    fn front(origins: &[&str], proxies: &[&str]) -> Front {
        let mut gateway = GatewayConfig::default();
        gateway.control_ui.allowed_origins =
            origins.iter().map(|it| AllowedOrigin((*it).to_owned())).collect();
        gateway.trusted_proxies = proxies.iter().map(|it| Network::parse(it).unwrap()).collect();
        Front::of(&gateway, &[]).unwrap()
    }

    #[test]
    fn only_requests_to_this_machine_from_no_foreign_page_are_looked_at() {
        let head =
            |host, origin, fetch_site| RequestHead { host, origin, fetch_site, ..RequestHead::default() };
        for (host, origin, site, expected) in [
            (Some("127.0.0.1:18789"), None, None, None),
            (Some("localhost"), None, None, None),
            (Some("[::1]:18789"), Some("http://[::1]:18789"), Some("same-origin"), None),
            (Some("localhost:9999"), None, Some("none"), None),
            (None, None, None, Some("host_refused")),
            (Some(""), None, None, Some("host_refused")),
            (Some("evil.test"), None, None, Some("host_refused")),
            (Some("localhost.evil.test"), None, None, Some("host_refused")),
            (Some("evil.test@localhost"), None, None, Some("host_refused")),
            (Some("localhost/evil"), None, None, Some("host_refused")),
            (Some("192.168.1.7"), None, None, Some("host_refused")),
            (Some("any.tailnet.ts.net"), None, None, Some("host_refused")),
            (Some("localhost"), Some("http://evil.test"), None, Some("origin_refused")),
            (Some("localhost"), Some("null"), None, Some("origin_refused")),
            (Some("localhost"), Some("http://localhost:3000"), None, Some("origin_refused")),
            (Some("localhost"), Some("http://localhost.evil.com:18789"), None, Some("origin_refused")),
            (Some("localhost"), Some("http://localhost:18789"), Some("cross-site"), Some("origin_refused")),
            (Some("localhost"), None, Some("cross-site"), Some("origin_refused")),
            (Some("localhost"), None, Some("same-site"), Some("origin_refused")),
        ] {
            let verdict = front(&[], &[]).judge(&head(host, origin, site)).err().map(|refusal| refusal.code);
            assert_eq!(verdict, expected, "host {host:?} origin {origin:?} site {site:?}");
        }
    }

    #[test]
    fn d_15_d_18_an_origin_that_the_owner_names_may_connect_and_no_other_of_its_kind() {
        let front = front(&["https://moltbot.example.com", "https://desk.example.net:8443"], &[]);
        let head = |host, origin| RequestHead { host: Some(host), origin, ..RequestHead::default() };
        for (host, origin, expected) in [
            ("moltbot.example.com", None, None),
            ("moltbot.example.com:443", Some("https://moltbot.example.com"), None),
            ("localhost", Some("https://desk.example.net:8443"), None),
            ("localhost", Some("https://desk.example.net"), Some("origin_refused")),
            ("localhost", Some("http://moltbot.example.com"), Some("origin_refused")),
            ("localhost", Some("https://moltbot.example.com.evil.test"), Some("origin_refused")),
            ("evil.example.com", None, Some("host_refused")),
            ("moltbot.example.com.evil.test", None, Some("host_refused")),
        ] {
            let verdict = front.judge(&head(host, origin)).err().map(|refusal| refusal.code);
            assert_eq!(verdict, expected, "host {host:?} origin {origin:?}");
        }
    }

    #[test]
    fn d_15_the_addresses_that_are_listened_on_and_the_names_of_the_owner_are_taken_and_nothing_like_them() {
        let allowed_hosts = vec![AllowedHost("Moltbot.LAN".into()), AllowedHost("fd12::8".into())];
        let mut gateway = GatewayConfig { allowed_hosts, ..GatewayConfig::default() };
        let bound = ["192.168.1.7".parse().unwrap(), "fd12::7".parse().unwrap()];
        let front = Front::of(&gateway, &bound).unwrap().named("desk.tail0123.ts.net.");
        for (host, origin, encrypted, expected) in [
            ("192.168.1.7:18789", None, true, None),
            ("[fd12::7]:18789", None, true, None),
            ("[fd12::8]", None, true, None),
            ("moltbot.lan", None, true, None),
            ("desk.tail0123.ts.net", None, false, None),
            ("localhost", None, true, None),
            ("192.168.1.8", None, true, Some("host_refused")),
            ("evil.moltbot.lan", None, true, Some("host_refused")),
            ("other.tail0123.ts.net", None, false, Some("host_refused")),
            ("evil.ts.net", None, false, Some("host_refused")),
            ("moltbot.lan", Some("https://moltbot.lan:18789"), true, None),
            ("192.168.1.7:18789", Some("https://192.168.1.7:18789"), true, None),
            ("moltbot.lan", Some("http://moltbot.lan:18789"), true, Some("origin_refused")),
            ("moltbot.lan", Some("https://moltbot.lan:18789"), false, Some("origin_refused")),
            ("moltbot.lan", Some("https://moltbot.lan"), true, Some("origin_refused")),
            ("moltbot.lan", Some("https://evil.test:18789"), true, Some("origin_refused")),
        ] {
            let head = RequestHead { host: Some(host), origin, encrypted, ..RequestHead::default() };
            let verdict = front.judge(&head).err().map(|refusal| refusal.code);
            assert_eq!(verdict, expected, "host {host:?} origin {origin:?}");
        }
        for wrong in ["*.ts.net", "*", "a b", "https://x"] {
            gateway.allowed_hosts = vec![AllowedHost(wrong.into())];
            assert_eq!(Front::of(&gateway, &[]).unwrap_err().code, "host_invalid", "{wrong}");
        }
    }

    fn client(front: &Front, peer: &str, x: Option<&str>, rfc: Option<&str>) -> Result<String, &'static str> {
        let head = RequestHead {
            forwarded: x.is_some() || rfc.is_some(),
            x_forwarded_for: x,
            forwarded_for: rfc,
            ..RequestHead::default()
        };
        let caller = front.caller(peer.parse().unwrap(), &head).map_err(|refusal| refusal.code)?;
        Ok(format!("{} {}", caller.client, caller.locality.name()))
    }

    #[test]
    fn d_11_d_13_the_right_most_hop_that_is_no_trusted_proxy_is_the_client() {
        let front = front(&[], &["127.0.0.1", "10.0.0.0/8", "2001:db8:1::/48"]);
        for (peer, x, rfc, expected) in [
            ("127.0.0.1", None, None, Ok("127.0.0.1 local")),
            ("127.0.0.1", Some("203.0.113.9"), None, Ok("203.0.113.9 remote")),
            ("127.0.0.1", Some("127.0.0.1, 203.0.113.9"), None, Ok("203.0.113.9 remote")),
            ("127.0.0.1", Some("203.0.113.9, 10.1.2.3, 10.9.9.9"), None, Ok("203.0.113.9 remote")),
            ("127.0.0.1", Some("6.6.6.6, 203.0.113.9:4711"), None, Ok("203.0.113.9 remote")),
            ("::ffff:127.0.0.1", Some("::ffff:203.0.113.9"), None, Ok("203.0.113.9 remote")),
            ("2001:db8:1::7", Some("2001:db8:2::9"), None, Ok("2001:db8:2::9 remote")),
            ("127.0.0.1", Some("10.1.1.1"), None, Ok("127.0.0.1 remote")),
            ("127.0.0.1", Some("localhost"), None, Err("forwarded_refused")),
            ("127.0.0.1", Some("203.0.113.9,"), None, Err("forwarded_refused")),
            ("127.0.0.1", Some("203.0.113.9"), Some("for=203.0.113.9"), Err("forwarded_refused")),
            (
                "127.0.0.1",
                None,
                Some("for=192.0.2.1, for=\"[2001:db8:2::9]:80\";proto=https"),
                Ok("2001:db8:2::9 remote"),
            ),
            ("127.0.0.1", None, Some("For=203.0.113.9;by=127.0.0.1"), Ok("203.0.113.9 remote")),
            ("127.0.0.1", None, Some("for=unknown"), Err("forwarded_refused")),
            ("127.0.0.1", None, Some("for=1.1.1.1;for=2.2.2.2"), Err("forwarded_refused")),
            ("127.0.0.1", None, Some("by=127.0.0.1"), Err("forwarded_refused")),
            // Nobody else is believed, and who forwards is not local.
            ("192.0.2.7", Some("127.0.0.1"), None, Ok("192.0.2.7 remote")),
            ("127.0.0.2", Some("203.0.113.9"), None, Ok("127.0.0.2 remote")),
        ] {
            let found = client(&front, peer, x, rfc);
            assert_eq!(found.as_deref().map_err(|code| *code), expected, "{peer} {x:?} {rfc:?}");
        }
    }

    #[test]
    fn who_may_speak_for_others_is_no_source_by_its_address() {
        let front = front(&[], &["10.0.0.0/8"]);
        for (peer, expected) in [
            ("127.0.0.1", None),
            ("127.8.8.8", None),
            ("::1", None),
            ("::ffff:127.0.0.1", None),
            ("10.1.2.3", None),
            ("::ffff:10.1.2.3", None),
            ("203.0.113.9", Some("203.0.113.9")),
            ("::ffff:203.0.113.9", Some("203.0.113.9")),
            ("2001:db8:1:2:3::4", Some("2001:db8:1:2::")),
        ] {
            let source = front.source_of(peer.parse().unwrap()).map(|source| source.address().to_string());
            assert_eq!(source.as_deref(), expected, "{peer}");
        }
    }

    #[test]
    fn only_the_owners_program_is_local_and_nobody_gets_closer_by_being_known() {
        let caller = |locality| Caller { client: Ipv4Addr::LOCALHOST.into(), locality };
        for (locality, user, expected) in [
            (Locality::Local, Some(1000), Locality::Local),
            (Locality::Local, Some(0), Locality::Remote),
            (Locality::Local, Some(65_534), Locality::Remote),
            (Locality::Local, None, Locality::Remote),
            (Locality::Remote, Some(1000), Locality::Remote),
        ] {
            assert_eq!(caller(locality).run_by(user, 1000), caller(expected), "{locality:?} {user:?}");
        }
    }

    #[test]
    fn a_forwarded_request_or_one_of_a_page_is_not_local() {
        let front = front(&[], &[]);
        let locality =
            |peer: &str, head: &RequestHead<'_>| front.caller(peer.parse().unwrap(), head).unwrap().locality;
        let head = RequestHead::default();
        assert_eq!(locality("127.0.0.1", &head), Locality::Local);
        assert_eq!(locality("::ffff:127.0.0.1", &head), Locality::Local);
        assert_eq!(locality("10.0.0.1", &head), Locality::Remote);
        assert_eq!(locality("127.0.0.1", &RequestHead { forwarded: true, ..head }), Locality::Remote);
        let page = RequestHead { origin: Some("http://localhost"), ..head };
        assert_eq!(locality("127.0.0.1", &page), Locality::Remote);
    }
}
