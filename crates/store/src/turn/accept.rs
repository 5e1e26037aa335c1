//! The beginning of a turn: the inbox.

use moltbot_protocol::ids::RunId;
use moltbot_protocol::message::{InboundMessage, Message, Part, ThinkingLevel};
use rusqlite::{OptionalExtension, named_params};

use super::{Accepted, PendingTurn, RunStatus, TurnId, TurnState, read};
use crate::allowance::{self, AllowanceHolder};
use crate::column::Column;
use crate::database::{self, Failure};
use crate::event;
use crate::sealed::Database;
use crate::session::{self, Session};

/// Keeps the message as the last turn of its session, which is created when there is none.
///
/// The text goes into the transcript at once and nowhere else. The turn is counted by the allowances of `holders`.
pub(crate) fn accept(
    database: &Database,
    message: &InboundMessage,
    holders: &[AllowanceHolder],
    now_ms: u64,
) -> Result<Accepted, Failure> {
    if let Some(status) = earlier(database, message)? {
        return Ok(Accepted::Duplicate(status));
    }
    let session = match session::current(database, &message.session)? {
        Some(session) => session,
        None => session::create(database, &message.session, now_ms)?,
    };
    let turn = insert(database, message, &session, now_ms)?;
    allowance::begin_turn(database, turn, holders, now_ms)?;
    let look = message.look.as_deref();
    event::bind(database, turn, look.map_or(&[], |look| &look.events))?;
    let told = look.map_or(&[][..], |look| &look.told).iter().cloned().map(Part::text);
    let images = message.images.iter().cloned().map(Part::from);
    let content = std::iter::once(Part::text(message.text.clone())).chain(told).chain(images).collect();
    let said = Message::User { content, timestamp: now_ms, principal: message.principal.clone() };
    session::append(database, &session, turn, &[said], now_ms)?;
    Ok(Accepted::Fresh(PendingTurn {
        id: turn,
        message: message.clone(),
        session_id: session.session_id,
        accepted_ms: now_ms,
        steps: Vec::new(),
        tail: Vec::new(),
    }))
}

/// The run of the same message, else the run of the same name.
fn earlier(database: &Database, message: &InboundMessage) -> Result<Option<RunStatus>, Failure> {
    let mut statement = database
        .prepare_cached("SELECT run FROM turns WHERE channel = ?1 AND account = ?2 AND external_id = ?3")?;
    let key = [&*message.channel, &message.account, &message.external_id];
    let run: Option<String> = statement.query_row(key, |row| row.get(0)).optional()?;
    match run {
        Some(run) => read::run_status(database, &database::run_id(&run)?),
        None => read::run_status(database, &message.run),
    }
}

fn insert(
    database: &Database,
    message: &InboundMessage,
    session: &Session,
    now_ms: u64,
) -> Result<TurnId, Failure> {
    let mut statement = database.prepare_cached(
        "INSERT INTO turns (session, run, channel, account, external_id, state, accepted_ms, timeout_ms, thinking,
                            tells)
         VALUES (:session, :run, :channel, :account, :external_id, :state, :now, :timeout, :thinking, :tells)",
    )?;
    let turn = statement.insert(named_params! {
        ":session": session.row,
        ":run": RunId::as_str(&message.run),
        ":channel": &*message.channel,
        ":account": message.account,
        ":external_id": message.external_id,
        ":state": TurnState::Received.name(),
        ":now": database::whole(now_ms),
        ":timeout": message.timeout_ms.map(database::whole),
        ":thinking": message.thinking.map(ThinkingLevel::name),
        ":tells": message.tells,
    })?;
    let turn = TurnId(turn);
    // Its place has the number that the row has just got.
    if let Some(prompt) = &message.extra_system_prompt {
        let prompt = database.seal(&session.turn(Column::Prompt, turn), prompt.as_bytes())?;
        let mut update =
            database.prepare_cached("UPDATE turns SET extra_system_prompt = ?1 WHERE id = ?2")?;
        update.execute((prompt, turn.0))?;
    }
    if let Some(origin) = &message.origin {
        let origin = database::to_json(origin)?;
        let origin = database.seal(&session.turn(Column::Origin, turn), origin.as_bytes())?;
        let mut update = database.prepare_cached("UPDATE turns SET origin = ?1 WHERE id = ?2")?;
        update.execute((origin, turn.0))?;
    }
    Ok(turn)
}
