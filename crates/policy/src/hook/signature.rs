//! Signatures of webhooks: HMAC with SHA-256 over the body as it came, in the forms of GitHub, Slack and Stripe, and in one
//! for everybody else.

use std::collections::HashSet;
use std::fmt;
use std::time::Duration;

use hmac::{Hmac, KeyInit as _, Mac as _};
use moltbot_config::limits;
use moltbot_config::settings::{HookSignature, SignatureKind};
use secrecy::{ExposeSecret as _, SecretString};
use sha2::Sha256;

/// The least length of a key: what Slack gives has 32 hex digits, what GitHub proposes 40.
pub(super) const SECRET_CHARS: usize = 24;
/// Different characters of a key: 24 random hex digits have fewer once in 10⁶ draws.
pub(super) const SECRET_DISTINCT: usize = 8;
/// Signatures in one header. Stripe sends two while a key is replaced.
const SIGNATURES: usize = 4;

/// A key for signatures, with the form that they have.
#[derive(Clone)]
pub struct SignatureKey {
    secret: SecretString,
    form: Form,
}

/// Whose form it is.
#[derive(Clone, Debug)]
enum Form {
    Generic { header: String, prefix: String, timestamp: Option<String>, id: Option<String> },
    Github,
    Slack,
    Stripe,
}

impl fmt::Debug for SignatureKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SignatureKey({:?})", self.form)
    }
}

/// What is signed, and with what.
#[derive(Clone, Copy, Debug)]
pub struct Signed<'a> {
    /// The value of the header that [`SignatureKey::header`] names.
    pub signature: &'a str,
    /// The value of the header that [`SignatureKey::timestamp_header`] names.
    pub timestamp: Option<&'a str>,
    /// The body, as it came.
    pub body: &'a [u8],
    /// The time, in milliseconds since the epoch.
    pub now_ms: u64,
}

impl SignatureKey {
    /// The key of a mapping; nothing when it is weak. Letters of one kind are enough: services draw hex digits.
    pub(super) fn from_config(config: &HookSignature) -> Option<Self> {
        let secret = config.secret.expose_secret();
        let distinct = secret.chars().collect::<HashSet<_>>().len();
        let printable = secret.chars().all(|c| c.is_ascii_graphic());
        if !printable || secret.len() < SECRET_CHARS || distinct < SECRET_DISTINCT {
            return None;
        }
        let form = match config.kind {
            SignatureKind::Generic => Form::Generic {
                header: config.header.clone().unwrap_or_else(|| "X-Signature".into()).to_ascii_lowercase(),
                prefix: config.prefix.clone().unwrap_or_default(),
                timestamp: config.timestamp_header.as_ref().map(|name| name.to_ascii_lowercase()),
                id: config.id_header.as_ref().map(|name| name.to_ascii_lowercase()),
            },
            SignatureKind::Github => Form::Github,
            SignatureKind::Slack => Form::Slack,
            SignatureKind::Stripe => Form::Stripe,
        };
        Some(Self { secret: config.secret.clone(), form })
    }

    /// Whose form it is.
    pub const fn kind(&self) -> &'static str {
        match self.form {
            Form::Generic { .. } => "generic",
            Form::Github => "github",
            Form::Slack => "slack",
            Form::Stripe => "stripe",
        }
    }

    /// The header with the signature, in lower case.
    pub fn header(&self) -> &str {
        match &self.form {
            Form::Generic { header, .. } => header,
            Form::Github => "x-hub-signature-256",
            Form::Slack => "x-slack-signature",
            Form::Stripe => "stripe-signature",
        }
    }

    /// The header with the time, in lower case, when the time has one of its own.
    pub fn timestamp_header(&self) -> Option<&str> {
        match &self.form {
            Form::Generic { timestamp, .. } => timestamp.as_deref(),
            Form::Github | Form::Stripe => None,
            Form::Slack => Some("x-slack-request-timestamp"),
        }
    }

    /// The header that names the delivery, in lower case, when there is one.
    pub fn delivery_header(&self) -> Option<&str> {
        match &self.form {
            Form::Generic { id, .. } => id.as_deref(),
            Form::Github => Some("x-github-delivery"),
            Form::Slack | Form::Stripe => None,
        }
    }

    /// The member of a signed body that names the event, when there is one: it may be sent again with other members.
    pub const fn event_member(&self) -> Option<&'static str> {
        match self.form {
            Form::Stripe => Some("id"),
            Form::Generic { .. } | Form::Github | Form::Slack => None,
        }
    }

    /// Whether the time is a part of what is signed, so that two equal bodies are two calls.
    pub const fn signs_time_of_call(&self) -> bool {
        matches!(self.form, Form::Generic { timestamp: Some(_), .. })
    }

    /// Judges a signature, in constant time.
    ///
    /// # Errors
    /// The code of what is wrong, for the book.
    pub(super) fn verify(&self, signed: Signed<'_>) -> Result<(), &'static str> {
        let Signed { signature, timestamp, body, now_ms } = signed;
        match &self.form {
            Form::Github => self.compare(&[body], &[after(signature, "sha256=")?]),
            Form::Generic { prefix, timestamp: None, .. } => {
                self.compare(&[body], &[after(signature, prefix)?])
            }
            Form::Generic { prefix, timestamp: Some(_), .. } => {
                let time = fresh(timestamp, now_ms)?;
                self.compare(&[time.as_bytes(), b".", body], &[after(signature, prefix)?])
            }
            Form::Slack => {
                let time = fresh(timestamp, now_ms)?;
                self.compare(&[b"v0:", time.as_bytes(), b":", body], &[after(signature, "v0=")?])
            }
            Form::Stripe => {
                let (time, signatures) = stripe(signature)?;
                let time = fresh(Some(time), now_ms)?;
                self.compare(&[time.as_bytes(), b".", body], &signatures)
            }
        }
    }

    /// Whether one of the signatures is that of the parts.
    fn compare(&self, parts: &[&[u8]], signatures: &[&str]) -> Result<(), &'static str> {
        let mac = Hmac::<Sha256>::new_from_slice(self.secret.expose_secret().as_bytes());
        let mut mac = mac.map_err(|_| "hook_signature_key")?; // a key of any length is taken
        parts.iter().for_each(|part| mac.update(part));
        let mut matched = false;
        for signature in signatures {
            let digest = from_hex(signature).ok_or("hook_signature_malformed")?;
            matched |= mac.clone().verify_slice(&digest).is_ok();
        }
        if matched { Ok(()) } else { Err("hook_signature_mismatch") }
    }
}

fn after<'a>(text: &'a str, prefix: &str) -> Result<&'a str, &'static str> {
    text.strip_prefix(prefix).ok_or("hook_signature_malformed")
}

/// The time, when it is near enough to now. Only digits are a time: what is signed has one spelling.
fn fresh(time: Option<&str>, now_ms: u64) -> Result<&str, &'static str> {
    let time = time.ok_or("hook_timestamp_missing")?;
    let digits = !time.is_empty() && time.bytes().all(|byte| byte.is_ascii_digit());
    let seconds: u64 =
        time.parse().ok().filter(|_| digits && time.len() <= 12).ok_or("hook_timestamp_malformed")?;
    let away = Duration::from_millis(now_ms).abs_diff(Duration::from_secs(seconds));
    if away > limits::HOOK_REPLAY { Err("hook_timestamp_stale") } else { Ok(time) }
}

/// The time and the signatures of `t=…,v1=…,v1=…`. Other versions are weaker, or not known.
fn stripe(header: &str) -> Result<(&str, Vec<&str>), &'static str> {
    let (mut time, mut signatures) = (None, Vec::new());
    for part in header.split(',') {
        match part.trim().split_once('=') {
            Some(("t", _)) if time.is_some() => return Err("hook_signature_malformed"),
            Some(("t", value)) => time = Some(value),
            Some(("v1", value)) => signatures.push(value),
            Some(_) => {}
            None => return Err("hook_signature_malformed"),
        }
    }
    if signatures.is_empty() || signatures.len() > SIGNATURES {
        return Err("hook_signature_malformed");
    }
    Ok((time.ok_or("hook_timestamp_missing")?, signatures))
}

/// The 32 bytes of 64 hexadecimal digits.
fn from_hex(text: &str) -> Option<[u8; 32]> {
    let (digits, rest) = text.as_bytes().as_chunks::<2>();
    if !rest.is_empty() || digits.len() != 32 {
        return None;
    }
    let mut bytes = [0; 32];
    for (byte, [high, low]) in bytes.iter_mut().zip(digits) {
        let digit = |one: &u8| char::from(*one).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        *byte = digit(high)?.checked_mul(16)?.checked_add(digit(low)?)?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(kind: SignatureKind, timestamp_header: Option<&str>) -> SignatureKey {
        SignatureKey::from_config(&HookSignature {
            header: None,
            id_header: None,
            kind,
            prefix: None,
            secret: "It's-a-Secret-to-Everybody-0".into(),
            timestamp_header: timestamp_header.map(Into::into),
        })
        .unwrap()
    }

    fn judge(key: &SignatureKey, signature: &str, timestamp: Option<&str>) -> Result<(), &'static str> {
        key.verify(Signed { signature, timestamp, body: b"Hello, World!", now_ms: 1_700_000_000_000 })
    }

    #[test]
    fn c02_what_is_not_signed_or_not_signed_now_is_refused() {
        let zeros = "0".repeat(64);
        let github = key(SignatureKind::Github, None);
        for (signature, code) in [
            ("", "hook_signature_malformed"),
            ("sha1=00", "hook_signature_malformed"),
            ("sha256=", "hook_signature_malformed"),
            ("sha256=zz", "hook_signature_malformed"),
            (&*format!("sha256={zeros}"), "hook_signature_mismatch"),
            (&*format!("sha256={zeros}0"), "hook_signature_malformed"),
        ] {
            assert_eq!(judge(&github, signature, None), Err(code), "{signature}");
        }
        let slack = key(SignatureKind::Slack, None);
        let signature = format!("v0={zeros}");
        for (timestamp, code) in [
            (None, "hook_timestamp_missing"),
            (Some("+1700000000"), "hook_timestamp_malformed"),
            (Some(" 1700000000"), "hook_timestamp_malformed"),
            (Some("99999999999999999999"), "hook_timestamp_malformed"),
            (Some("1699999699"), "hook_timestamp_stale"),
            (Some("1700000301"), "hook_timestamp_stale"),
            (Some("1699999700"), "hook_signature_mismatch"),
        ] {
            assert_eq!(judge(&slack, &signature, timestamp), Err(code), "{timestamp:?}");
        }
        let stripe = key(SignatureKind::Stripe, None);
        for (header, code) in [
            (format!("v1={zeros}"), "hook_timestamp_missing"),
            ("t=1700000000".into(), "hook_signature_malformed"),
            (format!("t=1700000000,v0={zeros}"), "hook_signature_malformed"),
            (format!("t=1,t=1700000000,v1={zeros}"), "hook_signature_malformed"),
            (format!("t=1600000000,v1={zeros}"), "hook_timestamp_stale"),
            (format!("t=1700000000{}", format!(",v1={zeros}").repeat(5)), "hook_signature_malformed"),
            (format!("t=1700000000,v1={zeros}"), "hook_signature_mismatch"),
        ] {
            assert_eq!(judge(&stripe, &header, None), Err(code), "{header}");
        }
        let generic = key(SignatureKind::Generic, Some("X-Time"));
        assert_eq!(judge(&generic, &zeros, Some("1600000000")), Err("hook_timestamp_stale"));
        assert_eq!((generic.header(), generic.timestamp_header()), ("x-signature", Some("x-time")));
    }

    #[test]
    fn a_weak_key_is_none() {
        for secret in ["", "short", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "with a space but long enough 1234"] {
            let config = HookSignature {
                header: None,
                id_header: None,
                kind: SignatureKind::Github,
                prefix: None,
                secret: secret.into(),
                timestamp_header: None,
            };
            assert!(SignatureKey::from_config(&config).is_none(), "{secret}");
        }
    }
}
