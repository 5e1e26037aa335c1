//! A proxy that the environment names: which connections go through it.
//!
//! Whoever goes through a proxy leaves it to the proxy what a name stands for, so that no address can be judged. It is
//! therefore a decision of its own, in the book by its name, and TLS alone goes that way: the proxy sees whom is talked to
//! and nothing of what is said.

use std::net::IpAddr;

use moltbot_config::settings::Network;
use url::Url;

use super::{Destination, Reach, Scheme};
use crate::refusal::Refusal;

/// A proxy, and whom is reached without it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ProxyRule {
    destination: Destination,
    direct: Vec<Direct>,
}

/// Whom is reached without a proxy.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Direct {
    Everybody,
    /// A name, and every name below it.
    Name(String),
    Network(Network),
}

impl ProxyRule {
    /// The rule of the proxy at `url`, and of a list such as `NO_PROXY`: names, addresses and networks with commas between.
    /// What is no such thing in the list is left out: it names nobody.
    ///
    /// # Errors
    /// When the URL is not `http` or `https` with a host, or has more in it than host, port and credentials.
    pub fn new(url: &Url, no_proxy: &str) -> Result<Self, Refusal> {
        let refuse =
            |why: &str| Refusal::new("egress_refused", format!("the proxy of the environment: {why}"));
        let plain = matches!(url.path(), "" | "/") && url.query().is_none() && url.fragment().is_none();
        if !plain {
            return Err(refuse("it has more in it than a host and a port"));
        }
        // Credentials are the caller's: they are no part of a destination.
        let mut bare = url.clone();
        if bare.set_username("").is_err() || bare.set_password(None).is_err() {
            return Err(refuse("it has no host"));
        }
        let destination = Destination::parse(&bare, Reach::Configured);
        let destination = destination.map_err(|refusal| refuse(&refusal.message))?;
        Ok(Self { destination, direct: no_proxy.split(',').filter_map(direct).collect() })
    }

    /// The proxy itself.
    pub const fn destination(&self) -> &Destination {
        &self.destination
    }

    /// Whether connections to `destination` go through the proxy: over TLS alone, and never to this machine.
    pub fn holds(&self, destination: &Destination) -> bool {
        let own = destination.host() == "localhost"
            || destination.address().is_some_and(|address| address.to_canonical().is_loopback());
        destination.scheme == Scheme::Https && !own && !self.direct.iter().any(|one| one.names(destination))
    }
}

impl Direct {
    fn names(&self, destination: &Destination) -> bool {
        match self {
            Self::Everybody => true,
            Self::Name(name) => {
                let above = destination.host().strip_suffix(name.as_str());
                above.is_some_and(|above| above.is_empty() || above.ends_with('.'))
            }
            Self::Network(Network(network)) => {
                destination.address().is_some_and(|address| network.contains(&address))
            }
        }
    }
}

fn direct(text: &str) -> Option<Direct> {
    let text = text.trim();
    let bare = text.trim_start_matches('*').trim_start_matches('.').trim_end_matches('.');
    match text {
        "" => None,
        "*" => Some(Direct::Everybody),
        _ if text.parse::<IpAddr>().is_ok() || text.contains('/') => {
            Network::parse(text).map(Direct::Network)
        }
        _ => (!bare.is_empty()).then(|| Direct::Name(bare.to_ascii_lowercase())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(no_proxy: &str) -> ProxyRule {
        ProxyRule::new(&Url::parse("http://user:secret@proxy.lan:3128").unwrap(), no_proxy).unwrap()
    }

    #[test]
    fn tls_to_elsewhere_goes_through_the_proxy_and_nothing_else() {
        let direct = "internal.example, .corp.example,*.lab.example, 10.0.0.0/8,192.0.2.7,nonsense/99";
        for (url, expected) in [
            ("https://api.example.com", true),
            ("https://internal.example", false),
            ("https://x.internal.example", false),
            ("https://notinternal.example", true),
            ("https://a.corp.example", false),
            ("https://b.lab.example", false),
            ("https://10.1.2.3", false),
            ("https://192.0.2.7", false),
            ("https://192.0.2.8", true),
            ("https://127.0.0.1:8443", false),
            ("https://localhost", false),
            ("https://[::1]", false),
            ("http://llm.lan:8080", false),
        ] {
            let destination = Destination::parse(&Url::parse(url).unwrap(), Reach::Configured).unwrap();
            assert_eq!(rule(direct).holds(&destination), expected, "{url}");
            assert!(!rule("*").holds(&destination), "{url}");
        }
    }

    #[test]
    fn a_rule_tells_no_credentials_and_takes_no_odd_address() {
        let rule = rule("");
        assert_eq!(rule.destination().target(), "proxy.lan:3128");
        assert!(!format!("{rule:?}").contains("secret"));
        for url in ["socks5://p:1", "http://p:1/path", "http://p:1/?q=1", "data:x"] {
            let refused = ProxyRule::new(&Url::parse(url).unwrap(), "").unwrap_err();
            assert!(refused.message.starts_with("the proxy of the environment: "), "{url}: {refused:?}");
        }
    }
}
