//! What waits to be sent to one client, bounded.
//!
//! Broadcasts and the answers of slow methods end up here; the connection's own task sends them. A client
//! that lets more than [`limits::BUFFERED_MOST`] wait is dropped: its socket is full and its memory ours. That one which takes
//! nothing is dropped with less is the socket's to say.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use moltbot_config::limits;
use tokio::sync::Notify;

use crate::shared::lock;

/// Looks without a sign of life in between before a peer counts as dead, at twice in each [`limits::TICK`]: it is dead
/// after [`limits::DEAD`] at the latest, and was asked with two pings.
const LOOKS: u128 = limits::DEAD.as_millis() / (limits::TICK.as_millis() / 2);

/// What may wait before nothing more is read from the client, and nothing is added that can be left out.
const ROOM: usize = limits::BUFFERED_BYTES;

/// Why the gateway ends a connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Closing {
    /// No sign of life.
    Dead,
    /// Somebody who may has ended the session.
    Ended,
    /// The session is over by its limits.
    Expired,
    /// The gateway stops or restarts.
    Restart,
    /// What let the client in does not any more.
    Revoked,
    /// The credential that opened the session is another one now.
    Rotated,
    /// The client does not read fast enough.
    SlowConsumer,
}

/// One frame to send.
#[derive(Debug)]
pub(crate) enum Outgoing {
    /// A broadcast: everything but its number and the closing brace, shared by all clients.
    Event { head: Arc<str>, seq: u64 },
    /// An answer, whole.
    Response(String),
}

impl Outgoing {
    fn len(&self) -> usize {
        match self {
            Self::Event { head, .. } => head.len(),
            Self::Response(text) => text.len(),
        }
    }

    /// The text of the frame.
    pub(crate) fn into_text(self) -> String {
        match self {
            Self::Event { head, seq } => format!("{head},\"seq\":{seq}}}"),
            Self::Response(text) => text,
        }
    }
}

/// Whether a frame may be left out for a client that is behind.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Delivery {
    /// A later frame makes up for it.
    MayDrop,
    /// The client is wrong without it.
    Must,
}

#[derive(Debug, Default)]
struct Queue {
    frames: VecDeque<Outgoing>,
    bytes: usize,
    /// The number of the last broadcast that this client was given.
    seq: u64,
    closing: Option<Closing>,
    ping: bool,
}

/// What waits to be sent to one client.
#[derive(Debug)]
pub(crate) struct Outbox {
    queue: Mutex<Queue>,
    ready: Notify,
    closed: Notify,
    /// Whether events that need the read scope are for this client.
    reads: bool,
    /// Whether it asked to be told when sessions change.
    sessions: AtomicBool,
    missed: AtomicU8,
    requests: AtomicUsize,
}

impl Outbox {
    /// An empty outbox, whose client has seen broadcasts up to `seq`.
    pub(crate) fn new(reads: bool, seq: u64) -> Self {
        Self {
            queue: Mutex::new(Queue { seq, ..Queue::default() }),
            ready: Notify::new(),
            closed: Notify::new(),
            reads,
            sessions: AtomicBool::new(false),
            missed: AtomicU8::new(0),
            requests: AtomicUsize::new(0),
        }
    }

    /// Whether events that need the read scope are for this client.
    pub(crate) const fn reads(&self) -> bool {
        self.reads
    }

    /// Whether it asked to be told when sessions change.
    pub(crate) fn hears_of_sessions(&self) -> bool {
        self.sessions.load(Ordering::Relaxed)
    }

    /// Adds a broadcast. It is numbered here, so that a client never sees a gap: neither for an event that
    /// was not for it nor for one that was left out because it was behind.
    pub(crate) fn push_event(&self, head: &Arc<str>, delivery: Delivery) {
        let mut queue = lock(&self.queue);
        // With the event itself: a long one that a later one makes up for must not make the client look slow.
        if delivery == Delivery::MayDrop && queue.bytes.saturating_add(head.len()) > ROOM {
            return;
        }
        queue.seq = queue.seq.saturating_add(1);
        let event = Outgoing::Event { head: Arc::clone(head), seq: queue.seq };
        self.push(&mut queue, event);
    }

    /// Whether the client may be read on: its answers have room.
    pub(crate) fn has_room(&self) -> bool {
        lock(&self.queue).bytes <= ROOM
    }

    /// Adds an answer.
    pub(crate) fn push_response(&self, text: String) {
        self.push(&mut lock(&self.queue), Outgoing::Response(text));
    }

    fn push(&self, queue: &mut Queue, frame: Outgoing) {
        if queue.closing.is_some() {
            return;
        }
        // Judged by what waits already: one large answer is no fault of a client that reads.
        if queue.bytes > limits::BUFFERED_MOST {
            return self.give_up(queue);
        }
        queue.bytes = queue.bytes.saturating_add(frame.len());
        queue.frames.push_back(frame);
        self.ready.notify_one();
    }

    /// Drops a client that does not read, and what waits for it.
    pub(crate) fn drop_slow_client(&self) {
        self.give_up(&mut lock(&self.queue));
    }

    fn give_up(&self, queue: &mut Queue) {
        queue.frames = VecDeque::new();
        queue.bytes = 0;
        queue.closing.get_or_insert(Closing::SlowConsumer);
        self.closed.notify_one();
    }

    /// How many bytes wait.
    pub(crate) fn waiting(&self) -> usize {
        lock(&self.queue).bytes
    }

    /// Asks for a sign of life.
    pub(crate) fn ask_for_life(&self) {
        lock(&self.queue).ping = true;
        self.ready.notify_one();
    }

    /// Gives up on a client that gave no sign of life for [`limits::DEAD`].
    pub(crate) fn expect_life(&self) {
        let missed = self.missed.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        if u128::from(missed) >= LOOKS {
            self.close(Closing::Dead);
        }
    }

    /// The client gave a sign of life.
    pub(crate) fn is_alive(&self) {
        self.missed.store(0, Ordering::Relaxed);
    }

    /// Ends the connection; frames that wait are sent before when its reason allows.
    pub(crate) fn close(&self, why: Closing) {
        let mut queue = lock(&self.queue);
        queue.closing.get_or_insert(why);
        self.closed.notify_one();
    }

    /// Resolves when the connection is to end.
    pub(crate) async fn closed(&self) -> Closing {
        loop {
            if let Some(closing) = lock(&self.queue).closing {
                return closing;
            }
            self.closed.notified().await;
        }
    }

    /// Resolves when there may be something to send.
    pub(crate) async fn ready(&self) {
        self.ready.notified().await;
    }

    /// The next frame to send.
    pub(crate) fn pop(&self) -> Option<Outgoing> {
        let mut queue = lock(&self.queue);
        let frame = queue.frames.pop_front();
        match &frame {
            Some(frame) => queue.bytes = queue.bytes.saturating_sub(frame.len()),
            None => queue.frames.shrink_to(4), // an idle client keeps no room for a busy minute
        }
        frame
    }

    /// Whether a request is being answered.
    pub(crate) fn is_answering(&self) -> bool {
        self.requests.load(Ordering::Relaxed) > 0
    }

    /// Whether a ping is due, once.
    pub(crate) fn take_ping(&self) -> bool {
        std::mem::take(&mut lock(&self.queue).ping)
    }

    /// Whether something waits to be sent while other requests are still being answered.
    pub(crate) fn is_gathering(&self) -> bool {
        self.requests.load(Ordering::Relaxed) > 0 && self.waiting() > 0
    }

    /// Takes one of the places for requests that are being answered.
    pub(crate) fn begin_request(self: &Arc<Self>) -> Option<InFlight> {
        let before = self.requests.fetch_add(1, Ordering::Relaxed);
        let place = InFlight { outbox: Arc::clone(self) };
        (before < limits::REQUESTS_IN_FLIGHT).then_some(place)
    }
}

/// A request that is being answered.
#[derive(Debug)]
pub(crate) struct InFlight {
    outbox: Arc<Outbox>,
}

impl InFlight {
    /// Sends one answer.
    pub(crate) fn answer(&self, text: String) {
        self.outbox.push_response(text);
    }
}

impl InFlight {
    /// From now on the client is told when sessions change.
    pub(crate) fn subscribe_to_sessions(&self) {
        self.outbox.sessions.store(true, Ordering::Relaxed);
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.outbox.requests.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event() -> Arc<str> {
        format!("{{\"type\":\"event\",\"payload\":\"{}\"", "x".repeat(1000)).into()
    }

    #[test]
    fn a_client_that_does_not_read_is_dropped_at_the_limit() {
        let outbox = Outbox::new(true, 0);
        let event = event();
        let pushed = (0..10_000).take_while(|_| {
            outbox.push_event(&event, Delivery::Must);
            lock(&outbox.queue).closing.is_none()
        });
        let kept = pushed.count();
        assert!((1530..1600).contains(&kept), "{kept} frames of about 1 kB");
        assert_eq!(lock(&outbox.queue).closing, Some(Closing::SlowConsumer));
        assert!(outbox.pop().is_none(), "nothing is kept for it");
    }

    #[test]
    fn what_may_be_dropped_is_dropped_without_a_gap_in_the_numbers() {
        let outbox = Outbox::new(true, 41);
        let event = event();
        for _ in 0..1000 {
            outbox.push_event(&event, Delivery::MayDrop);
        }
        outbox.push_event(&event, Delivery::Must);
        let seqs: Vec<u64> = std::iter::from_fn(|| outbox.pop())
            .map(|frame| match frame {
                Outgoing::Event { seq, .. } => seq,
                Outgoing::Response(_) => unreachable!("no answers were pushed"),
            })
            .collect();
        assert!(seqs.len() < 500, "{} were kept", seqs.len());
        assert!(seqs.iter().zip(42..).all(|(seq, expected)| *seq == expected), "{seqs:?}");
    }

    #[test]
    fn a_client_without_a_sign_of_life_counts_as_dead() {
        let outbox = Outbox::new(true, 0);
        outbox.ask_for_life();
        assert!(outbox.take_ping());
        for _ in 0..4 {
            outbox.expect_life();
        }
        outbox.is_alive();
        for _ in 0..5 {
            assert_eq!(lock(&outbox.queue).closing, None);
            outbox.expect_life(); // each 15 s: dead after 75 s
        }
        assert_eq!(lock(&outbox.queue).closing, Some(Closing::Dead));
    }

    #[test]
    fn requests_in_flight_are_counted_and_given_back() {
        let outbox = Arc::new(Outbox::new(true, 0));
        let places: Vec<_> = std::iter::from_fn(|| outbox.begin_request()).take(1000).collect();
        assert_eq!(places.len(), limits::REQUESTS_IN_FLIGHT);
        drop(places);
        assert!(outbox.begin_request().is_some());
    }
}
