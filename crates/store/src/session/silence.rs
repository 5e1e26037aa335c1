//! A session after a turn was taken out of it that had nothing to say.

use moltbot_config::limits;
use moltbot_protocol::message::Message;

use super::{Session, beginning, is_spoken};
use crate::column::Column;
use crate::database::{self, Failure};
use crate::sealed::Database;
use crate::turn::TurnId;

/// What the session's row says of its last message, after some were taken out.
pub(crate) fn describe_anew(database: &Database, session: &Session) -> Result<(), Failure> {
    let mut newest = database.prepare_cached(
        "SELECT turn, seq, body FROM messages WHERE session = ?1 ORDER BY turn DESC, seq DESC",
    )?;
    let mut rows = newest.query([session.row])?;
    let mut last = None;
    while let Some(row) = rows.next()?
        && last.is_none()
    {
        let place = session.message(TurnId(row.get(0)?), row.get(1)?);
        let body = database.unseal(&place, row.get_ref(2)?)?;
        let message: Message = database::from_json("a message", &*body)?;
        let text = Some(message).filter(is_spoken).map(|message| message.text());
        last = text.filter(|text| !text.trim().is_empty());
    }
    let last = last.as_deref().map(|text| beginning(text, limits::PREVIEW_CHARS));
    let last = database.seal_text(&session.own(Column::LastMessage), last.as_deref())?;
    database
        .prepare_cached("UPDATE sessions SET last_message = ?1 WHERE id = ?2")?
        .execute((last, session.row))?;
    Ok(())
}
