//! The device key of the command line: who it is to a gateway. The file is the one that other clients write.

use std::fmt;
use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::pkcs8::spki::EncodePublicKey;
use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use ed25519_dalek::pkcs8::{DecodePrivateKey, DecodePublicKey, EncodePrivateKey, KeypairBytes};
use ed25519_dalek::{Signer, SigningKey, VerifyingKey};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use thiserror::Error;
use zeroize::Zeroizing;

use crate::envelope::hex;
use crate::error::FileError;
use crate::random::{RandomError, random};
use crate::state_dir::StateDir;

/// Where it is in the state folder.
const NAME: &str = "identity/device.json";
/// The largest file that is read, in bytes. It has 500.
const BYTES: u64 = 16 * 1024;
/// The version of the file.
const VERSION: u32 = 1;

/// Why there is no device key.
#[derive(Debug, Error)]
#[expect(missing_docs, reason = "each message names its fields")]
#[non_exhaustive]
pub enum KeyError {
    /// The file is there and is no device key.
    #[error("{path} is not a device key: {what}; move it away, and a new one is made")]
    Damaged { path: PathBuf, what: &'static str },
    /// The file could not be read or written.
    #[error("the device key cannot be kept")]
    File(#[from] FileError),
    /// A new key could not be drawn.
    #[error("a device key cannot be made")]
    Random(#[from] RandomError),
}

/// A device key: its private part leaves only as signatures.
pub struct DeviceKey {
    key: SigningKey,
    id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Read {
    version: u32,
    public_key_pem: String,
    private_key_pem: SecretString,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Written<'a> {
    version: u32,
    device_id: &'a str,
    public_key_pem: &'a str,
    private_key_pem: &'a str,
    created_at_ms: u64,
}

impl DeviceKey {
    /// The key in the state folder, or a new one that is on disk when this returns.
    ///
    /// # Errors
    /// When the file is there and no device key, or cannot be read or written.
    pub fn load_or_create(state: &StateDir, now_ms: u64) -> Result<Self, KeyError> {
        if let Some(key) = Self::load(state)? {
            return Ok(key);
        }
        let key = SigningKey::from_bytes(&Zeroizing::new(random()?));
        let key = Self { id: id_of(&key.verifying_key()), key };
        if state.create(NAME, &key.to_json(now_ms, state)?)? {
            return Ok(key);
        }
        // Another process was faster: there is one key for all.
        Self::load(state)?.ok_or_else(|| damaged(state, "it vanished"))
    }

    /// The device's id: SHA-256 of the public key, in hex.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The public key: 32 bytes in base64url.
    pub fn public_key(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.key.verifying_key().as_bytes())
    }

    /// The signature of `text`, in base64url.
    pub fn sign(&self, text: &str) -> String {
        URL_SAFE_NO_PAD.encode(self.key.sign(text.as_bytes()).to_bytes())
    }

    fn load(state: &StateDir) -> Result<Option<Self>, KeyError> {
        let Some(bytes) = state.read(NAME, BYTES)?.map(Zeroizing::new) else {
            return Ok(None);
        };
        let damaged = |what| damaged(state, what);
        let file: Read =
            serde_json::from_slice(&bytes).map_err(|_| damaged("its members are not those of one"))?;
        if file.version != VERSION {
            return Err(damaged("its version is not 1"));
        }
        let key = SigningKey::from_pkcs8_pem(file.private_key_pem.expose_secret())
            .map_err(|_| damaged("its private key is not one for Ed25519"))?;
        let public = VerifyingKey::from_public_key_pem(&file.public_key_pem)
            .map_err(|_| damaged("its public key is not one for Ed25519"))?;
        if public != key.verifying_key() {
            return Err(damaged("its two keys do not belong together"));
        }
        // The id is derived, not believed.
        Ok(Some(Self { id: id_of(&public), key }))
    }

    fn to_json(&self, now_ms: u64, state: &StateDir) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        let unwritable = || damaged(state, "the key cannot be encoded");
        // Without the public half inside: other clients' libraries cannot read the form that has it.
        let pair = KeypairBytes { secret_key: self.key.to_bytes(), public_key: None };
        let private = pair.to_pkcs8_pem(LineEnding::LF).map_err(|_| unwritable())?;
        let public = self.key.verifying_key().to_public_key_pem(LineEnding::LF).map_err(|_| unwritable())?;
        let file = Written {
            version: VERSION,
            device_id: &self.id,
            public_key_pem: &public,
            private_key_pem: &private,
            created_at_ms: now_ms,
        };
        // Large enough from the start: growing would leave copies of the key behind.
        let mut json = Zeroizing::new(Vec::with_capacity(2048));
        serde_json::to_writer_pretty(&mut *json, &file).map_err(|_| unwritable())?;
        json.push(b'\n');
        Ok(json)
    }
}

impl fmt::Debug for DeviceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeviceKey").field("id", &self.id).finish_non_exhaustive()
    }
}

fn damaged(state: &StateDir, what: &'static str) -> KeyError {
    KeyError::Damaged { path: state.path().join(NAME), what }
}

fn id_of(key: &VerifyingKey) -> String {
    hex(&Sha256::digest(key.as_bytes()))
}
