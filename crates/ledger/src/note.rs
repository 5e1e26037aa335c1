//! What a key of the book says: signed notes (C2SP signed-note) with the text of a checkpoint (C2SP tlog-checkpoint).

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::record::{hex, unhex};
use crate::tree::Node;

/// The kind of key in a name of a key: Ed25519.
const ED25519: u8 = 1;
/// What a line with a signature begins with.
const SIGNED: &str = "\u{2014} ";

/// The name under which an installation's book signs.
pub(crate) fn origin(installation: &str) -> String {
    format!("moltbot/{installation}/ledger")
}

/// What is signed.
#[derive(Debug)]
pub(crate) struct Statement<'a> {
    pub(crate) origin: &'a str,
    /// How many records the tree has.
    pub(crate) size: u64,
    pub(crate) root: Node,
    /// The next key and its number, when this one signs for the last time.
    pub(crate) next: Option<(u64, VerifyingKey)>,
}

impl Statement<'_> {
    /// The text, with its last line feed.
    fn text(&self) -> String {
        let Self { origin, size, root, next } = self;
        let mut text = format!("{origin}\n{size}\n{}\n", STANDARD.encode(root));
        if let Some((epoch, key)) = next {
            text.push_str(&format!("epoch {epoch} {}\n", STANDARD.encode(key)));
        }
        text
    }

    /// The signed note.
    pub(crate) fn sign(&self, key: &SigningKey) -> String {
        let text = self.text();
        let mut signature = key_hash(self.origin, &key.verifying_key()).to_vec();
        signature.extend_from_slice(&key.sign(text.as_bytes()).to_bytes());
        format!("{text}\n{SIGNED}{} {}\n", self.origin, STANDARD.encode(signature))
    }
}

/// A signed note, read. Whether its signature is right is another question.
#[derive(Clone, Debug)]
pub(crate) struct Note {
    whole: String,
    /// Bytes of what is signed.
    signed: usize,
    origin: String,
    hash: [u8; 4],
    signature: [u8; 64],
    pub(crate) size: u64,
    pub(crate) root: Node,
    pub(crate) next: Option<(u64, VerifyingKey)>,
}

impl Note {
    /// Reads a note in exactly the form in which it is written.
    pub(crate) fn parse(note: &str) -> Option<Self> {
        let (text, behind) = note.split_once("\n\n")?;
        let mut lines = text.split('\n');
        let origin = lines.next()?.to_owned();
        let size = lines.next().and_then(number)?;
        let root = STANDARD.decode(lines.next()?).ok()?.try_into().ok()?;
        let next = match lines.next() {
            None => None,
            Some(line) => {
                let (epoch, key) = line.strip_prefix("epoch ")?.split_once(' ')?;
                Some((number(epoch)?, decode_key(key)?))
            }
        };
        let (name, signature) = behind
            .strip_prefix(SIGNED)?
            .strip_suffix('\n')?
            .rsplit_once(' ')
            .filter(|(name, _)| *name == origin)?;
        let signature: [u8; 68] = STANDARD.decode(signature).ok()?.try_into().ok()?;
        let (hash, rest) = signature.split_at_checked(4)?;
        let (hash, signature) = (hash.try_into().ok()?, rest.try_into().ok()?);
        if lines.next().is_some() || !name.starts_with("moltbot/") {
            return None;
        }
        let signed = text.len().saturating_add(1);
        Some(Self { whole: note.to_owned(), signed, origin, hash, signature, size, root, next })
    }

    /// Whether the book named `origin` says it.
    pub(crate) fn is_of(&self, origin: &str) -> bool {
        self.origin == origin
    }

    /// Whether it says what it is expected to say: who signs, and the tree at its place.
    pub(crate) fn says(&self, origin: &str, size: u64, root: &Node) -> bool {
        self.origin == origin && self.size == size && self.root == *root
    }

    /// Whether `key` signed it.
    pub(crate) fn is_signed_by(&self, key: &VerifyingKey) -> bool {
        let text = self.whole.as_bytes().get(..self.signed).unwrap_or_default();
        self.hash == key_hash(&self.origin, key)
            && key.verify_strict(text, &Signature::from_bytes(&self.signature)).is_ok()
    }

    /// The note as it was read.
    pub(crate) fn as_str(&self) -> &str {
        &self.whole
    }
}

/// A number without leading zeros or a sign, as it is written.
pub(crate) fn number(text: &str) -> Option<u64> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let plain = digits && (text == "0" || !text.starts_with('0'));
    plain.then(|| text.parse().ok()).flatten()
}

/// A public key in base64.
pub(crate) fn encode_key(key: &VerifyingKey) -> String {
    STANDARD.encode(key)
}

pub(crate) fn decode_key(text: &str) -> Option<VerifyingKey> {
    VerifyingKey::from_bytes(&STANDARD.decode(text).ok()?.try_into().ok()?).ok()
}

/// A hash of the tree in base64.
pub(crate) fn encode_root(root: &Node) -> String {
    STANDARD.encode(root)
}

pub(crate) fn decode_root(text: &str) -> Option<Node> {
    STANDARD.decode(text).ok()?.try_into().ok()
}

fn key_hash(name: &str, key: &VerifyingKey) -> [u8; 4] {
    let mut hasher = Sha256::new();
    for part in [name.as_bytes(), b"\n", &[ED25519], key.as_bytes()] {
        hasher.update(part);
    }
    let hash: [u8; 32] = hasher.finalize().into();
    hash.first_chunk().copied().unwrap_or_default()
}

/// The book's first public key, which is all that a verification needs: `<name>+<key hash>+<key>` (C2SP signed-note).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PublicKey {
    pub(crate) name: Option<String>,
    pub(crate) key: VerifyingKey,
}

impl PublicKey {
    pub(crate) fn of(name: &str, key: VerifyingKey) -> Self {
        Self { name: Some(name.to_owned()), key }
    }

    /// Whether it is this key of the book named `origin`.
    pub(crate) fn is(&self, origin: &str, key: &VerifyingKey) -> bool {
        self.key == *key && self.name.as_ref().is_none_or(|name| name == origin)
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(name) = &self.name else {
            return f.write_str(&encode_key(&self.key));
        };
        let mut key = vec![ED25519];
        key.extend_from_slice(self.key.as_bytes());
        write!(f, "{name}+{}+{}", hex(&key_hash(name, &self.key)), STANDARD.encode(key))
    }
}

/// A text that is no public key of a book.
#[derive(Clone, Debug, Error, Eq, PartialEq)]
#[error("this is no public key of a book; give the text `moltbot/…/ledger+…+…` that the book was begun with")]
pub struct NotAKey;

impl FromStr for PublicKey {
    type Err = NotAKey;

    /// Reads the form that is displayed, or the 32 bytes of the key alone, in base64 or hex.
    fn from_str(text: &str) -> Result<Self, NotAKey> {
        let text = text.trim();
        if let Some(found) = parse_named(text) {
            return Ok(found);
        }
        let key = decode_key(text)
            .or_else(|| VerifyingKey::from_bytes(&unhex(text.as_bytes())?).ok())
            .ok_or(NotAKey)?;
        Ok(Self { name: None, key })
    }
}

/// A name has no plus in it; a key in base64 may.
fn parse_named(text: &str) -> Option<PublicKey> {
    let (name, rest) = text.split_once('+')?;
    let (hash, key) = rest.split_once('+')?;
    let bytes = STANDARD.decode(key).ok()?;
    let (kind, key) = bytes.split_first()?;
    let key = VerifyingKey::from_bytes(&key.try_into().ok()?).ok()?;
    let known = *kind == ED25519 && hash == hex(&key_hash(name, &key));
    known.then(|| PublicKey::of(name, key))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> SigningKey {
        SigningKey::from_bytes(&[7; 32])
    }

    fn statement(next: Option<(u64, VerifyingKey)>) -> Statement<'static> {
        Statement { origin: "moltbot/x/ledger", size: 12, root: [3; 32], next }
    }

    #[test]
    fn a_note_comes_back_and_is_signed_by_its_key_alone() {
        let other = SigningKey::from_bytes(&[8; 32]);
        for next in [None, Some((4, other.verifying_key()))] {
            let text = statement(next).sign(&key());
            let note = Note::parse(&text).unwrap();
            assert!(note.says("moltbot/x/ledger", 12, &[3; 32]) && note.next == next, "{text}");
            assert!(note.is_signed_by(&key().verifying_key()));
            assert!(!note.is_signed_by(&other.verifying_key()));
        }
    }

    #[test]
    fn every_changed_byte_of_a_note_is_refused() {
        let text = statement(None).sign(&key());
        let line_feeds = text.matches('\n').count();
        assert_eq!(line_feeds, 5, "{text}");
        for position in 0..text.len() {
            let mut changed = text.clone().into_bytes();
            changed[position] ^= 1;
            let Ok(changed) = String::from_utf8(changed) else { continue };
            let refused = match Note::parse(&changed) {
                None => true,
                Some(note) => {
                    !note.is_signed_by(&key().verifying_key()) || !note.says("moltbot/x/ledger", 12, &[3; 32])
                }
            };
            assert!(refused, "byte {position}: {changed}");
        }
    }

    #[test]
    fn a_public_key_is_read_in_each_of_its_forms() {
        let key = key().verifying_key();
        let named = PublicKey::of("moltbot/x/ledger", key);
        let text = named.to_string();
        assert!(text.starts_with("moltbot/x/ledger+"), "{text}");
        assert_eq!(text.parse(), Ok(named.clone()));
        for bare in [encode_key(&key), hex(key.as_bytes())] {
            let read: PublicKey = bare.parse().unwrap();
            assert!(read.is("moltbot/any/ledger", &key) && read.to_string() == encode_key(&key), "{bare}");
        }
        assert!(named.is("moltbot/x/ledger", &key) && !named.is("moltbot/y/ledger", &key));
        for wrong in
            ["", "moltbot/x/ledger", &text.replace("/x/", "/y/"), text.get(..text.len() - 4).unwrap()]
        {
            assert_eq!(wrong.parse::<PublicKey>(), Err(NotAKey), "{wrong}");
        }
    }

    #[test]
    fn numbers_have_one_form() {
        assert_eq!(["0", "7", "10"].map(number), [Some(0), Some(7), Some(10)]);
        assert_eq!(["", "00", "07", "+7", " 7", "99999999999999999999"].map(number), [None; 6]);
    }
}
