//! Removing what was written over.
//!
//! `secure_delete` zeroes what is deleted where it stood. It knows nothing of older copies that SQLite left in unused
//! parts of pages when it moved rows, nor of the log. After plaintext was sealed, after everything was sealed with a
//! new key, and after a transcript was deleted, the file is therefore written anew. A mark in the file says that this
//! is still to be done, so that a program that was killed in between does it when it opens the file again.

use std::time::Duration;

use moltbot_config::limits;
use rusqlite::OptionalExtension;

use crate::database::{BUSY, Failure};
use crate::sealed::{After, Database};

/// Marks the file, in the transaction that writes over something.
pub(crate) fn mark(database: &Database) -> Result<(), Failure> {
    database.prepare_cached("INSERT OR IGNORE INTO facts (name, value) VALUES ('scrub', 1)")?.execute([])?;
    Ok(())
}

/// Whether the file is still to be written anew.
pub(crate) fn is_marked(database: &Database) -> Result<bool, Failure> {
    let mut statement = database.prepare_cached("SELECT 1 FROM facts WHERE name = 'scrub'")?;
    Ok(statement.query_row([], |_| Ok(())).optional()?.is_some())
}

/// Marks the file after a deletion, and asks for it to be written anew: at once when it is small, and when it is closed
/// when that would keep others waiting. The log is cut off at once in any case.
pub(crate) fn after_deletion(database: &Database) -> Result<(), Failure> {
    mark(database)?;
    let mut statement =
        database.prepare_cached("SELECT page_count * page_size FROM pragma_page_count, pragma_page_size")?;
    let bytes: i64 = statement.query_row([], |row| row.get(0))?;
    database.ask(if bytes <= limits::STATE_SCRUBBED_BYTES { After::Scrub } else { After::Cut });
    Ok(())
}

/// Writes the file anew, if it is marked. Outside of any transaction.
///
/// The log is copied into the file first: zeros over what was deleted, before the file gets shorter and gives those
/// blocks away.
pub(crate) fn scrub(database: &Database) -> Result<(), Failure> {
    if !is_marked(database)? {
        return Ok(());
    }
    tracing::info!("the state db is written anew, without what was written over");
    cut_log(database)?;
    database.execute_batch("VACUUM")?;
    database.execute("DELETE FROM facts WHERE name = 'scrub'", [])?;
    cut_log(database)
}

/// Copies the log into the file and cuts it off. While somebody reads an older state it stays, and this is asked for
/// again: the writer waits for nobody.
pub(crate) fn cut_log(database: &Database) -> Result<(), Failure> {
    database.busy_timeout(Duration::ZERO)?;
    let busy = database.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, i64>(0));
    database.busy_timeout(BUSY)?;
    if busy? != 0 {
        database.ask(After::Cut);
    }
    Ok(())
}
