//! How an account of a channel is, for people who ask.

use std::collections::{HashMap, HashSet};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use moltbot_channels::driver::{Broken, Place};
use moltbot_config::limits;
use moltbot_protocol::sender::{Conversation, SenderId};
use serde_json::{Value, json};

use crate::shared::lock;

/// How one account is.
#[derive(Debug, Default)]
pub(super) struct State(Mutex<Now>);

#[derive(Debug, Default)]
struct Now {
    running: bool,
    connected: Option<(Instant, u64)>,
    starts: u64,
    last_error: Option<(String, u64)>,
    last_in_ms: Option<u64>,
    last_out_ms: Option<u64>,
    /// Conversations in which it was said that everything is stopped, and which stop that was.
    told: (Option<u64>, HashSet<Conversation>),
    /// Conversations in which it was said that they are in quarantine, and since when they were.
    told_quarantine: HashSet<(Conversation, u64)>,
    /// Where the owner wrote last by each of his identities.
    own: HashMap<SenderId, Conversation>,
}

impl State {
    pub(super) fn starts(&self) {
        let mut now = lock(&self.0);
        now.running = true;
        now.starts = now.starts.saturating_add(1);
    }

    pub(super) fn connected(&self, now_ms: u64) {
        lock(&self.0).connected = Some((Instant::now(), now_ms));
    }

    pub(super) fn is_connected(&self) -> bool {
        lock(&self.0).connected.is_some()
    }

    /// The driver broke. Answers how long it was connected.
    pub(super) fn broke(&self, broken: &Broken, now_ms: u64) -> Duration {
        let mut now = lock(&self.0);
        now.running = false;
        now.last_error = Some((broken.what.clone(), now_ms));
        now.connected.take().map_or(Duration::ZERO, |(since, _)| since.elapsed())
    }

    pub(super) fn heard(&self, now_ms: u64) {
        lock(&self.0).last_in_ms = Some(now_ms);
    }

    /// Whether it is to be said in a conversation that everything is stopped since then: once.
    pub(super) fn tells_stop(&self, conversation: &Conversation, since_ms: Option<u64>) -> bool {
        let mut now = lock(&self.0);
        if now.told.0 != since_ms {
            now.told = (since_ms, HashSet::new());
        }
        now.told.1.len() < limits::CONVERSATIONS_TOLD && now.told.1.insert(conversation.clone())
    }

    /// Whether it is to be said in a conversation that it is in quarantine since then: once.
    pub(super) fn tells_quarantine(&self, conversation: &Conversation, since_ms: u64) -> bool {
        let mut now = lock(&self.0);
        now.told_quarantine.len() < limits::CONVERSATIONS_TOLD
            && now.told_quarantine.insert((conversation.clone(), since_ms))
    }

    /// The owner has written there, with nobody else.
    pub(super) fn heard_owner(&self, owner: &SenderId, conversation: &Conversation) {
        lock(&self.0).own.insert(owner.clone(), conversation.clone());
    }

    /// Where an identity of the owner's is written to: where he wrote last, else by his id.
    pub(super) fn chat_of(&self, owner: &SenderId) -> Conversation {
        let known = lock(&self.0).own.get(owner).cloned();
        known.unwrap_or_else(|| Conversation::Direct { to: owner.id().to_owned() })
    }

    pub(super) fn sent(&self, now_ms: u64) {
        lock(&self.0).last_out_ms = Some(now_ms);
    }

    pub(super) fn status(&self, place: &Place) -> Value {
        let now = lock(&self.0);
        let error = now.last_error.as_ref();
        json!({
            "channel": place.channel,
            "accountId": place.account,
            "enabled": true,
            "configured": true,
            "running": now.running,
            "connected": now.connected.is_some(),
            "lastConnectedAt": now.connected.map(|(_, at)| at),
            "reconnectAttempts": now.starts.saturating_sub(1),
            "lastError": error.map(|(what, _)| what),
            "lastErrorAt": error.map(|(_, at)| at),
            "lastInboundAt": now.last_in_ms,
            "lastOutboundAt": now.last_out_ms,
        })
    }
}
