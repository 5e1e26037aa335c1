//! Questions with buttons, and presses.
//!
//! What a press is worth is decided elsewhere. Here it is answered, so that the button does not seem to hang, and the
//! message is changed to what was decided, without its buttons.

use moltbot_config::limits;
use secrecy::ExposeSecret as _;
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
    /// Asks a question. Its text is sent as it is: nothing in it is markup.
    pub(super) async fn put(&self, question: &Question) -> Result<(), NotSent> {
        let way = self.way().ok_or_else(|| NotSent::Unreachable("Telegram is not connected".into()))?;
        let mut message = target(&question.conversation)
            .ok_or_else(|| NotSent::Never("the conversation has no id of Telegram's".into()))?;
        if question.text.encode_utf16().count() > TEXT_UNITS {
            return Err(NotSent::Never("the question is longer than Telegram takes".into()));
        }
        add(&mut message, "text", json!(question.text));
        add(&mut message, "link_preview_options", json!({"is_disabled": true}));
        add(&mut message, "reply_markup", keyboard(&question.choices));
        let sent = way.api.call::<IgnoredAny>("sendMessage", &message, limits::TELEGRAM_IDLE).await;
        sent.map(drop).map_err(CallError::not_sent)
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

/// One button in each row: labels are sentences.
fn keyboard(choices: &[Choice]) -> Value {
    let row = |choice: &Choice| json!([{"text": choice.label, "callback_data": choice.data.expose_secret()}]);
    json!({"inline_keyboard": choices.iter().map(row).collect::<Vec<_>>()})
}
