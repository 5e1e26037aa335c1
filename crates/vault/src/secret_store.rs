//! Secrets that have a name and no place in the config: `{source: "store", id: "<name>"}` refers to them.
//!
//! One file, `credentials/store.json`, whose values are sealed one by one; names and times are readable.

use std::collections::BTreeMap;

use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::envelope::SealError;
use crate::error::FileError;
use crate::lock::LockError;
use crate::state_dir::StateDir;
use crate::vault::Secrets;

/// Where they are in the state folder.
const FILE: &str = "credentials/store.json";
/// Held while the file is changed.
const LOCK: &str = "credentials/store.lock";
/// The largest file that is read, in bytes: a thousand keys have 300 kB.
const BYTES: u64 = 1024 * 1024;
/// The longest name, in bytes.
const NAME_BYTES: usize = 128;
const VERSION: u32 = 1;

/// Why a named secret could not be kept or read.
#[derive(Debug, Error)]
#[expect(missing_docs, reason = "each message names its fields")]
#[non_exhaustive]
pub enum StoreError {
    /// The file is not one of ours.
    #[error("credentials/store.json cannot be read: {what}; restore it from a backup or move it away")]
    Damaged { what: String },
    /// The disk refused.
    #[error("the named secrets cannot be kept")]
    File(#[from] FileError),
    /// Another process changes it.
    #[error("another process changes the named secrets; try again")]
    Lock(#[from] LockError),
    /// Not a name.
    #[error(
        "{name:?} is no name for a secret; use 1 to 128 letters, digits, dots, dashes, underscores and slashes"
    )]
    Name { name: String },
    /// There is none of that name.
    #[error("there is no secret named {name}; `moltbot secrets list` has the names")]
    NotThere { name: String },
    /// It cannot be sealed or opened.
    #[error("the secret {name} cannot be used")]
    Seal { name: String, source: SealError },
}

/// A named secret without its value.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct NamedSecret {
    /// Its name.
    pub name: String,
    /// When it was last set, in milliseconds since the epoch.
    pub updated_ms: u64,
}

/// The named secrets of an installation.
#[derive(Debug)]
pub struct SecretStore<'a> {
    state: &'a StateDir,
}

#[derive(Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct File {
    version: u32,
    secrets: BTreeMap<String, Kept>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Kept {
    value: String,
    updated_at_ms: u64,
}

impl<'a> SecretStore<'a> {
    /// The secrets in the state folder.
    pub const fn of(state: &'a StateDir) -> Self {
        Self { state }
    }

    /// Their names, sorted.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn list(&self) -> Result<Vec<NamedSecret>, StoreError> {
        let named = |(name, kept): (String, Kept)| NamedSecret { name, updated_ms: kept.updated_at_ms };
        Ok(self.read()?.secrets.into_iter().map(named).collect())
    }

    /// The secret of that name; nothing when there is none.
    ///
    /// # Errors
    /// When it cannot be read or opened.
    pub fn get(&self, name: &str, secrets: &Secrets<'_>) -> Result<Option<SecretString>, StoreError> {
        let file = self.read()?;
        let Some(kept) = file.secrets.get(name) else { return Ok(None) };
        let failed = |source| StoreError::Seal { name: name.to_owned(), source };
        secrets.unseal(&place(name), &kept.value).map(Some).map_err(failed)
    }

    /// Keeps a secret under a name, in place of what it was.
    ///
    /// # Errors
    /// When the name is none, or it cannot be sealed or written; what was there stays.
    pub fn set(
        &self,
        name: &str,
        value: &SecretString,
        now_ms: u64,
        secrets: &Secrets<'_>,
    ) -> Result<(), StoreError> {
        require_name(name)?;
        let failed = |source| StoreError::Seal { name: name.to_owned(), source };
        let value = secrets.seal(&place(name), value).map_err(failed)?;
        self.change(|file| {
            file.secrets.insert(name.to_owned(), Kept { value, updated_at_ms: now_ms });
            Ok(())
        })
    }

    /// Removes a secret.
    ///
    /// # Errors
    /// When there is none of that name, or the file cannot be written.
    pub fn unset(&self, name: &str) -> Result<(), StoreError> {
        let missing = || StoreError::NotThere { name: name.to_owned() };
        self.change(|file| file.secrets.remove(name).map(|_| ()).ok_or_else(missing))
    }

    /// Seals those again that were not sealed with the newest root key. How many there were.
    ///
    /// # Errors
    /// When one cannot be opened or sealed, or the file cannot be written; all then stay as they were.
    pub fn reseal(&self, secrets: &Secrets<'_>) -> Result<u64, StoreError> {
        let mut count = 0;
        if self.read()?.secrets.is_empty() {
            return Ok(count);
        }
        self.change(|file| {
            for (name, kept) in &mut file.secrets {
                let place = place(name);
                if !secrets.is_current(&place, &kept.value) {
                    let again =
                        secrets.unseal(&place, &kept.value).and_then(|plain| secrets.seal(&place, &plain));
                    let failed = |source| StoreError::Seal { name: name.clone(), source };
                    kept.value = again.map_err(failed)?;
                    count = count.saturating_add(1_u64);
                }
            }
            Ok(())
        })?;
        Ok(count)
    }

    fn read(&self) -> Result<File, StoreError> {
        let Some(bytes) = self.state.read(FILE, BYTES)? else { return Ok(File::default()) };
        let damaged = |what: String| StoreError::Damaged { what };
        let file: File = serde_json::from_slice(&bytes).map_err(|error| damaged(error.to_string()))?;
        if file.version == VERSION {
            Ok(file)
        } else {
            Err(damaged(format!("its version is {}", file.version)))
        }
    }

    fn change(&self, edit: impl FnOnce(&mut File) -> Result<(), StoreError>) -> Result<(), StoreError> {
        let _lock = self.state.lock(LOCK, &[])?;
        let mut file = self.read()?;
        edit(&mut file)?;
        file.version = VERSION;
        let mut json = serde_json::to_vec_pretty(&file)
            .map_err(|error| StoreError::Damaged { what: error.to_string() })?;
        json.push(b'\n');
        Ok(self.state.write(FILE, &json)?)
    }
}

fn place(name: &str) -> String {
    format!("store:{name}")
}

fn require_name(name: &str) -> Result<(), StoreError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '/');
    let is_name = !name.is_empty() && name.len() <= NAME_BYTES && name.chars().all(plain);
    if is_name { Ok(()) } else { Err(StoreError::Name { name: name.chars().take(NAME_BYTES).collect() }) }
}
