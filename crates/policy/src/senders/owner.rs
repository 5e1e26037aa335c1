//! Who may decide from a chat: the owner, by his own ids on channels, in a conversation with nobody else.

use moltbot_config::settings::ChannelsConfig;
use moltbot_protocol::sender::{Conversation, SenderId};

use super::Standing;
use crate::refusal::Refusal;

/// The owner's own ids on channels. Without any, nothing can be decided from a chat.
#[derive(Clone, Debug, Default)]
pub struct Owners(Vec<SenderId>);

/// Proof that the owner has pressed a button or given a command in a chat of his own. Made only by [`Owners::judge`].
#[derive(Debug)]
#[must_use = "a permit that is dropped decides nothing"]
pub struct OwnerPermit(SenderId);

impl OwnerPermit {
    /// The owner, as the book names who acts.
    pub fn actor(&self) -> String {
        format!("owner:{}", self.0)
    }
}

impl Owners {
    /// The ids of a config.
    ///
    /// # Errors
    /// When one is no id in full: a name, a wildcard or half an id would make somebody else the owner.
    pub fn of(channels: &ChannelsConfig) -> Result<Self, Refusal> {
        let read = |entry: &String| {
            SenderId::parse(entry).map_err(|_| {
                let message = format!(
                    "channels.owners: {entry:?} is no sender's id in full; write it as \"telegram:default:user:123456789\""
                );
                Refusal::new("owner_invalid", message)
            })
        };
        channels.owners.iter().map(read).collect::<Result<_, _>>().map(Self)
    }

    /// The owner's ids at one account of a channel.
    pub fn at<'a>(&'a self, channel: &'a str, account: &'a str) -> impl Iterator<Item = &'a SenderId> {
        self.0.iter().filter(move |owner| (owner.channel(), owner.account()) == (channel, account))
    }

    /// Judges what `sender` wants to decide in `conversation`.
    ///
    /// # Errors
    /// When he is not the owner, is blocked, or others can see and press in that conversation.
    pub fn judge(
        &self,
        sender: &SenderId,
        conversation: &Conversation,
        standing: Standing,
    ) -> Result<OwnerPermit, Refusal> {
        if standing == Standing::Blocked {
            return Err(Refusal::new("sender_blocked", "the sender is blocked"));
        }
        if !self.0.contains(sender) {
            return Err(Refusal::new("not_the_owner", "the sender is not in channels.owners"));
        }
        match conversation {
            Conversation::Direct { .. } => Ok(OwnerPermit(sender.clone())),
            Conversation::Group { .. } => {
                Err(Refusal::new("not_alone", "nothing is decided where others are"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owners(entries: &[&str]) -> Result<Owners, Refusal> {
        let owners = entries.iter().map(|entry| (*entry).to_owned()).collect();
        Owners::of(&ChannelsConfig { owners, ..ChannelsConfig::default() })
    }

    #[test]
    fn only_the_owner_alone_decides() {
        let owners = owners(&["telegram:default:user:1"]).unwrap();
        let direct = Conversation::Direct { to: "1".into() };
        let group = Conversation::Group { id: "-1".into(), thread: None };
        for (who, conversation, standing, expected) in [
            ("telegram:default:user:1", &direct, Standing::Unknown, None),
            ("telegram:default:user:1", &direct, Standing::Blocked, Some("sender_blocked")),
            ("telegram:default:user:1", &group, Standing::Approved, Some("not_alone")),
            ("telegram:default:user:2", &direct, Standing::Approved, Some("not_the_owner")),
            ("telegram:other:user:1", &direct, Standing::Approved, Some("not_the_owner")),
        ] {
            let sender = SenderId::parse(who).unwrap();
            let judged = owners.judge(&sender, conversation, standing);
            assert_eq!(
                judged.err().map(|refusal| refusal.code),
                expected,
                "{who} {conversation:?} {standing:?}"
            );
        }
        assert_eq!(
            (owners.at("telegram", "default").count(), owners.at("telegram", "other").count()),
            (1, 0)
        );
    }

    #[test]
    fn half_an_id_makes_nobody_the_owner() {
        for entry in ["*", "", "1", "@ann", "telegram:1", "telegram:default:user:*x y"] {
            assert_eq!(owners(&[entry]).unwrap_err().code, "owner_invalid", "{entry}");
        }
    }
}
