//! Who speaks on a channel, and where: what a message carries from its arrival to its answer.

use std::fmt;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The longest name of a channel, an account or a kind, in bytes.
const NAME_MAX: usize = 64;
/// The longest id that a vendor gives, in bytes. Those of all known vendors have less than 100.
const ID_MAX: usize = 160;

/// Why a text names no sender.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[error(
    "{0:?} names no sender; write it as channel:account:kind:id, such as telegram:default:user:123456789"
)]
pub struct InvalidSender(String);

/// A person on a channel: `channel:account:kind:id`. The id is the vendor's own and never changes; names that people
/// give themselves are never part of it. The same id on another channel, or of another account of ours, is somebody else.
#[derive(Clone, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct SenderId {
    channel: String,
    account: String,
    kind: String,
    id: String,
}

impl SenderId {
    /// The sender with the vendor's `id` of that `kind`, who writes to our `account` on `channel`.
    ///
    /// # Errors
    /// When one of the names is not `[a-z0-9][a-z0-9_-]*`, or the id is empty, longer than 160 bytes, or has
    /// spaces or control characters.
    pub fn new(channel: &str, account: &str, kind: &str, id: &str) -> Result<Self, InvalidSender> {
        let names = [channel, account, kind];
        let is_id = !id.is_empty() && id.len() <= ID_MAX && !id.chars().any(is_blank);
        if !is_id || !names.into_iter().all(is_name) {
            return Err(InvalidSender(format!("{channel}:{account}:{kind}:{id}")));
        }
        let [channel, account, kind] = names.map(str::to_owned);
        Ok(Self { channel, account, kind, id: id.into() })
    }

    /// Reads what [`fmt::Display`] writes.
    ///
    /// # Errors
    /// When it is not four parts, each as [`Self::new`] demands.
    pub fn parse(text: &str) -> Result<Self, InvalidSender> {
        let mut parts = text.splitn(4, ':');
        match (parts.next(), parts.next(), parts.next(), parts.next()) {
            (Some(channel), Some(account), Some(kind), Some(id)) => Self::new(channel, account, kind, id),
            _ => Err(InvalidSender(text.into())),
        }
    }

    /// The channel's name.
    pub fn channel(&self) -> &str {
        &self.channel
    }

    /// Our account on it.
    pub fn account(&self) -> &str {
        &self.account
    }

    /// The vendor's id.
    pub fn id(&self) -> &str {
        &self.id
    }
}

impl fmt::Display for SenderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { channel, account, kind, id } = self;
        write!(f, "{channel}:{account}:{kind}:{id}")
    }
}

impl From<SenderId> for String {
    fn from(sender: SenderId) -> Self {
        sender.to_string()
    }
}

impl TryFrom<String> for SenderId {
    type Error = InvalidSender;

    fn try_from(text: String) -> Result<Self, InvalidSender> {
        Self::parse(&text)
    }
}

/// Whether a text can be the name of a channel, an account or a kind of ids.
pub fn is_name(text: &str) -> bool {
    let is_ordinary = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let is_part = |byte: &u8| is_ordinary(byte) || matches!(byte, b'_' | b'-');
    let bytes = text.as_bytes();
    bytes.first().is_some_and(is_ordinary) && bytes.len() <= NAME_MAX && bytes.iter().all(is_part)
}

fn is_blank(c: char) -> bool {
    // Direction marks make an id look like another one.
    c.is_whitespace()
        || c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

/// Where on a channel something is said: what an answer is sent to. Both ids are the vendor's.
#[derive(Clone, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(tag = "kind", rename_all = "camelCase")]
pub enum Conversation {
    /// With one person alone.
    Direct {
        /// The address that answers are sent to. It may change, such as a nick; who speaks is told by the sender's id.
        to: String,
    },
    /// With several.
    Group {
        /// The group.
        id: String,
        /// The thread or topic in it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        thread: Option<String>,
    },
}

/// Where a message came from. What answers it goes there, and nowhere else.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Origin {
    /// Who said it.
    pub sender: SenderId,
    /// Where.
    pub conversation: Conversation,
    /// The vendor's id of the message, for an answer that refers to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sender_is_read_as_it_was_written() {
        for (channel, account, kind, id) in [
            ("telegram", "default", "user", "123456789"),
            ("matrix", "home-2", "user", "@ann:example.org"),
            ("irc", "libera", "mask", "ann!~ann@host.example"),
        ] {
            let sender = SenderId::new(channel, account, kind, id).unwrap();
            assert_eq!(SenderId::parse(&sender.to_string()).unwrap(), sender, "{id}");
            assert_eq!((sender.channel(), sender.account(), sender.id()), (channel, account, id));
        }
    }

    #[test]
    fn b19_what_could_pass_for_another_sender_is_none() {
        for text in [
            "",
            "telegram",
            "telegram:default:user",
            "telegram:default:user:",
            "telegram::user:1",
            "Telegram:default:user:1",
            "telegram:default:user:1 2",
            "telegram:default:user:1\u{7}",
            "telegram:default:user:\u{202e}1",
            "tele gram:default:user:1",
            "-x:default:user:1",
        ] {
            assert!(SenderId::parse(text).is_err(), "{text:?}");
        }
        let on = |channel, account| SenderId::new(channel, account, "user", "1").unwrap();
        assert_ne!(
            on("telegram", "default"),
            on("discord", "default"),
            "one id on two channels is two people"
        );
        assert_ne!(on("telegram", "default"), on("telegram", "work"));
        assert!(SenderId::new("a", "b:c", "user", "1").is_err(), "a colon would move the parts");
        assert!(SenderId::new("a", "b", "user", &"1".repeat(161)).is_err());
    }
}
