//! What the owner is asked in his own chat, and what he presses.
//!
//! A button carries a number that is good once and for as long as the request; of it the state db has a digest. Who
//! presses is judged as whoever speaks: only the owner decides, alone in his own chat.

use std::sync::Arc;

use moltbot_channels::driver::{Arrival, Choice, NotTaken, Press, Pressed, Question};
use moltbot_config::limits;
use moltbot_policy::senders::{owner, pairing};
use moltbot_protocol::event;
use moltbot_protocol::sender::{Conversation, SenderId};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::json;

use super::Served;
use super::intake::Port;
use crate::devices::Decider;
use crate::senders::{SenderError, shown_name};
use crate::shared::Shared;

/// What begins the data of a button about a stranger.
const PAIRING: &str = "p";
/// What is told of a button whose question is over.
pub(super) const OVER: &str = "This is decided already, or too old.";

/// Asks the owner, where he has a chat with this account, whether a stranger is let in.
pub(super) fn ask_about(shared: &Arc<Shared>, served: &Arc<Served>, arrival: &Arrival) {
    let place = served.place();
    let owners: Vec<SenderId> = shared.channels.owner.at(place.channel, &place.account).cloned().collect();
    if owners.is_empty() {
        return;
    }
    let (shared, served) = (Arc::clone(shared), Arc::clone(served));
    let (stranger, name) = (arrival.sender.clone(), shown_name(arrival.name.as_deref()));
    shared.channels.tasks.clone().spawn(async move {
        let nonce = match shared.senders.button(&stranger).await {
            Ok(Some(nonce)) => nonce,
            Ok(None) => return,
            Err(error) => return tracing::error!(%error, "the owner is not asked about a stranger"),
        };
        let text = pairing::question(&stranger, name.as_deref());
        for own in owners {
            let choices = vec![
                choice("No", &nonce, 'n'),
                choice(&format!("Yes, let {} in", stranger.id()), &nonce, 'y'),
            ];
            let conversation = Conversation::Direct { to: own.id().to_owned() };
            let question = Question { conversation, to: own, text: text.clone(), choices };
            let asking = tokio::time::timeout(limits::CHANNEL_SEND, served.driver.ask(&question)).await;
            match asking {
                Ok(Ok(_message)) => {}
                Ok(Err(error)) => tracing::warn!(place = %served.place(), %error, "the owner is not asked in his chat"),
                Err(_) => tracing::warn!(place = %served.place(), "the owner is not asked in his chat: it took too long"),
            }
        }
    });
}

fn choice(label: &str, nonce: &SecretString, which: char) -> Choice {
    let data = format!("{PAIRING}:{}:{which}", nonce.expose_secret()).into();
    Choice { label: label.to_owned(), data }
}

impl Port {
    /// Takes what was pressed.
    pub(super) async fn pressed(&self, press: Press) -> Result<Pressed, NotTaken> {
        let Self { shared, served } = self;
        if shared.ledger.lockdown().is_some() {
            return Err(NotTaken(crate::shared::LOCKED_DOWN.into()));
        }
        let say = |notice: &str| Ok(Pressed { notice: notice.to_owned(), text: None });
        let Press { sender, conversation, message, data } = press;
        let place = served.place();
        if (sender.channel(), sender.account()) != (place.channel, place.account.as_str()) {
            tracing::error!(%place, %sender, "a driver named a sender of another place; this is a fault in moltbot");
            return say(OVER);
        }
        let standing = shared.senders.standing(&sender);
        let permit = match owner::judge(&shared.channels.owner, &sender, &conversation, standing) {
            Ok(permit) => permit,
            Err(refusal) => {
                self.ignore(&sender, &refusal);
                return say("This is not for you.");
            }
        };
        if let Some(pressed) = self.pressed_approval(&sender, &message, &data).await {
            return Ok(pressed);
        }
        let Some((stranger, lets_in)) = read(shared, &data) else { return say(OVER) };
        let (channel, id, actor) = (stranger.channel(), stranger.to_string(), permit.actor());
        let who = Decider::Owner(&actor);
        let decided = if lets_in {
            shared.senders.approve(channel, &id, Some(&id), who).await.map(drop)
        } else {
            shared.senders.reject(channel, &id, who).await.map(drop)
        };
        match decided {
            Ok(()) => {
                let (state, what) =
                    if lets_in { ("approved", "is let in") } else { ("rejected", "is not let in") };
                let payload =
                    json!({"sender": stranger, "channel": channel, "state": state, "ts": shared.now_ms()});
                shared.hub.broadcast_to_approvers(event::PAIRING_RESOLVED, &payload);
                let text = Some(format!("{stranger} {what}. `moltbot senders list` shows all."));
                Ok(Pressed { notice: format!("{} {what}", stranger.id()), text })
            }
            Err(SenderError::Refused(refusal)) => say(&refusal.message),
            Err(error) => {
                tracing::error!(%error, "what the owner pressed has no effect");
                say("It could not be recorded, so nothing was decided. Press again.")
            }
        }
    }
}

/// Whom a button is about, and whether it lets him in. A button of somebody's own making is about nobody.
fn read(shared: &Shared, data: &SecretString) -> Option<(SenderId, bool)> {
    let mut parts = data.expose_secret().splitn(3, ':');
    let (kind, nonce, which) = (parts.next()?, parts.next()?, parts.next()?);
    let lets_in = match (kind, which) {
        (PAIRING, "y") => true,
        (PAIRING, "n") => false,
        _ => return None,
    };
    Some((shared.senders.by_button(&SecretString::from(nonce))?, lets_in))
}
