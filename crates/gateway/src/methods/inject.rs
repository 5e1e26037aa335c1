//! `chat.inject`: a message that stands in a conversation as if the agent had said it. No model is asked, and nothing is sent to a chat.

use moltbot_channels::webchat;
use moltbot_policy::record_soon;
use moltbot_policy::session::ImportPermit;
use moltbot_protocol::chat::ChatInjectParams;
use moltbot_protocol::error::WireError;
use moltbot_protocol::event;
use moltbot_protocol::ids::{RunId, SessionKey};
use moltbot_protocol::message::{Message, Part, StopReason, Usage};
use moltbot_store::{Imported, StoreError};
use serde_json::json;

use super::sessions::changed;
use super::{Call, Outcome, not_recorded, session_of, store_failed};
use crate::outbox::Delivery;
use crate::shared::Shared;

/// How often it is tried anew when something else was said meanwhile.
const TRIES: usize = 3;
/// The longest label, in bytes.
const LABEL_BYTES: usize = 100;

pub(super) async fn inject(shared: &Shared, call: &Call) -> Outcome {
    let params: ChatInjectParams = call.params()?;
    let key = session_of(shared, &params.session_key, None)?;
    let text = text_of(&params).map_err(WireError::invalid)?;
    let permit = ImportPermit::by_client(&call.grant, key, 1);
    let permit = permit.map_err(|refusal| WireError::invalid(refusal.message))?;
    let permit = record_soon(permit, &shared.ledger).await.map_err(|error| not_recorded(&error))?;
    let key = permit.permit().session();
    let (session_id, messages) = keep(shared, key, &text).await?;
    let id = format!("{session_id}:{messages}");
    shared.health.touch();
    changed(shared, key, "inject", Some(&session_id));
    if let Ok(run) = RunId::parse(&format!("inject-{id}")) {
        let told = webchat::ChatProgress::new(&run, key).finished(&text, "stop", shared.now_ms());
        shared.hub.broadcast(event::CHAT, &told, Delivery::Must);
    }
    Ok(json!({"ok": true, "messageId": id}))
}

fn text_of(params: &ChatInjectParams) -> Result<String, String> {
    let message = params.message.trim();
    if message.is_empty() {
        return Err("the message is empty".into());
    }
    match params.label.as_deref().map(str::trim).filter(|label| !label.is_empty()) {
        None => Ok(message.to_owned()),
        Some(label) if label.len() > LABEL_BYTES || label.contains(char::is_control) => {
            Err(format!("a label has {LABEL_BYTES} bytes at most and no control characters"))
        }
        Some(label) => Ok(format!("[{label}]\n\n{message}")),
    }
}

/// Adds it to the end of the conversation, which there must be: models want it to begin with what somebody asked.
async fn keep(shared: &Shared, key: &SessionKey, text: &str) -> Result<(String, u64), WireError> {
    for _ in 0..TRIES {
        let row = shared.store.session(key).await.map_err(|error| store_failed(&error))?;
        let Some(has) = row.map(|row| row.message_count).filter(|count| *count > 0) else {
            return Err(WireError::invalid(format!("nothing was said in session {key} yet")));
        };
        let said = Message::Assistant {
            content: vec![Part::Text { text: text.to_owned() }],
            timestamp: shared.now_ms(),
            provider: "moltbot".into(),
            model: "inject".into(),
            usage: Usage::default(),
            stop_reason: StopReason::Stop,
            error_message: None,
        };
        match shared.store.import(key, has, vec![vec![said]], shared.now_ms()).await {
            Ok(Imported::Kept { session_id, messages }) => return Ok((session_id, messages)),
            Ok(Imported::Elsewhere(_)) => {}
            Err(StoreError::Busy { .. }) => {
                return Err(WireError::unavailable("a message is being answered there; try again after it"));
            }
            Err(error) => return Err(store_failed(&error)),
        }
    }
    Err(WireError::unavailable("the conversation goes on too fast; try again"))
}
