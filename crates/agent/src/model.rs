//! Models: which one answers, how it is asked, and what its stream means.
//!
//! [`Models`] is resolved once from the config, the keys and what was found on this machine. A [`Model`] is
//! opened once for each turn (one line in the book); its [`Conversation`] is asked as often as the tools
//! need. What a model says is data from a stranger: every size is bounded, and nothing of it is run here.

use std::collections::BTreeMap;
use std::sync::Arc;

use moltbot_protocol::message::{Message, Part, StopReason, ThinkingLevel, Usage};
use serde_json::{Value, json};

mod anthropic;
mod bare_call;
mod catalog;
mod conversation;
mod draft;
mod embedding;
mod error;
mod exchange;
mod gemini;
mod local;
mod ollama;
mod openai;
mod provider;
mod pull;
mod responses;
mod rest;
mod scan;
mod sse;
mod thoughts;
mod wire;

pub use catalog::{
    ModelDescription, Models, ModelsError, NoModel, ProviderKeys, ProviderState, aliases, resolve_alias,
};
pub use conversation::{Conversation, Route, Tried};
pub use embedding::Embedded;
pub use error::ModelError;
pub use local::{FETCHABLE, Fetchable, LocalModels};
pub use moltbot_net::LoopbackModel as Discovered;
pub use provider::Model;
pub use pull::{ArchiveError, Pull, PullError, is_here};
pub use scan::Scanned;

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
    /// How much to think; as much as the model does by itself when absent.
    pub thinking: Option<ThinkingLevel>,
    /// The pictures of the messages, by their paths. What is not here is not shown.
    pub pictures: Pictures,
}

/// Pictures by their paths.
pub type Pictures = Arc<BTreeMap<String, Picture>>;

/// A picture, as models are sent it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Picture {
    /// What it is, by its bytes.
    pub mime_type: &'static str,
    /// Its bytes, in base64.
    pub base64: String,
}

impl Picture {
    /// It as a URL.
    fn data_url(&self) -> String {
        format!("data:{};base64,{}", self.mime_type, self.base64)
    }
}

impl Prompt {
    /// A picture that this model may be shown.
    fn picture(&self, model: &Model, path: &str) -> Option<&Picture> {
        self.pictures.get(path).filter(|_| model.sees())
    }
}

/// Arguments as every provider takes them: an object, in which what is none stands as a member.
fn object_of(arguments: &Value) -> Value {
    match arguments {
        Value::Object(_) => arguments.clone(),
        other => json!({ "invalid": other }),
    }
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
    /// What was tried before, in order.
    pub tried: Vec<Tried>,
}

/// Where the pieces of an answer go.
pub type Deltas<'a> = &'a mut (dyn FnMut(ModelDelta) + Send);
