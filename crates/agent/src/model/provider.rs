//! A provider, a model of it, and a turn's conversation with that model.

use std::sync::Arc;

use moltbot_config::settings::ProviderApi;
use moltbot_net::{Client, Door, Url};
use moltbot_policy::allowance::Price;
use secrecy::{ExposeSecret, SecretString};

use super::ModelError;
use super::error::Named;

/// The shortest value that is taken for a secret. No provider's key is shorter.
const SECRET_BYTES: usize = 8;

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

impl Provider {
    /// A text without the key and without the values of the owner's own headers.
    pub(super) fn without_secrets(&self, text: &str) -> String {
        let headers = self.headers.iter().map(|(_, value)| value);
        let secrets = self.key.iter().chain(headers).map(ExposeSecret::expose_secret);
        // A short value is a setting: cutting `v1` out of a message would only make it unreadable.
        let secrets = secrets.filter(|secret| secret.len() >= SECRET_BYTES);
        secrets.fold(text.to_owned(), |text, secret| text.replace(secret, "***"))
    }
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
    /// What it costs, where that is known.
    pub(super) price: Option<Price>,
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
        Named { model: &self.facts.id, with: &self.with }
    }

    /// Opens the way to the provider for one turn: judged and in the book once, however often it is asked.
    ///
    /// # Errors
    /// When the judge refuses, or the book cannot be written.
    pub async fn open(&self, actor: &str) -> Result<Conversation, ModelError> {
        let door = self.with.client.open(&self.with.endpoint, actor).await;
        let door = door.map_err(|error| self.named().fetch(error))?;
        Ok(Conversation { model: self.clone(), door })
    }
}

/// One turn's way to its model.
#[derive(Debug)]
pub struct Conversation {
    pub(super) model: Model,
    pub(super) door: Door,
}
