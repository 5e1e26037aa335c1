//! What is sent, as parameters of the Bot API.

use std::time::Duration;

use moltbot_config::limits;
use moltbot_protocol::sender::Conversation;
use serde_json::{Value, json};

use super::api::{Api, CallError};
use super::html;
use crate::driver::Piece;

/// Sends a message, to where the group is now.
pub(super) async fn send(api: &Api, message: &Value) -> Result<(), CallError> {
    let idle: Duration = limits::TELEGRAM_IDLE;
    let sent: Result<serde::de::IgnoredAny, CallError> = api.call("sendMessage", message, idle).await;
    match sent {
        Ok(_) => Ok(()),
        Err(error) => match error.moved_to() {
            None => Err(error),
            Some(id) => {
                let mut message = message.clone();
                add(&mut message, "chat_id", json!(id));
                api.call::<serde::de::IgnoredAny>("sendMessage", &message, idle).await.map(drop)
            }
        },
    }
}

/// How a text is written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Format {
    Html,
    Plain,
}

/// The parameters of a message. Links in it are not looked up: an answer must not make Telegram fetch what a stranger's text
/// had the model write.
pub(super) fn message(target: &Value, piece: &Piece, format: Format) -> Value {
    let mut message = target.clone();
    match format {
        Format::Html => {
            add(&mut message, "text", json!(piece.text));
            add(&mut message, "parse_mode", json!("HTML"));
        }
        Format::Plain => add(&mut message, "text", json!(html::plain(&piece.text))),
    }
    add(&mut message, "link_preview_options", json!({"is_disabled": true}));
    if let Some(id) = piece.answers.as_ref().and_then(|id| id.parse::<i64>().ok()) {
        let reply = json!({"message_id": id, "allow_sending_without_reply": true});
        add(&mut message, "reply_parameters", reply);
    }
    message
}

/// Where a conversation is, as parameters; nothing when it is none of Telegram's.
pub(super) fn target(conversation: &Conversation) -> Option<Value> {
    let (chat, thread) = match conversation {
        Conversation::Direct { to } => (to, None),
        Conversation::Group { id, thread } => (id, thread.as_ref()),
    };
    let mut target = json!({"chat_id": chat.parse::<i64>().ok()?});
    if let Some(thread) = thread {
        add(&mut target, "message_thread_id", json!(thread.parse::<i64>().ok()?));
    }
    Some(target)
}

pub(super) fn add(object: &mut Value, name: &str, value: Value) {
    if let Some(members) = object.as_object_mut() {
        members.insert(name.to_owned(), value);
    }
}

#[cfg(test)]
mod tests {
    use moltbot_protocol::sender::SenderId;

    use super::*;

    #[test]
    fn a_message_goes_to_its_chat_and_topic_and_looks_no_link_up() {
        let conversation = Conversation::Group { id: "-1001".into(), thread: Some("7".into()) };
        let piece = Piece {
            key: "k".into(),
            conversation,
            to: SenderId::parse("telegram:default:user:1").unwrap(),
            answers: Some("5".into()),
            text: "<b>a</b> &amp; b".into(),
        };
        let target = target(&piece.conversation).unwrap();
        let expected = json!({
            "chat_id": -1001, "message_thread_id": 7, "text": "<b>a</b> &amp; b", "parse_mode": "HTML",
            "link_preview_options": {"is_disabled": true},
            "reply_parameters": {"message_id": 5, "allow_sending_without_reply": true},
        });
        assert_eq!(message(&target, &piece, Format::Html), expected);
        assert_eq!(message(&target, &piece, Format::Plain)["text"], "a & b");
        assert_eq!(super::target(&Conversation::Direct { to: "x".into() }), None);
    }
}
