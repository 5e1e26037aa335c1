//! Conversations that were had elsewhere.

use moltbot_protocol::ids::SessionKey;
use moltbot_protocol::message::Message;

use super::Store;
use crate::error::StoreError;
use crate::session::{self, Imported};

impl Store {
    /// Adds turns that were had elsewhere to the end of a session that has exactly `skip` messages, in one commit; a session that
    /// is not there has none, and begins with them. They count as said at `now_ms`, and keep the times that they have.
    ///
    /// # Errors
    /// [`StoreError::Busy`] while a message waits in it for its answer; or when they cannot be kept.
    pub async fn import(
        &self,
        key: &SessionKey,
        skip: u64,
        turns: Vec<Vec<Message>>,
        now_ms: u64,
    ) -> Result<Imported, StoreError> {
        let key = key.clone();
        self.0.writer.write(move |database| session::import(database, &key, skip, &turns, now_ms)).await
    }
}
