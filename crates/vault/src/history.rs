//! The last versions of the config, and the last one that is known to work: sealed, so that no secret that was ever in
//! the config stays on the disk as text.
//!
//! A version is one file in `history/`, bound to its name: `<number, 20 digits>-<time, 14 digits>.config`, or `.backup`
//! for what was once a plaintext backup beside the config. Five configs are kept; backups were made by a person or by
//! the original, and are kept until somebody removes them. The config is never replaced from here: that is for the
//! owner to ask.

mod backups;
mod file;

use std::fmt;
use std::path::PathBuf;

use moltbot_config::limits;
use thiserror::Error;
use zeroize::Zeroizing;

use crate::envelope::SealError;
use crate::error::FileError;
use crate::lock::LockError;
use crate::state_dir::StateDir;
use crate::vault::Vault;
pub use backups::{BackupOutcome, BackupReport, config_backups};
pub(crate) use backups::{is_backup_of, shred};
use file::{Header, Kind, Name};

/// The folder in the state folder.
const FOLDER: &str = "history";
/// Held while the history is written, so that no number is given twice.
const LOCK: &str = "history/writer.lock";
/// The config that started a gateway which then served.
const GOOD: &str = "history/last-known-good";

/// Why the history could not be read or written.
#[derive(Debug, Error)]
#[expect(missing_docs, reason = "each message names its fields")]
#[non_exhaustive]
pub enum HistoryError {
    /// It opens, and what is in it is no version.
    #[error("{path} is no version of the config: {what}; move it away")]
    Damaged { path: PathBuf, what: &'static str },
    /// The disk refused.
    #[error("the config's history cannot be kept")]
    File(#[from] FileError),
    /// Another process writes it.
    #[error("another process changes the config's history; try again")]
    Lock(#[from] LockError),
    /// There is no such version.
    #[error("there is no version {number} of the config; `moltbot config history` lists those that are kept")]
    Missing { number: u64 },
    /// What is sealed inside a version could not be sealed anew.
    #[error("{path} cannot be sealed anew")]
    Renew { path: PathBuf, source: Box<dyn std::error::Error + Send + Sync> },
    /// It does not open, or nothing can be sealed.
    #[error("the config's history cannot be opened or sealed")]
    Seal(#[from] SealError),
}

/// Who changed the config, when, and how.
#[derive(Clone, Copy, Debug)]
pub struct Change<'a> {
    /// When, in milliseconds since the epoch.
    pub at_ms: u64,
    /// Who, as the book names them.
    pub actor: &'a str,
    /// By which command or method. No values: they may be secret.
    pub command: &'a str,
}

/// A version that is kept.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Version {
    /// Its number, which only grows.
    pub number: u64,
    /// When it was replaced; of a backup, when it was last written. In milliseconds since the epoch.
    pub at_ms: u64,
    /// Who replaced it.
    pub actor: String,
    /// By which command.
    pub command: String,
    /// SHA-256 of its text, in lower case hex.
    pub sha256: String,
    /// Whether it was a plaintext backup beside the config.
    pub is_backup: bool,
}

/// The text of a config that worked.
pub struct Good {
    /// When it was found to work, in milliseconds since the epoch.
    pub at_ms: u64,
    /// SHA-256 of its text, in lower case hex.
    pub sha256: String,
    text: Zeroizing<Vec<u8>>,
}

/// The history of an installation's config.
#[derive(Debug)]
pub struct History<'a> {
    state: &'a StateDir,
    vault: &'a Vault,
}

impl<'a> History<'a> {
    /// The history in the state folder, sealed by the installation's vault.
    pub const fn new(state: &'a StateDir, vault: &'a Vault) -> Self {
        Self { state, vault }
    }

    /// Keeps the text that `change` is about to replace, and forgets all but the last five. The number of the version
    /// is told; a text that is the newest version already is not kept twice. On disk when this returns.
    ///
    /// # Errors
    /// When it cannot be sealed or written; the config should then not be changed.
    pub fn keep(&self, text: &[u8], change: &Change<'_>) -> Result<u64, HistoryError> {
        let _lock = self.state.lock(LOCK, &[])?;
        let names = self.names()?;
        let newest = names.iter().rfind(|name| name.kind == Kind::Config);
        let sha256 = file::sha256(text);
        if let Some(newest) = newest
            && self.open(&newest.path()).is_ok_and(|(header, _)| header.sha256 == sha256)
        {
            return Ok(newest.number);
        }
        let number = self.add(&names, Kind::Config, text, change)?;
        self.prune(&names)?;
        Ok(number)
    }

    /// The versions that are kept, newest first. One that does not open is left out, and a warning logged.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn list(&self) -> Result<Vec<Version>, HistoryError> {
        let mut versions = Vec::new();
        for name in self.names()?.iter().rev() {
            match self.open(&name.path()) {
                Ok((header, _)) => versions.push(Version {
                    number: name.number,
                    at_ms: header.at_ms,
                    actor: header.actor,
                    command: header.command,
                    sha256: header.sha256,
                    is_backup: name.kind == Kind::Backup,
                }),
                Err(error) => {
                    tracing::warn!(path = name.path(), %error, "a version of the config does not open")
                }
            }
        }
        Ok(versions)
    }

    /// The text of a version.
    ///
    /// # Errors
    /// [`HistoryError::Missing`] when there is none of this number; when it does not open or is damaged.
    pub fn read(&self, number: u64) -> Result<Zeroizing<Vec<u8>>, HistoryError> {
        let names = self.names()?;
        let name = names.iter().find(|name| name.number == number).ok_or(HistoryError::Missing { number })?;
        Ok(self.open(&name.path())?.1)
    }

    /// Remembers the text of a config that started a gateway which then served.
    ///
    /// # Errors
    /// When it cannot be sealed or written; the one before then stays.
    pub fn mark_good(&self, text: &[u8], at_ms: u64) -> Result<(), HistoryError> {
        let _lock = self.state.lock(LOCK, &[])?;
        let change = Change { at_ms, actor: "", command: "" };
        if self.last_known_good().is_ok_and(|good| good.is_some_and(|good| good.sha256 == file::sha256(text)))
        {
            return Ok(()); // Most starts are with the config of the start before.
        }
        let sealed = self.vault.seal(GOOD, &file::encode(&change, text))?;
        Ok(self.state.write(GOOD, &sealed)?)
    }

    /// The config that last started a gateway which then served; nothing when there has been none.
    ///
    /// # Errors
    /// When it does not open or is damaged.
    pub fn last_known_good(&self) -> Result<Option<Good>, HistoryError> {
        match self.open(GOOD) {
            Err(HistoryError::File(FileError::Missing { .. })) => Ok(None),
            opened => {
                let (Header { at_ms, sha256, .. }, text) = opened?;
                Ok(Some(Good { at_ms, sha256, text }))
            }
        }
    }

    /// Seals everything with the root key that seals now. `renew` gets each text and answers with the same text in which
    /// sealed values are sealed anew, or with nothing when none had to be: a version whose values only an erased key
    /// opens would be worth nothing. To be called between the beginning and the end of a rotation, as often as needed;
    /// tells how many files were written.
    ///
    /// # Errors
    /// When one does not open, or cannot be sealed or written. Those before it are done.
    pub fn reseal(&self, renew: &mut Renew<'_>) -> Result<usize, HistoryError> {
        let _lock = self.state.lock(LOCK, &[])?;
        let mut paths: Vec<String> = self.names()?.iter().map(Name::path).collect();
        paths.push(GOOD.to_owned());
        let mut written = 0_usize;
        for path in paths {
            let Some(sealed) = self.state.read(&path, file::BYTES)? else { continue };
            let plain = self.vault.unseal(&path, &sealed)?;
            let (header, text) = file::decode(&plain).map_err(|what| self.damaged(&path, what))?;
            let full = self.state.path().join(&path);
            let renewed = renew(text).map_err(|source| HistoryError::Renew { path: full, source })?;
            if renewed.is_none() && self.vault.is_current(&sealed) {
                continue;
            }
            let text = renewed.as_ref().map_or(text, |text| text.as_slice());
            let change = Change { at_ms: header.at_ms, actor: &header.actor, command: &header.command };
            self.state.write(&path, &self.vault.seal(&path, &file::encode(&change, text))?)?;
            written = written.saturating_add(1);
        }
        Ok(written)
    }

    /// Adds a version after those of `names`.
    fn add(&self, names: &[Name], kind: Kind, text: &[u8], change: &Change<'_>) -> Result<u64, HistoryError> {
        let number = names.last().map_or(1, |name| name.number.saturating_add(1));
        let path = Name { number, at_ms: change.at_ms, kind }.path();
        let sealed = self.vault.seal(&path, &file::encode(change, text))?;
        self.state.write(&path, &sealed)?;
        Ok(number)
    }

    /// Forgets what is too old, now that one more than `names` is there.
    fn prune(&self, names: &[Name]) -> Result<(), HistoryError> {
        let configs: Vec<_> = names.iter().filter(|name| name.kind == Kind::Config).collect();
        let too_many = configs.len().saturating_add(1).saturating_sub(limits::CONFIG_VERSIONS);
        for name in configs.iter().take(too_many) {
            self.state.remove(&name.path())?;
        }
        Ok(())
    }

    /// What is there, oldest first.
    fn names(&self) -> Result<Vec<Name>, HistoryError> {
        if self.state.inner().look(FOLDER)?.is_none() {
            return Ok(Vec::new());
        }
        let listed = self.state.folder(FOLDER)?.list()?;
        let mut names: Vec<Name> = listed.iter().filter_map(|name| Name::parse(name)).collect();
        names.sort_unstable_by_key(|name| name.number);
        Ok(names)
    }

    fn open(&self, path: &str) -> Result<(Header, Zeroizing<Vec<u8>>), HistoryError> {
        let missing = || FileError::Missing { path: self.state.path().join(path) };
        let sealed = self.state.read(path, file::BYTES)?.ok_or_else(missing)?;
        let plain = self.vault.unseal(path, &sealed)?;
        let (header, text) = file::decode(&plain).map_err(|what| self.damaged(path, what))?;
        Ok((header, Zeroizing::new(text.to_vec())))
    }

    fn damaged(&self, path: &str, what: &'static str) -> HistoryError {
        HistoryError::Damaged { path: self.state.path().join(path), what }
    }
}

/// Seals anew what is sealed inside a text; nothing when nothing has to be.
pub type Renew<'a> =
    dyn FnMut(&[u8]) -> Result<Option<Zeroizing<Vec<u8>>>, Box<dyn std::error::Error + Send + Sync>> + 'a;

impl Good {
    /// The config's text.
    pub fn text(&self) -> &[u8] {
        &self.text
    }
}

impl fmt::Debug for Good {
    /// Without the text, which may hold secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Good")
            .field("at_ms", &self.at_ms)
            .field("sha256", &self.sha256)
            .finish_non_exhaustive()
    }
}
