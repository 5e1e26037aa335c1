//! What is to be sent: answers from the outbox, in the order of their turns within a conversation, piece by piece. A piece
//! is sent again until the vendor has it, and counted on the disk when it has.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use moltbot_channels::driver::{NotSent, Piece};
use moltbot_config::limits;
use moltbot_policy::{Decision, Entry};
use moltbot_protocol::sender::Conversation;
use moltbot_store::{Delivery, Outbound, WaitingReply};
use tokio::time::Instant;

use super::Served;
use super::backoff::{self, Backoff};
use crate::inbound;
use crate::shared::Shared;

/// How often the outbox is looked at without being told to.
const LOOK: Duration = Duration::from_secs(30);

/// Conversations that are not sent to for a while.
#[derive(Default)]
struct Held {
    until: HashMap<Conversation, (Instant, Backoff)>,
}

impl Held {
    fn is_free(&self, conversation: &Conversation) -> bool {
        self.until.get(conversation).is_none_or(|(until, _)| *until <= Instant::now())
    }

    fn hold(&mut self, conversation: &Conversation, asked: Option<Duration>) {
        let (until, backoff) =
            self.until.entry(conversation.clone()).or_insert_with(|| (Instant::now(), Backoff::default()));
        let wait = asked
            .map_or_else(|| backoff.next(backoff::random()), |asked| asked.min(limits::CHANNEL_BACKOFF_MAX));
        *until = Instant::now() + wait;
    }

    /// The next time that one of them is free.
    fn next(&self) -> Option<Instant> {
        self.until.values().map(|(until, _)| *until).min()
    }
}

/// Sends what waits, until the gateway stops.
pub(super) async fn keep_sending(shared: Arc<Shared>, served: Arc<Served>) {
    let stopping = shared.channels.stopping.clone();
    let mut held = Held::default();
    loop {
        let sent = tokio::select! {
            () = stopping.cancelled() => return,
            sent = send_some(&shared, &served, &mut held) => sent,
        };
        if sent {
            continue;
        }
        let look = held.next().unwrap_or_else(|| Instant::now() + LOOK).min(Instant::now() + LOOK);
        tokio::select! {
            () = stopping.cancelled() => return,
            () = served.wake.notified() => {}
            () = tokio::time::sleep_until(look) => {}
        }
    }
}

/// Sends what is ready, and waits for nothing that was held.
pub(super) async fn send_ready(shared: &Shared, served: &Served) {
    let mut held = Held::default();
    while send_some(shared, served, &mut held).await {}
}

/// Sends what waits and is not held. Whether anything was done.
async fn send_some(shared: &Shared, served: &Served, held: &mut Held) -> bool {
    let place = served.place();
    if !served.state.is_connected() || shared.ledger.lockdown().is_some() {
        return false;
    }
    let waiting = shared.store.waiting_replies(place.channel, &place.account, limits::CHANNEL_WAITING).await;
    let waiting = match waiting {
        Ok(waiting) => waiting,
        Err(error) => {
            tracing::error!(%place, %error, "the answers that wait cannot be read");
            return false;
        }
    };
    let mut done = false;
    let mut blocked = HashSet::new();
    for reply in waiting {
        let conversation = reply.origin.conversation.clone();
        // One that is held holds all behind it: order is kept.
        if blocked.contains(&conversation) || !held.is_free(&conversation) {
            blocked.insert(conversation);
            continue;
        }
        match send(shared, served, &reply).await {
            Ok(()) => {
                held.until.remove(&conversation);
                done = true;
            }
            Err(asked) => {
                held.hold(&conversation, asked);
                blocked.insert(conversation);
            }
        }
    }
    done
}

/// Sends one answer to its end. An error is how long to wait before it is gone on with.
async fn send(shared: &Shared, served: &Served, reply: &WaitingReply) -> Result<(), Option<Duration>> {
    let WaitingReply { what, origin, .. } = reply;
    let is_let_in = match what {
        Outbound::Notice(_) => shared.channels.is_owners(shared, origin),
        Outbound::Reply(..) => shared.channels.still_admits(shared, origin),
    };
    if !is_let_in {
        note(shared, reply, Decision::Refused, "the sender is not let in any more");
        return settle(shared, reply, Delivery::Dropped).await;
    }
    let mut pieces = served.driver.pieces(&reply.text);
    if pieces.len() > limits::CHANNEL_PIECES {
        tracing::warn!(%what, pieces = pieces.len(), "an answer is longer than a channel is sent; the rest is left out");
        pieces.truncate(limits::CHANNEL_PIECES);
    }
    let total = pieces.len();
    for (number, text) in pieces.into_iter().enumerate().skip(usize::try_from(reply.pieces).unwrap_or(0)) {
        let answers = origin.message.clone().filter(|_| number == 0);
        let key = format!("{what}-{number}");
        let (conversation, to) = (origin.conversation.clone(), origin.sender.clone());
        let piece = Piece { key, conversation, to, answers, text };
        let sending = tokio::time::timeout(limits::CHANNEL_SEND, served.driver.send(&piece));
        match sending.await.unwrap_or_else(|_| Err(NotSent::Unreachable("it took too long".into()))) {
            Ok(()) => {}
            Err(NotSent::Later(wait)) => return Err(Some(wait)),
            Err(NotSent::Unreachable(why)) => {
                tracing::warn!(place = %served.place(), %what, why, "a piece of an answer was not sent; it is tried again");
                return Err(None);
            }
            Err(NotSent::Never(why)) => {
                tracing::warn!(place = %served.place(), %what, why, "an answer will never be taken; it is dropped");
                note(shared, reply, Decision::Refused, &why);
                return settle(shared, reply, Delivery::Dropped).await;
            }
        }
        served.state.sent(shared.now_ms());
        if number.saturating_add(1) < total {
            let sent = u32::try_from(number.saturating_add(1)).unwrap_or(u32::MAX);
            settle(shared, reply, Delivery::Partly(sent)).await?;
        }
    }
    settle(shared, reply, Delivery::Sent).await?;
    note(shared, reply, Decision::Done, "");
    Ok(())
}

/// Keeps how far an answer is. What cannot be kept is tried again, which may say a piece twice and loses none.
async fn settle(shared: &Shared, reply: &WaitingReply, delivery: Delivery) -> Result<(), Option<Duration>> {
    shared.store.deliver(&reply.what, delivery).await.map_err(|error| {
        tracing::error!(what = %reply.what, %error, "how far an answer is sent is not kept");
        None
    })
}

fn note(shared: &Shared, reply: &WaitingReply, decision: Decision, why: &str) {
    let target = reply.origin.sender.to_string();
    let name = match reply.what {
        Outbound::Notice(_) => "notice",
        Outbound::Reply(..) => "run",
    };
    let entry = Entry::new("gateway", "message.deliver", target, decision).with(name, reply.what.to_string());
    let entry = if why.is_empty() { entry } else { entry.with("reason", why) };
    inbound::note(shared, entry.buffered());
}
