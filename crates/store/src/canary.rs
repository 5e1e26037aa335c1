//! One word that opens with the keys of this installation alone, so that a file with other keys is found at once and
//! not at the first row that somebody reads.

use std::path::Path;

use rusqlite::OptionalExtension;

use crate::column::{Column, Place, row};
use crate::database::Failure;
use crate::error::StoreError;
use crate::sealed::Database;

const PLACE: Place<'static> = Place { column: Column::Canary, row: row(1), session_id: "", key: "" };
/// Says what it is to whoever opens it.
const WORD: &[u8] = b"moltbot state db";

/// Puts it into a file whose words are all sealed.
pub(crate) fn put(database: &Database) -> Result<(), Failure> {
    let sealed = database.seal(&PLACE, WORD)?;
    database.execute("INSERT INTO canary (id, sealed) VALUES (1, ?1)", [sealed])?;
    Ok(())
}

/// Refuses a file that was sealed with other keys.
pub(crate) fn require(database: &Database, path: &Path) -> Result<(), Failure> {
    let other = |detail| StoreError::OtherKeys { path: path.to_path_buf(), detail };
    let missing = || other("what tells whose it is, is missing".into()).into();
    if !database.table_exists(None, "canary")? {
        return Err(missing());
    }
    let opened = |row: &rusqlite::Row<'_>| Ok(database.unseal(&PLACE, row.get_ref(0)?));
    let opened = database.query_row("SELECT sealed FROM canary WHERE id = 1", [], opened).optional()?;
    match opened {
        Some(Ok(_)) => Ok(()),
        Some(Err(StoreError::Sealed { detail, .. })) => Err(other(detail).into()),
        Some(Err(error)) => Err(error.into()),
        None => Err(missing()),
    }
}
