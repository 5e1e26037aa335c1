//! What a method is asked with: in the query, as a form or as JSON, and nothing that the method does not know.

use std::collections::BTreeMap;

use serde_json::Value;

use super::methods::Refusal;

/// The methods that are here, with all parameters that Telegram documents for them.
pub(super) const METHODS: &[(&str, &[&str])] = &[
    ("answerCallbackQuery", &["cache_time", "callback_query_id", "show_alert", "text", "url"]),
    ("deleteWebhook", &["drop_pending_updates"]),
    (
        "editMessageText",
        &[
            "business_connection_id",
            "chat_id",
            "entities",
            "inline_message_id",
            "link_preview_options",
            "message_id",
            "parse_mode",
            "reply_markup",
            "text",
        ],
    ),
    ("getFile", &["file_id"]),
    ("getMe", &[]),
    ("getUpdates", &["allowed_updates", "limit", "offset", "timeout"]),
    ("getWebhookInfo", &[]),
    ("sendChatAction", &["action", "business_connection_id", "chat_id", "message_thread_id"]),
    (
        "sendMessage",
        &[
            "allow_paid_broadcast",
            "business_connection_id",
            "chat_id",
            "direct_messages_topic_id",
            "disable_notification",
            "entities",
            "link_preview_options",
            "message_effect_id",
            "message_thread_id",
            "parse_mode",
            "protect_content",
            "reply_markup",
            "reply_parameters",
            "suggested_post_parameters",
            "text",
        ],
    ),
    ("setMyCommands", &["commands", "language_code", "scope"]),
    (
        "setWebhook",
        &[
            "allowed_updates",
            "certificate",
            "drop_pending_updates",
            "ip_address",
            "max_connections",
            "secret_token",
            "url",
        ],
    ),
];

/// The parameters of one call. Values of forms and queries are texts, those of JSON have types.
#[derive(Clone, Debug, Default)]
pub struct Parameters(BTreeMap<String, Value>);

impl Parameters {
    /// Reads a query and a body.
    pub(super) fn read(query: &str, kind: &str, body: &[u8]) -> Result<Self, Refusal> {
        let mut all = BTreeMap::new();
        all.extend(form(query));
        if kind.starts_with("application/json") && !body.is_empty() {
            let body: Value = serde_json::from_slice(body)
                .map_err(|_| Refusal::bad("Bad Request: can't parse the request body as JSON"))?;
            let Value::Object(members) = body else {
                return Err(Refusal::bad("Bad Request: the request body must be a JSON object"));
            };
            all.extend(members);
        } else if kind.starts_with("application/x-www-form-urlencoded") {
            all.extend(form(&String::from_utf8_lossy(body)));
        } else if !body.is_empty() {
            return Err(Refusal::bad("Bad Request: this stand-in reads JSON and forms alone"));
        }
        Ok(Self(all))
    }

    /// Refuses what the method does not know: the real server ignores it, and a typo would never be found.
    pub(super) fn require_known(&self, method: &str) -> Result<(), Refusal> {
        let (_, known) = METHODS.iter().find(|(name, _)| *name == method).ok_or_else(Refusal::not_found)?;
        match self.0.keys().find(|name| !known.contains(&name.as_str())) {
            None => Ok(()),
            Some(name) => Err(Refusal::bad(&format!("Bad Request: {method} has no parameter {name}"))),
        }
    }

    /// A text.
    pub fn text(&self, name: &str) -> Option<String> {
        match self.0.get(name)? {
            Value::String(text) => Some(text.clone()),
            Value::Null => None,
            other => Some(other.to_string()),
        }
    }

    /// A whole number.
    pub fn integer(&self, name: &str) -> Option<i64> {
        self.text(name)?.trim().parse().ok()
    }

    /// A list or an object, which forms carry as a text.
    pub fn json(&self, name: &str) -> Option<Value> {
        match self.0.get(name)? {
            Value::String(text) => serde_json::from_str(text).ok(),
            Value::Null => None,
            other => Some(other.clone()),
        }
    }

    /// Whether it was given.
    pub fn has(&self, name: &str) -> bool {
        self.0.get(name).is_some_and(|value| !value.is_null())
    }

    /// A number that must be there.
    pub(super) fn require_integer(&self, name: &str) -> Result<i64, Refusal> {
        self.integer(name).ok_or_else(|| {
            Refusal::bad(&format!("Bad Request: parameter \"{name}\" is required and a number"))
        })
    }
}

/// The pairs of a query or a form.
fn form(text: &str) -> Vec<(String, Value)> {
    let pairs = text.split('&').filter(|pair| !pair.is_empty());
    let read = |pair: &str| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decode(name), Value::String(decode(value)))
    };
    pairs.map(read).collect()
}

/// Percent-decoding, with `+` for a space. No path of the API has a `+` in it.
pub(super) fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'+' => bytes.push(b' '),
            b'%' => {
                let digits = [rest.next().unwrap_or(b'0'), rest.next().unwrap_or(b'0')];
                let digits = String::from_utf8_lossy(&digits).into_owned();
                bytes.push(u8::from_str_radix(&digits, 16).unwrap_or(b'?'));
            }
            other => bytes.push(other),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
