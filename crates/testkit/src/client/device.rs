//! A device's key, and its signature in all three versions.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::{Signer, SigningKey};
use moltbot_protocol::connect::{DeviceProof, DeviceText};
use sha2::{Digest, Sha256};

/// Which text a device signs.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SignatureVersion {
    /// Without a nonce.
    V1,
    /// With the nonce.
    V2,
    /// With the nonce, platform and device family.
    V3,
}

/// A device.
#[derive(Clone)]
pub struct Device {
    key: SigningKey,
}

impl Device {
    /// The device of that seed: the same seed is the same device.
    pub fn from_seed(seed: u8) -> Self {
        Self { key: SigningKey::from_bytes(&[seed; 32]) }
    }

    /// The device's id: SHA-256 of the public key, in hex.
    pub fn id(&self) -> String {
        let digest = Sha256::digest(self.key.verifying_key().as_bytes());
        digest.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The public key in base64url.
    pub fn public_key(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.key.verifying_key().as_bytes())
    }

    /// The signature over any text, in base64url.
    pub fn sign(&self, text: &str) -> String {
        URL_SAFE_NO_PAD.encode(self.key.sign(text.as_bytes()).to_bytes())
    }

    /// The proof that goes into `connect`. `text` says what is signed but for the device's own id.
    pub fn prove(&self, text: DeviceText<'_>, version: SignatureVersion) -> DeviceProof {
        let id = self.id();
        let text = DeviceText { device_id: &id, ..text };
        let (signed, nonce) = match version {
            SignatureVersion::V1 => (text.version1(), None),
            SignatureVersion::V2 => (text.version2(), text.nonce),
            SignatureVersion::V3 => (text.version3(), text.nonce),
        };
        DeviceProof {
            public_key: self.public_key(),
            signature: self.sign(&signed),
            signed_at: text.signed_at,
            nonce: nonce.map(Into::into),
            id,
        }
    }
}

/// The time, in milliseconds since the epoch.
#[expect(clippy::disallowed_methods, reason = "a client signs with the time of its own clock")]
pub fn now_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    u64::try_from(since.expect("a clock after 1970").as_millis()).unwrap_or(u64::MAX)
}
