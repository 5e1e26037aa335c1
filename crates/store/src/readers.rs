//! Connections that only read.
//!
//! Opened when they are first needed and kept; at most [`limits::STATE_READERS`] read at once. A read sees
//! every commit that was answered before it began, and ends soon: a long one would keep the log from being
//! copied into the file.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use moltbot_config::limits;
use moltbot_vault::Vault;
use rusqlite::OpenFlags;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

use crate::database::{self, Failure};
use crate::error::StoreError;
use crate::sealed::Database;

/// The connections that nobody uses at the moment, and how many may be used.
pub(crate) struct Readers {
    shared: Arc<Shared>,
    room: Arc<Semaphore>,
}

struct Shared {
    path: PathBuf,
    vault: Vault,
    idle: Mutex<Vec<Database>>,
}

impl Readers {
    pub(crate) fn of(path: PathBuf, vault: Vault) -> Self {
        let shared = Shared { path, vault, idle: Mutex::new(Vec::new()) };
        Self { shared: Arc::new(shared), room: Arc::new(Semaphore::new(limits::STATE_READERS)) }
    }

    /// Does `work` on a thread that may wait for the disk.
    pub(crate) async fn read<T, W>(&self, work: W) -> Result<T, StoreError>
    where
        T: Send + 'static,
        W: FnOnce(&Database) -> Result<T, Failure> + Send + 'static,
    {
        let room = Arc::clone(&self.room).acquire_owned().await.map_err(|_closed| StoreError::Closed)?;
        let shared = Arc::clone(&self.shared);
        let reading = spawn_blocking(move || {
            let done = shared.read(work);
            drop(room);
            done
        });
        reading.await.unwrap_or(Err(StoreError::Closed))
    }

    /// Refuses new reads and closes the connections that nobody uses.
    pub(crate) fn close(&self) {
        self.room.close();
        self.shared.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

impl Shared {
    fn read<T>(&self, work: impl FnOnce(&Database) -> Result<T, Failure>) -> Result<T, StoreError> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let connection = match idle {
            Some(connection) => connection,
            None => database::connect(&self.path, OpenFlags::SQLITE_OPEN_READ_ONLY, &self.vault)?,
        };
        // One snapshot for all statements of one read.
        let done = connection
            .execute_batch("BEGIN")
            .map_err(Failure::from)
            .and_then(|()| work(&connection))
            .and_then(|value| connection.execute_batch("COMMIT").map(|()| value).map_err(Failure::from));
        // A connection in doubt is not used again.
        if connection.is_autocommit() {
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
        }
        done.map_err(|failure| failure.at(&self.path))
    }
}
