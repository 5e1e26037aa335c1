//! Sessions: their rows, their transcripts, and the two ways to leave one behind.
//!
//! A session is one row for as long as it has one id. A reset retires the row and begins another under the
//! same key; the old transcript stays in the file.

use moltbot_config::limits;
use moltbot_protocol::ids::{AgentId, SessionKey};
use moltbot_protocol::message::{Message, Usage};
use rusqlite::{Connection, OptionalExtension, Row, named_params};

use crate::column::{Column, Place, row};
use crate::database::{self, Failure};
use crate::error::StoreError;
use crate::scrub;
use crate::sealed::Database;
use crate::turn::TurnId;

/// Which sessions to list.
#[derive(Clone, Debug, Default)]
pub struct SessionFilter {
    /// How many at most; [`limits::SESSIONS_LISTED`] when absent or larger.
    pub limit: Option<u32>,
    /// Only those that changed since, in milliseconds since the epoch.
    pub active_since_ms: Option<u64>,
    /// Only those of this agent.
    pub agent: Option<AgentId>,
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
    /// The model of the last turn that had one.
    pub model: Option<String>,
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
    /// Whether older ones are left out.
    pub cut: bool,
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

/// The newest messages of the session, oldest first. Those of turns without an end are among them.
pub(crate) fn history(database: &Database, key: &SessionKey, limit: u32) -> Result<History, Failure> {
    let Some(session) = current(database, key)? else { return Ok(History::default()) };
    let (messages, _) = newest(database, &session, i64::MAX, limit)?;
    Ok(History { session_id: Some(session.session_id), messages })
}

/// What was said in the turn's session before that turn, beginning with a person's message.
pub(crate) fn context(database: &Database, turn: TurnId, limit: u32) -> Result<Context, Failure> {
    let mut statement = database.prepare_cached(
        "SELECT session, session_id, key FROM turns JOIN sessions ON sessions.id = session WHERE turns.id = ?1",
    )?;
    let session = statement.query_row([turn.0], in_row).optional()?;
    let session = session.ok_or(StoreError::UnknownTurn { turn })?;
    let (mut messages, cut) = newest(database, &session, turn.0, limit)?;
    if cut {
        let begins = messages.iter().position(|message| matches!(message, Message::User { .. }));
        messages.drain(..begins.unwrap_or(messages.len()));
    }
    Ok(Context { messages, cut })
}

/// At most `limit` messages before turn `before`, oldest first, and whether there may be more: the newest
/// that fit into [`limits::HISTORY_BYTES`].
fn newest(
    database: &Database,
    session: &Session,
    before: i64,
    limit: u32,
) -> Result<(Vec<Message>, bool), Failure> {
    let mut statement = database.prepare_cached(NEWEST)?;
    let limit = usize::try_from(limit.min(limits::HISTORY_MESSAGES)).unwrap_or(usize::MAX);
    let mut rows = statement.query([session.row, before])?;
    let (mut messages, mut bytes, mut cut) = (Vec::new(), 0usize, false);
    while let Some(row) = rows.next()? {
        cut = messages.len() >= limit;
        if cut {
            break;
        }
        let place = session.message(TurnId(row.get(0)?), row.get(1)?);
        let body = database.unseal(&place, row.get_ref(2)?)?;
        bytes = bytes.saturating_add(body.len());
        cut = bytes > limits::HISTORY_BYTES && !messages.is_empty();
        if cut {
            break;
        }
        messages.push(database::from_json("a message", &*body)?);
    }
    messages.reverse();
    Ok((messages, cut))
}

/// Walks the transcript from its end: what it costs depends on what is read, not on what is there.
const NEWEST: &str =
    "SELECT turn, seq, body FROM messages WHERE session = ?1 AND turn < ?2 ORDER BY turn DESC, seq DESC";

/// The sessions that `filter` names, last changed first.
pub(crate) fn list(database: &Database, filter: &SessionFilter) -> Result<Vec<SessionRow>, Failure> {
    let mut statement = database.prepare_cached(LIST)?;
    let limit = filter.limit.unwrap_or(limits::SESSIONS_LISTED).min(limits::SESSIONS_LISTED);
    let mut rows = statement.query(named_params! {
        ":since": filter.active_since_ms.map_or(0, database::whole),
        ":agent": filter.agent.as_ref().map(AgentId::as_str),
        ":search": filter.search.as_ref().map(|text| text.to_lowercase()),
        ":limit": limit,
    })?;
    let mut sessions = Vec::new();
    while let Some(row) = rows.next()? {
        sessions.push(read(database, row)?);
    }
    Ok(sessions)
}

/// Walks the index of the last change from its end: what it costs depends on the limit, not on the file.
const LIST: &str =
    "SELECT id, session_id, key, created_ms, updated_ms, message_count, usage, model, title, last_message
     FROM sessions
     WHERE current = 1 AND updated_ms >= :since
       AND (:agent IS NULL OR agent = :agent)
       AND (:search IS NULL OR instr(key, :search) > 0)
     ORDER BY updated_ms DESC LIMIT :limit";

fn read(database: &Database, row: &Row<'_>) -> Result<SessionRow, Failure> {
    let session = in_row(row)?;
    let title = database.unseal_text(&session.own(Column::Title), row.get_ref(8)?)?;
    let last_message = database.unseal_text(&session.own(Column::LastMessage), row.get_ref(9)?)?;
    Ok(SessionRow {
        key: database::session_key(session.key)?,
        session_id: session.session_id,
        created_ms: row.get(3)?,
        updated_ms: row.get(4)?,
        message_count: row.get(5)?,
        usage: database::from_json("a usage", row.get_ref(6)?.as_str().map_err(rusqlite::Error::from)?)?,
        model: row.get(7)?,
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

/// Retires the session and begins another under its key. The new id, or nothing when there was no session.
pub(crate) fn reset(database: &Connection, key: &SessionKey, now_ms: u64) -> Result<Option<String>, Failure> {
    let Some(old) = current(database, key)? else { return Ok(None) };
    retire(database, old.row)?;
    Ok(Some(create(database, key, now_ms)?.session_id))
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
        "DELETE FROM outbox WHERE turn IN (SELECT id FROM turns WHERE session = ?1)",
        "UPDATE turns SET extra_system_prompt = NULL, origin = NULL, error = NULL WHERE session = ?1",
        "UPDATE sessions SET title = NULL, last_message = NULL, message_count = 0 WHERE id = ?1",
    ] {
        database.prepare_cached(sql)?.execute([row])?;
    }
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
    let spoken = messages.iter().rev().find(|message| !matches!(message, Message::ToolResult { .. }));
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

/// Adds what a turn used.
pub(crate) fn add_totals(
    database: &Connection,
    session: i64,
    used: Usage,
    model: Option<&str>,
) -> Result<(), Failure> {
    let mut read = database.prepare_cached("SELECT usage FROM sessions WHERE id = ?1")?;
    let before: String = read.query_row([session], |row| row.get(0))?;
    let usage = database::from_json::<Usage>("a usage", &before)?.plus(used);
    let mut update = database
        .prepare_cached("UPDATE sessions SET usage = ?1, model = coalesce(?2, model) WHERE id = ?3")?;
    update.execute((database::to_json(&usage)?, model, session))?;
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
