//! What the agent is told when it looks around next: it stays until a heartbeat that was told it has ended well, so that a
//! crash loses none.

use crate::column::Column;
use crate::database::{self, Failure};
use crate::quarantine::{place, seal_row};
use crate::sealed::Database;

/// Something that the agent is to be told.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SystemEvent {
    /// Its number: later ones have larger numbers.
    pub id: i64,
    /// When it was said, in milliseconds since the epoch.
    pub said_ms: u64,
    /// What; sealed.
    pub text: String,
}

/// Keeps what is to be told. `false` when `most` wait already.
pub(crate) fn keep(database: &Database, text: &str, most: u32, now_ms: u64) -> Result<bool, Failure> {
    let waiting: u32 = database.query_row("SELECT count(*) FROM system_events", [], |row| row.get(0))?;
    if waiting >= most {
        return Ok(false);
    }
    let mut insert = database.prepare_cached("INSERT INTO system_events (said_ms, text) VALUES (?1, x'')")?;
    let id = insert.insert([database::whole(now_ms)])?;
    let update = "UPDATE system_events SET text = ?2 WHERE id = ?1";
    seal_row(database, id, update, &[(Column::SystemEvent, text.as_bytes())])?;
    Ok(true)
}

/// All that waits, in the order in which it was said.
pub(crate) fn all(database: &Database) -> Result<Vec<SystemEvent>, Failure> {
    let mut statement = database.prepare_cached("SELECT id, said_ms, text FROM system_events ORDER BY id")?;
    let mut rows = statement.query([])?;
    let mut events = Vec::new();
    while let Some(row) = rows.next()? {
        let id = row.get(0)?;
        let text = database.unseal_text(&place(Column::SystemEvent, id), row.get_ref(2)?)?;
        events.push(SystemEvent { id, said_ms: row.get(1)?, text: text.unwrap_or_default() });
    }
    Ok(events)
}

/// Forgets what was told: all up to that number.
pub(crate) fn forget(database: &Database, last: i64) -> Result<(), Failure> {
    database.prepare_cached("DELETE FROM system_events WHERE id <= ?1")?.execute([last])?;
    Ok(())
}
