//! `POST /v1/embeddings`: what texts mean, as rows of numbers, by a model of a provider that has such.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use moltbot_agent::model::{Embedded, ModelError};
use moltbot_config::limits;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::OwnedSemaphorePermit;

use super::answer::{self, Body};
use super::completions::{Failure, read};
use super::route::Class;
use crate::shared::Shared;

/// The body of a request. Unknown members are accepted: libraries send some.
#[derive(Debug, Deserialize)]
struct EmbeddingsRequest {
    model: String,
    input: Input,
    #[serde(default)]
    dimensions: Option<u32>,
    #[serde(default)]
    encoding_format: Option<Encoding>,
}

/// What is asked about. Rows of tokens are refused: which they are is the provider's own matter.
#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "a text, or a list of texts")]
enum Input {
    One(String),
    Many(Vec<String>),
}

/// How rows are written.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "lowercase")]
enum Encoding {
    /// Four bytes for each number, the lowest first, in base64.
    Base64,
    Float,
}

/// Answers a request of the actor `from`.
pub(super) async fn answer(
    shared: &Arc<Shared>,
    from: &str,
    class: Class,
    place: OwnedSemaphorePermit,
    request: Request<Incoming>,
) -> Response<Body> {
    let answered = match read(shared, request, class).await {
        Ok(request) => embed(shared, from, request).await,
        Err(failure) => Err(failure),
    };
    drop(place);
    match answered {
        Ok(body) => answer::json(StatusCode::OK, &body),
        Err(failure) => answer::error(failure.status, failure.kind, &failure.message),
    }
}

async fn embed(shared: &Arc<Shared>, from: &str, request: EmbeddingsRequest) -> Result<Value, Failure> {
    let texts = match request.input {
        Input::One(text) => vec![text],
        Input::Many(texts) => texts,
    };
    if texts.is_empty() || texts.len() > limits::EMBEDDINGS || texts.iter().any(String::is_empty) {
        let message = format!("input needs 1 to {} texts, none of them empty", limits::EMBEDDINGS);
        return Err(Failure::invalid(message));
    }
    if request.dimensions == Some(0) {
        return Err(Failure::invalid("dimensions must be at least 1"));
    }
    let asked = shared.agent.models().embed(&request.model, &texts, request.dimensions, from).await;
    let Embedded { vectors, tokens } = asked.map_err(|error| not_asked(&error))?;
    let encoding = request.encoding_format.unwrap_or(Encoding::Float);
    let row = |(index, row): (usize, &Vec<f32>)| json!({"object": "embedding", "index": index, "embedding": written(row, encoding)});
    let data: Vec<Value> = vectors.iter().enumerate().map(row).collect();
    Ok(json!({
        "object": "list",
        "data": data,
        "model": request.model,
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }))
}

fn written(row: &[f32], encoding: Encoding) -> Value {
    match encoding {
        Encoding::Float => json!(row),
        Encoding::Base64 => {
            let bytes: Vec<u8> = row.iter().flat_map(|number| number.to_le_bytes()).collect();
            STANDARD.encode(bytes).into()
        }
    }
}

fn not_asked(error: &ModelError) -> Failure {
    let (status, kind) = match error {
        ModelError::NoModel(_) => (StatusCode::NOT_FOUND, "model_not_found"),
        ModelError::WithoutEmbeddings { .. } => (StatusCode::BAD_REQUEST, "invalid_request_error"),
        _ => (StatusCode::BAD_GATEWAY, "api_error"),
    };
    Failure::new(status, kind, error.to_string())
}
