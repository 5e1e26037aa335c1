//! Messages that come while another is answered.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Messages.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct MessagesConfig {
    /// What becomes of messages that come in a conversation in which one is being answered.
    pub queue: QueueConfig,
}

/// What becomes of messages that come in a conversation in which one is being answered. In the web chat, where clients wait for
/// the answer to each message, each is answered by itself unless `byChannel.webchat` or the session says otherwise.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct QueueConfig {
    /// The mode on single channels, by their names.
    pub by_channel: BTreeMap<String, QueueMode>,
    /// How many messages of a conversation may wait, 1 to 100. 20, as upstream.
    #[schemars(range(min = 1, max = 100))]
    pub cap: u32,
    /// How long a conversation must be quiet before what was gathered is answered, in milliseconds, 0 to 60 000.
    #[schemars(range(max = 60_000))]
    pub debounce_ms: u32,
    /// Which message gets no answer of its own when more than `cap` wait. It stays in the transcript.
    pub drop: QueueDrop,
    /// The mode.
    pub mode: QueueMode,
}

impl Default for QueueConfig {
    fn default() -> Self {
        Self {
            by_channel: BTreeMap::new(),
            cap: 20,
            debounce_ms: 1000,
            drop: QueueDrop::default(),
            mode: QueueMode::default(),
        }
    }
}

/// What becomes of messages that come while another is answered.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum QueueMode {
    /// Those of one sender are answered together, afterwards. People write in pieces.
    #[default]
    Collect,
    /// Each is answered by itself, afterwards.
    Followup,
    /// The answer under way is stopped, and what came is answered.
    Interrupt,
    /// An older name of `steer`.
    Queue,
    /// They are told to the model before its next step; without one, they are answered together afterwards.
    Steer,
    /// The same as `steer`.
    SteerBacklog,
}

/// Which message gets no answer of its own when too many wait.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum QueueDrop {
    /// The one that has just come.
    New,
    /// The one that has waited longest.
    Old,
    /// The one that has waited longest; what it says is answered with the next.
    #[default]
    Summarize,
}

impl QueueMode {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Collect, Self::Followup, Self::Interrupt, Self::Queue, Self::Steer, Self::SteerBacklog];

    /// The name in the config.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Collect => "collect",
            Self::Followup => "followup",
            Self::Interrupt => "interrupt",
            Self::Queue => "queue",
            Self::Steer => "steer",
            Self::SteerBacklog => "steer-backlog",
        }
    }

    /// The mode of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mode| mode.name() == name)
    }

    /// Whether messages are told to a model that is at work.
    pub const fn steers(self) -> bool {
        matches!(self, Self::Queue | Self::Steer | Self::SteerBacklog)
    }
}

impl QueueDrop {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::New, Self::Old, Self::Summarize];

    /// The name in the config.
    pub const fn name(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Old => "old",
            Self::Summarize => "summarize",
        }
    }

    /// The policy of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|policy| policy.name() == name)
    }
}
