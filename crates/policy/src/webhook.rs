//! Layer 2 for what a vendor of a chat network posts: whether it is the vendor, by a secret that it was given and shows with
//! each post.
//!
//! It takes an [`Attempt`], as every sign-in does, and gives a [`VendorPermit`]: something arrived at one account. Who said it
//! is judged afterwards as everything that arrives there; no scope and no method of the gateway comes with it.

use std::collections::HashSet;
use std::net::IpAddr;

use moltbot_config::Config;
use secrecy::{ExposeSecret as _, SecretString};
use thiserror::Error;

use crate::authentication::{Locality, check_token};
use crate::hook::{UNAUTHORIZED, require_not_the_gateways, rule_of};
use crate::pairing::TokenDigest;
use crate::record::{Decision, Entry, Permit};
use crate::refusal::Refusal;
use crate::throttle::Attempt;

/// The longest secret: what Telegram takes.
const SECRET_CHARS: usize = 256;

/// Why posts of a vendor cannot be answered.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[expect(missing_docs, reason = "each message names its fields")]
#[non_exhaustive]
pub enum WeakVendorKey {
    /// A character that vendors do not take.
    #[error(
        "webhookSecret of {place} has other characters than letters, digits, `-` and `_`, or more than {SECRET_CHARS}; make one with `openssl rand -base64 32 | tr '+/' '-_' | tr -d =`"
    )]
    Alphabet { place: String },
    /// A credential that another place has: who holds it would be two callers.
    #[error("webhookSecret of {place} is also a credential elsewhere; make another one")]
    Reused { place: String },
    /// It breaks a rule of the gateway's own token.
    #[error("webhookSecret of {place} is not strong enough: {rule}")]
    Weak { place: String, rule: String },
}

/// What one vendor shows for one account, as a digest: the secret itself is not kept.
#[derive(Clone, Debug)]
pub struct VendorKey {
    place: String,
    digest: TokenDigest,
}

impl VendorKey {
    /// The key of the account at `place`, such as `telegram:default`.
    ///
    /// # Errors
    /// When it breaks a rule of the gateway's own token, or is a credential of `config` elsewhere.
    pub fn new(place: &str, secret: &SecretString, config: &Config) -> Result<Self, WeakVendorKey> {
        let place = place.to_owned();
        let text = secret.expose_secret();
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        if text.len() > SECRET_CHARS || !text.bytes().all(is_plain) {
            return Err(WeakVendorKey::Alphabet { place });
        }
        if let Err(weak) = check_token(secret) {
            return Err(WeakVendorKey::Weak { place, rule: rule_of(weak) });
        }
        let digest = TokenDigest::of(secret);
        let is_hooks = config.hooks.token.as_ref().is_some_and(|token| digest.matches(token));
        if is_hooks || require_not_the_gateways(secret, &config.gateway.auth, "").is_err() {
            return Err(WeakVendorKey::Reused { place });
        }
        Ok(Self { place, digest })
    }

    /// The account that it is for.
    pub fn place(&self) -> &str {
        &self.place
    }
}

/// Demands that no two accounts have one key.
///
/// # Errors
/// The second place of one.
pub fn require_different<'a>(keys: impl Iterator<Item = &'a VendorKey>) -> Result<(), WeakVendorKey> {
    let mut seen = HashSet::new();
    for key in keys {
        if !seen.insert(key.digest.to_hex()) {
            return Err(WeakVendorKey::Reused { place: key.place.clone() });
        }
    }
    Ok(())
}

/// Proof that a post is of the vendor of one account. Made only by [`verify`].
///
/// ```compile_fail
/// let forged = moltbot_policy::webhook::VendorPermit { place: "telegram:default".into() };
/// ```
#[derive(Debug)]
#[must_use = "a permit that is dropped takes nothing"]
pub struct VendorPermit {
    place: String,
    client: IpAddr,
    locality: Locality,
}

impl Permit for VendorPermit {
    fn entry(&self) -> Entry {
        Entry::new(format!("vendor:{}", self.place), "auth.sign_in", "webhooks", Decision::Allowed)
            .with("client", self.client.to_string())
            .with("locality", self.locality.name())
            .with("method", "webhook")
            .with("way", "http")
    }
}

/// Judges a post, before its body is read. Compares digests in constant time.
///
/// # Errors
/// A refusal whose message is [`UNAUTHORIZED`], whatever is wrong.
pub fn verify(
    attempt: &Attempt,
    key: &VendorKey,
    shown: Option<&SecretString>,
    locality: Locality,
) -> Result<VendorPermit, Refusal> {
    let client = attempt.client();
    let refuse = |code: &'static str| {
        Err(Refusal::new(code, UNAUTHORIZED).because(format!("{code} for {} from {client}", key.place)))
    };
    match shown {
        Some(shown) if key.digest.matches(shown) => {
            Ok(VendorPermit { place: key.place.clone(), client, locality })
        }
        Some(_) => refuse("webhook_secret_mismatch"),
        None => refuse("webhook_secret_missing"),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::hook::CREDENTIAL;
    use crate::throttle::{Asking, Throttle};

    const SECRET: &str = "q8Zr3VtLx0NwYbE5mKc7HdPfJ2sGuA9o1QiTeXyBvRM";
    const OTHER: &str = "Zr3VtLx0NwYbE5mKc7HdPfJ2sGuA9o1QiTeXyBvRMq8";

    fn key(secret: &str) -> Result<VendorKey, WeakVendorKey> {
        let mut config = Config::default();
        config.gateway.auth.token = Some(OTHER.into());
        VendorKey::new("telegram:default", &secret.into(), &config)
    }

    #[test]
    fn a_secret_is_strong_plain_and_nobody_elses() {
        assert!(key(SECRET).is_ok());
        for (secret, expected) in [
            ("", "at least 32 characters"),
            ("short", "at least 32 characters"),
            ("0123456789abcdef0123456789abcdef", "hex has only 16"),
            ("q8Zr3VtLx0NwYbE5mKc7HdPfJ2sGuA9o1QiTeXyBv+/", "other characters"),
            (&SECRET.repeat(6), "more than 256"),
            (OTHER, "also a credential elsewhere"),
        ] {
            let error = key(secret).unwrap_err().to_string();
            assert!(error.contains(expected) && error.contains("telegram:default"), "{secret}: {error}");
        }
        let keys = [key(SECRET).unwrap(), key(SECRET).unwrap()];
        assert!(require_different(keys.iter()).is_err());
        assert!(require_different(keys.iter().take(1)).is_ok());
    }

    #[test]
    fn what_is_shown_is_judged_and_every_failure_looks_alike() {
        let key = key(SECRET).unwrap();
        let judge = |shown: Option<&str>| {
            let client = "203.0.113.9".parse().unwrap();
            let asking = Asking { client, locality: Locality::Remote, credential: CREDENTIAL };
            let attempt = Throttle::default().admit(asking, Duration::ZERO).unwrap();
            verify(&attempt, &key, shown.map(SecretString::from).as_ref(), Locality::Remote)
        };
        let entry = judge(Some(SECRET)).unwrap().entry();
        assert_eq!((entry.actor.as_str(), entry.target.as_str()), ("vendor:telegram:default", "webhooks"));
        for (shown, code) in [
            (None, "webhook_secret_missing"),
            (Some(""), "webhook_secret_mismatch"),
            (Some(OTHER), "webhook_secret_mismatch"),
            (SECRET.get(1..), "webhook_secret_mismatch"),
        ] {
            let refusal = judge(shown).unwrap_err();
            assert_eq!((refusal.code, refusal.message.as_str()), (code, UNAUTHORIZED), "{shown:?}");
        }
    }
}
