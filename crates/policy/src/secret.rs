//! The owner's secrets: each time one is read or changed, the book is told first.

use crate::record::{Decision, Entry, Permit};

/// What is done with secrets.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SecretAct {
    /// All of them are written, in plaintext or under a passphrase, to a file that leaves the installation.
    Export,
    /// They are opened for use by the program itself.
    Load,
    /// One is shown to its owner.
    Read,
    /// The root keys are wrapped in another way.
    Rekey,
    /// Everything is sealed under a new root key.
    Rotate,
    /// One is written, or those that a file holds in plaintext are sealed.
    Seal,
    /// One is removed.
    Unset,
}

impl SecretAct {
    /// Every act.
    pub const ALL: [Self; 7] =
        [Self::Export, Self::Load, Self::Read, Self::Rekey, Self::Rotate, Self::Seal, Self::Unset];

    /// The action's name in the book.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Export => "secret.export",
            Self::Load => "secret.load",
            Self::Read => "secret.read",
            Self::Rekey => "secret.rekey",
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
