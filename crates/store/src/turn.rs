//! Turns: one message from its acceptance to its end.
//!
//! The inbox is the table of turns itself: a message that came twice finds its first turn there. What a
//! turn said is in the transcript from the moment it is journalled, ordered by turn and then by number, so
//! that a message which waits behind another stands behind that one's answer.

use std::fmt;

use moltbot_protocol::ids::{RunId, SessionKey};
use moltbot_protocol::message::{InboundMessage, Message, Usage};

use crate::event::EventSource;
use crate::quarantine::Notice;

mod accept;
mod finish;
mod read;
mod usage;

pub(crate) use accept::accept;
pub(crate) use finish::{absorb, finish, journal};
pub(crate) use read::{pending, run_status};
pub(crate) use usage::report as usage_report;
pub use usage::{DayUsage, RUNS, RunUsage, UsageReport};

/// The number of a turn. Turns are numbered in the order of their acceptance, over all sessions.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct TurnId(pub(crate) i64);

impl fmt::Display for TurnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What became of a message that was offered to the store.
#[derive(Clone, Debug, PartialEq)]
pub enum Accepted {
    /// It was here before, or its run was: this is how far that run is.
    Duplicate(RunStatus),
    /// It is kept, and is the last turn of its session.
    Fresh(PendingTurn),
}

/// A turn without an end.
#[derive(Clone, Debug, PartialEq)]
pub struct PendingTurn {
    /// The turn's number.
    pub id: TurnId,
    /// The message that it answers.
    pub message: InboundMessage,
    /// The session's id at the time of acceptance.
    pub session_id: String,
    /// When it was accepted, in milliseconds since the epoch.
    pub accepted_ms: u64,
    /// What was journalled, in order. Empty for a fresh turn. The calls of the last step's answer have no
    /// results: whether their tools ran is unknown, so they must not run again by themselves.
    pub steps: Vec<Step>,
    /// What was kept after the last step: results of its calls, and messages that were taken into the turn.
    pub tail: Vec<Message>,
}

/// One round of a turn, journalled before the tools that it calls are run.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// The results of the calls of the step before, and messages that were taken into the turn; empty for the first.
    pub results: Vec<Message>,
    /// What the model said, with its calls.
    pub answer: Message,
}

/// How a turn ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Ending {
    /// The person stopped it.
    Aborted,
    /// It was answered.
    Done,
    /// It failed.
    Error,
}

/// The end of a turn.
#[derive(Clone, Debug, PartialEq)]
pub struct TurnEnd {
    /// How it ended.
    pub ending: Ending,
    /// What was said since the last journalled step: results of its calls, and the last answer.
    pub messages: Vec<Message>,
    /// What is to be delivered through the channel of the message: the outbox row.
    pub reply: Option<String>,
    /// What others are told besides, in the same commit.
    pub notices: Vec<Notice>,
    /// What an agent is told of it at its next heartbeat, in the same commit.
    pub event: Option<(EventSource, String)>,
    /// Whether nothing of it stays in the transcript: nobody asked for it, and it has nothing to say.
    pub is_silent: bool,
    /// Why it failed.
    pub error: Option<String>,
    /// What all its model calls used.
    pub usage: Usage,
    /// What they cost, in millionths of a dollar, as far as prices are known.
    pub cost: u64,
    /// Whether a price was not known.
    pub unpriced: bool,
    /// The model that answered.
    pub model: Option<String>,
    /// When it ended, in milliseconds since the epoch.
    pub ended_ms: u64,
}

/// Where a turn is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum TurnState {
    /// The person stopped it.
    Aborted,
    /// It was answered.
    Done,
    /// It failed.
    Error,
    /// It is kept and has no end yet.
    Received,
}

impl From<Ending> for TurnState {
    fn from(ending: Ending) -> Self {
        match ending {
            Ending::Aborted => Self::Aborted,
            Ending::Done => Self::Done,
            Ending::Error => Self::Error,
        }
    }
}

impl TurnState {
    const ALL: [Self; 4] = [Self::Aborted, Self::Done, Self::Error, Self::Received];

    /// The name in the file.
    const fn name(self) -> &'static str {
        match self {
            Self::Aborted => "aborted",
            Self::Done => "done",
            Self::Error => "error",
            Self::Received => "received",
        }
    }

    fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }
}

/// How far a run is.
#[derive(Clone, Debug, PartialEq)]
pub struct RunStatus {
    /// The run.
    pub run: RunId,
    /// The channel's own id of its message.
    pub external_id: String,
    /// Its conversation.
    pub session: SessionKey,
    /// Where it is.
    pub state: TurnState,
    /// When it was accepted, in milliseconds since the epoch.
    pub accepted_ms: u64,
    /// When it ended, in milliseconds since the epoch.
    pub ended_ms: Option<u64>,
    /// What it said: the reply, or the last words of a run that has none. Absent while it is not ended, and
    /// after its transcript was deleted.
    pub text: Option<String>,
    /// Why it failed.
    pub error: Option<String>,
    /// What it used.
    pub usage: Usage,
}
