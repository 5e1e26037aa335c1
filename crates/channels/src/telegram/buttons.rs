//! Questions with buttons, and presses.
//!
//! What a press is worth is decided elsewhere. Here it is answered, so that the button does not seem to hang, and the
//! message is changed to what was decided, without its buttons.

use moltbot_config::limits;
use moltbot_protocol::sender::Conversation;
use secrecy::ExposeSecret as _;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Value, json};

use super::api::CallError;
use super::arrival::PressedButton;
use super::sending::{add, target};
use super::{Telegram, Way};
use crate::driver::{Choice, Link, NotSent, NotTaken, Pressed, Question};

/// The longest text that is shown to whoever pressed, in characters.
const NOTICE: usize = 200;
/// The longest question, in UTF-16 code units.
const TEXT_UNITS: usize = 4096;

impl Telegram {
    /// Asks a question. Its text is sent as it is: nothing in it is markup. What one message does not hold stands in others
    /// before it.
    pub(super) async fn put(&self, question: &Question) -> Result<String, NotSent> {
        let way = self.way().ok_or_else(|| NotSent::Unreachable("Telegram is not connected".into()))?;
        let target = target(&question.conversation)
            .ok_or_else(|| NotSent::Never("the conversation has no id of Telegram's".into()))?;
        let mut parts = parts(&question.text);
        let last = parts.pop().ok_or_else(|| NotSent::Never("the question is empty".into()))?;
        for part in parts {
            let message = plain(&target, part);
            let sent = way.api.call::<IgnoredAny>("sendMessage", &message, limits::TELEGRAM_IDLE);
            sent.await.map_err(CallError::not_sent)?;
        }
        let mut message = plain(&target, last);
        add(&mut message, "reply_markup", keyboard(&question.choices));
        let sent = way.api.call::<Sent>("sendMessage", &message, limits::TELEGRAM_IDLE).await;
        sent.map(|sent| sent.message_id.to_string()).map_err(CallError::not_sent)
    }

    /// Puts a text in the place of a question and its buttons.
    pub(super) async fn replace(&self, at: &Conversation, message: &str, text: &str) {
        let (Some(way), Some(target), Ok(id)) = (self.way(), target(at), message.parse::<i64>()) else {
            return;
        };
        let mut edited = plain(&target, text);
        add(&mut edited, "message_id", json!(id));
        add(&mut edited, "reply_markup", json!({"inline_keyboard": []}));
        self.show(&way, "editMessageText", &edited).await;
    }

    /// Hands in a press, and shows what came of it.
    pub(super) async fn press(&self, link: &dyn Link, pressed: PressedButton) -> Result<(), NotTaken> {
        let PressedButton { press, query, message, chat } = pressed;
        let Pressed { notice, text } = link.press(press).await?;
        let Some(way) = self.way() else { return Ok(()) };
        let notice: String = notice.chars().take(NOTICE).collect();
        let answer = json!({"callback_query_id": query, "text": notice});
        self.show(&way, "answerCallbackQuery", &answer).await;
        if let Some(text) = text {
            let edited = json!({
                "chat_id": chat, "message_id": message, "text": text,
                "link_preview_options": {"is_disabled": true}, "reply_markup": {"inline_keyboard": []},
            });
            self.show(&way, "editMessageText", &edited).await;
        }
        Ok(())
    }

    /// Shows something that is decided already, whether it is seen or not.
    async fn show(&self, way: &Way, method: &'static str, parameters: &Value) {
        if let Err(error) = way.api.call::<IgnoredAny>(method, parameters, limits::TELEGRAM_IDLE).await {
            tracing::warn!(place = %self.place, %error, "what came of a press is not shown");
        }
    }
}

/// What Telegram answers about a message that it took.
#[derive(Deserialize)]
struct Sent {
    message_id: i64,
}

/// A message that is no markup, to that chat.
fn plain(target: &Value, text: &str) -> Value {
    let mut message = target.clone();
    add(&mut message, "text", json!(text));
    add(&mut message, "link_preview_options", json!({"is_disabled": true}));
    message
}

/// A text in messages that Telegram takes, cut where lines end, or else between characters.
fn parts(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut rest = text;
    while !rest.trim().is_empty() {
        let mut units = 0_usize;
        let fits = rest.char_indices().find(|(_, character)| {
            units = units.saturating_add(character.len_utf16());
            units > TEXT_UNITS
        });
        let most = fits.map_or(rest.len(), |(at, _)| at);
        let (beginning, _) = rest.split_at_checked(most).unwrap_or((rest, ""));
        let end = if most < rest.len() { beginning.rfind('\n').map_or(most, |at| at + 1) } else { most };
        let (part, behind) = rest.split_at_checked(end).unwrap_or((rest, ""));
        parts.push(part);
        rest = behind;
    }
    parts
}

/// One button in each row: labels are sentences.
fn keyboard(choices: &[Choice]) -> Value {
    let row = |choice: &Choice| json!([{"text": choice.label, "callback_data": choice.data.expose_secret()}]);
    json!({"inline_keyboard": choices.iter().map(row).collect::<Vec<_>>()})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_question_is_cut_between_lines_and_nothing_of_it_is_lost() {
        let line = format!("  | {}\n", "\u{1f600}".repeat(100));
        for text in [line.repeat(60), "x".repeat(10_000), "short".into()] {
            let parts = parts(&text);
            assert_eq!(parts.concat(), text);
            assert!(parts.iter().all(|part| part.encode_utf16().count() <= TEXT_UNITS));
        }
        assert!(parts("").is_empty());
    }
}
