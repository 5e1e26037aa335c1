//! What a model wrote in place of the older turns of a session.
//!
//! A transcript is never shortened: a summary is a row beside it, and the newest that a turn may know is told to its model.

use moltbot_protocol::principal::Principal;
use rusqlite::OptionalExtension;
use serde::{Deserialize, Serialize};

use super::{Session, in_row};
use crate::column::{Column, row};
use crate::database::{self, Failure};
use crate::error::StoreError;
use crate::sealed::Database;
use crate::turn::TurnId;

/// What stands for older turns.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// What a model wrote. As untrusted as the least trusted of `sources`.
    pub text: String,
    /// Who caused the turns that it stands for, each once.
    pub sources: Vec<Principal>,
    /// Tokens of what it stands for, as estimated.
    pub tokens_before: u64,
    /// When it was written, in milliseconds since the epoch.
    pub written_ms: u64,
}

/// Keeps a summary of the turns before `kept`, in the session of `turn`.
pub(crate) fn summarize(
    database: &Database,
    turn: TurnId,
    kept: TurnId,
    summary: &Summary,
) -> Result<(), Failure> {
    let session = session_of(database, turn)?;
    let mut insert =
        database.prepare_cached("INSERT INTO summaries (session, kept, body) VALUES (?1, ?2, x'')")?;
    let id = insert.insert((session.row, kept.0))?;
    // Its place has the number that the row has just got.
    let body =
        database.seal(&session.place(Column::Summary, row(id)), database::to_json(summary)?.as_bytes())?;
    database.prepare_cached("UPDATE summaries SET body = ?1 WHERE id = ?2")?.execute((body, id))?;
    Ok(())
}

/// The newest summary that `turn` may know, and the first turn that it does not stand for.
pub(super) fn latest(
    database: &Database,
    session: &Session,
    turn: TurnId,
) -> Result<Option<(Summary, TurnId)>, Failure> {
    let mut statement = database.prepare_cached(
        "SELECT id, kept, body FROM summaries WHERE session = ?1 AND kept <= ?2 ORDER BY id DESC LIMIT 1",
    )?;
    let mut rows = statement.query([session.row, turn.0])?;
    let Some(found) = rows.next()? else { return Ok(None) };
    let place = session.place(Column::Summary, row(found.get(0)?));
    let body = database.unseal(&place, found.get_ref(2)?)?;
    Ok(Some((database::from_json("a summary", &*body)?, TurnId(found.get(1)?))))
}

fn session_of(database: &Database, turn: TurnId) -> Result<Session, Failure> {
    let mut statement = database.prepare_cached(
        "SELECT session, session_id, key FROM turns JOIN sessions ON sessions.id = session WHERE turns.id = ?1",
    )?;
    let found = statement.query_row([turn.0], in_row).optional()?;
    found.ok_or_else(|| StoreError::UnknownTurn { turn }.into())
}
