//! What a driver hands in: judged, kept, and only then acknowledged.

use std::sync::Arc;

use moltbot_channels::driver::{Arrival, Doing, Link, NotSent, NotTaken, Piece};
use moltbot_config::limits;
use moltbot_policy::Refusal;
use moltbot_policy::senders::pairing::{self, PairingCode};
use moltbot_policy::senders::{Admission, SenderPermit};
use moltbot_protocol::event;
use moltbot_protocol::ids::InvalidId;
use moltbot_protocol::sender::{Origin, SenderId};
use moltbot_store::Accepted;
use secrecy::ExposeSecret as _;
use serde_json::json;

use super::commands::{self, Obeyed};
use super::{Served, route};
use crate::inbound::{self, Hearing, InboundError, Received};
use crate::senders::{Asking, Told};
use crate::shared::Shared;
use crate::stop;

/// The gateway's side of a driver that runs.
#[derive(Clone)]
pub(super) struct Port {
    pub(super) shared: Arc<Shared>,
    pub(super) served: Arc<Served>,
}

impl Port {
    pub(super) const fn new(shared: Arc<Shared>, served: Arc<Served>) -> Self {
        Self { shared, served }
    }

    async fn receive(&self, arrival: Arrival) -> Result<(), NotTaken> {
        let Self { shared, served } = self;
        if shared.ledger.lockdown().is_some() {
            return Err(NotTaken(crate::shared::LOCKED_DOWN.into()));
        }
        served.state.heard(shared.now_ms());
        let Arrival { sender, conversation, .. } = &arrival;
        let place = served.place();
        if (sender.channel(), sender.account()) != (place.channel, place.account.as_str()) {
            tracing::error!(%place, %sender, "a driver named a sender of another place; this is a fault in moltbot");
            return Ok(());
        }
        let standing = shared.senders.standing(sender);
        match served.rules.admit(sender, conversation, arrival.mentioned, standing) {
            Admission::Admit(permit) => self.accept(permit, arrival).await,
            Admission::Ask => self.offer(arrival).await,
            Admission::Ignore(refusal) => {
                self.ignore(sender, &refusal);
                Ok(())
            }
        }
    }

    pub(super) fn ignore(&self, sender: &SenderId, refusal: &Refusal) {
        for entry in self.shared.channels.refusals.count(sender, refusal, self.shared.now_ms()) {
            inbound::note(&self.shared, entry);
        }
    }

    /// Keeps what somebody said who may.
    async fn accept(&self, permit: SenderPermit, arrival: Arrival) -> Result<(), NotTaken> {
        let Self { shared, served } = self;
        let sender = permit.sender();
        if !route::is_taken(&arrival.text) {
            self.ignore(sender, &Refusal::new("no_text", "the message is empty or too long"));
            return Ok(());
        }
        let (place, channels) = (served.place(), &shared.channels);
        let scope = (channels.scope, &channels.links);
        let odd = |error: InvalidId| Refusal::new("odd_ids", error.to_string());
        let session = route::session(&shared.default_agent(), scope, place, sender, &arrival.conversation);
        let session = match session.map_err(odd) {
            Ok(session) => session,
            Err(refusal) => {
                self.ignore(sender, &refusal);
                return Ok(());
            }
        };
        if let Some(said) = commands::read(&arrival.text) {
            match self.command(&permit, said, &session, &arrival).await? {
                Obeyed::Yes => return Ok(()),
                Obeyed::IsMessage => {}
            }
        }
        let message = match route::message(session, place, arrival).map_err(odd) {
            Ok(message) => message,
            Err(refusal) => {
                self.ignore(sender, &refusal);
                return Ok(());
            }
        };
        let from = sender.to_string();
        match inbound::receive(shared, message.clone(), &from, Hearing::End).await {
            Ok(Received::Fresh(_)) => {
                if let Some(origin) = message.origin.filter(|_| shared.stop.is_stopped()) {
                    self.say_stopped(*origin);
                }
                Ok(())
            }
            Ok(Received::Duplicate(_)) => Ok(()),
            // What the vendor may not keep is kept here, and answered after the next start.
            Err(InboundError::Stopping) => match shared.store.accept(&message, shared.now_ms()).await {
                Ok(Accepted::Duplicate(_) | Accepted::Fresh(_)) => Ok(()),
                Err(error) => Err(NotTaken(error.to_string())),
            },
            Err(InboundError::Elsewhere(session)) => {
                self.ignore(sender, &Refusal::new("id_used_twice", format!("its id is one of {session}")));
                Ok(())
            }
            Err(error) => Err(NotTaken(error.to_string())),
        }
    }

    /// Says, once in a conversation, that everything is stopped. Not kept: what is kept is the message.
    fn say_stopped(&self, origin: Origin) {
        let Self { shared, served } = self;
        if !served.state.tells_stop(&origin.conversation, shared.stop.fact().map(|fact| fact.since_ms)) {
            return;
        }
        let served = Arc::clone(served);
        shared.channels.tasks.spawn(async move {
            for (number, text) in served.driver.pieces(stop::SENTENCE).into_iter().enumerate() {
                let Origin { sender, conversation, message } = origin.clone();
                let key = format!("stopped-{}-{number}", message.as_deref().unwrap_or_default());
                let piece = Piece { key, conversation, to: sender, answers: message, text };
                let sending = tokio::time::timeout(limits::CHANNEL_SEND, served.driver.send(&piece));
                if let Err(error) = sending.await.unwrap_or_else(|_| Err(NotSent::Unreachable("it took too long".into()))) {
                    tracing::warn!(place = %served.place(), %error, "that everything is stopped was not said");
                    return;
                }
            }
        });
    }

    /// Lets a stranger ask, and tells him his code, once.
    async fn offer(&self, arrival: Arrival) -> Result<(), NotTaken> {
        let Self { shared, .. } = self;
        let refusal = Refusal::new("sender_not_paired", "the sender is not paired");
        self.ignore(&arrival.sender, &refusal);
        let asking = shared.senders.ask(&arrival.sender, arrival.name.as_deref()).await;
        let code = match asking.map_err(|error| NotTaken(error.to_string()))? {
            Asking::Silence => return Ok(()),
            Asking::Tell(code) => Some(code),
            Asking::Wait => None,
        };
        let payload = json!({
            "sender": arrival.sender, "channel": arrival.sender.channel(),
            "name": crate::senders::shown_name(arrival.name.as_deref()),
            "state": if code.is_some() { "code" } else { "waits" }, "ts": shared.now_ms(),
        });
        shared.hub.broadcast_to_approvers(event::PAIRING_REQUESTED, &payload);
        if let Some(code) = code {
            // Not waited for: a driver may have to read what the vendor says about it.
            let port = self.clone();
            self.shared.channels.tasks.spawn(async move {
                let told = port.tell(&arrival, &code).await;
                if let Err(error) = port.shared.senders.told(&arrival.sender, told).await {
                    tracing::error!(%error, "that a stranger was told his code is not kept");
                }
            });
        }
        Ok(())
    }

    /// Tells a stranger his code. When that fails he gets another when he writes again.
    async fn tell(&self, arrival: &Arrival, code: &PairingCode) -> Told {
        let text = pairing::reply(code, self.shared.senders.code_minutes());
        match self.say(arrival, "pairing", text.expose_secret()).await {
            Ok(()) | Err(NotSent::Never(_)) => Told::Yes,
            Err(error) => {
                let place = self.served.place();
                tracing::warn!(%place, %error, "a stranger was not told his code");
                Told::No
            }
        }
    }

    /// Says something to who wrote, where he wrote, besides what the outbox has.
    pub(super) async fn say(&self, arrival: &Arrival, what: &str, text: &str) -> Result<(), NotSent> {
        for (number, text) in self.served.driver.pieces(text).into_iter().enumerate() {
            let key = format!("{what}-{}-{number}", arrival.id);
            let (conversation, to) = (arrival.conversation.clone(), arrival.sender.clone());
            let piece = Piece { key, conversation, to, answers: None, text };
            let sending = tokio::time::timeout(limits::CHANNEL_SEND, self.served.driver.send(&piece));
            sending.await.unwrap_or_else(|_| Err(NotSent::Unreachable("it took too long".into())))?;
        }
        Ok(())
    }
}

impl Link for Port {
    fn take(&self, arrival: Arrival) -> Doing<'_, Result<(), NotTaken>> {
        Box::pin(self.receive(arrival))
    }

    fn connected(&self) {
        self.served.state.connected(self.shared.now_ms());
        tracing::info!(place = %self.served.place(), "a channel is connected");
        self.served.wake.notify_one();
    }

    fn cursor(&self) -> Doing<'_, Result<Option<String>, NotTaken>> {
        let place = self.served.place();
        Box::pin(async move {
            let cursor = self.shared.store.cursor(place.channel, &place.account).await;
            cursor.map_err(|error| NotTaken(error.to_string()))
        })
    }

    fn keep_cursor(&self, cursor: String) -> Doing<'_, Result<(), NotTaken>> {
        let place = self.served.place();
        Box::pin(async move {
            let kept = self.shared.store.keep_cursor(place.channel, &place.account, cursor).await;
            kept.map_err(|error| NotTaken(error.to_string()))
        })
    }
}
