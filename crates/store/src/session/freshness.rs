//! When something was last said in a session, and the beginning anew that depends on it.

use moltbot_protocol::ids::SessionKey;
use rusqlite::Connection;

use super::{Session, current, reset};
use crate::database::Failure;
use crate::sealed::Database;

/// When something was last said in the session, in milliseconds since the epoch, by whatever channel but `silent`; when it
/// began where nothing was. Nothing when there is no such session, or something waits in it for its answer.
pub(crate) fn last_said(
    database: &Connection,
    key: &SessionKey,
    silent: &str,
) -> Result<Option<u64>, Failure> {
    let Some(session) = current(database, key)? else { return Ok(None) };
    if is_waited_in(database, &session)? {
        return Ok(None);
    }
    let mut newest = database.prepare_cached(
        "SELECT accepted_ms, channel FROM messages JOIN turns ON turns.id = messages.turn
         WHERE messages.session = ?1 ORDER BY messages.turn DESC, seq DESC",
    )?;
    let mut rows = newest.query([session.row])?;
    while let Some(row) = rows.next()? {
        if row.get_ref(1)?.as_str().map_err(rusqlite::Error::from)? != silent {
            return Ok(Some(row.get(0)?));
        }
    }
    let mut created = database.prepare_cached("SELECT created_ms FROM sessions WHERE id = ?1")?;
    Ok(Some(created.query_row([session.row], |row| row.get(0))?))
}

pub(super) fn is_waited_in(database: &Connection, session: &Session) -> rusqlite::Result<bool> {
    let mut waiting =
        database.prepare_cached("SELECT 1 FROM turns WHERE session = ?1 AND state = 'received' LIMIT 1")?;
    waiting.exists([session.row])
}

/// Begins the session anew, unless something was said in it after `last_ms` or waits for its answer. The new id.
pub(crate) fn reset_since(
    database: &Database,
    key: &SessionKey,
    (last_ms, silent): (u64, &str),
    now_ms: u64,
) -> Result<Option<String>, Failure> {
    match last_said(database, key, silent)? {
        Some(last) if last == last_ms => reset(database, key, now_ms),
        Some(_) | None => Ok(None),
    }
}
