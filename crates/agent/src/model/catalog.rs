//! Which models there are, and which one answers: the config's, else the one that a key in the environment
//! opens, else one found on this machine, else none, and then the sentence that says what to do.

use std::collections::BTreeMap;
use std::sync::Arc;

use moltbot_config::Config;
use moltbot_config::settings::{ModelChoice, ModelsMode, ProviderConfig};
use moltbot_ledger::Ledger;
use moltbot_policy::Refusal;
use moltbot_policy::allowance::Price;
use moltbot_protocol::ids::AgentId;
use secrecy::SecretString;
use thiserror::Error;

use super::Discovered;
use super::provider::Model;

mod slot;

use slot::{BUILT_IN, Missing, Slot};

/// Keys of providers that are not in the config: from the environment, or from a file of credentials. Never written
/// anywhere.
#[derive(Clone, Debug, Default)]
pub struct ProviderKeys(BTreeMap<String, (SecretString, String)>);

impl ProviderKeys {
    /// Adds a provider's key, and where it is from, such as `OPENAI_API_KEY`. The first one of a provider stays.
    pub fn add(&mut self, provider: &str, key: SecretString, source: impl Into<String>) {
        self.0.entry(provider.to_owned()).or_insert((key, source.into()));
    }

    /// Where the key is from that decides which model answers when the config names none.
    pub fn deciding(&self) -> Option<&str> {
        BUILT_IN.iter().find_map(|it| Some(self.0.get(it.name)?.1.as_str()))
    }

    /// The keys, for taking them out of logs and records.
    pub fn values(self) -> impl Iterator<Item = SecretString> {
        self.0.into_values().map(|(key, _)| key)
    }

    fn of(&self, provider: &str) -> Option<(SecretString, String)> {
        let (key, source) = self.0.get(provider)?;
        Some((key.clone(), format!("the key from {source}")))
    }
}

/// Why the models of the config make no sense.
#[derive(Debug, Error)]
#[expect(missing_docs, reason = "each message names its fields")]
#[non_exhaustive]
pub enum ModelsError {
    /// The base URL is not a URL.
    #[error("models.providers.{provider}.baseUrl is not a URL; write it as https://host/v1")]
    BaseUrl { provider: String },
    /// The base URL leads where no request may go.
    #[error("models.providers.{provider}.baseUrl is refused")]
    Destination { provider: String, source: Refusal },
}

/// Why there is no model to ask, in one sentence that says what to do.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[expect(missing_docs, reason = "each message names its fields")]
#[non_exhaustive]
pub enum NoModel {
    /// The provider has no address.
    #[error(
        "the model {reference} cannot be asked: models.providers.{provider} has no baseUrl; add it to the config"
    )]
    Addressless { reference: String, provider: String },
    /// The provider needs a key.
    #[error(
        "the model {reference} needs a key: set {variable} or models.providers.{provider}.apiKey, then restart moltbot"
    )]
    Keyless { reference: String, provider: String, variable: &'static str },
    /// The reference has no provider in it.
    #[error("{reference:?} does not name a model: write provider/model, such as anthropic/claude-opus-4-5")]
    Malformed { reference: String },
    /// Nothing at all.
    #[error(
        "no model is set up: set ANTHROPIC_API_KEY, OPENAI_API_KEY or OPENROUTER_API_KEY, or start a model server such as Ollama on this machine, then restart moltbot"
    )]
    Nothing,
    /// The provider is not known.
    #[error(
        "the model {reference} is of the unknown provider {provider:?}: add models.providers.{provider} with its baseUrl, or choose another model"
    )]
    UnknownProvider { reference: String, provider: String },
}

/// Short names that existing configs use.
const ALIASES: [(&str, &str); 3] = [
    ("gpt", "openai/gpt-5.2"),
    ("opus", "anthropic/claude-opus-4-5"),
    ("sonnet", "anthropic/claude-sonnet-4-5"),
];

/// The provider's name of a server found on this machine.
const LOCAL: &str = "local";
/// One model, as `models.list` shows it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ModelDescription {
    /// The provider's name.
    pub provider: String,
    /// The model's name at its provider.
    pub id: String,
    /// The name that people see.
    pub name: String,
    /// Tokens of its window.
    pub context_tokens: u64,
    /// Whether it thinks before it answers.
    pub reasoning: bool,
}

/// The models that can be asked, and the one that each agent asks. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Models {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    slots: BTreeMap<String, Slot>,
    /// What the config names for all agents, and for single ones.
    named: Option<String>,
    named_by_agent: BTreeMap<AgentId, String>,
    /// What answers where nothing is named.
    automatic: Result<Model, NoModel>,
}

impl Models {
    /// Resolves the models from the config, the keys of the environment and the server found on this machine.
    /// Connects nowhere.
    ///
    /// # Errors
    /// When a provider's base URL makes no sense or may not be reached: a broken config is not worked around.
    pub fn resolve(
        config: &Config,
        keys: ProviderKeys,
        discovered: Option<Discovered>,
        ledger: Ledger,
    ) -> Result<Self, ModelsError> {
        let mut slots = BTreeMap::new();
        for (name, settings) in &config.models.providers {
            slots.insert(name.clone(), Slot::configured(name, settings, &keys, &ledger)?);
        }
        if config.models.mode == ModelsMode::Merge {
            for built_in in &BUILT_IN {
                if !slots.contains_key(built_in.name) {
                    let settings = ProviderConfig::default();
                    let slot = Slot::configured(built_in.name, &settings, &keys, &ledger)?;
                    slots.insert(built_in.name.into(), slot);
                }
            }
        }
        let automatic = automatic(&slots, &config.models.providers);
        let found = discovered.filter(|_| !slots.contains_key(LOCAL));
        let local = found.map(|found| Slot::discovered(found, &ledger)).transpose()?;
        let automatic = automatic.or_else(|| local.as_ref()?.first_model()).ok_or(NoModel::Nothing);
        slots.extend(local.map(|slot| (LOCAL.to_owned(), slot)));
        let primary = |choice: &Option<ModelChoice>| choice.as_ref()?.primary().map(str::to_owned);
        let by_agent = config.agents.list.iter().filter_map(|it| Some((it.id.clone(), primary(&it.model)?)));
        let named = primary(&config.agents.defaults.model);
        let inner = Inner { slots, named, named_by_agent: by_agent.collect(), automatic };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The model that an agent asks.
    ///
    /// # Errors
    /// One sentence that says what is missing and what to do.
    pub fn chosen(&self, agent: &AgentId) -> Result<Model, NoModel> {
        match self.inner.named_by_agent.get(agent).or(self.inner.named.as_ref()) {
            Some(reference) => self.named(reference),
            None => self.inner.automatic.clone(),
        }
    }

    /// The model of a reference such as `anthropic/claude-opus-4-5`.
    ///
    /// # Errors
    /// When it names no model, or its provider is unknown or lacks its key or address.
    pub fn named(&self, reference: &str) -> Result<Model, NoModel> {
        let reference = reference.trim();
        let alias = ALIASES.iter().find(|(short, _)| *short == reference).map(|(_, long)| *long);
        let parts = alias.unwrap_or(reference).split_once('/');
        let Some((provider, id)) = parts.filter(|(provider, id)| !provider.is_empty() && !id.is_empty())
        else {
            return Err(NoModel::Malformed { reference: reference.into() });
        };
        let (reference, name) = (reference.to_owned(), provider.to_owned());
        let Some(slot) = self.inner.slots.get(provider) else {
            return Err(NoModel::UnknownProvider { reference, provider: name });
        };
        match &slot.provider {
            Ok(with) => Ok(Model { with: Arc::clone(with), facts: slot.facts(provider, id) }),
            Err(Missing::BaseUrl) => Err(NoModel::Addressless { reference, provider: name }),
            Err(Missing::Key { variable }) => Err(NoModel::Keyless { reference, provider: name, variable }),
        }
    }

    /// What a model costs that said something; nothing when that is not known.
    pub fn price(&self, provider: &str, id: &str) -> Option<Price> {
        let mut models = self.inner.slots.get(provider)?.models.iter();
        models.find(|facts| facts.id == id || facts.wire_id == id)?.price
    }

    /// What answers where an agent names no model, and why, in words: or the sentence why nothing does.
    pub fn describe_choice(&self) -> String {
        let chosen = match &self.inner.named {
            Some(reference) => self.named(reference),
            None => self.inner.automatic.clone(),
        };
        match chosen {
            Ok(model) => format!("{}/{} ({})", model.provider(), model.id(), model.with.origin),
            Err(missing) => missing.to_string(),
        }
    }

    /// Every model that can be asked.
    pub fn list(&self) -> Vec<ModelDescription> {
        let usable = self.inner.slots.iter().filter(|(_, slot)| slot.provider.is_ok());
        let describe = |(provider, slot): (&String, &Slot)| {
            let provider = provider.clone();
            let models = slot.models.clone();
            models.into_iter().map(move |facts| ModelDescription {
                provider: provider.clone(),
                id: facts.id.clone(),
                name: facts.name.clone().unwrap_or_else(|| facts.id.clone()),
                context_tokens: facts.context_tokens,
                reasoning: facts.reasoning,
            })
        };
        usable.flat_map(describe).collect()
    }
}

/// What answers when nothing is named: a provider of the config that lists a model, then a built-in one that
/// has its key.
fn automatic(slots: &BTreeMap<String, Slot>, providers: &BTreeMap<String, ProviderConfig>) -> Option<Model> {
    let listed =
        providers.iter().filter(|(_, settings)| !settings.models.is_empty()).map(|(name, _)| name.as_str());
    let built_in = BUILT_IN.iter().map(|built_in| built_in.name);
    listed.chain(built_in).find_map(|name| slots.get(name)?.first_model())
}
