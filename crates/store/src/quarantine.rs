//! Sessions that run no turn before their owner lets them go on, and what he is to be told of it.
//!
//! A session goes into quarantine in the same commit as the notices about it, so that a crash loses neither. Notices stay
//! until the vendor has them.

use moltbot_protocol::ids::{RunId, SessionKey};
use moltbot_protocol::sender::Origin;
use rusqlite::params_from_iter;
use rusqlite::types::Value;

use crate::column::{Column, Place, row};
use crate::database::{self, Failure};
use crate::sealed::Database;

/// A session in quarantine.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Quarantine {
    /// The session.
    pub session: SessionKey,
    /// Since when, in milliseconds since the epoch.
    pub since_ms: u64,
    /// The run in which it began.
    pub run: RunId,
    /// Why, in a clause; sealed.
    pub why: String,
}

/// What the gateway itself has to tell somebody on a channel.
#[derive(Clone, Debug, PartialEq)]
pub struct Notice {
    /// Whom, and where; sealed.
    pub origin: Origin,
    /// What; sealed.
    pub text: String,
}

/// Where words of a row without a session stand.
pub(crate) const fn place(column: Column, id: i64) -> Place<'static> {
    Place { column, row: row(id), session_id: "", key: "" }
}

/// Every session in quarantine.
pub(crate) fn all(database: &Database) -> Result<Vec<Quarantine>, Failure> {
    let mut statement = database.prepare("SELECT id, key, since_ms, run, why FROM quarantine ORDER BY id")?;
    let mut rows = statement.query([])?;
    let mut held = Vec::new();
    while let Some(row) = rows.next()? {
        let why = database.unseal_text(&place(Column::Quarantine, row.get(0)?), row.get_ref(4)?)?;
        held.push(Quarantine {
            session: database::session_key(row.get(1)?)?,
            since_ms: row.get(2)?,
            run: database::run_id(row.get_ref(3)?.as_str().map_err(rusqlite::Error::from)?)?,
            why: why.unwrap_or_default(),
        });
    }
    Ok(held)
}

/// Puts a session into quarantine, and what is to be told of it into the outbox. Nothing changes for one that is there.
pub(crate) fn hold(database: &Database, held: &Quarantine, notices: &[Notice]) -> Result<(), Failure> {
    let mut insert = database.prepare_cached(
        "INSERT INTO quarantine (key, since_ms, run, why) VALUES (?1, ?2, ?3, x'') ON CONFLICT DO NOTHING",
    )?;
    let since = database::whole(held.since_ms);
    if insert.execute((held.session.as_str(), since, held.run.as_str()))? == 0 {
        return Ok(());
    }
    let update = "UPDATE quarantine SET why = ?2 WHERE id = ?1";
    seal_row(database, database.last_insert_rowid(), update, &[(Column::Quarantine, held.why.as_bytes())])?;
    notices.iter().try_for_each(|notice| put(database, notice))
}

/// Puts what is to be told into the outbox.
pub(crate) fn put(database: &Database, notice: &Notice) -> Result<(), Failure> {
    let Notice { origin, text } = notice;
    let mut insert = database
        .prepare_cached("INSERT INTO notices (channel, account, origin, text) VALUES (?1, ?2, x'', x'')")?;
    let id = insert.insert((origin.sender.channel(), origin.sender.account()))?;
    let origin = database::to_json(origin)?;
    let words = [(Column::NoticeOrigin, origin.as_bytes()), (Column::NoticeText, text.as_bytes())];
    seal_row(database, id, "UPDATE notices SET origin = ?2, text = ?3 WHERE id = ?1", &words)
}

/// Fills in the words of a row that was just inserted without them: the place that they are sealed for has the number that the
/// row has only now. `update` takes the number first, and then the words.
pub(crate) fn seal_row(
    database: &Database,
    id: i64,
    update: &str,
    words: &[(Column, &[u8])],
) -> Result<(), Failure> {
    let mut values = vec![Value::Integer(id)];
    for (column, words) in words {
        values.push(Value::Blob(database.seal(&place(*column, id), words)?));
    }
    database.prepare_cached(update)?.execute(params_from_iter(values))?;
    Ok(())
}

/// Lets a session go on. Whether it was in quarantine.
pub(crate) fn release(database: &Database, session: &SessionKey) -> Result<bool, Failure> {
    let mut delete = database.prepare_cached("DELETE FROM quarantine WHERE key = ?1")?;
    Ok(delete.execute([session.as_str()])? > 0)
}
