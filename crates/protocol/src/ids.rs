//! Ids that are parsed once, at the edge, and then cannot be wrong.

use std::fmt;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Why a text is not an id.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum InvalidId {
    /// Not `[a-z0-9][a-z0-9_-]{0,63}`.
    #[error(
        "agent id {0:?} is not valid; use a-z, 0-9, '-' and '_', at most 64, beginning with a letter or digit"
    )]
    Agent(String),
    /// Not `[a-z0-9][a-z0-9_-]{0,63}`.
    #[error(
        "hook name is not valid; use a-z, 0-9, '-' and '_', at most 64, beginning with a letter or digit"
    )]
    Hook,
    /// Empty, longer than [`RUN_ID_MAX`], or with a control character.
    #[error("run id is not valid; use 1 to {RUN_ID_MAX} printable characters")]
    Run,
    /// Empty, longer than [`SESSION_KEY_MAX`], or with a control character or space.
    #[error("session key is not valid; use 1 to {SESSION_KEY_MAX} printable characters without spaces")]
    Session,
}

/// The longest session key, in bytes.
pub const SESSION_KEY_MAX: usize = 256;
/// The longest run id (and idempotency key), in bytes.
pub const RUN_ID_MAX: usize = 200;

/// The name of an agent: `[a-z0-9][a-z0-9_-]{0,63}`.
#[derive(Clone, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct AgentId(String);

impl AgentId {
    /// The agent of an installation that names none.
    pub fn main() -> Self {
        Self("main".into())
    }

    /// Reads an id; upper case is folded, as upstream does.
    ///
    /// # Errors
    /// When the text does not have the form of an agent id.
    pub fn parse(text: &str) -> Result<Self, InvalidId> {
        let id = text.trim().to_ascii_lowercase();
        if is_word(&id) { Ok(Self(id)) } else { Err(InvalidId::Agent(text.into())) }
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Whether a text is `[a-z0-9][a-z0-9_-]{0,63}`.
fn is_word(text: &str) -> bool {
    let ordinary = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let begins = text.chars().next().is_some_and(ordinary);
    begins && text.chars().all(|c| ordinary(c) || c == '_' || c == '-') && text.len() <= 64
}

/// The name of a hook: `[a-z0-9][a-z0-9_-]{0,63}`.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct HookName(String);

impl HookName {
    /// Reads a name, exactly: two spellings of one name would be two hooks with one principal.
    ///
    /// # Errors
    /// When the text does not have the form of a hook's name.
    pub fn parse(text: &str) -> Result<Self, InvalidId> {
        if is_word(text) { Ok(Self(text.into())) } else { Err(InvalidId::Hook) }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for HookName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The name of one conversation, such as `agent:main:main`.
#[derive(Clone, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct SessionKey(String);

impl SessionKey {
    /// The main session of an agent.
    pub fn main_of(agent: &AgentId) -> Self {
        Self(format!("agent:{}:main", agent.as_str()))
    }

    /// Reads a key and makes it canonical: lower case, `main` means the default agent's main session, a
    /// key without an agent belongs to the default agent.
    ///
    /// # Errors
    /// When it is empty, too long, has spaces or control characters, or names an agent that cannot exist.
    pub fn parse(text: &str, default_agent: &AgentId) -> Result<Self, InvalidId> {
        let key = text.trim().to_lowercase();
        if key.is_empty()
            || key.len() > SESSION_KEY_MAX
            || key.chars().any(|c| c.is_control() || c.is_whitespace())
        {
            return Err(InvalidId::Session);
        }
        if key == "main" {
            return Ok(Self::main_of(default_agent));
        }
        match key.strip_prefix("agent:") {
            None => Ok(Self(format!("agent:{}:{key}", default_agent.as_str()))),
            Some(rest) => {
                let (agent, name) = rest.split_once(':').ok_or(InvalidId::Session)?;
                AgentId::parse(agent)?;
                if name.is_empty() { Err(InvalidId::Session) } else { Ok(Self(key)) }
            }
        }
    }

    /// The agent that this conversation is with.
    pub fn agent(&self) -> AgentId {
        let name = self.0.strip_prefix("agent:").and_then(|rest| rest.split(':').next());
        name.and_then(|name| AgentId::parse(name).ok()).unwrap_or_else(AgentId::main)
    }

    /// Whether it is its agent's main session.
    pub fn is_main(&self) -> bool {
        *self == Self::main_of(&self.agent())
    }

    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The name of one run: the client's idempotency key, or one drawn by the gateway.
#[derive(Clone, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct RunId(String);

impl RunId {
    /// Reads a run id.
    ///
    /// # Errors
    /// When it is empty, too long or has control characters.
    pub fn parse(text: &str) -> Result<Self, InvalidId> {
        let usable = !text.is_empty() && text.len() <= RUN_ID_MAX && !text.chars().any(char::is_control);
        if usable { Ok(Self(text.into())) } else { Err(InvalidId::Run) }
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

macro_rules! text_id {
    ($name:ident, $parse:expr) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0
            }
        }
        impl TryFrom<String> for $name {
            type Error = InvalidId;
            fn try_from(text: String) -> Result<Self, InvalidId> {
                $parse(&text)
            }
        }
    };
}
text_id!(AgentId, AgentId::parse);
text_id!(RunId, RunId::parse);
text_id!(SessionKey, |text: &str| SessionKey::parse(text, &AgentId::main()));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_key_is_canonical_after_parsing() {
        let work = AgentId::parse("work").unwrap();
        for (text, canonical) in [
            ("main", "agent:work:main"),
            ("Agent:Main:Main", "agent:main:main"),
            ("notes", "agent:work:notes"),
            ("agent:main:telegram:dm:7", "agent:main:telegram:dm:7"),
        ] {
            assert_eq!(SessionKey::parse(text, &work).unwrap().as_str(), canonical, "key {text}");
        }
        for text in ["", "a b", "agent:main", "agent::x", "agent:ÄÖ:x", "agent:main:", "x\u{7}"] {
            assert!(SessionKey::parse(text, &work).is_err(), "key {text:?}");
        }
    }

    #[test]
    fn an_agent_id_keeps_to_its_alphabet() {
        for text in ["", "-a", "a/b", "a b", "../x", &"a".repeat(65)] {
            assert!(AgentId::parse(text).is_err(), "agent {text:?}");
        }
        assert_eq!(AgentId::parse(" Work_2 ").unwrap().as_str(), "work_2");
    }

    #[test]
    fn a_run_id_has_no_control_characters() {
        assert!(RunId::parse("a\nb").is_err());
        assert!(RunId::parse("").is_err());
        assert_eq!(RunId::parse("6f1c").unwrap().as_str(), "6f1c");
    }
}
