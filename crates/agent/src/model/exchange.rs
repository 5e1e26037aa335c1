//! One question and its answer.

use std::time::Duration;

use bytes::Bytes;
use moltbot_config::limits;
use moltbot_net::{Body, Door, Method, Request, Response};
use moltbot_protocol::message::{Part, Usage};
use secrecy::{ExposeSecret, SecretString};

use super::draft::Draft;
use super::error::Named;
use super::provider::{Auth, Key, Model};
use super::sse::{EventTooLarge, Events, Lines};
use super::wire::{self, BEARER, Framing, Wire};
use super::{Answer, Deltas, ModelError, Prompt, ToolSpec};

/// Sends one request with that key and reads the answer's stream.
pub(super) async fn once(
    (model, door): (&Model, &Door),
    key: Option<&Key>,
    prompt: &Prompt,
    events: Deltas<'_>,
) -> Result<Answer, ModelError> {
    let (wire, named) = (wire::of(model.api()), model.named(key));
    let tools: &[ToolSpec] = if model.calls_tools() { &prompt.tools } else { &[] };
    let body = wire.write(model, prompt, tools);
    let body =
        Bytes::from(body.map_err(|error| named.garbage(format!("the question is not JSON ({error})")))?);
    let asked = body.len();
    let request = Request {
        method: Method::Post,
        url: wire.endpoint(&model.with.base, model),
        headers: headers(wire, model, key),
        body: Some(body),
        idle: limits::PROVIDER_IDLE,
    };
    let response = door.send(request).await.map_err(|error| named.fetch(error))?;
    if response.status != 200 {
        return Err(refusal(response, named).await);
    }
    let offered: Vec<&'static str> = tools.iter().map(|tool| tool.name).collect();
    let mut draft = Draft::new(named, &offered);
    receive(response, wire, &mut draft, events).await?;
    let finished = draft.finish(events)?;
    let usage = finished.usage.unwrap_or_else(|| estimate(asked, &finished.content));
    Ok(Answer {
        content: finished.content,
        usage,
        stop_reason: finished.stop_reason,
        provider: model.provider().into(),
        model: model.id().into(),
        tried: Vec::new(),
    })
}

pub(super) fn headers(wire: &dyn Wire, model: &Model, key: Option<&Key>) -> Vec<(String, SecretString)> {
    let plain = |name: &str, value: &str| (name.to_owned(), SecretString::from(value));
    let mut headers = vec![plain("content-type", "application/json"), plain("accept", "text/event-stream")];
    headers.extend(wire.headers(model).iter().map(|(name, value)| plain(name, value)));
    let place = match model.with.auth {
        Auth::ApiKey => Some(wire.key_header()),
        Auth::Bearer => Some(BEARER),
        Auth::Nothing => None,
    };
    if let (Some((name, before)), Some(key)) = (place, key) {
        headers.push((name.to_owned(), [before, key.secret.expose_secret()].concat().into()));
    }
    headers.extend(model.with.headers.iter().chain(&model.facts.headers).cloned());
    headers
}

/// What an answer other than 200 means.
pub(super) async fn refusal(response: Response, named: Named<'_>) -> ModelError {
    let (status, retry_after) = (response.status, response.retry_after);
    // Without its text the status still says most of it.
    let text = response.text(limits::PROVIDER_ERROR_BYTES).await.unwrap_or_default();
    named.status(status, &text, retry_after)
}

/// What cuts a stream into events.
enum Cutter {
    Events(Events),
    Lines(Lines),
}

impl Cutter {
    fn of(framing: Framing) -> Self {
        match framing {
            Framing::Lines => Self::Lines(Lines::default()),
            Framing::ServerSent => Self::Events(Events::default()),
        }
    }

    fn feed(&mut self, piece: &[u8]) -> Result<Vec<String>, EventTooLarge> {
        match self {
            Self::Events(events) => events.feed(piece),
            Self::Lines(lines) => lines.feed(piece),
        }
    }

    fn finish(&mut self) -> Option<String> {
        match self {
            Self::Events(events) => events.finish(),
            Self::Lines(lines) => lines.finish(),
        }
    }
}

/// Reads the answer into the draft: a stream of events, or one document from a server that does not stream.
async fn receive(
    response: Response,
    wire: &dyn Wire,
    draft: &mut Draft<'_>,
    events: Deltas<'_>,
) -> Result<(), ModelError> {
    let json = response.content_type.as_deref().is_some_and(|kind| kind.starts_with("application/json"));
    if json && wire.reads_documents() {
        let text = response.text(limits::MODEL_ANSWER_BYTES).await;
        return wire.read(&text.map_err(|error| draft.named().fetch(error))?, draft, events);
    }
    let mut body = response.stream(limits::MODEL_ANSWER_BYTES);
    let mut stream = Cutter::of(wire.framing());
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
            wire.read(&data, draft, events)?;
        }
        if piece.is_none() {
            return if seen { Ok(()) } else { Err(draft.named().garbage("a stream without any event")) };
        }
    }
    drain(body).await;
    Ok(())
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
        Part::Image { .. } => 0,
        Part::Text { text } => text.len(),
        Part::Thinking { thinking, .. } => thinking.len(),
        Part::ToolCall { name, arguments, .. } => name.len() + arguments.to_string().len(),
    };
    let tokens = |bytes: usize| u64::try_from(bytes.div_ceil(BYTES_PER_TOKEN)).unwrap_or(u64::MAX);
    let (input, output) = (tokens(asked), tokens(content.iter().map(size).sum()));
    Usage { input, output, total_tokens: input.saturating_add(output), ..Usage::default() }
}
