//! Why the store could not do what was asked.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use moltbot_protocol::ids::SessionKey;
use moltbot_vault::{FileError, RandomError};
use rusqlite::ErrorCode;
use thiserror::Error;

use crate::turn::TurnId;

/// Why the store could not do what was asked. Nothing of it is kept then, not even a part.
#[derive(Clone, Debug, Error)]
#[expect(missing_docs, reason = "each message names its fields")]
#[non_exhaustive]
pub enum StoreError {
    /// The turn has an end already: a second one would be a second answer.
    #[error("turn {turn} has ended already; its end stays as it is")]
    AlreadyEnded { turn: TurnId },
    /// The copy that is made before a migration could not be made.
    #[error("cannot back up {path} before its migration; make room on the disk and start again")]
    Backup { path: PathBuf, source: Arc<rusqlite::Error> },
    /// A session with turns that are not finished cannot be deleted.
    #[error("session {session} has {turns} unfinished turns; stop them first")]
    Busy { session: SessionKey, turns: u64 },
    /// The store was closed.
    #[error("the state db is closed; the gateway is stopping")]
    Closed,
    /// The file is damaged.
    #[error(
        "{path} is damaged ({detail}); stop moltbot, then restore a backup to that path, or move the file away to begin without a past"
    )]
    Corrupt { path: PathBuf, detail: String },
    /// SQLite failed in another way.
    #[error("the state db cannot do this now; see the log for the cause")]
    Database { source: Arc<rusqlite::Error> },
    /// A file of the state folder cannot be used.
    #[error("cannot prepare {path}")]
    File { path: PathBuf, source: Arc<FileError> },
    /// The file is a database, but not ours.
    #[error("{path} is not a moltbot state db; move it away")]
    Foreign { path: PathBuf },
    /// The disk is full.
    #[error("no space left for {path}; nothing was kept; free some space and try again")]
    Full { path: PathBuf },
    /// Two sessions of one name could not be told apart by it.
    #[error(
        "label already in use: {label} (session {session}); choose another, or take it from that one first"
    )]
    LabelTaken { label: String, session: SessionKey },
    /// The file was written by a newer program.
    #[error("{path} has schema {found}, and this moltbot knows {known}; run the newer moltbot again")]
    Newer { path: PathBuf, found: u32, known: u32 },
    /// The file was sealed with other keys than those that are there.
    #[error(
        "{path} does not open with keys/secrets.key ({detail}); restore the key file that belongs to it, or move it away to begin without a past"
    )]
    OtherKeys { path: PathBuf, detail: String },
    /// The message of a turn cannot become a part of another turn.
    #[error("the message of turn {turn} is no part of another turn: it has begun, or is of another session")]
    NotAbsorbed { turn: TurnId },
    /// An earlier turn of the session has no end yet.
    #[error("turn {turn} cannot be done before turn {earlier} of its session; let that one end first")]
    OutOfOrder { turn: TurnId, earlier: TurnId },
    /// The state folder is not where it was, or cannot be resolved.
    #[error("cannot find {path}; check that the state folder exists")]
    Path { path: PathBuf, source: Arc<io::Error> },
    /// The operating system gives no random bytes.
    #[error("cannot draw a session id or a key; nothing was kept; try again")]
    Random { source: Arc<RandomError> },
    /// What was written over could not be removed from the file.
    #[error(
        "the state db still holds copies of words that were sealed anew; see the log for the cause, then start again"
    )]
    Remains,
    /// Words do not open. They are not left out: an answer without them would be another answer.
    #[error(
        "{place} in the state db does not open: {detail}; restore state.db and keys/secrets.key from one backup, or delete the session"
    )]
    Sealed { place: String, detail: String },
    /// Another program opened the same state after this one.
    #[error("another moltbot took over this state; stop this one")]
    Superseded,
    /// The writer's thread could not be started.
    #[error("cannot start the state db's writer; free some memory or raise the limit of threads")]
    Thread { source: Arc<io::Error> },
    /// There is no such turn.
    #[error("there is no turn {turn}")]
    UnknownTurn { turn: TurnId },
    /// The file has words in plaintext, and the installation's are sealed: it is not the one that was here.
    #[error(
        "{path} has schema {found}, whose words are plaintext, but this installation is sealed: somebody put another file there; find out who, then restore state.db from a backup, or move it away to begin without a past"
    )]
    Unsealed { path: PathBuf, found: u32 },
    /// A row does not hold what this program writes.
    #[error(
        "the state db holds {what} that cannot be read ({detail}); restore a backup or delete the session"
    )]
    Unreadable { what: &'static str, detail: String },
}

impl StoreError {
    /// What an error of SQLite means for the file at `path`.
    pub(crate) fn of_sqlite(error: rusqlite::Error, path: &std::path::Path) -> Self {
        let path = path.to_path_buf();
        match error.sqlite_error() {
            Some(cause) if is_full(cause) => Self::Full { path },
            Some(cause) if matches!(cause.code, ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                Self::Corrupt { path, detail: error.to_string() }
            }
            _ => Self::Database { source: Arc::new(error) },
        }
    }
}

/// Whether the disk was full. The shared memory file is extended by `ftruncate`, which has its own code.
fn is_full(cause: &rusqlite::ffi::Error) -> bool {
    cause.code == ErrorCode::DiskFull || cause.extended_code == rusqlite::ffi::SQLITE_IOERR_SHMSIZE
}
