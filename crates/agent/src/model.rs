//! Models: which one answers, how it is asked, and what its stream means.
//!
//! [`Models`] is resolved once from the config, the keys and what was found on this machine. A [`Model`] is
//! opened once for each turn (one line in the book); its [`Conversation`] is asked as often as the tools
//! need. What a model says is data from a stranger: every size is bounded, and nothing of it is run here.

use moltbot_config::limits;
use moltbot_protocol::message::{Message, Part, StopReason, Usage};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

mod anthropic;
mod bare_call;
mod catalog;
mod draft;
mod error;
mod exchange;
mod openai;
mod provider;
mod retry;
mod sse;

pub use catalog::{ModelDescription, Models, ModelsError, NoModel, ProviderKeys};
pub use error::ModelError;
pub use moltbot_net::LoopbackModel as Discovered;
pub use provider::{Conversation, Model};

/// What a model is asked.
#[derive(Clone, Debug, Default)]
pub struct Prompt {
    /// The instructions.
    pub system: String,
    /// The conversation, oldest first.
    pub messages: Vec<Message>,
    /// The tools that it may call.
    pub tools: Vec<ToolSpec>,
    /// The longest answer, in tokens; the model's own limit when absent.
    pub max_tokens: Option<u64>,
}

/// A tool, as a model sees it.
#[derive(Clone, Debug)]
pub struct ToolSpec {
    /// The name that it is called by.
    pub name: &'static str,
    /// What it does and when to use it.
    pub description: &'static str,
    /// The JSON Schema of its arguments.
    pub parameters: Value,
}

/// A piece of an answer while it is written.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum ModelDelta {
    /// More words.
    Text(String),
    /// A call of a tool begins; its arguments follow with the whole answer.
    ToolCallStarted {
        /// The call's id.
        id: String,
        /// The tool's name.
        name: String,
    },
}

/// A whole answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// Text and tool calls, in order. Arguments that are not a JSON object are handed on as the text that
    /// came, for the tool loop to refuse.
    pub content: Vec<Part>,
    /// Tokens used, by the provider's count; estimated by size when it does not say.
    pub usage: Usage,
    /// Why the model stopped.
    pub stop_reason: StopReason,
    /// The provider's name.
    pub provider: String,
    /// The model's name.
    pub model: String,
}

/// Where the pieces of an answer go.
pub type Deltas<'a> = &'a mut (dyn FnMut(ModelDelta) + Send);

impl Conversation {
    /// Asks the model and waits for its whole answer; its pieces go to `events` as they come. What may be
    /// tried again (429, 5xx, no connection) is, with growing waits, as long as no piece has been handed on.
    /// An abort ends the call at once and closes the connection.
    ///
    /// # Errors
    /// A sentence for the person who asked: see [`ModelError`].
    pub async fn ask(
        &self,
        prompt: &Prompt,
        events: Deltas<'_>,
        abort: &CancellationToken,
    ) -> Result<Answer, ModelError> {
        tokio::select! {
            biased;
            () = abort.cancelled() => Err(ModelError::Aborted),
            outcome = Box::pin(retry::ask(self, prompt, events, limits::PROVIDER_TRIES)) => outcome,
        }
    }
}
