//! `chat.*`: say something, stop what runs, read what was said.

use moltbot_channels::webchat;
use moltbot_protocol::chat::{Aborted, ChatAbortParams, ChatHistory, ChatHistoryParams, ChatSendParams};
use moltbot_protocol::error::WireError;
use moltbot_protocol::event;
use moltbot_protocol::ids::{RunId, SessionKey};
use moltbot_protocol::message::InboundMessage;
use moltbot_store::{RunStatus, TurnState};
use serde_json::{Value, json};

use std::sync::Arc;

use super::{Call, Outcome, approvals, not_kept, session_of, sessions, store_failed, turns, unusable};
use crate::inbound::{self, Hearing, Received};
use crate::outbox::Delivery;
use crate::shared::Shared;
use crate::stop;

/// Messages of a history, when the client does not say.
const HISTORY: u32 = 200;
/// Messages of a history at most.
const HISTORY_MAX: u32 = 1000;

/// Acknowledges a message once it is on disk, or stops what runs when the message is a word that says so.
pub(super) async fn send(shared: &Arc<Shared>, call: &Call) -> Outcome {
    let params: ChatSendParams = call.params()?;
    let session = session_of(shared, &params.session_key, params.agent_id.as_deref())?;
    if let Some(id) = &params.session_id {
        require_same(shared, &session, id).await?;
    }
    if webchat::is_stop_all(&params.message) {
        return Ok(json!({"ok": true, "stopped": turns::now(shared, call.grant.actor()).await?}));
    }
    if webchat::is_stop_word(&params.message) {
        return Ok(aborted(shared.inbound.abort_session(&session)));
    }
    let mut answered = approvals::by_text(shared, call, &params.message).await;
    if answered.is_none() {
        answered = sessions::by_text(shared, call, &params.message).await;
    }
    if let Some(said) = answered {
        let said = said?;
        let run =
            RunId::parse(&params.idempotency_key).map_err(|error| WireError::invalid(error.to_string()))?;
        let told = webchat::ChatProgress::new(&run, &session).finished(&said, "stop", shared.now_ms());
        shared.hub.broadcast(event::CHAT, &told, Delivery::Must);
        return Ok(json!({"runId": run.as_str(), "status": "ok"}));
    }
    let asks_for_allowance = webchat::is_allowance_word(&params.message);
    let message = webchat::chat_message(params, session).map_err(|error| unusable(&error))?;
    let run = message.run.clone();
    if asks_for_allowance {
        return Ok(tell_allowance(shared, &message));
    }
    match inbound::receive(shared, message, call.grant.actor(), Hearing::End)
        .await
        .map_err(|error| not_kept(&error))?
    {
        Received::Fresh(kept) if shared.stop.is_stopped() => {
            // It takes the place of what the turn will say, as all that is said of a run so far.
            let mut progress = webchat::ChatProgress::new(&run, &kept.session);
            let event = progress.delta(stop::SENTENCE, shared.now_ms());
            shared.hub.broadcast(event::CHAT, &event, Delivery::Must);
            Ok(json!({"runId": run.as_str(), "status": "started", "notice": stop::SENTENCE}))
        }
        Received::Fresh(_) => Ok(json!({"runId": run.as_str(), "status": "started"})),
        Received::Duplicate(status) => Ok(duplicate(&status)),
    }
}

/// Says in the conversation what was used today. No model is asked, and nothing of it stays in the transcript.
fn tell_allowance(shared: &Shared, message: &InboundMessage) -> Value {
    let text = shared.allowances.answer(&message.principal);
    let mut progress = webchat::ChatProgress::new(&message.run, &message.session);
    let told = progress.finished(&text, "stop", shared.now_ms());
    shared.hub.broadcast(event::CHAT, &told, Delivery::Must);
    json!({"runId": message.run.as_str(), "status": "started"})
}

/// Demands that the session is the one that the client knows.
async fn require_same(shared: &Shared, session: &SessionKey, id: &str) -> Result<(), WireError> {
    let current = shared.store.session(session).await.map_err(|error| store_failed(&error))?;
    match current {
        Some(current) if current.session_id != id => Err(WireError::invalid(format!(
            "session {session} was begun anew since; look at it and send the message again"
        ))),
        Some(_) | None => Ok(()),
    }
}

/// How far a message is that was sent before.
pub(super) fn duplicate(status: &RunStatus) -> Value {
    let run = status.run.as_str();
    match status.state {
        TurnState::Aborted => json!({"runId": run, "status": "aborted"}),
        TurnState::Done => json!({"runId": run, "status": "ok"}),
        TurnState::Error => json!({"runId": run, "status": "error", "summary": status.error}),
        TurnState::Received => json!({"runId": run, "status": "in_flight"}),
    }
}

fn aborted(run_ids: Vec<String>) -> Value {
    let aborted = Aborted { ok: true, aborted: !run_ids.is_empty(), run_ids };
    serde_json::to_value(aborted).unwrap_or_default()
}

/// Stops one run of a session, or all of them.
pub(super) fn abort(shared: &Shared, call: &Call) -> Outcome {
    let params: ChatAbortParams = call.params()?;
    let session = session_of(shared, &params.session_key, params.agent_id.as_deref())?;
    let Some(run) = params.run_id else {
        return Ok(aborted(shared.inbound.abort_session(&session)));
    };
    let run = RunId::parse(&run).map_err(|error| WireError::invalid(error.to_string()))?;
    match shared.inbound.find(&run) {
        None => Ok(aborted(Vec::new())),
        Some(found) if found.session != session => Err(WireError::invalid("runId does not match sessionKey")),
        Some(found) => {
            found.abort();
            Ok(aborted(vec![run.into()]))
        }
    }
}

/// What was said in a session.
pub(super) async fn history(shared: &Shared, call: &Call) -> Outcome {
    let params: ChatHistoryParams = call.params()?;
    let limit = params.limit.unwrap_or(HISTORY);
    if !(1..=HISTORY_MAX).contains(&limit) {
        return Err(WireError::invalid(format!("limit must be 1 to {HISTORY_MAX}, not {limit}")));
    }
    let session = session_of(shared, &params.session_key, params.agent_id.as_deref())?;
    let history = shared.store.history(&session, limit).await.map_err(|error| store_failed(&error))?;
    let history = ChatHistory {
        session_key: session.into(),
        session_id: history.session_id,
        messages: history.messages,
        thinking_level: "off",
    };
    serde_json::to_value(history).map_err(|error| WireError::unavailable(error.to_string()))
}
