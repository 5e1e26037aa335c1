//! One question and its answer.

use std::time::Duration;

use bytes::Bytes;
use moltbot_config::limits;
use moltbot_config::settings::ProviderApi;
use moltbot_net::{Body, Method, Request, Response};
use moltbot_protocol::message::{Part, Usage};
use secrecy::{ExposeSecret, SecretString};

use super::draft::Draft;
use super::error::Named;
use super::provider::{Conversation, Provider};
use super::sse::Events;
use super::{Answer, Deltas, ModelError, Prompt, ToolSpec, anthropic, openai};

/// Sends one request and reads the answer's stream.
pub(super) async fn once(
    conversation: &Conversation,
    prompt: &Prompt,
    events: Deltas<'_>,
) -> Result<Answer, ModelError> {
    let model = &conversation.model;
    let (provider, named) = (&model.with, model.named());
    let tools: &[ToolSpec] = if model.calls_tools() { &prompt.tools } else { &[] };
    let body = match provider.api {
        ProviderApi::AnthropicMessages => anthropic::write(model, prompt, tools),
        ProviderApi::OpenAiCompletions => openai::write(model, prompt, tools),
    };
    let body =
        Bytes::from(body.map_err(|error| named.garbage(format!("the question is not JSON ({error})")))?);
    let asked = body.len();
    let request = Request {
        method: Method::Post,
        url: provider.endpoint.clone(),
        headers: headers(provider),
        body: Some(body),
        idle: limits::PROVIDER_IDLE,
    };
    let response = conversation.door.send(request).await.map_err(|error| named.fetch(error))?;
    if response.status != 200 {
        return Err(refusal(response, named).await);
    }
    let offered: Vec<&'static str> = tools.iter().map(|tool| tool.name).collect();
    let mut draft = Draft::new(named, &offered);
    receive(response, provider.api, &mut draft, events).await?;
    let finished = draft.finish(events)?;
    let usage = finished.usage.unwrap_or_else(|| estimate(asked, &finished.content));
    Ok(Answer {
        content: finished.content,
        usage,
        stop_reason: finished.stop_reason,
        provider: model.provider().into(),
        model: model.id().into(),
    })
}

fn headers(provider: &Provider) -> Vec<(String, SecretString)> {
    let plain = |name: &str, value: &str| (name.to_owned(), SecretString::from(value));
    let mut headers = vec![plain("content-type", "application/json"), plain("accept", "text/event-stream")];
    match provider.api {
        ProviderApi::AnthropicMessages => {
            headers.push(plain("anthropic-version", anthropic::VERSION));
            headers.extend(provider.key.clone().map(|key| ("x-api-key".to_owned(), key)));
        }
        ProviderApi::OpenAiCompletions => {
            headers.extend(provider.key.as_ref().map(|key| ("authorization".to_owned(), bearer(key))));
        }
    }
    headers.extend(provider.headers.iter().cloned());
    headers
}

fn bearer(key: &SecretString) -> SecretString {
    ["Bearer ", key.expose_secret()].concat().into()
}

/// What an answer other than 200 means.
async fn refusal(response: Response, named: Named<'_>) -> ModelError {
    let (status, retry_after) = (response.status, response.retry_after);
    // Without its text the status still says most of it.
    let text = response.text(limits::PROVIDER_ERROR_BYTES).await.unwrap_or_default();
    named.status(status, &text, retry_after)
}

/// Reads the answer into the draft: a stream of events, or one document from a server that does not stream.
async fn receive(
    response: Response,
    api: ProviderApi,
    draft: &mut Draft<'_>,
    events: Deltas<'_>,
) -> Result<(), ModelError> {
    let json = response.content_type.as_deref().is_some_and(|kind| kind.starts_with("application/json"));
    if json && api == ProviderApi::OpenAiCompletions {
        let text = response.text(limits::MODEL_ANSWER_BYTES).await;
        return openai::read(&text.map_err(|error| draft.named().fetch(error))?, draft, events);
    }
    let mut body = response.stream(limits::MODEL_ANSWER_BYTES);
    let mut stream = Events::default();
    let mut seen = false;
    while !draft.ended {
        let piece = match body.chunk().await {
            Ok(piece) => piece,
            // It broke after the last word: nothing is missing.
            Err(_) if draft.is_whole() => return Ok(()),
            Err(error) => return Err(draft.named().fetch(error)),
        };
        let ready = match &piece {
            Some(piece) => stream.feed(piece).map_err(|_| too_large(draft.named()))?,
            None => stream.finish().into_iter().collect(),
        };
        for data in ready {
            seen = true;
            read(&data, api, draft, events)?;
        }
        if piece.is_none() {
            return if seen { Ok(()) } else { Err(draft.named().garbage("a stream without any event")) };
        }
    }
    drain(body).await;
    Ok(())
}

fn read(data: &str, api: ProviderApi, draft: &mut Draft<'_>, events: Deltas<'_>) -> Result<(), ModelError> {
    match api {
        ProviderApi::AnthropicMessages => anthropic::read(data, draft, events),
        ProviderApi::OpenAiCompletions => openai::read(data, draft, events),
    }
}

/// Reads the end of a stream that has said its last word, so that its connection can be used again.
async fn drain(mut body: Body) {
    const PATIENCE: Duration = Duration::from_millis(20);
    if let Ok(Err(error)) = tokio::time::timeout(PATIENCE, body.chunk()).await {
        tracing::debug!(%error, "the connection will not be used again");
    }
}

fn too_large(named: Named<'_>) -> ModelError {
    ModelError::TooLarge { provider: named.provider(), max: limits::MODEL_EVENT_BYTES }
}

/// Tokens by size, where the provider does not say: the limits of a turn hold there too.
fn estimate(asked: usize, content: &[Part]) -> Usage {
    const BYTES_PER_TOKEN: usize = 4;
    let size = |part: &Part| match part {
        Part::Text { text } => text.len(),
        Part::ToolCall { name, arguments, .. } => name.len() + arguments.to_string().len(),
    };
    let tokens = |bytes: usize| u64::try_from(bytes.div_ceil(BYTES_PER_TOKEN)).unwrap_or(u64::MAX);
    let (input, output) = (tokens(asked), tokens(content.iter().map(size).sum()));
    Usage { input, output, total_tokens: input.saturating_add(output), ..Usage::default() }
}
