//! A device's signature over the challenge: Ed25519, versions 1, 2 and 3 of the signed text.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::pkcs8::DecodePublicKey;
use ed25519_dalek::{Signature, VerifyingKey};
use moltbot_config::{hole, limits};
use sha2::{Digest, Sha256};

use super::{DeviceClaim, Locality};

/// The device's id when its signature holds, else the cause.
///
/// The nonce is compared only after the key is known, and the three texts are tried newest first: the
/// version is not a member of the frame. Version 1 has no nonce and is accepted from this machine alone.
pub(super) fn verify(claim: &DeviceClaim<'_>, locality: Locality) -> Result<String, &'static str> {
    let key = public_key(&claim.proof.public_key).ok_or("device_key_invalid")?;
    let id = hex(&Sha256::digest(key.as_bytes()));
    if id != claim.proof.id || id != claim.text.device_id {
        return Err("device_identity_mismatch");
    }
    let skew = u64::try_from(limits::SIGNATURE_SKEW.as_millis()).unwrap_or(u64::MAX);
    if claim.now_ms.abs_diff(claim.proof.signed_at) > skew || claim.text.signed_at != claim.proof.signed_at {
        return Err("device_signature_expired");
    }
    let signature = URL_SAFE_NO_PAD.decode(claim.proof.signature.trim_end_matches('='));
    let signature = signature.ok().and_then(|bytes| Signature::from_slice(&bytes).ok());
    let signature = signature.ok_or("device_signature_malformed")?;
    let texts = match (claim.proof.nonce.as_deref(), locality) {
        (Some(nonce), _) if nonce != claim.challenge && !hole!("replayed-signature") => {
            return Err("device_nonce_mismatch");
        }
        (Some(_), _) => vec![claim.text.version3(), claim.text.version2()],
        (None, Locality::Local) => vec![claim.text.version1()],
        (None, Locality::Remote) => return Err("device_nonce_missing"),
    };
    let holds = texts.iter().any(|text| key.verify_strict(text.as_bytes(), &signature).is_ok());
    if holds { Ok(id) } else { Err("device_signature_invalid") }
}

/// The id that belongs to a public key; nothing when it is none.
pub fn device_id(public_key_text: &str) -> Option<String> {
    public_key(public_key_text).map(|key| hex(&Sha256::digest(key.as_bytes())))
}

/// 32 raw bytes in base64url, or PEM.
fn public_key(text: &str) -> Option<VerifyingKey> {
    if text.contains("-----BEGIN") {
        return VerifyingKey::from_public_key_pem(text).ok();
    }
    let raw = URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).ok()?;
    VerifyingKey::from_bytes(&raw.try_into().ok()?).ok()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::{Signer, SigningKey};
    use moltbot_protocol::connect::{DeviceProof, DeviceText};

    use super::*;

    const NOW: u64 = 1_800_000_000_000;

    struct Device {
        key: SigningKey,
        id: String,
    }

    impl Device {
        fn new() -> Self {
            let key = SigningKey::from_bytes(&[42; 32]);
            let id = hex(&Sha256::digest(key.verifying_key().as_bytes()));
            Self { key, id }
        }

        fn text<'a>(&'a self, nonce: Option<&'a str>) -> DeviceText<'a> {
            DeviceText {
                device_id: &self.id,
                client_id: "cli",
                client_mode: "cli",
                role: "operator",
                scopes: &[],
                signed_at: NOW,
                token: "t",
                nonce,
                platform: "linux",
                device_family: "",
            }
        }

        fn proof(&self, signed: &str, nonce: Option<&str>) -> DeviceProof {
            DeviceProof {
                id: self.id.clone(),
                public_key: URL_SAFE_NO_PAD.encode(self.key.verifying_key().as_bytes()),
                signature: URL_SAFE_NO_PAD.encode(self.key.sign(signed.as_bytes()).to_bytes()),
                signed_at: NOW,
                nonce: nonce.map(Into::into),
            }
        }
    }

    fn judge(text: DeviceText<'_>, proof: &DeviceProof, locality: Locality) -> Result<(), &'static str> {
        verify(&DeviceClaim { proof, text, challenge: "n", now_ms: NOW + 1000, token: None }, locality)
            .map(|_| ())
    }

    #[test]
    fn signatures_of_all_three_versions_hold() {
        let device = Device::new();
        let with = device.text(Some("n"));
        for signed in [with.version2(), with.version3()] {
            assert_eq!(judge(with, &device.proof(&signed, Some("n")), Locality::Remote), Ok(()), "{signed}");
        }
        let without = device.text(None);
        let proof = device.proof(&without.version1(), None);
        assert_eq!(judge(without, &proof, Locality::Local), Ok(()));
        assert_eq!(judge(without, &proof, Locality::Remote), Err("device_nonce_missing"));
    }

    #[test]
    fn a_changed_field_a_foreign_nonce_or_an_old_signature_is_refused() {
        let device = Device::new();
        let text = device.text(Some("n"));
        let good = device.proof(&text.version3(), Some("n"));
        let admin = ["operator.admin".to_owned()];
        assert_eq!(
            judge(DeviceText { scopes: &admin, ..text }, &good, Locality::Local),
            Err("device_signature_invalid")
        );
        assert_eq!(
            judge(DeviceText { platform: "macos", ..text }, &good, Locality::Local),
            Err("device_signature_invalid")
        );
        let replayed = device.proof(&device.text(Some("old")).version3(), Some("old"));
        assert_eq!(judge(device.text(Some("old")), &replayed, Locality::Local), Err("device_nonce_mismatch"));
        let old = DeviceProof { signed_at: NOW - 700_000, ..good.clone() };
        assert_eq!(judge(text, &old, Locality::Local), Err("device_signature_expired"));
        let stolen = DeviceProof { id: "00".into(), ..good.clone() };
        assert_eq!(judge(text, &stolen, Locality::Local), Err("device_identity_mismatch"));
        let garbled = DeviceProof { signature: "zz".into(), ..good };
        assert_eq!(judge(text, &garbled, Locality::Local), Err("device_signature_malformed"));
    }
}
