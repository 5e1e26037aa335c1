//! The end of a turn: what was said is on disk, and whoever watches knows.

use std::time::Duration;

use moltbot_config::limits;
use moltbot_policy::incident::QUARANTINED;
use moltbot_protocol::message::{InboundMessage, Message, Part, StopReason, Usage};
use moltbot_protocol::sender::Origin;
use moltbot_store::{Ending, EventSource, Notice, PendingTurn, Store, StoreError, TurnEnd, TurnId};
use serde_json::Value;

use super::outgoing::outgoing;
use super::{Halt, Turn};
use crate::agent::Inside;
use crate::control::PassedOver;
use crate::heartbeat;
use crate::report::{ToolCallReport, TurnEvent, TurnReport};
use crate::tools::sentence;

/// The wait before an end that could not be kept is tried again.
const KEEP_AGAIN: Duration = Duration::from_millis(250);
/// What somebody on a channel is told when his message could not be answered.
const FAILED: &str = "I could not answer this. Please try again later.";
/// What somebody on a channel is told of a message that gets no answer because too many waited.
const TOO_MANY: &str = "I did not answer this: too many messages were waiting. I have read it.";
/// What stands before what a model thought; upstream's words.
const REASONING: &str = "Reasoning:\n";
/// How often an end is tried that waits for the one before: five seconds long.
const KEEP_TRIES: u32 = 20;

impl Turn<'_> {
    /// Puts the end on disk and reports it.
    pub(super) async fn close(mut self, ended: Result<(), Halt>) -> TurnReport {
        let ended_ms = (self.clock)();
        let (ending, error, failed) = match ended {
            Ok(()) => (Ending::Done, None, None),
            Err(Halt::Aborted) => (Ending::Aborted, None, None),
            Err(Halt::Failed(why)) => (Ending::Error, Some(why), Some(FAILED)),
            Err(Halt::Quarantined(why)) => (Ending::Error, Some(why), Some(QUARANTINED)),
            Err(Halt::Refused(refused)) => (Ending::Error, Some(refused.why), refused.reply),
        };
        let is_quarantined = failed == Some(QUARANTINED);
        if ending != Ending::Done {
            self.keep_fragment(ending, error.clone(), ended_ms);
        }
        let Self { inside, pending, watcher, control, transcript, speech, mut report, .. } = self;
        report.text = speech.into_text();
        let is_asked_for = !pending.message.principal.is_heartbeat();
        let heartbeat = inside.config.agents.heartbeat_of(&pending.message.session.agent());
        if !is_asked_for {
            let most = heartbeat.ack_max_chars;
            let answer = if ending == Ending::Done { report.text.as_str() } else { "" };
            report.text = heartbeat::told(answer, usize::try_from(most).unwrap_or(usize::MAX));
        }
        let leaves = outgoing(&report.text, &inside.redactor).into_owned();
        let thoughts =
            Some(transcript.thoughts()).filter(|text| heartbeat.include_reasoning && !text.is_empty());
        let thoughts = thoughts.map(|text| outgoing(&text, &inside.redactor).into_owned());
        report.ended_ms = ended_ms;
        report.state = ending.into();
        report.error = error;
        let end = TurnEnd {
            ending,
            messages: transcript.into_unsaved(),
            reply: reply(
                ending,
                &leaves,
                failed.filter(|_| pending.message.origin.is_some() && is_asked_for),
            ),
            notices: told_besides(&control.hears, ending, &leaves, thoughts.as_deref()),
            event: told_later(&pending.message, ending, &report),
            // What an attempt came from stays, to be looked at.
            is_silent: !is_asked_for && report.text.is_empty() && !is_quarantined,
            error: report.error.clone(),
            usage: report.usage,
            cost: report.cost,
            unpriced: report.unpriced,
            model: (!report.model.is_empty()).then(|| report.model.clone()),
            ended_ms,
        };
        if let Err(error) = keep(&inside.store, pending.id, &end).await {
            report.not_kept(&sentence(&error));
            // What was told is what is kept: the turn failed.
            let (ending, error) = (Ending::Error, report.error.clone());
            keep_later(
                inside.store.clone(),
                pending.id,
                TurnEnd { ending, error, reply: None, notices: Vec::new(), event: None, ..end },
            );
        }
        log(&report);
        watcher(TurnEvent::Ended(&report));
        report
    }

    /// Keeps what was said of an answer that did not come to its end, and answers calls that did not run.
    fn keep_fragment(&mut self, ending: Ending, error_message: Option<String>, timestamp: u64) {
        let because = match &error_message {
            None => "this was not run: the turn was stopped".to_owned(),
            Some(why) => format!("this was not run: {why}"),
        };
        for (id, name) in self.transcript.settle(&because, timestamp) {
            // A call that was never begun is in the report all the same: the model asked for it.
            let (result, is_error) = (because.clone(), true);
            let arguments = self.transcript.arguments_of(&id).cloned().unwrap_or(Value::Null);
            self.report.tool_calls.push(ToolCallReport { id, name, arguments, result, is_error });
        }
        let fragment = self.speech.fragment();
        let content = if fragment.trim().is_empty() { Vec::new() } else { vec![Part::text(fragment)] };
        let stop_reason = if ending == Ending::Aborted { StopReason::Aborted } else { StopReason::Error };
        self.report.stop_reason = stop_reason;
        self.transcript.push(Message::Assistant {
            content,
            timestamp,
            provider: self.report.provider.clone(),
            model: self.report.model.clone(),
            usage: Usage::default(),
            stop_reason,
            error_message,
        });
    }
}

/// Ends a turn that gets no answer of its own.
pub(crate) async fn pass_over(
    inside: &Inside,
    pending: PendingTurn,
    why: PassedOver,
    ended_ms: u64,
) -> TurnReport {
    let mut report =
        TurnReport::begun(pending.message.run.clone(), pending.message.session.clone(), ended_ms);
    let ending = if why == PassedOver::Together { Ending::Done } else { Ending::Aborted };
    let tells = why == PassedOver::TooMany && pending.message.origin.is_some();
    report.state = ending.into();
    let end = TurnEnd {
        ending,
        messages: Vec::new(),
        reply: tells.then(|| TOO_MANY.to_owned()),
        notices: Vec::new(),
        event: None,
        is_silent: false,
        error: None,
        usage: Usage::default(),
        cost: 0,
        unpriced: false,
        model: None,
        ended_ms,
    };
    if let Err(error) = keep(&inside.store, pending.id, &end).await {
        report.not_kept(&sentence(&error));
        keep_later(inside.store.clone(), pending.id, end);
    }
    log(&report);
    report
}

/// What is delivered. A person on a channel sees no run fail: he is told `failed`, and nothing of why.
fn reply(ending: Ending, text: &str, failed: Option<&str>) -> Option<String> {
    match ending {
        Ending::Done => (!text.is_empty()).then(|| text.to_owned()),
        Ending::Error => failed.map(str::to_owned),
        Ending::Aborted => None,
    }
}

/// What those are told who hear an answer without having asked: what the model thought, where the owner wants that, and the
/// answer.
fn told_besides(hears: &[Origin], ending: Ending, text: &str, thoughts: Option<&str>) -> Vec<Notice> {
    if ending != Ending::Done || text.is_empty() {
        return Vec::new();
    }
    let texts: Vec<String> =
        thoughts.map(|text| format!("{REASONING}{text}")).into_iter().chain([text.to_owned()]).collect();
    let to = |origin: &Origin| {
        let origin = origin.clone();
        texts.clone().into_iter().map(move |text| Notice { origin: origin.clone(), text })
    };
    hears.iter().flat_map(to).collect()
}

/// What the agent's main conversation is told at its next heartbeat of a turn whose hook wants that.
fn told_later(
    message: &InboundMessage,
    ending: Ending,
    report: &TurnReport,
) -> Option<(EventSource, String)> {
    if !message.tells || ending == Ending::Aborted {
        return None;
    }
    let mut text = match &report.error {
        None => report.text.clone(),
        Some(error) => format!("it failed: {error}"),
    };
    text.truncate(text.floor_char_boundary(limits::SYSTEM_EVENT_BYTES));
    let source = EventSource { agent: message.session.agent(), by: message.principal.clone() };
    (!text.trim().is_empty()).then_some((source, text))
}

/// Puts an end on disk. The turn before may have its own end still to be kept: it is waited for.
async fn keep(store: &Store, turn: TurnId, end: &TurnEnd) -> Result<(), StoreError> {
    let mut tries: u32 = 0;
    loop {
        match store.finish(turn, end.clone()).await {
            Err(StoreError::OutOfOrder { .. }) if tries < KEEP_TRIES => tries = tries.saturating_add(1),
            outcome => return outcome,
        }
        tokio::time::sleep(KEEP_AGAIN).await;
    }
}

/// Goes on trying to put an end on disk, as when there is no space: without it the turn would stand before
/// all later ones of its session. When the gateway stops before it succeeds, the next start resumes the turn.
fn keep_later(store: Store, turn: TurnId, end: TurnEnd) {
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(KEEP_AGAIN).await;
            match store.finish(turn, end.clone()).await {
                Ok(()) => return tracing::info!(%turn, "the end of a turn is kept after all"),
                Err(StoreError::Database { .. } | StoreError::Full { .. }) => {}
                Err(error) => return tracing::error!(%turn, %error, "the end of a turn is lost"),
            }
        }
    });
}

/// One line about the end of a turn, without what was said.
fn log(report: &TurnReport) {
    let took_ms = report.ended_ms.saturating_sub(report.started_ms);
    let (run, session) = (report.run.as_str(), report.session.as_str());
    match &report.error {
        None => tracing::info!(run, session, state = ?report.state, took_ms, "a turn has ended"),
        Some(error) => tracing::warn!(run, session, took_ms, error, "a turn has failed"),
    }
}
