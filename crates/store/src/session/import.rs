//! A conversation that was had elsewhere, added to what is kept here.

use moltbot_protocol::ids::SessionKey;
use moltbot_protocol::message::Message;
use rusqlite::named_params;

use super::{append, create, current, freshness};
use crate::database::{self, Failure};
use crate::error::StoreError;
use crate::sealed::Database;
use crate::turn::TurnId;

/// The channel of turns that were had elsewhere.
const CHANNEL: &str = "import";

/// What became of turns that were to be added.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Imported {
    /// The session has another number of messages than it was to have, which is this one: nothing was added.
    Elsewhere(u64),
    /// They are the last of the session.
    Kept {
        /// The session's id.
        session_id: String,
        /// How many messages it has now.
        messages: u64,
    },
}

/// Adds turns to the session when it has exactly `skip` messages, and begins it when it is not there and that is none.
///
/// They count as said now: a conversation that somebody brings is one that he means to go on with. What they used was not
/// used here, and is not counted.
pub(crate) fn import(
    database: &Database,
    key: &SessionKey,
    skip: u64,
    turns: &[Vec<Message>],
    now_ms: u64,
) -> Result<Imported, Failure> {
    let found = current(database, key)?;
    let has = match &found {
        Some(session) => {
            let mut count = database.prepare_cached("SELECT message_count FROM sessions WHERE id = ?1")?;
            count.query_row([session.row], |row| row.get(0))?
        }
        None => 0,
    };
    if has != skip {
        return Ok(Imported::Elsewhere(has));
    }
    let session = match found {
        Some(session) if freshness::is_waited_in(database, &session)? => {
            return Err(StoreError::Busy { session: key.clone(), turns: 1 }.into());
        }
        Some(session) => session,
        None => create(database, key, now_ms)?,
    };
    let mut insert = database.prepare_cached(
        "INSERT INTO turns (session, run, channel, account, external_id, state, accepted_ms, ended_ms)
         VALUES (:session, :channel || '-' || :id, :channel, '', :id, 'done', :now, :now)",
    )?;
    for messages in turns {
        let id = moltbot_vault::random_id().map_err(Failure::random)?;
        let now = database::whole(now_ms);
        let turn = insert.insert(named_params! {
            ":session": session.row, ":channel": CHANNEL, ":id": id, ":now": now,
        })?;
        append(database, &session, TurnId(turn), messages, now_ms)?;
    }
    let added = turns.iter().map(Vec::len).sum::<usize>();
    let messages = has.saturating_add(u64::try_from(added).unwrap_or(u64::MAX));
    Ok(Imported::Kept { session_id: session.session_id, messages })
}
