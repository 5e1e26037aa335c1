//! The schema and its versions.
//!
//! `user_version` in the file says how many of [`MIGRATIONS`] it has seen. Those that are missing run in one
//! transaction with the new number, so a crash leaves either version and nothing between.

use std::path::Path;
use std::sync::Arc;

use moltbot_vault::{FileError, StateDir};
use rusqlite::{Connection, Transaction, TransactionBehavior};

use crate::database::Failure;
use crate::error::StoreError;
use crate::sealed::Database;
use crate::{canary, reseal, scrub};

/// How a file comes from one schema to the next.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Migration {
    /// Words are sealed, between two pieces of SQL.
    Seal { before: &'static str, after: &'static str },
    /// By SQL alone.
    Sql(&'static str),
}

/// Every schema, oldest first.
pub(crate) const MIGRATIONS: [Migration; 12] = [
    Migration::Sql(include_str!("schema/1.sql")),
    Migration::Seal { before: include_str!("schema/2.sql"), after: include_str!("schema/2-after.sql") },
    Migration::Sql(include_str!("schema/3.sql")),
    Migration::Sql(include_str!("schema/4.sql")),
    Migration::Sql(include_str!("schema/5.sql")),
    Migration::Sql(include_str!("schema/6.sql")),
    Migration::Sql(include_str!("schema/7.sql")),
    Migration::Sql(include_str!("schema/8.sql")),
    Migration::Sql(include_str!("schema/9.sql")),
    Migration::Sql(include_str!("schema/10.sql")),
    Migration::Sql(include_str!("schema/11.sql")),
    Migration::Sql(include_str!("schema/12.sql")),
];
/// The same for a file that has no schema yet: the newest at once. Renaming and dropping columns is what SQLite is slowest
/// at, and half of what the first start had to wait for.
pub(crate) const NEW: &str = include_str!("schema/new.sql");
/// The first schema whose words are sealed.
pub(crate) const SEALED: u32 = 2;

/// The schema that the file has; 0 for a file that was just created. Nothing is written: a file that is not
/// ours stays as it is.
pub(crate) fn version(database: &Connection, path: &Path, migrations: &[Migration]) -> Result<u32, Failure> {
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

fn known(migrations: &[Migration]) -> u32 {
    u32::try_from(migrations.len()).unwrap_or(u32::MAX)
}

/// Brings the file from schema `found` to the newest and counts this opening. Returns its number.
///
/// An old file is copied first, unless its words are plaintext: a copy would be one more place where they can be read,
/// it could only be removed again, and the transaction keeps the old schema as well as a copy does.
pub(crate) fn migrate(
    database: &Database,
    found: u32,
    state: &StateDir,
    path: &Path,
    migrations: &[Migration],
) -> Result<i64, Failure> {
    let missing = migrations.get(usize::try_from(found).unwrap_or(usize::MAX)..).unwrap_or_default();
    let seals = missing.iter().any(|migration| matches!(migration, Migration::Seal { .. }));
    if missing.is_empty() {
        return Ok(count_boot(database)?);
    }
    if found > 0 && !seals {
        back_up(database, state, path, found)?;
    }
    if found == 0 || !seals {
        return run(database, found, missing, known(migrations));
    }
    tracing::info!("sealing the words in the state db; this is done once");
    // What SQLite sets aside to undo a statement would be a file of plaintext elsewhere.
    database.pragma_update(None, "temp_store", "MEMORY")?;
    let boot = run(database, found, missing, known(migrations))?;
    database.pragma_update(None, "temp_store", "DEFAULT")?;
    Ok(boot)
}

/// Gives a file without a schema the newest. Returns the number of this opening.
pub(crate) fn create(database: &Database) -> Result<i64, Failure> {
    let transaction = Transaction::new_unchecked(database, TransactionBehavior::Immediate)?;
    database.execute_batch(NEW)?;
    canary::put(database)?;
    database.pragma_update(None, "user_version", known(&MIGRATIONS))?;
    let boot = count_boot(database)?;
    transaction.commit()?;
    Ok(boot)
}

/// Runs what is missing, in one transaction.
fn run(database: &Database, found: u32, missing: &[Migration], known: u32) -> Result<i64, Failure> {
    let transaction = Transaction::new_unchecked(database, TransactionBehavior::Immediate)?;
    for migration in missing {
        match migration {
            Migration::Seal { before, after } => {
                database.execute_batch(before)?;
                if found > 0 {
                    reseal::seal_plaintext(database)?;
                    scrub::mark(database)?;
                }
                canary::put(database)?;
                database.execute_batch(after)?;
            }
            Migration::Sql(sql) => database.execute_batch(sql)?,
        }
    }
    database.pragma_update(None, "user_version", known)?;
    let boot = count_boot(database)?;
    transaction.commit()?;
    Ok(boot)
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

/// A copy of the first schema is plaintext. None is made any more; one that an earlier build left is removed.
pub(crate) fn remove_plaintext(state: &StateDir, path: &Path) -> Result<(), Failure> {
    let name = format!("state.db.before-{SEALED}");
    let file = path.with_file_name(&name);
    match state.remove(&name) {
        Ok(()) => tracing::warn!(?file, "a copy of the state db in plaintext was removed"),
        Err(FileError::Missing { .. }) => {}
        Err(source) => return Err(StoreError::File { path: file, source: Arc::new(source) }.into()),
    }
    Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Migration = Migration::Sql(
        "CREATE TABLE facts (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT;
         INSERT INTO facts VALUES ('boot', 0);",
    );
    const SECOND: Migration = Migration::Sql("CREATE TABLE more (x INTEGER) STRICT;");
    const BROKEN: Migration =
        Migration::Sql("CREATE TABLE half (x INTEGER) STRICT; INSERT INTO missing VALUES (1);");

    struct Place {
        _folder: tempfile::TempDir,
        state: StateDir,
        path: std::path::PathBuf,
        database: Database,
    }

    impl Place {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let state = StateDir::open_or_create(folder.path()).unwrap();
            let path = folder.path().join("state.db");
            state.create("state.db", &crate::database::empty_file()).unwrap();
            let database = Database::new(Connection::open(&path).unwrap(), moltbot_testkit::vault(&state));
            Self { _folder: folder, state, path, database }
        }

        fn migrate(&mut self, migrations: &[Migration]) -> Result<i64, Failure> {
            let found = version(&self.database, &self.path, migrations)?;
            migrate(&self.database, found, &self.state, &self.path, migrations)
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
