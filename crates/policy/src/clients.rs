//! Client sessions: who may end them, and what the book is told first.

use moltbot_protocol::scope::Scope;

use crate::authorization::Grant;
use crate::record::{Decision, Entry, Permit};
use crate::refusal::Refusal;

/// Proof that somebody may end sessions of clients.
#[derive(Debug)]
#[must_use = "a permit that is dropped ends nothing"]
pub struct EndPermit {
    actor: String,
    target: String,
    whose: Vec<String>,
}

impl EndPermit {
    /// For somebody who signed in: `sessions` are the ids, `whose` the actors who were let in.
    ///
    /// # Errors
    /// When he may not decide who is let in.
    pub fn by(grant: &Grant, sessions: &[String], whose: Vec<String>) -> Result<Self, Refusal> {
        grant.require(Scope::Pairing)?;
        Ok(Self { actor: grant.actor().to_owned(), target: sessions.join(" "), whose })
    }
}

impl Permit for EndPermit {
    fn entry(&self) -> Entry {
        Entry::new(self.actor.clone(), "clients.end", self.target.clone(), Decision::Allowed)
            .with("sessions", self.whose.len().to_string())
            .with("whose", self.whose.join(" "))
    }
}

/// Proof that the gateway may take up its credential anew, and end what the old one opened.
#[derive(Debug)]
#[must_use = "a permit that is dropped changes nothing"]
pub struct ReloadPermit {
    actor: String,
    method: &'static str,
    changed: bool,
}

impl ReloadPermit {
    /// For somebody who signed in. `method` is what has to be presented from now on, and `changed` whether that is another
    /// secret than before.
    ///
    /// # Errors
    /// When he may not change the installation.
    pub fn by(grant: &Grant, method: &'static str, changed: bool) -> Result<Self, Refusal> {
        grant.require(Scope::Admin)?;
        Ok(Self { actor: grant.actor().to_owned(), method, changed })
    }
}

impl Permit for ReloadPermit {
    fn entry(&self) -> Entry {
        Entry::new(self.actor.clone(), "clients.credential", "gateway", Decision::Allowed)
            .with("method", self.method)
            .with("changed", if self.changed { "yes" } else { "no" })
    }
}

/// Proof that the gateway may answer the hooks of the config as it is now.
#[derive(Debug)]
#[must_use = "a permit that is dropped changes nothing"]
pub struct HooksPermit {
    actor: String,
    hooks: Option<usize>,
}

impl HooksPermit {
    /// For somebody who signed in. `hooks` is how many there are from now on; nothing when they are off.
    ///
    /// # Errors
    /// When he may not change the installation.
    pub fn by(grant: &Grant, hooks: Option<usize>) -> Result<Self, Refusal> {
        grant.require(Scope::Admin)?;
        Ok(Self { actor: grant.actor().to_owned(), hooks })
    }
}

impl Permit for HooksPermit {
    fn entry(&self) -> Entry {
        let hooks = self.hooks.map_or_else(|| "off".to_owned(), |count| count.to_string());
        Entry::new(self.actor.clone(), "hooks.reload", "gateway", Decision::Allowed).with("hooks", hooks)
    }
}

/// What the book is told of a session that nobody ended: it was over by its limits, or its client did not read.
pub fn over(session: &str, whose: &str, why: &'static str) -> Entry {
    Entry::new("gateway", "clients.end", session, Decision::Done)
        .with("whose", whose)
        .with("why", why)
        .buffered()
}
