//! `POST /v1/chat/completions`: one turn in the form that OpenAI's libraries speak.
//!
//! The turn is an ordinary one: it is on disk before the first byte of the answer, waits in its session's
//! line, and is stopped when the client hangs up.

pub(super) mod reply;

use std::sync::Arc;

use http::header::HeaderName;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::{Body as _, Incoming};
use moltbot_channels::webchat::{self, Conversation};
use moltbot_config::limits;
use moltbot_policy::allowance::SPENT;
use moltbot_protocol::ids::{AgentId, RunId, SessionKey};
use moltbot_protocol::openai::ChatCompletionRequest;
use serde::de::DeserializeOwned;
use tokio::sync::OwnedSemaphorePermit;

use super::answer::{self, Body};
use super::route::Class;
use super::single;
use crate::inbound::{self, AbortOnDrop, Hearing, InboundError, Received, Run};
use crate::methods::known_agent;
use crate::shared::{LOCKED_DOWN_CODE, Shared, UNRECORDED_CODE};
use crate::stop;

const BRANDS: [&str; 3] = ["moltbot", "clawdbot", "openclaw"];

/// Why there is no completion.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) status: StatusCode,
    pub(super) kind: &'static str,
    pub(super) message: String,
}

impl Failure {
    pub(super) fn new(status: StatusCode, kind: &'static str, message: impl Into<String>) -> Self {
        Self { status, kind, message: message.into() }
    }

    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_request_error", message)
    }
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
        Ok((request, run)) => {
            let about = reply::About::new(&request, run.id.as_str(), shared.now_ms());
            let run = AbortOnDrop(run);
            if request.stream {
                answer::events(reply::stream(about, run, place))
            } else {
                let response = reply::whole(&about, &run).await;
                drop(place);
                response
            }
        }
        Err(failure) => answer::error(failure.status, failure.kind, &failure.message),
    }
}

/// Reads the request and sets its turn going.
async fn begin(
    shared: &Arc<Shared>,
    from: &str,
    class: Class,
    request: Request<Incoming>,
) -> Result<(ChatCompletionRequest, Arc<Run>), Failure> {
    let headers = request.headers().clone();
    let request: ChatCompletionRequest = read(shared, request, class).await?;
    let run = start(shared, from, &headers, &request).await?;
    Ok((request, run))
}

/// Sets the turn of a request going.
pub(super) async fn start(
    shared: &Arc<Shared>,
    from: &str,
    headers: &HeaderMap,
    request: &ChatCompletionRequest,
) -> Result<Arc<Run>, Failure> {
    let agent = agent(shared, headers, request.model.as_deref())?;
    let run = moltbot_vault::random_id().map_err(|error| {
        Failure::new(StatusCode::INTERNAL_SERVER_ERROR, "server_error", error.to_string())
    })?;
    let (session, conversation) = session(headers, &agent, request.user.as_deref(), &run)?;
    known_agent(shared, &session.agent()).map_err(|error| unknown(&error.message))?;
    let run = RunId::parse(&run).map_err(|error| Failure::invalid(error.to_string()))?;
    let message = webchat::completion_message(request, session, run, conversation)
        .map_err(|error| Failure::invalid(error.to_string()))?;
    let hearing = if request.stream { Hearing::Words } else { Hearing::Answer };
    match inbound::receive(shared, message, from, hearing).await {
        Ok(Received::Fresh(run)) => Ok(run),
        // The run's id was drawn for this request, so no message had it before.
        Ok(Received::Duplicate(_)) => {
            Err(Failure::new(StatusCode::CONFLICT, "conflict", "this request was made before"))
        }
        Err(error) => Err(not_kept(&error)),
    }
}

/// Reads a request, when there is anybody to answer it.
pub(super) async fn read<T: DeserializeOwned>(
    shared: &Shared,
    request: Request<Incoming>,
    class: Class,
) -> Result<T, Failure> {
    if shared.stop.is_stopped() {
        return Err(Failure::new(StatusCode::SERVICE_UNAVAILABLE, "stopped", stop::REFUSED));
    }
    let body = read_body(request.into_body(), class).await?;
    serde_json::from_slice(&body).map_err(|error| Failure::invalid(format!("invalid body: {error}")))
}

async fn read_body(body: Incoming, class: Class) -> Result<bytes::Bytes, Failure> {
    let too_large = || {
        let message = format!("the body is larger than {} bytes", class.body);
        Failure::new(StatusCode::PAYLOAD_TOO_LARGE, "request_too_large", message)
    };
    if body.size_hint().lower() > u64::try_from(class.body).unwrap_or(u64::MAX) {
        return Err(too_large()); // said beforehand: not one byte of it is taken
    }
    let reading = Limited::new(body, class.body).collect();
    match tokio::time::timeout(limits::BODY, reading).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
        Ok(Err(_)) => Err(Failure::invalid("the body could not be read")),
        Err(_) => {
            let message = "the body did not come in time";
            Err(Failure::new(StatusCode::REQUEST_TIMEOUT, "timeout", message))
        }
    }
}

/// A header of any brand, such as `x-moltbot-session-key`.
fn branded<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    BRANDS.iter().find_map(|brand| {
        let name = HeaderName::try_from(format!("x-{brand}-{name}")).ok()?;
        single(headers, name).ok().flatten().filter(|value| !value.trim().is_empty())
    })
}

/// The agent that is asked: by header, by the model's name, else the default one. A name that is no form of
/// ours means the default agent: libraries demand some model, and callers put their favourite there.
fn agent(shared: &Shared, headers: &HeaderMap, model: Option<&str>) -> Result<AgentId, Failure> {
    let named = branded(headers, "agent-id").or_else(|| model.and_then(agent_of_model));
    let Some(named) = named else { return Ok(shared.default_agent()) };
    let agent = AgentId::parse(named).map_err(|error| unknown(&error.to_string()))?;
    known_agent(shared, &agent).map_err(|error| unknown(&error.message))?;
    Ok(agent)
}

fn unknown(message: &str) -> Failure {
    Failure::new(StatusCode::NOT_FOUND, "model_not_found", message)
}

/// `moltbot:agent`, `moltbot/agent`, the same of other brands, and `agent:name`.
fn agent_of_model(model: &str) -> Option<&str> {
    let (brand, agent) = model.split_once([':', '/'])?;
    let ours = BRANDS.contains(&brand) || (brand == "agent" && model.starts_with("agent:"));
    (ours && !agent.is_empty()).then_some(agent)
}

/// The conversation: by header, by the caller's user, else one of this request alone.
fn session(
    headers: &HeaderMap,
    agent: &AgentId,
    user: Option<&str>,
    run: &str,
) -> Result<(SessionKey, Conversation), Failure> {
    let key = branded(headers, "session-key");
    let user = user.map(str::trim).filter(|user| !user.is_empty());
    let (text, conversation) = match (key, user) {
        (Some(key), _) => (key.to_owned(), Conversation::Kept),
        (None, Some(user)) => (format!("agent:{agent}:openai-user:{user}"), Conversation::Kept),
        (None, None) => (format!("agent:{agent}:openai:{run}"), Conversation::Once),
    };
    let key = SessionKey::parse(&text, agent).map_err(|error| Failure::invalid(error.to_string()))?;
    Ok((key, conversation))
}

fn not_kept(error: &InboundError) -> Failure {
    let (status, kind) = match error {
        InboundError::Elsewhere(_) | InboundError::Reused => (StatusCode::CONFLICT, "conflict"),
        InboundError::Full => (StatusCode::TOO_MANY_REQUESTS, "rate_limited"),
        InboundError::Spent(_) => (StatusCode::TOO_MANY_REQUESTS, SPENT),
        InboundError::LockedDown => (StatusCode::SERVICE_UNAVAILABLE, LOCKED_DOWN_CODE),
        InboundError::Unrecorded(_) => (StatusCode::SERVICE_UNAVAILABLE, UNRECORDED_CODE),
        InboundError::Quarantined(refusal) => (StatusCode::LOCKED, refusal.code),
        InboundError::Stopping => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
        InboundError::Broken | InboundError::Store(_) => {
            tracing::error!(%error, "a message could not be kept");
            (StatusCode::INTERNAL_SERVER_ERROR, "server_error")
        }
    };
    Failure::new(status, kind, error.to_string())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn a_model_of_any_brand_names_an_agent() {
        for (model, expected) in [
            ("moltbot:work", Some("work")),
            ("clawdbot/work", Some("work")),
            ("openclaw:work", Some("work")),
            ("agent:work", Some("work")),
            ("moltbot", None),
            ("moltbot:", None),
            ("openai/gpt-5", None),
            ("gpt-5", None),
        ] {
            assert_eq!(agent_of_model(model), expected, "model {model}");
        }
    }

    #[test]
    fn the_conversation_is_named_by_header_then_user_then_request() {
        let mut headers = HeaderMap::new();
        let key = |headers: &HeaderMap, user| {
            let (key, conversation) = session(headers, &AgentId::main(), user, "r1").unwrap();
            (key.to_string(), conversation)
        };
        assert_eq!(key(&headers, None), ("agent:main:openai:r1".into(), Conversation::Once));
        assert_eq!(key(&headers, Some(" ")), ("agent:main:openai:r1".into(), Conversation::Once));
        assert_eq!(key(&headers, Some("Ann")), ("agent:main:openai-user:ann".into(), Conversation::Kept));
        headers.insert("x-clawdbot-session-key", HeaderValue::from_static("notes"));
        assert_eq!(key(&headers, Some("Ann")), ("agent:main:notes".into(), Conversation::Kept));
        assert!(session(&HeaderMap::new(), &AgentId::main(), Some("a b"), "r1").is_err());
    }
}
