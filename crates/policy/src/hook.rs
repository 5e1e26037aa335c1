//! Layer 2 for hooks: which program calls, and by which key.
//!
//! A caller presents the token of all hooks, or signs what it posts with the key of one. Either takes an [`Attempt`], as
//! every sign-in does, and gives a [`HookPermit`], which says which hook may cause a turn and nothing more: no scope, no
//! session and no method of the gateway comes with it.

mod delivery;
mod signature;

use std::net::IpAddr;

use moltbot_config::settings::{AuthConfig, HookMapping, HooksConfig};
use moltbot_protocol::ids::HookName;
use moltbot_protocol::principal::Principal;
use secrecy::{ExposeSecret as _, SecretString};
use thiserror::Error;

use crate::authentication::{Locality, WeakCredential, check_token};
use crate::pairing::TokenDigest;
use crate::record::{Decision, Entry, Permit};
use crate::refusal::Refusal;
use crate::throttle::Attempt;

pub use delivery::{Delivery, InvalidName, Told};
pub use signature::{SignatureKey, Signed};

/// What every failed sign-in of a hook is told, as upstream does.
pub const UNAUTHORIZED: &str = "Unauthorized";
/// What the throttle counts tries at hooks as: they and those at the gateway's own credential do not add up.
pub const CREDENTIAL: &str = "hook";

/// Why hooks cannot be answered.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[expect(missing_docs, reason = "each message names its fields")]
#[non_exhaustive]
pub enum WeakHookKey {
    /// Hooks are on and have no token.
    #[error("hooks.token is missing; set one that is not the gateway's, made with `openssl rand -base64 32`")]
    NoToken,
    /// The token of hooks opens the gateway.
    #[error(
        "{place} is the gateway's own credential: whoever calls a hook could do everything; make another one with `openssl rand -base64 32`"
    )]
    Reused { place: String },
    /// A key that two places have: who holds it would be two callers.
    #[error("{place} is also a key elsewhere in `hooks`; make another one with `openssl rand -base64 32`")]
    Shared { place: String },
    /// The token of hooks breaks a rule.
    #[error("hooks.token is not strong enough: {rule}")]
    Token { rule: String },
    /// A key for signatures breaks a rule.
    #[error(
        "{place} is not strong enough: it must have at least {min} printable characters without spaces, {distinct} of them different; have the service draw one",
        min = signature::SECRET_CHARS,
        distinct = signature::SECRET_DISTINCT
    )]
    Secret { place: String },
}

/// The token of all hooks, as a digest: the secret itself is not kept.
#[derive(Clone, Debug)]
pub struct HookToken(TokenDigest);

impl HookToken {
    /// The token of a config whose hooks are on.
    ///
    /// # Errors
    /// When there is none, it breaks a rule of the gateway's own token, or it is the gateway's own credential.
    pub fn from_config(hooks: &HooksConfig, auth: &AuthConfig) -> Result<Self, WeakHookKey> {
        let token = hooks.token.as_ref().ok_or(WeakHookKey::NoToken)?;
        let token = check_token(token).map_err(|weak| WeakHookKey::Token { rule: rule_of(weak) })?;
        require_not_the_gateways(&token, auth, "hooks.token")?;
        Ok(Self(TokenDigest::of(&token)))
    }
}

/// The rule alone: the text of [`WeakCredential`] begins with whose token it is.
pub(crate) fn rule_of(weak: WeakCredential) -> String {
    let text = weak.to_string();
    text.split_once(": ").map_or(text.clone(), |(_, rule)| rule.to_owned())
}

/// Whether a token keeps the rules of hooks' tokens.
///
/// # Errors
/// The rule that it does not keep.
pub fn require_strong(token: &SecretString) -> Result<(), WeakHookKey> {
    check_token(token).map(drop).map_err(|weak| WeakHookKey::Token { rule: rule_of(weak) })
}

/// Whether a hook's token would let its caller in as the owner.
pub fn is_the_gateways(token: &SecretString, auth: &AuthConfig) -> bool {
    let token = SecretString::from(token.expose_secret().trim().to_owned());
    require_not_the_gateways(&token, auth, "hooks.token").is_err()
}

/// Whoever may call a hook must not, by the same words, be let in as the owner.
pub(crate) fn require_not_the_gateways(
    key: &SecretString,
    auth: &AuthConfig,
    place: &str,
) -> Result<(), WeakHookKey> {
    let digest = TokenDigest::of(key);
    let trimmed = |secret: &SecretString| SecretString::from(secret.expose_secret().trim().to_owned());
    let own = [&auth.token, &auth.password];
    if own.into_iter().flatten().any(|own| digest.matches(&trimmed(own))) {
        return Err(WeakHookKey::Reused { place: place.into() });
    }
    Ok(())
}

/// By which key a caller is known.
#[derive(Clone, Copy, Debug)]
pub enum HookKey<'a> {
    /// It signs, and the call is of this hook.
    Signature(&'a HookName, &'a SignatureKey),
    /// It presents the token.
    Token(&'a HookToken),
}

/// What a caller shows.
#[derive(Clone, Copy, Debug)]
pub enum Shown<'a> {
    /// Nothing that could be looked at.
    Nothing,
    /// A signature of what it posts.
    Signed(Signed<'a>),
    /// A token in a header.
    Token(&'a SecretString),
    /// A token in the address, where it has been written into the logs of others.
    TokenInUrl,
}

/// Proof that a caller may cause a turn by a hook. Made only by [`verify`].
///
/// ```compile_fail
/// let forged = moltbot_policy::hook::HookPermit { hook: None };
/// ```
#[derive(Debug)]
#[must_use = "a permit that is dropped causes nothing"]
pub struct HookPermit {
    /// The hook, when the key is that of one hook alone.
    hook: Option<HookName>,
    kind: &'static str,
    client: IpAddr,
    locality: Locality,
}

impl HookPermit {
    /// Whether it is for this hook.
    pub fn covers(&self, hook: &HookName) -> bool {
        self.hook.as_ref().is_none_or(|own| own == hook)
    }

    /// Who causes a turn by this hook.
    pub fn principal(&self, hook: &HookName) -> Option<Principal> {
        self.covers(hook).then(|| Principal::Hook(hook.clone()))
    }
}

impl Permit for HookPermit {
    fn entry(&self) -> Entry {
        let actor = match &self.hook {
            None => format!("credential:{CREDENTIAL}"),
            Some(hook) => Principal::Hook(hook.clone()).to_string(),
        };
        let entry = Entry::new(actor, "auth.sign_in", "hooks", Decision::Allowed)
            .with("client", self.client.to_string())
            .with("key", self.kind)
            .with("locality", self.locality.name())
            .with("method", CREDENTIAL)
            .with("way", "http");
        match &self.hook {
            None => entry,
            Some(hook) => entry.with("user", hook.as_str()),
        }
    }
}

/// Judges a call.
///
/// # Errors
/// A refusal whose message is [`UNAUTHORIZED`], but for a token in the address: its sender must hear what to change.
pub fn verify(
    attempt: &Attempt,
    key: HookKey<'_>,
    shown: Shown<'_>,
    locality: Locality,
) -> Result<HookPermit, Refusal> {
    let client = attempt.client();
    let refuse =
        |code: &'static str| Refusal::new(code, UNAUTHORIZED).because(format!("{code} from {client}"));
    let permit = |hook: Option<&HookName>, kind| HookPermit { hook: hook.cloned(), kind, client, locality };
    match (key, shown) {
        (_, Shown::TokenInUrl) => Err(Refusal::new("hook_token_in_url", TOKEN_IN_URL)),
        (HookKey::Signature(hook, key), Shown::Signed(signed)) => {
            key.verify(signed).map(|()| permit(Some(hook), key.kind())).map_err(refuse)
        }
        (HookKey::Signature(..), Shown::Nothing | Shown::Token(_)) => Err(refuse("hook_signature_missing")),
        (HookKey::Token(token), Shown::Token(shown)) if token.0.matches(shown) => Ok(permit(None, "token")),
        (HookKey::Token(_), Shown::Token(_)) => Err(refuse("hook_token_mismatch")),
        (HookKey::Token(_), Shown::Nothing | Shown::Signed(_)) => Err(refuse("hook_token_missing")),
    }
}

/// What a caller is told that writes its token into the address.
pub const TOKEN_IN_URL: &str = "a token in the address (?token=) is not taken, because addresses are logged; send it as `Authorization: Bearer`, and replace it: it may be in a log by now";

/// The name of a mapping: its `id`, else its path. Nothing when it has neither.
pub fn name_of(mapping: &HookMapping) -> Option<HookName> {
    let text = match (&mapping.id, &mapping.matches.path) {
        (Some(id), _) => id.clone(),
        (None, Some(path)) => path.replace('/', "-"),
        (None, None) => return None,
    };
    HookName::parse(&text).ok()
}

/// The keys of the mappings that have one, by name.
///
/// # Errors
/// When one is weak, is the gateway's own credential, or is used twice.
pub fn signature_keys(
    hooks: &HooksConfig,
    auth: &AuthConfig,
) -> Result<Vec<(HookName, SignatureKey)>, WeakHookKey> {
    let mut keys = Vec::new();
    let mut seen: Vec<TokenDigest> = hooks.token.iter().map(TokenDigest::of).collect();
    for mapping in &hooks.mappings {
        let (Some(name), Some(config)) = (name_of(mapping), &mapping.signature) else { continue };
        let place = format!("hooks.mappings[{name}].signature.secret");
        require_not_the_gateways(&config.secret, auth, &place)?;
        if seen.iter().any(|other| other.matches(&config.secret)) {
            return Err(WeakHookKey::Shared { place });
        }
        seen.push(TokenDigest::of(&config.secret));
        let key = SignatureKey::from_config(config).ok_or(WeakHookKey::Secret { place })?;
        keys.push((name, key));
    }
    Ok(keys)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::throttle::{Asking, Throttle};

    const TOKEN: &str = "q8Zr3VtLx0NwYbE5mKc7HdPfJ2sGuA9o1QiTeXyBvRM";
    const OTHER: &str = "Zr3VtLx0NwYbE5mKc7HdPfJ2sGuA9o1QiTeXyBvRMq8";

    fn hooks(token: Option<&str>) -> HooksConfig {
        HooksConfig { token: token.map(Into::into), ..HooksConfig::default() }
    }

    fn auth(token: &str) -> AuthConfig {
        AuthConfig { token: Some(token.into()), ..AuthConfig::default() }
    }

    #[test]
    fn c12_the_token_of_hooks_is_strong_and_not_the_gateways() {
        let error = |token: Option<&str>, gateway: &str| {
            HookToken::from_config(&hooks(token), &auth(gateway)).err().map(|error| error.to_string())
        };
        assert_eq!(error(Some(TOKEN), OTHER), None);
        for (token, gateway, expected) in [
            (None, OTHER, "is missing"),
            (Some("short"), OTHER, "at least 32 characters"),
            (Some("0123456789abcdef0123456789abcdef"), OTHER, "hex has only 16"),
            (Some(TOKEN), TOKEN, "is the gateway's own credential"),
            (
                Some(TOKEN),
                " q8Zr3VtLx0NwYbE5mKc7HdPfJ2sGuA9o1QiTeXyBvRM\n",
                "is the gateway's own credential",
            ),
        ] {
            let told = error(token, gateway).unwrap();
            assert!(told.starts_with("hooks.token") && told.contains(expected), "{told}");
        }
    }

    #[test]
    fn d_10_what_a_caller_shows_is_judged_and_every_failure_looks_alike() {
        let token = HookToken::from_config(&hooks(Some(TOKEN)), &auth(OTHER)).unwrap();
        let (good, bad, gateways) = (TOKEN.into(), "wrong".into(), OTHER.into());
        let judge = |shown: Shown<'_>| {
            let asking = Asking {
                client: "203.0.113.9".parse().unwrap(),
                locality: Locality::Remote,
                credential: CREDENTIAL,
            };
            let attempt = Throttle::default().admit(asking, Duration::ZERO).unwrap();
            verify(&attempt, HookKey::Token(&token), shown, Locality::Remote)
        };
        let permit = judge(Shown::Token(&good)).unwrap();
        assert!(permit.covers(&HookName::parse("any").unwrap()));
        for (shown, code) in [
            (Shown::Nothing, "hook_token_missing"),
            (Shown::Token(&bad), "hook_token_mismatch"),
            (Shown::Token(&gateways), "hook_token_mismatch"),
        ] {
            let refusal = judge(shown).unwrap_err();
            assert_eq!((refusal.code, refusal.message.as_str()), (code, UNAUTHORIZED));
        }
        assert_eq!(judge(Shown::TokenInUrl).unwrap_err().message, TOKEN_IN_URL);
    }
}
