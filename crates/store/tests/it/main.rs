//! The store through its public face, on a real disk.
#![expect(clippy::expect_used, clippy::panic, reason = "a helper of a test fails its test")]

#[cfg(test)]
mod commits;
#[cfg(test)]
mod disk;
#[cfg(test)]
mod kill;
#[cfg(test)]
mod migration;
#[cfg(test)]
mod probes;
#[cfg(test)]
mod rotation;
#[cfg(test)]
mod seals;
#[cfg(test)]
mod sessions;
#[cfg(test)]
mod speed;
#[cfg(test)]
mod turns;

use moltbot_protocol::ids::{AgentId, RunId, SessionKey};
use moltbot_protocol::message::{InboundMessage, Message, Part, StopReason, Usage};
use moltbot_protocol::principal::Principal;
use moltbot_store::{Accepted, Ending, PendingTurn, RunStatus, Store, TurnEnd};
use moltbot_vault::StateDir;
use tempfile::TempDir;

/// A store in a folder of its own.
struct Place {
    folder: TempDir,
    state: StateDir,
    store: Store,
}

impl Place {
    fn new() -> Self {
        let (folder, state) = Self::folder();
        let store = Store::open(&state, &moltbot_testkit::vault(&state)).expect("a store");
        Self { folder, state, store }
    }

    /// A state folder without a store.
    fn folder() -> (TempDir, StateDir) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let state = StateDir::open_or_create(&folder.path().join("state")).expect("a state folder");
        (folder, state)
    }

    /// Closes the store and opens it again.
    fn reopen(&mut self) {
        self.store.close();
        self.store = Store::open(&self.state, &moltbot_testkit::vault(&self.state)).expect("a store");
    }

    /// Accepts a message that is new.
    async fn accept(&self, session: &str, text: &str, now_ms: u64) -> PendingTurn {
        match self.store.accept(&message(session, text), now_ms).await.expect("room for a message") {
            Accepted::Fresh(turn) => turn,
            Accepted::Duplicate(status) => panic!("{text} is new, but {status:?}"),
        }
    }

    /// Accepts a message that is not.
    async fn again(&self, message: &InboundMessage) -> RunStatus {
        match self.store.accept(message, 9).await.expect("an answer") {
            Accepted::Duplicate(status) => status,
            Accepted::Fresh(turn) => panic!("{message:?} is not new, but {turn:?}"),
        }
    }

    /// Accepts a message that is longer than an id may be, and answers it.
    async fn tell(&self, session: &str, id: &str, text: String, answer: &str) {
        let said = InboundMessage { text, ..message(session, id) };
        match self.store.accept(&said, 1).await.expect("room for a message") {
            Accepted::Fresh(turn) => self.store.finish(turn.id, done(answer, 2)).await.expect("an end"),
            Accepted::Duplicate(status) => panic!("{id} is new, but {status:?}"),
        }
    }

    /// Accepts a message and answers it.
    async fn talk(&self, session: &str, text: &str, now_ms: u64) {
        let turn = self.accept(session, text, now_ms).await;
        self.store.finish(turn.id, done(&format!("re: {text}"), now_ms + 1)).await.expect("an end");
    }
}

fn key(name: &str) -> SessionKey {
    SessionKey::parse(name, &AgentId::main()).expect("a session key")
}

fn run(name: &str) -> RunId {
    RunId::parse(name).expect("a run id")
}

/// A message whose external id is its text, and so is its run but for control characters.
fn message(session: &str, text: &str) -> InboundMessage {
    InboundMessage {
        channel: "webchat".into(),
        account: "default".into(),
        external_id: text.into(),
        session: key(session),
        run: run(&text.replace(char::is_control, "_")),
        principal: Principal::Owner,
        text: text.into(),
        images: Vec::new(),
        extra_system_prompt: None,
        origin: None,
        timeout_ms: None,
        thinking: None,
        look: None,
        tells: false,
    }
}

fn user(text: &str, timestamp: u64) -> Message {
    Message::User { content: vec![Part::text(text)], timestamp, principal: Principal::Owner }
}

fn assistant(content: Vec<Part>, timestamp: u64) -> Message {
    Message::Assistant {
        content,
        timestamp,
        provider: "scripted".into(),
        model: "m1".into(),
        usage: usage(1),
        stop_reason: StopReason::Stop,
        error_message: None,
    }
}

fn usage(count: u64) -> Usage {
    Usage {
        input: count,
        output: count,
        cache_read: 0,
        cache_write: 0,
        total_tokens: 2 * count,
        charged: None,
    }
}

/// The end of a turn that was answered.
fn done(text: &str, ended_ms: u64) -> TurnEnd {
    TurnEnd {
        ending: Ending::Done,
        messages: vec![assistant(vec![Part::text(text)], ended_ms)],
        reply: Some(text.into()),
        event: None,
        notices: Vec::new(),
        is_silent: false,
        error: None,
        usage: usage(1),
        cost: 0,
        unpriced: false,
        model: Some("m1".into()),
        ended_ms,
    }
}

/// The texts of a transcript.
fn texts(messages: &[Message]) -> Vec<String> {
    messages.iter().map(Message::text).collect()
}
