//! Sessions: their rows, their transcripts, and the two ways to leave one behind.
//!
//! A session is one row for as long as it has one id. A reset retires the row and begins another under the
//! same key; the old transcript stays in the file.

use moltbot_config::limits;
use moltbot_protocol::ids::{AgentId, SessionKey};
use moltbot_protocol::message::{Message, Usage};
use rusqlite::{Connection, OptionalExtension, Row, named_params};

use crate::database::{self, Failure};
use crate::error::StoreError;
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

/// The session that a key names now: its row's number and its id.
pub(crate) struct Current {
    pub(crate) row: i64,
    pub(crate) session_id: String,
}

/// The session that `key` names now.
pub(crate) fn current(database: &Connection, key: &SessionKey) -> rusqlite::Result<Option<Current>> {
    let mut statement =
        database.prepare_cached("SELECT id, session_id FROM sessions WHERE key = ?1 AND current = 1")?;
    let found = |row: &Row<'_>| Ok(Current { row: row.get(0)?, session_id: row.get(1)? });
    statement.query_row([key.as_str()], found).optional()
}

/// Begins a session under `key`.
pub(crate) fn create(database: &Connection, key: &SessionKey, now_ms: u64) -> Result<Current, Failure> {
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
    Ok(Current { row, session_id })
}

/// The newest messages of the session, oldest first. Those of turns without an end are among them.
pub(crate) fn history(database: &Connection, key: &SessionKey, limit: u32) -> Result<History, Failure> {
    let Some(session) = current(database, key)? else { return Ok(History::default()) };
    let (messages, _) = newest(database, session.row, i64::MAX, limit)?;
    Ok(History { session_id: Some(session.session_id), messages })
}

/// What was said in the turn's session before that turn, beginning with a person's message.
pub(crate) fn context(database: &Connection, turn: TurnId, limit: u32) -> Result<Context, Failure> {
    let mut statement = database.prepare_cached("SELECT session FROM turns WHERE id = ?1")?;
    let session = statement.query_row([turn.0], |row| row.get(0)).optional()?;
    let session = session.ok_or(StoreError::UnknownTurn { turn })?;
    let (mut messages, cut) = newest(database, session, turn.0, limit)?;
    if cut {
        let begins = messages.iter().position(|message| matches!(message, Message::User { .. }));
        messages.drain(..begins.unwrap_or(messages.len()));
    }
    Ok(Context { messages, cut })
}

/// At most `limit` messages before turn `before`, oldest first, and whether there may be more: the newest
/// that fit into [`limits::HISTORY_BYTES`].
fn newest(
    database: &Connection,
    session: i64,
    before: i64,
    limit: u32,
) -> Result<(Vec<Message>, bool), Failure> {
    let mut statement = database.prepare_cached(NEWEST)?;
    let limit = usize::try_from(limit.min(limits::HISTORY_MESSAGES)).unwrap_or(usize::MAX);
    let mut rows = statement.query([session, before])?;
    let (mut messages, mut bytes, mut cut) = (Vec::new(), 0usize, false);
    while let Some(row) = rows.next()? {
        let body = row.get_ref(0)?.as_str().map_err(rusqlite::Error::from)?;
        bytes = bytes.saturating_add(body.len());
        cut = messages.len() >= limit || (bytes > limits::HISTORY_BYTES && !messages.is_empty());
        if cut {
            break;
        }
        messages.push(database::from_json("a message", body)?);
    }
    messages.reverse();
    Ok((messages, cut))
}

/// Walks the transcript from its end: what it costs depends on what is read, not on what is there.
const NEWEST: &str = "SELECT unseal('messages/' || session || '/' || turn || '/' || seq, body) FROM messages
     WHERE session = ?1 AND turn < ?2 ORDER BY turn DESC, seq DESC";

/// The sessions that `filter` names, last changed first.
pub(crate) fn list(database: &Connection, filter: &SessionFilter) -> Result<Vec<SessionRow>, Failure> {
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
        sessions.push(read(row)?);
    }
    Ok(sessions)
}

/// Walks the index of the last change from its end: what it costs depends on the limit, not on the file.
const LIST: &str = "SELECT key, session_id, created_ms, updated_ms, message_count, usage, model,
            unseal('sessions/' || id || '/title', title), unseal('sessions/' || id || '/last', last_message)
     FROM sessions
     WHERE current = 1 AND updated_ms >= :since
       AND (:agent IS NULL OR agent = :agent)
       AND (:search IS NULL OR instr(key, :search) > 0)
     ORDER BY updated_ms DESC LIMIT :limit";

fn read(row: &Row<'_>) -> Result<SessionRow, Failure> {
    Ok(SessionRow {
        key: database::session_key(row.get(0)?)?,
        session_id: row.get(1)?,
        created_ms: row.get(2)?,
        updated_ms: row.get(3)?,
        message_count: row.get(4)?,
        usage: database::from_json("a usage", row.get_ref(5)?.as_str().map_err(rusqlite::Error::from)?)?,
        model: row.get(6)?,
        title: row.get(7)?,
        last_message: row.get(8)?,
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
pub(crate) fn delete(
    database: &Connection,
    key: &SessionKey,
    transcript: Transcript,
) -> Result<bool, Failure> {
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
        "UPDATE turns SET extra_system_prompt = NULL, error = NULL WHERE session = ?1",
        "UPDATE sessions SET title = NULL, last_message = NULL, message_count = 0 WHERE id = ?1",
    ] {
        database.prepare_cached(sql)?.execute([row])?;
    }
    Ok(())
}

/// Adds messages to the end of a turn, and to what its session's row says of itself.
pub(crate) fn append(
    database: &Connection,
    session: i64,
    turn: TurnId,
    messages: &[Message],
    now_ms: u64,
) -> Result<(), Failure> {
    let mut last = database
        .prepare_cached("SELECT coalesce(max(seq), -1) FROM messages WHERE session = ?1 AND turn = ?2")?;
    let last: i64 = last.query_row([session, turn.0], |row| row.get(0))?;
    let mut insert = database.prepare_cached(
        "INSERT INTO messages (session, turn, seq, body)
             VALUES (?1, ?2, ?3, seal('messages/' || ?1 || '/' || ?2 || '/' || ?3, ?4))",
    )?;
    for (seq, message) in (last.saturating_add(1)..).zip(messages) {
        insert.execute((session, turn.0, seq, database::to_json(message)?))?;
    }
    let spoken = messages.iter().rev().find(|message| !matches!(message, Message::ToolResult { .. }));
    let text = spoken.map(Message::text).filter(|text| !text.trim().is_empty());
    let mut update = database.prepare_cached(
        "UPDATE sessions
         SET updated_ms = max(updated_ms, :now), message_count = message_count + :added,
             title = coalesce(title, seal('sessions/' || id || '/title', :title)),
             last_message = coalesce(seal('sessions/' || id || '/last', :last), last_message)
         WHERE id = :session",
    )?;
    update.execute(named_params! {
        ":now": database::whole(now_ms),
        ":added": messages.len(),
        ":title": text.as_deref().map(|text| beginning(text, limits::TITLE_CHARS)),
        ":last": text.as_deref().map(|text| beginning(text, limits::PREVIEW_CHARS)),
        ":session": session,
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
        let home = tempfile::tempdir().unwrap();
        let state = moltbot_vault::StateDir::open_or_create(home.path()).unwrap();
        crate::seals::teach(&database, &moltbot_testkit::vault(&state)).unwrap();
        crate::schema::MIGRATIONS.iter().for_each(|sql| database.execute_batch(sql).unwrap());
        for (sql, index) in [
            (LIST, "sessions_by_change"),
            (NEWEST, "PRIMARY KEY"),
            ("SELECT id, session_id FROM sessions WHERE key = ?1 AND current = 1", "sessions_by_key"),
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
