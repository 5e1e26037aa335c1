//! What the commands of an agent may reach: the hosts that its owner named, and nothing else.
//!
//! Pure: the proxy of `net` asks for each connection, with the host as the command wrote it. What is written in a way that
//! two programs could read differently is refused, not understood.

use std::net::IpAddr;

use moltbot_config::settings::{HostPattern, OutboundConfig, OutboundHost};
use url::Host;

use super::{Destination, EgressPermit, Purpose, Reach, Scheme};
use crate::refusal::Refusal;

/// How a command asks for a connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Way {
    /// A request in clear, which the proxy sends on.
    Request,
    /// The same to a host for which the owner left a credential: it goes on over TLS.
    RequestWithCredential,
    /// A tunnel for TLS (`CONNECT`, RFC 9110 section 9.3.6).
    Tunnel,
}

/// Judges a connection that a command asks for. `host` is what it wrote.
///
/// # Errors
/// When the host is not plainly one, or is not one that the owner named with this port.
pub fn outbound(
    config: &OutboundConfig,
    host: &str,
    port: u16,
    way: Way,
    actor: &str,
) -> Result<EgressPermit, Refusal> {
    let name = plain(host)?;
    let Some(rule) = config.allow.iter().find(|rule| rule.port == port && covers(rule, &name)) else {
        let message = format!(
            "commands of this agent may not reach {}:{port}; its owner can add it to `outbound.allow`",
            shown(&name)
        );
        return Err(Refusal::new("outbound_refused", message));
    };
    let reach = match rule.pattern {
        HostPattern::Address(_) => Reach::Configured,
        HostPattern::Below(_) | HostPattern::Name(_) => Reach::Public,
    };
    let scheme = match way {
        Way::Request => Scheme::Plain,
        Way::RequestWithCredential | Way::Tunnel => Scheme::Tls,
    };
    let destination = Destination { scheme, host: shown(&name), port, reach };
    Ok(EgressPermit { purpose: Purpose::Command, destination, actor: actor.into(), via: None })
}

/// A host as a command may write it.
enum Named {
    Address(IpAddr),
    Name(String),
}

fn shown(name: &Named) -> String {
    match name {
        Named::Address(IpAddr::V6(address)) => format!("[{address}]"),
        Named::Address(IpAddr::V4(address)) => address.to_string(),
        Named::Name(name) => name.clone(),
    }
}

/// The host, when every program reads it alike. Addresses in other forms than their own (`0x7f.1`, `127.1`, `2130706433`),
/// escapes, user names, control characters and NULs are not.
fn plain(host: &str) -> Result<Named, Refusal> {
    let refuse = || {
        let shown: String = host.chars().take(80).flat_map(char::escape_default).collect();
        Refusal::new(
            "outbound_host_unclear",
            format!("{shown:?} is not plainly the name of a host or an address"),
        )
    };
    let lower = host.to_ascii_lowercase();
    let lower = lower.strip_suffix('.').unwrap_or(&lower);
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-.:[]".contains(&byte);
    if lower.is_empty() || lower.len() > 253 || !lower.bytes().all(is_plain) {
        return Err(refuse());
    }
    match Host::parse(lower).map_err(|_| refuse())? {
        Host::Ipv4(address) if address.to_string() == lower => Ok(Named::Address(address.into())),
        Host::Ipv6(address) if address.to_ipv4_mapped().is_none() => Ok(Named::Address(address.into())),
        Host::Domain(name) if name == lower && !lower.starts_with('.') && !lower.contains("..") => {
            Ok(Named::Name(name))
        }
        Host::Domain(_) | Host::Ipv4(_) | Host::Ipv6(_) => Err(refuse()),
    }
}

/// Whether a rule names the host. `*.` stands for one label or more, at a dot.
fn covers(rule: &OutboundHost, name: &Named) -> bool {
    match (&rule.pattern, name) {
        (HostPattern::Address(rule), Named::Address(address)) => rule == address,
        (HostPattern::Name(rule), Named::Name(name)) => rule == name,
        (HostPattern::Below(parent), Named::Name(name)) => name
            .strip_suffix(parent.as_str())
            .and_then(|rest| rest.strip_suffix('.'))
            .is_some_and(|labels| !labels.is_empty()),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use moltbot_config::settings::OutboundHost;

    use super::*;

    fn judge(host: &str, port: u16) -> Result<EgressPermit, &'static str> {
        let allow = ["api.example.com", "*.pkg.example", "10.0.0.7:8080", "[fd00::7]:8080"];
        let allow = allow.into_iter().map(|text| OutboundHost::parse(text).unwrap()).collect();
        let config = OutboundConfig { allow, ..OutboundConfig::default() };
        outbound(&config, host, port, Way::Tunnel, "agent").map_err(|refusal| refusal.code)
    }

    #[test]
    fn only_what_the_owner_named_is_reached() {
        for (host, port, expected) in [
            ("api.example.com", 443, Ok("api.example.com:443")),
            ("API.Example.COM.", 443, Ok("api.example.com:443")),
            ("a.pkg.example", 443, Ok("a.pkg.example:443")),
            ("a.b.pkg.example", 443, Ok("a.b.pkg.example:443")),
            ("10.0.0.7", 8080, Ok("10.0.0.7:8080")),
            ("[fd00::7]", 8080, Ok("[fd00::7]:8080")),
            ("api.example.com", 80, Err("outbound_refused")),
            ("pkg.example", 443, Err("outbound_refused")),
            ("evilpkg.example", 443, Err("outbound_refused")),
            ("api.example.com.evil.test", 443, Err("outbound_refused")),
            ("10.0.0.7", 443, Err("outbound_refused")),
            ("10.0.0.8", 8080, Err("outbound_refused")),
            ("localhost", 443, Err("outbound_refused")),
            ("169.254.169.254", 80, Err("outbound_refused")),
        ] {
            let verdict = judge(host, port).map(|permit| permit.destination().target());
            assert_eq!(verdict.as_deref().map_err(|code| *code), expected, "{host}:{port}");
        }
    }

    /// H-class rows, and the suffix by which another sandbox was left for five months.
    #[test]
    fn a_host_that_can_be_read_in_two_ways_is_refused() {
        for host in [
            "evil.test\0.pkg.example",
            "evil.test%00.pkg.example",
            "evil.test@a.pkg.example",
            "a.pkg.example/@evil.test",
            "a.pkg.example:443",
            "evil.test\\.pkg.example",
            "evil.test#.pkg.example",
            "evil.test .pkg.example",
            "evil.test\r\n.pkg.example",
            "e\u{301}vil.pkg.example",
            "\u{ff41}pi.example.com",
            "api\u{3002}example.com",
            "167772167",
            "0xa.0.0.7",
            "012.0.0.7",
            "10.7",
            "10.0.0.7.",
            "[::ffff:10.0.0.7]",
            "a..pkg.example",
            ".pkg.example",
            "[fd00::7",
            "",
            ".",
        ] {
            let expected =
                if host == "10.0.0.7." { Some("outbound_refused") } else { Some("outbound_host_unclear") };
            assert_eq!(judge(host, 443).err(), expected, "{host:?}");
        }
    }

    #[test]
    fn a_name_stands_for_public_addresses_and_an_address_for_itself() {
        let name = judge("a.pkg.example", 443).unwrap();
        let own = judge("10.0.0.7", 8080).unwrap();
        for (address, of_name) in
            [("203.0.114.1", true), ("127.0.0.1", false), ("169.254.169.254", false), ("10.0.0.7", false)]
        {
            assert_eq!(name.destination().permits_address(address.parse().unwrap()), of_name, "{address}");
        }
        assert!(own.destination().permits_address("10.0.0.7".parse().unwrap()));
    }
}
