//! Answers and notices on their way to a channel, and where a channel's driver was.

use std::fmt;

use moltbot_protocol::ids::RunId;
use moltbot_protocol::sender::Origin;
use rusqlite::{Connection, OptionalExtension as _};

use crate::column::Column;
use crate::database::{self, Failure};
use crate::quarantine;
use crate::sealed::Database;
use crate::session;
use crate::turn::TurnId;

/// What waits to be sent, by its number.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Outbound {
    /// Something that the gateway itself has to tell.
    Notice(i64),
    /// The answer of a turn.
    Reply(TurnId, RunId),
}

impl fmt::Display for Outbound {
    /// A name that no other has: what a vendor is told to know by it what it has already.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Notice(id) => write!(f, "notice-{id}"),
            Self::Reply(_, run) => f.write_str(run.as_str()),
        }
    }
}

/// An answer or a notice that waits to be sent.
#[derive(Clone, Debug, PartialEq)]
pub struct WaitingReply {
    /// What it is.
    pub what: Outbound,
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

/// What waits for one account of a channel: notices, then answers in the order of their turns.
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
    let mut replies = notices(database, channel, account, limit)?;
    while let Some(row) = rows.next()? {
        let (session, turn) = (session::in_row(row)?, TurnId(row.get(3)?));
        let origin = database.unseal(&session.turn(Column::Origin, turn), row.get_ref(5)?)?;
        let text = database.unseal_text(&session.turn(Column::Reply, turn), row.get_ref(6)?)?;
        let run = database::run_id(row.get_ref(4)?.as_str().map_err(rusqlite::Error::from)?)?;
        replies.push(WaitingReply {
            what: Outbound::Reply(turn, run),
            origin: database::from_json("an origin", &*origin)?,
            text: text.unwrap_or_default(),
            pieces: row.get(7)?,
        });
    }
    Ok(replies)
}

fn notices(
    database: &Database,
    channel: &str,
    account: &str,
    limit: u32,
) -> Result<Vec<WaitingReply>, Failure> {
    let mut statement = database.prepare_cached(
        "SELECT id, origin, text, pieces FROM notices WHERE channel = ?1 AND account = ?2 ORDER BY id LIMIT ?3",
    )?;
    let mut rows = statement.query((channel, account, limit))?;
    let mut notices = Vec::new();
    while let Some(row) = rows.next()? {
        let id = row.get(0)?;
        let origin = database.unseal(&quarantine::place(Column::NoticeOrigin, id), row.get_ref(1)?)?;
        let text = database.unseal_text(&quarantine::place(Column::NoticeText, id), row.get_ref(2)?)?;
        notices.push(WaitingReply {
            what: Outbound::Notice(id),
            origin: database::from_json("an origin", &*origin)?,
            text: text.unwrap_or_default(),
            pieces: row.get(3)?,
        });
    }
    Ok(notices)
}

/// Keeps how far an answer or a notice is. What does not wait stays as it is; a notice that is done is gone.
pub(crate) fn deliver(database: &Connection, what: &Outbound, delivery: Delivery) -> Result<(), Failure> {
    let turn = match (what, delivery) {
        (Outbound::Reply(turn, _), _) => turn,
        (Outbound::Notice(id), Delivery::Partly(pieces)) => {
            let mut update = database.prepare_cached("UPDATE notices SET pieces = ?2 WHERE id = ?1")?;
            update.execute((id, pieces))?;
            return Ok(());
        }
        (Outbound::Notice(id), Delivery::Dropped | Delivery::Sent) => {
            database.prepare_cached("DELETE FROM notices WHERE id = ?1")?.execute([id])?;
            return Ok(());
        }
    };
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

/// Where the messages of the last `turns` turns came from, newest first; those of no channel are left out.
pub(crate) fn last_origins(database: &Database, turns: u32) -> Result<Vec<Origin>, Failure> {
    let mut statement = database.prepare_cached(
        "SELECT session, session_id, key, turns.id, origin
         FROM turns CROSS JOIN sessions ON sessions.id = session
         WHERE turns.id > (SELECT max(id) FROM turns) - ?1 AND origin IS NOT NULL ORDER BY turns.id DESC",
    )?;
    let mut rows = statement.query([turns])?;
    let mut origins = Vec::new();
    while let Some(row) = rows.next()? {
        let (session, turn) = (session::in_row(row)?, TurnId(row.get(3)?));
        let origin = database.unseal(&session.turn(Column::Origin, turn), row.get_ref(4)?)?;
        origins.push(database::from_json("an origin", &*origin)?);
    }
    Ok(origins)
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
