//! Tells every open connection what happens.
//!
//! A broadcast is written once and shared. One counter for the process numbers them; a client that some of
//! them are not for is numbered on without a gap.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use moltbot_policy::authorization::Grant;
use moltbot_protocol::event;
use moltbot_protocol::scope::{Role, Scope};
use serde::Serialize;

use crate::outbox::{Closing, Delivery, Outbox};
use crate::presence::Presence;
use crate::shared::lock;

#[derive(Debug, Default)]
struct Clients {
    /// The number of the last broadcast.
    seq: u64,
    next: u64,
    seats: BTreeMap<u64, Seat>,
}

/// One client, and what is for it.
#[derive(Debug)]
struct Seat {
    outbox: Arc<Outbox>,
    /// The paired device that it is.
    device: Option<String>,
    /// In which role it is there.
    role: Role,
    /// Whether it may decide about devices.
    approves: bool,
    /// Whether it may decide about commands.
    decides: bool,
    presence: Presence,
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
    pub(crate) fn join(&self, grant: &Grant, presence: Presence) -> Membership {
        let may = |scope| grant.require(scope).is_ok();
        let device = grant.device().map(Into::into);
        let device = (device, grant.role());
        self.seat(may(Scope::Read), may(Scope::Pairing), may(Scope::Approvals), device, presence)
    }

    fn seat(
        &self,
        reads: bool,
        approves: bool,
        decides: bool,
        (device, role): (Option<String>, Role),
        presence: Presence,
    ) -> Membership {
        let mut clients = lock(&self.clients);
        let outbox = Arc::new(Outbox::new(reads, clients.seq));
        let key = clients.next;
        clients.next = key.wrapping_add(1);
        let seat = Seat { outbox: Arc::clone(&outbox), device, role, approves, decides, presence };
        clients.seats.insert(key, seat);
        Membership { key, outbox }
    }

    /// Removes a client.
    pub(crate) fn leave(&self, membership: &Membership) {
        lock(&self.clients).seats.remove(&membership.key);
    }

    /// How many clients there are.
    pub(crate) fn len(&self) -> usize {
        lock(&self.clients).seats.len()
    }

    /// The newest clients, newest first, and the number of those that are left out.
    pub(crate) fn present(&self, most: usize) -> (Vec<serde_json::Value>, usize) {
        let clients = lock(&self.clients);
        let newest = clients.seats.values().rev().take(most).map(|seat| seat.presence.value()).collect();
        (newest, clients.seats.len().saturating_sub(most))
    }

    /// The entry of one client.
    pub(crate) fn presence(&self, membership: &Membership) -> Option<serde_json::Value> {
        lock(&self.clients).seats.get(&membership.key).map(|seat| seat.presence.value())
    }

    /// Tells the clients that asked to hear of changes of sessions, and may read.
    pub(crate) fn broadcast_to_subscribers(&self, event: &str, payload: &impl Serialize) {
        let wants = |seat: &Seat| seat.outbox.reads() && seat.outbox.hears_of_sessions();
        self.send(event, payload, Delivery::MayDrop, wants);
    }

    /// Tells the clients that may read.
    pub(crate) fn broadcast(&self, event: &str, payload: &impl Serialize, delivery: Delivery) {
        self.send(event, payload, delivery, |seat| seat.outbox.reads());
    }

    /// Tells the clients that may decide about devices.
    pub(crate) fn broadcast_to_approvers(&self, event: &str, payload: &impl Serialize) {
        self.send(event, payload, Delivery::Must, |seat| seat.approves);
    }

    /// Tells the clients that may decide about commands, and how many there are.
    pub(crate) fn broadcast_to_deciders(&self, event: &str, payload: &impl Serialize) -> usize {
        let deciders = lock(&self.clients).seats.values().filter(|seat| seat.decides).count();
        self.send(event, payload, Delivery::Must, |seat| seat.decides);
        deciders
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
        is_for: impl Fn(&Seat) -> bool,
    ) {
        let mut clients = lock(&self.clients);
        clients.seq = clients.seq.saturating_add(1);
        if clients.seats.is_empty() {
            return;
        }
        let payload = match serde_json::to_string(payload) {
            Ok(payload) => payload,
            Err(error) => return tracing::error!(event, %error, "an event could not be written"),
        };
        let head: Arc<str> = head(event, &payload).into();
        for seat in clients.seats.values().filter(|seat| is_for(seat)) {
            seat.outbox.push_event(&head, delivery);
        }
    }

    /// Sends the tick, and asks every client for a sign of life.
    pub(crate) fn tick(&self, now_ms: u64) {
        self.broadcast_to_all(event::TICK, &serde_json::json!({ "ts": now_ms }));
        for seat in lock(&self.clients).seats.values() {
            seat.outbox.ask_for_life();
        }
    }

    /// Ends the connections of clients that give no sign of life, twice in each [`limits::TICK`].
    pub(crate) fn look_for_life(&self) {
        for seat in lock(&self.clients).seats.values() {
            seat.outbox.expect_life();
        }
    }

    /// Ends the connections of a device in a role.
    pub(crate) fn close_device(&self, device: &str, role: &str) {
        let clients = lock(&self.clients);
        let is_meant = |seat: &&Seat| seat.device.as_deref() == Some(device) && seat.role.name() == role;
        for seat in clients.seats.values().filter(is_meant) {
            seat.outbox.close(Closing::Revoked);
        }
    }

    /// Ends every connection.
    pub(crate) fn close_all(&self, why: Closing) {
        for seat in lock(&self.clients).seats.values() {
            seat.outbox.close(why);
        }
    }
}

/// The frame of an event around a payload that is text already, but for its number and the closing brace.
pub(crate) fn head(event: &str, payload: &str) -> String {
    format!("{{\"type\":\"event\",\"event\":\"{event}\",\"payload\":{payload}")
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
        let (reader, stranger) = (
            hub.seat(true, false, false, (None, Role::Operator), Presence::nobody()),
            hub.seat(false, false, false, (None, Role::Operator), Presence::nobody()),
        );
        hub.broadcast("chat", &1, Delivery::Must);
        hub.broadcast_to_all("tick", &2);
        let late = hub.seat(true, false, false, (None, Role::Operator), Presence::nobody());
        hub.broadcast("chat", &2, Delivery::Must);
        hub.broadcast_to_all("tick", &3);
        assert_eq!(seqs(&reader), [2, 3, 4, 5]);
        assert_eq!(seqs(&stranger), [2, 3]);
        assert_eq!(seqs(&late), [4, 5]);
    }

    #[test]
    fn a_client_that_left_is_told_nothing() {
        let hub = Hub::default();
        let client = hub.seat(true, false, false, (None, Role::Operator), Presence::nobody());
        hub.leave(&client);
        hub.broadcast_to_all("tick", &1);
        assert!(client.outbox().pop().is_none());
        assert_eq!(hub.len(), 0);
    }
}
