//! What a driver hands in: judged, kept, and only then acknowledged.

use std::sync::Arc;

use moltbot_channels::driver::{Arrival, Attached, Doing, Link, NotSent, NotTaken, Piece, Press, Pressed};
use moltbot_config::limits;
use moltbot_policy::Refusal;
use moltbot_policy::allowance::{Demand, REFUSAL};
use moltbot_policy::chat::Speaker;
use moltbot_policy::incident::QUARANTINED;
use moltbot_policy::senders::pairing::{self, PairingCode};
use moltbot_policy::senders::{Admission, SenderPermit};
use moltbot_protocol::event;
use moltbot_protocol::ids::{InvalidId, SessionKey};
use moltbot_protocol::message::InboundMessage;
use moltbot_protocol::principal::Principal;
use moltbot_protocol::sender::{Conversation, Origin, SenderId};
use moltbot_store::Accepted;
use secrecy::ExposeSecret as _;
use serde_json::json;

use super::commands::{self, Obeyed};
use super::{Served, buttons, files, route};
use crate::allowances::Spent;
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

/// What is answered, and whom.
struct Answering {
    id: String,
    conversation: Conversation,
    to: SenderId,
    /// The vendor's id of the message that what is said answers, where it is said as an answer.
    answers: Option<String>,
}

impl Answering {
    fn of(arrival: &Arrival) -> Self {
        let (id, conversation) = (arrival.id.clone(), arrival.conversation.clone());
        Self { id, conversation, to: arrival.sender.clone(), answers: None }
    }

    fn in_answer_to(Origin { sender, conversation, message }: Origin) -> Self {
        Self { id: message.clone().unwrap_or_default(), conversation, to: sender, answers: message }
    }
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
        let (who, now_ms) = (sender.to_string(), self.shared.now_ms());
        for entry in self.shared.channels.refusals.count(&who, "channel", refusal, now_ms) {
            inbound::note(&self.shared, entry);
        }
    }

    /// Keeps what somebody said who may.
    async fn accept(&self, permit: SenderPermit, arrival: Arrival) -> Result<(), NotTaken> {
        let Self { shared, served } = self;
        let sender = permit.sender();
        let files = arrival.files.clone();
        let only_files = arrival.text.is_empty() && !files.is_empty();
        if !only_files && !route::is_taken(&arrival.text) {
            self.ignore(sender, &Refusal::new("no_text", "the message is empty or too long"));
            return Ok(());
        }
        let (place, channels) = (served.place(), &shared.channels);
        let answering = Answering::of(&arrival);
        let scope = (channels.scope, &channels.links);
        let odd = |error: InvalidId| Refusal::new("odd_ids", error.to_string());
        let agent = channels.bindings.agent(sender, &arrival.conversation);
        let session = route::session(agent, scope, place, sender, &arrival.conversation);
        let session = match session.map_err(odd) {
            Ok(session) => session,
            Err(refusal) => {
                self.ignore(sender, &refusal);
                return Ok(());
            }
        };
        if shared.channels.owner.speaker(&permit, &arrival.conversation) == Speaker::Owner {
            served.state.heard_owner(sender, &arrival.conversation);
        }
        if let Some(said) = commands::read(&arrival.text, &shared.inbound.sessions.reset_triggers) {
            match self.command(&permit, said, &session, &arrival).await? {
                Obeyed::Yes => return Ok(()),
                Obeyed::IsMessage => {}
            }
        }
        match route::message(session, place, arrival).map_err(odd) {
            Ok(message) => self.keep(sender, message, &files, answering).await,
            Err(refusal) => {
                self.ignore(sender, &refusal);
                Ok(())
            }
        }
    }

    /// Keeps a message, or tells its sender why it is not kept.
    async fn keep(
        &self,
        sender: &SenderId,
        mut message: InboundMessage,
        files: &[Attached],
        answering: Answering,
    ) -> Result<(), NotTaken> {
        let Self { shared, .. } = self;
        match self.take(&mut message, files, &sender.to_string()).await {
            Ok(Received::Fresh(_)) => {
                if let Some(origin) = message.origin.filter(|_| shared.stop.is_stopped()) {
                    self.say_stopped(*origin);
                }
                Ok(())
            }
            Ok(Received::Duplicate(_)) => Ok(()),
            Err(InboundError::Spent(spent)) => {
                self.refuse(answering, message.principal, &spent);
                Ok(())
            }
            Err(InboundError::Quarantined(_)) => {
                if let Some(origin) = message.origin {
                    self.say_quarantined(&message.session, *origin);
                }
                Ok(())
            }
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

    /// Takes a message with its files, which are fetched for nobody whose allowance is used up, and never a second time.
    async fn take(
        &self,
        message: &mut InboundMessage,
        files: &[Attached],
        from: &str,
    ) -> Result<Received, InboundError> {
        if !files.is_empty() && inbound::wants_files(&self.shared, message, from).await? {
            self.take_files(message, files).await;
        }
        inbound::receive(&self.shared, message.clone(), from, Hearing::End).await
    }

    /// Takes the files of a message, says in it where they are, and tells the sender which were not taken.
    async fn take_files(&self, message: &mut InboundMessage, files: &[Attached]) {
        let files::Taken { told, images, refused } =
            files::take(&self.shared, &self.served, message, files).await;
        message.images = images;
        message.text = [message.text.trim_end(), &told.join("\n")].join("\n\n").trim_start().to_owned();
        if let Some(origin) = message.origin.as_deref().filter(|_| !refused.is_empty()) {
            self.say_beside(origin.clone(), "file", refused.join("\n"));
        }
    }

    /// Says, once in a conversation, that everything is stopped. Not kept: what is kept is the message.
    fn say_stopped(&self, origin: Origin) {
        let since = self.shared.stop.fact().map(|fact| fact.since_ms);
        if self.served.state.tells_stop(&origin.conversation, since) {
            self.say_beside(origin, "stopped", stop::SENTENCE.to_owned());
        }
    }

    /// Says, once in a conversation, that nothing is answered in it.
    fn say_quarantined(&self, session: &SessionKey, origin: Origin) {
        let Some(held) = self.shared.quarantine.of(session) else { return };
        if self.served.state.tells_quarantine(&origin.conversation, held.since_ms) {
            self.say_beside(origin, "quarantine", QUARANTINED.to_owned());
        }
    }

    /// Says something of ours in answer to a message, beside what the agent says. It is not kept, and not waited for.
    fn say_beside(&self, origin: Origin, why: &'static str, text: String) {
        let (port, answering) = (self.clone(), Answering::in_answer_to(origin));
        self.shared.channels.tasks.spawn(async move {
            if let Err(error) = port.say_to(&answering, why, &text).await {
                tracing::warn!(place = %port.served.place(), %error, why, "a sender was not told");
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
            buttons::ask_about(shared, &self.served, &arrival);
            // Not waited for: a driver may have to read what the vendor says about it.
            let (port, arrival) = (self.clone(), arrival);
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
        self.tell_him(&Answering::of(arrival), "pairing", text.expose_secret()).await
    }

    /// Tells somebody what he used today and what he may.
    pub(super) async fn tell_allowance(&self, arrival: &Arrival) -> Result<(), NotTaken> {
        let (allowances, answering) = (&self.shared.allowances, Answering::of(arrival));
        let principal = Principal::Sender(arrival.sender.to_string());
        match allowances.admit(&principal, Demand::Command) {
            Err(spent) => {
                inbound::refuse_spent(&self.shared, &answering.to.to_string(), &spent);
                self.refuse(answering, principal, &spent);
            }
            Ok(counted) => {
                allowances.keep(counted).await.map_err(|error| NotTaken(error.to_string()))?;
                let (port, text) = (self.clone(), allowances.answer(&principal));
                self.shared.channels.tasks.spawn(async move {
                    port.tell_him(&answering, "allowance", &text).await;
                });
            }
        }
        Ok(())
    }

    /// Tells somebody that his allowance is used up: once a day, whatever he sends.
    fn refuse(&self, answering: Answering, principal: Principal, spent: &Spent) {
        if !spent.first {
            return;
        }
        let port = self.clone();
        self.shared.channels.tasks.spawn(async move {
            let told = port.tell_him(&answering, "allowance", REFUSAL).await;
            if let Err(error) = port.shared.allowances.told(&principal, told == Told::Yes).await {
                tracing::error!(%error, "that somebody was told that his allowance is used up is not kept");
            }
        });
    }

    /// Says something that is no answer of the agent, and whether he has it.
    async fn tell_him(&self, answering: &Answering, what: &str, text: &str) -> Told {
        match self.say_to(answering, what, text).await {
            Ok(()) | Err(NotSent::Never(_)) => Told::Yes,
            Err(error) => {
                let place = self.served.place();
                tracing::warn!(%place, %error, what, "something could not be said");
                Told::No
            }
        }
    }

    /// Says something to who wrote, where he wrote, besides what the outbox has.
    pub(super) async fn say(&self, arrival: &Arrival, what: &str, text: &str) -> Result<(), NotSent> {
        self.say_to(&Answering::of(arrival), what, text).await
    }

    /// Says something to somebody who has written nothing.
    pub(super) async fn tell_at(
        &self,
        to: &SenderId,
        conversation: &Conversation,
        key: &str,
        text: &str,
    ) -> Result<(), NotSent> {
        let (conversation, to) = (conversation.clone(), to.clone());
        self.say_to(&Answering { id: String::new(), conversation, to, answers: None }, key, text).await
    }

    async fn say_to(&self, answering: &Answering, what: &str, text: &str) -> Result<(), NotSent> {
        let Answering { id, conversation, to, answers } = answering;
        for (number, text) in self.served.driver.pieces(text).into_iter().enumerate() {
            let key = format!("{what}-{id}-{number}");
            let (conversation, to, answers) = (conversation.clone(), to.clone(), answers.clone());
            let piece = Piece { key, conversation, to, answers, text };
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

    fn press(&self, press: Press) -> Doing<'_, Result<Pressed, NotTaken>> {
        Box::pin(self.pressed(press))
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
