//! A provider, a model of it, and a turn's conversation with that model.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use moltbot_config::settings::ProviderApi;
use moltbot_net::{Client, Door, Url};
use secrecy::SecretString;

use super::ModelError;
use super::error::Named;

/// Who answers requests, and with which credential they are sent.
#[derive(Debug)]
pub(super) struct Provider {
    pub(super) name: String,
    pub(super) api: ProviderApi,
    /// Where requests go, path included.
    pub(super) endpoint: Url,
    pub(super) key: Option<SecretString>,
    /// Where the key is from, in words.
    pub(super) key_source: String,
    /// How the provider came to be known, in words.
    pub(super) origin: String,
    pub(super) headers: Vec<(String, SecretString)>,
    pub(super) client: Client,
}

/// What is known of a model.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Facts {
    /// The name in the config and in a reference.
    pub(super) id: String,
    /// The name that the provider is told.
    pub(super) wire_id: String,
    pub(super) name: Option<String>,
    pub(super) context_tokens: u64,
    pub(super) max_tokens: u64,
    pub(super) reasoning: bool,
    pub(super) tools: bool,
}

/// A model that can be asked. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Model {
    pub(super) with: Arc<Provider>,
    pub(super) facts: Arc<Facts>,
}

impl Model {
    /// The provider's name.
    pub fn provider(&self) -> &str {
        &self.with.name
    }

    /// The model's name at its provider.
    pub fn id(&self) -> &str {
        &self.facts.id
    }

    /// Tokens that question and answer may have together.
    pub fn context_tokens(&self) -> u64 {
        self.facts.context_tokens
    }

    /// Tokens that an answer may have.
    pub fn max_tokens(&self) -> u64 {
        self.facts.max_tokens
    }

    /// Whether it can call tools; where it cannot, it is offered none.
    pub fn calls_tools(&self) -> bool {
        self.facts.tools
    }

    /// The name that the provider is told.
    pub(super) fn wire_id(&self) -> &str {
        &self.facts.wire_id
    }

    pub(super) fn named(&self) -> Named<'_> {
        Named { provider: &self.with.name, model: &self.facts.id, key: &self.with.key_source }
    }

    /// Opens the way to the provider for one turn: judged and in the book once, however often it is asked.
    ///
    /// # Errors
    /// When the judge refuses, or the book cannot be written.
    pub async fn open(&self, actor: &str) -> Result<Conversation, ModelError> {
        let door = self.with.client.open(&self.with.endpoint, actor).await;
        let door = door.map_err(|error| self.named().fetch(error))?;
        let tools = AtomicBool::new(self.facts.tools);
        Ok(Conversation { model: self.clone(), door, tools })
    }
}

/// One turn's way to its model.
#[derive(Debug)]
pub struct Conversation {
    pub(super) model: Model,
    pub(super) door: Door,
    /// Whether the model is offered tools.
    tools: AtomicBool,
}

impl Conversation {
    /// Whether the model is offered tools.
    pub(super) fn offers_tools(&self) -> bool {
        self.tools.load(Ordering::Relaxed)
    }

    /// Remembers for the rest of the turn that the model cannot call tools. False when that was known.
    pub(super) fn give_up_tools(&self) -> bool {
        self.tools.swap(false, Ordering::Relaxed)
    }
}
