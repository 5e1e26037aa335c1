//! Layer 6 in the database: the columns that hold words are sealed, by functions that SQL calls.
//!
//! A sealed text is bound to its row: one that was moved to another row, or changed, does not open, and the statement
//! fails. Keys of sessions, ids, counts and times are readable: they are what is searched for.

use moltbot_vault::{Vault, unseal_text};
use rusqlite::functions::{Context, FunctionFlags};
use rusqlite::{Connection, Error};

use crate::database::Failure;
use crate::error::StoreError;

/// Whether the keys are those of the file.
const CHECK: &str = "SELECT unseal('seals/check', value) FROM seals WHERE name = 'check'";
/// Everything that is sealed, again where it was not sealed with the newest key. One table after the other, each in a
/// transaction of its own.
const RESEAL: [&str; 5] = [
    "UPDATE messages SET body = reseal('messages/' || session || '/' || turn || '/' || seq, body)
     WHERE is_old(body)",
    "UPDATE outbox SET text = reseal('outbox/' || turn, text) WHERE is_old(text)",
    "UPDATE sessions SET title = reseal('sessions/' || id || '/title', title),
                         last_message = reseal('sessions/' || id || '/last', last_message)
     WHERE is_old(title) OR is_old(last_message)",
    "UPDATE turns SET extra_system_prompt = reseal('turns/' || run || '/extra', extra_system_prompt),
                      error = reseal('turns/' || run || '/error', error)
     WHERE is_old(extra_system_prompt) OR is_old(error)",
    "UPDATE seals SET value = reseal('seals/' || name, value) WHERE is_old(value)",
];

/// Teaches a connection to seal and to open.
pub(crate) fn teach(connection: &Connection, vault: &Vault) -> rusqlite::Result<()> {
    let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DIRECTONLY;
    let keys = vault.clone();
    connection.create_scalar_function("seal", 2, flags, move |call| {
        map(call, |place, text| keys.seal_text(place, text))
    })?;
    let keys = vault.clone();
    connection.create_scalar_function("unseal", 2, flags, move |call| {
        map(call, |place, text| Ok(unseal_text(&keys, place, text)?.as_str().to_owned()))
    })?;
    let keys = vault.clone();
    connection.create_scalar_function("reseal", 2, flags, move |call| {
        map(call, |place, text| keys.seal_text(place, &unseal_text(&keys, place, text)?))
    })?;
    let keys = vault.clone();
    connection.create_scalar_function("is_old", 1, flags, move |call| {
        let text: Option<String> = call.get(0)?;
        Ok(text.is_some_and(|text| !keys.is_current_text(&text)))
    })
}

fn map(
    call: &Context<'_>,
    work: impl FnOnce(&str, &str) -> Result<String, moltbot_vault::SealError>,
) -> rusqlite::Result<Option<String>> {
    let (place, text): (String, Option<String>) = (call.get(0)?, call.get(1)?);
    let Some(text) = text else { return Ok(None) };
    work(&place, &text).map(Some).map_err(|error| Error::UserFunctionError(error.into()))
}

/// Refuses keys with which nothing in the file would open.
pub(crate) fn require_ours(connection: &Connection) -> Result<(), Failure> {
    let opened: Result<String, Error> = connection.query_row(CHECK, [], |row| row.get(0));
    match opened {
        Ok(_) => Ok(()),
        Err(error) => Err(StoreError::Unreadable { what: "a seal", detail: error.to_string() }.into()),
    }
}

/// Seals again what was not sealed with the newest key. How many rows there were.
pub(crate) fn reseal(connection: &Connection, table: usize) -> Result<Option<usize>, Failure> {
    let Some(sql) = RESEAL.get(table) else { return Ok(None) };
    Ok(Some(connection.execute(sql, [])?))
}
