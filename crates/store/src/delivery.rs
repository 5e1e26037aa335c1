//! Answers on their way to a channel, and where a channel's driver was.

use moltbot_protocol::ids::RunId;
use moltbot_protocol::sender::Origin;
use rusqlite::{Connection, OptionalExtension as _};

use crate::column::Column;
use crate::database::{self, Failure};
use crate::sealed::Database;
use crate::session;
use crate::turn::TurnId;

/// An answer that waits to be sent.
#[derive(Clone, Debug, PartialEq)]
pub struct WaitingReply {
    /// The turn that it ends.
    pub turn: TurnId,
    /// The turn's run.
    pub run: RunId,
    /// Where it goes.
    pub origin: Origin,
    /// All of it.
    pub text: String,
    /// How many of its pieces were sent.
    pub pieces: u32,
}

/// How far an answer is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Delivery {
    /// It is not sent any more.
    Dropped,
    /// That many pieces are sent, and others are not.
    Partly(u32),
    /// All of it is sent.
    Sent,
}

/// The answers that wait for one account of a channel, in the order of their turns.
pub(crate) fn waiting(
    database: &Database,
    channel: &str,
    account: &str,
    limit: u32,
) -> Result<Vec<WaitingReply>, Failure> {
    let mut statement = database.prepare_cached(
        "SELECT session, session_id, key, outbox.turn, run, origin, text, pieces
         FROM outbox CROSS JOIN turns ON turns.id = outbox.turn CROSS JOIN sessions ON sessions.id = session
         WHERE outbox.state = 'waiting' AND channel = ?1 AND account = ?2 ORDER BY outbox.turn LIMIT ?3",
    )?;
    let mut rows = statement.query((channel, account, limit))?;
    let mut replies = Vec::new();
    while let Some(row) = rows.next()? {
        let (session, turn) = (session::in_row(row)?, TurnId(row.get(3)?));
        let origin = database.unseal(&session.turn(Column::Origin, turn), row.get_ref(5)?)?;
        let text = database.unseal_text(&session.turn(Column::Reply, turn), row.get_ref(6)?)?;
        replies.push(WaitingReply {
            turn,
            run: database::run_id(row.get_ref(4)?.as_str().map_err(rusqlite::Error::from)?)?,
            origin: database::from_json("an origin", &*origin)?,
            text: text.unwrap_or_default(),
            pieces: row.get(7)?,
        });
    }
    Ok(replies)
}

/// Keeps how far an answer is. One that does not wait stays as it is.
pub(crate) fn deliver(database: &Connection, turn: TurnId, delivery: Delivery) -> Result<(), Failure> {
    let (state, pieces) = match delivery {
        Delivery::Dropped => ("dropped", None),
        Delivery::Partly(pieces) => ("waiting", Some(pieces)),
        Delivery::Sent => ("sent", None),
    };
    let mut update = database.prepare_cached(
        "UPDATE outbox SET state = ?2, pieces = coalesce(?3, pieces) WHERE turn = ?1 AND state = 'waiting'",
    )?;
    update.execute((turn.0, state, pieces))?;
    Ok(())
}

/// Where a driver was.
pub(crate) fn cursor(database: &Connection, channel: &str, account: &str) -> Result<Option<String>, Failure> {
    let mut read =
        database.prepare_cached("SELECT cursor FROM cursors WHERE channel = ?1 AND account = ?2")?;
    Ok(read.query_row((channel, account), |row| row.get(0)).optional()?)
}

/// Keeps where a driver is.
pub(crate) fn keep_cursor(
    database: &Connection,
    channel: &str,
    account: &str,
    cursor: &str,
) -> Result<(), Failure> {
    let mut keep = database
        .prepare_cached("INSERT OR REPLACE INTO cursors (channel, account, cursor) VALUES (?1, ?2, ?3)")?;
    keep.execute((channel, account, cursor))?;
    Ok(())
}
