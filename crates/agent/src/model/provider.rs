//! A provider, and a model of it.

use std::sync::Arc;

use moltbot_config::settings::{ModelCompat, ProviderApi};
use moltbot_net::{Client, Url};
use moltbot_policy::allowance::Price;
use moltbot_protocol::message::Message;
use secrecy::{ExposeSecret, SecretString};

use super::conversation::{Conversation, Route};
use super::error::Named;
use super::rest::Rest;
use super::{ModelError, Prompt};

/// The shortest value that is taken for a secret. No provider's key is shorter.
const SECRET_BYTES: usize = 8;
/// Where OpenRouter answers.
const ROUTER: &str = "openrouter.ai";

/// Who answers requests, and with which credentials they are sent.
#[derive(Debug)]
pub(super) struct Provider {
    pub(super) name: String,
    pub(super) api: ProviderApi,
    /// What the paths of requests are added to.
    pub(super) base: Url,
    pub(super) auth: Auth,
    /// In the order in which they are tried.
    pub(super) keys: Vec<Key>,
    /// How the provider came to be known, in words.
    pub(super) origin: String,
    pub(super) headers: Vec<(String, SecretString)>,
    pub(super) client: Client,
    pub(super) rest: Rest,
}

/// A key of a provider.
#[derive(Clone, Debug)]
pub(super) struct Key {
    pub(super) secret: SecretString,
    /// Where it is from, in words.
    pub(super) source: String,
}

/// How a key is sent.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Auth {
    /// As the wire format has it.
    ApiKey,
    /// As `Authorization: Bearer`.
    Bearer,
    /// Not at all.
    Nothing,
}

impl Provider {
    /// A text without the keys and without the values of the owner's own headers.
    pub(super) fn without_secrets(&self, text: &str) -> String {
        let headers = self.headers.iter().map(|(_, value)| value);
        let secrets = self.keys.iter().map(|key| &key.secret).chain(headers).map(ExposeSecret::expose_secret);
        // A short value is a setting: cutting `v1` out of a message would only make it unreadable.
        let secrets = secrets.filter(|secret| secret.len() >= SECRET_BYTES);
        secrets.fold(text.to_owned(), |text, secret| text.replace(secret, "***"))
    }
}

/// What is known of a model.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    /// The name in the config and in a reference.
    pub(super) id: String,
    /// The name that the provider is told.
    pub(super) wire_id: String,
    pub(super) name: Option<String>,
    /// Its own wire format, where it has one.
    pub(super) api: Option<ProviderApi>,
    pub(super) compat: ModelCompat,
    pub(super) context_tokens: u64,
    pub(super) max_tokens: u64,
    /// Headers beside those of its provider.
    pub(super) headers: Vec<(String, SecretString)>,
    /// Whether it can be shown pictures.
    pub(super) images: bool,
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

    /// Whether it can be shown pictures.
    pub fn sees(&self) -> bool {
        self.facts.images
    }

    /// Whether it thinks before it answers, and can be told how much.
    pub fn thinks(&self) -> bool {
        self.facts.reasoning
    }

    /// The wire format that it is asked in.
    pub(super) fn api(&self) -> ProviderApi {
        self.facts.api.unwrap_or(self.with.api)
    }

    /// The name that the provider is told.
    pub(super) fn wire_id(&self) -> &str {
        &self.facts.wire_id
    }

    /// Tokens that the answer to this prompt may have.
    pub(super) fn answer_tokens(&self, prompt: &Prompt) -> u64 {
        prompt.max_tokens.map_or(self.max_tokens(), |most| most.min(self.max_tokens()))
    }

    /// Whether it is asked through OpenRouter.
    pub(super) fn is_routed(&self) -> bool {
        self.with.name == "openrouter" || self.with.base.host_str() == Some(ROUTER)
    }

    /// Whether a message was said by it.
    pub(super) fn said(&self, message: &Message) -> bool {
        matches!(message, Message::Assistant { provider, model, .. } if self.provider() == provider && self.id() == model)
    }

    /// Whether both are the same model of the same provider.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        (self.provider(), self.id()) == (other.provider(), other.id())
    }

    /// What an error names, when it was asked with that key.
    pub(super) fn named<'a>(&'a self, key: Option<&'a Key>) -> Named<'a> {
        Named { model: &self.facts.id, with: &self.with, key }
    }

    /// Opens the way to this model alone: see [`Route::open`].
    ///
    /// # Errors
    /// When the judge refuses, or the book cannot be written.
    pub async fn open(&self, actor: &str) -> Result<Conversation, ModelError> {
        Route::new(self.clone(), []).open(actor).await
    }
}
