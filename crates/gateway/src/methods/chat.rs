//! `chat.*`: say something, stop what runs, read what was said.

use moltbot_channels::webchat;
use moltbot_policy::session::begins_anew;
use moltbot_protocol::chat::{Aborted, ChatAbortParams, ChatHistory, ChatHistoryParams, ChatSendParams};
use moltbot_protocol::error::WireError;
use moltbot_protocol::event;
use moltbot_protocol::ids::{RunId, SessionKey};
use moltbot_protocol::message::{InboundMessage, ThinkingLevel};
use moltbot_store::{RunStatus, TurnState};
use serde_json::{Value, json};

use std::sync::Arc;

use super::{
    Call, Outcome, approvals, channels, not_kept, session_of, sessions, store_failed, turns, unusable,
};
use crate::channels::keep_pictures;
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
    let mut params: ChatSendParams = call.params()?;
    let session = session_of(shared, &params.session_key, params.agent_id.as_deref())?;
    if let Some(id) = &params.session_id {
        require_same(shared, &session, id).await?;
    }
    if webchat::is_stop_all(&params.message) {
        return Ok(json!({"ok": true, "stopped": turns::now(shared, call.grant.actor()).await?}));
    }
    if webchat::is_stop_word(&params.message) {
        return Ok(aborted(shared.abort_session(&session)));
    }
    let run = RunId::parse(&params.idempotency_key).map_err(|error| WireError::invalid(error.to_string()))?;
    let begun = begin_anew(shared, call, (&session, &run), &params.message).await?;
    let answered = match begun.as_deref() {
        Some("") => Some(Ok("A new conversation has begun.".into())),
        Some(_) => None,
        None => by_text(shared, call, &session, &params.message).await,
    };
    params.message = begun.unwrap_or(params.message);
    if let Some(said) = answered {
        let said = said?;
        let told = webchat::ChatProgress::new(&run, &session).finished(&said, "stop", shared.now_ms());
        shared.hub.broadcast(event::CHAT, &told, Delivery::Must);
        return Ok(json!({"runId": run.as_str(), "status": "ok"}));
    }
    let asks_for_allowance = webchat::is_allowance_word(&params.message);
    let sent = webchat::attachments(params.attachments.as_deref()).map_err(|error| unusable(&error))?;
    let mut message = webchat::chat_message(params, session).map_err(|error| unusable(&error))?;
    if asks_for_allowance {
        return Ok(tell_allowance(shared, &message));
    }
    let actor = call.grant.actor();
    if !sent.is_empty()
        && inbound::wants_files(shared, &message, actor).await.map_err(|error| not_kept(&error))?
    {
        keep_pictures(shared, &mut message, sent).await.map_err(WireError::invalid)?;
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

/// Does what a message says that is a command and no message for the agent; the words to show for it. Nothing for any other
/// message.
async fn by_text(
    shared: &Arc<Shared>,
    call: &Call,
    session: &SessionKey,
    message: &str,
) -> Option<Result<String, WireError>> {
    if let Some(said) = approvals::by_text(shared, call, message).await {
        return Some(said);
    }
    if let Some(said) = sessions::by_text(shared, call, message).await {
        return Some(said);
    }
    if let Some(said) = sessions::queue_by_text(shared, session, message).await {
        return Some(said);
    }
    if let Some(said) = sessions::settings_by_text(shared, call, session, message).await {
        return Some(said);
    }
    channels::help_by_text(message).map(Ok)
}

/// Begins the conversation anew when a message asks for that; what of the message is said in it then. One that was here before
/// begins nothing a second time.
async fn begin_anew(
    shared: &Shared,
    call: &Call,
    (session, run): (&SessionKey, &RunId),
    message: &str,
) -> Result<Option<String>, WireError> {
    let Some(said) = begins_anew(&shared.inbound.sessions.reset_triggers, message) else { return Ok(None) };
    if shared.store.run(run).await.map_err(|error| store_failed(&error))?.is_none() {
        sessions::reset_for(shared, call, session.clone()).await?;
    }
    Ok(Some(said.to_owned()))
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
        return Ok(aborted(shared.abort_session(&session)));
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
    let history = shared
        .store
        .older_history(&session, limit, params.skip.unwrap_or(0))
        .await
        .map_err(|error| store_failed(&error))?;
    let row = shared.store.session(&session).await.map_err(|error| store_failed(&error))?;
    let thinking = row.and_then(|row| row.options.thinking_level);
    let thinking = thinking.or(shared.agent.defaults().thinking_default);
    let history = ChatHistory {
        session_key: session.into(),
        session_id: history.session_id,
        messages: history.messages,
        thinking_level: thinking.map_or("off", ThinkingLevel::name),
    };
    serde_json::to_value(history).map_err(|error| WireError::unavailable(error.to_string()))
}
