//! `agent` and `agent.wait`: run a turn and hear its whole result.

use std::sync::Arc;
use std::time::Duration;

use moltbot_agent::{ToolCallReport, TurnReport};
use moltbot_channels::webchat;
use moltbot_config::limits;
use moltbot_protocol::agent::{AgentParams, AgentWaitParams};
use moltbot_protocol::error::WireError;
use moltbot_protocol::ids::{AgentId, RunId, SessionKey};
use moltbot_store::{RunStatus, TurnState};
use serde_json::{Value, json};

use super::{Call, Outcome, known_agent, not_kept, session, stop_reason, store_failed, unusable};
use crate::channels::keep_pictures;
use crate::dispatch::success;
use crate::inbound::{self, End, Hearing, Received, Run};
use crate::outbox::InFlight;
use crate::shared::Shared;
use crate::stop;

/// How long `agent.wait` waits, when the client does not say.
const WAIT: Duration = Duration::from_secs(30);

/// Answers twice under the same id: `accepted` once the message is on disk, and the result.
pub(super) async fn run(shared: &Arc<Shared>, call: &Call, place: &InFlight) -> Outcome {
    let params: AgentParams = call.params()?;
    if shared.stop.is_stopped() {
        return Err(WireError::unavailable(stop::REFUSED));
    }
    let session = conversation(shared, &params).await?;
    let sent = webchat::attachments(params.attachments.as_deref()).map_err(|error| unusable(&error))?;
    let mut message = webchat::agent_message(params, session).map_err(|error| unusable(&error))?;
    let actor = call.grant.actor();
    if !sent.is_empty()
        && inbound::wants_files(shared, &message, actor).await.map_err(|error| not_kept(&error))?
    {
        keep_pictures(shared, &mut message, sent).await.map_err(WireError::invalid)?;
    }
    let run = match inbound::receive(shared, message, call.grant.actor(), Hearing::Answer)
        .await
        .map_err(|error| not_kept(&error))?
    {
        Received::Fresh(run) => run,
        Received::Duplicate(status) => match shared.inbound.find(&status.run) {
            Some(run) => run,
            None => return again(&status),
        },
    };
    // The conversation is told now, so that a client can stop the run before it ends.
    let accepted = json!({
        "runId": run.id.as_str(),
        "sessionKey": run.session.as_str(),
        "status": "accepted",
        "acceptedAt": run.accepted_ms,
    });
    place.answer(success(&call.id, &accepted.to_string()));
    result(&run).await
}

/// The conversation that the parameters name.
async fn conversation(shared: &Shared, params: &AgentParams) -> Result<SessionKey, WireError> {
    let agent = params.agent_id.as_deref().map(AgentId::parse).transpose();
    let agent = agent.map_err(|error| WireError::invalid(error.to_string()))?;
    let session = match (&params.session_key, &params.session_id) {
        (Some(key), _) => session(shared, key)?,
        (None, Some(id)) => {
            let found = shared.store.find_session(id).await.map_err(|error| store_failed(&error))?;
            found.ok_or_else(|| {
                WireError::invalid(format!("no session has the id {id:?}; see sessions.list"))
            })?
        }
        (None, None) => {
            let agent = agent.clone().unwrap_or_else(|| shared.default_agent());
            known_agent(shared, &agent)?;
            SessionKey::main_of(&agent)
        }
    };
    match agent {
        Some(agent) if agent != session.agent() => {
            Err(WireError::invalid(format!("agent {agent} does not have the session {session}")))
        }
        _ => Ok(session),
    }
}

/// The result of a run, once it has one.
async fn result(run: &Run) -> Outcome {
    match run.ended().await {
        End::Interrupted => Err(WireError::unavailable(
            "the gateway is stopping; the turn is taken up again at the next start",
        )),
        End::Report(report) => finished(run, &report),
    }
}

fn finished(run: &Run, report: &TurnReport) -> Outcome {
    let meta = json!({
        "durationMs": report.ended_ms.saturating_sub(report.started_ms),
        "stopReason": stop_reason(report),
        "aborted": report.state == TurnState::Aborted,
        "agentMeta": {
            "sessionId": run.session_id,
            "sessionKey": run.session.as_str(),
            "provider": report.provider,
            "model": report.model,
            "usage": report.usage,
        },
        "toolCalls": report.tool_calls.iter().map(tool_call).collect::<Vec<_>>(),
    });
    let payloads =
        if report.text.is_empty() { json!([]) } else { json!([{"text": report.text, "mediaUrl": null}]) };
    let payload = |status: &str, summary: &str| {
        json!({
            "runId": run.id.as_str(),
            "status": status,
            "summary": summary,
            "result": {"payloads": payloads, "meta": meta},
        })
    };
    match report.state {
        TurnState::Done => Ok(payload("ok", "completed")),
        TurnState::Aborted => Ok(payload("aborted", "aborted")),
        TurnState::Error | TurnState::Received => {
            let error = report.error.as_deref().unwrap_or("the turn failed without saying why");
            Err(WireError::unavailable(error).with_details(payload("error", error)))
        }
    }
}

fn tool_call(call: &ToolCallReport) -> Value {
    json!({
        "id": call.id,
        "name": call.name,
        "arguments": call.arguments,
        "result": call.result,
        "isError": call.is_error,
    })
}

/// The answer to a message that was sent before and whose run is over, or not known to this process yet.
fn again(status: &RunStatus) -> Outcome {
    let payloads = status.text.as_ref().map(|text| vec![json!({"text": text, "mediaUrl": null})]);
    let mut answer = super::chat::duplicate(status);
    if status.state == TurnState::Error {
        let error = status.error.clone().unwrap_or_else(|| "the turn failed".into());
        return Err(WireError::unavailable(error).with_details(answer));
    }
    if let Some(members) = answer.as_object_mut() {
        let meta = json!({"agentMeta": {"sessionKey": status.session.as_str(), "usage": status.usage}});
        members.insert("result".into(), json!({"payloads": payloads.unwrap_or_default(), "meta": meta}));
    }
    Ok(answer)
}

/// Waits for a run to end, for as long as the client says.
pub(super) async fn wait(shared: &Arc<Shared>, call: &Call) -> Outcome {
    let params: AgentWaitParams = call.params()?;
    let run = RunId::parse(&params.run_id).map_err(|error| WireError::invalid(error.to_string()))?;
    let patience = params.timeout_ms.map_or(WAIT, Duration::from_millis).min(limits::AGENT_WAIT);
    if let Some(found) = shared.inbound.find(&run) {
        return Ok(match tokio::time::timeout(patience, found.ended()).await {
            Err(_) | Ok(End::Interrupted) => json!({"runId": run.as_str(), "status": "timeout"}),
            Ok(End::Report(report)) => {
                let times = (Some(report.started_ms), Some(report.ended_ms));
                ended(&run, report.state, times, report.error.as_deref())
            }
        });
    }
    let status = shared.store.run(&run).await.map_err(|error| store_failed(&error))?;
    let status =
        status.ok_or_else(|| WireError::invalid(format!("no run has the id {run:?}", run = run.as_str())))?;
    Ok(ended(&run, status.state, (Some(status.accepted_ms), status.ended_ms), status.error.as_deref()))
}

fn ended(run: &RunId, state: TurnState, times: (Option<u64>, Option<u64>), error: Option<&str>) -> Value {
    let (status, error) = match state {
        TurnState::Done => ("ok", None),
        TurnState::Aborted => ("error", Some("aborted")),
        TurnState::Error => ("error", error),
        TurnState::Received => ("timeout", None),
    };
    let mut answer = json!({"runId": run.as_str(), "status": status, "startedAt": times.0});
    if let Some(members) = answer.as_object_mut() {
        if let Some(at) = times.1 {
            members.insert("endedAt".into(), at.into());
        }
        if let Some(error) = error {
            members.insert("error".into(), error.into());
        }
    }
    answer
}
