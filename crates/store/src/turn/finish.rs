//! The middle and the end of a turn.

use moltbot_protocol::message::{Message, Usage};
use rusqlite::{Connection, OptionalExtension, named_params};

use super::{Ending, Step, TurnEnd, TurnId, TurnState};
use crate::allowance;
use crate::column::Column;
use crate::database::{self, Failure};
use crate::error::StoreError;
use crate::event;
use crate::quarantine;
use crate::sealed::Database;
use crate::session::{self, Session};

/// Keeps a step of a turn that has no end yet.
pub(crate) fn journal(database: &Database, turn: TurnId, step: Step) -> Result<(), Failure> {
    let session = require_unfinished(database, turn)?;
    let mut messages = step.results;
    let now_ms = match &step.answer {
        Message::Assistant { timestamp, .. }
        | Message::ToolResult { timestamp, .. }
        | Message::User { timestamp, .. } => *timestamp,
    };
    messages.push(step.answer);
    session::append(database, &session, turn, &messages, now_ms)
}

/// Makes the message of one turn a part of another, and ends the turn that it was.
pub(crate) fn absorb(
    database: &Database,
    by: TurnId,
    taken: TurnId,
    results: &[Message],
    now_ms: u64,
) -> Result<(), Failure> {
    let session = require_unfinished(database, by)?;
    let other = require_unfinished(database, taken)?;
    let messages = session::of_turn(database, &other, taken)?;
    let is_untouched = matches!(messages.as_slice(), [Message::User { .. }]);
    if session.row != other.row || by == taken || !is_untouched {
        return Err(StoreError::NotAbsorbed { turn: taken }.into());
    }
    session::forget_turn(database, &other, taken)?;
    session::append(database, &session, by, &[results, messages.as_slice()].concat(), now_ms)?;
    let mut end = database.prepare_cached(
        "UPDATE turns SET state = :state, ended_ms = :ended, usage = :usage, cost = 0 WHERE id = :turn",
    )?;
    end.execute(named_params! {
        ":state": TurnState::Done.name(),
        ":ended": database::whole(now_ms),
        ":usage": database::to_json(&Usage::default())?,
        ":turn": taken.0,
    })?;
    Ok(())
}

/// Ends a turn: its last messages, its reply, its state, and what it adds to its session.
pub(crate) fn finish(database: &Database, turn: TurnId, end: &TurnEnd) -> Result<(), Failure> {
    let session = require_unfinished(database, turn)?;
    if end.ending == Ending::Done {
        require_first(database, turn, session.row)?;
    }
    if end.is_silent {
        session::forget_turn(database, &session, turn)?;
        session::describe_anew(database, &session)?;
    } else {
        session::append(database, &session, turn, &end.messages, end.ended_ms)?;
    }
    if let Some(reply) = &end.reply {
        let mut statement = database.prepare_cached(
            "INSERT INTO outbox (turn, text, state)
             SELECT id, ?2, CASE WHEN origin IS NULL THEN NULL ELSE 'waiting' END FROM turns WHERE id = ?1",
        )?;
        let reply = database.seal(&session.turn(Column::Reply, turn), reply.as_bytes())?;
        statement.execute((turn.0, reply))?;
    }
    if let Some((source, text)) = &end.event {
        event::insert(database, source, text, end.ended_ms)?;
    }
    event::settle(database, turn, end.ending == Ending::Done)?;
    end.notices.iter().try_for_each(|notice| quarantine::put(database, notice))?;
    let mut statement = database.prepare_cached(
        "UPDATE turns SET state = :state, ended_ms = :ended, error = :error, usage = :usage, cost = :cost
         WHERE id = :turn",
    )?;
    statement.execute(named_params! {
        ":state": TurnState::from(end.ending).name(),
        ":ended": database::whole(end.ended_ms),
        ":error": database.seal_text(&session.turn(Column::Error, turn), end.error.as_deref())?,
        ":usage": database::to_json(&end.usage)?,
        ":cost": (!end.unpriced).then(|| database::whole(end.cost)),
        ":turn": turn.0,
    })?;
    allowance::add_turn(database, turn, end)?;
    session::add_totals(database, session.row, end)
}

/// The session of a turn that has no end yet.
fn require_unfinished(database: &Connection, turn: TurnId) -> Result<Session, Failure> {
    let mut statement = database.prepare_cached(
        "SELECT session, session_id, key, state FROM turns JOIN sessions ON sessions.id = session
         WHERE turns.id = ?1",
    )?;
    let found = statement
        .query_row([turn.0], |row| Ok((session::in_row(row)?, row.get::<_, String>(3)?)))
        .optional()?;
    let (session, state) = found.ok_or(StoreError::UnknownTurn { turn })?;
    match TurnState::parse(&state) {
        Some(TurnState::Received) => Ok(session),
        Some(TurnState::Aborted | TurnState::Done | TurnState::Error) => {
            Err(StoreError::AlreadyEnded { turn }.into())
        }
        None => Err(database::unreadable("a turn's state", &state).into()),
    }
}

/// Refuses to answer a message before one that came earlier: the answer would not know it.
fn require_first(database: &Connection, turn: TurnId, session: i64) -> Result<(), Failure> {
    let mut statement = database.prepare_cached(
        "SELECT id FROM turns WHERE session = ?1 AND state = 'received' AND id < ?2 ORDER BY id LIMIT 1",
    )?;
    let earlier = statement.query_row([session, turn.0], |row| row.get(0)).optional()?;
    earlier.map_or(Ok(()), |earlier| Err(StoreError::OutOfOrder { turn, earlier: TurnId(earlier) }.into()))
}
