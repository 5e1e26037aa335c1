//! Who somebody is on the tailnet, and whether that lets them in.
//!
//! Tailscale on this machine passes requests on and adds who sent them. Anybody on this machine can write such a header, so
//! it is a claim: believed only from loopback with all three forwarding headers, and only when tailscaled says the same
//! of the address. It replaces the shared secret, which stays mandatory and is tried when the claim does not hold.

use std::net::IpAddr;

use moltbot_config::settings::{GatewayConfig, TailscaleMode};

use super::{Credential, DeviceClaim, Identity, Locality, UNAUTHORIZED, device};
use crate::network::{RequestHead, last_hop};
use crate::refusal::Refusal;
use crate::throttle::Attempt;

/// The method of who signed in by being somebody on the tailnet.
const TAILSCALE: &str = "tailscale";
/// A claim without what Tailscale adds to it.
const PROXY_MISSING: &str = "tailscale_proxy_missing";

/// Who may sign in by being somebody on the tailnet.
#[derive(Clone, Debug)]
pub struct TailnetRules {
    /// Logins in lower case. Empty is nobody.
    users: Vec<String>,
}

/// What a request says of its sender.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct TailnetClaim<'a> {
    login: &'a str,
    address: IpAddr,
}

impl TailnetClaim<'_> {
    /// The address that tailscaled is to be asked about.
    pub const fn address(&self) -> IpAddr {
        self.address
    }
}

/// What is known of a request's sender on the tailnet.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum Tailnet {
    /// Somebody who may sign in by that.
    Known(TailnetUser),
    /// A claim that does not hold, and why.
    Refused(&'static str),
    /// Nothing is claimed, or no claim counts here.
    #[default]
    Unclaimed,
}

impl Tailnet {
    /// What the book is told.
    pub fn told(&self) -> Option<&str> {
        match self {
            Self::Known(user) => Some(&user.login),
            Self::Refused(code) => Some(code),
            Self::Unclaimed => None,
        }
    }
}

/// Somebody whom tailscaled knows and the rules let in. Made only by [`TailnetRules::judge`].
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TailnetUser {
    login: String,
}

impl TailnetRules {
    /// The rules of a config, on a machine whose owner on the tailnet has that login.
    pub fn of(gateway: &GatewayConfig, credential: &Credential, owner: Option<&str>) -> Self {
        let by_token = credential.method() == "token";
        let wanted = gateway.auth.allow_tailscale.unwrap_or(by_token);
        let configured = &gateway.tailscale.users;
        let users = match (gateway.tailscale.mode, wanted) {
            // What comes over the funnel has no identity, and what says that it has one was made up.
            (TailscaleMode::Funnel | TailscaleMode::Off, _) | (TailscaleMode::Serve, false) => Vec::new(),
            (TailscaleMode::Serve, true) if configured.is_empty() => owner.map(normal).into_iter().collect(),
            (TailscaleMode::Serve, true) => configured.iter().map(|login| normal(login)).collect(),
        };
        Self { users: users.into_iter().filter(|login| !login.is_empty()).collect() }
    }

    /// What a request claims, when a claim can count.
    ///
    /// # Errors
    /// What the book is told when nobody is to be asked about it.
    pub fn claim<'a>(&self, peer: IpAddr, head: &RequestHead<'a>) -> Result<TailnetClaim<'a>, Tailnet> {
        let Some(login) = head.tailscale_login.filter(|_| !self.users.is_empty()) else {
            return Err(Tailnet::Unclaimed);
        };
        let complete = peer.to_canonical().is_loopback() && head.forwarded_proto && head.forwarded_host;
        let address = head.x_forwarded_for.filter(|_| complete).and_then(last_hop);
        let address = address.ok_or(Tailnet::Refused(PROXY_MISSING))?;
        if login.trim().is_empty() {
            return Err(Tailnet::Refused("tailscale_user_missing"));
        }
        Ok(TailnetClaim { login, address })
    }

    /// Judges a claim by what tailscaled says of the address: the login, or nothing.
    pub fn judge(&self, claim: &TailnetClaim<'_>, said: Option<&str>) -> Tailnet {
        let Some(login) = said.map(normal).filter(|login| !login.is_empty()) else {
            return Tailnet::Refused("tailscale_whois_failed");
        };
        if login != normal(claim.login) {
            return Tailnet::Refused("tailscale_user_mismatch");
        }
        if !self.users.contains(&login) {
            return Tailnet::Refused("tailscale_user_not_allowed");
        }
        Tailnet::Known(TailnetUser { login })
    }
}

fn normal(login: &str) -> String {
    login.trim().to_lowercase()
}

/// Judges a sign-in by somebody whom the tailnet knows: the device's signature, when there is one, is judged as ever.
///
/// # Errors
/// A refusal as that of [`verify`](super::verify).
pub fn verify_tailnet(
    attempt: &Attempt,
    _known: &TailnetUser,
    device: Option<DeviceClaim<'_>>,
    locality: Locality,
) -> Result<Identity, Refusal> {
    let client = attempt.client();
    let fresh = device.is_some_and(|claim| claim.proof.nonce.is_some());
    let refuse =
        |code: &'static str| Refusal::new(code, UNAUTHORIZED).because(format!("{code} from {client}"));
    let device = device.map(|claim| device::verify(&claim, locality)).transpose().map_err(refuse)?;
    Ok(Identity { method: TAILSCALE, device, locality, client, fresh })
}

#[cfg(test)]
mod tests {
    use moltbot_config::settings::AuthConfig;

    use super::*;

    fn rules(mode: TailscaleMode, allow: Option<bool>, users: &[&str], password: bool) -> TailnetRules {
        let mut gateway = GatewayConfig::default();
        (gateway.tailscale.mode, gateway.auth.allow_tailscale) = (mode, allow);
        gateway.tailscale.users = users.iter().map(|login| (*login).to_owned()).collect();
        let auth = if password {
            AuthConfig { password: Some("correct horse battery".into()), ..AuthConfig::default() }
        } else {
            let token = Some("q8Zr3VtLx0NwYbE5mKc7HdPfJ2sGuA9o1QiTeXyBvRM".into());
            AuthConfig { token, ..AuthConfig::default() }
        };
        TailnetRules::of(&gateway, &Credential::from_config(&auth).unwrap(), Some("Ann@Example.com"))
    }

    #[test]
    fn who_may_sign_in_is_the_owner_or_who_is_named_and_only_where_it_counts() {
        let users = |rules: TailnetRules| rules.users.join(" ");
        assert_eq!(users(rules(TailscaleMode::Serve, None, &[], false)), "ann@example.com");
        let named = rules(TailscaleMode::Serve, None, &["Bob@example.com", " "], false);
        assert_eq!(users(named), "bob@example.com");
        assert_eq!(users(rules(TailscaleMode::Serve, Some(true), &[], true)), "ann@example.com");
        for (mode, allow, password) in [
            (TailscaleMode::Serve, None, true),
            (TailscaleMode::Serve, Some(false), false),
            (TailscaleMode::Off, Some(true), false),
            (TailscaleMode::Funnel, Some(true), true),
        ] {
            assert_eq!(users(rules(mode, allow, &["bob@example.com"], password)), "", "{mode:?} {allow:?}");
        }
    }

    #[test]
    fn a_claim_needs_loopback_and_all_three_headers() {
        let rules = rules(TailscaleMode::Serve, None, &[], false);
        let whole = RequestHead {
            tailscale_login: Some("ann@example.com"),
            x_forwarded_for: Some("100.64.0.7"),
            forwarded_proto: true,
            forwarded_host: true,
            ..RequestHead::default()
        };
        let claimed = |peer: &str, head: RequestHead<'_>| {
            rules.claim(peer.parse().unwrap(), &head).map(|claim| claim.address().to_string())
        };
        assert_eq!(claimed("127.0.0.1", whole), Ok("100.64.0.7".into()));
        assert_eq!(
            claimed("::1", RequestHead { x_forwarded_for: Some("6.6.6.6, fd7a:115c:a1e0::7"), ..whole }),
            Ok("fd7a:115c:a1e0::7".into())
        );
        assert_eq!(
            claimed("127.0.0.1", RequestHead { tailscale_login: None, ..whole }),
            Err(Tailnet::Unclaimed)
        );
        let missing = Err(Tailnet::Refused(PROXY_MISSING));
        assert_eq!(claimed("100.64.0.7", whole), missing);
        for head in [
            RequestHead { x_forwarded_for: None, ..whole },
            RequestHead { x_forwarded_for: Some("localhost"), ..whole },
            RequestHead { forwarded_proto: false, ..whole },
            RequestHead { forwarded_host: false, ..whole },
        ] {
            assert_eq!(claimed("127.0.0.1", head), missing, "{head:?}");
        }
    }

    #[test]
    fn a_claim_holds_when_tailscaled_says_the_same_of_somebody_who_may() {
        let rules = rules(TailscaleMode::Serve, None, &["ann@example.com"], false);
        let judged = |login, said| {
            let claim = TailnetClaim { login, address: "100.64.0.7".parse().unwrap() };
            rules.judge(&claim, said).told().map(str::to_owned).unwrap()
        };
        assert_eq!(judged(" Ann@Example.com", Some("ann@example.COM ")), "ann@example.com");
        assert_eq!(judged("ann@example.com", None), "tailscale_whois_failed");
        assert_eq!(judged("ann@example.com", Some("")), "tailscale_whois_failed");
        assert_eq!(judged("ann@example.com", Some("eve@example.com")), "tailscale_user_mismatch");
        assert_eq!(judged("eve@example.com", Some("eve@example.com")), "tailscale_user_not_allowed");
    }
}
