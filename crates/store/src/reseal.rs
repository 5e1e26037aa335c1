//! Sealing what is there already: plaintext of the first schema once, and everything again when a root key rotates.
//!
//! Rows are walked in the order of their keys, a batch at a time, so that memory stays small whatever the file holds.
//! A rotation commits each batch: a row holds the old seal or the new one and both open, so it may be cut off at any
//! point, and the next walk seals what is left.

use moltbot_config::limits;
use rusqlite::types::ValueRef;
use rusqlite::{params, params_from_iter};
use zeroize::Zeroizing;

use crate::column::{Column, Place, Row};
use crate::database::{self, Failure};
use crate::error::StoreError;
use crate::scrub;
use crate::sealed::{After, Database};

/// What a rotation of the root key did to the state db so far.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Resealed {
    /// Words that were looked at.
    pub seen: u64,
    /// Those of them that were sealed with an older key, and are sealed with the newest now.
    pub sealed: u64,
}

/// Where every walk begins: before all rows.
pub(crate) const BEGIN: Row = [i64::MIN; 3];

/// One batch of a walk.
pub(crate) struct Step {
    /// Rows that were looked at.
    pub(crate) seen: u64,
    /// Rows that are, or were, sealed with an older key.
    pub(crate) old: u64,
    /// The last row of it.
    pub(crate) last: Row,
}

/// A row that was found.
struct Found {
    row: Row,
    session_id: String,
    key: String,
    value: Value,
}

/// What stands in a column.
enum Value {
    Plain(Zeroizing<Vec<u8>>),
    Sealed(Vec<u8>),
}

impl Found {
    const fn place(&self, column: Column) -> Place<'_> {
        Place { column, row: self.row, session_id: self.session_id.as_str(), key: self.key.as_str() }
    }
}

/// Seals the next batch of `column` after `after` again, as far as it was sealed with an older key. Nothing when there
/// are no more rows.
pub(crate) fn step(database: &Database, column: Column, after: Row) -> Result<Option<Step>, Failure> {
    let found = batch(database, column, column.read(), after)?;
    let mut write = database.prepare_cached(column.write())?;
    let mut old = 0_u64;
    for found in &found {
        if is_current(database, found) {
            continue;
        }
        let place = found.place(column);
        let words = match &found.value {
            Value::Plain(text) => database.unseal(&place, ValueRef::Text(text))?,
            Value::Sealed(sealed) => database.unseal(&place, ValueRef::Blob(sealed))?,
        };
        let [one, two, three] = found.row;
        write.execute(params![one, two, three, database.seal(&place, &words)?])?;
        old = old.saturating_add(1);
    }
    if old > 0 {
        scrub::mark(database)?;
    }
    Ok(walked(&found, old))
}

/// Counts in the next batch what is sealed with an older key.
pub(crate) fn count(database: &Database, column: Column, after: Row) -> Result<Option<Step>, Failure> {
    let found = batch(database, column, column.read(), after)?;
    let old = found.iter().filter(|found| !is_current(database, found)).count();
    Ok(walked(&found, u64::try_from(old).unwrap_or(u64::MAX)))
}

/// After a rotation: what was written over goes, too, because the old key opens it.
pub(crate) fn ask_for_scrub(database: &Database) -> Result<(), Failure> {
    if scrub::is_marked(database)? {
        database.ask(After::Scrub);
    }
    Ok(())
}

fn is_current(database: &Database, found: &Found) -> bool {
    match &found.value {
        Value::Plain(_) => false,
        Value::Sealed(sealed) => database.is_current(sealed),
    }
}

fn walked(found: &[Found], old: u64) -> Option<Step> {
    let last = found.last()?.row;
    Some(Step { seen: u64::try_from(found.len()).unwrap_or(u64::MAX), old, last })
}

/// The rows after one, as many as are sealed in one commit.
fn batch(database: &Database, column: Column, sql: &str, after: Row) -> Result<Vec<Found>, Failure> {
    let mut statement = database.prepare_cached(sql)?;
    let mut rows = statement.query(params_from_iter(after.iter().take(column.numbers())))?;
    let (mut batch, mut bytes) = (Vec::new(), 0_usize);
    while batch.len() < limits::STATE_BATCH && bytes < limits::STATE_SEALED_BYTES {
        let Some(found) = rows.next()? else { break };
        let value = match found.get_ref(5)? {
            ValueRef::Blob(sealed) => Value::Sealed(sealed.to_vec()),
            ValueRef::Text(text) => Value::Plain(Zeroizing::new(text.to_vec())),
            other => {
                return Err(database::unreadable(column.name(), &format!("{:?}", other.data_type())).into());
            }
        };
        bytes = bytes.saturating_add(match &value {
            Value::Plain(text) => text.len(),
            Value::Sealed(sealed) => sealed.len(),
        });
        let row = [found.get(0)?, found.get(1)?, found.get(2)?];
        batch.push(Found { row, session_id: found.get(3)?, key: found.get(4)?, value });
    }
    Ok(batch)
}

/// How the first schema's plaintext is read, and where its seal goes. `2.sql` gave the old columns these names. A table
/// that goes as a whole is emptied row by row: SQLite would first keep a copy of all of it, to be able to undo that.
const PLAIN: [(Column, &str, &str); 6] = [
    (
        Column::Title,
        "SELECT id, 0, 0, session_id, key, title_plain FROM sessions
         WHERE id > ?1 AND title_plain IS NOT NULL ORDER BY id",
        Column::Title.write(),
    ),
    (
        Column::LastMessage,
        "SELECT id, 0, 0, session_id, key, last_message_plain FROM sessions
         WHERE id > ?1 AND last_message_plain IS NOT NULL ORDER BY id",
        Column::LastMessage.write(),
    ),
    (
        Column::Prompt,
        "SELECT turns.id, 0, 0, session_id, key, extra_system_prompt_plain
         FROM turns CROSS JOIN sessions ON sessions.id = session
         WHERE turns.id > ?1 AND extra_system_prompt_plain IS NOT NULL ORDER BY turns.id",
        Column::Prompt.write(),
    ),
    (
        Column::Error,
        "SELECT turns.id, 0, 0, session_id, key, error_plain
         FROM turns CROSS JOIN sessions ON sessions.id = session
         WHERE turns.id > ?1 AND error_plain IS NOT NULL ORDER BY turns.id",
        Column::Error.write(),
    ),
    (
        Column::Reply,
        "SELECT turn, 0, 0, session_id, key, text
         FROM outbox_plain CROSS JOIN turns ON turns.id = turn CROSS JOIN sessions ON sessions.id = session
         WHERE turn > ?1 ORDER BY turn",
        "INSERT INTO outbox (turn, text) VALUES (?1, ?4)",
    ),
    (
        Column::Body,
        "SELECT session, turn, seq, session_id, key, body
         FROM messages_plain CROSS JOIN sessions ON sessions.id = session
         WHERE (session, turn, seq) > (?1, ?2, ?3) ORDER BY session, turn, seq",
        "INSERT INTO messages (session, turn, seq, body) VALUES (?1, ?2, ?3, ?4)",
    ),
];

/// Removes a row that was sealed.
const fn removal(column: Column) -> Option<&'static str> {
    match column {
        Column::Body => Some("DELETE FROM messages_plain WHERE session = ?1 AND turn = ?2 AND seq = ?3"),
        Column::Reply => Some("DELETE FROM outbox_plain WHERE turn = ?1"),
        Column::Allowance
        | Column::Canary
        | Column::Error
        | Column::Label
        | Column::LastMessage
        | Column::Origin
        | Column::Prompt
        | Column::Sender
        | Column::NoticeOrigin
        | Column::NoticeText
        | Column::Quarantine
        | Column::Summary
        | Column::SystemEvent
        | Column::SystemEventSource
        | Column::Title => None,
    }
}

/// Rows whose words were not sealed: plaintext without a seal beside it.
const FORGOTTEN: &str = "SELECT (SELECT count(*) FROM messages_plain) + (SELECT count(*) FROM outbox_plain)
    + (SELECT count(*) FROM sessions WHERE (title IS NULL) != (title_plain IS NULL)
         OR (last_message IS NULL) != (last_message_plain IS NULL))
    + (SELECT count(*) FROM turns WHERE (error IS NULL) != (error_plain IS NULL)
         OR (extra_system_prompt IS NULL) != (extra_system_prompt_plain IS NULL))";

/// Seals the plaintext of the first schema, within one transaction, so that a crash or a full disk leaves that schema
/// as it was. Every seal is opened again before the plaintext goes.
pub(crate) fn seal_plaintext(database: &Database) -> Result<(), Failure> {
    for (column, read, write) in PLAIN {
        let (mut after, mut sealed) = (BEGIN, 0_u64);
        loop {
            let found = batch(database, column, read, after)?;
            let mut write = database.prepare_cached(write)?;
            for found in &found {
                seal_one(database, &mut write, &found.place(column), &found.value)?;
                if let Some(removal) = removal(column) {
                    let numbers = params_from_iter(found.row.iter().take(column.numbers()));
                    database.prepare_cached(removal)?.execute(numbers)?;
                }
            }
            let Some(step) = walked(&found, 0) else { break };
            (after, sealed) = (step.last, sealed.saturating_add(step.seen));
            tracing::debug!(column = column.name(), sealed, "sealing the state db");
        }
        if sealed > 0 {
            tracing::info!(column = column.name(), sealed, "words of the state db are sealed");
        }
    }
    let forgotten: i64 = database.query_row(FORGOTTEN, [], |row| row.get(0))?;
    if forgotten == 0 {
        return Ok(());
    }
    Err(database::unreadable("rows without their session", &forgotten.to_string()).into())
}

fn seal_one(
    database: &Database,
    write: &mut rusqlite::Statement<'_>,
    place: &Place<'_>,
    value: &Value,
) -> Result<(), Failure> {
    let lost = |detail: &str| StoreError::Sealed { place: place.to_string(), detail: detail.into() };
    let Value::Plain(words) = value else { return Err(lost("it is no text of the first schema").into()) };
    let sealed = database.seal(place, words)?;
    if database.unseal(place, ValueRef::Blob(&sealed))? != *words {
        return Err(lost("its seal opens to other words").into());
    }
    let [one, two, three] = place.row;
    write.execute(params![one, two, three, sealed])?;
    Ok(())
}
