//! Layer 2, authentication: who is it?
//!
//! One function, [`verify`], judges every sign-in. From outside every failure looks alike; the cause is for
//! the book. A client's id, headers and scopes are claims and play no part.

mod device;
mod password;
mod strength;
mod tailnet;

use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use moltbot_config::hole;
use moltbot_config::settings::{AuthConfig, AuthMode};
use moltbot_protocol::connect::{DeviceProof, DeviceText};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::pairing::TokenDigest;
use crate::refusal::Refusal;
use crate::throttle::Attempt;

pub use device::device_id;
use password::PasswordHash;
pub use password::hash_password;
pub use strength::{WeakCredential, check_token};
pub use tailnet::{Tailnet, TailnetClaim, TailnetRules, TailnetUser, verify_tailnet};

/// What every failed sign-in is told.
pub const UNAUTHORIZED: &str = "unauthorized: the gateway token or password is missing or wrong, or the device's signature is not valid; `moltbot status` on the gateway's machine says where the token is";

/// The shared credential: the secret itself is not kept.
pub struct Credential {
    mode: AuthMode,
    secret: Kept,
}

/// What is kept of the secret.
enum Kept {
    /// Its digest.
    Digest([u8; 32]),
    /// The hash that the config has of a password.
    Hash(Box<PasswordHash>),
}

impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Credential({:?})", self.mode)
    }
}

impl Credential {
    /// The credential of a config.
    ///
    /// # Errors
    /// When there is none, or it is weak: the gateway must then not start.
    pub fn from_config(auth: &AuthConfig) -> Result<Self, WeakCredential> {
        let mode = auth.mode.unwrap_or(match (&auth.token, &auth.password) {
            (None, Some(_)) => AuthMode::Password,
            (Some(_) | None, _) => AuthMode::Token,
        });
        let kept = |secret: SecretString| Kept::Digest(digest(secret.expose_secret()));
        let secret = match mode {
            AuthMode::Password => {
                let password = auth.password.as_ref().ok_or(WeakCredential::NoPassword)?;
                match PasswordHash::parse(password)? {
                    Some(hash) => Kept::Hash(Box::new(hash)),
                    None => kept(strength::check_password(password)?),
                }
            }
            AuthMode::Token => {
                kept(strength::check_token(auth.token.as_ref().ok_or(WeakCredential::NoToken)?)?)
            }
        };
        Ok(Self { mode, secret })
    }

    /// What a peer must present: `token` or `password`.
    pub const fn method(&self) -> &'static str {
        match self.mode {
            AuthMode::Password => "password",
            AuthMode::Token => "token",
        }
    }

    /// Whether both are asked for in the same way and are the same secret.
    pub fn is_same(&self, other: &Self) -> bool {
        self.mode == other.mode
            && match (&self.secret, &other.secret) {
                (Kept::Digest(own), Kept::Digest(other)) => own.ct_eq(other).into(),
                (Kept::Hash(own), Kept::Hash(other)) => own.is_same(other),
                (Kept::Digest(_), Kept::Hash(_)) | (Kept::Hash(_), Kept::Digest(_)) => false,
            }
    }

    /// Compares over equal-length digests in constant time: stopping early would tell how far it matched.
    fn matches(&self, presented: &SecretString) -> bool {
        match &self.secret {
            Kept::Digest(own) => own.ct_eq(&digest(presented.expose_secret())).into(),
            Kept::Hash(hash) => hash.matches(presented),
        }
    }

    /// Whether a comparison takes as much time and memory as a guess is meant to: then few are made at once, and on no
    /// thread that serves others.
    pub fn is_slow(&self) -> bool {
        match &self.secret {
            Kept::Digest(_) => false,
            Kept::Hash(hash) => hash.is_slow(),
        }
    }
}

fn digest(text: &str) -> [u8; 32] {
    Sha256::digest(text.as_bytes()).into()
}

/// What a peer presents. HTTP's bearer is tried as whichever the gateway expects.
#[derive(Debug, Default)]
pub struct Presented {
    /// A token.
    pub token: Option<SecretString>,
    /// A password.
    pub password: Option<SecretString>,
}

impl Presented {
    /// A bearer credential, which may be the token or the password.
    pub fn bearer(secret: SecretString) -> Self {
        Self { token: Some(secret.clone()), password: Some(secret) }
    }
}

/// A device's proof with everything that its signature covers.
#[derive(Clone, Copy, Debug)]
pub struct DeviceClaim<'a> {
    /// The key and signature.
    pub proof: &'a DeviceProof,
    /// The fields that are signed, as the client sent them.
    pub text: DeviceText<'a>,
    /// The nonce that this connection was challenged with.
    pub challenge: &'a str,
    /// The time, in milliseconds since the epoch.
    pub now_ms: u64,
    /// What is kept of the token that this device was given for this role, when it was given one.
    pub token: Option<TokenDigest>,
}

/// Whether a connection comes from this machine, directly.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Locality {
    /// From this machine's own loopback, not forwarded, not by a page.
    Local,
    /// From anywhere else, or nobody can tell.
    Remote,
}

impl Locality {
    /// The name in the book.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Remote => "remote",
        }
    }
}

/// Somebody who signed in. Made only by [`verify`].
#[derive(Debug)]
#[must_use = "an identity must be granted rights, or refused"]
pub struct Identity {
    pub(crate) method: &'static str,
    pub(crate) device: Option<String>,
    pub(crate) locality: Locality,
    pub(crate) client: IpAddr,
    /// Whether the device signed the nonce of this connection.
    pub(crate) fresh: bool,
}

/// A device that has proved that it holds its key, by what it claimed. Made only by [`prove`]; it says nothing of rights.
#[derive(Debug)]
pub struct Signed {
    pub(crate) id: String,
    /// Whether it signed the nonce of this connection.
    pub(crate) fresh: bool,
    /// What is kept of its token, which counts with that nonce alone.
    pub(crate) held: Option<TokenDigest>,
}

impl Signed {
    /// The digest of its public key.
    pub fn id(&self) -> &str {
        &self.id
    }
}

/// Judges a device's signature alone, so that one that is known is not taken for the strangers around it.
///
/// # Errors
/// The code of what is wrong, for the book.
pub fn prove(claim: &DeviceClaim<'_>, locality: Locality) -> Result<Signed, &'static str> {
    let fresh = claim.proof.nonce.is_some();
    device::verify(claim, locality).map(|id| Signed { id, fresh, held: claim.token.filter(|_| fresh) })
}

impl Identity {
    /// Whether it was the device's own token that let it in, and not the shared credential.
    pub(crate) fn by_device_token(&self) -> bool {
        self.method == DEVICE_TOKEN
    }
}

/// The method of who signed in with a device's own token.
pub(crate) const DEVICE_TOKEN: &str = "device-token";

/// Judges a sign-in: the device's signature first, when there is one, then the shared credential, else the device's own
/// token, which counts only with a signature of this connection's nonce by that device.
///
/// # Errors
/// A refusal whose message is [`UNAUTHORIZED`] whatever was wrong; its code and cause are for the book.
pub fn verify(
    attempt: &Attempt,
    credential: &Credential,
    presented: &Presented,
    device: Option<DeviceClaim<'_>>,
    locality: Locality,
) -> Result<Identity, Refusal> {
    let proven = match device {
        None => None,
        Some(claim) => Some(prove(&claim, locality).map_err(|code| refuse(code, attempt))?),
    };
    verify_proven(attempt, credential, presented, proven, locality)
}

fn refuse(code: &'static str, attempt: &Attempt) -> Refusal {
    Refusal::new(code, UNAUTHORIZED).because(format!("{code} from {}", attempt.client()))
}

/// [`verify`] of a device whose signature was judged already. It is not judged again: that would take longer than for one
/// that nobody knows, and tell them apart.
///
/// # Errors
/// As [`verify`].
pub fn verify_proven(
    attempt: &Attempt,
    credential: &Credential,
    presented: &Presented,
    device: Option<Signed>,
    locality: Locality,
) -> Result<Identity, Refusal> {
    let client = attempt.client();
    let refuse = |code: &'static str| refuse(code, attempt);
    let (device, fresh, held) = match device {
        None => (None, false, None),
        Some(Signed { id, fresh, held }) => (Some(id), fresh, held),
    };
    let (secret, missing, mismatch) = match credential.mode {
        AuthMode::Password => (&presented.password, "password_missing", "password_mismatch"),
        AuthMode::Token => (&presented.token, "token_missing", "token_mismatch"),
    };
    let method = credential.method();
    let secret = secret.as_ref().filter(|secret| !secret.expose_secret().trim().is_empty());
    // Compared also when none is kept: the time must not tell whether a device is known.
    let kept = held.unwrap_or(TokenDigest::NOBODYS);
    let by_token = presented.token.as_ref().is_some_and(|token| kept.matches(token)) && held.is_some();
    match secret {
        Some(secret) if credential.matches(secret) => {
            Ok(Identity { method, device, locality, client, fresh })
        }
        Some(_) | None if by_token => Ok(Identity { method: DEVICE_TOKEN, device, locality, client, fresh }),
        None if hole!("no-credentials") => Ok(Identity { method, device, locality, client, fresh }),
        None => Err(refuse(missing)),
        Some(_) if hole!("short-token") => Ok(Identity { method, device, locality, client, fresh }),
        Some(_) => Err(refuse(mismatch)),
    }
}

/// Judges an HTTP request, which signs nothing: what it bears is a device's own token, of which `holder` finds the device,
/// or the shared credential.
///
/// # Errors
/// As [`verify`].
pub fn verify_request(
    attempt: &Attempt,
    credential: &Credential,
    presented: &Presented,
    holder: impl FnOnce(&SecretString) -> Option<String>,
    locality: Locality,
) -> Result<Identity, Refusal> {
    if let Some(device) = presented.token.as_ref().and_then(holder) {
        let (device, client) = (Some(device), attempt.client());
        return Ok(Identity { method: DEVICE_TOKEN, device, locality, client, fresh: false });
    }
    verify(attempt, credential, presented, None, locality)
}

/// Whether 32 random bytes make a token that passes the rules, and the token: 43 base64url characters.
///
/// # Errors
/// When they do not; the caller draws again. It happens about once in 10⁶ draws.
pub fn token_from(random: &[u8; 32]) -> Result<SecretString, WeakCredential> {
    let token = SecretString::from(URL_SAFE_NO_PAD.encode(random));
    check_token(&token)?;
    Ok(token)
}

#[cfg(test)]
mod timing;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::throttle::{Asking, Throttle};

    const TOKEN: &str = "q8Zr3VtLx0NwYbE5mKc7HdPfJ2sGuA9o1QiTeXyBvRM";

    fn attempt() -> Attempt {
        let client = "127.0.0.1".parse().unwrap();
        let asking = Asking { client, locality: Locality::Local, credential: "token" };
        Throttle::default().admit(asking, Duration::ZERO).unwrap()
    }

    fn auth(token: Option<&str>, password: Option<&str>) -> AuthConfig {
        AuthConfig {
            token: token.map(Into::into),
            password: password.map(Into::into),
            ..AuthConfig::default()
        }
    }

    #[test]
    fn every_failed_sign_in_looks_alike_and_differs_in_the_book() {
        let credential = Credential::from_config(&auth(Some(TOKEN), None)).unwrap();
        let codes = [None, Some(""), Some("  "), Some("wrong"), TOKEN.get(1..)].map(|token| {
            let presented = Presented { token: token.map(Into::into), password: None };
            let refusal = verify(&attempt(), &credential, &presented, None, Locality::Local).unwrap_err();
            assert_eq!(refusal.message, UNAUTHORIZED);
            refusal.code
        });
        let expected =
            ["token_missing", "token_missing", "token_missing", "token_mismatch", "token_mismatch"];
        assert_eq!(codes, expected);
    }

    #[test]
    fn the_password_does_not_open_a_gateway_in_token_mode() {
        let both = auth(Some(TOKEN), Some("correct horse battery"));
        let credential = Credential::from_config(&both).unwrap();
        let presented = Presented { token: None, password: Some("correct horse battery".into()) };
        assert!(verify(&attempt(), &credential, &presented, None, Locality::Local).is_err());
        let bearer = Presented::bearer(TOKEN.into());
        assert_eq!(verify(&attempt(), &credential, &bearer, None, Locality::Local).unwrap().method, "token");
    }

    #[test]
    fn no_credential_is_no_gateway() {
        assert!(matches!(Credential::from_config(&auth(None, None)), Err(WeakCredential::NoToken)));
        let mut none = auth(None, None);
        none.mode = Some(AuthMode::Password);
        assert!(matches!(Credential::from_config(&none), Err(WeakCredential::NoPassword)));
    }

    #[test]
    fn a_drawn_token_has_43_characters_and_passes_the_rules() {
        let random: [u8; 32] = std::array::from_fn(|n| u8::try_from((n * 97 + 13) % 256).unwrap());
        assert_eq!(token_from(&random).unwrap().expose_secret().len(), 43);
        assert!(token_from(&[7; 32]).is_err(), "32 equal bytes are drawn again");
    }
}
