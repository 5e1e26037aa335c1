//! People on channels: what was decided about them, who asks to be let in, and how often a wrong code was tried.

use moltbot_protocol::sender::SenderId;
use serde::{Deserialize, Serialize};

use crate::column::{Column, Place, row};
use crate::database::{self, Failure};
use crate::sealed::Database;

/// One thing that is known.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(tag = "is", rename_all = "camelCase")]
pub enum SenderFact {
    /// Wrong codes that were tried for one channel.
    Guesses(WrongCodes),
    /// Somebody about whom a person decided.
    Known(KnownSender),
    /// Somebody who asks to be let in.
    Request(SenderRequest),
}

/// Somebody about whom a person decided.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct KnownSender {
    /// Who.
    pub id: SenderId,
    /// What the sender was called then. Proves nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What was decided.
    pub standing: Decided,
    /// When, in milliseconds since the epoch.
    pub decided_ms: u64,
    /// By whom, as the book names him.
    pub by: String,
}

/// What was decided about a sender.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Decided {
    /// Direct messages are answered.
    Approved,
    /// Nothing is answered, whatever a list says.
    Blocked,
}

/// Somebody who asks to be let in.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SenderRequest {
    /// Who.
    pub id: SenderId,
    /// What the sender is called. Proves nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// When the sender first asked, in milliseconds since the epoch.
    pub asked_ms: u64,
    /// How it stands.
    pub state: Asked,
    /// The digest of what the buttons below the question to the owner carry, in hex. Gone once it is decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub button: Option<String>,
}

/// How a request stands.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(tag = "state", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Asked {
    /// It was approved by its code: the same approval again changes nothing.
    Approved {
        /// The digest of the code, in hex.
        digest: String,
        /// When its code ends, in milliseconds since the epoch.
        ends_ms: u64,
    },
    /// A code was drawn.
    Code {
        /// The digest of the code, in hex.
        digest: String,
        /// When its code ends, in milliseconds since the epoch.
        ends_ms: u64,
        /// Whether the sender was told. Until then another code may be drawn.
        told: bool,
    },
    /// A person said no: nothing is answered until it ends.
    Rejected {
        /// When it ends, in milliseconds since the epoch.
        ends_ms: u64,
    },
    /// No place is free.
    Waits {
        /// When it is forgotten, in milliseconds since the epoch.
        ends_ms: u64,
    },
}

impl Asked {
    /// When it ends, in milliseconds since the epoch.
    pub const fn ends_ms(&self) -> u64 {
        match self {
            Self::Approved { ends_ms, .. }
            | Self::Code { ends_ms, .. }
            | Self::Rejected { ends_ms }
            | Self::Waits { ends_ms } => *ends_ms,
        }
    }
}

/// Wrong codes that were tried for one channel.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WrongCodes {
    /// The channel's name.
    pub channel: String,
    /// When, in milliseconds since the epoch, oldest first.
    pub at_ms: Vec<u64>,
}

/// Changes that are kept together or not at all.
#[derive(Clone, Debug, Default)]
pub struct SenderChange {
    /// Facts as they are now, by their numbers.
    pub keep: Vec<(i64, SenderFact)>,
    /// Numbers of facts that are none any more.
    pub forget: Vec<i64>,
}

const fn place(number: i64) -> Place<'static> {
    Place { column: Column::Sender, row: row(number), session_id: "", key: "" }
}

/// Everything that is known, by its number.
pub(crate) fn all(database: &Database) -> Result<Vec<(i64, SenderFact)>, Failure> {
    let mut statement = database.prepare("SELECT id, body FROM senders ORDER BY id")?;
    let mut rows = statement.query([])?;
    let mut facts = Vec::new();
    while let Some(row) = rows.next()? {
        let number = row.get(0)?;
        let body = database.unseal(&place(number), row.get_ref(1)?)?;
        facts.push((number, database::from_json("a sender", &*body)?));
    }
    Ok(facts)
}

/// Keeps a change.
pub(crate) fn change(database: &Database, change: &SenderChange) -> Result<(), Failure> {
    let mut forget = database.prepare_cached("DELETE FROM senders WHERE id = ?1")?;
    for number in &change.forget {
        forget.execute([number])?;
    }
    let mut keep = database.prepare_cached("INSERT OR REPLACE INTO senders (id, body) VALUES (?1, ?2)")?;
    for (number, fact) in &change.keep {
        let body = database.seal(&place(*number), database::to_json(fact)?.as_bytes())?;
        keep.execute((number, body))?;
    }
    Ok(())
}
