//! What agents are told when they look around next, as the store's callers see it.

use moltbot_protocol::principal::Principal;

use super::Store;
use crate::error::StoreError;
use crate::event::{self, EventRoom, HookDelivery, KeptEvent, NewEvent, SystemEvent};

impl Store {
    /// Keeps something that an agent is told when it looks around next, as far as there is room.
    ///
    /// # Errors
    /// When it cannot be kept.
    pub async fn keep_event(
        &self,
        event: NewEvent,
        room: EventRoom,
        now_ms: u64,
    ) -> Result<KeptEvent, StoreError> {
        self.0.writer.write(move |database| event::keep(database, &event, room, now_ms)).await
    }

    /// Whether one more may wait that a hook says.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn has_room_for(&self, by: Principal, room: EventRoom) -> Result<bool, StoreError> {
        self.0.readers.read(move |database| event::has_room(database, &by, room)).await
    }

    /// What a hook's delivery said that was left for a look, and is this one or has its name.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn left_delivery(&self, delivery: HookDelivery) -> Result<Option<String>, StoreError> {
        self.0.readers.read(move |database| event::left(database, &delivery)).await
    }

    /// What agents are to be told, in the order in which it was said.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn events(&self) -> Result<Vec<SystemEvent>, StoreError> {
        self.0.readers.read(event::all).await
    }
}
