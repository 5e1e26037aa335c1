//! A lock that dies with the process that holds it, and says to others who that is.

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::thread::sleep;
use std::time::Duration;

use moltbot_config::limits;
use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::{Errno, retry_on_intr};
use thiserror::Error;

use crate::error::FileError;
use crate::folder::{read_all, require_file, write_all};
use crate::state_dir::StateDir;

/// Tries before a lock counts as held. Who peeks holds it for microseconds, and a new holder needs as long to
/// say who it is.
const TRIES: u32 = 10;
/// The pause between two tries.
const PAUSE: Duration = Duration::from_millis(2);

/// Why a lock could not be had.
#[derive(Debug, Error)]
#[expect(missing_docs, reason = "each message names its fields")]
#[non_exhaustive]
pub enum LockError {
    /// The file under the lock could not be used.
    #[error("cannot use the lock {path}")]
    File { path: PathBuf, source: FileError },
    /// Another process holds it; `contents` is what it says about itself.
    #[error("{path} is held by another process; stop that one first")]
    Held { path: PathBuf, contents: Vec<u8> },
}

/// A lock, held until this is dropped or the process ends, however it ends.
#[derive(Debug)]
#[must_use = "a lock that is dropped is free again"]
pub struct Lock {
    fd: OwnedFd,
    path: PathBuf,
}

impl StateDir {
    /// Takes the lock `name` and leaves `contents` there for others to read with [`Self::peek_lock`].
    ///
    /// # Errors
    /// [`LockError::Held`] when another holder lives, in this process or in another.
    pub fn lock(&self, name: &str, contents: &[u8]) -> Result<Lock, LockError> {
        let path = self.path().join(name);
        let error = |source| LockError::File { path: path.clone(), source };
        for attempt in 0..TRIES {
            if attempt > 0 {
                sleep(PAUSE);
            }
            // Its name need not be on disk: after a power cut nobody holds it.
            let (fd, _) = self.inner().open_or_create(name, OFlags::RDWR).map_err(error)?;
            match retry_on_intr(|| rustix::fs::flock(&fd, FlockOperation::NonBlockingLockExclusive)) {
                Ok(()) if self.is_named(&fd, name).map_err(error)? => {
                    let lock = Lock { fd, path: path.clone() };
                    lock.say(contents).map_err(error)?;
                    return Ok(lock);
                }
                // Removed by somebody before it was locked, or held: perhaps only by one who peeks.
                Ok(()) | Err(Errno::WOULDBLOCK) => {}
                Err(errno) => return Err(error(FileError::of(errno, "lock", &path))),
            }
        }
        let contents = self.read(name, limits::LOCK_BYTES).map_err(error)?.unwrap_or_default();
        Err(LockError::Held { path, contents })
    }

    /// What the living holder of the lock `name` says about itself; nothing when nobody holds it. A file left
    /// behind by a process that died counts as nobody.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn peek_lock(&self, name: &str) -> Result<Option<Vec<u8>>, LockError> {
        let path = self.path().join(name);
        let error = |source| LockError::File { path: path.clone(), source };
        let mut contents = Vec::new();
        for attempt in 0..TRIES {
            if attempt > 0 {
                sleep(PAUSE);
            }
            let fd = match self.inner().open(name, OFlags::RDONLY, Mode::empty()) {
                Err(FileError::Missing { .. }) => return Ok(None),
                opened => opened.map_err(error)?,
            };
            let (fd, stat) = require_file(fd, &path).map_err(error)?;
            match retry_on_intr(|| rustix::fs::flock(&fd, FlockOperation::NonBlockingLockShared)) {
                Ok(()) => return Ok(None),
                Err(Errno::WOULDBLOCK) => {}
                Err(errno) => return Err(error(FileError::of(errno, "look at the lock", &path))),
            }
            contents = read_all(&fd, &stat, limits::LOCK_BYTES, &path).map_err(error)?;
            // Empty: it has just been taken, and its holder is about to say who it is.
            if !contents.is_empty() {
                break;
            }
        }
        Ok(Some(contents))
    }

    /// Whether `name` still leads to what `fd` has open.
    fn is_named(&self, fd: &OwnedFd, name: &str) -> Result<bool, FileError> {
        let path = self.path().join(name);
        let held = rustix::fs::fstat(fd).map_err(|errno| FileError::of(errno, "look at", &path))?;
        let named = self.inner().look(name)?;
        Ok(named.is_some_and(|stat| (stat.st_dev, stat.st_ino) == (held.st_dev, held.st_ino)))
    }
}

impl Lock {
    /// Leaves other contents for those who peek: a gateway knows its port only after it has the lock.
    ///
    /// # Errors
    /// When the file cannot be written; the lock is held nevertheless.
    pub fn rewrite(&self, contents: &[u8]) -> Result<(), LockError> {
        self.say(contents).map_err(|source| LockError::File { path: self.path.clone(), source })
    }

    fn say(&self, contents: &[u8]) -> Result<(), FileError> {
        let failed = |errno| FileError::of(errno, "empty", &self.path);
        rustix::fs::ftruncate(&self.fd, 0).map_err(failed)?;
        rustix::fs::seek(&self.fd, rustix::fs::SeekFrom::Start(0)).map_err(failed)?;
        write_all(&self.fd, contents, &self.path)
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // The file stays: removing it would let two processes lock two files of the same name.
        if let Err(error) = self.say(&[]) {
            tracing::debug!(%error, "a free lock still names its last holder, which nobody will believe");
        }
    }
}
