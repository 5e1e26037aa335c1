//! Which models there are, and which one answers: the config's, else the one that a key in the environment
//! opens, else one found on this machine, else none, and then the sentence that says what to do.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use moltbot_config::Config;
use moltbot_config::settings::{ModelChoice, ModelsMode, ProviderConfig};
use moltbot_ledger::Ledger;
use moltbot_policy::Refusal;
use moltbot_policy::allowance::Price;
use moltbot_protocol::ids::AgentId;
use thiserror::Error;
use tokio::time::Instant;

use super::Discovered;
use super::conversation::Route;
use super::local::{LocalModels, OWN};
use super::provider::{Model, Provider};
use super::scan::{self, Scanned};
use super::{Embedded, ModelError, embedding};

mod keys;
mod slot;

pub use keys::ProviderKeys;
use slot::{BUILT_IN, Missing, Slot};

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
    /// Sessions may not choose it.
    #[error(
        "the model {reference} may not be chosen: agents.defaults.models names others; add it there, or choose one of those"
    )]
    NotListed { reference: String },
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
    /// It is none of the models that moltbot runs itself.
    #[error(
        "the model {reference} is not on this machine: fetch one with `moltbot models pull`, or name its file in models.local.files, then restart moltbot"
    )]
    NotHere { reference: String },
    /// The reference has no provider in it.
    #[error("{reference:?} does not name a model: write provider/model, such as anthropic/claude-opus-4-5")]
    Malformed { reference: String },
    /// Nothing at all.
    #[error(
        "no model is set up: set ANTHROPIC_API_KEY, OPENAI_API_KEY, GEMINI_API_KEY or OPENROUTER_API_KEY, start a model server such as Ollama on this machine, or fetch a small model with `moltbot models pull`, then restart moltbot"
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

/// The short names of models, those of the config first: name and `provider/model`.
pub fn aliases(config: &Config) -> Vec<(String, String)> {
    let own = config.agents.defaults.models.iter();
    let own = own.filter_map(|(model, entry)| Some((entry.alias.clone()?, model.clone())));
    let mut all: Vec<(String, String)> = own.collect();
    for (short, long) in ALIASES {
        if !all.iter().any(|(known, _)| known == short) {
            all.push((short.into(), long.into()));
        }
    }
    all
}

/// The whole name of a model by its short one; the name itself when it is none.
pub fn resolve_alias(config: &Config, name: &str) -> String {
    let known = aliases(config).into_iter().find(|(short, _)| short == name.trim());
    known.map_or_else(|| name.trim().to_owned(), |(_, long)| long)
}

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
    /// Whether it can be shown pictures.
    pub images: bool,
}

/// A provider that can be asked.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ProviderState {
    /// Its name.
    pub name: String,
    /// How many keys there are for it.
    pub keys: usize,
    /// How long it, or all of its keys, are still asked last after they failed.
    pub rests: Option<Duration>,
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
    named: ModelList,
    named_by_agent: BTreeMap<AgentId, ModelList>,
    /// What answers where nothing is named.
    automatic: Result<Model, NoModel>,
    /// Short names.
    aliases: Vec<(String, String)>,
    /// What sessions may choose; everything when empty.
    listed: Vec<String>,
}

/// What the config names: a model, and those to try after it.
#[derive(Clone, Debug, Default)]
struct ModelList {
    primary: Option<String>,
    fallbacks: Vec<String>,
}

impl ModelList {
    fn of(choice: Option<&ModelChoice>) -> Self {
        let primary = choice.and_then(ModelChoice::primary).map(str::to_owned);
        Self { primary, fallbacks: choice.map(ModelChoice::fallbacks).unwrap_or_default().to_vec() }
    }
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
        Self::resolve_with(config, keys, discovered, None, ledger)
    }

    /// The same, with the models that moltbot runs itself: they answer where nothing else does.
    ///
    /// # Errors
    /// As [`Self::resolve`].
    pub fn resolve_with(
        config: &Config,
        keys: ProviderKeys,
        discovered: Option<Discovered>,
        own: Option<&LocalModels>,
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
        let own = own.filter(|_| !slots.contains_key(OWN)).map(Slot::own).transpose()?;
        let automatic = automatic.or_else(|| local.as_ref()?.first_model());
        let automatic = automatic.or_else(|| own.as_ref()?.first_model()).ok_or(NoModel::Nothing);
        slots.extend(local.map(|slot| (LOCAL.to_owned(), slot)));
        slots.extend(own.map(|slot| (OWN.to_owned(), slot)));
        let by_agent = config.agents.list.iter();
        let by_agent = by_agent
            .filter_map(|it| Some((it.id.clone(), ModelList::of(Some(it.model.as_ref()?)))))
            .filter(|(_, list)| list.primary.is_some());
        let named = ModelList::of(config.agents.defaults.model.as_ref());
        let inner = Inner {
            slots,
            named,
            named_by_agent: by_agent.collect(),
            automatic,
            aliases: aliases(config),
            listed: config.agents.defaults.models.keys().cloned().collect(),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The model that an agent asks.
    ///
    /// # Errors
    /// One sentence that says what is missing and what to do.
    pub fn chosen(&self, agent: &AgentId) -> Result<Model, NoModel> {
        match &self.list_of(agent).primary {
            Some(reference) => self.named(reference),
            None => self.inner.automatic.clone(),
        }
    }

    /// The models that an agent asks, in order: the one that a person chose for the session or else the agent's, and those
    /// to try after it. A fallback that cannot be asked is left out, and the log says so; so is the first when there is a
    /// fallback.
    ///
    /// # Errors
    /// One sentence that says what the first lacks, when there is no other.
    pub fn route(&self, agent: &AgentId, wanted: Option<&str>) -> Result<Route, NoModel> {
        let first = match wanted {
            Some(reference) => self.choose(agent, reference),
            None => self.chosen(agent),
        };
        self.route_from(agent, first)
    }

    /// The models that an agent asks when it looks by itself: the one that the config names for that, and the agent's fallbacks.
    ///
    /// # Errors
    /// One sentence that says what the first lacks, when there is no other.
    pub fn route_of_heartbeat(&self, agent: &AgentId, reference: &str) -> Result<Route, NoModel> {
        self.route_from(agent, self.named(reference))
    }

    fn route_from(&self, agent: &AgentId, first: Result<Model, NoModel>) -> Result<Route, NoModel> {
        let usable = |reference: &String| match self.named(reference) {
            Ok(model) => Some(model),
            Err(missing) => {
                tracing::warn!(reference, %missing, "a fallback cannot be asked");
                None
            }
        };
        let mut others = self.list_of(agent).fallbacks.iter().filter_map(usable);
        let first = first.or_else(|missing| {
            let next = others.next().ok_or_else(|| missing.clone())?;
            tracing::warn!(%missing, "the model cannot be asked; its first fallback is");
            Ok(next)
        })?;
        Ok(Route::new(first, others))
    }

    /// The model that a person chooses for a session.
    ///
    /// # Errors
    /// As [`Self::named`], and when the config names the models that may be chosen and this is none of them.
    pub fn choose(&self, agent: &AgentId, reference: &str) -> Result<Model, NoModel> {
        let model = self.named(reference)?;
        let is_it = |listed: &String| self.named(listed).is_ok_and(|listed| listed.is_same(&model));
        let own = self.list_of(agent);
        let mut allowed = self.inner.listed.iter().chain(&own.primary).chain(&own.fallbacks);
        if self.inner.listed.is_empty() || allowed.any(is_it) {
            return Ok(model);
        }
        Err(NoModel::NotListed { reference: reference.trim().into() })
    }

    /// Asks each provider that can be asked, or one of them, which models it has.
    ///
    /// # Errors
    /// When no provider has that name, or it cannot be asked.
    pub async fn scan(&self, provider: Option<&str>, actor: &str) -> Result<Vec<Scanned>, NoModel> {
        let slots = self.inner.slots.iter();
        let named: Vec<_> = slots.filter(|(name, _)| provider.is_none_or(|wanted| wanted == *name)).collect();
        if let (Some(wanted), []) = (provider, named.as_slice()) {
            let (reference, provider) = (format!("{wanted}/*"), wanted.to_owned());
            return Err(NoModel::UnknownProvider { reference, provider });
        }
        let mut scanned = Vec::new();
        for (name, _) in named {
            match self.named(&format!("{name}/*")) {
                Ok(model) => scanned.push(scan::scan(&model, actor).await),
                Err(missing) if provider.is_some() => return Err(missing),
                Err(_) => {}
            }
        }
        Ok(scanned)
    }

    /// Has a model, named as `provider/model` or by its short name, make rows of numbers of some texts.
    ///
    /// # Errors
    /// When there is no such model, it has no embeddings, or it does not answer.
    pub async fn embed(
        &self,
        reference: &str,
        texts: &[String],
        dimensions: Option<u32>,
        actor: &str,
    ) -> Result<Embedded, ModelError> {
        embedding::embed(&self.named(reference)?, texts, dimensions, actor).await
    }

    /// What the config names for an agent.
    fn list_of(&self, agent: &AgentId) -> &ModelList {
        self.inner.named_by_agent.get(agent).unwrap_or(&self.inner.named)
    }

    /// The model of a reference such as `anthropic/claude-opus-4-5`.
    ///
    /// # Errors
    /// When it names no model, or its provider is unknown or lacks its key or address.
    pub fn named(&self, reference: &str) -> Result<Model, NoModel> {
        let reference = reference.trim();
        let alias = self.inner.aliases.iter().find(|(short, _)| *short == reference);
        let alias = alias.map(|(_, long)| long.as_str());
        let parts = alias.unwrap_or(reference).split_once('/');
        let Some((provider, id)) = parts.filter(|(provider, id)| !provider.is_empty() && !id.is_empty())
        else {
            return Err(NoModel::Malformed { reference: reference.into() });
        };
        let (reference, name) = (reference.to_owned(), provider.to_owned());
        let Some(slot) = self.inner.slots.get(provider) else {
            return Err(NoModel::UnknownProvider { reference, provider: name });
        };
        if let Some(model) = slot.of_own(id) {
            return Ok(model);
        }
        match &slot.provider {
            Ok(with) => Ok(Model { with: Arc::clone(with), facts: slot.facts(provider, id) }),
            Err(Missing::BaseUrl) => Err(NoModel::Addressless { reference, provider: name }),
            Err(Missing::File) => Err(NoModel::NotHere { reference }),
            Err(Missing::Key { variable }) => Err(NoModel::Keyless { reference, provider: name, variable }),
        }
    }

    /// The whole names of the models that a session of an agent may choose.
    pub fn choices(&self, agent: &AgentId) -> Vec<String> {
        let names = self.list().into_iter().map(|model| format!("{}/{}", model.provider, model.id));
        names.filter(|name| self.choose(agent, name).is_ok()).collect()
    }

    /// What a model costs that said something; nothing when that is not known.
    pub fn price(&self, provider: &str, id: &str) -> Option<Price> {
        let mut models = self.inner.slots.get(provider)?.models.iter();
        models.find(|facts| facts.id == id || facts.wire_id == id)?.price
    }

    /// The providers that can be asked, by name.
    pub fn providers(&self) -> Vec<ProviderState> {
        let now = Instant::now();
        let usable = self.inner.slots.values().filter_map(|slot| slot.provider.as_ref().ok());
        let state = |provider: &Arc<Provider>| ProviderState {
            name: provider.name.clone(),
            keys: provider.keys.len(),
            rests: provider.rest.left(provider.keys.len(), now),
        };
        usable.map(state).collect()
    }

    /// What answers where an agent names no model, and why, in words: or the sentence why nothing does.
    pub fn describe_choice(&self) -> String {
        let chosen = match &self.inner.named.primary {
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
        let usable = self.inner.slots.iter().filter(|(_, slot)| slot.is_usable());
        let describe = |(provider, slot): (&String, &Slot)| {
            let provider = provider.clone();
            let models = slot.models.clone();
            models.into_iter().map(move |facts| ModelDescription {
                provider: provider.clone(),
                id: facts.id.clone(),
                name: facts.name.clone().unwrap_or_else(|| facts.id.clone()),
                context_tokens: facts.context_tokens,
                reasoning: facts.reasoning,
                images: facts.images,
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
