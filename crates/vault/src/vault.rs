//! The root keys of an installation, unlocked, and what is sealed with them.
//!
//! `keys/secrets.key` ([`crate::key_file`]) is made once and never replaced by a new one: what it sealed would be lost.
//! Whoever opens the vault holds the keys in memory until the last clone is dropped; they are erased then.

mod change;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hkdf::Hkdf;
use moltbot_config::hole;
use moltbot_policy::Recorded;
use moltbot_policy::secret::SecretPermit;
use rustix::fs::{Mode, OFlags};
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;
use thiserror::Error;
use zeroize::Zeroizing;

use crate::envelope::{self, Key, KeyId, SealError};
use crate::error::FileError;
use crate::folder::{read_all, require_file};
use crate::generation::{self, REGISTER};
use crate::key_file::{KeyFile, RootKey, Wrap, Wrapped};
use crate::legacy;
use crate::lock::LockError;
use crate::random::RandomError;
use crate::state_dir::StateDir;
use crate::unlock::{self, KeySource, Unlock, UnlockError};

/// Where the root keys are in the state folder.
pub const KEY_FILE: &str = "keys/secrets.key";
/// Held while the file is changed: two changes at once would lose one.
const LOCK: &str = "keys/writer.lock";
/// The largest file that is read, in bytes. It has 500.
const BYTES: u64 = 4096;
/// The owner may read it, and nobody may write it: it is replaced as a whole.
const MODE: Mode = Mode::RUSR;
/// Files that were sealed by a key of this installation: where one is, the key file is not new but lost.
const WITNESSES: [&str; 3] = ["ledger/signing.key", REGISTER, "history"];

/// Why the vault could not be opened or changed.
#[derive(Debug, Error)]
#[expect(missing_docs, reason = "each message names its fields")]
#[non_exhaustive]
pub enum VaultError {
    /// It is there, and is not what moltbot wrote.
    #[error(
        "{path} cannot be used: {what}; restore it from a backup; a new one would open nothing that is sealed"
    )]
    Damaged { path: PathBuf, what: &'static str },
    /// Others can read or change it, so the key may be known to them.
    #[error(
        "{path} is open to others (mode {mode:04o}); run `chmod 400` on it, then `moltbot secrets rotate`, because others may know the key"
    )]
    Exposed { path: PathBuf, mode: u32 },
    /// It is no export of secrets, or does not open.
    #[error("the exported secrets cannot be used: {what}")]
    Export { what: &'static str },
    /// The disk refused.
    #[error("the root keys cannot be kept")]
    File(#[from] FileError),
    /// Somebody else's.
    #[error("{path} belongs to user {owner}, not to user {user} who runs this; change its owner")]
    Foreign { path: PathBuf, owner: u32, user: u32 },
    /// Another process changes it.
    #[error("another process changes the root keys; try again")]
    Lock(#[from] LockError),
    /// It is gone, although something was sealed with it.
    #[error(
        "{path} is missing, but {witness} was sealed with it; restore the key file from a backup, or move {witness} away to begin anew without what is sealed"
    )]
    Lost { path: PathBuf, witness: String },
    /// It is older than the newest that was written here.
    #[error(
        "{path} is an older one, generation {generation}, and {recorded} is the newest: it was put back, perhaps with an older config; put the newest key file back from a backup; where there is none, `moltbot secrets accept-keys` goes on with this one, and what was sealed with a newer key stays closed"
    )]
    PutBack { path: PathBuf, generation: u64, recorded: u64 },
    /// No random bytes.
    #[error("a key cannot be drawn")]
    Random(#[from] RandomError),
    /// What remembers the newest generation is not there, or is not of these keys.
    #[error(
        "{path} does not tell whether keys/secrets.key is the newest: {what}; restore both from one backup, or go on with the key file as it is by `moltbot secrets accept-keys`"
    )]
    Register { path: PathBuf, what: &'static str },
    /// The keys could not be wrapped.
    #[error("the root keys cannot be wrapped")]
    Seal(#[from] SealError),
    /// What unwraps it is not there.
    #[error("the root keys cannot be unlocked")]
    Unlock(#[from] UnlockError),
}

impl VaultError {
    /// Whether the key file may be an older one that was put back: the owner may accept it.
    pub const fn is_put_back(&self) -> bool {
        matches!(self, Self::PutBack { .. } | Self::Register { .. })
    }

    /// The newest generation is remembered no more, although the book tells of one.
    pub fn missing_register(state: &StateDir) -> Self {
        let what = "it is missing, although the book tells of it";
        Self::Register { path: state.path().join(REGISTER), what }
    }
}

/// How root keys are to be wrapped from now on.
#[derive(Debug)]
pub enum Wrapping {
    /// By a key from a file or systemd.
    Key(KeySource),
    /// By a new key in the operating system's keyring.
    Keyring,
    /// Not at all: the file's mode alone protects them.
    None,
    /// By a passphrase.
    Passphrase(SecretString),
}

/// The unlocked root keys. Clones share them.
#[derive(Clone)]
pub struct Vault {
    inner: Arc<Inner>,
}

struct Inner {
    file: KeyFile,
    wrapping: Option<RootKey>,
    current: KeyId,
    previous: Option<KeyId>,
}

impl Vault {
    /// Opens the installation's root keys; nothing when it has none yet.
    ///
    /// # Errors
    /// When the file is not private, is damaged, cannot be unlocked, or is older than the newest that was written
    /// ([`VaultError::is_put_back`]). Never a new key in its place.
    pub fn open(state: &StateDir, unlock: &dyn Unlock) -> Result<Option<Self>, VaultError> {
        let Some(vault) = Self::open_as_it_is(state, unlock)? else { return Ok(None) };
        vault.inner.file.require_newest(state)?;
        Ok(Some(vault))
    }

    /// Like [`Vault::open`], whatever the newest generation is: for the owner who is about to accept the file.
    ///
    /// # Errors
    /// When the file is not private, is damaged, or cannot be unlocked.
    pub fn open_as_it_is(state: &StateDir, unlock: &dyn Unlock) -> Result<Option<Self>, VaultError> {
        let path = state.path().join(KEY_FILE);
        let Some(bytes) = read(state, &path)? else { return Ok(None) };
        if let Some(master) = envelope::key_of_hex(&bytes) {
            if generation::is_there(state)? {
                let what = "the key file of the original lies in the place of moltbot's";
                return Err(VaultError::Damaged { path, what });
            }
            return Self::adopt(state, master).map(Some);
        }
        let damaged = |what| VaultError::Damaged { path: path.clone(), what };
        let wrapped = Wrapped::parse(&bytes).map_err(damaged)?;
        let wrapping = unlock::wrapping_key(&wrapped.wrap, &wrapped.installation, unlock)?.map(locked);
        Ok(Some(Self::of(wrapped.open(wrapping.as_ref()).map_err(damaged)?, wrapping)))
    }

    /// Like [`Vault::open`] for those who only look: a key file of the original is not taken over.
    ///
    /// # Errors
    /// As [`Vault::open`]; [`VaultError::Damaged`] when the key file is the original's.
    pub fn look(state: &StateDir, unlock: &dyn Unlock) -> Result<Option<Self>, VaultError> {
        let path = state.path().join(KEY_FILE);
        let is_original = read(state, &path)?.is_some_and(|bytes| envelope::key_of_hex(&bytes).is_some());
        if is_original {
            let what = "the key file is the original's; the next start takes it over";
            return Err(VaultError::Damaged { path, what });
        }
        Self::open(state, unlock)
    }

    /// Opens the installation's root keys, or draws them. When this returns they are on disk.
    ///
    /// # Errors
    /// As [`Vault::open`]; [`VaultError::Lost`] when there is no file but something that was sealed with one.
    pub fn open_or_create(state: &StateDir, unlock: &dyn Unlock) -> Result<Self, VaultError> {
        Self::begin(state, unlock, false)
    }

    /// Like [`Vault::open_or_create`] for an installation that has no config yet: nothing in it was ever plaintext, so
    /// it is marked sealed from its first moment.
    ///
    /// # Errors
    /// As [`Vault::open_or_create`].
    pub fn begin_sealed(state: &StateDir, unlock: &dyn Unlock) -> Result<Self, VaultError> {
        Self::begin(state, unlock, true)
    }

    fn begin(state: &StateDir, unlock: &dyn Unlock, sealed: bool) -> Result<Self, VaultError> {
        if let Some(vault) = Self::open(state, unlock)? {
            return Ok(vault);
        }
        let path = state.path().join(KEY_FILE);
        for witness in WITNESSES {
            if state.inner().look(witness)?.is_some() {
                return Err(VaultError::Lost { path, witness: witness.to_owned() });
            }
        }
        let file = KeyFile { sealed, ..KeyFile::draw()? };
        let bytes = file.encode(None)?;
        if state.inner().create_with(KEY_FILE, &bytes, MODE)? {
            return Ok(Self::of(file, None));
        }
        // Another process was faster: there is one key for all.
        let vanished = || VaultError::Damaged { path, what: "it vanished" };
        Self::open(state, unlock)?.ok_or_else(vanished)
    }

    /// What wraps the root keys, without opening them; nothing when there are none yet.
    ///
    /// # Errors
    /// When the file is not private, or is damaged.
    pub fn wrapping_in(state: &StateDir) -> Result<Option<&'static str>, VaultError> {
        let path = state.path().join(KEY_FILE);
        let Some(bytes) = read(state, &path)? else { return Ok(None) };
        if envelope::key_of_hex(&bytes).is_some() {
            return Ok(Some(Wrap::None.name()));
        }
        let damaged = |what| VaultError::Damaged { path, what };
        Ok(Some(Wrapped::parse(&bytes).map_err(damaged)?.wrap.name()))
    }

    /// The installation's id, a UUID.
    pub fn installation(&self) -> &str {
        &self.inner.file.installation
    }

    /// Whether a plaintext secret in a sealed place is an error.
    pub fn is_sealed(&self) -> bool {
        self.inner.file.sealed
    }

    /// Whether a rotation has begun and not ended.
    pub fn is_rotating(&self) -> bool {
        self.inner.previous.is_some()
    }

    /// What wraps the root keys: `none`, `passphrase`, `keyring`, `systemd` or `file`.
    pub fn wrapping(&self) -> &'static str {
        self.inner.file.wrap.name()
    }

    /// How often the key file was written.
    pub fn generation(&self) -> u64 {
        self.inner.file.generation
    }

    /// The id of the root key that seals now, in hex.
    pub fn key_id(&self) -> String {
        self.inner.current.to_hex()
    }

    /// A key for `purpose` that stays the same when root keys rotate: salts of hashes.
    pub fn mac_key(&self, purpose: &str) -> Zeroizing<[u8; 32]> {
        let (key, _) = Hkdf::<Sha256>::extract(Some(purpose.as_bytes()), &*self.inner.file.keys.lasting);
        Zeroizing::new(key.into())
    }

    /// Seals bytes for `place`.
    ///
    /// # Errors
    /// When there are no random bytes.
    pub fn seal(&self, place: &str, plain: &[u8]) -> Result<Vec<u8>, SealError> {
        let place = if hole!("swapped-envelope") { "" } else { place };
        envelope::seal(&self.inner.file.keys.current, self.installation(), place, plain)
    }

    /// Opens what was sealed for `place`.
    ///
    /// # Errors
    /// When it was changed, moved, cut, or sealed with a key that this installation does not have.
    pub fn unseal(&self, place: &str, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealError> {
        let inner = &self.inner;
        let form =
            || SealError::Form { place: place.to_owned(), what: "its version or its length is not right" };
        let id = envelope::key_id(sealed).ok_or_else(form)?;
        let unknown = || SealError::UnknownKey { place: place.to_owned(), key: id.to_hex() };
        let root = if id == inner.current {
            &inner.file.keys.current
        } else if inner.previous == Some(id) {
            inner.file.keys.previous.as_ref().ok_or_else(unknown)?
        } else {
            return Err(unknown());
        };
        let place = if hole!("swapped-envelope") { "" } else { place };
        envelope::open(root, self.installation(), place, sealed)
    }

    /// Whether `sealed` was sealed with the root key that seals now.
    pub fn is_current(&self, sealed: &[u8]) -> bool {
        envelope::key_id(sealed) == Some(self.inner.current)
    }

    /// The owner's secrets, for the act that is in the book.
    pub fn secrets(&self, permit: &Recorded<SecretPermit>) -> Secrets<'_> {
        tracing::trace!(sequence = permit.sequence(), "the owner's secrets are opened");
        Secrets { vault: self }
    }

    /// The owner's secrets for the command line, which checks them and signs in to its own gateway with one. Whoever
    /// shows or changes one asks for [`Vault::secrets`]: the gateway records the sign-in, and two processes do not write
    /// one book.
    pub const fn own_credential(&self) -> Secrets<'_> {
        Secrets { vault: self }
    }

    /// Takes over an installation of the original: new root keys, and its master key to open what it sealed.
    fn adopt(state: &StateDir, master: Key) -> Result<Self, VaultError> {
        let _lock = state.lock(LOCK, &[])?;
        let mut file = KeyFile::draw()?;
        file.keys.original = Some(locked(master));
        state.inner().replace(KEY_FILE, &file.encode(None)?, MODE)?;
        tracing::warn!(
            "the original's key file was converted; its values are sealed again when they are written"
        );
        Ok(Self::of(file, None))
    }

    fn of(file: KeyFile, wrapping: Option<RootKey>) -> Self {
        let current = KeyId::of(&file.keys.current);
        let previous = file.keys.previous.as_ref().map(|key| KeyId::of(key));
        Self { inner: Arc::new(Inner { file, wrapping, current, previous }) }
    }
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (installation, key) = (self.installation(), self.key_id());
        f.debug_struct("Vault")
            .field("installation", &installation)
            .field("key", &key)
            .finish_non_exhaustive()
    }
}

/// The owner's secrets, sealed as texts: opened and sealed for a recorded act.
#[derive(Debug)]
pub struct Secrets<'a> {
    vault: &'a Vault,
}

impl Secrets<'_> {
    /// The text form of a sealed secret: [`moltbot_config::SEALED_PREFIX`], then base64url.
    ///
    /// # Errors
    /// When there are no random bytes.
    pub fn seal(&self, place: &str, plain: &SecretString) -> Result<String, SealError> {
        Ok(envelope::to_text(&self.vault.seal(place, plain.expose_secret().as_bytes())?))
    }

    /// Opens a text form.
    ///
    /// # Errors
    /// As [`Vault::unseal`].
    pub fn unseal(&self, place: &str, sealed: &str) -> Result<SecretString, SealError> {
        let plain = self.vault.unseal(place, &envelope::from_text(place, sealed)?)?;
        let form = |_| SealError::Form { place: place.to_owned(), what: "what is in it is not UTF-8" };
        Ok(SecretString::from(std::str::from_utf8(&plain).map_err(form)?))
    }

    /// Opens what the original sealed: a text that holds JSON.
    ///
    /// # Errors
    /// When its key is not there, or it was changed.
    pub fn unseal_original(&self, place: &str, sealed: &str) -> Result<SecretString, SealError> {
        let unknown = || SealError::UnknownKey { place: place.to_owned(), key: "of the original".into() };
        let master = self.vault.inner.file.keys.original.as_ref().ok_or_else(unknown)?;
        legacy::open(master, place, sealed)
    }

    /// Whether a text form was sealed with the root key that seals now.
    pub fn is_current(&self, place: &str, sealed: &str) -> bool {
        envelope::from_text(place, sealed).is_ok_and(|sealed| self.vault.is_current(&sealed))
    }
}

/// A key that stays, on a page of its own.
fn locked(mut key: Key) -> RootKey {
    RootKey::take(&mut key)
}

/// The bytes of the key file, when it is private; nothing when there is none, and only then.
fn read(state: &StateDir, path: &Path) -> Result<Option<Zeroizing<Vec<u8>>>, VaultError> {
    let fd = match state.inner().open(KEY_FILE, OFlags::RDONLY, Mode::empty()) {
        Err(FileError::Missing { .. }) => return Ok(None),
        opened => opened?,
    };
    let (fd, stat) = require_file(fd, path)?;
    let user = rustix::process::geteuid().as_raw();
    if stat.st_uid != user {
        return Err(VaultError::Foreign { path: path.to_owned(), owner: stat.st_uid, user });
    }
    let mode = stat.st_mode & 0o7777;
    if mode & !MODE.as_raw_mode() != 0 {
        return Err(VaultError::Exposed { path: path.to_owned(), mode });
    }
    if stat.st_nlink != 1 {
        let what = "it has a second name (a hard link), by which others could reach it";
        return Err(VaultError::Damaged { path: path.to_owned(), what });
    }
    Ok(Some(Zeroizing::new(read_all(&fd, &stat, BYTES, path)?)))
}
