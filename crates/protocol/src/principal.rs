//! Who caused a turn: the owner, a sender that the owner paired, a hook, or the clock.
//!
//! What a principal may is decided in `policy`. Here is its name alone, as it stands in transcripts and in the book.

use std::fmt;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::ids::HookName;

/// The longest id of a sender, in bytes: more than any [`crate::sender::SenderId`] has.
const SENDER_MAX: usize = 512;

/// Who caused a turn. As text: `owner`, `heartbeat`, `hook:<name>`, `sender:<id>`.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(try_from = "String", into = "String")]
pub enum Principal {
    /// Nobody: the gateway looks by itself whether there is something to do.
    Heartbeat,
    /// A program that called a hook. What it says is content from outside, whoever owns the program.
    Hook(HookName),
    /// The person whose assistant this is.
    #[default]
    Owner,
    /// A person on a channel whom the owner paired, by the vendor's id.
    Sender(String),
}

/// A text that names no principal.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[error("{0:?} names nobody who can cause a turn")]
pub struct InvalidPrincipal(String);

impl Principal {
    /// Whether it is the owner.
    pub const fn is_owner(&self) -> bool {
        matches!(self, Self::Owner)
    }

    /// Reads a name. What it does not know is nobody: the least of rights would still be rights.
    ///
    /// # Errors
    /// When the text names no principal.
    pub fn parse(text: &str) -> Result<Self, InvalidPrincipal> {
        let unknown = || InvalidPrincipal(text.chars().take(SENDER_MAX).collect());
        match text.split_once(':') {
            None if text == "owner" => Ok(Self::Owner),
            None if text == "heartbeat" => Ok(Self::Heartbeat),
            Some(("hook", name)) => HookName::parse(name).map(Self::Hook).map_err(|_| unknown()),
            Some(("sender", id)) if is_sender(id) => Ok(Self::Sender(id.into())),
            None | Some(_) => Err(unknown()),
        }
    }
}

fn is_sender(id: &str) -> bool {
    !id.is_empty() && id.len() <= SENDER_MAX && !id.chars().any(|c| c.is_control() || c.is_whitespace())
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Heartbeat => f.write_str("heartbeat"),
            Self::Hook(name) => write!(f, "hook:{name}"),
            Self::Owner => f.write_str("owner"),
            Self::Sender(id) => write!(f, "sender:{id}"),
        }
    }
}

impl From<Principal> for String {
    fn from(principal: Principal) -> Self {
        principal.to_string()
    }
}

impl TryFrom<String> for Principal {
    type Error = InvalidPrincipal;

    fn try_from(text: String) -> Result<Self, InvalidPrincipal> {
        Self::parse(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_principal_is_read_as_it_is_written_and_nothing_else_is_one() {
        for text in ["owner", "heartbeat", "hook:git-hub", "sender:telegram:default:user:42"] {
            assert_eq!(Principal::parse(text).unwrap().to_string(), text);
        }
        for text in [
            "",
            "Owner",
            "owner:x",
            "heartbeat:x",
            "hook",
            "hook:",
            "hook:A b",
            "sender:",
            "sender:a b",
            "root",
        ] {
            assert!(Principal::parse(text).is_err(), "{text:?}");
        }
    }
}
