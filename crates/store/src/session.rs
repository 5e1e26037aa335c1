//! Sessions: their rows, their transcripts, and the two ways to leave one behind.
//!
//! A session is one row for as long as it has one id. A reset retires the row and begins another under the
//! same key; the old transcript stays in the file.

use moltbot_config::limits;
use moltbot_protocol::ids::{AgentId, SessionKey};
use moltbot_protocol::message::{Message, Usage};
use moltbot_protocol::principal::Principal;
use rusqlite::{Connection, OptionalExtension, Row, named_params};

use crate::column::{Column, Place, row};
use crate::database::{self, Failure};
use crate::error::StoreError;
use crate::scrub;
use crate::sealed::Database;
use crate::turn::{TurnEnd, TurnId};

mod freshness;
mod import;
mod options;
mod patch;
mod silence;
mod summary;

pub(crate) use freshness::{last_said, reset_since};
pub use import::Imported;
pub(crate) use import::import;
pub use options::SessionOptions;
pub use patch::SessionPatch;
pub(crate) use patch::{get, patch};
pub(crate) use silence::describe_anew;
pub use summary::Summary;
pub(crate) use summary::summarize;

/// Which sessions to list.
#[derive(Clone, Debug, Default)]
pub struct SessionFilter {
    /// How many at most; [`limits::SESSIONS_LISTED`] when absent or larger.
    pub limit: Option<u32>,
    /// Only those that changed since, in milliseconds since the epoch.
    pub active_since_ms: Option<u64>,
    /// Only those of this agent.
    pub agent: Option<AgentId>,
    /// Only the one with this label.
    pub label: Option<String>,
    /// Only those whose key contains this text; upper and lower case are the same.
    pub search: Option<String>,
}

/// One session.
#[derive(Clone, Debug, PartialEq)]
pub struct SessionRow {
    /// The key.
    pub key: SessionKey,
    /// The id, a UUID. A reset draws a new one.
    pub session_id: String,
    /// When its first message came, or when it was reset, in milliseconds since the epoch.
    pub created_ms: u64,
    /// When it last changed, in milliseconds since the epoch.
    pub updated_ms: u64,
    /// Messages in its transcript.
    pub message_count: u64,
    /// What all its turns used.
    pub usage: Usage,
    /// What those cost whose price is known, in millionths of a dollar.
    pub cost: u64,
    /// Turns that asked a model whose price is not known.
    pub unpriced: u64,
    /// The model of the last turn that had one.
    pub model: Option<String>,
    /// What a person called it.
    pub label: Option<String>,
    /// The model that a person chose for it, as `provider/model`.
    pub chosen_model: Option<String>,
    /// What else a person set.
    pub options: SessionOptions,
    /// The beginning of its first message, in one line.
    pub title: Option<String>,
    /// The beginning of its last message, in one line.
    pub last_message: Option<String>,
}

/// What was said in a session.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct History {
    /// The session's id; absent when there is no such session.
    pub session_id: Option<String>,
    /// The messages, oldest first.
    pub messages: Vec<Message>,
}

/// What a model is told of the past.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Context {
    /// The messages, oldest first.
    pub messages: Vec<Message>,
    /// Where the messages of each turn begin, in the order of the turns.
    pub turns: Vec<(TurnId, usize)>,
    /// What stands for the messages before these, where a model wrote that.
    pub summary: Option<Summary>,
    /// Whether older ones are left out for which nothing stands.
    pub cut: bool,
    /// The model that a person chose for the session, as `provider/model`.
    pub chosen_model: Option<String>,
    /// What else a person set of the session.
    pub options: SessionOptions,
}

/// A session's row, and what its words are bound to.
pub(crate) struct Session {
    pub(crate) row: i64,
    pub(crate) session_id: String,
    pub(crate) key: String,
}

impl Session {
    /// Where one of its messages stands.
    pub(crate) fn message(&self, turn: TurnId, seq: i64) -> Place<'_> {
        self.place(Column::Body, [self.row, turn.0, seq])
    }

    /// Where words of one of its turns stand.
    pub(crate) fn turn(&self, column: Column, turn: TurnId) -> Place<'_> {
        self.place(column, row(turn.0))
    }

    /// Where words of its own row stand.
    fn own(&self, column: Column) -> Place<'_> {
        self.place(column, row(self.row))
    }

    fn place(&self, column: Column, row: crate::column::Row) -> Place<'_> {
        Place { column, row, session_id: &self.session_id, key: &self.key }
    }
}

/// The session that `key` names now.
pub(crate) fn current(database: &Connection, key: &SessionKey) -> rusqlite::Result<Option<Session>> {
    let mut statement =
        database.prepare_cached("SELECT id, session_id, key FROM sessions WHERE key = ?1 AND current = 1")?;
    statement.query_row([key.as_str()], in_row).optional()
}

/// The session in a row that begins with its number, its id and its key.
pub(crate) fn in_row(row: &Row<'_>) -> rusqlite::Result<Session> {
    Ok(Session { row: row.get(0)?, session_id: row.get(1)?, key: row.get(2)? })
}

/// Begins a session under `key`.
pub(crate) fn create(database: &Connection, key: &SessionKey, now_ms: u64) -> Result<Session, Failure> {
    let session_id = moltbot_vault::random_id().map_err(Failure::random)?;
    let mut statement = database.prepare_cached(
        "INSERT INTO sessions (session_id, key, agent, current, created_ms, updated_ms, message_count, usage)
         VALUES (:session_id, :key, :agent, 1, :now, :now, 0, :usage)",
    )?;
    let row = statement.insert(named_params! {
        ":session_id": session_id,
        ":key": key.as_str(),
        ":agent": key.agent().as_str(),
        ":now": database::whole(now_ms),
        ":usage": database::to_json(&Usage::default())?,
    })?;
    Ok(Session { row, session_id, key: key.as_str().into() })
}

/// The newest messages of the session but `skip`, oldest first. Those of turns without an end are among them.
pub(crate) fn history(
    database: &Database,
    key: &SessionKey,
    limit: u32,
    skip: u32,
) -> Result<History, Failure> {
    let Some(session) = current(database, key)? else { return Ok(History::default()) };
    let Newest { messages, .. } = newest(database, &session, i64::MIN..i64::MAX, (limit, skip))?;
    Ok(History { session_id: Some(session.session_id), messages })
}

/// What was said in the turn's session before that turn, beginning with a person's message.
pub(crate) fn context(database: &Database, turn: TurnId, limit: u32) -> Result<Context, Failure> {
    let mut statement = database.prepare_cached(
        "SELECT session, session_id, key, chosen_model, options
         FROM turns JOIN sessions ON sessions.id = session WHERE turns.id = ?1",
    )?;
    let found =
        statement.query_row([turn.0], |row| Ok((in_row(row)?, row.get(3)?, row.get(4)?))).optional()?;
    let (session, chosen_model, options) = found.ok_or(StoreError::UnknownTurn { turn })?;
    let options = options::read(options)?;
    let (summary, kept) = summary::latest(database, &session, turn)?.unzip();
    let since = kept.map_or(i64::MIN, |kept: TurnId| kept.0);
    let Newest { mut messages, mut turns, cut } = newest(database, &session, since..turn.0, (limit, 0))?;
    if cut {
        let begins = messages.iter().position(|message| matches!(message, Message::User { .. }));
        let gone = begins.unwrap_or(messages.len());
        messages.drain(..gone);
        let left = messages.len();
        for (_, at) in &mut turns {
            *at = at.saturating_sub(gone);
        }
        // Of a turn whose beginning is gone, what is left stands at the beginning.
        turns.dedup_by(|later, earlier| {
            let gone = later.1 == earlier.1;
            if gone {
                earlier.0 = later.0;
            }
            gone
        });
        turns.retain(|(_, at)| *at < left);
    }
    Ok(Context { messages, turns, summary, cut, chosen_model, options })
}

/// Messages, oldest first; where those of each turn begin; and whether there may be more before them.
struct Newest {
    messages: Vec<Message>,
    turns: Vec<(TurnId, usize)>,
    cut: bool,
}

/// At most `limit` messages of these turns, the newest `skip` left out: the newest that fit into [`limits::HISTORY_BYTES`].
fn newest(
    database: &Database,
    session: &Session,
    of: std::ops::Range<i64>,
    (limit, skip): (u32, u32),
) -> Result<Newest, Failure> {
    let mut statement = database.prepare_cached(NEWEST)?;
    let limit = usize::try_from(limit.min(limits::HISTORY_MESSAGES)).unwrap_or(usize::MAX);
    let mut rows = statement.query([session.row, of.start, of.end])?;
    for _ in 0..skip {
        if rows.next()?.is_none() {
            return Ok(Newest { messages: Vec::new(), turns: Vec::new(), cut: false });
        }
    }
    let (mut found, mut bytes, mut cut) = (Vec::new(), 0usize, false);
    while let Some(row) = rows.next()? {
        cut = found.len() >= limit;
        if cut {
            break;
        }
        let turn = TurnId(row.get(0)?);
        let body = database.unseal(&session.message(turn, row.get(1)?), row.get_ref(2)?)?;
        bytes = bytes.saturating_add(body.len());
        cut = bytes > limits::HISTORY_BYTES && !found.is_empty();
        if cut {
            break;
        }
        found.push((turn, database::from_json::<Message>("a message", &*body)?));
    }
    let (mut messages, mut turns) = (Vec::with_capacity(found.len()), Vec::new());
    for (turn, message) in found.into_iter().rev() {
        if turns.last().is_none_or(|(last, _)| *last != turn) {
            turns.push((turn, messages.len()));
        }
        messages.push(message);
    }
    Ok(Newest { messages, turns, cut })
}

/// Walks the transcript from its end: what it costs depends on what is read, not on what is there.
const NEWEST: &str = "SELECT turn, seq, body FROM messages
     WHERE session = ?1 AND turn >= ?2 AND turn < ?3
     ORDER BY turn DESC, seq DESC";

/// The sessions that `filter` names, last changed first.
pub(crate) fn list(database: &Database, filter: &SessionFilter) -> Result<Vec<SessionRow>, Failure> {
    let mut statement = database.prepare_cached(LIST)?;
    let limit = filter.limit.unwrap_or(limits::SESSIONS_LISTED).min(limits::SESSIONS_LISTED);
    let mut rows = statement.query(named_params! {
        ":since": filter.active_since_ms.map_or(0, database::whole),
        ":agent": filter.agent.as_ref().map(AgentId::as_str),
        ":search": filter.search.as_ref().map(|text| text.to_lowercase()),
        ":labelled": filter.label.is_some(),
        // A label is sealed: rows are compared after they were opened.
        ":limit": if filter.label.is_some() { limits::SESSIONS_LISTED } else { limit },
    })?;
    let mut sessions = Vec::new();
    while let Some(row) = rows.next()? {
        let session = read(database, row)?;
        if filter.label.is_none() || session.label == filter.label {
            sessions.push(session);
        }
    }
    Ok(sessions)
}

/// Walks the index of the last change from its end: what it costs depends on the limit, not on the file.
const LIST: &str =
    "SELECT id, session_id, key, created_ms, updated_ms, message_count, usage, model, title, last_message,
            label, chosen_model, options, cost, unpriced
     FROM sessions
     WHERE current = 1 AND updated_ms >= :since
       AND (NOT :labelled OR label IS NOT NULL)
       AND (:agent IS NULL OR agent = :agent)
       AND (:search IS NULL OR instr(key, :search) > 0)
     ORDER BY updated_ms DESC LIMIT :limit";

fn read(database: &Database, row: &Row<'_>) -> Result<SessionRow, Failure> {
    let session = in_row(row)?;
    let title = database.unseal_text(&session.own(Column::Title), row.get_ref(8)?)?;
    let last_message = database.unseal_text(&session.own(Column::LastMessage), row.get_ref(9)?)?;
    let label = database.unseal_text(&session.own(Column::Label), row.get_ref(10)?)?;
    Ok(SessionRow {
        key: database::session_key(session.key)?,
        session_id: session.session_id,
        created_ms: row.get(3)?,
        updated_ms: row.get(4)?,
        message_count: row.get(5)?,
        usage: database::from_json("a usage", row.get_ref(6)?.as_str().map_err(rusqlite::Error::from)?)?,
        model: row.get(7)?,
        label,
        chosen_model: row.get(11)?,
        options: options::read(row.get(12)?)?,
        cost: row.get(13)?,
        unpriced: row.get(14)?,
        title,
        last_message,
    })
}

/// The key of the session with that id, unless a reset or a deletion left the id behind.
pub(crate) fn find(database: &Connection, session_id: &str) -> Result<Option<SessionKey>, Failure> {
    let mut statement =
        database.prepare_cached("SELECT key FROM sessions WHERE session_id = ?1 AND current = 1")?;
    let key: Option<String> = statement.query_row([session_id], |row| row.get(0)).optional()?;
    key.map(database::session_key).transpose()
}

/// Retires the session and begins another under its key, with the label and the model that were chosen for it. The new id,
/// or nothing when there was no session.
pub(crate) fn reset(database: &Database, key: &SessionKey, now_ms: u64) -> Result<Option<String>, Failure> {
    let Some(old) = current(database, key)? else { return Ok(None) };
    let kept = patch::kept(database, &old)?;
    retire(database, old.row)?;
    let new = create(database, key, now_ms)?;
    patch::keep(database, &new, &kept)?;
    Ok(Some(new.session_id))
}

/// Whether the transcript goes with its session.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Transcript {
    Delete,
    Keep,
}

/// Removes the session from all lists. The rows of its turns stay, without their words: a message that
/// comes again after the deletion is still a duplicate.
pub(crate) fn delete(database: &Database, key: &SessionKey, transcript: Transcript) -> Result<bool, Failure> {
    let Some(session) = current(database, key)? else { return Ok(false) };
    let mut statement =
        database.prepare_cached("SELECT count(*) FROM turns WHERE session = ?1 AND state = 'received'")?;
    let turns: u64 = statement.query_row([session.row], |row| row.get(0))?;
    if turns > 0 {
        return Err(StoreError::Busy { session: key.clone(), turns }.into());
    }
    retire(database, session.row)?;
    if transcript == Transcript::Delete {
        forget(database, session.row)?;
        scrub::after_deletion(database)?;
    }
    Ok(true)
}

fn retire(database: &Connection, row: i64) -> rusqlite::Result<()> {
    database.prepare_cached("UPDATE sessions SET current = 0 WHERE id = ?1")?.execute([row])?;
    Ok(())
}

/// Removes every word of the session: what was said, what is to be delivered, what was asked for besides.
fn forget(database: &Connection, row: i64) -> rusqlite::Result<()> {
    for sql in [
        "DELETE FROM messages WHERE session = ?1",
        "DELETE FROM summaries WHERE session = ?1",
        "DELETE FROM outbox WHERE turn IN (SELECT id FROM turns WHERE session = ?1)",
        "UPDATE turns SET extra_system_prompt = NULL, origin = NULL, error = NULL WHERE session = ?1",
        "UPDATE sessions SET title = NULL, last_message = NULL, label = NULL, message_count = 0 WHERE id = ?1",
    ] {
        database.prepare_cached(sql)?.execute([row])?;
    }
    Ok(())
}

/// What was said in one turn.
pub(crate) fn of_turn(database: &Database, session: &Session, turn: TurnId) -> Result<Vec<Message>, Failure> {
    let mut statement = database
        .prepare_cached("SELECT seq, body FROM messages WHERE session = ?1 AND turn = ?2 ORDER BY seq")?;
    let mut rows = statement.query([session.row, turn.0])?;
    let mut messages = Vec::new();
    while let Some(row) = rows.next()? {
        let body = database.unseal(&session.message(turn, row.get(0)?), row.get_ref(1)?)?;
        messages.push(database::from_json("a message", &*body)?);
    }
    Ok(messages)
}

/// Takes what was said in one turn out of the transcript.
pub(crate) fn forget_turn(database: &Connection, session: &Session, turn: TurnId) -> Result<(), Failure> {
    let mut delete = database.prepare_cached("DELETE FROM messages WHERE session = ?1 AND turn = ?2")?;
    let gone = delete.execute([session.row, turn.0])?;
    let mut count =
        database.prepare_cached("UPDATE sessions SET message_count = message_count - ?1 WHERE id = ?2")?;
    count.execute((gone, session.row))?;
    Ok(())
}

/// Adds messages to the end of a turn, and to what its session's row says of itself.
pub(crate) fn append(
    database: &Database,
    session: &Session,
    turn: TurnId,
    messages: &[Message],
    now_ms: u64,
) -> Result<(), Failure> {
    let mut last = database
        .prepare_cached("SELECT coalesce(max(seq), -1) FROM messages WHERE session = ?1 AND turn = ?2")?;
    let last: i64 = last.query_row([session.row, turn.0], |row| row.get(0))?;
    let mut insert =
        database.prepare_cached("INSERT INTO messages (session, turn, seq, body) VALUES (?1, ?2, ?3, ?4)")?;
    for (seq, message) in (last.saturating_add(1)..).zip(messages) {
        let body = database.seal(&session.message(turn, seq), database::to_json(message)?.as_bytes())?;
        insert.execute((session.row, turn.0, seq, body))?;
    }
    describe(database, session, messages, now_ms)
}

/// What the session's row says of itself, after messages were added.
fn describe(
    database: &Database,
    session: &Session,
    messages: &[Message],
    now_ms: u64,
) -> Result<(), Failure> {
    let spoken = messages.iter().rev().find(|message| is_spoken(message));
    let text = spoken.map(Message::text).filter(|text| !text.trim().is_empty());
    let sealed = |column, chars| {
        let beginning = text.as_deref().map(|text| beginning(text, chars));
        database.seal_text(&session.own(column), beginning.as_deref())
    };
    let mut untitled = database.prepare_cached("SELECT title IS NULL FROM sessions WHERE id = ?1")?;
    let untitled: bool = untitled.query_row([session.row], |row| row.get(0))?;
    let title = if untitled { sealed(Column::Title, limits::TITLE_CHARS)? } else { None };
    let mut update = database.prepare_cached(
        "UPDATE sessions
         SET updated_ms = max(updated_ms, :now), message_count = message_count + :added,
             title = coalesce(title, :title), last_message = coalesce(:last, last_message)
         WHERE id = :session",
    )?;
    update.execute(named_params! {
        ":now": database::whole(now_ms),
        ":added": messages.len(),
        ":title": title,
        ":last": sealed(Column::LastMessage, limits::PREVIEW_CHARS)?,
        ":session": session.row,
    })?;
    Ok(())
}

/// Whether somebody said it: what the gateway asks by itself, and what a tool answers, is no part of how a session is shown.
const fn is_spoken(message: &Message) -> bool {
    !matches!(message, Message::ToolResult { .. } | Message::User { principal: Principal::Heartbeat(_), .. })
}

/// Adds what a turn used.
pub(crate) fn add_totals(database: &Connection, session: i64, end: &TurnEnd) -> Result<(), Failure> {
    let mut read = database.prepare_cached("SELECT usage FROM sessions WHERE id = ?1")?;
    let before: String = read.query_row([session], |row| row.get(0))?;
    let usage = database::from_json::<Usage>("a usage", &before)?.plus(end.usage);
    let mut update = database.prepare_cached(
        "UPDATE sessions SET usage = ?1, model = coalesce(?2, model), cost = min(cost, ?5 - ?3) + ?3,
                unpriced = unpriced + ?4 WHERE id = ?6",
    )?;
    let (cost, most) = (database::whole(end.cost), i64::MAX);
    update.execute((database::to_json(&usage)?, end.model.as_deref(), cost, end.unpriced, most, session))?;
    Ok(())
}

/// The first `chars` characters of a text, in one line.
fn beginning(text: &str, chars: usize) -> String {
    let words = text.split_whitespace().flat_map(|word| [" ", word]).skip(1);
    words.flat_map(str::chars).take(chars).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::Migration;

    #[test]
    fn a_beginning_is_one_line_and_ends_between_characters() {
        for (text, chars, expected) in
            [("  a \n\n b\tc ", 10, "a b c"), ("äöü ß", 4, "äöü "), ("", 10, ""), (" \n ", 10, "")]
        {
            assert_eq!(beginning(text, chars), expected, "{text:?}");
        }
    }

    #[test]
    fn what_is_read_often_is_found_by_an_index() {
        let database = Connection::open_in_memory().unwrap();
        for migration in crate::schema::MIGRATIONS {
            match migration {
                Migration::Seal { before, after } => database.execute_batch(&format!("{before}{after}")),
                Migration::Sql(sql) => database.execute_batch(sql),
            }
            .unwrap();
        }
        for (sql, index) in [
            (LIST, "sessions_by_change"),
            (NEWEST, "PRIMARY KEY"),
            ("SELECT id, session_id, key FROM sessions WHERE key = ?1 AND current = 1", "sessions_by_key"),
            (
                "SELECT id FROM turns WHERE session = ?1 AND state = 'received' AND id < ?2",
                "turns_unfinished",
            ),
            ("SELECT id FROM turns WHERE state = 'received'", "turns_unfinished"),
        ] {
            let mut statement = database.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
            let plan: Vec<String> =
                statement.raw_query().mapped(|row| row.get(3)).map(Result::unwrap).collect();
            let plan = plan.join("; ");
            assert!(plan.contains(index) && !plan.contains("TEMP B-TREE"), "{plan} for {sql}");
        }
    }
}
