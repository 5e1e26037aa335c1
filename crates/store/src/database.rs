//! The file: how it is opened, checked, and what its errors mean.

use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use moltbot_config::limits;
use moltbot_protocol::ids::{AgentId, InvalidId, RunId, SessionKey};
use moltbot_vault::{FileError, RandomError, StateDir, Vault};
use rusqlite::{Connection, OpenFlags};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::StoreError;
use crate::sealed::{After, Database};
use crate::{canary, schema, scrub};

/// The name of the file in the state folder.
const NAME: &str = "state.db";

/// What failed inside a transaction, before it is known which file it was.
#[derive(Debug)]
pub(crate) enum Failure {
    Sqlite(rusqlite::Error),
    Store(StoreError),
}

impl Failure {
    pub(crate) fn random(source: RandomError) -> Self {
        Self::Store(StoreError::Random { source: Arc::new(source) })
    }

    pub(crate) fn at(self, path: &Path) -> StoreError {
        match self {
            Self::Sqlite(error) => StoreError::of_sqlite(error, path),
            Self::Store(error) => error,
        }
    }
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// The writer's connection, and the number of this opening.
pub(crate) struct Opened {
    pub(crate) database: Database,
    pub(crate) path: PathBuf,
    pub(crate) boot: i64,
}

/// Opens `state.db`, creates it when it is missing, checks it when it was not closed, migrates it when it is old.
pub(crate) fn open(state: &StateDir, vault: &Vault) -> Result<Opened, StoreError> {
    let path = place(state)?;
    let unclean = prepare(state, &path)?;
    let database = connect(&path, OpenFlags::SQLITE_OPEN_READ_WRITE, vault)?;
    let opening = || -> Result<i64, Failure> {
        if unclean {
            check(&database, &path)?;
            // Its log may hold what was deleted last.
            database.ask(After::Cut);
        }
        let found = schema::version(&database, &path, &schema::MIGRATIONS)?;
        if found >= schema::SEALED {
            canary::require(&database, &path)?;
        } else if found > 0 && vault.is_sealed() {
            // Its words are nobody's: before the installation was sealed, so was its file.
            return Err(StoreError::Unsealed { path: path.clone(), found }.into());
        }
        configure(&database)?;
        let boot = match found {
            0 => schema::create(&database)?,
            _ => schema::migrate(&database, found, state, &path, &schema::MIGRATIONS)?,
        };
        scrub::scrub(&database)?;
        schema::remove_plaintext(state, &path)?;
        Ok(boot)
    };
    let boot = opening().map_err(|failure| failure.at(&path))?;
    Ok(Opened { database, path, boot })
}

/// The path of the file, through no symbolic link: SQLite opens by name, and is told to follow none.
fn place(state: &StateDir) -> Result<PathBuf, StoreError> {
    let named = state.path();
    let failed = |source| StoreError::Path { path: named.to_path_buf(), source: Arc::new(source) };
    let folder = fs::canonicalize(named).map_err(failed)?;
    let by_name = fs::metadata(&folder).map_err(failed)?;
    let handle = state.fd().as_fd().try_clone_to_owned().map_err(failed)?;
    let by_handle = fs::File::from(handle).metadata().map_err(failed)?;
    if (by_name.dev(), by_name.ino()) != (by_handle.dev(), by_handle.ino()) {
        return Err(failed(std::io::Error::other("the folder was replaced while it was open")));
    }
    Ok(folder.join(NAME))
}

/// An empty database that is in WAL mode already: the first page, as the file format describes it. SQLite
/// would write the same through a journal of its own, with four more waits for the disk; and this one is
/// there as a whole or not at all, so that a file without a page is known to have lost them.
pub(crate) fn empty_file() -> Vec<u8> {
    let fields: [&[u8]; 9] = [
        b"SQLite format 3\0",
        &4096u16.to_be_bytes(),      // bytes of a page
        &[2, 2],                     // written and read through a log
        &[0, 64, 32, 32],            // fixed by the format
        &1u32.to_be_bytes(),         // changes
        &1u32.to_be_bytes(),         // pages
        &[0; 60],                    // no free pages, no schema, no version of ours
        &1u32.to_be_bytes(),         // the change in which the next field was written
        &3_046_000u32.to_be_bytes(), // the version of SQLite
    ];
    let no_rows: [u8; 8] = [0x0d, 0, 0, 0, 0, 0x10, 0, 0];
    let mut page = [&fields.concat()[..], &no_rows].concat();
    page.resize(4096, 0);
    page
}

/// Makes sure that the file exists with the owner's mode, which SQLite copies to the files beside it.
/// Returns whether the last program that had it open did not close it: then its log is still there.
fn prepare(state: &StateDir, path: &Path) -> Result<bool, StoreError> {
    let failed = |source| match source {
        FileError::Full { .. } => StoreError::Full { path: path.to_path_buf() },
        source => StoreError::File { path: path.to_path_buf(), source: Arc::new(source) },
    };
    let created = state.create(NAME, &empty_file()).map_err(failed)?;
    if created {
        return Ok(false);
    }
    Ok(state.list().map_err(failed)?.iter().any(|name| name == "state.db-wal"))
}

/// Opens a connection to the file. It is used by one thread at a time, so it needs no lock of its own.
pub(crate) fn connect(path: &Path, access: OpenFlags, vault: &Vault) -> Result<Database, StoreError> {
    let flags = access | OpenFlags::SQLITE_OPEN_NOFOLLOW | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection =
        Connection::open_with_flags(path, flags).map_err(|error| StoreError::of_sqlite(error, path))?;
    let quiet = connection
        .busy_timeout(BUSY)
        .and_then(|()| connection.pragma_update(None, "cache_size", -limits::STATE_CACHE_KIB));
    quiet.map_err(|error| StoreError::of_sqlite(error, path))?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    Ok(Database::new(connection, vault.clone()))
}

/// How long to wait for another connection's lock. Our own readers block nobody; this is for `sqlite3` by hand.
pub(crate) const BUSY: Duration = Duration::from_secs(5);
/// Prepared statements kept: all that turns and lists have.
const STATEMENTS: usize = 32;

/// The log is copied into the file every 1000 pages (4 MB), and cut back to that after a larger burst. What is deleted
/// is overwritten with zeros: sealed words open for as long as their key is there.
fn configure(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch(
        "PRAGMA journal_mode = WAL;
         PRAGMA synchronous = FULL;
         PRAGMA fullfsync = ON;
         PRAGMA foreign_keys = ON;
         PRAGMA secure_delete = ON;
         PRAGMA mmap_size = 0;
         PRAGMA wal_autocheckpoint = 1000;
         PRAGMA journal_size_limit = 4194304;",
    )
}

/// Looks for damage after an unclean stop. A large file is checked only where a start depends on it: reading
/// all of it would keep the gateway away for longer than its owner waits.
fn check(connection: &Connection, path: &Path) -> Result<(), Failure> {
    let bytes: i64 = connection.query_row(
        "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size",
        [],
        |row| row.get(0),
    )?;
    let checks: &[&str] = if bytes <= limits::STATE_CHECKED_BYTES {
        &["PRAGMA quick_check(1)"]
    } else {
        &["PRAGMA quick_check(facts)", "PRAGMA quick_check(sessions)"]
    };
    for sql in checks {
        let detail: String = connection.query_row(sql, [], |row| row.get(0))?;
        if detail != "ok" {
            return Err(StoreError::Corrupt { path: path.to_path_buf(), detail }.into());
        }
    }
    Ok(())
}

/// A count of ours as SQLite's integer. Nothing here reaches the end of it but a hostile number.
pub(crate) fn whole(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// A value as a JSON text.
pub(crate) fn to_json<T: Serialize>(value: &T) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|error| unreadable("a value", &error.to_string()))
}

/// The value of a JSON text. An error tells where it stopped and not at what: that may be words.
pub(crate) fn from_json<T: DeserializeOwned>(
    what: &'static str,
    text: impl AsRef<[u8]>,
) -> Result<T, StoreError> {
    let stopped = |error: serde_json::Error| {
        let detail =
            format!("{:?} error in line {}, column {}", error.classify(), error.line(), error.column());
        unreadable(what, &detail)
    };
    serde_json::from_slice(text.as_ref()).map_err(stopped)
}

/// The key in a column. It was canonical when it was written, so the default agent does not matter.
pub(crate) fn session_key(text: String) -> Result<SessionKey, Failure> {
    let wrong = |error: InvalidId| unreadable("a session key", &error.to_string()).into();
    SessionKey::parse(&text, &AgentId::main()).map_err(wrong)
}

/// The run in a column.
pub(crate) fn run_id(text: &str) -> Result<RunId, Failure> {
    RunId::parse(text).map_err(|error| unreadable("a run id", &error.to_string()).into())
}

/// A row that this program did not write.
pub(crate) fn unreadable(what: &'static str, detail: &str) -> StoreError {
    StoreError::Unreadable { what, detail: detail.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_page_is_a_sound_and_empty_database() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir::open_or_create(folder.path()).unwrap();
        state.create(NAME, &empty_file()).unwrap();
        let database = Connection::open(folder.path().join(NAME)).unwrap();
        for (pragma, expected) in [
            ("integrity_check", "ok"),
            ("journal_mode", "wal"),
            ("page_count", "1"),
            ("page_size", "4096"),
            ("encoding", "UTF-8"),
        ] {
            let value: rusqlite::types::Value =
                database.query_row(&format!("PRAGMA {pragma}"), [], |row| row.get(0)).unwrap();
            let value = match value {
                rusqlite::types::Value::Text(text) => text,
                rusqlite::types::Value::Integer(number) => number.to_string(),
                other => panic!("{other:?}"),
            };
            assert_eq!(value, expected, "{pragma}");
        }
    }
}
