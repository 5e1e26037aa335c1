//! Who may answer, what may be answered, and the permit that comes of it.

use std::fmt;

use moltbot_protocol::principal::Principal;
use moltbot_protocol::scope::Scope;
use moltbot_protocol::sender::SenderId;

use super::binding::Binding;
use super::question::{Question, Requester};
use crate::authorization::Grant;
use crate::record::{Decision, Entry, Permit};
use crate::refusal::Refusal;

/// The symbols of an id: none of them looks like another.
const ALPHABET: [u8; 32] = *b"abcdefghjkmnpqrstuvwxyz023456789";
/// How long [`Choice::AllowForSession`] holds, in milliseconds: an hour.
const SESSION_MS: u64 = 60 * 60 * 1000;

/// The name of a question, for whoever answers it.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct ApprovalId(String);

impl ApprovalId {
    /// The id of eight random bytes.
    pub fn from_random(bytes: [u8; 8]) -> Self {
        let symbol = |byte: u8| ALPHABET.get(usize::from(byte % 32)).copied().map_or('a', char::from);
        Self(bytes.into_iter().map(symbol).collect())
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ApprovalId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What may be answered.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Choice {
    /// Yes, and the programs of the command are on the list from now on.
    AllowAlways,
    /// Yes, and for an hour for the very same command in this conversation.
    AllowForSession,
    /// Yes, this once.
    AllowOnce,
    /// No.
    Deny,
}

impl Choice {
    /// The name on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Self::AllowAlways => "allow-always",
            Self::AllowForSession => "allow-session",
            Self::AllowOnce => "allow-once",
            Self::Deny => "deny",
        }
    }

    /// The choice of that name. Any other text is none.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::AllowAlways, Self::AllowForSession, Self::AllowOnce, Self::Deny]
            .into_iter()
            .find(|choice| choice.name() == name)
    }
}

impl Choice {
    /// The choice that somebody types in a chat: its name, or the short form of it.
    pub fn spoken(word: &str) -> Option<Self> {
        match word.to_ascii_lowercase().as_str() {
            "always" => Some(Self::AllowAlways),
            "once" => Some(Self::AllowOnce),
            "session" => Some(Self::AllowForSession),
            word => Self::parse(word),
        }
    }
}

/// Who answers.
#[derive(Clone, Copy, Debug)]
pub enum Approver<'a> {
    /// Somebody who signed in.
    Client {
        /// What he may.
        grant: &'a Grant,
        /// The id of his connection.
        connection: &'a str,
    },
    /// Somebody on a channel.
    Person {
        /// Who, by the vendor's id.
        sender: &'a SenderId,
        /// Whether the owner's config says that this is the owner.
        is_owner: bool,
        /// Whether others are there.
        in_group: bool,
    },
}

impl Approver<'_> {
    /// Who it is, as the book names whoever may not.
    pub fn name(&self) -> String {
        match self {
            Self::Client { grant, .. } => grant.actor().to_owned(),
            Self::Person { sender, .. } => format!("sender:{sender}"),
        }
    }
}

/// A question that was asked.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Its id.
    pub id: ApprovalId,
    /// When it was asked, in milliseconds since the epoch.
    pub asked_ms: u64,
    /// When its time is over.
    pub expires_ms: u64,
}

impl Asked {
    /// What the book is told before anybody is asked.
    pub fn request_entry(&self, question: &Question) -> Entry {
        told(question, &self.id, "gateway".into(), "approval.request", Decision::Done)
    }

    /// What the book is told when nobody answered in time.
    pub fn expiry_entry(&self, question: &Question) -> Entry {
        told(question, &self.id, "gateway".into(), "approval.expire", Decision::Refused)
    }

    /// What the book is told when the turn that asked has ended, or there is nobody to ask.
    pub fn cancel_entry(&self, question: &Question, why: &'static str) -> Entry {
        told(question, &self.id, "gateway".into(), "approval.cancel", Decision::Refused).with("reason", why)
    }
}

/// Proof that somebody who may decide has decided about one question. Used up by what it opens.
///
/// ```compile_fail
/// fn twice(permit: moltbot_policy::approval::ApprovalPermit) {
///     let (_one, _two) = (permit.clone(), permit);
/// }
/// ```
#[derive(Debug)]
#[must_use = "a permit that is dropped opens nothing"]
pub struct ApprovalPermit {
    pub(super) id: ApprovalId,
    pub(super) choice: Choice,
    pub(super) actor: String,
    pub(super) binding: Binding,
    pub(super) expires_ms: u64,
    entry: Entry,
}

impl ApprovalPermit {
    /// The question that it answers.
    pub const fn id(&self) -> &ApprovalId {
        &self.id
    }

    /// What was decided.
    pub const fn choice(&self) -> Choice {
        self.choice
    }

    /// Who decided, as the book names him.
    pub fn actor(&self) -> &str {
        &self.actor
    }

    /// What an answer for an hour leaves behind, for questions about the very same command. `now_ms` is when it was given.
    pub fn standing(&self, now_ms: u64) -> Option<Standing> {
        (self.choice == Choice::AllowForSession).then(|| Standing {
            id: self.id.clone(),
            binding: self.binding,
            actor: self.actor.clone(),
            until_ms: now_ms.saturating_add(SESSION_MS),
        })
    }
}

impl Permit for ApprovalPermit {
    fn entry(&self) -> Entry {
        self.entry.clone()
    }
}

/// A yes that still holds for the very same command.
#[derive(Clone, Debug)]
pub struct Standing {
    id: ApprovalId,
    binding: Binding,
    actor: String,
    until_ms: u64,
}

impl Standing {
    pub(super) fn covers(&self, binding: Binding, now_ms: u64) -> bool {
        binding == self.binding && !self.is_over(now_ms)
    }

    /// Whether its time is over.
    pub const fn is_over(&self, now_ms: u64) -> bool {
        now_ms > self.until_ms
    }

    /// The permit for another question about the same command.
    ///
    /// # Errors
    /// When it does not speak for this question.
    pub fn permit(&self, question: &Question, asked: &Asked, now_ms: u64) -> Result<ApprovalPermit, Refusal> {
        if !question.is_covered_by(self, now_ms) {
            return Err(Refusal::new("approval_other", "that yes was for another command"));
        }
        let entry = told(question, &asked.id, self.actor.clone(), "approval.decide", Decision::Allowed)
            .with("choice", Choice::AllowForSession.name())
            .with("earlier", self.id.to_string());
        Ok(ApprovalPermit {
            id: asked.id.clone(),
            // It lets this one command pass and leaves nothing behind: the hour is not made longer by using it.
            choice: Choice::AllowOnce,
            actor: self.actor.clone(),
            binding: self.binding,
            expires_ms: asked.expires_ms,
            entry,
        })
    }
}

/// Judges an answer. Nothing that the answer says about itself is believed: who gives it is known from his sign-in, or
/// from the vendor's id and the owner's config.
///
/// # Errors
/// When he may not decide about this question, the choice is not one of the question's, or it is too late.
pub fn decide(
    question: &Question,
    asked: &Asked,
    choice: Choice,
    by: Approver<'_>,
    now_ms: u64,
) -> Result<ApprovalPermit, Refusal> {
    let (actor, client) = require_approver(question, by)?;
    if now_ms > asked.expires_ms || now_ms < asked.asked_ms {
        return Err(Refusal::new("approval_expired", "nobody answered in time; the command was refused"));
    }
    if !question.choices().contains(&choice) {
        let names: Vec<&str> = question.choices().into_iter().map(Choice::name).collect();
        let message = format!("`{}` cannot be answered here; answer {}", choice.name(), names.join(", "));
        return Err(Refusal::new("approval_choice", message));
    }
    let decision = if choice == Choice::Deny { Decision::Refused } else { Decision::Allowed };
    let entry =
        told(question, &asked.id, actor.clone(), "approval.decide", decision).with("choice", choice.name());
    let entry = match client {
        None => entry,
        Some(client) => entry.with("client", client),
    };
    let entry = match choice {
        Choice::AllowAlways => entry.with("listed", question.always().join(" ")),
        Choice::AllowForSession | Choice::AllowOnce | Choice::Deny => entry,
    };
    let binding = question.binding();
    Ok(ApprovalPermit { id: asked.id.clone(), choice, actor, binding, expires_ms: asked.expires_ms, entry })
}

/// Demands that somebody may decide about a question, and says who he is for the book.
fn require_approver(question: &Question, by: Approver<'_>) -> Result<(String, Option<String>), Refusal> {
    match by {
        Approver::Client { grant, connection } => {
            grant.require(Scope::Approvals)?;
            if question.requester() == &Requester::Client(connection.to_owned()) {
                return Err(Refusal::new("approval_own", "who asks cannot answer; another client decides"));
            }
            Ok((grant.actor().to_owned(), Some(grant.client().to_string())))
        }
        Approver::Person { sender, is_owner, in_group } => {
            let no = || Refusal::new("approval_stranger", "only the owner decides about commands");
            if !is_owner {
                return Err(no());
            }
            let asks = match question.requester() {
                Requester::Turn(Principal::Sender(id)) => *id == sender.to_string(),
                Requester::Client(_)
                | Requester::Turn(Principal::Heartbeat(_) | Principal::Hook(_) | Principal::Owner) => false,
            };
            if asks && in_group {
                let message = "who asked in a group does not decide there; answer in the direct chat, or at the machine";
                return Err(Refusal::new("approval_own", message));
            }
            Ok((format!("sender:{sender}"), None))
        }
    }
}

fn told(
    question: &Question,
    id: &ApprovalId,
    actor: String,
    action: &'static str,
    decision: Decision,
) -> Entry {
    let entry = Entry::new(actor, action, question.script().to_owned(), decision)
        .with("approval", id.to_string())
        .with("place", question.place().name())
        .with("directory", question.directory().to_owned())
        .with(
            "requester",
            match question.requester() {
                Requester::Client(connection) => format!("client:{connection}"),
                Requester::Turn(principal) => principal.to_string(),
            },
        );
    let entry = entry.with("binding", question.binding().to_hex());
    match question.session() {
        None => entry,
        Some(session) => entry.in_session(session.as_str()),
    }
}
