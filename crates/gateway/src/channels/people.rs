//! Senders whom the config says to be somebody: the owner's own identities, and several that are one person.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use moltbot_channels::driver::SharedDriver;
use moltbot_config::settings::{CommandsConfig, SenderEntry};
use moltbot_policy::chat::OwnIdentities;
use moltbot_protocol::sender::{SenderId, is_name};

/// The account whose entries may leave out their account.
const DEFAULT: &str = "default";

/// The identities that are the owner's.
pub(super) fn owner(commands: &CommandsConfig, drivers: &[SharedDriver]) -> OwnIdentities {
    let ids = commands.owner_allow_from.iter().map(SenderEntry::text).filter_map(|entry| {
        let id = read(&entry, drivers);
        if id.is_none() {
            let entry = entry.escape_debug();
            tracing::warn!(%entry, "an entry of commands.ownerAllowFrom is no immutable id; it is nobody");
        }
        id
    });
    OwnIdentities::new(ids)
}

/// Reads an id in full, or as `channel:` and what the channel's account `default` reads in its own lists. Names are none.
fn read(entry: &str, drivers: &[SharedDriver]) -> Option<SenderId> {
    let (channel, rest) = entry.split_once(':')?;
    if let Ok(id) = SenderId::parse(entry) {
        return Some(id);
    }
    let place = |driver: &&SharedDriver| {
        let place = driver.place();
        place.channel == channel && place.account == DEFAULT
    };
    drivers.iter().find(place)?.sender(rest)
}

/// Senders that are one person.
#[derive(Debug, Default)]
pub(super) struct IdentityLinks {
    people: HashMap<SenderId, String>,
    names: BTreeSet<String>,
}

impl IdentityLinks {
    /// Those of the config. A sender that two names claim has neither.
    pub(super) fn new(links: &BTreeMap<String, Vec<SenderEntry>>, drivers: &[SharedDriver]) -> Self {
        let mut made = Self::default();
        let mut claimed_twice = BTreeSet::new();
        for (name, entries) in links {
            if !is_name(name) {
                let name = name.escape_debug();
                tracing::warn!(%name, "a name in session.identityLinks is not a-z, 0-9, '-' and '_'; it links nobody");
                continue;
            }
            made.names.insert(name.clone());
            for entry in entries.iter().map(SenderEntry::text) {
                let Some(id) = read(&entry, drivers) else {
                    let entry = entry.escape_debug();
                    tracing::warn!(%name, %entry, "an entry of session.identityLinks is no immutable id; it links nobody");
                    continue;
                };
                if made.people.insert(id.clone(), name.clone()).is_some_and(|other| other != *name) {
                    tracing::warn!(%id, "session.identityLinks gives a sender two names; it has neither");
                    claimed_twice.insert(id);
                }
            }
        }
        made.people.retain(|id, _| !claimed_twice.contains(id));
        made
    }

    /// What a sender is called in the key of his conversation. Whose own id is somebody's name here is not that person.
    pub(super) fn peer(&self, sender: &SenderId) -> String {
        match self.people.get(sender) {
            Some(name) => name.clone(),
            None if self.names.contains(&sender.id().to_lowercase()) => sender.to_string(),
            None => sender.id().to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> SenderId {
        SenderId::parse(text).unwrap()
    }

    fn links(links: &[(&str, &[&str])]) -> IdentityLinks {
        let entries = |ids: &[&str]| ids.iter().map(|id| SenderEntry::Text((*id).into())).collect();
        let links = links.iter().map(|(name, ids)| ((*name).to_owned(), entries(ids))).collect();
        IdentityLinks::new(&links, &[])
    }

    #[test]
    fn several_ids_are_one_person_and_nobody_becomes_one_by_a_name() {
        let ann: &[&str] =
            &["telegram:default:user:7", "irc:default:account:ann2", "ann3", "@ann", "irc:ann4"];
        let links = links(&[("ann", ann), ("Bob ", &["irc:default:account:bob"])]);
        for (sender, expected) in [
            ("telegram:default:user:7", "ann"),
            ("irc:default:account:ann2", "ann"),
            ("irc:default:account:ann", "irc:default:account:ann"),
            ("irc:default:account:Ann", "irc:default:account:Ann"),
            ("irc:other:account:ann2", "ann2"),
            ("irc:default:account:ann3", "ann3"),
            ("irc:default:account:bob", "bob"),
        ] {
            assert_eq!(links.peer(&id(sender)), expected, "{sender}");
        }
    }

    #[test]
    fn who_is_claimed_by_two_is_neither() {
        let both = "irc:default:account:x";
        let links = links(&[("ann", &[both]), ("bob", &[both, "irc:default:account:y"])]);
        assert_eq!(links.peer(&id(both)), "x");
        assert_eq!(links.peer(&id("irc:default:account:y")), "bob");
    }
}
