//! What texts mean, as rows of numbers: for programs of the owner that look for similar ones.
//!
//! A question of its own kind: no conversation, no stream, and no tool. Providers that have no embeddings say so here.

use bytes::Bytes;
use moltbot_config::limits;
use moltbot_config::settings::ProviderApi;
use moltbot_net::{Method, Request, Url};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::error::Failure;
use super::exchange::{headers, refusal};
use super::provider::{Key, Model, Provider};
use super::wire::{last_segment, with_path};
use super::{ModelError, wire};

/// What a model made of some texts.
#[derive(Clone, Debug, PartialEq)]
pub struct Embedded {
    /// A row for each text, in their order.
    pub vectors: Vec<Vec<f32>>,
    /// Tokens of all texts, by the provider's count; zero where it does not say.
    pub tokens: u64,
}

/// Asks a model, with the first of its keys that is taken.
pub(super) async fn embed(
    model: &Model,
    texts: &[String],
    dimensions: Option<u32>,
    actor: &str,
) -> Result<Embedded, ModelError> {
    let Some((url, body)) = question(model, texts, dimensions) else {
        return Err(ModelError::WithoutEmbeddings { provider: model.provider().into() });
    };
    let with: &Provider = &model.with;
    let door = with.client.open(&with.base, actor).await.map_err(|error| model.named(None).fetch(error))?;
    let places = with.rest.keys(with.keys.len(), Instant::now());
    let mut keys: Vec<Option<&Key>> = places.into_iter().map(|place| with.keys.get(place)).collect();
    if keys.is_empty() {
        keys.push(None);
    }
    let mut last = None;
    for key in keys {
        match once(model, &door, key, (&url, &body), texts.len()).await {
            Err(error) if matches!(error.failure(), Failure::Key { .. }) => last = Some(error),
            other => return other,
        }
    }
    Err(last.unwrap_or_else(|| model.named(None).garbage("no answer")))
}

async fn once(
    model: &Model,
    door: &moltbot_net::Door,
    key: Option<&Key>,
    (url, body): (&Url, &Value),
    count: usize,
) -> Result<Embedded, ModelError> {
    let named = model.named(key);
    let request = Request {
        method: Method::Post,
        url: url.clone(),
        headers: headers(wire::of(model.api()), model, key),
        body: Some(Bytes::from(body.to_string())),
        idle: limits::PROVIDER_IDLE,
    };
    let response = door.send(request).await.map_err(|error| named.fetch(error))?;
    if response.status != 200 {
        return Err(refusal(response, named).await);
    }
    let text = response.text(limits::EMBEDDINGS_ANSWER_BYTES).await.map_err(|error| named.fetch(error))?;
    let read =
        read(model.api(), &text).map_err(|error| named.garbage(format!("no rows of numbers ({error})")))?;
    let is_whole = read.vectors.len() == count && read.vectors.iter().all(|row| !row.is_empty());
    if is_whole {
        Ok(read)
    } else {
        Err(named.garbage(format!("{} rows for {count} texts", read.vectors.len())))
    }
}

/// Where a question goes, and what it says; nothing for a provider that has no embeddings.
fn question(model: &Model, texts: &[String], dimensions: Option<u32>) -> Option<(Url, Value)> {
    let (base, name) = (&model.with.base, model.wire_id());
    let asked = match model.api() {
        ProviderApi::AnthropicMessages => return None,
        ProviderApi::GoogleGenerativeAi => {
            let name = name.strip_prefix("models/").unwrap_or(name);
            let request = |text: &String| {
                let mut request =
                    json!({"model": format!("models/{name}"), "content": {"parts": [{"text": text}]}});
                put(&mut request, "outputDimensionality", dimensions);
                request
            };
            let requests: Vec<Value> = texts.iter().map(request).collect();
            let url = with_path(base, &["models", &format!("{name}:batchEmbedContents")]);
            (url, json!({"requests": requests}))
        }
        ProviderApi::Ollama => {
            let path: &[&str] = if last_segment(base) == "api" { &["embed"] } else { &["api", "embed"] };
            let mut body = json!({"model": name, "input": texts});
            put(&mut body, "dimensions", dimensions);
            (with_path(base, path), body)
        }
        ProviderApi::OpenAiCompletions | ProviderApi::OpenAiResponses => {
            let mut body = json!({"model": name, "input": texts, "encoding_format": "float"});
            put(&mut body, "dimensions", dimensions);
            (with_path(base, &["embeddings"]), body)
        }
    };
    Some(asked)
}

fn put(body: &mut Value, name: &str, value: Option<u32>) {
    if let (Some(members), Some(value)) = (body.as_object_mut(), value) {
        members.insert(name.into(), value.into());
    }
}

#[derive(Deserialize)]
struct OpenAiAnswer {
    data: Vec<Row>,
    #[serde(default)]
    usage: Usage,
}

#[derive(Deserialize)]
struct Row {
    embedding: Vec<f32>,
    #[serde(default)]
    index: usize,
}

#[derive(Default, Deserialize)]
struct Usage {
    #[serde(default)]
    prompt_tokens: u64,
}

#[derive(Deserialize)]
struct OllamaAnswer {
    embeddings: Vec<Vec<f32>>,
    #[serde(default)]
    prompt_eval_count: u64,
}

#[derive(Deserialize)]
struct GeminiAnswer {
    embeddings: Vec<Values>,
}

#[derive(Deserialize)]
struct Values {
    values: Vec<f32>,
}

fn read(api: ProviderApi, text: &str) -> serde_json::Result<Embedded> {
    Ok(match api {
        ProviderApi::Ollama => {
            let answer: OllamaAnswer = serde_json::from_str(text)?;
            Embedded { vectors: answer.embeddings, tokens: answer.prompt_eval_count }
        }
        ProviderApi::GoogleGenerativeAi => {
            let answer: GeminiAnswer = serde_json::from_str(text)?;
            Embedded { vectors: answer.embeddings.into_iter().map(|row| row.values).collect(), tokens: 0 }
        }
        ProviderApi::AnthropicMessages | ProviderApi::OpenAiCompletions | ProviderApi::OpenAiResponses => {
            let mut answer: OpenAiAnswer = serde_json::from_str(text)?;
            // Rows say whose they are; not every server sends them in order.
            answer.data.sort_by_key(|row| row.index);
            let vectors = answer.data.into_iter().map(|row| row.embedding).collect();
            Embedded { vectors, tokens: answer.usage.prompt_tokens }
        }
    })
}
