//! What answers over HTTP.

use schemars::JsonSchema;
use serde::Deserialize;

/// The HTTP interface.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct HttpConfig {
    /// The endpoints.
    pub endpoints: EndpointsConfig,
}

/// The endpoints.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct EndpointsConfig {
    /// `POST /v1/chat/completions`.
    pub chat_completions: ChatCompletionsConfig,
    /// `POST /v1/embeddings`: rows of numbers for texts, by a model of a provider that has such, for whoever signs in and may
    /// write.
    pub embeddings: EndpointConfig,
    /// `GET /metrics`: figures of the gateway in the text form of Prometheus, for whoever signs in and may read.
    pub metrics: EndpointConfig,
    /// `GET /v1/models`: the models that can be used, for whoever signs in and may read.
    pub models: EndpointConfig,
    /// `GET /openapi.json`: what of HTTP is on, in the form of OpenAPI 3.1, for whoever signs in and may read.
    pub openapi: EndpointConfig,
    /// `GET /readyz`: whether the gateway takes messages, in one word and for anybody who reaches it, as `/healthz` says that
    /// it runs.
    pub readyz: EndpointConfig,
    /// `POST /v1/responses`: a turn in the form of OpenAI's Responses, for whoever signs in and may write.
    pub responses: EndpointConfig,
    /// `POST /tools/invoke`: one call of a tool that changes nothing, for whoever signs in and may write.
    pub tools_invoke: EndpointConfig,
}

/// `POST /v1/chat/completions`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct ChatCompletionsConfig {
    /// Whether it answers. On: it needs the same credential as every other way in.
    pub enabled: bool,
}

impl Default for ChatCompletionsConfig {
    fn default() -> Self {
        Self { enabled: true }
    }
}

/// An endpoint that is off unless it is switched on.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct EndpointConfig {
    /// Whether it answers. Off: what is not used need not be there.
    pub enabled: bool,
}
