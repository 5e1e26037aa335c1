//! What is known of turns.

use std::borrow::Cow;

use moltbot_protocol::ids::RunId;
use moltbot_protocol::message::{InboundMessage, Look, Message, Part, SentImage, ThinkingLevel, Usage};
use moltbot_protocol::principal::Principal;
use rusqlite::Row;

use super::{PendingTurn, RunStatus, Step, TurnId, TurnState};
use crate::column::Column;
use crate::database::{self, Failure};
use crate::sealed::Database;
use crate::session::{self, Session};

/// The turns without an end, in the order of their acceptance.
pub(crate) fn pending(database: &Database) -> Result<Vec<PendingTurn>, Failure> {
    let mut statement = database.prepare_cached(
        "SELECT session, session_id, key, turns.id, accepted_ms, channel, account, external_id, run,
                extra_system_prompt, timeout_ms, origin, thinking, tells
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

fn pending_turn(database: &Database, row: &Row<'_>) -> Result<PendingTurn, Failure> {
    let (session, id) = (session::in_row(row)?, TurnId(row.get(3)?));
    let Said { text, look, images, principal, steps, tail } = said_in(database, &session, id)?;
    let extra_system_prompt = database.unseal_text(&session.turn(Column::Prompt, id), row.get_ref(9)?)?;
    let origin = database.unseal_text(&session.turn(Column::Origin, id), row.get_ref(11)?)?;
    let origin = origin.map(|origin| database::from_json("an origin", origin)).transpose()?;
    let thinking: Option<String> = row.get(12)?;
    let thinking = thinking.map(|name| {
        ThinkingLevel::parse(&name).ok_or_else(|| database::unreadable("a level of thinking", &name))
    });
    Ok(PendingTurn {
        id,
        accepted_ms: row.get(4)?,
        message: InboundMessage {
            channel: Cow::Owned(row.get(5)?),
            account: row.get(6)?,
            external_id: row.get(7)?,
            session: database::session_key(session.key)?,
            run: database::run_id(row.get_ref(8)?.as_str().map_err(rusqlite::Error::from)?)?,
            extra_system_prompt,
            origin,
            timeout_ms: row.get(10)?,
            thinking: thinking.transpose()?,
            tells: row.get(13)?,
            look,
            principal,
            text,
            images,
        },
        session_id: session.session_id,
        steps,
        tail,
    })
}

/// What was said in a turn.
struct Said {
    /// The text that the turn answers.
    text: String,
    /// What it was told besides, when it is a heartbeat.
    look: Option<Box<Look>>,
    /// The pictures that came with it.
    images: Vec<SentImage>,
    /// Who caused it: sealed with the text, so that nobody makes one's words another's.
    principal: Principal,
    /// Each ends with what the model said.
    steps: Vec<Step>,
    /// What came after the last of them.
    tail: Vec<Message>,
}

fn said_in(database: &Database, session: &Session, turn: TurnId) -> Result<Said, Failure> {
    let mut statement = database
        .prepare_cached("SELECT seq, body FROM messages WHERE session = ?1 AND turn = ?2 ORDER BY seq")?;
    let mut rows = statement.query([session.row, turn.0])?;
    let (mut asked, mut steps, mut results) = (None, Vec::new(), Vec::new());
    while let Some(row) = rows.next()? {
        match message(database, session, turn, row)? {
            // The first message is the one that the turn answers; others were taken in.
            Message::User { content, principal, .. } if asked.is_none() => {
                asked = Some((said_by(content, &principal), principal));
            }
            result @ (Message::ToolResult { .. } | Message::User { .. }) => results.push(result),
            answer @ Message::Assistant { .. } => {
                steps.push(Step { results: std::mem::take(&mut results), answer });
            }
        }
    }
    // Without its message nobody knows whose turn it is.
    let ((text, look, images), principal) =
        asked.ok_or_else(|| database::unreadable("a turn without its message", &turn.to_string()))?;
    Ok(Said { text, look, images, principal, steps, tail: results })
}

/// The text of a message, what a heartbeat was told besides, and the pictures.
fn said_by(content: Vec<Part>, principal: &Principal) -> (String, Option<Box<Look>>, Vec<SentImage>) {
    let (mut texts, mut images) = (Vec::new(), Vec::new());
    for part in content {
        match part {
            Part::Image { mime_type, path } => images.push(SentImage { mime_type, path }),
            Part::Text { text } => texts.push(text),
            Part::Thinking { .. } | Part::ToolCall { .. } => {}
        }
    }
    if !principal.is_heartbeat() {
        return (texts.concat(), None, images);
    }
    let mut texts = texts.into_iter();
    let text = texts.next().unwrap_or_default();
    (text, Some(Box::new(Look { told: texts.collect(), events: Vec::new() })), images)
}

/// The message in a row of its number and its body.
fn message(database: &Database, session: &Session, turn: TurnId, row: &Row<'_>) -> Result<Message, Failure> {
    let body = database.unseal(&session.message(turn, row.get(0)?), row.get_ref(1)?)?;
    Ok(database::from_json("a message", &*body)?)
}

/// How far the run is; nothing when there is no such run.
pub(crate) fn run_status(database: &Database, run: &RunId) -> Result<Option<RunStatus>, Failure> {
    let mut statement = database.prepare_cached(
        "SELECT session, session_id, key, turns.id, turns.state, accepted_ms, ended_ms, error, turns.usage, text,
                external_id
         FROM turns JOIN sessions ON sessions.id = turns.session LEFT JOIN outbox ON outbox.turn = turns.id
         WHERE run = ?1",
    )?;
    let mut rows = statement.query([run.as_str()])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let (session, turn) = (session::in_row(row)?, TurnId(row.get(3)?));
    let state: String = row.get(4)?;
    let state = TurnState::parse(&state).ok_or_else(|| database::unreadable("a turn's state", &state))?;
    let usage: Option<String> = row.get(8)?;
    let error = database.unseal_text(&session.turn(Column::Error, turn), row.get_ref(7)?)?;
    let text = match database.unseal_text(&session.turn(Column::Reply, turn), row.get_ref(9)?)? {
        Some(reply) => Some(reply),
        None if state == TurnState::Received => None,
        None => last_words(database, &session, turn)?,
    };
    Ok(Some(RunStatus {
        run: run.clone(),
        external_id: row.get(10)?,
        session: database::session_key(session.key)?,
        state,
        accepted_ms: row.get(5)?,
        ended_ms: row.get(6)?,
        text,
        error,
        usage: usage.map_or(Ok(Usage::default()), |usage| database::from_json("a usage", &usage))?,
    }))
}

/// What the model said last in a turn.
fn last_words(database: &Database, session: &Session, turn: TurnId) -> Result<Option<String>, Failure> {
    let mut statement = database.prepare_cached(
        "SELECT seq, body FROM messages WHERE session = ?1 AND turn = ?2 ORDER BY seq DESC",
    )?;
    let mut rows = statement.query([session.row, turn.0])?;
    while let Some(row) = rows.next()? {
        let message = message(database, session, turn, row)?;
        if matches!(message, Message::Assistant { .. }) {
            return Ok(Some(message.text()));
        }
    }
    Ok(None)
}
