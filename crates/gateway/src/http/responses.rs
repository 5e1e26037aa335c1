//! `POST /v1/responses`: one turn in the form of OpenAI's Responses.
//!
//! It is the turn that a chat completion is: only what is read and written looks otherwise. Nothing is kept for a caller
//! beside the session; tools are the agent's own.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::Stream;
use futures_util::stream::unfold;
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use moltbot_agent::TurnReport;
use moltbot_protocol::message::StopReason;
use moltbot_protocol::openai::{ChatCompletionRequest, ChatMessage};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::OwnedSemaphorePermit;

use super::answer::{self, Body};
use super::completions::reply::{data, outcome};
use super::completions::{Failure, read, start};
use super::route::Class;
use crate::inbound::AbortOnDrop;
use crate::shared::Shared;

/// The body of a request. Unknown members are accepted, as of chat completions: none of them can raise a right.
#[derive(Debug, Deserialize)]
struct ResponsesRequest {
    #[serde(default)]
    model: Option<String>,
    input: Value,
    #[serde(default)]
    instructions: Option<String>,
    #[serde(default)]
    previous_response_id: Option<String>,
    #[serde(default)]
    stream: bool,
    #[serde(default)]
    tools: Option<Vec<Value>>,
    #[serde(default)]
    user: Option<String>,
}

/// Answers a request of the actor `from`. `place` is given back when the answer has left.
pub(super) async fn answer(
    shared: &Arc<Shared>,
    from: &str,
    class: Class,
    place: OwnedSemaphorePermit,
    request: Request<Incoming>,
) -> Response<Body> {
    match begin(shared, from, class, request).await {
        Ok((about, run, true)) => answer::events(stream(about, run, place)),
        Ok((about, run, false)) => {
            let response = whole(&about, &run).await;
            drop(place);
            response
        }
        Err(failure) => answer::error(failure.status, failure.kind, &failure.message),
    }
}

async fn begin(
    shared: &Arc<Shared>,
    from: &str,
    class: Class,
    request: Request<Incoming>,
) -> Result<(About, AbortOnDrop, bool), Failure> {
    let headers = request.headers().clone();
    let request: ResponsesRequest = read(shared, request, class).await?;
    let stream = request.stream;
    let request = completion(request).map_err(Failure::invalid)?;
    let run = start(shared, from, &headers, &request).await?;
    let about = About {
        id: run.id.as_str().to_owned(),
        created: shared.now_ms() / 1000,
        model: request.model.unwrap_or_else(|| "moltbot".into()),
    };
    Ok((about, AbortOnDrop(run), stream))
}

/// The chat completion that says the same.
fn completion(request: ResponsesRequest) -> Result<ChatCompletionRequest, String> {
    if request.tools.is_some_and(|tools| !tools.is_empty()) {
        return Err("the agent calls its own tools and none of the caller's; leave out `tools`".into());
    }
    if request.previous_response_id.is_some() {
        let header = "x-moltbot-session-key";
        return Err(format!("answers are kept in sessions: name one in the header `{header}` or by `user`"));
    }
    let message = |role: &str, content: Value| ChatMessage { role: role.into(), content: Some(content) };
    let mut messages: Vec<ChatMessage> = Vec::new();
    messages.extend(request.instructions.map(|text| message("system", text.into())));
    match request.input {
        Value::String(text) => messages.push(message("user", text.into())),
        Value::Array(items) => {
            for item in items {
                messages.push(message_of(item)?);
            }
        }
        _ => return Err("`input` is a text or a list of items".into()),
    }
    let (model, stream, user) = (request.model, request.stream, request.user);
    Ok(ChatCompletionRequest { model, messages, stream, stream_options: None, user })
}

fn message_of(item: Value) -> Result<ChatMessage, String> {
    let kind = item.get("type").and_then(Value::as_str).unwrap_or("message");
    if kind != "message" {
        return Err(format!("an item of the type {kind:?} is not taken; send messages"));
    }
    let is_words = |part: &Value| part.get("text").is_some_and(Value::is_string);
    let parts = item.get("content").and_then(Value::as_array);
    if parts.is_some_and(|parts| !parts.iter().all(is_words)) {
        return Err("only words are taken; send pictures with `chat.send`".into());
    }
    serde_json::from_value(item).map_err(|error| format!("an item of `input` is no message: {error}"))
}

/// What every part of an answer repeats.
struct About {
    id: String,
    created: u64,
    model: String,
}

impl About {
    /// The response, as far as it is.
    fn response(&self, status: &str, report: Option<&TurnReport>) -> Value {
        let output: Vec<Value> = report.iter().map(|report| self.item("completed", &report.text)).collect();
        let cut = report.is_some_and(|report| report.stop_reason == StopReason::Length);
        let incomplete = if cut { json!({"reason": "max_output_tokens"}) } else { Value::Null };
        json!({
            "id": format!("resp_{}", self.id), "object": "response", "created_at": self.created, "status": status,
            "model": self.model, "output": output, "error": null, "incomplete_details": incomplete,
            "parallel_tool_calls": false, "tool_choice": "auto", "tools": [], "usage": report.map(usage),
        })
    }

    /// The status of a response that ended.
    fn status(report: &TurnReport) -> &'static str {
        if report.stop_reason == StopReason::Length { "incomplete" } else { "completed" }
    }

    fn item(&self, status: &str, text: &str) -> Value {
        let content: Vec<Value> = (status == "completed").then(|| part(text)).into_iter().collect();
        json!({
            "id": format!("msg_{}", self.id), "type": "message", "role": "assistant", "status": status,
            "content": content,
        })
    }

    /// An event of the message's one part.
    fn of_part(&self, kind: &str, member: &str, value: &Value) -> Bytes {
        let id = format!("msg_{}", self.id);
        event(kind, json!({"item_id": id, "output_index": 0, "content_index": 0, member: value}))
    }
}

fn part(text: &str) -> Value {
    json!({"type": "output_text", "text": text, "annotations": []})
}

fn event(kind: &str, mut event: Value) -> Bytes {
    if let Some(members) = event.as_object_mut() {
        members.insert("type".into(), kind.into());
    }
    let mut bytes = format!("event: {kind}\n").into_bytes();
    bytes.extend_from_slice(&data(&event.to_string()));
    Bytes::from(bytes)
}

fn usage(report: &TurnReport) -> Value {
    let usage = report.usage;
    let read = usage.input.saturating_add(usage.cache_read).saturating_add(usage.cache_write);
    json!({
        "input_tokens": read, "input_tokens_details": {"cached_tokens": usage.cache_read},
        "output_tokens": usage.output, "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": read.saturating_add(usage.output),
    })
}

/// Waits for the end of the turn and answers with all of it.
async fn whole(about: &About, run: &AbortOnDrop) -> Response<Body> {
    match outcome(run.0.ended().await) {
        Ok(report) => answer::json(StatusCode::OK, &about.response(About::status(&report), Some(&report))),
        Err(failure) => answer::error(failure.status, failure.kind, &failure.message),
    }
}

/// What comes next in a stream.
enum Next {
    Begin,
    Words,
    End(Arc<TurnReport>),
    Done,
    Nothing,
}

/// The events of an answer. Dropping the stream stops the turn.
fn stream(about: About, run: AbortOnDrop, place: OwnedSemaphorePermit) -> impl Stream<Item = Bytes> + Send {
    unfold((about, run, place, Next::Begin), async |(about, run, place, next)| {
        let (event, next) = step(&about, &run, next).await?;
        Some((event, (about, run, place, next)))
    })
}

async fn step(about: &About, run: &AbortOnDrop, next: Next) -> Option<(Bytes, Next)> {
    Some(match next {
        Next::Begin => (begun(about), Next::Words),
        Next::Words => match run.0.next_words().await {
            Some(words) => {
                (about.of_part("response.output_text.delta", "delta", &words.to_string().into()), Next::Words)
            }
            None => match outcome(run.0.ended().await) {
                Ok(report) => (ended(about, &report), Next::End(report)),
                Err(failure) => {
                    let mut response = about.response("failed", None);
                    if let Some(members) = response.as_object_mut() {
                        members.insert(
                            "error".into(),
                            json!({"code": failure.kind, "message": failure.message}),
                        );
                    }
                    (event("response.failed", json!({"response": response})), Next::Done)
                }
            },
        },
        Next::End(report) => {
            let status = About::status(&report);
            let response = about.response(status, Some(&report));
            (event(&format!("response.{status}"), json!({"response": response})), Next::Done)
        }
        Next::Done => (data("[DONE]"), Next::Nothing),
        Next::Nothing => return None,
    })
}

/// What comes before the first word.
fn begun(about: &About) -> Bytes {
    let response = about.response("in_progress", None);
    let item = about.item("in_progress", "");
    let events = [
        event("response.created", json!({"response": response.clone()})),
        event("response.in_progress", json!({"response": response})),
        event("response.output_item.added", json!({"output_index": 0, "item": item})),
        about.of_part("response.content_part.added", "part", &part("")),
    ];
    Bytes::from(events.concat())
}

/// What comes after the last word.
fn ended(about: &About, report: &TurnReport) -> Bytes {
    let item = about.item("completed", &report.text);
    let events = [
        about.of_part("response.output_text.done", "text", &report.text.clone().into()),
        about.of_part("response.content_part.done", "part", &part(&report.text)),
        event("response.output_item.done", json!({"output_index": 0, "item": item})),
    ];
    Bytes::from(events.concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(value: Value) -> Result<Vec<(String, String)>, String> {
        let request = completion(serde_json::from_value(value).unwrap())?;
        Ok(request.messages.iter().map(|message| (message.role.clone(), message.text())).collect())
    }

    #[test]
    fn a_request_is_a_chat_completion_or_says_why_not() {
        let said = |role: &str, text: &str| (role.to_owned(), text.to_owned());
        assert_eq!(
            read(json!({"input": "hi", "instructions": "be brief", "tools": []})),
            Ok(vec![said("system", "be brief"), said("user", "hi")])
        );
        let parts = json!([
            {"role": "user", "content": "one"},
            {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "two"}]},
            {"role": "user", "content": [{"type": "input_text", "text": "three"}]},
        ]);
        let expected = vec![said("user", "one"), said("assistant", "two"), said("user", "three")];
        assert_eq!(read(json!({"input": parts})), Ok(expected));
        for (request, expected) in [
            (json!({"input": 7}), "`input` is a text"),
            (json!({"input": "hi", "tools": [{"type": "function"}]}), "leave out `tools`"),
            (json!({"input": "hi", "previous_response_id": "resp_1"}), "x-moltbot-session-key"),
            (json!({"input": [{"type": "function_call_output"}]}), "\"function_call_output\" is not taken"),
            (json!({"input": [{"role": "user", "content": [{"type": "input_image"}]}]}), "only words"),
        ] {
            let error = read(request.clone()).unwrap_err();
            assert!(error.contains(expected), "{request}: {error}");
        }
    }
}
