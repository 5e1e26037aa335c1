//! Layer 7, response: what follows when a command tries to leave its walls, or is refused for what it is.
//!
//! Pure: the sandbox sees an attempt, the review refuses a command, and this module says what comes of it. A high one
//! ends its turn and puts its conversation into quarantine: whoever or whatever led the agent there may be in what was
//! said, and no later message may build on it before the owner has looked.

use std::fmt;

use moltbot_protocol::ids::SessionKey;

use crate::cause::Cause;
use crate::record::{Decision, Entry, Permit};

/// How bad an incident is. In alphabetical order.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Severity {
    /// No ordinary program does this: the turn ends, and the session is put into quarantine.
    High,
    /// Ordinary programs try it too, and go on when it fails: it fails, and is in the book.
    Medium,
}

impl Severity {
    /// The word for it in the book.
    pub const fn name(self) -> &'static str {
        match self {
            Self::High => "high",
            Self::Medium => "medium",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// A system call of a command that leads out of the walls. It was not carried out.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Attempt {
    /// The call's name, such as `setns`.
    pub call: &'static str,
    /// How bad it is.
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
    cause: Cause,
}

impl Incident {
    /// An incident of the turn that `cause` names.
    pub fn new(severity: Severity, what: impl Into<String>, cause: &Cause) -> Self {
        Self { severity, what: what.into(), cause: cause.clone() }
    }

    /// The conversation.
    pub const fn session(&self) -> &SessionKey {
        self.cause.session()
    }

    /// What is to be done about it: a high one puts its session into quarantine. Whatever else is done, it is in the book.
    pub fn answer(self) -> Option<QuarantinePermit> {
        match self.severity {
            Severity::High => Some(QuarantinePermit { what: self.what, cause: self.cause }),
            Severity::Medium => None,
        }
    }
}

/// Proof that a session is to be put into quarantine.
#[derive(Debug)]
#[must_use = "a permit that is dropped puts nothing into quarantine"]
pub struct QuarantinePermit {
    what: String,
    cause: Cause,
}

impl QuarantinePermit {
    /// The session.
    pub const fn session(&self) -> &SessionKey {
        self.cause.session()
    }

    /// What happened.
    pub fn what(&self) -> &str {
        &self.what
    }
}

impl Permit for QuarantinePermit {
    fn entry(&self) -> Entry {
        let entry = Entry::new("gateway", "quarantine.begin", self.session().as_str(), Decision::Allowed);
        self.cause.tell(entry).with("reason", self.what.clone()).with("run", self.cause.run().as_str())
    }
}

/// Proof that the owner lets a session out of quarantine.
#[derive(Debug)]
#[must_use = "a permit that is dropped releases nothing"]
pub struct ReleasePermit {
    session: SessionKey,
    actor: String,
}

impl ReleasePermit {
    /// The session.
    pub const fn session(&self) -> &SessionKey {
        &self.session
    }
}

impl Permit for ReleasePermit {
    fn entry(&self) -> Entry {
        let target = self.session.as_str();
        Entry::new(self.actor.clone(), "quarantine.end", target, Decision::Allowed).in_session(target)
    }
}

/// Lets a session out of quarantine. Who may ask for it is decided by the method's scope; `actor` is who does.
pub fn release(session: SessionKey, actor: impl Into<String>) -> ReleasePermit {
    ReleasePermit { session, actor: actor.into() }
}

#[cfg(test)]
mod tests {
    use moltbot_config::Config;
    use moltbot_protocol::ids::{AgentId, RunId};
    use moltbot_protocol::principal::Principal;

    use super::*;

    #[test]
    fn a_high_incident_puts_its_session_into_quarantine_and_a_medium_one_does_not() {
        let session = SessionKey::main_of(&AgentId::main());
        let run = RunId::parse("r").unwrap();
        let cause = Cause::of(&Config::default(), session, run, Principal::Owner);
        assert!(Incident::new(Severity::Medium, "x", &cause).answer().is_none());
        let permit = Incident::new(Severity::High, "setns", &cause).answer().unwrap();
        let entry = permit.entry();
        assert_eq!((entry.action, entry.target.as_str()), ("quarantine.begin", "agent:main:main"));
        assert_eq!((entry.details["reason"].as_str(), entry.details["cause"].as_str()), ("setns", "owner"));
    }
}
