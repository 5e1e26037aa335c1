//! Where the key that wraps the root keys comes from: a passphrase, systemd, the environment's file, the keyring.

use std::path::PathBuf;
use std::sync::{Condvar, Mutex, PoisonError};

use rustix::fs::{Mode, OFlags};
use scrypt::{Params, scrypt};
use secrecy::{ExposeSecret, SecretString};
use thiserror::Error;
use zeroize::Zeroizing;

use crate::envelope::{self, KEY, Key};
use crate::error::FileError;
use crate::folder::{read_all, require_file};
use crate::key_file::{SALT, Wrap};
use crate::keyring::{self, Item};
use crate::random::RandomError;
use crate::root::open_parent;

/// The name of the credential that systemd hands over (`LoadCredentialEncrypted=moltbot-key:…`).
pub const SYSTEMD_CREDENTIAL: &str = "moltbot-key";
/// Derivations at once: each takes 128 MiB.
const AT_ONCE: usize = 2;
/// The cost of a new passphrase: 2^17, with r=8 and p=1 (OWASP's first choice for scrypt).
pub(crate) const LOG_N: u8 = 17;
/// The least length of a new passphrase, in characters, as for the gateway's password.
const PASSPHRASE_CHARS: usize = 15;

/// Where a wrapping key of 32 bytes comes from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum KeySource {
    /// A file that the environment names, best on another volume.
    File,
    /// A credential that systemd hands over.
    Systemd,
}

/// Gives what unwraps the root keys. Each is asked for only when the key file says that it is needed.
pub trait Unlock {
    /// The passphrase.
    ///
    /// # Errors
    /// When nobody can be asked, or nobody answers.
    fn passphrase(&self) -> Result<SecretString, UnlockError>;

    /// The wrapping key from `source`.
    ///
    /// # Errors
    /// When it is not there, or is not private.
    fn key(&self, source: KeySource) -> Result<Zeroizing<[u8; 32]>, UnlockError>;
}

/// Why the wrapping key could not be had.
#[derive(Debug, Error)]
#[expect(missing_docs, reason = "each message names its fields")]
#[non_exhaustive]
pub enum UnlockError {
    /// The passphrase could not be asked for.
    #[error("the passphrase of keys/secrets.key is needed: {what}")]
    Ask { what: String },
    /// The file with the wrapping key cannot be read.
    #[error("the wrapping key cannot be read")]
    File(#[from] FileError),
    /// The operating system's keyring does not give or take the wrapping key.
    #[error("the operating system's keyring cannot wrap or unwrap keys/secrets.key: {what}")]
    Keyring { what: String },
    /// What is there is no key.
    #[error(
        "{path} is no wrapping key: {what}; it holds 64 hex digits in a file that its owner alone may read"
    )]
    NoKey { path: PathBuf, what: &'static str },
    /// The source is not there.
    #[error("keys/secrets.key is wrapped by {source_name}, which is not there: {fix}")]
    Source { source_name: &'static str, fix: &'static str },
    /// The passphrase is too short for a new one.
    #[error("the passphrase has {found} characters; it needs at least {least}")]
    Weak { found: usize, least: usize },
    /// Too little memory, or no random salt.
    #[error("the passphrase cannot be turned into a key: {what}")]
    Derive { what: &'static str },
    /// No random bytes for a salt.
    #[error("no salt can be drawn")]
    Random(#[from] RandomError),
}

/// Unlocks a key file that nothing wraps, and no other.
#[derive(Clone, Copy, Debug)]
pub struct FileKey;

impl Unlock for FileKey {
    fn passphrase(&self) -> Result<SecretString, UnlockError> {
        Err(UnlockError::Ask { what: "nobody can be asked here".into() })
    }

    fn key(&self, source: KeySource) -> Result<Zeroizing<[u8; 32]>, UnlockError> {
        Err(missing(source))
    }
}

/// Wrapping keys in files, and a passphrase from whoever `ask` asks.
pub struct Unlocker<'a> {
    /// The folder of systemd's credentials (`$CREDENTIALS_DIRECTORY`).
    pub credentials: Option<PathBuf>,
    /// The file that the environment names (`MOLTBOT_KEY_FILE`).
    pub key_file: Option<PathBuf>,
    /// Asks for the passphrase.
    pub ask: &'a dyn Fn() -> Result<SecretString, String>,
}

impl Unlock for Unlocker<'_> {
    fn passphrase(&self) -> Result<SecretString, UnlockError> {
        (self.ask)().map_err(|what| UnlockError::Ask { what })
    }

    fn key(&self, source: KeySource) -> Result<Zeroizing<[u8; 32]>, UnlockError> {
        let path = match source {
            KeySource::File => self.key_file.clone(),
            KeySource::Systemd => self.credentials.as_ref().map(|folder| folder.join(SYSTEMD_CREDENTIAL)),
        };
        read_key(&path.ok_or_else(|| missing(source))?)
    }
}

fn missing(source: KeySource) -> UnlockError {
    let (source_name, fix) = match source {
        KeySource::File => ("a key file", "set MOLTBOT_KEY_FILE to its absolute path"),
        KeySource::Systemd => (
            "a credential of systemd",
            "start it as a service with LoadCredentialEncrypted=moltbot-key:…, which sets CREDENTIALS_DIRECTORY",
        ),
    };
    UnlockError::Source { source_name, fix }
}

/// The key in a file: 64 hex digits, readable by its owner alone.
fn read_key(path: &std::path::Path) -> Result<Zeroizing<[u8; KEY]>, UnlockError> {
    const BYTES: u64 = 128;
    let (folder, leaf) = open_parent(path)?;
    let (fd, stat) = require_file(folder.open(leaf, OFlags::RDONLY, Mode::empty())?, path)?;
    let no_key = |what| UnlockError::NoKey { path: path.to_owned(), what };
    let user = rustix::process::geteuid().as_raw();
    if stat.st_uid != user && stat.st_uid != 0 {
        return Err(no_key("it belongs to somebody else"));
    }
    if stat.st_mode & 0o077 != 0 {
        return Err(no_key("others may read or write it"));
    }
    let bytes = Zeroizing::new(read_all(&fd, &stat, BYTES, path)?);
    envelope::key_of_hex(&bytes).ok_or_else(|| no_key("it is something else"))
}

/// The wrapping key that a key file asks for; nothing when it is not wrapped.
pub(crate) fn wrapping_key(
    wrap: &Wrap,
    installation: &str,
    unlock: &dyn Unlock,
) -> Result<Option<Key>, UnlockError> {
    match wrap {
        Wrap::File => unlock.key(KeySource::File).map(Some),
        Wrap::Keyring { item } => keyring::read(Item { installation, id: item }).map(Some),
        Wrap::None => Ok(None),
        Wrap::Passphrase { log_n, salt } => derive(&unlock.passphrase()?, *log_n, salt).map(Some),
        Wrap::Systemd => unlock.key(KeySource::Systemd).map(Some),
    }
}

/// Refuses a passphrase that is too short for a new one.
pub(crate) fn require_strong(passphrase: &SecretString) -> Result<(), UnlockError> {
    let found = passphrase.expose_secret().chars().count();
    if found < PASSPHRASE_CHARS {
        return Err(UnlockError::Weak { found, least: PASSPHRASE_CHARS });
    }
    Ok(())
}

/// The wrapping key of a passphrase. It waits while two others are derived: each takes 128 MiB.
pub(crate) fn derive(passphrase: &SecretString, log_n: u8, salt: &[u8; SALT]) -> Result<Key, UnlockError> {
    let _turn = Turn::take();
    let params =
        Params::new(log_n, 8, 1).map_err(|_| UnlockError::Derive { what: "its cost is not possible" })?;
    let mut key = Key::default();
    scrypt(passphrase.expose_secret().as_bytes(), salt, &params, &mut *key)
        .map_err(|_| UnlockError::Derive { what: "scrypt failed" })?;
    Ok(key)
}

static DERIVING: (Mutex<usize>, Condvar) = (Mutex::new(0), Condvar::new());

/// One of the [`AT_ONCE`] derivations that may run.
struct Turn;

impl Turn {
    fn take() -> Self {
        let running = DERIVING.0.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = DERIVING.1.wait_while(running, |running| *running >= AT_ONCE);
        let mut running = waited.unwrap_or_else(PoisonError::into_inner);
        *running = running.saturating_add(1);
        Self
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut running = DERIVING.0.lock().unwrap_or_else(PoisonError::into_inner);
        *running = running.saturating_sub(1);
        DERIVING.1.notify_one();
    }
}
