//! What a person sets of a session besides its label and its model.

use moltbot_config::settings::{QueueDrop, QueueMode};
use moltbot_protocol::message::{ThinkingLevel, VerboseLevel};
use rusqlite::Connection;
use serde::{Deserialize, Serialize};

use super::Session;
use crate::database::{self, Failure};
use crate::error::StoreError;

/// What a person set of a session; what is absent is as the config says.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct SessionOptions {
    /// What becomes of messages that come while another is answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue_mode: Option<QueueMode>,
    /// How long it must be quiet before what was gathered is answered, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue_debounce_ms: Option<u32>,
    /// How many messages may wait.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue_cap: Option<u32>,
    /// Which one gets no answer of its own when more wait.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue_drop: Option<QueueDrop>,
    /// How much models think in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub thinking_level: Option<ThinkingLevel>,
    /// How much is told of its tools.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verbose_level: Option<VerboseLevel>,
}

/// Reads the column.
pub(super) fn read(column: Option<String>) -> Result<SessionOptions, StoreError> {
    column.map_or_else(
        || Ok(SessionOptions::default()),
        |text| database::from_json("options of a session", text),
    )
}

pub(super) fn set(database: &Connection, session: &Session, options: &SessionOptions) -> Result<(), Failure> {
    let text = (*options != SessionOptions::default()).then(|| database::to_json(options)).transpose()?;
    database
        .prepare_cached("UPDATE sessions SET options = ?1 WHERE id = ?2")?
        .execute((text, session.row))?;
    Ok(())
}
