//! Tells everybody how a run goes: `agent` events with every detail, `chat` events with the text.

use std::time::Instant;

use moltbot_agent::{TurnEvent, TurnReport};
use moltbot_channels::webchat::ChatProgress;
use moltbot_config::limits;
use moltbot_protocol::agent::AgentEvent;
use moltbot_protocol::event;
use moltbot_protocol::message::VerboseLevel;
use moltbot_store::TurnState;
use serde_json::{Value, json};

use super::run::Run;
use crate::hub::Hub;
use crate::methods::stop_reason;
use crate::outbox::Delivery;

/// The events of one run.
#[derive(Debug)]
pub(crate) struct Progress {
    chat: ChatProgress,
    run: String,
    session: String,
    seq: u64,
    last_delta: Option<Instant>,
    /// How much of the text was told, in bytes.
    told: usize,
    /// How much is told of tools.
    verbose: VerboseLevel,
    /// Whether nobody asked for it: what it says is told at its end, and nothing when it says nothing.
    is_quiet: bool,
}

impl Progress {
    pub(super) fn new(run: &Run) -> Self {
        Self {
            chat: ChatProgress::new(&run.id, &run.session),
            run: run.id.as_str().into(),
            session: run.session.as_str().into(),
            seq: 0,
            last_delta: None,
            told: 0,
            verbose: VerboseLevel::default(),
            is_quiet: !run.is_asked_for,
        }
    }

    /// The same, which tell no more of tools than that.
    pub(super) fn telling(run: &Run, verbose: VerboseLevel) -> Self {
        Self { verbose, ..Self::new(run) }
    }

    /// Tells of something that happens in the run.
    pub(super) fn tell(&mut self, hub: &Hub, run: &Run, event: TurnEvent<'_>, now_ms: u64) {
        if self.is_quiet {
            return;
        }
        match event {
            TurnEvent::Started { started_ms, .. } => {
                self.agent(hub, "lifecycle", now_ms, json!({"phase": "start", "startedAt": started_ms}));
            }
            TurnEvent::Absorbed(_) => {} // told to whoever watches that run
            TurnEvent::CompactionStarted => self.agent(hub, "compaction", now_ms, json!({"phase": "start"})),
            TurnEvent::CompactionEnded { messages, error } => {
                let data = json!({"phase": "end", "messages": messages, "error": error});
                self.agent(hub, "compaction", now_ms, data);
            }
            TurnEvent::Text { text, delta } => {
                run.say(delta);
                self.text(hub, text, now_ms);
            }
            TurnEvent::ToolStarted { .. } | TurnEvent::ToolEnded { .. }
                if self.verbose == VerboseLevel::Off => {}
            TurnEvent::ToolStarted { id, name, arguments } => {
                let data = json!({"phase": "start", "name": name, "toolCallId": id, "args": arguments});
                self.agent(hub, "tool", now_ms, data);
            }
            TurnEvent::ToolEnded { id, name, result, is_error } => {
                let mut data =
                    json!({"phase": "result", "name": name, "toolCallId": id, "isError": is_error});
                if self.verbose == VerboseLevel::Full
                    && let Some(members) = data.as_object_mut()
                {
                    members.insert("result".into(), json!(result));
                }
                self.agent(hub, "tool", now_ms, data);
            }
            TurnEvent::Ended(_) => {} // told from the report, once the run can be found in the store
        }
    }

    /// Deltas carry the whole text so far, so one that is left out is made up for by the next, and the last
    /// by the end. The time between them keeps a long answer from costing the square of its length, and a very
    /// long one has no more of them.
    fn text(&mut self, hub: &Hub, text: &str, now_ms: u64) {
        if text.len() > limits::DELTA_BYTES {
            return;
        }
        if self.last_delta.is_some_and(|last| last.elapsed() < limits::DELTA_INTERVAL) {
            return;
        }
        self.last_delta = Some(Instant::now());
        let delta = text.get(self.told..).unwrap_or(text);
        self.told = text.len();
        self.agent(hub, "assistant", now_ms, json!({"text": text, "delta": delta}));
        hub.broadcast(event::CHAT, &self.chat.delta(text, now_ms), Delivery::MayDrop);
    }

    /// Tells how the run ended.
    pub(super) fn tell_end(&mut self, hub: &Hub, report: &TurnReport) {
        if self.is_quiet {
            return self.tell_unasked(hub, report);
        }
        let ended = report.ended_ms;
        let error = report.error.as_deref().unwrap_or("the turn failed without saying why");
        let (data, chat) = match report.state {
            TurnState::Done => (
                json!({"phase": "end", "startedAt": report.started_ms, "endedAt": ended}),
                self.chat.finished(&report.text, stop_reason(report), ended),
            ),
            TurnState::Aborted => (
                json!({"phase": "end", "startedAt": report.started_ms, "endedAt": ended, "aborted": true}),
                self.chat.aborted(&report.text, ended),
            ),
            TurnState::Error | TurnState::Received => (
                json!({"phase": "error", "startedAt": report.started_ms, "endedAt": ended, "error": error}),
                self.chat.failed(error),
            ),
        };
        self.agent(hub, "lifecycle", ended, data);
        hub.broadcast(event::CHAT, &chat, Delivery::Must);
    }

    /// Tells what was said that nobody asked for.
    fn tell_unasked(&mut self, hub: &Hub, report: &TurnReport) {
        if report.state == TurnState::Done && !report.text.is_empty() {
            let chat = self.chat.finished(&report.text, stop_reason(report), report.ended_ms);
            hub.broadcast(event::CHAT, &chat, Delivery::Must);
        }
    }

    fn agent(&mut self, hub: &Hub, stream: &'static str, ts: u64, data: Value) {
        self.seq = self.seq.saturating_add(1);
        let delivery = if stream == "assistant" { Delivery::MayDrop } else { Delivery::Must };
        let (run_id, session_key) = (self.run.clone(), self.session.clone());
        let payload = AgentEvent { run_id, seq: self.seq, stream, ts, data, session_key };
        hub.broadcast(event::AGENT, &payload, delivery);
    }
}
