//! What is known of senders, in memory.

use std::collections::{BTreeMap, HashMap, HashSet};

use moltbot_config::limits;
use moltbot_policy::Refusal;
use moltbot_policy::pairing::TokenDigest;
use moltbot_policy::senders::pairing::{self, PairingCode, Room};
use moltbot_protocol::sender::SenderId;
use moltbot_store::{Asked, Decided, KnownSender, SenderChange, SenderFact, SenderRequest, WrongCodes};
use secrecy::SecretString;
use serde_json::{Value, json};

use super::SenderError;

/// All facts by their numbers, and which of them is the decision about a sender.
#[derive(Debug, Default)]
pub(super) struct Facts {
    all: BTreeMap<i64, SenderFact>,
    decisions: HashMap<SenderId, i64>,
    /// Strangers who are being told their codes.
    pub(super) telling: HashSet<SenderId>,
    /// The last number that was given out, also to what was not kept.
    last: i64,
}

impl Facts {
    pub(super) fn of(kept: Vec<(i64, SenderFact)>) -> Self {
        let mut facts = Self::default();
        facts.apply(SenderChange { keep: kept, forget: Vec::new() });
        facts
    }

    pub(super) fn apply(&mut self, change: SenderChange) {
        for number in change.forget {
            if let Some(SenderFact::Known(known)) = self.all.remove(&number) {
                self.decisions.remove(&known.id);
            }
        }
        for (number, fact) in change.keep {
            if let SenderFact::Known(known) = &fact {
                self.decisions.insert(known.id.clone(), number);
            }
            self.last = self.last.max(number);
            self.all.insert(number, fact);
        }
    }

    pub(super) const fn next_number(&mut self) -> i64 {
        self.last = self.last.saturating_add(1);
        self.last
    }

    /// The decision about a sender.
    pub(super) fn known(&self, sender: &SenderId) -> Option<(i64, &KnownSender)> {
        let number = *self.decisions.get(sender)?;
        match self.all.get(&number) {
            Some(SenderFact::Known(known)) => Some((number, known)),
            Some(SenderFact::Guesses(_) | SenderFact::Request(_)) | None => None,
        }
    }

    fn requests(&self, now: u64) -> impl Iterator<Item = (i64, &SenderRequest)> {
        self.all.iter().filter_map(move |(number, fact)| match fact {
            SenderFact::Request(request) if !is_over(request, now) => Some((*number, request)),
            SenderFact::Guesses(_) | SenderFact::Known(_) | SenderFact::Request(_) => None,
        })
    }

    /// What a sender asked that did not end.
    pub(super) fn request(&self, sender: &SenderId, now: u64) -> Option<(i64, SenderRequest)> {
        let own = self.requests(now).find(|(_, request)| request.id == *sender);
        own.map(|(number, request)| (number, request.clone()))
    }

    /// The request with that code. Every request is compared, whichever it is.
    pub(super) fn by_code(
        &self,
        channel: &str,
        code: &PairingCode,
        now: u64,
    ) -> Option<(i64, SenderRequest)> {
        let mut found = None;
        for (number, request) in self.requests(now).filter(|(_, request)| request.id.channel() == channel) {
            match &request.state {
                Asked::Approved { digest, .. } | Asked::Code { digest, .. } => {
                    if code.matches(&request.id, digest) {
                        found = Some((number, request.clone()));
                    }
                }
                Asked::Rejected { .. } | Asked::Waits { .. } => {}
            }
        }
        found
    }

    /// Whose request has these buttons.
    pub(super) fn by_button(&self, nonce: &SecretString, now: u64) -> Option<SenderId> {
        let mut found = None;
        for (_, request) in self.requests(now) {
            let digest = request.button.as_deref().and_then(TokenDigest::from_hex);
            if digest.is_some_and(|digest| digest.matches(nonce)) {
                found = Some(request.id.clone());
            }
        }
        found
    }

    /// Numbers of requests that have ended.
    pub(super) fn over(&self, now: u64) -> Vec<i64> {
        let ended = |fact: &SenderFact| matches!(fact, SenderFact::Request(request) if is_over(request, now));
        self.all.iter().filter(|(_, fact)| ended(fact)).map(|(number, _)| *number).collect()
    }

    /// Whether there is room for a request of this sender, among those to the same account of the same channel.
    pub(super) fn room(&self, sender: &SenderId, now: u64) -> Room {
        let (mut codes, mut others) = (0_usize, 0_usize);
        for (_, request) in self.requests(now) {
            if (request.id.channel(), request.id.account()) != (sender.channel(), sender.account()) {
                continue;
            }
            match request.state {
                Asked::Code { .. } => codes = codes.saturating_add(1),
                Asked::Waits { .. } | Asked::Rejected { .. } => others = others.saturating_add(1),
                Asked::Approved { .. } => {}
            }
        }
        pairing::room(codes, others)
    }

    /// Demands that one more sender can be remembered.
    pub(super) fn require_room(&self) -> Result<(), SenderError> {
        if self.decisions.len() < limits::KNOWN_SENDERS {
            return Ok(());
        }
        let message =
            format!("{} senders are known already; revoke or unblock some first", limits::KNOWN_SENDERS);
        Err(SenderError::Refused(Refusal::new("too_many_senders", message)))
    }

    /// Wrong codes for a channel.
    pub(super) fn wrong_codes(&self, channel: &str) -> Option<(i64, WrongCodes)> {
        self.all.iter().find_map(|(number, fact)| match fact {
            SenderFact::Guesses(wrong) if wrong.channel == channel => Some((*number, wrong.clone())),
            SenderFact::Guesses(_) | SenderFact::Known(_) | SenderFact::Request(_) => None,
        })
    }

    /// The change that counts one more wrong code.
    pub(super) fn count_wrong_code(&mut self, channel: &str, now: u64) -> SenderChange {
        let (number, mut wrong) = self.wrong_codes(channel).unwrap_or_else(|| {
            (self.next_number(), WrongCodes { channel: channel.into(), at_ms: Vec::new() })
        });
        wrong.at_ms.push(now);
        let more = wrong.at_ms.len().saturating_sub(limits::SENDER_GUESSES);
        wrong.at_ms.drain(..more);
        SenderChange { keep: vec![(number, SenderFact::Guesses(wrong))], forget: Vec::new() }
    }

    pub(super) fn list(&self, now: u64) -> Value {
        let requests: Vec<Value> = self.requests(now).filter_map(|(_, request)| shown(request)).collect();
        let known = self.all.values().filter_map(|fact| match fact {
            SenderFact::Known(known) => Some(known),
            SenderFact::Guesses(_) | SenderFact::Request(_) => None,
        });
        let known: Vec<Value> = known.map(|known| {
            let standing = match known.standing {
                Decided::Approved => "approved",
                Decided::Blocked => "blocked",
            };
            json!({
                "sender": known.id, "channel": known.id.channel(), "name": known.name, "standing": standing,
                "decidedAtMs": known.decided_ms, "by": known.by,
            })
        }).collect();
        json!({"requests": requests, "senders": known})
    }
}

/// A request as a person sees it; nothing of one that was approved.
fn shown(request: &SenderRequest) -> Option<Value> {
    let state = match request.state {
        Asked::Approved { .. } => return None,
        Asked::Code { .. } => "code",
        Asked::Rejected { .. } => "rejected",
        Asked::Waits { .. } => "waits",
    };
    Some(json!({
        "sender": request.id, "channel": request.id.channel(), "name": request.name, "state": state,
        "askedAtMs": request.asked_ms, "endsAtMs": request.state.ends_ms(),
    }))
}

fn is_over(request: &SenderRequest, now: u64) -> bool {
    // A clock that was set back ends a request too: how old it is cannot be told.
    request.asked_ms > now || request.state.ends_ms() <= now
}

/// The beginning of a name, in one line and without what would reorder or hide text.
pub(crate) fn shown_name(name: Option<&str>) -> Option<String> {
    let is_odd = |c: &char| {
        c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
    };
    let plain: String = name?.chars().filter(|c| !is_odd(c)).take(limits::SENDER_NAME_CHARS).collect();
    let plain = plain.trim();
    (!plain.is_empty()).then(|| plain.to_owned())
}
