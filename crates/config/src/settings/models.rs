//! Models: who provides them, and what is known of each.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use super::{ModelCost, SecretSetting};

/// Model providers.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct ModelsConfig {
    /// Models that moltbot itself runs on this machine, in a process without a network.
    pub local: LocalModelsConfig,
    /// Whether the built-in providers stay beside these. `merge` is the default.
    pub mode: ModelsMode,
    /// The index of Python packages that `moltbot models pull` fetches from, as `https://host/simple`. What pip's own
    /// configuration names when absent.
    #[schemars(extend("x-moltbot-form" = "https-or-loopback"))]
    pub pull_index: Option<String>,
    /// The providers by name. `anthropic`, `google`, `openai` and `openrouter` need no entry but their key.
    pub providers: BTreeMap<String, ProviderConfig>,
}

/// Models that moltbot itself runs.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct LocalModelsConfig {
    /// Whether it runs any. What `moltbot models pull` has fetched answers where nothing else does.
    pub enabled: bool,
    /// Files of the owner's, by the names of their models.
    pub files: BTreeMap<String, LocalModelFile>,
    /// Threads that one computes with, 1 to 16; one fewer than there are processors when absent.
    #[schemars(range(min = 1, max = 16))]
    pub threads: Option<u16>,
}

impl Default for LocalModelsConfig {
    fn default() -> Self {
        Self { enabled: true, files: BTreeMap::new(), threads: None }
    }
}

/// One file with a model in it.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct LocalModelFile {
    /// Tokens of question and answer together, 256 to 32768; no more than the model's own window is used. 4096 when absent.
    #[serde(default)]
    #[schemars(range(min = 256, max = 32_768))]
    pub context_window: Option<u32>,
    /// Tokens of one answer, at least 1; 512 when absent.
    #[serde(default)]
    #[schemars(range(min = 1, max = 32_768))]
    pub max_tokens: Option<u32>,
    /// The absolute path of the file: a GGUF with a model of the architecture llama or qwen2. Nobody but this user and root
    /// may be able to change it.
    #[schemars(extend("x-moltbot-form" = "absolute-path"))]
    pub path: String,
    /// The SHA-256 of the file in hexadecimal digits: no other file is read.
    #[schemars(extend("x-moltbot-form" = "sha256"))]
    pub sha256: String,
    /// Whether it can call tools. Small models cannot.
    #[serde(default)]
    pub tools: bool,
}

/// Whether the built-in providers stay.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ModelsMode {
    /// Built-in providers stay beside those of the config.
    #[default]
    Merge,
    /// Only those of the config.
    Replace,
}

/// One provider.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct ProviderConfig {
    /// The wire format. `openai-completions` is what most servers speak.
    pub api: Option<ProviderApi>,
    /// The key. A reference such as `${OPENAI_API_KEY}` stays a reference in the file.
    #[schemars(with = "Option<SecretSetting>")]
    pub api_key: Option<SecretString>,
    /// Further keys by names of the owner's choice: where one is limited, spent or refused, the next is taken.
    #[schemars(with = "BTreeMap<String, SecretSetting>")]
    pub api_keys: BTreeMap<String, SecretString>,
    /// How the key is sent. As the wire format has it when absent.
    pub auth: Option<ProviderAuth>,
    /// Whether the key is sent as `Authorization: Bearer` although the wire format has a header of its own: the same as
    /// `auth: "token"`.
    pub auth_header: bool,
    /// The address that `/chat/completions`, `/responses`, `/v1/messages`, `/models/…` or `/api/chat` is added to. It may
    /// be on this machine or in the owner's network; the exact host and port are then allowed, and no others.
    #[schemars(extend("x-moltbot-form" = "http-address"))]
    pub base_url: Option<String>,
    /// Headers sent with every request.
    #[schemars(with = "BTreeMap<String, SecretSetting>")]
    pub headers: BTreeMap<String, SecretString>,
    /// The models that it offers.
    pub models: Vec<ModelConfig>,
}

/// The wire format of a provider.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum ProviderApi {
    /// Anthropic Messages.
    #[serde(rename = "anthropic-messages")]
    AnthropicMessages,
    /// Google Gemini.
    #[serde(rename = "google-generative-ai")]
    GoogleGenerativeAi,
    /// Ollama's own.
    #[serde(rename = "ollama")]
    Ollama,
    /// OpenAI Chat Completions and everything compatible.
    #[serde(rename = "openai-completions")]
    OpenAiCompletions,
    /// OpenAI Responses.
    #[serde(rename = "openai-responses")]
    OpenAiResponses,
}

/// How a provider's key is sent.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProviderAuth {
    /// As the wire format has it.
    ApiKey,
    /// Not at all, even where there is one.
    None,
    /// As `Authorization: Bearer`.
    Token,
}

/// One model of a provider.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ModelConfig {
    /// The provider's name of the model.
    pub id: String,
    /// The name that people see.
    #[serde(default)]
    pub name: Option<String>,
    /// Its wire format, where it is another than its provider's.
    #[serde(default)]
    pub api: Option<ProviderApi>,
    /// What it understands of the wire format, where that is not as usual.
    #[serde(default)]
    pub compat: ModelCompat,
    /// Headers beside those of its provider.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, SecretSetting>")]
    pub headers: BTreeMap<String, SecretString>,
    /// What it can be sent. Text alone when absent.
    #[serde(default)]
    pub input: Vec<ModelInput>,
    /// Tokens of its window, at least 1000; 200 000 when absent, as upstream.
    #[serde(default)]
    #[schemars(range(min = 1000, max = 100_000_000))]
    pub context_window: Option<u64>,
    /// Tokens of one answer, at least 1; 8192 when absent, as upstream.
    #[serde(default)]
    #[schemars(range(min = 1, max = 10_000_000))]
    pub max_tokens: Option<u64>,
    /// What it costs, where that is known. A model that costs nothing says so with zeros.
    #[serde(default)]
    pub cost: Option<ModelCost>,
    /// Whether it thinks before it answers.
    #[serde(default)]
    pub reasoning: bool,
    /// Whether it can call tools. A small model that cannot is not offered any.
    #[serde(default)]
    pub tools: Option<bool>,
}

/// What a model can be sent.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ModelInput {
    /// Pictures.
    Image,
    /// Words.
    Text,
}

/// What a model understands of OpenAI Chat Completions, where that is not as usual.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct ModelCompat {
    /// The name of the limit of an answer.
    pub max_tokens_field: Option<MaxTokensField>,
    /// Whether instructions come from a `developer` in place of a `system`.
    pub supports_developer_role: Option<bool>,
    /// Whether it may be told `reasoning_effort`.
    pub supports_reasoning_effort: Option<bool>,
    /// Whether it may be told `store: false`.
    pub supports_store: Option<bool>,
}

/// The name of the limit of an answer.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum MaxTokensField {
    /// Of OpenAI's newer models.
    MaxCompletionTokens,
    /// Of everybody else.
    MaxTokens,
}
