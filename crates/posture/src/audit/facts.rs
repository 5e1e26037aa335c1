//! What an audit looks at: gathered by the program, which alone may open doors.

use std::path::Path;

use moltbot_config::ConfigErrors;
use moltbot_vault::SecureReport;
use serde_json::Value;

use super::age::AgeFacts;
use super::drills::DrillFact;
use crate::check::Check;

/// Everything that is looked at.
#[derive(Debug)]
pub struct Facts<'a> {
    /// Now, in milliseconds since the epoch: suppressions end by it.
    pub now_ms: u64,
    /// The user's home.
    pub home: &'a Path,
    /// The state folder, as it was named.
    pub state: &'a Path,
    /// The config file, as it was named.
    pub config_path: &'a Path,
    /// The config.
    pub config: ConfigFact,
    /// What the gateway's credential is worth.
    pub credential: CredentialFact,
    /// What the hooks' token is worth; absent when hooks are off.
    pub hooks: Option<CredentialFact>,
    /// Whether the hooks' token is the gateway's.
    pub is_token_reused: bool,
    /// Who may use the files.
    pub files: &'a SecureReport,
    /// Where secrets stand in plaintext.
    pub plain: PlainSecrets,
    /// The root keys.
    pub keys: KeysFact,
    /// The book.
    pub ledger: LedgerFact,
    /// The walls around commands.
    pub sandbox: SandboxFact,
    /// The container engine; absent when it is not used.
    pub engine: Option<EngineFact>,
    /// Who stopped everything, when the owner's stop holds.
    pub stopped_by: Option<String>,
    /// The machine.
    pub host: HostFacts,
    /// What has an age, or an end.
    pub age: AgeFacts,
    /// What came of the owner's attacks on his own installation; absent when none was asked for.
    pub drills: Option<Vec<DrillFact>>,
}

/// A config as it was found.
#[derive(Debug)]
pub enum ConfigFact {
    /// There is none.
    Missing,
    /// It cannot be read as JSON5 at all, and why.
    Unreadable(String),
    /// It can be read, and the gateway does not start with it.
    Invalid {
        /// As it is written.
        value: Value,
        /// What is wrong with it.
        errors: Box<ConfigErrors>,
    },
    /// The gateway starts with it.
    Valid {
        /// As it is written.
        value: Value,
    },
}

impl ConfigFact {
    /// The config as it is written, when it can be read.
    pub const fn value(&self) -> Option<&Value> {
        match self {
            Self::Missing | Self::Unreadable(_) => None,
            Self::Invalid { value, .. } | Self::Valid { value } => Some(value),
        }
    }

    /// The setting at `path`, as it is written; nothing where there is none.
    pub fn at(&self, path: &str) -> Option<&Value> {
        super::raw::at(self.value()?, path)
    }
}

/// What a credential is worth.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum CredentialFact {
    /// There is none.
    None,
    /// It keeps the rules.
    Strong,
    /// It is blank, or the word that a program writes in place of nothing.
    Placeholder {
        /// Whether it is a password.
        is_password: bool,
    },
    /// It does not keep the rules, and which.
    Weak {
        /// Whether it is a password.
        is_password: bool,
        /// The rule; never the credential.
        rule: String,
    },
    /// It is not known here, and why.
    Unknown(String),
}

/// Secrets in plaintext: where they stand, never what they are.
#[derive(Clone, Debug, Default)]
pub struct PlainSecrets {
    /// Settings of the config.
    pub config: Vec<String>,
    /// Copies of the config that are not sealed.
    pub copies: Vec<String>,
    /// Places in files of credentials.
    pub credentials: Vec<String>,
}

/// The root keys as they were found.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum KeysFact {
    /// They open.
    Open,
    /// There are none, and nothing is sealed.
    None,
    /// There are none, and something is sealed with them.
    Lost,
    /// They do not open, and why.
    Unusable(String),
    /// A person has to type a passphrase, and nobody was asked.
    Passphrase,
}

/// The book as it was found.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum LedgerFact {
    /// There is none.
    Missing,
    /// It is whole.
    Intact {
        /// Records that were verified.
        records: u64,
        /// Whether another place remembers its end.
        is_anchored: bool,
    },
    /// It was changed, and how.
    Changed(String),
    /// It could not be told, and why.
    Unknown(String),
}

/// The walls around commands.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum SandboxFact {
    /// They stand: a command ran within them.
    Works(String),
    /// They do not stand, and why.
    Unavailable {
        /// What was found.
        reason: String,
    },
    /// They were not tried, and why.
    Untried(String),
}

/// A container engine.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum EngineFact {
    /// Its version, and that of its runtime when it tells it.
    Versions {
        /// Of the engine.
        engine: String,
        /// Of `runc`.
        runc: Option<String>,
    },
    /// It did not answer, and why.
    Silent(String),
}

/// The machine.
#[derive(Clone, Debug)]
pub struct HostFacts {
    /// Whether this program is root.
    pub is_root: bool,
    /// Whether swap is encrypted.
    pub swap: Check,
    /// Whether keys are kept out of swap.
    pub memory_lock: Check,
    /// Whether the clock is right.
    pub clock: Check,
    /// Whether the disk has space; absent without a state folder.
    pub disk: Option<Check>,
    /// Whether the state folder is copied to other machines.
    pub synced: Check,
}

impl Facts<'_> {
    /// Runs a check of the config when it can be read.
    pub(super) fn of_config(&self, check: impl FnOnce(&Value) -> super::Outcome) -> super::Outcome {
        match &self.config {
            ConfigFact::Missing => super::Outcome::NotRun("there is no config".into()),
            ConfigFact::Unreadable(_) => super::Outcome::NotRun("the config cannot be read".into()),
            ConfigFact::Invalid { value, .. } | ConfigFact::Valid { value } => check(value),
        }
    }
}
