//! `sessions.import`: a conversation that was had elsewhere.

use moltbot_policy::record_soon;
use moltbot_policy::session::ImportPermit;
use moltbot_protocol::error::WireError;
use moltbot_protocol::message::{Message, Part};
use moltbot_protocol::sessions::SessionsImportParams;
use moltbot_store::{Imported, StoreError};
use serde_json::json;

use super::super::{Call, Outcome, not_recorded, session_of, store_failed};
use super::patch;
use crate::shared::Shared;

pub(in crate::methods) async fn import(shared: &Shared, call: &Call) -> Outcome {
    let params: SessionsImportParams = call.params()?;
    let key = session_of(shared, &params.key, params.agent_id.as_deref())?;
    let count = params.messages.len();
    let turns = turns(params.messages).map_err(WireError::invalid)?;
    let permit = ImportPermit::by_client(&call.grant, key, count);
    let permit = permit.map_err(|refusal| WireError::invalid(refusal.message))?;
    let permit = record_soon(permit, &shared.ledger).await.map_err(|error| not_recorded(&error))?;
    let key = permit.permit().session();
    let imported = shared.store.import(key, params.skip, turns, shared.now_ms()).await;
    match imported.map_err(|error| match error {
        StoreError::Busy { .. } => WireError::invalid(error.to_string()),
        other => store_failed(&other),
    })? {
        Imported::Kept { session_id, messages } => {
            shared.health.touch();
            patch::changed(shared, key, "import", Some(&session_id));
            Ok(json!({"ok": true, "key": key.as_str(), "sessionId": session_id, "messages": messages}))
        }
        Imported::Elsewhere(messages) => Err(WireError::invalid(format!(
            "session {key} has {messages} messages and not {}: nothing was added; import under another key, or delete the \
             session first",
            params.skip
        ))
        .with_details(json!({"code": "other_messages", "messages": messages}))),
    }
}

/// The turns of a conversation: each begins with what somebody said.
fn turns(messages: Vec<Message>) -> Result<Vec<Vec<Message>>, String> {
    let mut turns: Vec<Vec<Message>> = Vec::new();
    for message in messages {
        let (Message::Assistant { content, .. }
        | Message::ToolResult { content, .. }
        | Message::User { content, .. }) = &message;
        if content.iter().any(|part| matches!(part, Part::Image { .. })) {
            return Err("pictures are kept in a workspace and are not imported; leave them out".into());
        }
        match turns.last_mut() {
            _ if matches!(message, Message::User { .. }) => turns.push(vec![message]),
            Some(turn) => turn.push(message),
            None => return Err("the first message is to be one that somebody said (role user)".into()),
        }
    }
    if turns.is_empty() { Err("there are no messages to import".into()) } else { Ok(turns) }
}
