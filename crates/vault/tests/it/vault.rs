use std::path::Path;

use moltbot_policy::secret::{SecretAct, SecretPermit};
use moltbot_policy::{Book, Entering, Entry, Recorded, Unrecorded, record};
use moltbot_vault::{
    FileKey, KEY_FILE, KeySource, SealError, StateDir, Unlocker, Vault, VaultError, Wrapping,
};
use secrecy::{ExposeSecret as _, SecretString};
use tempfile::{TempDir, tempdir};

use crate::{bytes_of, chmod, mode, put, variant};

/// What the original wrote, and the master key that it wrote it with.
const ORIGINAL: &str = include_str!("../../src/legacy/known.json");
const MASTER: &[u8] = b"000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n";

struct NoBook;

impl Book for NoBook {
    fn enter(&self, _entry: Entry) -> Result<u64, Unrecorded> {
        Ok(1)
    }

    fn enter_soon(&self, entries: Vec<Entry>) -> Entering {
        Box::pin(std::future::ready(self.enter_all(entries)))
    }
}

fn permit() -> Recorded<SecretPermit> {
    record(SecretPermit::for_owner(SecretAct::Load, "test", "test"), &NoBook).unwrap()
}

fn home() -> (TempDir, StateDir) {
    let home = tempdir().unwrap();
    let state = StateDir::open_or_create(home.path()).unwrap();
    (home, state)
}

fn unlocker(key_file: Option<&Path>, credentials: Option<&Path>) -> Unlocker<'static> {
    Unlocker {
        credentials: credentials.map(Path::to_owned),
        key_file: key_file.map(Path::to_owned),
        ask: &|| Ok(SecretString::from("correct horse battery staple")),
    }
}

#[test]
fn keys_are_drawn_once_and_belong_to_their_owner_alone() {
    let (home, state) = home();
    assert!(Vault::open(&state, &FileKey).unwrap().is_none());
    let vault = Vault::open_or_create(&state, &FileKey).unwrap();
    let file = home.path().join(KEY_FILE);
    assert_eq!((mode(&file), mode(file.parent().unwrap())), (0o400, 0o700));
    let sealed = vault.seal("a.b", b"secret").unwrap();
    let again = Vault::open_or_create(&state, &FileKey).unwrap();
    assert_eq!(**again.unseal("a.b", &sealed).unwrap(), *b"secret");
    assert_eq!((again.installation(), again.key_id()), (vault.installation(), vault.key_id()));
    assert_eq!(*again.mac_key("x"), *vault.mac_key("x"));
    assert_ne!(*again.mac_key("x"), *vault.mac_key("y"));
    assert!(!format!("{vault:?}").contains("file"), "{vault:?}");
}

#[test]
fn d_41_a_key_file_that_cannot_be_read_is_never_replaced_by_a_new_one() {
    let (home, state) = home();
    let vault = Vault::open_or_create(&state, &FileKey).unwrap();
    state.folder("ledger").unwrap().write("signing.key", &vault.seal("x", b"x").unwrap()).unwrap();
    let file = home.path().join(KEY_FILE);
    let whole = bytes_of(&file);
    state.remove(KEY_FILE).unwrap();
    for _ in 0..2 {
        let error = Vault::open_or_create(&state, &FileKey).unwrap_err();
        assert!(matches!(error, VaultError::Lost { .. }), "{error}");
        assert!(!file.exists(), "no new key is made where something is sealed");
    }
    for damage in [&b""[..], b"\n", &whole[..20], b"moltbot keys v2\n"] {
        put(&file, damage);
        chmod(&file, 0o400);
        assert_eq!(variant(&Vault::open_or_create(&state, &FileKey).unwrap_err()), "Damaged");
        assert_eq!(bytes_of(&file), damage, "it stays as it was found");
        state.remove(KEY_FILE).unwrap();
    }
    put(&file, &whole);
    chmod(&file, 0o400);
    assert_eq!(Vault::open_or_create(&state, &FileKey).unwrap().key_id(), vault.key_id());
}

#[test]
fn d_42_empty_short_wide_linked_and_foreign_key_files_are_refused() {
    let (home, state) = home();
    Vault::open_or_create(&state, &FileKey).unwrap();
    let file = home.path().join(KEY_FILE);
    let whole = bytes_of(&file);
    for wide in [0o440, 0o404, 0o600, 0o644, 0o777, 0o4400] {
        chmod(&file, wide);
        let error = Vault::open(&state, &FileKey).unwrap_err();
        assert!(matches!(error, VaultError::Exposed { mode, .. } if mode == wide), "{wide:o}: {error}");
        assert!(error.to_string().contains("chmod 400"), "{error}");
    }
    chmod(&file, 0o400);
    let elsewhere = home.path().join("elsewhere");
    put(&elsewhere, &whole);
    chmod(&elsewhere, 0o400);
    state.remove(KEY_FILE).unwrap();
    std::os::unix::fs::symlink(&elsewhere, &file).unwrap();
    let error = Vault::open_or_create(&state, &FileKey).unwrap_err();
    assert!(moltbot_chain(&error).contains("symbolic link"), "{error}");
    state.remove(KEY_FILE).unwrap();
    std::fs::hard_link(&elsewhere, &file).unwrap();
    assert_eq!(variant(&Vault::open_or_create(&state, &FileKey).unwrap_err()), "Damaged");
    state.remove(KEY_FILE).unwrap();
    for text in ["", "00", "not a key", &"0".repeat(63), &"0".repeat(66)] {
        put(&file, text.as_bytes());
        chmod(&file, 0o400);
        assert_eq!(variant(&Vault::open_or_create(&state, &FileKey).unwrap_err()), "Damaged", "{text:?}");
        state.remove(KEY_FILE).unwrap();
    }
    if rustix::process::geteuid().is_root() {
        put(&file, &whole);
        chmod(&file, 0o400);
        std::os::unix::fs::chown(&file, Some(65534), None).unwrap();
        assert_eq!(variant(&Vault::open_or_create(&state, &FileKey).unwrap_err()), "Foreign");
    }
}

#[test]
fn d_43_many_that_begin_at_once_have_one_key() {
    // Often, because who looks at a file that is just being made has a short moment for it.
    for _ in 0..50 {
        let (_home, state) = home();
        let ids: Vec<String> = std::thread::scope(|scope| {
            let begin = || Vault::open_or_create(&state, &FileKey).unwrap().key_id();
            let threads: Vec<_> = (0..16).map(|_| scope.spawn(begin)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    }
}

#[test]
fn d_44_a_value_does_not_open_at_another_place_or_in_another_installation() {
    let ((_one, state), (_other, other)) = (home(), home());
    let (vault, other) =
        (Vault::open_or_create(&state, &FileKey).unwrap(), Vault::open_or_create(&other, &FileKey).unwrap());
    let permit = permit();
    let secrets = vault.secrets(&permit);
    let sealed = secrets.seal("gateway.auth.token", &SecretString::from("the token")).unwrap();
    assert_eq!(secrets.unseal("gateway.auth.token", &sealed).unwrap().expose_secret(), "the token");
    let moved = secrets.unseal("channels.evil.token", &sealed).unwrap_err();
    assert!(matches!(moved, SealError::Unseal { .. }), "{moved}");
    let foreign = other.secrets(&permit).unseal("gateway.auth.token", &sealed).unwrap_err();
    assert!(matches!(foreign, SealError::UnknownKey { .. }), "{foreign}");
    for text in
        ["", "the token", "sealed:v1:aes-256-gcm:hkdf-sha256:", "sealed:v2:x", sealed.get(..60).unwrap()]
    {
        let error = secrets.unseal("gateway.auth.token", text).unwrap_err();
        assert!(matches!(error, SealError::Form { .. }), "{text}: {error}");
        assert!(!error.to_string().contains("the token"), "{error}");
    }
}

#[test]
fn a_passphrase_a_file_or_a_credential_unwraps_and_nothing_else_does() {
    let (home, state) = home();
    let vault = Vault::open_or_create(&state, &FileKey).unwrap();
    let sealed = vault.seal("a", b"x").unwrap();
    let key = home.path().join("moltbot-key");
    put(&key, &[b"7".repeat(64), b"\n".to_vec()].concat());
    chmod(&key, 0o400);
    let (by_file, by_systemd) = (unlocker(Some(&key), None), unlocker(None, Some(home.path())));
    let passphrase = || Wrapping::Passphrase(SecretString::from("correct horse battery staple"));
    let mut vault = vault;
    for (wrapping, unlock, name) in [
        (Wrapping::Key(KeySource::File), &by_file, "file"),
        (passphrase(), &by_file, "passphrase"),
        (Wrapping::Key(KeySource::Systemd), &by_systemd, "systemd"),
    ] {
        vault = vault.rekey(&state, &wrapping, unlock).unwrap();
        assert_eq!(vault.wrapping(), name);
        let opened = Vault::open(&state, unlock).unwrap().unwrap();
        assert_eq!(**opened.unseal("a", &sealed).unwrap(), *b"x", "{name}");
        let text = String::from_utf8(bytes_of(&home.path().join(KEY_FILE))).unwrap();
        assert!(text.contains(&format!("\nwrap {name}")), "{text}");
        assert_eq!(variant(&Vault::open(&state, &FileKey).unwrap_err()), "Unlock", "{name}");
    }
    // Another key, a wider mode, or none: refused, and the file stays.
    put_key(&key, &[b"8".repeat(64)].concat(), 0o400);
    assert_eq!(variant(&Vault::open(&state, &by_systemd).unwrap_err()), "Damaged");
    put_key(&key, &[b"7".repeat(64)].concat(), 0o440);
    assert_eq!(variant(&Vault::open(&state, &by_systemd).unwrap_err()), "Unlock");
    put_key(&key, &[b"7".repeat(64)].concat(), 0o400);
    vault = vault.rekey(&state, &Wrapping::None, &FileKey).unwrap();
    assert_eq!(**Vault::open(&state, &FileKey).unwrap().unwrap().unseal("a", &sealed).unwrap(), *b"x");
    assert_eq!(vault.generation(), 5);
}

#[test]
fn a_wrong_passphrase_opens_nothing_and_a_short_one_is_not_taken() {
    let (_home, state) = home();
    let vault = Vault::open_or_create(&state, &FileKey).unwrap();
    let short = Wrapping::Passphrase(SecretString::from("fourteen chars"));
    assert_eq!(variant(&vault.rekey(&state, &short, &FileKey).unwrap_err()), "Unlock");
    let long = Wrapping::Passphrase(SecretString::from("fifteen chars !"));
    vault.rekey(&state, &long, &FileKey).unwrap();
    let error = Vault::open(&state, &unlocker(None, None)).unwrap_err();
    assert!(error.to_string().contains("the passphrase or the wrapping key is wrong"), "{error}");
}

#[test]
fn while_a_rotation_lasts_both_keys_open_and_afterwards_only_the_new_one() {
    let (_home, state) = home();
    let first = Vault::open_or_create(&state, &FileKey).unwrap();
    let old = first.seal("a", b"old").unwrap();
    let rotating = first.begin_rotation(&state).unwrap();
    assert!(rotating.is_rotating() && !rotating.is_current(&old));
    assert_eq!(*rotating.mac_key("x"), *first.mac_key("x"), "hashes stay findable");
    let new = rotating.seal("a", b"new").unwrap();
    assert!(rotating.is_current(&new));
    let again = rotating.begin_rotation(&state).unwrap();
    assert_eq!(again.key_id(), rotating.key_id(), "a rotation that has begun goes on");
    for vault in [rotating, again, Vault::open(&state, &FileKey).unwrap().unwrap()] {
        assert_eq!(**vault.unseal("a", &old).unwrap(), *b"old");
        assert_eq!(**vault.unseal("a", &new).unwrap(), *b"new");
    }
    let ended = first.end_rotation(&state).unwrap();
    assert_eq!(**ended.unseal("a", &new).unwrap(), *b"new");
    assert!(matches!(ended.unseal("a", &old).unwrap_err(), SealError::UnknownKey { .. }));
    assert!(!ended.is_rotating());
}

#[test]
fn d_47_a_passphrase_is_derived_once_and_not_for_each_value() {
    let (_home, state) = home();
    let vault = Vault::open_or_create(&state, &FileKey).unwrap();
    let sealed: Vec<Vec<u8>> = (0..100).map(|n| vault.seal(&format!("p{n}"), b"x").unwrap()).collect();
    let passphrase = Wrapping::Passphrase(SecretString::from("correct horse battery staple"));
    vault.rekey(&state, &passphrase, &FileKey).unwrap();
    let asked = std::cell::Cell::new(0);
    let ask = || {
        asked.set(asked.get() + 1);
        Ok(SecretString::from("correct horse battery staple"))
    };
    let unlocker = Unlocker { credentials: None, key_file: None, ask: &ask };
    let vault = Vault::open(&state, &unlocker).unwrap().unwrap();
    for (n, sealed) in sealed.iter().enumerate() {
        assert_eq!(**vault.unseal(&format!("p{n}"), sealed).unwrap(), *b"x");
    }
    assert_eq!(asked.get(), 1);
}

#[test]
fn d_55_what_is_printed_of_keys_and_secrets_has_none_of_them_in_it() {
    let (home, state) = home();
    let vault = Vault::open_or_create(&state, &FileKey).unwrap();
    let permit = permit();
    let text = String::from_utf8(bytes_of(&home.path().join(KEY_FILE))).unwrap();
    let keys = text.lines().find_map(|line| line.strip_prefix("keys ")).unwrap();
    let secrets = vault.secrets(&permit);
    let sealed = secrets.seal("a", &SecretString::from("hunter2-of-mine")).unwrap();
    let printed = format!(
        "{vault:?} {secrets:?} {:?} {:?}",
        secrets.unseal("a", &sealed).unwrap(),
        secrets.unseal("b", &sealed).unwrap_err()
    );
    assert!(!printed.contains("hunter2") && !printed.contains(keys.get(..40).unwrap()), "{printed}");
}

#[test]
fn the_installation_is_marked_sealed_once_for_all() {
    let (_home, state) = home();
    let vault = Vault::open_or_create(&state, &FileKey).unwrap();
    assert!(!vault.is_sealed());
    assert!(vault.mark_sealed(&state).unwrap().is_sealed());
    assert!(Vault::open(&state, &FileKey).unwrap().unwrap().begin_rotation(&state).unwrap().is_sealed());
}

#[test]
fn an_older_key_file_is_neither_opened_nor_changed_until_its_owner_accepts_it() {
    let (home, state) = home();
    let first = Vault::open_or_create(&state, &FileKey).unwrap();
    assert_eq!(first.recorded_generation(&state).unwrap(), None);
    assert!(first.remember_generation(&state).unwrap() && !first.remember_generation(&state).unwrap());
    let (file, old) = (home.path().join(KEY_FILE), bytes_of(&home.path().join(KEY_FILE)));
    assert_eq!(first.next_generation(&state).unwrap(), 2);
    let second = first.begin_rotation(&state).unwrap().end_rotation(&state).unwrap();
    assert_eq!((second.generation(), second.recorded_generation(&state).unwrap()), (3, Some(3)));
    put_key(&file, &old, 0o400);
    for error in [
        Vault::open(&state, &FileKey).unwrap_err(),
        Vault::open_or_create(&state, &FileKey).unwrap_err(),
        // Who still has the newer keys in memory does not build on the older file either.
        second.mark_sealed(&state).unwrap_err(),
    ] {
        assert!(error.is_put_back() && variant(&error) == "PutBack", "{error}");
    }
    assert_eq!(bytes_of(&file), old, "it stays as it is");
    let older = Vault::open_as_it_is(&state, &FileKey).unwrap().unwrap();
    assert_eq!(older.accept(&state, 4).unwrap().key_id(), first.key_id());
    assert_eq!(Vault::open(&state, &FileKey).unwrap().unwrap().generation(), 4);
    assert!(older.accept(&state, 9).is_err(), "another file is there by now");
    // The original's key in its place would be taken for an installation to convert.
    put_key(&file, MASTER, 0o400);
    assert_eq!(variant(&Vault::open(&state, &FileKey).unwrap_err()), "Damaged");
    state.remove(KEY_FILE).unwrap();
    assert_eq!(variant(&Vault::open_or_create(&state, &FileKey).unwrap_err()), "Lost");
}

#[test]
fn the_originals_key_file_is_converted_and_opens_what_it_sealed() {
    let (home, state) = home();
    state.folder("keys").unwrap();
    put_key(&home.path().join(KEY_FILE), MASTER, 0o400);
    let vault = Vault::open_or_create(&state, &FileKey).unwrap();
    let vault = Vault::open(&state, &FileKey).unwrap().map(|again| (vault.key_id(), again)).unwrap();
    assert_eq!(vault.0, vault.1.key_id());
    let permit = permit();
    let opened = vault.1.secrets(&permit).unseal_original("x", ORIGINAL).unwrap();
    assert_eq!(opened.expose_secret(), "a token of the original");
    assert_eq!(mode(&home.path().join(KEY_FILE)), 0o400);
    let ended = vault.1.end_rotation(&state).unwrap();
    assert!(ended.secrets(&permit).unseal_original("x", ORIGINAL).is_err(), "its key goes with the old ones");
}

/// A copy of the state folder is worth nothing without what wraps its keys.
#[test]
fn j10_a_copied_state_folder_does_not_open_without_the_wrapping_key() {
    let ((_home, state), key_home, (copy, copied)) = (home(), tempdir().unwrap(), home());
    let key = key_home.path().join("wrapping.key");
    put_key(&key, &b"a".repeat(64), 0o400);
    let vault = Vault::open_or_create(&state, &FileKey).unwrap();
    vault.rekey(&state, &Wrapping::Key(KeySource::File), &unlocker(Some(&key), None)).unwrap();
    copied.folder("keys").unwrap();
    put_key(&copy.path().join(KEY_FILE), &bytes_of(&state.path().join(KEY_FILE)), 0o400);
    let error = Vault::open_or_create(&copied, &unlocker(None, None)).unwrap_err();
    assert!(moltbot_chain(&error).contains("MOLTBOT_KEY_FILE"), "{error}");
    assert!(Vault::open_or_create(&copied, &unlocker(Some(&key), None)).is_ok());
}

fn put_key(path: &Path, bytes: &[u8], mode: u32) {
    if path.exists() {
        chmod(path, 0o600);
    }
    put(path, bytes);
    chmod(path, mode);
}

fn moltbot_chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
