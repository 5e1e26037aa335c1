//! Values that the original sealed: read, so that they can be sealed again; never written.
//!
//! A text that holds JSON: `{"version":1,"algorithm":"aes-256-gcm","ciphertext","iv","authTag","salt"}`, in standard
//! base64. The key is scrypt (N=16384, r=8, p=1) of the 32 bytes of its master key with the salt of the value.
//! Lengths are enforced here as they were not there: a tag of 4 bytes would open after 2^32 tries.

use aes_gcm::aead::consts::U16;
use aes_gcm::aead::{Aead, KeyInit};
use aes_gcm::aes::Aes256;
use aes_gcm::{AesGcm, Nonce};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use scrypt::{Params, scrypt};
use secrecy::SecretString;
use serde::Deserialize;
use zeroize::Zeroizing;

use crate::envelope::{KEY, Key, SealError};

/// The original's cipher: a nonce of 16 bytes.
type Cipher = AesGcm<Aes256, U16>;

const LOG_N: u8 = 14;
const NONCE: usize = 16;
const TAG: usize = 16;
const SALT: usize = 32;

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Envelope {
    version: u32,
    algorithm: String,
    ciphertext: String,
    iv: String,
    auth_tag: String,
    salt: String,
}

/// Opens a value of the original with its master key.
pub(crate) fn open(master: &[u8; KEY], place: &str, text: &str) -> Result<SecretString, SealError> {
    let form = |what| SealError::Form { place: place.to_owned(), what };
    let envelope: Envelope =
        serde_json::from_str(text).map_err(|_| form("its members are not those of one"))?;
    if envelope.version != 1 || envelope.algorithm != "aes-256-gcm" {
        return Err(form("it names another version or algorithm"));
    }
    let bytes = |text: &str| STANDARD.decode(text).map_err(|_| form("a member is not base64"));
    let (iv, tag, salt) = (bytes(&envelope.iv)?, bytes(&envelope.auth_tag)?, bytes(&envelope.salt)?);
    let nonce: [u8; NONCE] = iv.try_into().map_err(|_| form("its iv has not 16 bytes"))?;
    if tag.len() != TAG || salt.len() != SALT {
        return Err(form("its tag or its salt has not the right length"));
    }
    let mut sealed = bytes(&envelope.ciphertext)?;
    sealed.extend_from_slice(&tag);
    let params = Params::new(LOG_N, 8, 1).map_err(|_| form("its key cannot be derived"))?;
    let mut key = Key::default();
    scrypt(master, &salt, &params, &mut *key).map_err(|_| form("its key cannot be derived"))?;
    let unsealed = |_| SealError::Unseal { place: place.to_owned() };
    let plain =
        Cipher::new((&*key).into()).decrypt(&Nonce::from(nonce), sealed.as_slice()).map_err(unsealed)?;
    let plain = Zeroizing::new(plain);
    let text = std::str::from_utf8(&plain).map_err(|_| form("what is in it is not UTF-8"))?;
    Ok(SecretString::from(text))
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;
    use crate::envelope::key_of_hex;

    /// Made once with Node.js's crypto module, as the original does it.
    const SEALED: &str = include_str!("legacy/known.json");
    const MASTER: &[u8] = b"000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n";

    #[test]
    fn a_value_of_the_original_opens_with_its_key_alone() {
        let master = key_of_hex(MASTER).unwrap();
        assert_eq!(open(&master, "x", SEALED).unwrap().expose_secret(), "a token of the original");
        assert!(open(&[1; KEY], "x", SEALED).is_err());
    }

    #[test]
    fn d_46_a_tag_that_was_cut_does_not_open() {
        let master = key_of_hex(MASTER).unwrap();
        let mut value: serde_json::Value = serde_json::from_str(SEALED).unwrap();
        let tag = STANDARD.decode(value["authTag"].as_str().unwrap()).unwrap();
        for length in [0, 4, 8, 12, 15] {
            value["authTag"] = STANDARD.encode(&tag[..length]).into();
            let error = open(&master, "x", &value.to_string()).unwrap_err();
            assert!(matches!(error, SealError::Form { .. }), "{length}: {error}");
        }
    }

    #[test]
    fn only_64_hex_digits_are_a_master_key() {
        for text in ["", "00", "zz", &"0".repeat(63), &"0".repeat(65), &"0".repeat(128), &"g".repeat(64)] {
            assert!(key_of_hex(text.as_bytes()).is_none(), "{text}");
        }
    }
}
