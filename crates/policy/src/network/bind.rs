//! Where the gateway listens, and how bytes travel there.
//!
//! Loopback is always among the addresses and keeps plain HTTP, because clients of this machine speak it and nobody else
//! hears it. Beyond loopback each address is bound by itself, never all of them at once: what is in the book is what is
//! open, a new network card opens nothing, and the sockets of loopback stay apart from those of the network, so that no
//! byte of a stranger decides whether TLS is asked for.
//!
//! Besides, there is a socket in the state folder, which nobody but the owner can reach.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

use moltbot_config::settings::{BindMode, GatewayConfig, TailscaleMode};

use super::address::{is_private, is_tailnet};
use crate::authentication::Credential;
use crate::record::{Decision, Entry, Permit};
use crate::refusal::Refusal;

/// How bytes travel on an address that is listened on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Transport {
    /// As they are.
    Plain,
    /// As they are, or over TLS: who connects begins with one or the other. On loopback alone.
    PlainOrTls,
    /// Over TLS alone.
    Tls,
}

/// One address to listen on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Endpoint {
    /// The address and port.
    pub address: SocketAddr,
    /// How bytes travel there.
    pub transport: Transport,
}

/// Proof that the gateway may listen, and where.
#[derive(Debug)]
#[must_use = "a permit that is dropped listens nowhere"]
pub struct BindPermit {
    endpoints: Vec<Endpoint>,
    socket: Option<PathBuf>,
}

/// The gateway's own socket, in the state folder.
pub fn own_socket(state: &Path) -> PathBuf {
    state.join("gateway.sock")
}

impl BindPermit {
    /// Every address to listen on; all of them or none.
    pub fn endpoints(&self) -> &[Endpoint] {
        &self.endpoints
    }

    /// The gateway's own socket, unless the config does without it.
    pub fn socket(&self) -> Option<&Path> {
        self.socket.as_deref()
    }

    /// The addresses beyond 127.0.0.1 and ::1.
    pub fn beyond_loopback(&self) -> Vec<IpAddr> {
        let addresses = self.endpoints.iter().map(|endpoint| endpoint.address.ip());
        addresses.filter(|address| !LOOPBACK.contains(address)).collect()
    }

    /// The addresses beyond loopback on which bytes travel as they are.
    pub fn plaintext(&self) -> Vec<SocketAddr> {
        let open = |endpoint: &&Endpoint| {
            endpoint.transport == Transport::Plain && !LOOPBACK.contains(&endpoint.address.ip())
        };
        self.endpoints.iter().filter(open).map(|endpoint| endpoint.address).collect()
    }
}

impl Permit for BindPermit {
    fn entry(&self) -> Entry {
        let addresses = self.endpoints.iter().map(|endpoint| endpoint.address.to_string());
        let socket = self.socket.iter().map(|path| format!("unix:{}", path.display()));
        let addresses: Vec<String> = addresses.chain(socket).collect();
        let entry = Entry::new("gateway", "gateway.listen", addresses.join(" "), Decision::Allowed);
        match (self.beyond_loopback().is_empty(), self.plaintext().is_empty()) {
            (true, _) => entry,
            (false, true) => entry.with("transport", "tls"),
            (false, false) => entry.with("transport", "plaintext"),
        }
    }
}

const LOOPBACK: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];

/// Judges where to listen. `own` are the addresses that this machine has now, `state` the state folder. The credential is asked for because there
/// is none but a strong one: [`Credential::from_config`] makes no other.
///
/// # Errors
/// When an address beyond loopback is asked for without TLS, or the one that is asked for is not there: never a different
/// address than the one asked for.
pub fn bind(
    gateway: &GatewayConfig,
    credential: &Credential,
    own: &[IpAddr],
    state: &Path,
) -> Result<BindPermit, Refusal> {
    let beyond = beyond_loopback(gateway, own)?;
    require_fit_for_tailscale(gateway, credential, &beyond)?;
    let port = gateway.port;
    let endpoint = |address: IpAddr, transport| Endpoint { address: (address, port).into(), transport };
    let (inside, outside) = match (gateway.tls.enabled, gateway.dangerously_allow_plaintext_bind) {
        (true, _) => (Transport::PlainOrTls, Transport::Tls),
        (false, true) => (Transport::Plain, Transport::Plain),
        (false, false) if beyond.is_empty() => (Transport::Plain, Transport::Tls),
        (false, false) => {
            return refuse(format!(
                "refusing to listen on {} without TLS: whoever listens in on that network would read the credential; set \
                 gateway.tls.enabled to true (a certificate is made when you have none), or gateway.bind to \"loopback\"",
                listed(&beyond)
            ));
        }
    };
    let loopback = LOOPBACK.iter().map(|address| endpoint(*address, inside));
    let endpoints = loopback.chain(beyond.iter().map(|address| endpoint(*address, outside))).collect();
    let socket = gateway.unix_socket.then(|| own_socket(state));
    Ok(BindPermit { endpoints, socket })
}

/// The addresses beyond loopback that the config asks for.
fn beyond_loopback(gateway: &GatewayConfig, own: &[IpAddr]) -> Result<Vec<IpAddr>, Refusal> {
    let of_tailnet = || own.iter().copied().filter(|address| is_tailnet(*address)).collect::<Vec<_>>();
    match gateway.bind {
        BindMode::Loopback => Ok(Vec::new()),
        BindMode::Auto => Ok(of_tailnet()),
        BindMode::Custom => {
            let Some(address) = gateway.custom_bind_host else {
                return refuse("gateway.bind is \"custom\", and gateway.customBindHost names no address");
            };
            custom(address.0.to_canonical())
        }
        BindMode::Lan => {
            let private = own.iter().copied().filter(|it| is_private(*it) && !is_tailnet(*it));
            require_some(private.collect(), "an address in a private network", "lan")
        }
        BindMode::Tailnet => require_some(of_tailnet(), "an address in a tailnet", "tailnet"),
    }
}

fn custom(address: IpAddr) -> Result<Vec<IpAddr>, Refusal> {
    if address.is_unspecified() {
        return refuse(format!(
            "gateway.customBindHost is {address}, which is every address that this machine has or will have; name one, or \
             set gateway.bind to \"lan\""
        ));
    }
    if address.is_multicast() || address == IpAddr::V4(Ipv4Addr::BROADCAST) {
        return refuse(format!("gateway.customBindHost is {address}, which is no address of one machine"));
    }
    Ok(if LOOPBACK.contains(&address) { Vec::new() } else { vec![address] })
}

fn require_some(found: Vec<IpAddr>, what: &str, mode: &str) -> Result<Vec<IpAddr>, Refusal> {
    if !found.is_empty() {
        return Ok(found);
    }
    refuse(format!(
        "gateway.bind is {mode:?}, and this machine has not {what} now; bring its network up, or set gateway.bind to \
         \"loopback\""
    ))
}

/// Tailscale passes requests on from this machine, and does not need another address to be open. To the internet a password
/// is asked for, as upstream does.
fn require_fit_for_tailscale(
    gateway: &GatewayConfig,
    credential: &Credential,
    beyond: &[IpAddr],
) -> Result<(), Refusal> {
    match gateway.tailscale.mode {
        TailscaleMode::Off => return Ok(()),
        TailscaleMode::Funnel if credential.method() != "password" => {
            return refuse(
                "gateway.tailscale.mode \"funnel\" opens the gateway to the internet and needs a password: set \
                 gateway.auth.mode to \"password\" and gateway.auth.password",
            );
        }
        TailscaleMode::Funnel | TailscaleMode::Serve if beyond.is_empty() => return Ok(()),
        TailscaleMode::Funnel | TailscaleMode::Serve => {}
    }
    refuse(format!(
        "gateway.tailscale.mode needs gateway.bind \"loopback\": Tailscale connects from this machine, and {} would be open \
         besides",
        listed(beyond)
    ))
}

fn listed(addresses: &[IpAddr]) -> String {
    addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn refuse<T>(message: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal::new("bind_refused", message))
}

#[cfg(test)]
mod tests {
    use moltbot_config::settings::{Address, AuthConfig};

    use super::*;

    const OWN: [&str; 11] = [
        "127.0.0.1",
        "::1",
        "192.168.1.7",
        "10.0.0.5",
        "172.17.0.1",
        "fd12::7",
        "fe80::1",
        "203.0.114.9",
        "2606:4700::9",
        "100.101.102.103",
        "fd7a:115c:a1e0::7",
    ];

    fn credential() -> Credential {
        let token = Some("q8Zr3VtLx0NwYbE5mKc7HdPfJ2sGuA9o1QiTeXyBvRM".into());
        Credential::from_config(&AuthConfig { token, ..AuthConfig::default() }).unwrap()
    }

    fn gateway(bind: BindMode, custom: Option<&str>) -> GatewayConfig {
        let custom_bind_host = custom.map(|address| Address(address.parse().unwrap()));
        GatewayConfig { bind, custom_bind_host, ..GatewayConfig::default() }
    }

    fn judged(gateway: &GatewayConfig, own: &[&str]) -> Result<Vec<String>, Refusal> {
        let own: Vec<IpAddr> = own.iter().map(|address| address.parse().unwrap()).collect();
        let permit = bind(gateway, &credential(), &own, Path::new("/state"))?;
        let told = |endpoint: &Endpoint| format!("{} {:?}", endpoint.address.ip(), endpoint.transport);
        Ok(permit.endpoints().iter().map(told).collect())
    }

    #[test]
    fn nothing_but_loopback_is_listened_on_in_clear() {
        for (mode, custom) in [
            (BindMode::Auto, None),
            (BindMode::Custom, Some("192.168.1.7")),
            (BindMode::Custom, Some("127.0.0.5")),
            (BindMode::Lan, None),
            (BindMode::Tailnet, None),
        ] {
            let refusal = judged(&gateway(mode, custom), &OWN).unwrap_err();
            assert!(refusal.message.contains("without TLS"), "{mode:?}: {}", refusal.message);
        }
        let loopback = Ok(vec!["127.0.0.1 Plain".to_owned(), "::1 Plain".to_owned()]);
        assert_eq!(judged(&GatewayConfig::default(), &OWN).map_err(|it| it.message), loopback);
    }

    #[test]
    fn each_mode_is_the_addresses_that_it_says() {
        for (mode, custom, expected) in [
            (BindMode::Loopback, None, &[][..]),
            (BindMode::Lan, None, &["192.168.1.7", "10.0.0.5", "172.17.0.1", "fd12::7"]),
            (BindMode::Tailnet, None, &["100.101.102.103", "fd7a:115c:a1e0::7"]),
            (BindMode::Auto, None, &["100.101.102.103", "fd7a:115c:a1e0::7"]),
            (BindMode::Custom, Some("203.0.114.9"), &["203.0.114.9"]),
            (BindMode::Custom, Some("::ffff:192.168.1.7"), &["192.168.1.7"]),
            (BindMode::Custom, Some("127.0.0.1"), &[]),
        ] {
            let mut gateway = gateway(mode, custom);
            gateway.tls.enabled = true;
            let told = judged(&gateway, &OWN).map_err(|it| it.message).unwrap();
            let beyond: Vec<String> = expected.iter().map(|address| format!("{address} Tls")).collect();
            let loopback = ["127.0.0.1 PlainOrTls".to_owned(), "::1 PlainOrTls".to_owned()];
            assert_eq!(told, [&loopback[..], &beyond].concat(), "{mode:?}");
        }
    }

    #[test]
    fn d_14_an_address_that_is_not_there_is_not_replaced_by_another() {
        for (mode, custom, own) in [
            (BindMode::Lan, None, &["127.0.0.1", "203.0.114.9", "100.101.102.103"][..]),
            (BindMode::Tailnet, None, &["127.0.0.1", "192.168.1.7", "100.128.0.1"]),
            (BindMode::Custom, None, &OWN),
            (BindMode::Custom, Some("0.0.0.0"), &OWN),
            (BindMode::Custom, Some("::"), &OWN),
            (BindMode::Custom, Some("224.0.0.1"), &OWN),
        ] {
            let mut gateway = gateway(mode, custom);
            gateway.tls.enabled = true;
            assert_eq!(judged(&gateway, own).unwrap_err().code, "bind_refused", "{mode:?} {custom:?}");
        }
        // Without a tailnet `auto` is loopback, as it says.
        assert_eq!(judged(&gateway(BindMode::Auto, None), &["127.0.0.1", "192.168.1.7"]).unwrap().len(), 2);
    }

    #[test]
    fn plaintext_is_the_owners_word_and_tls_goes_before_it() {
        let mut gateway = gateway(BindMode::Custom, Some("192.168.1.7"));
        gateway.dangerously_allow_plaintext_bind = true;
        assert_eq!(judged(&gateway, &OWN).unwrap().pop().unwrap(), "192.168.1.7 Plain");
        gateway.tls.enabled = true;
        assert_eq!(judged(&gateway, &OWN).unwrap().pop().unwrap(), "192.168.1.7 Tls");
    }

    #[test]
    fn the_socket_stands_in_the_book_beside_the_addresses_and_can_be_done_without() {
        let mut gateway = GatewayConfig::default();
        for (unix_socket, expected) in [
            (true, "127.0.0.1:18789 [::1]:18789 unix:/state/gateway.sock"),
            (false, "127.0.0.1:18789 [::1]:18789"),
        ] {
            gateway.unix_socket = unix_socket;
            let permit = bind(&gateway, &credential(), &[], Path::new("/state")).unwrap();
            assert_eq!(permit.entry().target, expected);
            assert_eq!(permit.socket().is_some(), unix_socket);
        }
    }

    #[test]
    fn tailscale_needs_no_address_beyond_loopback_and_gets_none() {
        let mut gateway = gateway(BindMode::Lan, None);
        (gateway.tls.enabled, gateway.tailscale.mode) = (true, TailscaleMode::Serve);
        let refusal = judged(&gateway, &OWN).unwrap_err();
        assert!(refusal.message.contains("needs gateway.bind \"loopback\""), "{}", refusal.message);
        gateway.bind = BindMode::Loopback;
        assert!(judged(&gateway, &OWN).is_ok());
        gateway.tailscale.mode = TailscaleMode::Funnel;
        let refusal = judged(&gateway, &OWN).unwrap_err();
        assert!(refusal.message.contains("needs a password"), "{}", refusal.message);
    }
}
