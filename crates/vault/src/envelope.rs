//! One sealed value: AES-256-GCM under a key of its own, bound to the place where it stands.
//!
//! ```text
//! byte     0        version, 1
//! bytes    1 ..  9  id of the root key
//! bytes    9 .. 41  salt: 32 random bytes
//! bytes   41 .. 53  nonce: 12 random bytes (NIST SP 800-38D)
//! bytes   53 .. 85  commitment to the key
//! bytes   85 ..     ciphertext, then the tag of 16 bytes
//! ```
//!
//! HKDF-SHA256 (RFC 5869) turns the root key and the salt into 64 bytes: the key of this one value and its
//! commitment. AES-GCM alone does not commit to its key: one ciphertext can be made that opens to two texts under two
//! keys. Authenticated with the value are the version, the installation, the place and the root key's id, each with
//! its length in front, so that a value moved elsewhere does not open.

use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes256Gcm, Nonce};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hkdf::Hkdf;
use moltbot_config::SEALED_PREFIX;
use sha2::Sha256;
use subtle::ConstantTimeEq;
use thiserror::Error;
use zeroize::Zeroizing;

use crate::random::{RandomError, random};

/// Bytes that an envelope has over what is in it.
pub const SEALED_OVERHEAD: usize = TEXT_START + TAG;

const VERSION: u8 = 1;
const ID: usize = 8;
const SALT: usize = 32;
const NONCE: usize = 12;
const COMMITMENT: usize = 32;
const TAG: usize = 16;
/// Where the ciphertext begins.
const TEXT_START: usize = 1 + ID + SALT + NONCE + COMMITMENT;

/// The length of a key, in bytes.
pub(crate) const KEY: usize = 32;
/// A key in memory.
pub(crate) type Key = Zeroizing<[u8; KEY]>;

/// Names a root key: the first bytes of what HKDF-Extract makes of it.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(crate) struct KeyId(pub(crate) [u8; ID]);

/// Why a value could not be sealed or opened.
#[derive(Debug, Error)]
#[expect(missing_docs, reason = "each message names its fields")]
#[non_exhaustive]
pub enum SealError {
    /// It is not of the form that [`SEALED_PREFIX`] begins, or is too short or too long for one.
    #[error("what stands at {place} is not a sealed value: {what}; set it again with `moltbot secrets set`")]
    Form { place: String, what: &'static str },
    /// No random bytes.
    #[error("cannot seal {place}")]
    Random { place: String, source: RandomError },
    /// It was sealed with a root key that this installation does not have.
    #[error(
        "{place} was sealed with key {key}, which keys/secrets.key does not hold; restore that key file, or set the value again"
    )]
    UnknownKey { place: String, key: String },
    /// It was changed, moved from another place, or belongs to another installation. Which is not told apart.
    #[error(
        "{place} does not open: it was changed, or sealed for another place or installation; set it again with `moltbot secrets set`"
    )]
    Unseal { place: String },
}

impl KeyId {
    /// The id of a root key.
    pub(crate) fn of(root: &[u8; KEY]) -> Self {
        let (hash, _) = Hkdf::<Sha256>::extract(Some(b"moltbot key id"), root);
        let mut id = [0; ID];
        id.iter_mut().zip(hash).for_each(|(byte, of)| *byte = of);
        Self(id)
    }

    /// In lower case hex.
    pub(crate) fn to_hex(self) -> String {
        hex(&self.0)
    }
}

/// The id of the root key that an envelope names; nothing when it is no envelope.
pub(crate) fn key_id(sealed: &[u8]) -> Option<KeyId> {
    let (version, rest) = sealed.split_first()?;
    let id = rest.first_chunk::<ID>()?;
    (*version == VERSION && sealed.len() >= SEALED_OVERHEAD).then_some(KeyId(*id))
}

/// Seals `plain` for `place` under `root`.
pub(crate) fn seal(
    root: &[u8; KEY],
    installation: &str,
    place: &str,
    plain: &[u8],
) -> Result<Vec<u8>, SealError> {
    let draw = |source| SealError::Random { place: place.to_owned(), source };
    let (salt, nonce) = (random::<SALT>().map_err(draw)?, random::<NONCE>().map_err(draw)?);
    seal_with(root, installation, place, plain, &salt, &nonce)
}

fn seal_with(
    root: &[u8; KEY],
    installation: &str,
    place: &str,
    plain: &[u8],
    salt: &[u8; SALT],
    nonce: &[u8; NONCE],
) -> Result<Vec<u8>, SealError> {
    let id = KeyId::of(root);
    let (key, commitment) = derive(root, salt, place)?;
    let aad = authenticated(installation, place, id);
    let failed = || SealError::Form { place: place.to_owned(), what: "it is longer than AES-GCM allows" };
    let text = Aes256Gcm::new((&*key).into())
        .encrypt(&Nonce::from(*nonce), Payload { msg: plain, aad: &aad })
        .map_err(|_| failed())?;
    let mut sealed = Vec::with_capacity(SEALED_OVERHEAD.saturating_add(plain.len()));
    sealed.push(VERSION);
    for part in [&id.0[..], salt, nonce, &*commitment, &text] {
        sealed.extend_from_slice(part);
    }
    Ok(sealed)
}

/// Opens what was sealed for `place` under `root`.
pub(crate) fn open(
    root: &[u8; KEY],
    installation: &str,
    place: &str,
    sealed: &[u8],
) -> Result<Zeroizing<Vec<u8>>, SealError> {
    let form = |what| SealError::Form { place: place.to_owned(), what };
    let parts = Parts::of(sealed).ok_or_else(|| form("its version or its length is not right"))?;
    let changed = || SealError::Unseal { place: place.to_owned() };
    let (key, commitment) = derive(root, parts.salt, place)?;
    if !bool::from(commitment.as_slice().ct_eq(parts.commitment)) {
        return Err(changed());
    }
    let aad = authenticated(installation, place, parts.id);
    let plain = Aes256Gcm::new((&*key).into())
        .decrypt(&Nonce::from(*parts.nonce), Payload { msg: parts.text, aad: &aad })
        .map_err(|_| changed())?;
    Ok(Zeroizing::new(plain))
}

/// An envelope taken apart. Every length but the text's is fixed.
struct Parts<'a> {
    id: KeyId,
    salt: &'a [u8; SALT],
    nonce: &'a [u8; NONCE],
    commitment: &'a [u8],
    text: &'a [u8],
}

impl<'a> Parts<'a> {
    fn of(sealed: &'a [u8]) -> Option<Self> {
        let id = key_id(sealed)?;
        let (salt, rest) = sealed.get(1 + ID..)?.split_first_chunk::<SALT>()?;
        let (nonce, rest) = rest.split_first_chunk::<NONCE>()?;
        let (commitment, text) = rest.split_at_checked(COMMITMENT)?;
        Some(Self { id, salt, nonce, commitment, text })
    }
}

/// The key of one value and its commitment.
fn derive(root: &[u8; KEY], salt: &[u8; SALT], place: &str) -> Result<(Key, Key), SealError> {
    let (mut key, mut commitment) = (Key::default(), Key::default());
    let hkdf = Hkdf::<Sha256>::new(Some(salt), root);
    let made = hkdf.expand(b"moltbot seal v1 key", &mut *key);
    let made = made.and_then(|()| hkdf.expand(b"moltbot seal v1 commitment", &mut *commitment));
    let failed = |_| SealError::Form { place: place.to_owned(), what: "its key cannot be derived" };
    made.map(|()| (key, commitment)).map_err(failed)
}

/// What is authenticated besides the text.
fn authenticated(installation: &str, place: &str, id: KeyId) -> Vec<u8> {
    let mut aad = Vec::with_capacity(64_usize.saturating_add(installation.len()).saturating_add(place.len()));
    for part in [b"moltbot seal", &[VERSION][..], installation.as_bytes(), place.as_bytes(), &id.0] {
        let length = u64::try_from(part.len()).unwrap_or(u64::MAX);
        aad.extend_from_slice(&length.to_be_bytes());
        aad.extend_from_slice(part);
    }
    aad
}

/// The text form, for config files.
pub(crate) fn to_text(sealed: &[u8]) -> String {
    format!("{SEALED_PREFIX}{}", URL_SAFE_NO_PAD.encode(sealed))
}

/// The bytes of a text form. Only the one canonical spelling is taken.
pub(crate) fn from_text(place: &str, text: &str) -> Result<Vec<u8>, SealError> {
    let form = |what| SealError::Form { place: place.to_owned(), what };
    let rest = text.strip_prefix(SEALED_PREFIX).ok_or_else(|| form("it names another form or cipher"))?;
    URL_SAFE_NO_PAD.decode(rest).map_err(|_| form("it is not base64url"))
}

/// Lower case hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A key that a file holds as 64 hex digits, with a line feed at most behind them.
pub(crate) fn key_of_hex(file: &[u8]) -> Option<Key> {
    let text = std::str::from_utf8(file).ok()?;
    let text = text.strip_suffix('\n').unwrap_or(text);
    if text.len() != 2 * KEY || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let mut key = Key::default();
    for (byte, place) in key.iter_mut().zip((0_usize..).step_by(2)) {
        *byte = u8::from_str_radix(text.get(place..place.saturating_add(2))?, 16).ok()?;
    }
    Some(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOT: [u8; KEY] = [7; KEY];

    fn sealed(plain: &[u8]) -> Vec<u8> {
        seal(&ROOT, "here", "gateway.auth.token", plain).unwrap()
    }

    #[test]
    fn what_was_sealed_opens_only_at_its_place_in_its_installation_with_its_key() {
        for plain in [&b""[..], b"x", &[0; 5000]] {
            let sealed = sealed(plain);
            assert_eq!(sealed.len(), plain.len() + SEALED_OVERHEAD);
            assert_eq!(*open(&ROOT, "here", "gateway.auth.token", &sealed).unwrap(), plain);
            for (root, installation, place) in [
                (&ROOT, "there", "gateway.auth.token"),
                (&ROOT, "here", "channels.x.token"),
                (&ROOT, "her", "egateway.auth.token"),
                (&[8; KEY], "here", "gateway.auth.token"),
            ] {
                let error = open(root, installation, place, &sealed).unwrap_err();
                assert!(matches!(error, SealError::Unseal { .. }), "{error}");
            }
        }
    }

    #[test]
    fn every_bit_and_every_length_is_covered() {
        let sealed = sealed(b"a secret of some length");
        for position in 0..sealed.len() {
            for bit in 0..8 {
                let mut changed = sealed.clone();
                changed[position] ^= 1 << bit;
                assert!(
                    open(&ROOT, "here", "gateway.auth.token", &changed).is_err(),
                    "byte {position}, bit {bit}"
                );
            }
        }
        for length in 0..sealed.len() {
            assert!(open(&ROOT, "here", "gateway.auth.token", &sealed[..length]).is_err(), "{length} bytes");
        }
        let mut longer = sealed;
        longer.push(0);
        assert!(open(&ROOT, "here", "gateway.auth.token", &longer).is_err());
    }

    #[test]
    fn every_character_of_the_text_form_is_covered() {
        let text = to_text(&sealed(b"a secret"));
        let opens = |text: &str| {
            let place = "gateway.auth.token";
            from_text(place, text).and_then(|sealed| open(&ROOT, "here", place, &sealed)).is_ok()
        };
        assert!(opens(&text));
        for position in 0..text.len() {
            for other in ["A", "-", "=", " ", "z"] {
                let mut changed = text.clone();
                changed.replace_range(position..=position, other);
                assert!(changed == text || !opens(&changed), "{changed}");
            }
        }
        assert!(!opens(&format!("{text}=")) && !opens(&format!("{text}A")) && !opens(&format!(" {text}")));
    }

    #[test]
    fn d_45_two_seals_of_one_value_share_neither_key_nor_nonce() {
        let (one, two) = (sealed(b"x"), sealed(b"x"));
        assert_ne!(one[9..41], two[9..41]);
        assert_ne!(one[41..53], two[41..53]);
        assert_ne!(one[53..85], two[53..85]);
    }

    /// Two keys and nonces under which one ciphertext opens are easy to make for AES-GCM; the commitment says which
    /// key was meant before the cipher is asked.
    #[test]
    fn an_envelope_with_another_keys_commitment_is_refused_although_its_tag_is_right() {
        let mut sealed = sealed(b"x");
        let (_, other) = derive(&[9; KEY], &[1; SALT], "x").unwrap();
        sealed.splice(53..85, other.iter().copied());
        let error = open(&ROOT, "here", "gateway.auth.token", &sealed).unwrap_err();
        assert!(matches!(error, SealError::Unseal { .. }), "{error}");
    }

    /// Computed once by an implementation that shares nothing with this one (Python's `cryptography`).
    #[test]
    fn a_known_envelope_is_made_again_byte_by_byte() {
        let sealed = seal_with(&ROOT, "here", "a.b", b"secret", &[1; SALT], &[2; NONCE]).unwrap();
        assert_eq!(hex(&sealed), include_str!("envelope/known.hex").trim());
    }
}
