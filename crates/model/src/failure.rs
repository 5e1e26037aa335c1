//! Why a model is not served: a stable code, and a sentence that says what happened and what to do.

use std::fmt::Display;

use thiserror::Error;

/// Why there is no model, or why it is no longer served.
#[derive(Clone, Debug, Error, Eq, PartialEq)]
#[error("{message}")]
pub(crate) struct Failure {
    /// Which kind of failure it is.
    pub(crate) code: Code,
    /// What happened, and what to do.
    pub(crate) message: String,
}

/// The kinds of failure, by names that stay.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Code {
    /// The file holds a model of a kind that is not served.
    Architecture,
    /// The engine failed where it must not.
    Engine,
    /// The file is no GGUF, or a damaged or hostile one.
    Format,
    /// The file is another than the one that was named.
    Hash,
    /// The walls cannot be built.
    Lockdown,
    /// The model and its context do not fit.
    Memory,
    /// What came over the control socket is no packet of this program.
    Protocol,
    /// The file cannot be read.
    Read,
    /// The chat template is missing or does not work.
    Template,
    /// The vocabulary is of a kind that is not served.
    Tokenizer,
}

impl Code {
    /// The name on the control socket.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Architecture => "model_architecture",
            Self::Engine => "model_engine",
            Self::Format => "model_format",
            Self::Hash => "model_hash",
            Self::Lockdown => "model_lockdown",
            Self::Memory => "model_memory",
            Self::Protocol => "model_protocol",
            Self::Read => "model_read",
            Self::Template => "model_template",
            Self::Tokenizer => "model_tokenizer",
        }
    }

    /// A failure of this kind.
    pub(crate) fn because(self, message: impl Into<String>) -> Failure {
        Failure { code: self, message: message.into() }
    }

    /// A failure of this kind that a library explains, in so many words of its.
    pub(crate) fn explained(self, what: &str, cause: &impl Display) -> Failure {
        self.because(format!("{what}: {}", short(cause)))
    }
}

/// The first words of what a library says: it may quote a whole file.
pub(crate) fn short(cause: &impl Display) -> String {
    cause.to_string().chars().filter(|character| !character.is_control()).take(CAUSE).collect()
}

/// Characters of a library's explanation.
const CAUSE: usize = 200;
