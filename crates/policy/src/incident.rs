//! Layer 7, response: what follows when a command tries to leave its walls, or is refused for what it is.
//!
//! The sandbox sees an attempt, or the review reads one. A high one ends its turn and puts the session into quarantine,
//! because whatever led the agent there may be in what was said: nothing runs in it before its owner lets it go on.

use std::fmt;

use moltbot_protocol::ids::{RunId, SessionKey};
use moltbot_protocol::principal::Principal;
use moltbot_protocol::scope::Scope;

use crate::authorization::Grant;
use crate::chat::{ChatCommand, ChatCommandPermit, Speaker};
use crate::command::{Choice, Severity, Verdict};
use crate::record::{Decision, Entry, Permit};
use crate::refusal::Refusal;

/// The stable code of what is refused because its session is in quarantine.
pub const QUARANTINED_CODE: &str = "session_quarantined";
/// What whoever writes in such a session is told. Nothing of why: he may be who tried.
pub const QUARANTINED: &str = "This conversation was stopped for safety, and nothing is answered in it before my owner has looked at it.";
/// Reasons of a review that are told.
const REASONS: usize = 3;

/// A system call of a command that leads out of the walls. It was not carried out.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Attempt {
    /// The call's name, such as `setns`.
    pub call: &'static str,
    /// How bad it is. High: no ordinary program makes the call, and the command and its turn end. Medium: ordinary
    /// programs try it too, and go on when it fails.
    pub severity: Severity,
    /// What the program that made it called itself; any program may call itself anything.
    pub program: String,
}

impl fmt::Display for Attempt {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "the system call {} by the program {:?}", self.call, self.program)
    }
}

/// What happened in a turn that its owner must know.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Incident {
    /// How bad it is.
    pub severity: Severity,
    /// What happened, in a clause: `a command made the system call setns`.
    pub what: String,
}

/// What follows from an incident.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Response {
    /// It is told.
    Note,
    /// The turn ends, and its session is in quarantine.
    Quarantine,
}

impl Incident {
    /// The incident that a refused command is.
    pub fn of_review(verdict: &Verdict) -> Option<Self> {
        let severity = verdict.severity.filter(|_| verdict.choice == Choice::Refuse)?;
        let reasons = verdict.reasons.iter().map(|reason| reason.text.as_str()).take(REASONS);
        let reasons: Vec<&str> = reasons.collect();
        Some(Self { severity, what: format!("a command was refused: {}", reasons.join("; ")) })
    }

    /// What follows from it.
    pub const fn response(&self) -> Response {
        match self.severity {
            Severity::High => Response::Quarantine,
            Severity::Low | Severity::Medium => Response::Note,
        }
    }

    /// What the book is told before a session is in quarantine for it. It takes rights away and gives none, so it happens
    /// whether or not the disk has room.
    pub fn quarantine_entry(&self, session: &SessionKey, run: &RunId, principal: &Principal) -> Entry {
        Entry::new("gateway", "session.quarantine", session.as_str(), Decision::Done)
            .in_session(session.as_str())
            .with("run", run.as_str())
            .with("principal", principal.to_string())
            .with("severity", self.severity.name())
            .with("reason", self.what.clone())
            .from_reserve()
    }
}

/// Proof that somebody who may lets a session go on that is in quarantine. Made only here.
#[derive(Debug)]
#[must_use = "a permit that is dropped releases nothing"]
pub struct ReleasePermit {
    session: SessionKey,
    actor: String,
}

impl ReleasePermit {
    /// Judges a client.
    ///
    /// # Errors
    /// When it is no administrator.
    pub fn by_client(grant: &Grant, session: SessionKey) -> Result<Self, Refusal> {
        grant.require(Scope::Admin)?;
        Ok(Self { session, actor: grant.actor().to_owned() })
    }

    /// Judges a command in a chat. Whoever writes in the session itself, in a group or as a sender, releases nothing.
    ///
    /// # Errors
    /// When it is another command, or not the owner's in a conversation with nobody else.
    pub fn by_chat(permit: &ChatCommandPermit, session: SessionKey) -> Result<Self, Refusal> {
        if permit.command() != ChatCommand::Release || permit.speaker() != Speaker::Owner {
            return Err(Refusal::new("not_the_owner", "only the owner lets a conversation go on"));
        }
        Ok(Self { session, actor: format!("owner:{}", permit.sender()) })
    }

    /// The session.
    pub const fn session(&self) -> &SessionKey {
        &self.session
    }

    /// Who lets it go on, as the book names him.
    pub fn actor(&self) -> &str {
        &self.actor
    }
}

impl Permit for ReleasePermit {
    fn entry(&self) -> Entry {
        Entry::new(self.actor.clone(), "session.release", self.session.as_str(), Decision::Allowed)
            .in_session(self.session.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::{Rules, judge};

    #[test]
    fn only_what_is_refused_as_high_puts_a_session_into_quarantine() {
        for (script, expected) in [
            ("nsenter -t 1 -m sh", Some(Response::Quarantine)),
            ("if true; then", Some(Response::Note)), // nobody can read it, which happens to the best
            ("no-rule-for-this x", None),
            ("ls", None),
        ] {
            let incident = Incident::of_review(&judge(script, Rules::built_in().unwrap()));
            assert_eq!(incident.map(|incident| incident.response()), expected, "{script}");
        }
    }
}
