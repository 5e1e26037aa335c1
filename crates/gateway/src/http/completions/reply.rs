//! The answers of a chat completion: whole, or chunk by chunk.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::Stream;
use futures_util::stream::unfold;
use http::{Response, StatusCode};
use moltbot_agent::TurnReport;
use moltbot_protocol::message::{StopReason, Usage};
use moltbot_protocol::openai::{ChatCompletionRequest, CompletionUsage, ErrorBody};
use moltbot_store::TurnState;
use serde_json::{Value, json};
use tokio::sync::OwnedSemaphorePermit;

use super::Failure;
use crate::http::answer::{self, Body};
use crate::inbound::{AbortOnDrop, End};

/// What every part of an answer repeats.
pub(super) struct About {
    id: String,
    created: u64,
    model: String,
    include_usage: bool,
}

impl About {
    pub(super) fn new(request: &ChatCompletionRequest, run: &str, now_ms: u64) -> Self {
        Self {
            id: format!("chatcmpl-{run}"),
            created: now_ms / 1000,
            model: request.model.clone().unwrap_or_else(|| "moltbot".into()),
            include_usage: request.stream_options.as_ref().is_some_and(|options| options.include_usage),
        }
    }

    fn chunk(&self, delta: &Value, finish_reason: Option<&str>) -> Bytes {
        self.event(&json!([{"index": 0, "delta": delta, "finish_reason": finish_reason}]), None)
    }

    fn event(&self, choices: &Value, usage: Option<CompletionUsage>) -> Bytes {
        let mut chunk = json!({
            "id": self.id,
            "object": "chat.completion.chunk",
            "created": self.created,
            "model": self.model,
            "choices": choices,
        });
        if let (Some(usage), Some(members)) = (usage, chunk.as_object_mut()) {
            members.insert("usage".into(), json!(usage));
        }
        data(&chunk.to_string())
    }
}

pub(in crate::http) fn data(text: &str) -> Bytes {
    Bytes::from(format!("data: {text}\n\n"))
}

/// Waits for the end of the turn and answers with all of it.
pub(super) async fn whole(about: &About, run: &AbortOnDrop) -> Response<Body> {
    let report = match outcome(run.0.ended().await) {
        Ok(report) => report,
        Err(failure) => return answer::error(failure.status, failure.kind, &failure.message),
    };
    let message = json!({"role": "assistant", "content": report.text, "refusal": null});
    let choice = json!({"index": 0, "message": message, "finish_reason": finish_reason(&report)});
    let completion = json!({
        "id": about.id,
        "object": "chat.completion",
        "created": about.created,
        "model": about.model,
        "choices": [choice],
        "usage": usage(report.usage),
    });
    answer::json(StatusCode::OK, &completion)
}

/// What comes next in a stream.
enum Next {
    Role,
    Words,
    Usage(Arc<TurnReport>),
    Done,
    Nothing,
}

/// The events of an answer: role, words as they are said, the reason for the end, the usage when it is asked
/// for, and `[DONE]`. Dropping the stream stops the turn.
pub(super) fn stream(
    about: About,
    run: AbortOnDrop,
    place: OwnedSemaphorePermit,
) -> impl Stream<Item = Bytes> + Send {
    unfold((about, run, place, Next::Role), async |(about, run, place, next)| {
        let (event, next) = step(&about, &run, next).await?;
        Some((event, (about, run, place, next)))
    })
}

async fn step(about: &About, run: &AbortOnDrop, next: Next) -> Option<(Bytes, Next)> {
    Some(match next {
        Next::Role => (about.chunk(&json!({"role": "assistant", "content": ""}), None), Next::Words),
        Next::Words => match run.0.next_words().await {
            Some(words) => (about.chunk(&json!({ "content": words }), None), Next::Words),
            None => match outcome(run.0.ended().await) {
                Ok(report) => {
                    let last = about.chunk(&json!({}), Some(finish_reason(&report)));
                    (last, if about.include_usage { Next::Usage(report) } else { Next::Done })
                }
                Err(failure) => {
                    let body = ErrorBody::new(failure.kind, failure.message);
                    (data(&serde_json::to_string(&body).unwrap_or_default()), Next::Nothing)
                }
            },
        },
        Next::Usage(report) => (about.event(&json!([]), Some(usage(report.usage))), Next::Done),
        Next::Done => (data("[DONE]"), Next::Nothing),
        Next::Nothing => return None,
    })
}

/// The report of a turn that was answered.
pub(in crate::http) fn outcome(end: End) -> Result<Arc<TurnReport>, Failure> {
    let report = match end {
        End::Report(report) => report,
        End::Interrupted => {
            let message = "the gateway is stopping; the turn is taken up again at the next start";
            return Err(Failure::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", message));
        }
    };
    match report.state {
        TurnState::Done => Ok(report),
        TurnState::Aborted => {
            Err(Failure::new(StatusCode::INTERNAL_SERVER_ERROR, "aborted", "the turn was stopped"))
        }
        TurnState::Error | TurnState::Received => {
            let message = report.error.clone().unwrap_or_else(|| "the turn failed without saying why".into());
            Err(Failure::new(StatusCode::BAD_GATEWAY, "api_error", message))
        }
    }
}

/// Tools are called by the agent, not by the caller: a turn that ends is stopped or cut.
fn finish_reason(report: &TurnReport) -> &'static str {
    match report.stop_reason {
        StopReason::Length => "length",
        StopReason::Aborted | StopReason::Error | StopReason::Stop | StopReason::ToolUse => "stop",
    }
}

fn usage(usage: Usage) -> CompletionUsage {
    let prompt = usage.input.saturating_add(usage.cache_read).saturating_add(usage.cache_write);
    CompletionUsage {
        prompt_tokens: prompt,
        completion_tokens: usage.output,
        total_tokens: prompt.saturating_add(usage.output),
    }
}
