//! What the agent is told when it looks around next: it stays until the turn of a look that was told it has ended well, and goes
//! with that end, so that a crash loses none and repeats none.

use moltbot_protocol::ids::{AgentId, HookName, RunId};
use moltbot_protocol::principal::Principal;
use rusqlite::OptionalExtension as _;
use serde::{Deserialize, Serialize};

use crate::column::Column;
use crate::database::{self, Failure};
use crate::quarantine::{place, seal_row};
use crate::sealed::Database;
use crate::turn::TurnId;

/// Something that an agent is to be told.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SystemEvent {
    /// Its number: later ones have larger numbers.
    pub id: i64,
    /// When it was said, in milliseconds since the epoch.
    pub said_ms: u64,
    /// Which agent, and who said it; nothing of what an older program kept, which did not say.
    pub source: Option<EventSource>,
    /// What; sealed.
    pub text: String,
    /// Whether a look that has not ended is told it.
    pub is_told: bool,
}

/// Which agent is to be told something, and who said it. It is sealed with its row, so that a hook's words are never made another's.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct EventSource {
    /// The agent.
    pub agent: AgentId,
    /// Who said it.
    pub by: Principal,
}

/// Something to be kept.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct NewEvent {
    /// Which agent, and who says it.
    pub source: EventSource,
    /// What.
    pub text: String,
    /// What a hook's delivery is known by.
    pub delivery: Option<HookDelivery>,
}

/// What a hook's delivery is known by, when it comes twice.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct HookDelivery {
    /// The hook.
    pub hook: HookName,
    /// The run of its name, when it has a name.
    pub run: Option<RunId>,
    /// What stands for its content.
    pub content: String,
}

/// How many may wait.
#[derive(Clone, Copy, Debug)]
pub struct EventRoom {
    /// Of everybody.
    pub all: u32,
    /// Of hooks: so many that the owner's own always have room.
    pub of_hooks: u32,
}

/// What became of something to be kept.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum KeptEvent {
    /// It is kept.
    Fresh,
    /// As many wait as may.
    Full,
    /// The delivery was here before, with this content.
    Known(String),
}

/// Keeps what is to be told.
pub(crate) fn keep(
    database: &Database,
    event: &NewEvent,
    room: EventRoom,
    now_ms: u64,
) -> Result<KeptEvent, Failure> {
    if let Some(delivery) = &event.delivery
        && let Some(content) = known(database, delivery)?
    {
        return Ok(KeptEvent::Known(content));
    }
    if !has_room(database, &event.source.by, room)? {
        return Ok(KeptEvent::Full);
    }
    insert(database, &event.source, &event.text, now_ms)?;
    if let Some(HookDelivery { hook, run, content }) = &event.delivery {
        let sql = "INSERT INTO hook_deliveries (hook, run, content) VALUES (?1, ?2, ?3)";
        database.prepare_cached(sql)?.execute((hook.as_str(), run.as_ref().map(RunId::as_str), content))?;
    }
    Ok(KeptEvent::Fresh)
}

/// Whether one more may wait that this one says.
pub(crate) fn has_room(database: &Database, by: &Principal, room: EventRoom) -> Result<bool, Failure> {
    let waiting = all(database)?;
    let is_of_hook = |event: &&SystemEvent| event.source.as_ref().is_none_or(|source| !source.by.is_owner());
    let (count, of_hooks) = (waiting.len(), waiting.iter().filter(is_of_hook).count());
    let is_below = |count: usize, most: u32| u32::try_from(count).is_ok_and(|count| count < most);
    Ok(is_below(count, room.all) && (by.is_owner() || is_below(of_hooks, room.of_hooks)))
}

/// Adds one, whoever waits already.
pub(crate) fn insert(
    database: &Database,
    source: &EventSource,
    text: &str,
    now_ms: u64,
) -> Result<(), Failure> {
    let mut insert = database.prepare_cached("INSERT INTO system_events (said_ms, text) VALUES (?1, x'')")?;
    let id = insert.insert([database::whole(now_ms)])?;
    let update = "UPDATE system_events SET text = ?2, source = ?3 WHERE id = ?1";
    let source = database::to_json(source)?;
    let words = [(Column::SystemEvent, text.as_bytes()), (Column::SystemEventSource, source.as_bytes())];
    seal_row(database, id, update, &words)
}

/// What a delivery said that was left for a look before and is this one, or has its name.
pub(crate) fn left(database: &Database, delivery: &HookDelivery) -> Result<Option<String>, Failure> {
    let sql = "SELECT content FROM hook_deliveries WHERE (hook = ?1 AND content = ?2) OR run = ?3
               ORDER BY content = ?2 DESC LIMIT 1";
    find(database, sql, delivery)
}

/// The same of one that was left for a look or had a turn of its own.
fn known(database: &Database, delivery: &HookDelivery) -> Result<Option<String>, Failure> {
    if let Some(content) = left(database, delivery)? {
        return Ok(Some(content));
    }
    let sql = "SELECT external_id FROM turns
               WHERE (channel = 'hook' AND account = ?1 AND external_id = ?2) OR run = ?3
               ORDER BY external_id = ?2 DESC LIMIT 1";
    find(database, sql, delivery)
}

fn find(database: &Database, sql: &str, delivery: &HookDelivery) -> Result<Option<String>, Failure> {
    let HookDelivery { hook, run, content } = delivery;
    let key = (hook.as_str(), content, run.as_ref().map(RunId::as_str));
    Ok(database.prepare_cached(sql)?.query_row(key, |row| row.get(0)).optional()?)
}

/// All that waits, in the order in which it was said.
pub(crate) fn all(database: &Database) -> Result<Vec<SystemEvent>, Failure> {
    let mut statement =
        database.prepare_cached("SELECT id, said_ms, text, source, turn FROM system_events ORDER BY id")?;
    let mut rows = statement.query([])?;
    let mut events = Vec::new();
    while let Some(row) = rows.next()? {
        let id = row.get(0)?;
        let text = database.unseal_text(&place(Column::SystemEvent, id), row.get_ref(2)?)?;
        let source = database.unseal_text(&place(Column::SystemEventSource, id), row.get_ref(3)?)?;
        let source = source.map(|source| database::from_json("who said something", source)).transpose()?;
        let is_told = row.get::<_, Option<i64>>(4)?.is_some();
        events.push(SystemEvent {
            id,
            said_ms: row.get(1)?,
            source,
            text: text.unwrap_or_default(),
            is_told,
        });
    }
    Ok(events)
}

/// Has a turn tell these. They go with its end.
pub(crate) fn bind(database: &Database, turn: TurnId, events: &[i64]) -> Result<(), Failure> {
    let mut update = database.prepare_cached("UPDATE system_events SET turn = ?2 WHERE id = ?1")?;
    events.iter().try_for_each(|id| update.execute([*id, turn.0]).map(|_| ()))?;
    Ok(())
}

/// Forgets what a turn has told, when it ended well; else it waits for the next look.
pub(crate) fn settle(database: &Database, turn: TurnId, is_told: bool) -> Result<(), Failure> {
    let sql = if is_told {
        "DELETE FROM system_events WHERE turn = ?1"
    } else {
        "UPDATE system_events SET turn = NULL WHERE turn = ?1"
    };
    database.prepare_cached(sql)?.execute([turn.0])?;
    Ok(())
}
