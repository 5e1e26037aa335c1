//! How many connections there may be: few that nobody has signed in on, more that somebody has.

use std::sync::{Arc, Mutex};

use moltbot_config::limits;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::shared::lock;

/// Hands out seats.
#[derive(Debug)]
pub(crate) struct Admission {
    all: Arc<Semaphore>,
    strangers: Arc<Semaphore>,
}

/// A connection's place, given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Seat {
    _place: OwnedSemaphorePermit,
    stranger: Mutex<Option<OwnedSemaphorePermit>>,
}

impl Default for Admission {
    fn default() -> Self {
        let semaphore = |permits| Arc::new(Semaphore::new(permits));
        Self {
            all: semaphore(limits::CONNECTIONS),
            strangers: semaphore(limits::UNAUTHENTICATED_CONNECTIONS),
        }
    }
}

impl Admission {
    /// A seat among the strangers, when there is one.
    pub(crate) fn admit(&self) -> Option<Seat> {
        let stranger = Arc::clone(&self.strangers).try_acquire_owned().ok()?;
        let place = Arc::clone(&self.all).try_acquire_owned().ok()?;
        Some(Seat { _place: place, stranger: Mutex::new(Some(stranger)) })
    }
}

impl Seat {
    /// Its holder has signed in and makes room for the next stranger.
    pub(crate) fn signed_in(&self) {
        lock(&self.stranger).take();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_are_few_and_make_room_by_signing_in_or_leaving() {
        let admission = Admission::default();
        let mut seats: Vec<Seat> = std::iter::from_fn(|| admission.admit()).collect();
        assert_eq!(seats.len(), limits::UNAUTHENTICATED_CONNECTIONS);
        if let Some(seat) = seats.first() {
            seat.signed_in();
        }
        seats.push(admission.admit().unwrap());
        assert!(admission.admit().is_none());
        seats.pop();
        assert!(admission.admit().is_some());
    }
}
