//! The owner's secrets and config: each time one is read or changed, the book is told first.

pub mod program;

use std::collections::BTreeMap;

use crate::record::{Decision, Entry, Permit};
use crate::{container, drill, network, score, service, surroundings};

/// The action of a changed config in the book.
const CONFIG: &str = "config.change";
/// Changes of a config that one record names; the rest is counted.
const CHANGES: usize = 12;

/// What is done with secrets.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SecretAct {
    /// All of them are written, in plaintext or under a passphrase, to a file that leaves the installation.
    Export,
    /// They are opened for use by the program itself.
    Load,
    /// One is shown to its owner.
    Read,
    /// Everything is sealed under a new root key.
    Rotate,
    /// One is written, or those that a file holds in plaintext are sealed.
    Seal,
    /// One is removed.
    Unset,
}

impl SecretAct {
    /// Every act.
    pub const ALL: [Self; 6] = [Self::Export, Self::Load, Self::Read, Self::Rotate, Self::Seal, Self::Unset];

    /// The action's name in the book.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Export => "secret.export",
            Self::Load => "secret.load",
            Self::Read => "secret.read",
            Self::Rotate => "secret.rotate",
            Self::Seal => "secret.seal",
            Self::Unset => "secret.unset",
        }
    }
}

/// Proof that secrets may be opened or sealed for one act. The vault takes nothing else.
#[derive(Debug)]
#[must_use = "a permit that is dropped opens nothing"]
pub struct SecretPermit {
    act: SecretAct,
    place: String,
    actor: String,
}

impl SecretPermit {
    /// For the owner, who is whoever can read the key file: `place` is a config path, a name, or a file.
    pub fn for_owner(act: SecretAct, place: impl Into<String>, actor: impl Into<String>) -> Self {
        Self { act, place: place.into(), actor: actor.into() }
    }
}

impl Permit for SecretPermit {
    fn entry(&self) -> Entry {
        Entry::new(self.actor.clone(), self.act.name(), self.place.clone(), Decision::Allowed)
    }
}

/// The action of a written key file in the book.
pub const KEYS: &str = "secret.keys";

/// Why the key file is written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum KeyFileAct {
    /// An older one that was put back is the newest from now on.
    Accept,
    /// A rotation begins, or goes on: the file holds both root keys.
    BeginRotation,
    /// A rotation ends: the old root key is erased.
    EndRotation,
    /// The installation is sealed: plaintext in a secret place is an error from now on.
    MarkSealed,
    /// The root keys are wrapped in another way.
    Rekey,
}

impl KeyFileAct {
    /// Its name in the book.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Accept => "accept",
            Self::BeginRotation => "begin rotation",
            Self::EndRotation => "end rotation",
            Self::MarkSealed => "mark sealed",
            Self::Rekey => "rekey",
        }
    }
}

/// Proof that the key file may be written, with the generation that it gets.
#[derive(Debug)]
#[must_use = "a permit that is dropped writes nothing"]
pub struct KeyFilePermit {
    act: KeyFileAct,
    file: String,
    generation: u64,
    actor: String,
}

impl KeyFilePermit {
    /// For the owner: `file` is the key file, and `generation` how often it will have been written.
    pub fn for_owner(
        act: KeyFileAct,
        file: impl Into<String>,
        generation: u64,
        actor: impl Into<String>,
    ) -> Self {
        Self { act, file: file.into(), generation, actor: actor.into() }
    }
}

impl Permit for KeyFilePermit {
    fn entry(&self) -> Entry {
        let entry = Entry::new(self.actor.clone(), KEYS, self.file.clone(), Decision::Allowed);
        entry.with("act", self.act.name()).with("generation", self.generation.to_string())
    }
}

/// What the book is told when it first knows of a key file, or of one that a crash left newer than what it knows.
pub fn found_keys(file: impl Into<String>, generation: u64) -> Entry {
    let entry = Entry::new("gateway", KEYS, file, Decision::Done);
    entry.with("act", "found").with("generation", generation.to_string())
}

/// The alarm for a key file that is refused because it may be an older one that was put back. `why` has no secret in it.
pub fn refused_keys(file: impl Into<String>, why: impl Into<String>) -> Entry {
    Entry::new("gateway", KEYS, file, Decision::Refused)
        .with("act", "refused")
        .with("why", why)
        .from_reserve()
}

/// Proof that the config may be changed, with what changes.
#[derive(Debug)]
#[must_use = "a permit that is dropped changes nothing"]
pub struct ConfigPermit {
    file: String,
    command: String,
    changes: Vec<String>,
    actor: String,
}

impl ConfigPermit {
    /// For the owner: `changes` are lines such as `gateway.port: 1 -> 2`, without a secret in them.
    pub fn for_owner(
        file: impl Into<String>,
        command: impl Into<String>,
        changes: Vec<String>,
        actor: impl Into<String>,
    ) -> Self {
        Self { file: file.into(), command: command.into(), changes, actor: actor.into() }
    }
}

/// Names of details for the changes of a config.
const NUMBERED: [&str; CHANGES] = [
    "change01", "change02", "change03", "change04", "change05", "change06", "change07", "change08",
    "change09", "change10", "change11", "change12",
];

impl Permit for ConfigPermit {
    fn entry(&self) -> Entry {
        let entry = Entry::new(self.actor.clone(), CONFIG, self.file.clone(), Decision::Allowed);
        let entry =
            entry.with("command", self.command.clone()).with("changes", self.changes.len().to_string());
        NUMBERED
            .iter()
            .zip(&self.changes)
            .fold(entry, |entry, (name, change)| entry.with(name, change.clone()))
    }
}

/// The entry that the owner's command line asks a gateway to write, when it is one that it may: an act on secrets or
/// config, on containers and images, the sending of the book to elsewhere, the removal of a session's folder, a drill, or a score, told
/// by `actor`, who signed in. Nothing else gets into the book by being asked for.
pub fn relayed(action: &str, target: &str, details: &BTreeMap<String, String>, actor: &str) -> Option<Entry> {
    if let Some(entry) = network::relayed_egress(action, target, details, actor) {
        return Some(entry);
    }
    if let Some(entry) = container::relayed(action, target, details, actor) {
        return Some(entry);
    }
    if let Some(entry) = surroundings::relayed(action, target, actor) {
        return Some(entry);
    }
    if let Some(entry) = drill::relayed(action, target, details, actor) {
        return Some(entry);
    }
    if let Some(entry) = score::relayed(action, details, actor) {
        return Some(entry);
    }
    if let Some(entry) = service::relayed(action, target, actor) {
        return Some(entry);
    }
    let acts = SecretAct::ALL.into_iter().map(SecretAct::name).chain([CONFIG, KEYS]);
    let action = acts.into_iter().find(|name| *name == action)?;
    let entry = Entry::new(actor, action, target, Decision::Allowed).with("relayed", "yes");
    let known = ["act", "changes", "command", "generation"].into_iter().chain(NUMBERED);
    Some(known.fold(entry, |entry, name| match details.get(name) {
        None => entry,
        Some(value) => entry.with(name, value.clone()),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_acts_on_secrets_and_config_are_relayed() {
        let details =
            BTreeMap::from([("command".to_owned(), "set".to_owned()), ("forged".to_owned(), "x".to_owned())]);
        for act in SecretAct::ALL {
            assert!(relayed(act.name(), "x", &details, "device:1").is_some(), "{}", act.name());
        }
        for action in ["auth.sign_in", "command.end", "ledger.stop", "", "secret"] {
            assert_eq!(relayed(action, "x", &details, "device:1"), None, "{action}");
        }
        let entry = relayed(CONFIG, "moltbot.json", &details, "device:1").unwrap();
        assert_eq!((entry.actor.as_str(), entry.details.len()), ("device:1", 2), "{entry:?}");
    }

    #[test]
    fn a_written_key_file_is_told_with_its_generation_from_here_and_from_the_command_line() {
        let entry = KeyFilePermit::for_owner(KeyFileAct::Rekey, "keys/secrets.key", 4, "cli").entry();
        let details = entry.details.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        let again = relayed(entry.action, &entry.target, &details, "cli").unwrap();
        assert_eq!(again, entry.clone().with("relayed", "yes"));
        assert_eq!(entry.details.get("generation").map(String::as_str), Some("4"));
        assert_eq!(refused_keys("k", "old").decision, Decision::Refused);
        assert_eq!(found_keys("k", 4).decision, Decision::Done);
    }

    #[test]
    fn a_config_change_names_what_changes_and_counts_the_rest() {
        let changes = (0..20).map(|n| format!("a{n}: 1 -> 2")).collect();
        let entry = ConfigPermit::for_owner("moltbot.json", "config set", changes, "cli").entry();
        assert_eq!(entry.details.get("changes").map(String::as_str), Some("20"));
        assert_eq!(entry.details.get("change12").map(String::as_str), Some("a11: 1 -> 2"));
    }
}
