use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::{Signature, VerifyingKey};
use moltbot_vault::{DeviceKey, KeyError, StateDir};
use serde_json::{Value, json};
use tempfile::tempdir;

use crate::{bytes_of, mode};

/// The example key of RFC 8410, section 10.3, without attributes, as other clients' libraries write it.
const PRIVATE: &str = "-----BEGIN PRIVATE KEY-----\n\
    MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n\
    -----END PRIVATE KEY-----\n";
/// Its public half, section 10.1.
const PUBLIC: &str = "-----BEGIN PUBLIC KEY-----\n\
    MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n\
    -----END PUBLIC KEY-----\n";
const NAME: &str = "identity/device.json";

fn verifies(key: &DeviceKey, text: &str) -> bool {
    let raw: [u8; 32] = URL_SAFE_NO_PAD.decode(key.public_key()).unwrap().try_into().unwrap();
    let signature = Signature::from_slice(&URL_SAFE_NO_PAD.decode(key.sign(text)).unwrap()).unwrap();
    VerifyingKey::from_bytes(&raw).unwrap().verify_strict(text.as_bytes(), &signature).is_ok()
}

#[test]
fn a_key_is_made_once_and_private() {
    let home = tempdir().unwrap();
    let state = StateDir::open_or_create(home.path()).unwrap();
    let key = DeviceKey::load_or_create(&state, 1_800_000_000_000).unwrap();
    let again = DeviceKey::load_or_create(&state, 1_900_000_000_000).unwrap();
    assert_eq!((key.id(), key.public_key()), (again.id(), again.public_key()));
    assert!(verifies(&again, "v3|text") && key.id().len() == 64);
    let path = home.path().join(NAME);
    assert_eq!((mode(&path), mode(&home.path().join("identity"))), (0o600, 0o700));
    let file: Value = serde_json::from_slice(&bytes_of(&path)).unwrap();
    let members: Vec<&String> = file.as_object().unwrap().keys().collect();
    assert_eq!(members, ["createdAtMs", "deviceId", "privateKeyPem", "publicKeyPem", "version"]);
    assert_eq!((&file["version"], &file["createdAtMs"]), (&json!(1), &json!(1_800_000_000_000_u64)));
    let private = file["privateKeyPem"].as_str().unwrap();
    assert_eq!(private.len(), PRIVATE.len(), "the form without the public half: {}", private.len());
    assert!(!format!("{key:?}").contains("SigningKey"), "{key:?}");
}

#[test]
fn a_key_of_another_client_is_read() {
    let home = tempdir().unwrap();
    let state = StateDir::open_or_create(home.path()).unwrap();
    let file = json!({
        "version": 1, "deviceId": "stale", "publicKeyPem": PUBLIC, "privateKeyPem": PRIVATE, "createdAtMs": 5,
    });
    state.write(NAME, file.to_string().as_bytes()).unwrap();
    let key = DeviceKey::load_or_create(&state, 0).unwrap();
    assert_eq!(key.public_key(), "Gb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE");
    assert_eq!(key.id(), "e744c0791320c3285460eddb523f14c88d857ada46b97a5690d88cf978b9191f");
    assert!(verifies(&key, "text"));
}

#[test]
fn a_damaged_key_is_never_replaced() {
    let home = tempdir().unwrap();
    let state = StateDir::open_or_create(home.path()).unwrap();
    let other = DeviceKey::load_or_create(&StateDir::open_or_create(&home.path().join("other")).unwrap(), 0)
        .map(|_| ());
    other.unwrap();
    let foreign: Value = serde_json::from_slice(&bytes_of(&home.path().join("other").join(NAME))).unwrap();
    let public = foreign["publicKeyPem"].as_str().unwrap();
    for (file, what) in [
        (String::new(), "members"),
        ("{}".into(), "members"),
        (json!({"version": 2, "publicKeyPem": PUBLIC, "privateKeyPem": PRIVATE}).to_string(), "version"),
        (json!({"version": 1, "publicKeyPem": PUBLIC, "privateKeyPem": "x"}).to_string(), "private key"),
        (json!({"version": 1, "publicKeyPem": "x", "privateKeyPem": PRIVATE}).to_string(), "public key"),
        (json!({"version": 1, "publicKeyPem": public, "privateKeyPem": PRIVATE}).to_string(), "together"),
    ] {
        state.write(NAME, file.as_bytes()).unwrap();
        let error = DeviceKey::load_or_create(&state, 0).unwrap_err();
        assert!(matches!(error, KeyError::Damaged { .. }) && error.to_string().contains(what), "{error}");
        assert_eq!(bytes_of(&home.path().join(NAME)), file.as_bytes());
    }
}
