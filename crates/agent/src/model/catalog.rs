//! Which models there are, and which one answers: the config's, else the one that a key in the environment
//! opens, else one found on this machine, else none, and then the sentence that says what to do.

use std::collections::BTreeMap;
use std::sync::Arc;

use moltbot_config::Config;
use moltbot_config::settings::{ModelChoice, ModelConfig, ModelsMode, ProviderApi, ProviderConfig};
use moltbot_ledger::Ledger;
use moltbot_net::{Client, Url};
use moltbot_policy::Refusal;
use moltbot_policy::network::{Destination, Purpose, Reach};
use moltbot_protocol::ids::AgentId;
use secrecy::SecretString;
use thiserror::Error;

use super::Discovered;
use super::provider::{Facts, Model, Provider};

/// Keys found in the environment. Read by the program, never written anywhere.
#[derive(Clone, Debug, Default)]
pub struct ProviderKeys {
    /// `ANTHROPIC_API_KEY`.
    pub anthropic: Option<SecretString>,
    /// `OPENAI_API_KEY`.
    pub openai: Option<SecretString>,
    /// `OPENROUTER_API_KEY`.
    pub openrouter: Option<SecretString>,
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

/// A provider that needs nothing but its key.
struct BuiltIn {
    name: &'static str,
    base_url: &'static str,
    api: ProviderApi,
    variable: &'static str,
    /// Its model when none is named: id, name, window and answer in tokens.
    model: (&'static str, &'static str, u64, u64),
}

/// In the order in which their keys are preferred.
const BUILT_IN: [BuiltIn; 3] = [
    BuiltIn {
        name: "anthropic",
        base_url: "https://api.anthropic.com",
        api: ProviderApi::AnthropicMessages,
        variable: "ANTHROPIC_API_KEY",
        model: ("claude-opus-4-5", "Claude Opus 4.5", 200_000, 16_384),
    },
    BuiltIn {
        name: "openai",
        base_url: "https://api.openai.com/v1",
        api: ProviderApi::OpenAiCompletions,
        variable: "OPENAI_API_KEY",
        // Its thinking counts as answer.
        model: ("gpt-5.2", "GPT-5.2", 400_000, 32_768),
    },
    BuiltIn {
        name: "openrouter",
        base_url: "https://openrouter.ai/api/v1",
        api: ProviderApi::OpenAiCompletions,
        variable: "OPENROUTER_API_KEY",
        model: ("auto", "OpenRouter's choice", 200_000, 8192),
    },
];

/// Short names that existing configs use.
const ALIASES: [(&str, &str); 3] = [
    ("gpt", "openai/gpt-5.2"),
    ("opus", "anthropic/claude-opus-4-5"),
    ("sonnet", "anthropic/claude-sonnet-4-5"),
];

/// The provider's name of a server found on this machine.
const LOCAL: &str = "local";
/// Tokens of a model's window and answer when the config does not say, as upstream.
const USUAL: (u64, u64) = (200_000, 8192);
/// The same for a server found on this machine: what they load by default is far smaller than what the model
/// could read, and too long a prompt is cut without a word.
const LOCAL_USUAL: (u64, u64) = (16_384, 2048);

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

/// A provider as far as it is known.
#[derive(Debug)]
struct Slot {
    provider: Result<Arc<Provider>, Missing>,
    models: Vec<Arc<Facts>>,
    usual: (u64, u64),
}

/// What a provider lacks.
#[derive(Clone, Copy, Debug)]
enum Missing {
    BaseUrl,
    Key { variable: &'static str },
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

impl Slot {
    fn configured(
        name: &str,
        settings: &ProviderConfig,
        keys: &ProviderKeys,
        ledger: &Ledger,
    ) -> Result<Self, ModelsError> {
        let built_in = BUILT_IN.iter().find(|built_in| built_in.name == name);
        let usual = built_in.map_or(USUAL, |it| (it.model.2, it.model.3));
        let mut models: Vec<Arc<Facts>> =
            settings.models.iter().map(|model| Arc::new(Facts::configured(name, model, usual))).collect();
        if let Some(built_in) = built_in.filter(|_| settings.models.is_empty()) {
            models.push(Arc::new(Facts::built_in(built_in)));
        }
        let provider = Provider::configured(name, settings, built_in, keys, ledger)?;
        Ok(Self { provider: provider.map(Arc::new), models, usual })
    }

    fn discovered(found: Discovered, ledger: &Ledger) -> Result<Self, ModelsError> {
        let endpoint = parse(LOCAL, &found.base_url)?;
        let provider = Provider {
            name: LOCAL.into(),
            api: ProviderApi::OpenAiCompletions,
            client: client(LOCAL, &endpoint, Reach::Configured, ledger)?,
            endpoint: with_path(endpoint, ProviderApi::OpenAiCompletions),
            key: None,
            key_source: keyless(LOCAL),
            origin: format!("{} found on this machine at {}", found.server, found.base_url),
            headers: Vec::new(),
        };
        let facts = Facts::unlisted(LOCAL, &found.model, LOCAL_USUAL);
        Ok(Self { provider: Ok(Arc::new(provider)), models: vec![Arc::new(facts)], usual: LOCAL_USUAL })
    }

    /// What is known of a model: as listed, else by what is usual. New models appear faster than lists.
    fn facts(&self, provider: &str, id: &str) -> Arc<Facts> {
        let listed = self.models.iter().find(|facts| facts.id == id).cloned();
        listed.unwrap_or_else(|| Arc::new(Facts::unlisted(provider, id, self.usual)))
    }

    fn first_model(&self) -> Option<Model> {
        let with = Arc::clone(self.provider.as_ref().ok()?);
        Some(Model { with, facts: Arc::clone(self.models.first()?) })
    }
}

impl Facts {
    fn unlisted(provider: &str, id: &str, (context_tokens, max_tokens): (u64, u64)) -> Self {
        // OpenRouter's own models have its name in theirs; all others have their maker's.
        let own = provider == "openrouter" && !id.contains('/');
        let wire_id = if own { format!("openrouter/{id}") } else { id.to_owned() };
        let id = id.to_owned();
        Self { id, wire_id, name: None, context_tokens, max_tokens, reasoning: false, tools: true }
    }

    fn built_in(built_in: &BuiltIn) -> Self {
        let (id, name, context_tokens, max_tokens) = built_in.model;
        let usual = Self::unlisted(built_in.name, id, (context_tokens, max_tokens));
        Self { name: Some(name.into()), reasoning: true, ..usual }
    }

    fn configured(provider: &str, model: &ModelConfig, (context_tokens, max_tokens): (u64, u64)) -> Self {
        let context_tokens = model.context_window.unwrap_or(context_tokens);
        Self {
            name: model.name.clone(),
            context_tokens,
            max_tokens: model.max_tokens.unwrap_or(max_tokens.min(context_tokens)),
            reasoning: model.reasoning,
            tools: model.tools.unwrap_or(true),
            ..Self::unlisted(provider, &model.id, USUAL)
        }
    }
}

impl Provider {
    fn configured(
        name: &str,
        settings: &ProviderConfig,
        built_in: Option<&BuiltIn>,
        keys: &ProviderKeys,
        ledger: &Ledger,
    ) -> Result<Result<Self, Missing>, ModelsError> {
        let (base_url, reach) = match (&settings.base_url, built_in) {
            (Some(base_url), _) => (base_url.as_str(), Reach::Configured),
            (None, Some(built_in)) => (built_in.base_url, Reach::Public),
            (None, None) => return Ok(Err(Missing::BaseUrl)),
        };
        let (key, key_source) = key_of(name, settings, built_in, keys);
        if let (None, Some(built_in), Reach::Public) = (&key, built_in, reach) {
            return Ok(Err(Missing::Key { variable: built_in.variable }));
        }
        let endpoint = parse(name, base_url)?;
        let api = settings.api.or(built_in.map(|it| it.api)).unwrap_or(ProviderApi::OpenAiCompletions);
        let origin = match reach {
            Reach::Configured => format!("at {}, from the config", origin_of(&endpoint)),
            Reach::Public => key_source.trim_start_matches("the ").to_owned(),
        };
        Ok(Ok(Self {
            name: name.into(),
            api,
            client: client(name, &endpoint, reach, ledger)?,
            endpoint: with_path(endpoint, api),
            key,
            key_source,
            origin,
            headers: settings.headers.clone().into_iter().collect(),
        }))
    }
}

/// A provider's key and where it is from: the config's before the environment's.
fn key_of(
    name: &str,
    settings: &ProviderConfig,
    built_in: Option<&BuiltIn>,
    keys: &ProviderKeys,
) -> (Option<SecretString>, String) {
    let of_config =
        settings.api_key.clone().map(|key| (key, format!("the key from models.providers.{name}.apiKey")));
    let of_environment = || {
        let key = match name {
            "anthropic" => &keys.anthropic,
            "openai" => &keys.openai,
            "openrouter" => &keys.openrouter,
            _ => &None,
        };
        Some((key.clone()?, format!("the key from {}", built_in?.variable)))
    };
    match of_config.or_else(of_environment) {
        Some((key, source)) => (Some(key), source),
        None => (None, keyless(name)),
    }
}

fn keyless(name: &str) -> String {
    format!("a request without a key (models.providers.{name}.apiKey)")
}

fn parse(provider: &str, base_url: &str) -> Result<Url, ModelsError> {
    let failed = || ModelsError::BaseUrl { provider: provider.into() };
    let url = Url::parse(base_url.trim()).map_err(|_| failed())?;
    if url.cannot_be_a_base() { Err(failed()) } else { Ok(url) }
}

fn client(provider: &str, base: &Url, reach: Reach, ledger: &Ledger) -> Result<Client, ModelsError> {
    let destination = Destination::parse(base, reach)
        .map_err(|source| ModelsError::Destination { provider: provider.into(), source })?;
    Ok(Client::new(Purpose::Provider, destination, ledger.clone()))
}

/// Scheme, host and port: what may be said of a base URL.
fn origin_of(url: &Url) -> String {
    url.origin().ascii_serialization()
}

/// The base URL with the path of its wire format. Anthropic's is given with and without its version.
fn with_path(mut base: Url, api: ProviderApi) -> Url {
    let versioned = base.path().trim_end_matches('/').ends_with("/v1");
    let path: &[&str] = match api {
        ProviderApi::AnthropicMessages if versioned => &["messages"],
        ProviderApi::AnthropicMessages => &["v1", "messages"],
        ProviderApi::OpenAiCompletions => &["chat", "completions"],
    };
    if let Ok(mut segments) = base.path_segments_mut() {
        segments.pop_if_empty().extend(path);
    }
    base
}
