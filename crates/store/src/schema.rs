//! The schema and its versions.
//!
//! `user_version` in the file says how many of [`MIGRATIONS`] it has seen. Each runs in one transaction with
//! the new number, so a crash leaves either version and nothing between.

use std::path::Path;
use std::sync::Arc;

use moltbot_vault::StateDir;
use rusqlite::{Connection, TransactionBehavior};

use crate::database::Failure;
use crate::error::StoreError;

/// Every schema, oldest first.
pub(crate) const MIGRATIONS: [&str; 2] = [include_str!("schema/1.sql"), include_str!("schema/2.sql")];

/// The schema that the file has; 0 for a file that was just created. Nothing is written: a file that is not
/// ours stays as it is.
pub(crate) fn version(database: &Connection, path: &Path, migrations: &[&str]) -> Result<u32, Failure> {
    let known = known(migrations);
    let found: u32 = database.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    if found > known {
        return Err(StoreError::Newer { path: path.to_path_buf(), found, known }.into());
    }
    if found == 0 {
        require_empty(database, path)?;
    }
    Ok(found)
}

fn known(migrations: &[&str]) -> u32 {
    u32::try_from(migrations.len()).unwrap_or(u32::MAX)
}

/// Brings the file from schema `found` to the newest and counts this opening. Returns its number.
pub(crate) fn migrate(
    database: &mut Connection,
    found: u32,
    state: &StateDir,
    path: &Path,
    migrations: &[&str],
) -> Result<i64, Failure> {
    let known = known(migrations);
    if found > 0 && found < known {
        back_up(database, state, path, found)?;
    }
    let mut boot = None;
    for (version, sql) in (1u32..).zip(migrations).skip(usize::try_from(found).unwrap_or(usize::MAX)) {
        let last = version == known;
        let transaction = database.transaction_with_behavior(TransactionBehavior::Immediate)?;
        transaction.execute_batch(sql)?;
        transaction.pragma_update(None, "user_version", version)?;
        if last {
            boot = Some(count_boot(&transaction)?);
        }
        transaction.commit()?;
    }
    boot.map_or_else(|| Ok(count_boot(database)?), Ok)
}

/// One more opening of the file.
fn count_boot(database: &Connection) -> rusqlite::Result<i64> {
    database.query_row("UPDATE facts SET value = value + 1 WHERE name = 'boot' RETURNING value", [], |row| {
        row.get(0)
    })
}

/// A file without a version must be as we create it: we do not write into a database of somebody else's, and
/// a file that lost its pages is not a new one.
fn require_empty(database: &Connection, path: &Path) -> Result<(), Failure> {
    let pages: i64 = database.query_row("PRAGMA page_count", [], |row| row.get(0))?;
    if pages == 0 {
        return Err(StoreError::Corrupt { path: path.to_path_buf(), detail: "it is empty".into() }.into());
    }
    let objects: i64 = database.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if objects == 0 { Ok(()) } else { Err(StoreError::Foreign { path: path.to_path_buf() }.into()) }
}

/// Copies the file to `state.db.before-<version>` beside it. A copy of that version that is there already
/// is from a migration that did not end, and stays.
fn back_up(database: &Connection, state: &StateDir, path: &Path, found: u32) -> Result<(), Failure> {
    let name = format!("state.db.before-{}", found.saturating_add(1));
    let file = path.with_file_name(&name);
    let failed = |source| StoreError::File { path: file.clone(), source: Arc::new(source) };
    if !state.create(&name, &[]).map_err(failed)? {
        return Ok(());
    }
    // `VACUUM INTO` accepts an empty file, so the copy has the owner's mode from birth.
    let copied = database.execute("VACUUM INTO ?1", [file.to_string_lossy()]);
    copied.map(|_| ()).map_err(|source| {
        let source = Arc::new(source);
        StoreError::Backup { path: path.to_path_buf(), source }.into()
    })
}

/// The copy that was made before words were sealed, by its name.
const PLAINTEXT: &str = "state.db.before-2";

/// After the words were sealed: what a copy and free pages still hold of them is removed. The copy goes last, so that a
/// start that is cut off does this again.
pub(crate) fn forget_plaintext(database: &Connection, state: &StateDir, path: &Path) -> Result<(), Failure> {
    let file = path.with_file_name(PLAINTEXT);
    let failed = |source| StoreError::File { path: file.clone(), source: Arc::new(source) };
    if !state.list().map_err(failed)?.iter().any(|name| name == PLAINTEXT) {
        return Ok(());
    }
    tracing::warn!("the words in the state db are sealed now; what was plaintext is being removed");
    database.execute_batch("VACUUM")?;
    let truncated: i64 = database.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))?;
    if truncated != 0 {
        tracing::warn!("another program reads the state db; its log is cut back at a later start");
        return Ok(());
    }
    Ok(state.remove(PLAINTEXT).map_err(failed)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: &str = "CREATE TABLE facts (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT;
         INSERT INTO facts VALUES ('boot', 0);";
    const SECOND: &str = "CREATE TABLE more (x INTEGER) STRICT;";
    const BROKEN: &str = "CREATE TABLE half (x INTEGER) STRICT; INSERT INTO missing VALUES (1);";

    struct Place {
        _folder: tempfile::TempDir,
        state: StateDir,
        path: std::path::PathBuf,
        database: Connection,
    }

    impl Place {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let state = StateDir::open_or_create(folder.path()).unwrap();
            let path = folder.path().join("state.db");
            state.create("state.db", &crate::database::empty_file()).unwrap();
            let database = Connection::open(&path).unwrap();
            Self { _folder: folder, state, path, database }
        }

        fn migrate(&mut self, migrations: &[&str]) -> Result<i64, Failure> {
            let found = version(&self.database, &self.path, migrations)?;
            migrate(&mut self.database, found, &self.state, &self.path, migrations)
        }

        fn tables(&self) -> Vec<String> {
            let mut statement =
                self.database.prepare("SELECT name FROM sqlite_schema WHERE type = 'table'").unwrap();
            let names = statement.query_map([], |row| row.get(0)).unwrap();
            names.map(Result::unwrap).collect()
        }
    }

    #[test]
    fn each_migration_runs_once_and_every_opening_is_counted() {
        let mut place = Place::new();
        assert_eq!(place.migrate(&[FIRST]).unwrap(), 1);
        assert_eq!(place.migrate(&[FIRST]).unwrap(), 2);
        assert_eq!(place.migrate(&[FIRST, SECOND]).unwrap(), 3);
        assert_eq!(place.migrate(&[FIRST, SECOND]).unwrap(), 4);
        assert_eq!(place.tables(), ["facts", "more"]);
    }

    #[test]
    fn an_old_file_is_copied_before_it_changes() {
        let mut place = Place::new();
        place.migrate(&[FIRST]).unwrap();
        let copies = |state: &StateDir| {
            state.list().unwrap().into_iter().filter(|name| name.contains("before")).collect::<Vec<_>>()
        };
        assert_eq!(copies(&place.state), Vec::<String>::new(), "a new file has nothing to keep");
        place.migrate(&[FIRST, SECOND]).unwrap();
        assert_eq!(copies(&place.state), ["state.db.before-2"]);
        let copy = Connection::open(place.path.with_file_name("state.db.before-2")).unwrap();
        let version: i64 = copy.query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap();
        let boot: i64 = copy.query_row("SELECT value FROM facts", [], |row| row.get(0)).unwrap();
        assert_eq!((version, boot), (1, 1));
    }

    #[test]
    fn a_migration_that_fails_leaves_the_version_before() {
        let mut place = Place::new();
        place.migrate(&[FIRST]).unwrap();
        assert!(place.migrate(&[FIRST, BROKEN]).is_err());
        assert_eq!(place.tables(), ["facts"]);
        assert_eq!(place.migrate(&[FIRST]).unwrap(), 2);
    }

    #[test]
    fn a_version_that_is_not_known_is_refused() {
        let mut place = Place::new();
        place.migrate(&[FIRST, SECOND]).unwrap();
        let refused = place.migrate(&[FIRST]);
        assert!(
            matches!(refused, Err(Failure::Store(StoreError::Newer { found: 2, known: 1, .. }))),
            "{refused:?}"
        );
    }
}
