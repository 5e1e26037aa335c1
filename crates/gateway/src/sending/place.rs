//! Up to where the book was sent, kept on disk: a file for each kind of server.

use moltbot_ledger::query::{QueryError, Reader};
use moltbot_vault::{FileError, StateDir};
use serde::{Deserialize, Serialize};

/// The largest such file, in bytes. It has 150.
const BYTES: u64 = 4096;

/// Up to where the book of an installation was sent to a server.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Place {
    /// The installation.
    pub(super) installation: String,
    /// The server's host and port.
    pub(super) to: String,
    /// The number of the last record that the server is known to have.
    pub(super) sequence: u64,
    /// That record's `h`; empty when it was not there any more.
    pub(super) h: String,
}

impl Place {
    /// What is kept for a kind of server; nothing when nothing is, or it cannot be understood.
    pub(super) fn read(state: &StateDir, name: &str) -> Result<Option<Self>, FileError> {
        let Some(bytes) = state.read(&file(name), BYTES)? else { return Ok(None) };
        match serde_json::from_slice(&bytes) {
            Ok(place) => Ok(Some(place)),
            Err(error) => {
                let path = state.path().join(file(name)).display().to_string();
                tracing::error!(path, %error, "up to where the book was sent cannot be read");
                Ok(None)
            }
        }
    }

    /// Whether the book still has what the server was sent: its last record, unless that was pruned. `began` is the number
    /// of the first record of this process.
    pub(super) fn is_in(&self, reader: &Reader, began: u64) -> Result<bool, QueryError> {
        if self.sequence >= began {
            return Ok(false);
        }
        let found = reader.show(self.sequence)?;
        Ok(found.is_none_or(|record| self.h.is_empty() || record.h == self.h))
    }

    /// Keeps it. On disk when this returns.
    pub(super) fn write(&self, state: &StateDir, name: &str) -> Result<(), FileError> {
        // A structure of texts and a number: it has a form in JSON.
        let text = serde_json::to_vec(self).unwrap_or_default();
        state.write(&file(name), &text)
    }
}

fn file(name: &str) -> String {
    format!("ledger/sent.{name}")
}
