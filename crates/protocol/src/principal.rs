//! Who caused a turn: the owner, a sender that the owner paired, a hook, or the clock, with what hooks left for it.
//!
//! What a principal may is decided in `policy`. Here is its name alone, as it stands in transcripts and in the book.

use std::fmt;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::ids::HookName;

/// The longest id of a sender, in bytes: more than any [`crate::sender::SenderId`] has.
const SENDER_MAX: usize = 512;

/// The most hooks whose words one heartbeat is told: more than a config has.
const HOOKS_MAX: usize = 256;
/// What stands before each hook whose words a heartbeat is told.
const TOLD_BY: &str = "+hook:";

/// Who caused a turn. As text: `owner`, `heartbeat`, `heartbeat+hook:<name>+hook:<name>`, `hook:<name>`, `sender:<id>`.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(try_from = "String", into = "String")]
pub enum Principal {
    /// Nobody: the gateway looks by itself whether there is something to do. The names are those of the hooks whose words it is
    /// told then, each once and in their order: with them it may no more than each of them.
    Heartbeat(Vec<HookName>),
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

    /// Whether nobody asked for the turn.
    pub const fn is_heartbeat(&self) -> bool {
        matches!(self, Self::Heartbeat(_))
    }

    /// The hooks whose words the turn is told.
    pub fn hooks(&self) -> &[HookName] {
        match self {
            Self::Heartbeat(hooks) => hooks,
            Self::Hook(hook) => std::slice::from_ref(hook),
            Self::Owner | Self::Sender(_) => &[],
        }
    }

    /// Reads a name. What it does not know is nobody: the least of rights would still be rights.
    ///
    /// # Errors
    /// When the text names no principal.
    pub fn parse(text: &str) -> Result<Self, InvalidPrincipal> {
        let unknown = || InvalidPrincipal(text.chars().take(SENDER_MAX).collect());
        if let Some(told_by) = text.strip_prefix("heartbeat") {
            return told_by_hooks(told_by).map(Self::Heartbeat).ok_or_else(unknown);
        }
        match text.split_once(':') {
            None if text == "owner" => Ok(Self::Owner),
            Some(("hook", name)) => HookName::parse(name).map(Self::Hook).map_err(|_| unknown()),
            Some(("sender", id)) if is_sender(id) => Ok(Self::Sender(id.into())),
            None | Some(_) => Err(unknown()),
        }
    }
}

/// The hooks of a heartbeat. One that is told twice, or before another that comes first, would be another spelling.
fn told_by_hooks(text: &str) -> Option<Vec<HookName>> {
    if text.is_empty() {
        return Some(Vec::new());
    }
    let names = text.strip_prefix(TOLD_BY)?.split(TOLD_BY);
    let hooks = names.map(|name| HookName::parse(name).ok()).collect::<Option<Vec<_>>>()?;
    let is_one_spelling = hooks.iter().zip(hooks.iter().skip(1)).all(|(one, next)| one < next);
    (is_one_spelling && hooks.len() <= HOOKS_MAX).then_some(hooks)
}

fn is_sender(id: &str) -> bool {
    !id.is_empty() && id.len() <= SENDER_MAX && !id.chars().any(|c| c.is_control() || c.is_whitespace())
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Heartbeat(hooks) => {
                f.write_str("heartbeat")?;
                hooks.iter().try_for_each(|hook| write!(f, "{TOLD_BY}{hook}"))
            }
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
        for text in [
            "owner",
            "heartbeat",
            "heartbeat+hook:git-hub",
            "heartbeat+hook:a+hook:b",
            "hook:git-hub",
            "sender:telegram:default:user:42",
        ] {
            assert_eq!(Principal::parse(text).unwrap().to_string(), text);
        }
        for text in [
            "",
            "Owner",
            "owner:x",
            "heartbeat:x",
            "heartbeat+",
            "heartbeat+hook:",
            "heartbeat+owner",
            "heartbeat+hook:b+hook:a",
            "heartbeat+hook:a+hook:a",
            "heartbeat+hook:a+",
            "heartbeats",
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
