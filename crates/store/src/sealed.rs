//! A connection that seals and opens words.

use std::cell::Cell;
use std::ops::Deref;
use std::sync::Arc;

use moltbot_vault::{SealError, Vault};
use rusqlite::Connection;
use rusqlite::types::ValueRef;
use zeroize::Zeroizing;

use crate::column::Place;
use crate::error::StoreError;

/// A connection, with the keys to its words.
pub(crate) struct Database {
    connection: Connection,
    vault: Vault,
    after: Cell<After>,
}

/// What is to be done once the transaction is over.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum After {
    /// Nothing.
    #[default]
    Nothing,
    /// Cut the log off: it still holds what was removed.
    Cut,
    /// Write the file anew: it still holds what was written over.
    Scrub,
}

impl Database {
    pub(crate) const fn new(connection: Connection, vault: Vault) -> Self {
        Self { connection, vault, after: Cell::new(After::Nothing) }
    }

    /// Asks for what is to be done after the transaction; the more of two that were asked for is done.
    pub(crate) fn ask(&self, after: After) {
        self.after.set(self.after.get().max(after));
    }

    /// What was asked for; it is not asked for any more.
    pub(crate) fn take_asked(&self) -> After {
        self.after.take()
    }

    /// Seals words for their place.
    pub(crate) fn seal(&self, place: &Place<'_>, words: &[u8]) -> Result<Vec<u8>, StoreError> {
        let place = place.to_string();
        self.vault.seal(&place, words).map_err(|error| meaning(&place, error))
    }

    /// Opens the words at their place. What is no BLOB was never sealed: it is an error, not words.
    pub(crate) fn unseal(
        &self,
        place: &Place<'_>,
        value: ValueRef<'_>,
    ) -> Result<Zeroizing<Vec<u8>>, StoreError> {
        let place = place.to_string();
        let ValueRef::Blob(sealed) = value else {
            return Err(StoreError::Sealed { place, detail: "it was never sealed".into() });
        };
        self.vault.unseal(&place, sealed).map_err(|error| meaning(&place, error))
    }

    /// Seals a text that may be missing.
    pub(crate) fn seal_text(
        &self,
        place: &Place<'_>,
        text: Option<&str>,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        text.map(|text| self.seal(place, text.as_bytes())).transpose()
    }

    /// Opens a text that may be missing.
    pub(crate) fn unseal_text(
        &self,
        place: &Place<'_>,
        value: ValueRef<'_>,
    ) -> Result<Option<String>, StoreError> {
        if value == ValueRef::Null {
            return Ok(None);
        }
        let text = std::str::from_utf8(&self.unseal(place, value)?).map(str::to_owned);
        let not_text = |_| StoreError::Sealed { place: place.to_string(), detail: "it is no text".into() };
        text.map(Some).map_err(not_text)
    }

    /// Whether `sealed` was sealed with the key that seals now.
    pub(crate) fn is_current(&self, sealed: &[u8]) -> bool {
        self.vault.is_current(sealed)
    }
}

impl Deref for Database {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.connection
    }
}

/// What it means that words do not open. The vault's own text speaks of a secret that can be set again.
fn meaning(place: &str, error: SealError) -> StoreError {
    let detail = match error {
        SealError::Form { what, .. } => what.into(),
        SealError::Random { source, .. } => return StoreError::Random { source: Arc::new(source) },
        SealError::Unseal { .. } => {
            "it was changed, or sealed for another row or by another installation".into()
        }
        SealError::UnknownKey { key, .. } => {
            format!("it was sealed with key {key}, which keys/secrets.key does not hold")
        }
        other => other.to_string(),
    };
    StoreError::Sealed { place: place.into(), detail }
}
