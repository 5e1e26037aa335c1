//! What the log and `status` are told of a server: once when it does not take the book, and once when it does again.

use std::sync::Mutex;

use serde_json::{Value, json};

use crate::shared::lock;

/// What is known of one server.
#[derive(Debug)]
pub(super) struct Told {
    name: &'static str,
    target: String,
    now: Mutex<Now>,
}

#[derive(Debug, Default)]
struct Now {
    /// The number of the last record that was handed over.
    sent: u64,
    /// The number of the last record that the server is known to have.
    kept: u64,
    problem: Option<String>,
    /// That the server was sent more than the book has.
    cut: Option<String>,
    is_connected: bool,
}

impl Told {
    pub(super) fn new(name: &'static str, target: String) -> Self {
        Self { name, target, now: Mutex::default() }
    }

    /// Its host and port.
    pub(super) fn target(&self) -> &str {
        &self.target
    }

    /// The server was sent a record that the book does not have any more.
    pub(super) fn cut(&self, sent: u64) {
        let cut = format!(
            "it was sent record {sent}, which the book does not have any more: its end was cut off or replaced; verify it with the last head that the server has"
        );
        let (server, to) = (self.name, &self.target);
        tracing::error!(server, to, cut, "the book is not the one that was sent");
        lock(&self.now).cut = Some(cut);
    }

    /// The way is open.
    pub(super) fn connected(&self) {
        lock(&self.now).is_connected = true;
    }

    /// The server has everything up to here.
    pub(super) fn kept(&self, sequence: u64) {
        lock(&self.now).kept = sequence;
    }

    /// Everything up to here was handed over.
    pub(super) fn sent(&self, sequence: u64) {
        let problem = {
            let mut now = lock(&self.now);
            now.sent = sequence;
            now.problem.take()
        };
        if problem.is_some() {
            let (server, to) = (self.name, &self.target);
            tracing::info!(server, to, "the server takes the book again");
        }
    }

    /// The way is closed, as it should be.
    pub(super) fn closed(&self) {
        lock(&self.now).is_connected = false;
    }

    /// The server does not take the book. Told once for each cause.
    pub(super) fn failed(&self, problem: String) {
        let is_new = {
            let mut now = lock(&self.now);
            now.is_connected = false;
            now.problem.replace(problem.clone()).as_ref() != Some(&problem)
        };
        let (server, to) = (self.name, &self.target);
        if is_new {
            tracing::error!(server, to, problem, "the book cannot be sent; it is tried again");
        }
    }

    pub(super) fn status(&self) -> Value {
        let now = lock(&self.now);
        let state = match (&now.problem, now.is_connected) {
            (Some(_), _) => "away",
            (None, true) => "connected",
            (None, false) => "idle",
        };
        json!({
            "server": self.name,
            "to": self.target,
            "state": state,
            "sent": now.sent,
            "kept": now.kept,
            "problem": now.cut.as_ref().or(now.problem.as_ref()),
        })
    }
}
