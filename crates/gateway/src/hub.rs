//! Tells every open connection what happens.
//!
//! A broadcast is written once and shared. One counter for the process numbers them; a client that some of
//! them are not for is numbered on without a gap.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use moltbot_protocol::event;
use serde::Serialize;

use crate::outbox::{Closing, Delivery, Outbox};
use crate::shared::lock;

#[derive(Debug, Default)]
struct Clients {
    /// The number of the last broadcast.
    seq: u64,
    next: u64,
    outboxes: HashMap<u64, Arc<Outbox>>,
}

/// The open connections.
#[derive(Debug, Default)]
pub(crate) struct Hub {
    clients: Mutex<Clients>,
}

/// One client in the hub, until it is dropped.
#[derive(Debug)]
pub(crate) struct Membership {
    key: u64,
    outbox: Arc<Outbox>,
}

impl Membership {
    pub(crate) const fn outbox(&self) -> &Arc<Outbox> {
        &self.outbox
    }
}

impl Hub {
    /// Adds a client; from now on broadcasts wait for it.
    pub(crate) fn join(&self, reads: bool) -> Membership {
        let mut clients = lock(&self.clients);
        let outbox = Arc::new(Outbox::new(reads, clients.seq));
        let key = clients.next;
        clients.next = key.wrapping_add(1);
        clients.outboxes.insert(key, Arc::clone(&outbox));
        Membership { key, outbox }
    }

    /// Removes a client.
    pub(crate) fn leave(&self, membership: &Membership) {
        lock(&self.clients).outboxes.remove(&membership.key);
    }

    /// How many clients there are.
    pub(crate) fn len(&self) -> usize {
        lock(&self.clients).outboxes.len()
    }

    /// Tells the clients that may read.
    pub(crate) fn broadcast(&self, event: &str, payload: &impl Serialize, delivery: Delivery) {
        self.send(event, payload, delivery, Outbox::reads);
    }

    /// Tells every client.
    pub(crate) fn broadcast_to_all(&self, event: &str, payload: &impl Serialize) {
        self.send(event, payload, Delivery::Must, |_| true);
    }

    fn send(
        &self,
        event: &str,
        payload: &impl Serialize,
        delivery: Delivery,
        is_for: impl Fn(&Outbox) -> bool,
    ) {
        let mut clients = lock(&self.clients);
        clients.seq = clients.seq.saturating_add(1);
        if clients.outboxes.is_empty() {
            return;
        }
        let payload = match serde_json::to_string(payload) {
            Ok(payload) => payload,
            Err(error) => return tracing::error!(event, %error, "an event could not be written"),
        };
        let head: Arc<str> =
            format!("{{\"type\":\"event\",\"event\":\"{event}\",\"payload\":{payload}").into();
        for outbox in clients.outboxes.values().filter(|outbox| is_for(outbox)) {
            outbox.push_event(&head, delivery);
        }
    }

    /// Sends the tick, and asks every client for a sign of life.
    pub(crate) fn tick(&self, now_ms: u64) {
        self.broadcast_to_all(event::TICK, &serde_json::json!({ "ts": now_ms }));
        for outbox in lock(&self.clients).outboxes.values() {
            outbox.expect_life();
        }
    }

    /// Ends every connection.
    pub(crate) fn close_all(&self, why: Closing) {
        for outbox in lock(&self.clients).outboxes.values() {
            outbox.close(why);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seqs(membership: &Membership) -> Vec<serde_json::Value> {
        std::iter::from_fn(|| membership.outbox.pop())
            .map(|frame| {
                serde_json::from_str::<serde_json::Value>(&frame.into_text()).unwrap()["seq"].clone()
            })
            .collect()
    }

    #[test]
    fn every_client_sees_its_broadcasts_numbered_without_a_gap() {
        let hub = Hub::default();
        hub.broadcast_to_all("tick", &1);
        let (reader, stranger) = (hub.join(true), hub.join(false));
        hub.broadcast("chat", &1, Delivery::Must);
        hub.broadcast_to_all("tick", &2);
        let late = hub.join(true);
        hub.broadcast("chat", &2, Delivery::Must);
        hub.broadcast_to_all("tick", &3);
        assert_eq!(seqs(&reader), [2, 3, 4, 5]);
        assert_eq!(seqs(&stranger), [2, 3]);
        assert_eq!(seqs(&late), [4, 5]);
    }

    #[test]
    fn a_client_that_left_is_told_nothing() {
        let hub = Hub::default();
        let client = hub.join(true);
        hub.leave(&client);
        hub.broadcast_to_all("tick", &1);
        assert!(client.outbox().pop().is_none());
        assert_eq!(hub.len(), 0);
    }
}
