//! What a person says of a session besides its transcript: its label, and the model that answers in it.

use moltbot_protocol::ids::SessionKey;
use rusqlite::Connection;

use super::{Session, SessionFilter, SessionOptions, SessionRow, create, current, list, options, read};
use crate::column::Column;
use crate::database::{self, Failure};
use crate::error::StoreError;
use crate::sealed::Database;

/// A change of a session. What is not named stays; `Some(None)` takes it away.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SessionPatch {
    /// What it is called.
    pub label: Option<Option<String>>,
    /// The model that answers in it, as `provider/model`.
    pub chosen_model: Option<Option<String>>,
    /// What else is set, in place of all that was.
    pub options: Option<SessionOptions>,
}

/// What goes on from a session to the one that is begun anew under its key.
pub(super) struct Kept {
    label: Option<String>,
    chosen_model: Option<String>,
    options: SessionOptions,
}

const ONE: &str =
    "SELECT id, session_id, key, created_ms, updated_ms, message_count, usage, model, title, last_message,
            label, chosen_model, options, cost, unpriced
     FROM sessions WHERE key = ?1 AND current = 1";

/// The session that `key` names now.
pub(crate) fn get(database: &Database, key: &SessionKey) -> Result<Option<SessionRow>, Failure> {
    let mut statement = database.prepare_cached(ONE)?;
    let mut rows = statement.query([key.as_str()])?;
    rows.next()?.map(|row| read(database, row)).transpose()
}

/// Changes the session, and begins it when nothing was said in it yet.
pub(crate) fn patch(
    database: &Database,
    key: &SessionKey,
    patch: &SessionPatch,
    now_ms: u64,
) -> Result<SessionRow, Failure> {
    let session = match current(database, key)? {
        Some(session) => session,
        None => create(database, key, now_ms)?,
    };
    if let Some(label) = &patch.label {
        require_free(database, key, label.as_deref())?;
        set_label(database, &session, label.as_deref())?;
    }
    if let Some(model) = &patch.chosen_model {
        set_model(database, &session, model.as_deref())?;
    }
    if let Some(options) = &patch.options {
        options::set(database, &session, options)?;
    }
    let mut touch =
        database.prepare_cached("UPDATE sessions SET updated_ms = max(updated_ms, ?1) WHERE id = ?2")?;
    touch.execute((database::whole(now_ms), session.row))?;
    let row = get(database, key)?;
    row.ok_or_else(|| database::unreadable("a session", "it is gone while it changes").into())
}

/// Labels find sessions, so that each has one meaning.
fn require_free(database: &Database, key: &SessionKey, label: Option<&str>) -> Result<(), Failure> {
    let Some(label) = label else { return Ok(()) };
    let filter = SessionFilter { label: Some(label.into()), ..SessionFilter::default() };
    match list(database, &filter)?.into_iter().find(|other| other.key != *key) {
        None => Ok(()),
        Some(other) => Err(StoreError::LabelTaken { label: label.into(), session: other.key }.into()),
    }
}

fn set_label(database: &Database, session: &Session, label: Option<&str>) -> Result<(), Failure> {
    let sealed = database.seal_text(&session.own(Column::Label), label)?;
    database
        .prepare_cached("UPDATE sessions SET label = ?1 WHERE id = ?2")?
        .execute((sealed, session.row))?;
    Ok(())
}

fn set_model(database: &Connection, session: &Session, model: Option<&str>) -> Result<(), Failure> {
    database
        .prepare_cached("UPDATE sessions SET chosen_model = ?1 WHERE id = ?2")?
        .execute((model, session.row))?;
    Ok(())
}

pub(super) fn kept(database: &Database, session: &Session) -> Result<Kept, Failure> {
    let mut statement =
        database.prepare_cached("SELECT label, chosen_model, options FROM sessions WHERE id = ?1")?;
    let mut rows = statement.query([session.row])?;
    let Some(row) = rows.next()? else {
        return Ok(Kept { label: None, chosen_model: None, options: SessionOptions::default() });
    };
    let label = database.unseal_text(&session.own(Column::Label), row.get_ref(0)?)?;
    Ok(Kept { label, chosen_model: row.get(1)?, options: options::read(row.get(2)?)? })
}

pub(super) fn keep(database: &Database, session: &Session, kept: &Kept) -> Result<(), Failure> {
    if kept.label.is_some() {
        set_label(database, session, kept.label.as_deref())?;
    }
    if kept.chosen_model.is_some() {
        set_model(database, session, kept.chosen_model.as_deref())?;
    }
    options::set(database, session, &kept.options)
}
