//! What a turn tells while it runs, and what it tells at its end.

use std::pin::Pin;

use moltbot_config::limits;
use moltbot_protocol::ids::{RunId, SessionKey};
use moltbot_protocol::message::{StopReason, Usage};
use moltbot_store::TurnState;
use serde_json::Value;

use crate::history::value_chars;

/// What stands for a result that a report has no room for.
const LEFT_OUT: &str = "(left out: this turn's results are too long for one report; the session has them)";

/// What happens in a turn. Borrowed, so that a watcher that wants only some of it copies only that.
#[derive(Clone, Copy, Debug)]
pub enum TurnEvent<'a> {
    /// The message of another turn was taken into this one. That turn has ended, which is on disk; this is its report.
    Absorbed(&'a TurnReport),
    /// Older turns are being summarised.
    CompactionStarted,
    /// Older turns are summarised, or are not.
    CompactionEnded {
        /// How many messages the summary stands for.
        messages: usize,
        /// Why they are not.
        error: Option<&'a str>,
    },
    /// The turn has ended and its end is on disk, unless the report's error says otherwise. The last event.
    Ended(&'a TurnReport),
    /// The turn has begun. The first event.
    Started {
        /// The run.
        run: &'a RunId,
        /// The conversation.
        session: &'a SessionKey,
        /// When, in milliseconds since the epoch.
        started_ms: u64,
    },
    /// The model said more.
    Text {
        /// All that the turn has said so far. All deltas joined are this text.
        text: &'a str,
        /// What is new.
        delta: &'a str,
    },
    /// A tool call has its result.
    ToolEnded {
        /// The call's id.
        id: &'a str,
        /// The tool's name.
        name: &'a str,
        /// What the model is told.
        result: &'a str,
        /// Whether it is an error.
        is_error: bool,
    },
    /// A tool call begins.
    ToolStarted {
        /// The call's id.
        id: &'a str,
        /// The tool's name, as the model gave it.
        name: &'a str,
        /// The arguments, as the model gave them.
        arguments: &'a Value,
    },
}

/// What follows from an incident, under way.
pub type Responding = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Why a turn may not ask a model, or not once more.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct NotAllowed {
    /// Why, for the owner.
    pub why: String,
    /// What whoever wrote on a channel is told; nothing when he is told nothing.
    pub reply: Option<&'static str>,
}

/// How a turn ended.
#[derive(Clone, Debug)]
pub struct TurnReport {
    /// The run.
    pub run: RunId,
    /// The conversation.
    pub session: SessionKey,
    /// Done, aborted or failed.
    pub state: TurnState,
    /// What was said, of all model calls of the turn, with an empty line between them.
    pub text: String,
    /// What went wrong and what to do, when the state is an error.
    pub error: Option<String>,
    /// Tokens of all model calls together.
    pub usage: Usage,
    /// What they cost, in millionths of a dollar, as far as prices are known.
    pub cost: u64,
    /// Whether a price was not known.
    pub unpriced: bool,
    /// The provider that answered last; empty when none did.
    pub provider: String,
    /// The model that answered last; empty when none did.
    pub model: String,
    /// Why the last answer ended.
    pub stop_reason: StopReason,
    /// The tool calls, in order. What they brought is left out beyond [`limits::TURN_REPORT_BYTES`].
    pub tool_calls: Vec<ToolCallReport>,
    /// When it began, in milliseconds since the epoch.
    pub started_ms: u64,
    /// When it ended, in milliseconds since the epoch.
    pub ended_ms: u64,
}

impl TurnReport {
    /// The report of a turn of which nothing is known yet.
    pub(crate) const fn begun(run: RunId, session: SessionKey, started_ms: u64) -> Self {
        Self {
            run,
            session,
            state: TurnState::Received,
            text: String::new(),
            error: None,
            usage: Usage {
                input: 0,
                output: 0,
                cache_read: 0,
                cache_write: 0,
                total_tokens: 0,
                charged: None,
            },
            cost: 0,
            unpriced: false,
            provider: String::new(),
            model: String::new(),
            stop_reason: StopReason::Stop,
            tool_calls: Vec::new(),
            started_ms,
            ended_ms: started_ms,
        }
    }

    /// Leaves out what calls of tools brought where all of it together is too long for a report. The session has
    /// it.
    pub(crate) fn bound(&mut self) {
        let mut room = limits::TURN_REPORT_BYTES;
        for call in &mut self.tool_calls {
            let result = u64::try_from(call.result.len()).unwrap_or(u64::MAX);
            match room.checked_sub(result.saturating_add(value_chars(&call.arguments))) {
                Some(left) => room = left,
                None => (call.arguments, call.result) = (Value::Null, LEFT_OUT.into()),
            }
        }
    }

    /// Notes that the end could not be put on disk: whatever the turn came to, that is now its error.
    pub(crate) fn not_kept(&mut self, why: &str) {
        let earlier = self.error.take().map(|error| format!("{error}; ")).unwrap_or_default();
        self.error = Some(format!("{earlier}the end of the turn could not be kept: {why}"));
        self.state = TurnState::Error;
        self.stop_reason = StopReason::Error;
    }
}

/// One tool call of a turn.
#[derive(Clone, Debug, PartialEq)]
pub struct ToolCallReport {
    /// The call's id.
    pub id: String,
    /// The tool's name, as the model gave it.
    pub name: String,
    /// The arguments, as the model gave them.
    pub arguments: Value,
    /// What the model was told.
    pub result: String,
    /// Whether it is an error.
    pub is_error: bool,
}
