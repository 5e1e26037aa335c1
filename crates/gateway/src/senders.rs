//! Senders: what was decided about people on channels, who asks to be let in, and every change to that.
//!
//! What is in memory is what is on the disk: a change is recorded, then committed, and only then seen. Changes are made
//! one after the other, so that what was judged is what is changed.

mod facts;
mod import;

use std::sync::Mutex;

use moltbot_config::limits;
use moltbot_ledger::Ledger;
use moltbot_policy::pairing::TokenDigest;
use moltbot_policy::senders::Standing;
use moltbot_policy::senders::pairing::{self, PairingCode, Room, SenderAct, SenderActPermit};
use moltbot_policy::{Refusal, Unrecorded, record_soon};
use moltbot_protocol::sender::{SenderId, is_name};
use moltbot_store::{
    Asked, Decided, KnownSender, SenderChange, SenderFact, SenderRequest, Store, StoreError,
};
use secrecy::SecretString;
use serde_json::{Value, json};
use thiserror::Error;

use crate::devices::Decider;
use crate::shared::lock;
use facts::Facts;

pub(crate) use facts::shown_name;
pub use import::ImportedChannel;

/// Why nothing was changed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SenderError {
    /// Who approves has to name the sender in full.
    #[error("{refusal}: {sender}")]
    #[expect(missing_docs, reason = "the message names its fields")]
    Acknowledge { refusal: Refusal, sender: Box<SenderId>, name: Option<String> },
    /// The file of the original cannot be read.
    #[error(
        "credentials/{file} cannot be imported: {detail}; repair it, or move it away and pair its senders again"
    )]
    #[expect(missing_docs, reason = "the message names its fields")]
    Import { file: String, detail: String },
    /// Random numbers are missing.
    #[error("no code can be drawn: {0}")]
    Random(String),
    /// It is not allowed, or there is no such sender or request.
    #[error("{0}")]
    Refused(Refusal),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The book cannot be written.
    #[error(transparent)]
    Unrecorded(#[from] Unrecorded),
}

/// What becomes of a stranger.
#[derive(Debug)]
pub(crate) enum Asking {
    /// He is told this code, and [`Senders::told`] is called then.
    Tell(PairingCode),
    /// He is told nothing, and a person hears that somebody waits.
    Wait,
    /// Nothing is new.
    Silence,
}

/// Whether a stranger was told his code.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Told {
    /// He gets another one when he writes again.
    No,
    /// He was, or he cannot be.
    Yes,
}

/// The senders of one installation.
pub struct Senders {
    store: Store,
    ledger: Ledger,
    clock: fn() -> u64,
    /// How long a code is good, in milliseconds.
    code_ms: u64,
    facts: Mutex<Facts>,
    changing: tokio::sync::Mutex<()>,
}

impl Senders {
    /// Reads what is kept. A code is good for `code_ms` milliseconds.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn open(
        store: Store,
        ledger: Ledger,
        clock: fn() -> u64,
        code_ms: u64,
    ) -> Result<Self, SenderError> {
        let facts = Mutex::new(Facts::of(store.senders().await?));
        Ok(Self { store, ledger, clock, code_ms, facts, changing: tokio::sync::Mutex::default() })
    }

    /// What a person decided about a sender.
    pub(crate) fn standing(&self, sender: &SenderId) -> Standing {
        match lock(&self.facts).known(sender).map(|(_, known)| known.standing) {
            None => Standing::Unknown,
            Some(Decided::Approved) => Standing::Approved,
            Some(Decided::Blocked) => Standing::Blocked,
        }
    }

    /// Who asks and who was decided about. No code and no digest is in there.
    pub fn list(&self) -> Value {
        lock(&self.facts).list((self.clock)())
    }

    /// Lets a stranger ask. He gets a code while there is room, once; those that have one keep it until it ends.
    pub(crate) async fn ask(&self, sender: &SenderId, name: Option<&str>) -> Result<Asking, SenderError> {
        let _alone = self.changing.lock().await;
        let now = (self.clock)();
        let (mut forget, own, room) = {
            let facts = lock(&self.facts);
            if facts.telling.contains(sender) {
                return Ok(Asking::Silence);
            }
            (facts.over(now), facts.request(sender, now), facts.room(sender, now))
        };
        let mut change = SenderChange::default();
        let number = own.as_ref().map(|(number, _)| *number);
        let state = own.as_ref().map(|(_, request)| &request.state);
        let asked_ms = own.as_ref().map_or(now, |(_, request)| request.asked_ms);
        let ends_ms = match (state, room) {
            (Some(Asked::Code { told: true, .. } | Asked::Rejected { .. }), _)
            | (Some(Asked::Waits { .. }), Room::Full | Room::Waits)
            | (None, Room::Full) => return Ok(Asking::Silence),
            (Some(Asked::Code { ends_ms, .. }), _) => *ends_ms,
            (Some(Asked::Approved { .. } | Asked::Waits { .. }) | None, _) => {
                now.saturating_add(self.code_ms)
            }
        };
        let code = self.draw()?;
        let waits = state.is_none() && room == Room::Waits;
        let state = if waits {
            Asked::Waits { ends_ms }
        } else {
            Asked::Code { digest: code.digest(sender), ends_ms, told: false }
        };
        let name = shown_name(name);
        let request = SenderRequest { id: sender.clone(), name, asked_ms, state, button: None };
        let number = number.unwrap_or_else(|| lock(&self.facts).next_number());
        change.keep.push((number, SenderFact::Request(request)));
        change.forget.append(&mut forget);
        self.change(SenderActPermit::by_gateway(SenderAct::Request, sender), change).await?;
        if waits {
            return Ok(Asking::Wait);
        }
        lock(&self.facts).telling.insert(sender.clone());
        Ok(Asking::Tell(code))
    }

    /// What [`Asking::Tell`] asked for is over. Who was told his code is told no other until it ends.
    pub(crate) async fn told(&self, sender: &SenderId, was_told: Told) -> Result<(), SenderError> {
        let _alone = self.changing.lock().await;
        lock(&self.facts).telling.remove(sender);
        if was_told == Told::No {
            return Ok(());
        }
        let Some((number, mut request)) = lock(&self.facts).request(sender, (self.clock)()) else {
            return Ok(());
        };
        if let Asked::Code { told, .. } = &mut request.state {
            *told = true;
        }
        let keep = vec![(number, SenderFact::Request(request))];
        self.keep(SenderChange { keep, forget: Vec::new() }).await
    }

    /// Approves the sender whose code `what` is, or whose id. Who decides names the sender in full as `acknowledged`.
    /// Approving somebody again changes nothing and answers the same.
    ///
    /// # Errors
    /// [`SenderError::Acknowledge`] with who it is, when he is not named in full. When there is no such code, too many were
    /// wrong, or the decider may not decide.
    pub async fn approve(
        &self,
        channel: &str,
        what: &str,
        acknowledged: Option<&str>,
        who: Decider<'_>,
    ) -> Result<Value, SenderError> {
        let _alone = self.changing.lock().await;
        let now = (self.clock)();
        let (sender, request) = self.find(channel, what, now).await?;
        let permit = who.decides(SenderAct::Approve, &sender)?;
        let name = request.as_ref().and_then(|(_, request)| request.name.clone());
        if let Err(refusal) = pairing::require_acknowledged(&sender, acknowledged) {
            return Err(SenderError::Acknowledge { refusal, sender: Box::new(sender), name });
        }
        let standing = self.standing(&sender);
        let answer =
            |changed: bool| json!({"sender": sender, "channel": channel, "name": name, "changed": changed});
        match (standing, request.as_ref().map(|(_, request)| &request.state)) {
            (Standing::Approved, _) => return Ok(answer(false)),
            // Its code was used once, and the sender was let go since.
            (Standing::Unknown, Some(Asked::Approved { .. })) => return Err(unknown(channel, what)),
            (Standing::Blocked, _) => {
                let message = format!("{sender} is blocked; run `moltbot senders unblock` first");
                return Err(refused("sender_blocked", message));
            }
            (Standing::Unknown, _) => {}
        }
        let mut change = SenderChange::default();
        let number = {
            let mut facts = lock(&self.facts);
            facts.require_room()?;
            facts.next_number()
        };
        let by = permit.actor().to_owned();
        let known = KnownSender {
            id: sender.clone(),
            name: name.clone(),
            standing: Decided::Approved,
            decided_ms: now,
            by,
        };
        change.keep.push((number, SenderFact::Known(known)));
        if let Some((number, request)) = request {
            match request.state {
                Asked::Code { digest, ends_ms, .. } => {
                    let state = Asked::Approved { digest, ends_ms };
                    let settled = SenderRequest { state, button: None, ..request };
                    change.keep.push((number, SenderFact::Request(settled)));
                }
                Asked::Approved { .. } | Asked::Rejected { .. } | Asked::Waits { .. } => {
                    change.forget.push(number)
                }
            }
        }
        self.change(permit, change).await?;
        Ok(answer(true))
    }

    /// Says no to a request, by its code or its sender's id. Nothing that the sender says is answered for as long as a code
    /// is good, and its place is free.
    ///
    /// # Errors
    /// When there is no such request, or the decider may not decide.
    pub async fn reject(&self, channel: &str, what: &str, who: Decider<'_>) -> Result<Value, SenderError> {
        let _alone = self.changing.lock().await;
        let now = (self.clock)();
        let (sender, request) = self.find(channel, what, now).await?;
        let request = request.filter(|(_, request)| !matches!(request.state, Asked::Approved { .. }));
        let (number, request) = request.ok_or_else(|| unknown(channel, what))?;
        let permit = who.decides(SenderAct::Reject, &sender)?;
        let state = Asked::Rejected { ends_ms: now.saturating_add(self.code_ms) };
        let settled = SenderRequest { state, button: None, ..request };
        let keep = vec![(number, SenderFact::Request(settled))];
        self.change(permit, SenderChange { keep, forget: Vec::new() }).await?;
        Ok(json!({"sender": sender, "channel": channel}))
    }

    /// What the buttons below the question to the owner carry; nothing when nobody asks, or the owner was asked before.
    pub(crate) async fn button(&self, sender: &SenderId) -> Result<Option<SecretString>, SenderError> {
        let _alone = self.changing.lock().await;
        let request = lock(&self.facts).request(sender, (self.clock)());
        let Some((number, request)) = request.filter(|(_, request)| request.button.is_none()) else {
            return Ok(None);
        };
        let nonce = moltbot_vault::random_id().map_err(|error| SenderError::Random(error.to_string()))?;
        let nonce = SecretString::from(nonce);
        let button = Some(TokenDigest::of(&nonce).to_hex());
        let keep = vec![(number, SenderFact::Request(SenderRequest { button, ..request }))];
        self.keep(SenderChange { keep, forget: Vec::new() }).await?;
        Ok(Some(nonce))
    }

    /// Whose request has these buttons. Every request is compared, whichever it is.
    pub(crate) fn by_button(&self, nonce: &SecretString) -> Option<SenderId> {
        lock(&self.facts).by_button(nonce, (self.clock)())
    }

    /// Ends an approval.
    ///
    /// # Errors
    /// When the sender is not approved, or the decider may not decide.
    pub async fn revoke(&self, sender: &SenderId, who: Decider<'_>) -> Result<Value, SenderError> {
        self.settle(sender, Decided::Approved, SenderAct::Revoke, who).await
    }

    /// Ends a block: the sender is a stranger again.
    ///
    /// # Errors
    /// When the sender is not blocked, or the decider may not decide.
    pub async fn unblock(&self, sender: &SenderId, who: Decider<'_>) -> Result<Value, SenderError> {
        self.settle(sender, Decided::Blocked, SenderAct::Unblock, who).await
    }

    /// Shuts a sender out, whatever a list says, and whether or not he ever wrote.
    ///
    /// # Errors
    /// When too many senders are known, or the decider may not decide.
    pub async fn block(&self, sender: &SenderId, who: Decider<'_>) -> Result<Value, SenderError> {
        let _alone = self.changing.lock().await;
        let permit = who.decides(SenderAct::Block, sender)?;
        let (number, name, forget) = {
            let mut facts = lock(&self.facts);
            let known = facts.known(sender).map(|(number, known)| (number, known.name.clone()));
            let request = facts.request(sender, (self.clock)());
            let name = request.as_ref().and_then(|(_, request)| request.name.clone());
            let forget = request.map(|(number, _)| number).into_iter().collect();
            match known {
                Some((number, known_name)) => (number, name.or(known_name), forget),
                None => {
                    facts.require_room()?;
                    (facts.next_number(), name, forget)
                }
            }
        };
        let (decided_ms, by) = ((self.clock)(), permit.actor().to_owned());
        let known = KnownSender { id: sender.clone(), name, standing: Decided::Blocked, decided_ms, by };
        let keep = vec![(number, SenderFact::Known(known))];
        self.change(permit, SenderChange { keep, forget }).await?;
        Ok(json!({"sender": sender}))
    }

    /// Forgets what was decided, and what was asked besides.
    async fn settle(
        &self,
        sender: &SenderId,
        from: Decided,
        act: SenderAct,
        who: Decider<'_>,
    ) -> Result<Value, SenderError> {
        let _alone = self.changing.lock().await;
        let forget = {
            let facts = lock(&self.facts);
            let known = facts.known(sender).filter(|(_, known)| known.standing == from);
            let Some((number, _)) = known else {
                let what = if from == Decided::Approved { "approved by pairing" } else { "blocked" };
                return Err(refused("unknown_sender", format!("{sender} is not {what}")));
            };
            let request = facts.request(sender, (self.clock)()).map(|(number, _)| number);
            [Some(number), request].into_iter().flatten().collect()
        };
        let permit = who.decides(act, sender)?;
        self.change(permit, SenderChange { keep: Vec::new(), forget }).await?;
        Ok(json!({"sender": sender}))
    }

    /// Who `what` is: a sender's id, or the code of one. A code that is none is counted before anybody is told.
    async fn find(
        &self,
        channel: &str,
        what: &str,
        now: u64,
    ) -> Result<(SenderId, Option<(i64, SenderRequest)>), SenderError> {
        if !is_name(channel) {
            return Err(refused("unknown_channel", "no channel has such a name"));
        }
        if let Ok(sender) = SenderId::parse(what) {
            if sender.channel() != channel {
                return Err(refused("unknown_channel", format!("{sender} is not on channel {channel}")));
            }
            let request = lock(&self.facts).request(&sender, now);
            return Ok((sender, request));
        }
        let wrong = lock(&self.facts).wrong_codes(channel);
        let at_ms = wrong.as_ref().map(|(_, wrong)| wrong.at_ms.as_slice()).unwrap_or_default();
        pairing::require_guess(at_ms, now).map_err(SenderError::Refused)?;
        let code = PairingCode::parse(what);
        let found = code.and_then(|code| lock(&self.facts).by_code(channel, &code, now));
        if let Some((number, request)) = found {
            return Ok((request.id.clone(), Some((number, request))));
        }
        let change = lock(&self.facts).count_wrong_code(channel, now);
        self.keep(change).await?;
        Err(unknown(channel, what))
    }

    fn draw(&self) -> Result<PairingCode, SenderError> {
        let bytes = moltbot_vault::random().map_err(|error| SenderError::Random(error.to_string()))?;
        Ok(PairingCode::from_random(bytes))
    }

    /// How long a code is good, in minutes.
    pub(crate) const fn code_minutes(&self) -> u64 {
        self.code_ms / 60_000
    }

    /// Records the decision, keeps what it changes, and only then lets it be seen.
    async fn change(&self, permit: SenderActPermit, change: SenderChange) -> Result<(), SenderError> {
        drop(record_soon(permit, &self.ledger).await?);
        self.keep(change).await
    }

    async fn keep(&self, change: SenderChange) -> Result<(), SenderError> {
        self.store.change_senders(change.clone()).await?;
        lock(&self.facts).apply(change);
        Ok(())
    }
}

fn refused(code: &'static str, message: impl Into<String>) -> SenderError {
    SenderError::Refused(Refusal::new(code, message))
}

/// What is not known is not repeated: it may be a code with a slip in it.
fn unknown(channel: &str, what: &str) -> SenderError {
    let is_id = SenderId::parse(what).is_ok();
    let message = if is_id {
        "this sender does not ask to be let in"
    } else {
        "no request has this code, or it has ended"
    };
    refused("unknown_request", format!("channel {channel}: {message}"))
}

impl Decider<'_> {
    fn decides(&self, act: SenderAct, sender: &SenderId) -> Result<SenderActPermit, SenderError> {
        match self {
            Self::Chat(command) => {
                SenderActPermit::by_chat(act, sender, command).map_err(SenderError::Refused)
            }
            Self::Client(grant) => SenderActPermit::by(grant, act, sender).map_err(SenderError::Refused),
            Self::Owner(owner) => Ok(SenderActPermit::by_owner(act, sender, owner)),
        }
    }
}

/// What is about to change the most that is kept of senders.
const _: () = assert!(limits::KNOWN_SENDERS > limits::SENDERS_WAITING, "whoever waits can be approved");
