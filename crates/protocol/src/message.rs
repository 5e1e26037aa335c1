//! Messages of a conversation, and the one that crosses the border from a channel.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::ids::{RunId, SessionKey};
use crate::principal::Principal;
use crate::sender::Origin;

/// One entry of a transcript. The shape that `chat.history` shows and upstream transcripts have.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(tag = "role", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Message {
    /// What the model said.
    Assistant {
        /// Text and tool calls, in order.
        content: Vec<Part>,
        /// When, in milliseconds since the epoch.
        timestamp: u64,
        /// The provider's name.
        provider: String,
        /// The model's name.
        model: String,
        /// What it cost.
        usage: Usage,
        /// Why it ended.
        stop_reason: StopReason,
        /// What went wrong, when `stop_reason` is `error`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        error_message: Option<String>,
    },
    /// What a tool answered.
    ToolResult {
        /// The call's id.
        tool_call_id: String,
        /// The tool's name.
        tool_name: String,
        /// What the model is told.
        content: Vec<Part>,
        /// Whether it is an error.
        is_error: bool,
        /// When, in milliseconds since the epoch.
        timestamp: u64,
    },
    /// What a person said, or a hook told.
    User {
        /// Text and images, in order.
        content: Vec<Part>,
        /// When, in milliseconds since the epoch.
        timestamp: u64,
        /// Who caused it; kept with the words, so that those from outside never become the owner's.
        #[serde(default, skip_serializing_if = "Principal::is_owner")]
        principal: Principal,
    },
}

impl Message {
    /// The text parts, joined.
    pub fn text(&self) -> String {
        let (Self::Assistant { content, .. } | Self::ToolResult { content, .. } | Self::User { content, .. }) =
            self;
        text_of(content)
    }
}

/// The text parts of a content, joined.
pub fn text_of(content: &[Part]) -> String {
    let texts = content.iter().filter_map(|part| match part {
        Part::Text { text } => Some(text.as_str()),
        Part::Image { .. } | Part::Thinking { .. } | Part::ToolCall { .. } => None,
    });
    texts.collect::<Vec<_>>().join("")
}

/// A piece of a message.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "camelCase")]
pub enum Part {
    /// A picture that a person sent.
    #[serde(rename_all = "camelCase")]
    Image {
        /// What it is, by its bytes, such as `image/png`.
        mime_type: String,
        /// Where it is kept, in the workspace of the message's session.
        path: String,
    },
    /// Words.
    Text {
        /// The words.
        text: String,
    },
    /// What a model thought before it spoke. It is no part of what it says.
    #[serde(rename_all = "camelCase")]
    Thinking {
        /// The thoughts, as far as the provider shows them.
        thinking: String,
        /// What the provider wants to have back with them, unchanged; only its own model can read it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        thinking_signature: Option<String>,
    },
    /// A call of a tool.
    ToolCall {
        /// The provider's id of the call.
        id: String,
        /// The tool's name.
        name: String,
        /// The arguments: an object, or the text as it came when it was not JSON.
        arguments: Value,
    },
}

impl Part {
    /// A text part.
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text { text: text.into() }
    }
}

/// Tokens that a run used, by the provider's count; estimated by size where it did not say.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Usage {
    /// Tokens read, without those from a cache.
    pub input: u64,
    /// Tokens written.
    pub output: u64,
    /// Tokens read from the provider's cache.
    pub cache_read: u64,
    /// Tokens written to the provider's cache.
    pub cache_write: u64,
    /// All of them.
    pub total_tokens: u64,
    /// What the provider says that it charged for them, in millionths of a dollar, where it says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub charged: Option<u64>,
}

impl Usage {
    /// The sum of two, kept at the maximum when it would overflow.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self {
            input: self.input.saturating_add(other.input),
            output: self.output.saturating_add(other.output),
            cache_read: self.cache_read.saturating_add(other.cache_read),
            cache_write: self.cache_write.saturating_add(other.cache_write),
            total_tokens: self.total_tokens.saturating_add(other.total_tokens),
            charged: match (self.charged, other.charged) {
                (Some(one), Some(two)) => Some(one.saturating_add(two)),
                (one, None) => one,
                (None, two) => two,
            },
        }
    }
}

/// How much a model thinks before it answers. Models that do not think ignore it.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ThinkingLevel {
    /// Not at all, where the model lets itself be told so.
    Off,
    /// As little as it can.
    Minimal,
    /// A little.
    Low,
    /// Some.
    Medium,
    /// Much.
    High,
    /// As much as it can.
    Xhigh,
}

impl ThinkingLevel {
    /// All of them, least first.
    pub const ALL: [Self; 6] = [Self::Off, Self::Minimal, Self::Low, Self::Medium, Self::High, Self::Xhigh];

    /// Their names.
    pub const NAMES: [&str; 6] = [
        Self::Off.name(),
        Self::Minimal.name(),
        Self::Low.name(),
        Self::Medium.name(),
        Self::High.name(),
        Self::Xhigh.name(),
    ];

    /// The name that clients and configs use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Minimal => "minimal",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Xhigh => "xhigh",
        }
    }

    /// The level of a name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|level| level.name() == name)
    }
}

/// How much clients are told of the tools of a session's turns.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum VerboseLevel {
    /// Nothing.
    Off,
    /// Which tools are called, and not what they brought.
    On,
    /// Everything.
    #[default]
    Full,
}

impl VerboseLevel {
    /// All of them, least first.
    pub const ALL: [Self; 3] = [Self::Off, Self::On, Self::Full];

    /// Their names.
    pub const NAMES: [&str; 3] = [Self::Off.name(), Self::On.name(), Self::Full.name()];

    /// The name that clients and configs use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Off => "off",
            Self::On => "on",
        }
    }

    /// The level of a name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|level| level.name() == name)
    }
}

/// Why a model stopped.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum StopReason {
    /// The person stopped it.
    Aborted,
    /// It failed.
    Error,
    /// It ran into its limit of tokens.
    Length,
    /// It was done.
    Stop,
    /// It wants a tool.
    ToolUse,
}

/// A picture that came with a message, and is kept in the workspace of its session.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SentImage {
    /// What it is, by its bytes, such as `image/png`.
    pub mime_type: String,
    /// Where it is kept, in the workspace.
    pub path: String,
}

impl From<SentImage> for Part {
    fn from(image: SentImage) -> Self {
        let SentImage { mime_type, path } = image;
        Self::Image { mime_type, path }
    }
}

/// A message that came in through a channel. It says who speaks, not who may.
#[derive(Clone, Debug, PartialEq)]
pub struct InboundMessage {
    /// The channel's name, such as `webchat`: of the program as it comes in, of the store after a restart.
    pub channel: Cow<'static, str>,
    /// Our account on that channel.
    pub account: String,
    /// The channel's own id of the message: the same message twice has the same id.
    pub external_id: String,
    /// The conversation.
    pub session: SessionKey,
    /// Who said it, and where, on a channel that has people; nothing for the gateway's own clients.
    pub origin: Option<Box<Origin>>,
    /// The run's name.
    pub run: RunId,
    /// Who caused it.
    pub principal: Principal,
    /// What was said.
    pub text: String,
    /// The pictures that came with it.
    pub images: Vec<SentImage>,
    /// Instructions of this request alone, added to the system prompt.
    pub extra_system_prompt: Option<String>,
    /// The longest time the turn may take, in milliseconds; the config's when absent.
    pub timeout_ms: Option<u64>,
    /// How much the model thinks in this turn alone; as the session or the config says when absent.
    pub thinking: Option<ThinkingLevel>,
    /// What a heartbeat is told; nothing for any other message.
    pub look: Option<Box<Look>>,
    /// Whether its answer is told to its agent's main conversation at the next heartbeat.
    pub tells: bool,
}

/// What a heartbeat is told that hooks said, and what is waited for no more when it has ended well.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Look {
    /// The words of hooks, a text for each that the principal names, in the same order.
    pub told: Vec<String>,
    /// The numbers of what it is told, in the store; none when it is read from there.
    pub events: Vec<i64>,
}
