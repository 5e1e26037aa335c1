//! What each method does, and the refusals of the real API, in its words.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::parameters::Parameters;
use super::state::{Sent, State, Webhook, bot, merge};
use super::{Call, Shared, html};

/// The longest text, in UTF-16 code units, after entities are taken out.
const TEXT_UNITS: usize = 4096;
/// The largest file that bots may download, in bytes.
const FILE_BYTES: usize = 20 * 1024 * 1024;
/// Not a refusal: the connection ends instead of an answer.
pub(super) const CUT: u16 = 0;
/// What a bot may be shown to do.
const ACTIONS: [&str; 11] = [
    "choose_sticker",
    "find_location",
    "record_video",
    "record_video_note",
    "record_voice",
    "typing",
    "upload_document",
    "upload_photo",
    "upload_video",
    "upload_video_note",
    "upload_voice",
];

/// Why a call fails.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) code: u16,
    pub(super) description: String,
    pub(super) parameters: Option<Value>,
}

impl Refusal {
    pub(super) fn new(code: u16, description: &str) -> Self {
        Self { code, description: description.to_owned(), parameters: None }
    }

    pub(super) fn bad(description: &str) -> Self {
        Self::new(400, description)
    }

    pub(super) fn not_found() -> Self {
        Self::new(404, "Not Found")
    }

    pub(super) fn unauthorized() -> Self {
        Self::new(401, "Unauthorized")
    }

    pub(super) fn busy(seconds: u64) -> Self {
        let description = format!("Too Many Requests: retry after {seconds}");
        Self { code: 429, description, parameters: Some(json!({"retry_after": seconds})) }
    }
}

pub(super) async fn call(shared: &Shared, method: &str, parameters: Parameters) -> Result<Value, Refusal> {
    let call = Call { method: method.to_owned(), parameters: parameters.clone() };
    shared.state().calls.push(call);
    shared.changed.notify_all();
    parameters.require_known(method)?;
    let result = match method {
        "answerCallbackQuery" => answer_callback_query(&shared.state(), &parameters),
        "deleteWebhook" => {
            let mut state = shared.state();
            state.webhook = None;
            drop_pending(&mut state, &parameters);
            Ok(json!(true))
        }
        "editMessageText" => edit_message_text(&mut shared.state(), &parameters),
        "getFile" => get_file(&shared.state(), &parameters),
        "getMe" => {
            let mut me = bot();
            let can = json!({
                "can_join_groups": true, "can_read_all_group_messages": false, "supports_inline_queries": false,
                "can_connect_to_business": false, "has_main_web_app": false,
            });
            merge(&mut me, &can);
            Ok(me)
        }
        "getUpdates" => return get_updates(shared, &parameters).await,
        "getWebhookInfo" => Ok(get_webhook_info(&shared.state())),
        "sendChatAction" => send_chat_action(&shared.state(), &parameters),
        "sendMessage" => send_message(&mut shared.state(), &parameters),
        "setMyCommands" => set_my_commands(&parameters),
        "setWebhook" => set_webhook(&mut shared.state(), &parameters),
        _ => Err(Refusal::not_found()),
    };
    shared.changed.notify_all();
    result
}

async fn get_updates(shared: &Shared, parameters: &Parameters) -> Result<Value, Refusal> {
    let limit = parameters.integer("limit").unwrap_or(100);
    let limit = usize::try_from(limit).ok().filter(|limit| (1..=100).contains(limit)).unwrap_or(100);
    let timeout = u64::try_from(parameters.integer("timeout").unwrap_or(0)).unwrap_or(0).min(50);
    let deadline = Instant::now() + Duration::from_secs(timeout);
    let poll = {
        let mut state = shared.state();
        if state.webhook.is_some() {
            let text = "Conflict: can't use getUpdates method while webhook is active; use deleteWebhook to delete the webhook first";
            return Err(Refusal::new(409, text));
        }
        if let Some(allowed) = parameters.json("allowed_updates") {
            let allowed: Vec<String> = serde_json::from_value(allowed)
                .map_err(|_| Refusal::bad("Bad Request: can't parse allowed_updates"))?;
            if !allowed.is_empty() {
                state.allowed = allowed;
            }
        }
        state.confirm(parameters.integer("offset").unwrap_or(0));
        state.end_polls();
        state.poll
    };
    shared.touch();
    loop {
        let changed = shared.updates.notified();
        tokio::pin!(changed);
        changed.as_mut().enable();
        {
            let state = shared.state();
            if poll < state.cut {
                return Err(Refusal::new(CUT, ""));
            }
            if state.poll != poll {
                let text = "Conflict: terminated by other getUpdates request; make sure that only one bot instance is running";
                return Err(if state.revoked { Refusal::unauthorized() } else { Refusal::new(409, text) });
            }
            let found = state.first(limit);
            if !found.is_empty() {
                return Ok(Value::Array(found));
            }
        }
        if tokio::time::timeout_at(deadline, changed).await.is_err() {
            return Ok(json!([]));
        }
    }
}

/// The chat that may be written to.
fn chat_of(state: &State, parameters: &Parameters) -> Result<i64, Refusal> {
    let id = parameters.require_integer("chat_id")?;
    if let Some(to) = state.migrated.get(&id) {
        let description = "Bad Request: group chat was upgraded to a supergroup chat".to_owned();
        return Err(Refusal { code: 400, description, parameters: Some(json!({"migrate_to_chat_id": to})) });
    }
    if state.blocked.contains(&id) {
        return Err(Refusal::new(403, "Forbidden: bot was blocked by the user"));
    }
    state.chat(id).map(|_| id).ok_or_else(|| Refusal::bad("Bad Request: chat not found"))
}

/// The text as people see it, and whether it was HTML.
fn text_of(parameters: &Parameters) -> Result<(String, String, bool), Refusal> {
    let raw = parameters.text("text").unwrap_or_default();
    let (text, is_html) = match parameters.text("parse_mode").as_deref() {
        None | Some("") => (raw.clone(), false),
        Some("HTML") => {
            let read = html::visible(&raw);
            (read.map_err(|why| Refusal::bad(&format!("Bad Request: can't parse entities: {why}")))?, true)
        }
        Some(_) => return Err(Refusal::bad("Bad Request: this stand-in reads parse_mode HTML alone")),
    };
    if text.trim().is_empty() {
        return Err(Refusal::bad("Bad Request: message text is empty"));
    }
    if text.encode_utf16().count() > TEXT_UNITS {
        return Err(Refusal::bad("Bad Request: message is too long"));
    }
    Ok((raw, text, is_html))
}

fn send_message(state: &mut State, parameters: &Parameters) -> Result<Value, Refusal> {
    let chat = chat_of(state, parameters)?;
    let (raw, text, html) = text_of(parameters)?;
    keyboard(parameters)?;
    let reply = parameters.json("reply_parameters");
    let reply_to = reply.as_ref().and_then(|reply| reply.get("message_id")).and_then(Value::as_i64);
    if reply.is_some() && reply_to.is_none() {
        return Err(Refusal::bad("Bad Request: reply_parameters need a message_id"));
    }
    let previews = parameters.json("link_preview_options").and_then(|all| all.get("is_disabled").cloned());
    let sent = Sent {
        chat,
        topic: parameters.integer("message_thread_id"),
        message: 0,
        raw,
        text,
        html,
        reply_to,
        previews: previews != Some(json!(true)),
    };
    Ok(state.keep(sent))
}

/// Inline buttons carry 1 to 64 bytes each.
fn keyboard(parameters: &Parameters) -> Result<(), Refusal> {
    let Some(markup) = parameters.json("reply_markup") else {
        return if parameters.has("reply_markup") {
            Err(Refusal::bad("Bad Request: object expected as reply markup"))
        } else {
            Ok(())
        };
    };
    let rows = markup.get("inline_keyboard").and_then(Value::as_array).cloned().unwrap_or_default();
    for button in rows.iter().filter_map(Value::as_array).flatten() {
        let data = button.get("callback_data").and_then(Value::as_str).map_or(1, str::len);
        if !(1..=64).contains(&data) {
            return Err(Refusal::bad("Bad Request: BUTTON_DATA_INVALID"));
        }
        if button.get("text").and_then(Value::as_str).is_none_or(str::is_empty) {
            return Err(Refusal::bad("Bad Request: text buttons must have a text"));
        }
    }
    Ok(())
}

fn edit_message_text(state: &mut State, parameters: &Parameters) -> Result<Value, Refusal> {
    let chat = chat_of(state, parameters)?;
    let id = parameters.require_integer("message_id")?;
    let (raw, text, html) = text_of(parameters)?;
    keyboard(parameters)?;
    let found = state.sent.iter_mut().find(|sent| sent.chat == chat && sent.message == id);
    let sent = found.ok_or_else(|| Refusal::bad("Bad Request: message to edit not found"))?;
    if sent.text == text && sent.raw == raw {
        let why = "specified new message content and reply markup are exactly the same as a current content and reply markup of the message";
        return Err(Refusal::bad(&format!("Bad Request: message is not modified: {why}")));
    }
    (sent.raw, sent.text, sent.html) = (raw, text.clone(), html);
    let chat = state.chat(chat);
    Ok(json!({"message_id": id, "date": state.now(), "chat": chat, "from": bot(), "text": text}))
}

fn send_chat_action(state: &State, parameters: &Parameters) -> Result<Value, Refusal> {
    chat_of(state, parameters)?;
    let action = parameters.text("action").unwrap_or_default();
    if ACTIONS.contains(&action.as_str()) {
        return Ok(json!(true));
    }
    Err(Refusal::bad("Bad Request: wrong parameter action in request"))
}

fn answer_callback_query(state: &State, parameters: &Parameters) -> Result<Value, Refusal> {
    let id = parameters.text("callback_query_id").unwrap_or_default();
    if !state.queries.contains(&id) {
        let text = "Bad Request: query is too old and response timeout expired or query ID is invalid";
        return Err(Refusal::bad(text));
    }
    if parameters.text("text").is_some_and(|text| text.chars().count() > 200) {
        return Err(Refusal::bad("Bad Request: MESSAGE_TOO_LONG"));
    }
    Ok(json!(true))
}

fn get_file(state: &State, parameters: &Parameters) -> Result<Value, Refusal> {
    let id = parameters.text("file_id").unwrap_or_default();
    let bytes = state
        .file(&id)
        .ok_or_else(|| Refusal::bad("Bad Request: wrong file_id or the file is temporarily unavailable"))?;
    if bytes.len() > FILE_BYTES {
        return Err(Refusal::bad("Bad Request: file is too big"));
    }
    let path = format!("documents/{id}");
    Ok(json!({"file_id": id, "file_unique_id": id, "file_size": bytes.len(), "file_path": path}))
}

fn set_my_commands(parameters: &Parameters) -> Result<Value, Refusal> {
    let commands = parameters.json("commands").and_then(|all| all.as_array().cloned()).unwrap_or_default();
    let text = |command: &Value, name: &str| {
        command.get(name).and_then(Value::as_str).map(str::to_owned).unwrap_or_default()
    };
    let is_command = |name: &str| {
        (1..=32).contains(&name.len())
            && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
    };
    for command in &commands {
        let length = text(command, "description").chars().count();
        if !is_command(&text(command, "command")) || !(1..=256).contains(&length) {
            return Err(Refusal::bad("Bad Request: BOT_COMMAND_INVALID"));
        }
    }
    Ok(json!(true))
}

fn set_webhook(state: &mut State, parameters: &Parameters) -> Result<Value, Refusal> {
    let url = parameters.text("url").unwrap_or_default();
    if url.is_empty() {
        state.webhook = None;
        return Ok(json!(true));
    }
    if !url.starts_with("https://") {
        return Err(Refusal::bad("Bad Request: bad webhook: An HTTPS URL must be provided for webhook"));
    }
    let is_secret = |secret: &str| {
        (1..=256).contains(&secret.len())
            && secret.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
    };
    if parameters.text("secret_token").is_some_and(|secret| !is_secret(&secret)) {
        return Err(Refusal::bad("Bad Request: secret token contains unallowed characters"));
    }
    let connections = parameters.integer("max_connections").unwrap_or(40);
    if !(1..=100).contains(&connections) {
        return Err(Refusal::bad("Bad Request: max_connections must be between 1 and 100"));
    }
    let allowed: Vec<String> = match parameters.json("allowed_updates") {
        None => Vec::new(),
        Some(all) => serde_json::from_value(all)
            .map_err(|_| Refusal::bad("Bad Request: can't parse allowed_updates"))?,
    };
    if !allowed.is_empty() {
        state.allowed.clone_from(&allowed);
    }
    drop_pending(state, parameters);
    let secret = parameters.text("secret_token");
    state.webhook = Some(Webhook { url, allowed, secret, failed: None });
    state.end_polls();
    Ok(json!(true))
}

fn drop_pending(state: &mut State, parameters: &Parameters) {
    if parameters.text("drop_pending_updates").as_deref() == Some("true") {
        state.confirm(i64::MAX);
    }
}

fn get_webhook_info(state: &State) -> Value {
    let url = state.webhook.as_ref().map(|hook| hook.url.clone()).unwrap_or_default();
    let mut told = json!({
        "url": url, "has_custom_certificate": false, "pending_update_count": state.updates.len(),
    });
    if let Some(hook) = state.webhook.as_ref().filter(|hook| !hook.allowed.is_empty()) {
        merge(&mut told, &json!({"allowed_updates": hook.allowed}));
    }
    if let Some((date, why)) = state.webhook.as_ref().and_then(|hook| hook.failed.as_ref()) {
        merge(&mut told, &json!({"last_error_date": date, "last_error_message": why}));
    }
    told
}
