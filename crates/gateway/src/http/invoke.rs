//! `POST /tools/invoke`: one call of a tool by a program that has signed in, without a model.
//!
//! What runs commands or touches files is not there, as upstream has it: a tool that acts is called by the agent, within a turn
//! that the book knows the cause of. What is left tells, and changes nothing.

use std::sync::Arc;

use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use moltbot_policy::cause::Tool;
use moltbot_policy::{Book as _, Decision, Entry};
use moltbot_protocol::ids::{RunId, SessionKey};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::sync::OwnedSemaphorePermit;

use super::answer::{self, Body};
use super::completions::{Failure, read};
use super::route::Class;
use crate::methods::known_agent;
use crate::shared::{Shared, UNRECORDED_CODE};

/// The tools that can be called so.
const CALLABLE: [Tool; 1] = [Tool::SessionStatus];

/// A call.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Invocation {
    tool: String,
    #[serde(default)]
    action: Option<String>,
    #[serde(default)]
    args: Map<String, Value>,
    #[serde(default)]
    session_key: Option<String>,
    /// Whether it is only looked at whether it could be called.
    #[serde(default)]
    dry_run: bool,
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
        Ok(invocation) => invoke(shared, from, invocation).await,
        Err(failure) => Err(failure),
    };
    drop(place);
    match answered {
        Ok(result) => answer::json(StatusCode::OK, &json!({"ok": true, "result": result})),
        Err(Failure { status, kind, message }) => {
            answer::closing(status, &json!({"ok": false, "error": {"type": kind, "message": message}}))
        }
    }
}

async fn invoke(shared: &Arc<Shared>, from: &str, invocation: Invocation) -> Result<Value, Failure> {
    let tool = CALLABLE.into_iter().find(|tool| tool.name() == invocation.tool.trim());
    let missing = || {
        let message = format!("Tool not available: {}", invocation.tool.trim());
        Failure::new(StatusCode::NOT_FOUND, "not_found", message)
    };
    let tool = tool.ok_or_else(missing)?;
    let agent = shared.default_agent();
    let session = match &invocation.session_key {
        None => SessionKey::main_of(&agent),
        Some(key) => SessionKey::parse(key, &agent).map_err(|error| Failure::invalid(error.to_string()))?,
    };
    known_agent(shared, &session.agent()).map_err(|error| Failure::invalid(error.message))?;
    let run = moltbot_vault::random_id().map_err(|error| failed(&error))?;
    let run = RunId::parse(&run).map_err(|error| failed(&error))?;
    let cause = shared.agent.cause_of_owner(session, run);
    // The config may take it from the agent: then nobody has it.
    if !cause.tools().contains(&tool) {
        return Err(missing());
    }
    if invocation.action.is_some() || !invocation.args.is_empty() {
        let message = format!("{} takes no action and no arguments", tool.name());
        return Err(Failure::new(StatusCode::BAD_REQUEST, "tool_error", message));
    }
    if invocation.dry_run {
        return Ok(json!({"dryRun": true, "tool": tool.name()}));
    }
    let entry = Entry::new(from, "session.status", cause.session().as_str(), Decision::Allowed);
    let entered = shared.ledger.enter_soon(vec![cause.tell(entry)]).await;
    entered.map_err(|unrecorded| {
        tracing::error!(%unrecorded, "a call of a tool could not be recorded");
        let message = "the tool was not called: that cannot be recorded";
        Failure::new(StatusCode::SERVICE_UNAVAILABLE, UNRECORDED_CODE, message)
    })?;
    let told = shared.agent.session_status(cause.session()).await.map_err(|error| failed(&error))?;
    Ok(json!({"content": [{"type": "text", "text": told}]}))
}

fn failed(error: &dyn std::error::Error) -> Failure {
    tracing::error!(%error, "a tool could not be called");
    Failure::new(
        StatusCode::INTERNAL_SERVER_ERROR,
        "server_error",
        "the tool could not be called; the log says why",
    )
}
