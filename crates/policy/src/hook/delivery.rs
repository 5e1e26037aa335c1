//! Which delivery a call is: the same one again is answered with the run that it had, and causes no other.
//!
//! A delivery is known by the name that its sender gives it and, where it is signed, by what is signed: a name in a header
//! is not signed, so that whoever has seen a signed call could send it again under another name.

use std::fmt::Write as _;

use moltbot_protocol::ids::{HookName, RunId};
use sha2::{Digest as _, Sha256};

use super::signature::SignatureKey;

/// The longest name of a delivery, in bytes: GitHub's have 36.
const NAME_BYTES: usize = 200;

/// What tells a delivery from others of its hook.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Delivery {
    /// The run of its name; a new one is drawn when it has none.
    pub run: Option<RunId>,
    /// What stands for its content; nothing when only its name can tell it, and it has none.
    pub content: Option<String>,
}

/// What a call says of itself.
#[derive(Clone, Copy, Debug)]
pub struct Told<'a> {
    /// The hook.
    pub hook: &'a HookName,
    /// The name of the delivery.
    pub name: Option<&'a str>,
    /// The name of the event in a signed body.
    pub event: Option<&'a str>,
    /// The time that is signed.
    pub timestamp: Option<&'a str>,
    /// The body, as it came.
    pub body: &'a [u8],
}

/// A name that a delivery cannot have.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the delivery's name must have 1 to {NAME_BYTES} printable ASCII characters without spaces")]
pub struct InvalidName;

impl Delivery {
    /// The delivery of a call; `key` is that of a signed one.
    ///
    /// # Errors
    /// When the name is no name.
    pub fn of(told: Told<'_>, key: Option<&SignatureKey>) -> Result<Self, InvalidName> {
        let event = key.and(told.event);
        let name = told.name.or(event);
        if name.is_some_and(|name| !is_name(name)) {
            return Err(InvalidName);
        }
        let run = name.and_then(|name| {
            let digest = digest(&[told.hook.as_str().as_bytes(), name.as_bytes()]);
            RunId::parse(&format!("hook-{}", digest.get(..32).unwrap_or(&digest))).ok()
        });
        let content = match key {
            // The event's name is signed. What comes with it may change when it is sent again.
            Some(_) if event.is_some() => Some(digest(&[b"event", event.unwrap_or_default().as_bytes()])),
            Some(key) if key.signs_time_of_call() => {
                let time = told.timestamp.unwrap_or_default();
                Some(digest(&[b"call", time.as_bytes(), told.body]))
            }
            Some(_) => Some(digest(&[b"body", told.body])),
            None => name.map(|name| digest(&[b"name", name.as_bytes(), told.body])),
        };
        Ok(Self { run, content })
    }
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= NAME_BYTES && name.bytes().all(|byte| byte.is_ascii_graphic())
}

/// A digest of several parts, each with its length in front, so that no two lists of parts are alike.
fn digest(parts: &[&[u8]]) -> String {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        hasher.update(part);
    }
    let mut text = String::with_capacity(64);
    for byte in hasher.finalize() {
        // Writing to a string cannot fail.
        if write!(text, "{byte:02x}").is_err() {
            break;
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use moltbot_config::settings::{HookSignature, SignatureKind};

    use super::*;

    fn delivery(hook: &str, name: Option<&str>, body: &[u8], kind: Option<SignatureKind>) -> Delivery {
        let key = kind.map(|kind| {
            let secret = "It's-a-Secret-to-Everybody-0".into();
            let (header, id_header, prefix, timestamp_header) = (None, None, None, None);
            let config = HookSignature { header, id_header, kind, prefix, secret, timestamp_header };
            SignatureKey::from_config(&config).unwrap()
        });
        let hook = HookName::parse(hook).unwrap();
        let told = Told { hook: &hook, name, event: Some("evt_1"), timestamp: None, body };
        let told = if kind == Some(SignatureKind::Stripe) { told } else { Told { event: None, ..told } };
        Delivery::of(told, key.as_ref()).unwrap()
    }

    #[test]
    fn c06_a_delivery_is_known_by_its_name_within_its_hook_and_by_what_is_signed() {
        let github = Some(SignatureKind::Github);
        let first = delivery("a", Some("d1"), b"x", github);
        assert_eq!(first, delivery("a", Some("d1"), b"x", github));
        let renamed = delivery("a", Some("d2"), b"x", github);
        assert!(renamed.run != first.run && renamed.content == first.content, "the same signed body");
        let changed = delivery("a", Some("d1"), b"y", github);
        assert!(changed.run == first.run && changed.content != first.content, "a name that is used again");
        assert_ne!(delivery("b", Some("d1"), b"x", github).run, first.run, "of another hook");
        assert_eq!(delivery("a", None, b"x", None), Delivery { run: None, content: None });
        let stripe = Some(SignatureKind::Stripe);
        assert_eq!(
            delivery("a", None, b"x", stripe),
            delivery("a", None, b"y", stripe),
            "the event's name is signed"
        );
    }

    #[test]
    fn a_name_that_is_none_is_refused() {
        let hook = HookName::parse("a").unwrap();
        for name in ["", "a b", "ä", "x\n", &"x".repeat(201)] {
            let told = Told { hook: &hook, name: Some(name), event: None, timestamp: None, body: b"" };
            assert_eq!(Delivery::of(told, None), Err(InvalidName), "{name:?}");
        }
    }
}
