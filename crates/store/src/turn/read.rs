//! What is known of turns.

use std::borrow::Cow;

use moltbot_protocol::ids::RunId;
use moltbot_protocol::message::{InboundMessage, Message, Usage};
use rusqlite::{Connection, Row};

use super::{PendingTurn, RunStatus, Step, TurnId, TurnState};
use crate::database::{self, Failure};

/// The turns without an end, in the order of their acceptance.
pub(crate) fn pending(database: &Connection) -> Result<Vec<PendingTurn>, Failure> {
    let mut statement = database.prepare_cached(
        "SELECT turns.id, turns.session, session_id, accepted_ms, channel, account, external_id, key, run,
                unseal('turns/' || run || '/extra', extra_system_prompt), timeout_ms
         FROM turns JOIN sessions ON sessions.id = turns.session
         WHERE state = 'received' ORDER BY turns.id",
    )?;
    let mut rows = statement.query([])?;
    let mut turns = Vec::new();
    while let Some(row) = rows.next()? {
        turns.push(pending_turn(database, row)?);
    }
    Ok(turns)
}

fn pending_turn(database: &Connection, row: &Row<'_>) -> Result<PendingTurn, Failure> {
    let id = TurnId(row.get(0)?);
    let (text, steps) = said_in(database, row.get(1)?, id)?;
    Ok(PendingTurn {
        id,
        session_id: row.get(2)?,
        accepted_ms: row.get(3)?,
        message: InboundMessage {
            channel: Cow::Owned(row.get(4)?),
            account: row.get(5)?,
            external_id: row.get(6)?,
            session: database::session_key(row.get(7)?)?,
            run: database::run_id(row.get_ref(8)?.as_str().map_err(rusqlite::Error::from)?)?,
            extra_system_prompt: row.get(9)?,
            timeout_ms: row.get(10)?,
            text,
        },
        steps,
    })
}

/// The person's text of a turn, and its steps: each ends with what the model said.
fn said_in(database: &Connection, session: i64, turn: TurnId) -> Result<(String, Vec<Step>), Failure> {
    let mut statement = database.prepare_cached(
        "SELECT unseal('messages/' || session || '/' || turn || '/' || seq, body)
         FROM messages WHERE session = ?1 AND turn = ?2 ORDER BY seq",
    )?;
    let mut rows = statement.query([session, turn.0])?;
    let (mut text, mut steps, mut results) = (String::new(), Vec::new(), Vec::new());
    while let Some(row) = rows.next()? {
        let body = row.get_ref(0)?.as_str().map_err(rusqlite::Error::from)?;
        match database::from_json("a message", body)? {
            user @ Message::User { .. } => text = user.text(),
            result @ Message::ToolResult { .. } => results.push(result),
            answer @ Message::Assistant { .. } => {
                steps.push(Step { results: std::mem::take(&mut results), answer });
            }
        }
    }
    Ok((text, steps))
}

/// How far the run is; nothing when there is no such run.
pub(crate) fn run_status(database: &Connection, run: &RunId) -> Result<Option<RunStatus>, Failure> {
    let mut statement = database.prepare_cached(
        "SELECT turns.id, turns.session, key, state, accepted_ms, ended_ms,
                unseal('turns/' || run || '/error', error), turns.usage, unseal('outbox/' || turns.id, text)
         FROM turns JOIN sessions ON sessions.id = turns.session LEFT JOIN outbox ON outbox.turn = turns.id
         WHERE run = ?1",
    )?;
    let mut rows = statement.query([run.as_str()])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let state: String = row.get(3)?;
    let state = TurnState::parse(&state).ok_or_else(|| database::unreadable("a turn's state", &state))?;
    let usage: Option<String> = row.get(7)?;
    let text = match row.get(8)? {
        Some(reply) => Some(reply),
        None if state == TurnState::Received => None,
        None => last_words(database, row.get(1)?, TurnId(row.get(0)?))?,
    };
    Ok(Some(RunStatus {
        run: run.clone(),
        session: database::session_key(row.get(2)?)?,
        state,
        accepted_ms: row.get(4)?,
        ended_ms: row.get(5)?,
        text,
        error: row.get(6)?,
        usage: usage.map_or(Ok(Usage::default()), |usage| database::from_json("a usage", &usage))?,
    }))
}

/// What the model said last in a turn.
fn last_words(database: &Connection, session: i64, turn: TurnId) -> Result<Option<String>, Failure> {
    let mut statement = database.prepare_cached(
        "SELECT unseal('messages/' || session || '/' || turn || '/' || seq, body)
         FROM messages WHERE session = ?1 AND turn = ?2 ORDER BY seq DESC",
    )?;
    let mut rows = statement.query([session, turn.0])?;
    while let Some(row) = rows.next()? {
        let body = row.get_ref(0)?.as_str().map_err(rusqlite::Error::from)?;
        let message: Message = database::from_json("a message", body)?;
        if matches!(message, Message::Assistant { .. }) {
            return Ok(Some(message.text()));
        }
    }
    Ok(None)
}
