//! Who may decide from a chat: the owner, by his own ids on channels, in a conversation with nobody else.

use moltbot_protocol::sender::{Conversation, SenderId};

use super::Standing;
use crate::chat::OwnIdentities;
use crate::refusal::Refusal;

/// Proof that the owner has pressed a button or given a command in a chat of his own. Made only by [`judge`].
#[derive(Debug)]
#[must_use = "a permit that is dropped decides nothing"]
pub struct OwnerPermit(SenderId);

impl OwnerPermit {
    /// The owner, as the book names who acts.
    pub fn actor(&self) -> String {
        format!("owner:{}", self.0)
    }
}

/// Judges what `sender` wants to decide in `conversation`, by a button.
///
/// # Errors
/// When he is not the owner, is blocked, or others can see and press in that conversation.
pub fn judge(
    own: &OwnIdentities,
    sender: &SenderId,
    conversation: &Conversation,
    standing: Standing,
) -> Result<OwnerPermit, Refusal> {
    if standing == Standing::Blocked {
        return Err(Refusal::new("sender_blocked", "the sender is blocked"));
    }
    if !own.contains(sender) {
        return Err(Refusal::new("not_the_owner", "the sender is not in commands.ownerAllowFrom"));
    }
    match conversation {
        Conversation::Direct { .. } => Ok(OwnerPermit(sender.clone())),
        Conversation::Group { .. } => Err(Refusal::new("not_alone", "nothing is decided where others are")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_owner_alone_decides() {
        let own = OwnIdentities::new(SenderId::parse("telegram:default:user:1"));
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
            let judged = judge(&own, &sender, conversation, standing);
            assert_eq!(
                judged.err().map(|refusal| refusal.code),
                expected,
                "{who} {conversation:?} {standing:?}"
            );
        }
        assert_eq!((own.at("telegram", "default").count(), own.at("telegram", "other").count()), (1, 0));
    }
}
