//! What is known of one provider: its address, its key, its models, or what it lacks.

use std::sync::Arc;

use moltbot_config::settings::{ModelConfig, ModelCost, ProviderApi, ProviderConfig};
use moltbot_ledger::Ledger;
use moltbot_net::{Client, Url};
use moltbot_policy::allowance::Price;
use moltbot_policy::network::{Destination, Purpose, Reach};
use secrecy::SecretString;

use super::{LOCAL, ModelsError, ProviderKeys};
use crate::model::Discovered;
use crate::model::provider::{Facts, Model, Provider};

/// A provider as far as it is known.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) provider: Result<Arc<Provider>, Missing>,
    pub(super) models: Vec<Arc<Facts>>,
    usual: (u64, u64),
}

/// What a provider lacks.
#[derive(Clone, Copy, Debug)]
pub(super) enum Missing {
    BaseUrl,
    Key { variable: &'static str },
}

/// A provider that needs nothing but its key.
pub(super) struct BuiltIn {
    pub(super) name: &'static str,
    base_url: &'static str,
    api: ProviderApi,
    variable: &'static str,
    /// Its model when none is named: id, name, window and answer in tokens.
    model: (&'static str, &'static str, u64, u64),
}

/// In the order in which their keys are preferred.
pub(super) const BUILT_IN: [BuiltIn; 3] = [
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

/// Tokens of a model's window and answer when the config does not say, as upstream.
const USUAL: (u64, u64) = (200_000, 8192);
/// The same for a server found on this machine: what they load by default is far smaller than what the model
/// could read, and too long a prompt is cut without a word.
const LOCAL_USUAL: (u64, u64) = (16_384, 2048);

impl Slot {
    pub(super) fn configured(
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

    pub(super) fn discovered(found: Discovered, ledger: &Ledger) -> Result<Self, ModelsError> {
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
        // A model of this machine is paid with its power alone.
        let price = Some(Price::default());
        let facts = Facts { price, ..Facts::unlisted(LOCAL, &found.model, LOCAL_USUAL) };
        Ok(Self { provider: Ok(Arc::new(provider)), models: vec![Arc::new(facts)], usual: LOCAL_USUAL })
    }

    /// What is known of a model: as listed, else by what is usual. New models appear faster than lists.
    pub(super) fn facts(&self, provider: &str, id: &str) -> Arc<Facts> {
        let listed = self.models.iter().find(|facts| facts.id == id).cloned();
        listed.unwrap_or_else(|| Arc::new(Facts::unlisted(provider, id, self.usual)))
    }

    pub(super) fn first_model(&self) -> Option<Model> {
        let with = Arc::clone(self.provider.as_ref().ok()?);
        Some(Model { with, facts: Arc::clone(self.models.first()?) })
    }
}

/// The price that the config tells.
const fn price(cost: ModelCost) -> Price {
    let ModelCost { cache_read, cache_write, input, output } = cost;
    Price { cache_read, cache_write, input, output }
}

impl Facts {
    fn unlisted(provider: &str, id: &str, (context_tokens, max_tokens): (u64, u64)) -> Self {
        // OpenRouter's own models have its name in theirs; all others have their maker's.
        let own = provider == "openrouter" && !id.contains('/');
        let wire_id = if own { format!("openrouter/{id}") } else { id.to_owned() };
        let id = id.to_owned();
        Self {
            id,
            wire_id,
            name: None,
            context_tokens,
            max_tokens,
            price: None,
            reasoning: false,
            tools: true,
        }
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
            price: model.cost.map(price),
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
        let (key, key_source) = key_of(name, settings, keys);
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

/// A provider's key and where it is from: the config's before others.
fn key_of(name: &str, settings: &ProviderConfig, keys: &ProviderKeys) -> (Option<SecretString>, String) {
    let of_config =
        settings.api_key.clone().map(|key| (key, format!("the key from models.providers.{name}.apiKey")));
    match of_config.or_else(|| keys.of(name)) {
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
