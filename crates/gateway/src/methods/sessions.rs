//! `sessions.*`: the list of conversations, a glance into several, a new start, an end.

use std::sync::Arc;
use std::time::Duration;

use moltbot_policy::incident::ReleasePermit;
use moltbot_policy::session::ResetPermit;
use moltbot_policy::{Recorded, record_soon};
use moltbot_protocol::error::WireError;
use moltbot_protocol::ids::{AgentId, SessionKey};
use moltbot_protocol::message::{Message, ThinkingLevel, VerboseLevel};
use moltbot_protocol::sessions::{
    SessionKeyParams, SessionReleaseParams, SessionRow, SessionsListParams, SessionsPreviewParams,
};
use moltbot_store::{SessionFilter, StoreError};
use serde_json::{Value, json};

use super::health::defaults;
use super::{Call, Outcome, not_recorded, session, session_of, store_failed};
use crate::quarantine::{self, ReleaseError};
use crate::shared::Shared;

mod find;
mod import;
mod patch;
mod settings;

pub(super) use find::{describe, resolve};
pub(super) use import::import;
pub(super) use patch::{changed, compact, patch, queue_by_text, subscribe};
pub(crate) use patch::{ended, set_queue};
pub(super) use settings::by_text as settings_by_text;
pub(crate) use settings::{Sayer, SettingError, say};

/// How somebody lets a session go on in the web chat.
const RELEASE: &str = "/release";
/// Keys in one preview.
const PREVIEW_KEYS: usize = 64;
/// Messages of one session in a preview, when the client does not say.
const PREVIEW_MESSAGES: u32 = 12;
/// Characters of one message in a preview, when the client does not say.
const PREVIEW_CHARS: u32 = 240;
/// Characters of all texts of one answer.
const PREVIEW_TEXT: u32 = 1_000_000;

pub(super) async fn list(shared: &Shared, call: &Call) -> Outcome {
    let params: SessionsListParams = call.params()?;
    let agent = params.agent_id.as_deref().map(AgentId::parse).transpose();
    let agent = agent.map_err(|error| WireError::invalid(error.to_string()))?;
    if params.limit == Some(0) {
        return Err(WireError::invalid("limit must be at least 1"));
    }
    let now = shared.now_ms();
    let active = params.active_minutes.map(|minutes| Duration::from_secs(minutes.saturating_mul(60)));
    let active = active.map(|age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX));
    let filter = SessionFilter {
        limit: params.limit,
        active_since_ms: active.map(|age| now.saturating_sub(age)),
        agent: agent.clone(),
        label: params.label.as_deref().map(|label| label.trim().to_owned()),
        search: params.search.clone(),
    };
    // No session spawns another: whoever asks for such gets none.
    let nothing = params.spawned_by.is_some();
    let rows = if nothing {
        Vec::new()
    } else {
        shared.store.sessions(filter).await.map_err(|e| store_failed(&e))?
    };
    let rows: Vec<SessionRow> = rows.into_iter().map(|row| shown(shared, row, &params)).collect();
    Ok(json!({
        "ts": now,
        "path": "state.db",
        "count": rows.len(),
        "defaults": defaults(shared, &agent.unwrap_or_else(|| shared.default_agent())),
        "sessions": rows,
    }))
}

fn shown(shared: &Shared, row: moltbot_store::SessionRow, params: &SessionsListParams) -> SessionRow {
    let quarantine = shared.quarantine.of(&row.key);
    let wants = |wanted: Option<bool>, text| if wanted == Some(true) { text } else { None };
    let chosen = row.chosen_model.as_deref().and_then(|chosen| chosen.split_once('/'));
    let (provider, model) = chosen.map(|(provider, model)| (provider.to_owned(), model.to_owned())).unzip();
    SessionRow {
        kind: kind(&row.key),
        key: row.key.into(),
        session_id: row.session_id,
        updated_at: row.updated_ms,
        usage: row.usage,
        total_tokens: row.usage.total_tokens,
        message_count: row.message_count,
        model: model.or(row.model),
        model_provider: provider,
        thinking_level: row.options.thinking_level.map(ThinkingLevel::name),
        verbose_level: row.options.verbose_level.map(VerboseLevel::name),
        label: row.label,
        derived_title: wants(params.include_derived_titles, row.title),
        last_message_preview: wants(params.include_last_message, row.last_message),
        quarantine,
    }
}

fn kind(key: &SessionKey) -> &'static str {
    let group = key.as_str().split(':').any(|part| part == "group" || part == "channel");
    if group { "group" } else { "direct" }
}

pub(super) async fn preview(shared: &Shared, call: &Call) -> Outcome {
    let params: SessionsPreviewParams = call.params()?;
    if params.keys.len() > PREVIEW_KEYS {
        return Err(WireError::invalid(format!("at most {PREVIEW_KEYS} keys can be previewed at once")));
    }
    let limit = params.limit.unwrap_or(PREVIEW_MESSAGES).clamp(1, 100);
    // All texts together have a limit; many sessions and messages leave each a smaller part of it.
    let texts = limit.saturating_mul(u32::try_from(params.keys.len()).unwrap_or(u32::MAX)).max(1);
    let most = (PREVIEW_TEXT / texts).clamp(1, 10_000);
    let chars = usize::try_from(params.max_chars.unwrap_or(PREVIEW_CHARS).clamp(1, most)).unwrap_or(1);
    let mut previews = Vec::with_capacity(params.keys.len());
    for key in &params.keys {
        previews.push(glance(shared, key, limit, chars).await);
    }
    Ok(json!({"ts": shared.now_ms(), "previews": previews}))
}

async fn glance(shared: &Shared, key: &str, limit: u32, chars: usize) -> Value {
    let told = |status: &str, items: Vec<Value>| json!({"key": key, "status": status, "items": items});
    let Ok(session) = session(shared, key) else { return told("missing", Vec::new()) };
    match shared.store.history(&session, limit).await {
        Err(_) => told("error", Vec::new()),
        Ok(history) if history.session_id.is_none() => told("missing", Vec::new()),
        Ok(history) => {
            let items: Vec<Value> = history.messages.iter().filter_map(|said| item(said, chars)).collect();
            told(if items.is_empty() { "empty" } else { "ok" }, items)
        }
    }
}

fn item(message: &Message, chars: usize) -> Option<Value> {
    let role = match message {
        Message::Assistant { .. } => "assistant",
        Message::ToolResult { .. } => "tool",
        Message::User { .. } => "user",
    };
    let text: String = message.text().chars().take(chars).collect();
    (!text.trim().is_empty()).then(|| json!({"role": role, "text": text}))
}

pub(super) async fn reset(shared: &Shared, call: &Call) -> Outcome {
    let params: SessionKeyParams = call.params()?;
    if params.delete_transcript.is_some() {
        return Err(WireError::invalid(
            "invalid sessions.reset params: deleteTranscript belongs to sessions.delete",
        ));
    }
    let key = session_of(shared, &params.key, params.agent_id.as_deref())?;
    let now = shared.now_ms();
    let id = reset_for(shared, call, key.clone()).await?;
    // A session that was never spoken in begins with its first message.
    let entry = id.map(|id| json!({"sessionId": id, "updatedAt": now}));
    Ok(json!({"ok": true, "key": key.as_str(), "entry": entry}))
}

/// Begins a session anew for a client. Answers its new id, when it was ever spoken in.
pub(super) async fn reset_for(
    shared: &Shared,
    call: &Call,
    key: SessionKey,
) -> Result<Option<String>, WireError> {
    let permit = ResetPermit::by_client(&call.grant, key);
    let permit = permit.map_err(|refusal| WireError::invalid(refusal.message))?;
    let permit = record_soon(permit, &shared.ledger).await.map_err(|error| not_recorded(&error))?;
    begin_anew(shared, permit).await.map_err(|error| store_failed(&error))
}

/// Begins a session anew. Answers its new id, when it was ever spoken in.
pub(crate) async fn begin_anew(
    shared: &Shared,
    permit: Recorded<ResetPermit>,
) -> Result<Option<String>, StoreError> {
    let key = permit.permit().session();
    let id = shared.store.reset_session(key, shared.now_ms()).await?;
    match &id {
        Some(id) => begun_anew(shared, key, id),
        None => shared.health.touch(),
    }
    Ok(id)
}

/// Tells that a session was begun anew.
pub(crate) fn begun_anew(shared: &Shared, key: &SessionKey, id: &str) {
    shared.agent.end_commands_of(key);
    shared.health.touch();
    patch::changed(shared, key, "reset", Some(id));
}

/// Lets a session go on that is in quarantine.
pub(super) async fn release(shared: &Arc<Shared>, call: &Call) -> Outcome {
    let params: SessionReleaseParams = call.params()?;
    let key = session_of(shared, &params.key, params.agent_id.as_deref())?;
    let released = release_for(shared, call, key.clone()).await?;
    Ok(json!({"ok": true, "key": key.as_str(), "released": released}))
}

async fn release_for(shared: &Arc<Shared>, call: &Call, key: SessionKey) -> Result<bool, WireError> {
    let permit =
        ReleasePermit::by_client(&call.grant, key).map_err(|refusal| WireError::invalid(refusal.message))?;
    quarantine::release(shared, permit).await.map_err(|error| match error {
        ReleaseError::Store(error) => store_failed(&error),
        ReleaseError::Unrecorded(unrecorded) => not_recorded(&unrecorded),
    })
}

/// Does what a message says that is `/release <key>` and no message for the agent; the words to show for it. Nothing for any
/// other message.
pub(super) async fn by_text(
    shared: &Arc<Shared>,
    call: &Call,
    message: &str,
) -> Option<Result<String, WireError>> {
    let mut words = message.split_whitespace();
    if words.next() != Some(RELEASE) {
        return None;
    }
    let (Some(key), None) = (words.next(), words.next()) else { return Some(Ok(quarantine::usage(shared))) };
    let key = match session(shared, key) {
        Ok(key) => key,
        Err(error) => return Some(Err(error)),
    };
    let released = release_for(shared, call, key.clone()).await;
    Some(released.map(|released| quarantine::said(key.as_str(), Ok(released))))
}

pub(super) async fn delete(shared: &Shared, call: &Call) -> Outcome {
    let params: SessionKeyParams = call.params()?;
    if params.reason.is_some() {
        return Err(WireError::invalid("invalid sessions.delete params: reason belongs to sessions.reset"));
    }
    let key = session_of(shared, &params.key, params.agent_id.as_deref())?;
    if key.is_main() {
        return Err(WireError::invalid(format!("Cannot delete the main session ({key}).")));
    }
    let transcript = params.delete_transcript.unwrap_or(true);
    let deleted = shared.store.delete_session(&key, transcript).await.map_err(|error| match error {
        moltbot_store::StoreError::Busy { .. } => WireError::invalid(error.to_string()),
        other => store_failed(&other),
    })?;
    shared.health.touch();
    shared.agent.end_commands_of(&key);
    if deleted {
        patch::changed(shared, &key, "delete", None);
    }
    Ok(json!({"ok": true, "key": key.as_str(), "deleted": deleted, "archived": []}))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_of_a_group_is_told_from_one_of_a_person() {
        for (key, expected) in [
            ("main", "direct"),
            ("agent:main:telegram:dm:7", "direct"),
            ("agent:main:telegram:group:7", "group"),
            ("agent:main:slack:channel:c1:thread:2", "group"),
        ] {
            assert_eq!(kind(&SessionKey::parse(key, &AgentId::main()).unwrap()), expected, "{key}");
        }
    }
}
