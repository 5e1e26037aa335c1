//! What is known of one provider: its address, its key, its models, or what it lacks.

use std::collections::BTreeMap;
use std::sync::Arc;

use moltbot_config::settings::{
    ModelCompat, ModelConfig, ModelCost, ModelInput, ProviderApi, ProviderAuth, ProviderConfig,
};
use moltbot_ledger::Ledger;
use moltbot_net::{Client, Url};
use moltbot_policy::allowance::Price;
use moltbot_policy::network::{Destination, Purpose, Reach};
use moltbot_policy::pairing::TokenDigest;

use super::{LOCAL, ModelsError, ProviderKeys};
use crate::model::Discovered;
use crate::model::local::{Known, LocalModels, OWN};
use crate::model::provider::{Auth, Facts, Key, Model, Provider};
use crate::model::rest::Rest;
use crate::model::wire::origin_of;

/// A provider as far as it is known.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) provider: Result<Arc<Provider>, Missing>,
    /// Who is asked for single models in its place: those that moltbot runs itself.
    own: BTreeMap<String, Arc<Provider>>,
    pub(super) models: Vec<Arc<Facts>>,
    usual: Usual,
}

/// What a provider lacks.
#[derive(Clone, Copy, Debug)]
pub(super) enum Missing {
    BaseUrl,
    /// The file of a model that moltbot would run.
    File,
    Key {
        variable: &'static str,
    },
}

/// A provider that needs nothing but its key.
pub(super) struct BuiltIn {
    pub(super) name: &'static str,
    base_url: &'static str,
    pub(super) api: ProviderApi,
    pub(super) variable: &'static str,
    /// Its model when none is named: id, name, window and answer in tokens.
    model: (&'static str, &'static str, u64, u64),
}

/// In the order in which their keys are preferred.
pub(super) const BUILT_IN: [BuiltIn; 4] = [
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
        name: "google",
        base_url: "https://generativelanguage.googleapis.com/v1beta",
        api: ProviderApi::GoogleGenerativeAi,
        variable: "GEMINI_API_KEY",
        model: ("gemini-2.5-pro", "Gemini 2.5 Pro", 1_048_576, 65_536),
    },
    BuiltIn {
        name: "openrouter",
        base_url: "https://openrouter.ai/api/v1",
        api: ProviderApi::OpenAiCompletions,
        variable: "OPENROUTER_API_KEY",
        model: ("auto", "OpenRouter's choice", 200_000, 8192),
    },
];

/// What holds of a model where the config does not say.
#[derive(Clone, Copy, Debug)]
struct Usual {
    context_tokens: u64,
    max_tokens: u64,
    images: bool,
    /// Whether a level of thinking may be told.
    reasoning: bool,
}

/// Of most, as upstream.
const USUAL: Usual = Usual { context_tokens: 200_000, max_tokens: 8192, images: false, reasoning: false };
/// Of servers on this machine: what they load by default is far smaller than what the model could read, and too long a
/// prompt is cut without a word.
const LOCAL_USUAL: Usual = Usual { context_tokens: 16_384, max_tokens: 2048, ..USUAL };

impl Usual {
    /// Of a provider, by what is known of it.
    const fn of(api: ProviderApi, built_in: Option<&BuiltIn>) -> Self {
        match (api, built_in) {
            (_, Some(BuiltIn { model: (_, _, context_tokens, max_tokens), .. })) => Self {
                context_tokens: *context_tokens,
                max_tokens: *max_tokens,
                images: true,
                reasoning: true,
            },
            (ProviderApi::Ollama, None) => LOCAL_USUAL,
            (_, None) => USUAL,
        }
    }
}

impl Slot {
    pub(super) fn configured(
        name: &str,
        settings: &ProviderConfig,
        keys: &ProviderKeys,
        ledger: &Ledger,
    ) -> Result<Self, ModelsError> {
        let built_in = BUILT_IN.iter().find(|built_in| built_in.name == name);
        let usual = Usual::of(api_of(settings, built_in), built_in);
        let mut models: Vec<Arc<Facts>> =
            settings.models.iter().map(|model| Arc::new(Facts::configured(name, model, usual))).collect();
        if let Some(built_in) = built_in.filter(|_| settings.models.is_empty()) {
            models.push(Arc::new(Facts::built_in(built_in, usual)));
        }
        let provider = Provider::configured(name, settings, built_in, keys, ledger)?;
        Ok(Self { provider: provider.map(Arc::new), own: BTreeMap::new(), models, usual })
    }

    /// The models that moltbot runs itself. Each has a process, so each is a provider.
    pub(super) fn own(local: &LocalModels) -> Result<Self, ModelsError> {
        let (mut own, mut models) = (BTreeMap::new(), Vec::new());
        for (name, known) in local.known() {
            own.insert(name.clone(), Arc::new(Provider::own(name, local)?));
            models.push(Arc::new(Facts::own(name, known)));
        }
        Ok(Self { provider: Err(Missing::File), own, models, usual: LOCAL_USUAL })
    }

    /// A model that moltbot runs itself.
    pub(super) fn of_own(&self, id: &str) -> Option<Model> {
        let with = Arc::clone(self.own.get(id)?);
        let facts = self.models.iter().find(|facts| facts.id == id)?;
        Some(Model { with, facts: Arc::clone(facts) })
    }

    /// Whether any of its models can be asked.
    pub(super) fn is_usable(&self) -> bool {
        self.provider.is_ok() || !self.own.is_empty()
    }

    pub(super) fn discovered(found: Discovered, ledger: &Ledger) -> Result<Self, ModelsError> {
        let endpoint = parse(LOCAL, &found.base_url)?;
        let provider = Provider {
            name: LOCAL.into(),
            api: ProviderApi::OpenAiCompletions,
            client: client(LOCAL, &endpoint, Reach::Configured, ledger)?,
            base: endpoint,
            auth: Auth::Nothing,
            keys: Vec::new(),
            origin: format!("{} found on this machine at {}", found.server, found.base_url),
            headers: Vec::new(),
            rest: Rest::default(),
        };
        // A model of this machine is paid with its power alone.
        let price = Some(Price::default());
        let facts = Facts { price, ..Facts::unlisted(LOCAL, &found.model, LOCAL_USUAL) };
        let (provider, models) = (Ok(Arc::new(provider)), vec![Arc::new(facts)]);
        Ok(Self { provider, own: BTreeMap::new(), models, usual: LOCAL_USUAL })
    }

    /// What is known of a model: as listed, else by what is usual. New models appear faster than lists.
    pub(super) fn facts(&self, provider: &str, id: &str) -> Arc<Facts> {
        let listed = self.models.iter().find(|facts| facts.id == id).cloned();
        listed.unwrap_or_else(|| Arc::new(Facts::unlisted(provider, id, self.usual)))
    }

    pub(super) fn first_model(&self) -> Option<Model> {
        let facts = self.models.first()?;
        let with = self.own.get(&facts.id).or(self.provider.as_ref().ok())?;
        Some(Model { with: Arc::clone(with), facts: Arc::clone(facts) })
    }
}

/// The price that the config tells.
const fn price(cost: ModelCost) -> Price {
    let ModelCost { cache_read, cache_write, input, output } = cost;
    Price { cache_read, cache_write, input, output }
}

impl Facts {
    fn unlisted(provider: &str, id: &str, usual: Usual) -> Self {
        // OpenRouter's own models have its name in theirs; all others have their maker's.
        let own = provider == "openrouter" && !id.contains('/');
        let wire_id = if own { format!("openrouter/{id}") } else { id.to_owned() };
        Self {
            id: id.to_owned(),
            wire_id,
            name: None,
            api: None,
            compat: ModelCompat::default(),
            context_tokens: usual.context_tokens,
            max_tokens: usual.max_tokens,
            headers: Vec::new(),
            images: usual.images,
            price: None,
            reasoning: usual.reasoning,
            tools: true,
        }
    }

    fn own(name: &str, known: &Known) -> Self {
        let (context_tokens, max_tokens) = (known.context.into(), known.answer.into());
        let usual = Usual { context_tokens, max_tokens, ..LOCAL_USUAL };
        let price = Some(Price::default());
        let name_shown = Some(known.title.clone());
        Self { name: name_shown, price, tools: known.tools, ..Self::unlisted(OWN, name, usual) }
    }

    fn built_in(built_in: &BuiltIn, usual: Usual) -> Self {
        let (id, name, ..) = built_in.model;
        Self { name: Some(name.into()), ..Self::unlisted(built_in.name, id, usual) }
    }

    fn configured(provider: &str, model: &ModelConfig, usual: Usual) -> Self {
        let context_tokens = model.context_window.unwrap_or(usual.context_tokens);
        Self {
            name: model.name.clone(),
            api: model.api,
            compat: model.compat,
            context_tokens,
            max_tokens: model.max_tokens.unwrap_or(usual.max_tokens.min(context_tokens)),
            headers: model.headers.clone().into_iter().collect(),
            images: model.input.contains(&ModelInput::Image),
            price: model.cost.map(price),
            reasoning: model.reasoning,
            tools: model.tools.unwrap_or(true),
            ..Self::unlisted(provider, &model.id, usual)
        }
    }
}

impl Provider {
    fn own(name: &str, local: &LocalModels) -> Result<Self, ModelsError> {
        Ok(Self {
            name: OWN.into(),
            api: ProviderApi::OpenAiCompletions,
            base: parse(OWN, Client::PROCESS)?,
            auth: Auth::Nothing,
            keys: Vec::new(),
            origin: "run by moltbot on this machine".into(),
            headers: Vec::new(),
            client: local.client(name),
            rest: Rest::default(),
        })
    }

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
        let (proxy, keys) = (keys.proxy(), keys_of(name, settings, keys));
        if let (true, Some(built_in), Reach::Public) = (keys.is_empty(), built_in, reach) {
            return Ok(Err(Missing::Key { variable: built_in.variable }));
        }
        let endpoint = parse(name, base_url)?;
        let origin = match reach {
            Reach::Configured => format!("at {}, from the config", origin_of(&endpoint)),
            Reach::Public => {
                let source = keys.first().map(|key| key.source.trim_start_matches("the ").to_owned());
                source.unwrap_or_default()
            }
        };
        Ok(Ok(Self {
            name: name.into(),
            api: api_of(settings, built_in),
            client: client(name, &endpoint, reach, ledger)?.through(proxy),
            base: endpoint,
            auth: auth_of(settings),
            keys,
            origin,
            headers: settings.headers.clone().into_iter().collect(),
            rest: Rest::default(),
        }))
    }
}

fn api_of(settings: &ProviderConfig, built_in: Option<&BuiltIn>) -> ProviderApi {
    settings.api.or(built_in.map(|it| it.api)).unwrap_or(ProviderApi::OpenAiCompletions)
}

fn auth_of(settings: &ProviderConfig) -> Auth {
    match settings.auth {
        Some(ProviderAuth::None) => Auth::Nothing,
        Some(ProviderAuth::Token) => Auth::Bearer,
        Some(ProviderAuth::ApiKey) | None if settings.auth_header => Auth::Bearer,
        Some(ProviderAuth::ApiKey) | None => Auth::ApiKey,
    }
}

/// A provider's keys and where they are from: the config's before others. The same one twice is one.
fn keys_of(name: &str, settings: &ProviderConfig, keys: &ProviderKeys) -> Vec<Key> {
    let place = |member: &str| format!("the key from models.providers.{name}.{member}");
    let first = settings.api_key.clone().map(|secret| Key { secret, source: place("apiKey") });
    let further = settings.api_keys.iter();
    let further =
        further.map(|(key, secret)| Key { secret: secret.clone(), source: place(&format!("apiKeys.{key}")) });
    let of_config: Vec<Key> = first.into_iter().chain(further).collect();
    let all = if of_config.is_empty() { keys.of(name) } else { of_config };
    let mut known: Vec<Key> = Vec::with_capacity(all.len());
    for key in all {
        let digest = TokenDigest::of(&key.secret);
        if !known.iter().any(|one| digest.matches(&one.secret)) {
            known.push(key);
        }
    }
    known
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
