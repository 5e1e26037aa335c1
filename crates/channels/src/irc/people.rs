//! Whom a network without the tag `account` tells us of: those who share a channel with us.
//!
//! Such a network says the account of somebody when he joins (`extended-join`) and when it changes (`account-notify`), and
//! those who were there before us it names when it is asked for the channel (WHOX). From then on each change of his nick,
//! host and channels is told in the same stream as what he says, so that who he is at a line is what was told before it.
//! Once he shares no channel with us nothing more is told, and he is nobody: his nick may be somebody else's.
//!
//! Whatever is not told in full forgets somebody; nothing is guessed.

use std::collections::{HashMap, HashSet};

use irc_proto::{Command, Message};
use moltbot_config::limits;

use super::format::fold;
use super::wire::{numeric, source, tag};

/// What answers to our questions for a channel are known by.
const QUESTION: &str = "71";
/// RPL_ISUPPORT and RPL_WHOSPCRPL.
const SUPPORTS: u16 = 5;
const MEMBER: u16 = 354;

/// How the server tells as whom somebody is signed in with services.
pub(super) enum Accounts {
    /// Of those who share a channel with us.
    Followed(People),
    /// On each message.
    Tagged,
    /// Not at all.
    Untold,
}

impl Accounts {
    /// The account of who sent a message.
    pub(super) fn of<'a>(&'a self, message: &'a Message) -> Option<&'a str> {
        match self {
            Self::Followed(people) => {
                let (nick, user, host) = source(message)?;
                people.account(nick, user, host)
            }
            Self::Tagged => tag(message, "account"),
            Self::Untold => None,
        }
    }

    /// Takes note of what the server told; gives what it is to be asked.
    pub(super) fn follow(&mut self, message: &Message) -> Option<String> {
        match self {
            Self::Followed(people) => people.follow(message),
            Self::Tagged | Self::Untold => None,
        }
    }
}

/// Who shares a channel with us.
#[derive(Debug)]
pub(super) struct People {
    nick: String,
    can_ask: bool,
    /// Our channels.
    channels: HashSet<String>,
    /// By their nicks, as the server writes them.
    known: HashMap<String, Person>,
}

/// Somebody, as he was told last.
#[derive(Debug, Default)]
struct Person {
    account: Option<String>,
    user: String,
    host: String,
    /// The channels that we share.
    channels: HashSet<String>,
}

impl People {
    /// Nobody, for a connection on which we have that nick.
    pub(super) fn new(nick: &str) -> Self {
        let (channels, known) = Default::default();
        Self { nick: nick.to_owned(), can_ask: false, channels, known }
    }

    /// The account of whoever wrote under that nick, user and host just now.
    pub(super) fn account(&self, nick: &str, user: &str, host: &str) -> Option<&str> {
        let person = self.known.get(nick).filter(|person| person.user == user && person.host == host)?;
        person.account.as_deref()
    }

    /// Takes note of what the server told. Gives what it is to be asked, when we came to a channel.
    pub(super) fn follow(&mut self, message: &Message) -> Option<String> {
        if let Some((number, parameters)) = numeric(message) {
            let parameters: Vec<&str> = parameters.iter().map(String::as_str).collect();
            match (number, parameters.as_slice()) {
                // InspIRCd puts a space behind its last word.
                (SUPPORTS, words) => self.can_ask |= words.iter().any(|word| word.trim() == "WHOX"),
                (MEMBER, [_, QUESTION, channel, user, host, nick, account]) => {
                    let account = Some(*account).filter(|account| *account != "0");
                    self.is_in(&fold(channel), (nick, user, host), account);
                }
                _ => {}
            }
            return None;
        }
        let from = source(message)?;
        match &message.command {
            Command::JOIN(channel, account, _) => {
                return self.joined(&fold(channel), from, account.as_deref());
            }
            Command::PART(channel, _) => self.left(channel, from.0),
            Command::KICK(channel, nick, _) => self.left(channel, nick),
            Command::QUIT(_) => self.forget(from.0),
            Command::NICK(nick) => self.renamed(from.0, nick),
            Command::ACCOUNT(account) => {
                if let Some(person) = self.known.get_mut(from.0) {
                    person.account = named(Some(account));
                }
            }
            Command::CHGHOST(user, host) => {
                if let Some(person) = self.known.get_mut(from.0) {
                    (person.user, person.host) = (user.clone(), host.clone());
                }
            }
            _ => {}
        }
        None
    }

    fn joined(&mut self, channel: &str, from: (&str, &str, &str), account: Option<&str>) -> Option<String> {
        if fold(from.0) == fold(&self.nick) {
            self.channels.insert(channel.to_owned());
            return self.can_ask.then(|| format!("WHO {channel} %tcuhna,{QUESTION}"));
        }
        self.is_in(channel, from, named(account).as_deref());
        None
    }

    /// Somebody is in a channel, as that account.
    fn is_in(&mut self, channel: &str, (nick, user, host): (&str, &str, &str), account: Option<&str>) {
        let is_ours = self.channels.contains(channel);
        let has_room = self.known.contains_key(nick) || self.known.len() < limits::IRC_PEOPLE;
        if !is_ours || !has_room {
            return;
        }
        let person = self.known.entry(nick.to_owned()).or_default();
        person.account = account.map(str::to_owned);
        (person.user, person.host) = (user.to_owned(), host.to_owned());
        person.channels.insert(channel.to_owned());
    }

    fn left(&mut self, channel: &str, nick: &str) {
        let channel = fold(channel);
        let is_us = fold(nick) == fold(&self.nick);
        if is_us {
            self.channels.remove(&channel);
        }
        self.known.retain(|other, person| {
            if is_us || fold(other) == fold(nick) {
                person.channels.remove(&channel);
            }
            !person.channels.is_empty()
        });
    }

    fn renamed(&mut self, from: &str, to: &str) {
        if fold(from) == fold(&self.nick) {
            to.clone_into(&mut self.nick);
        }
        let person = self.known.remove(from);
        // Whoever had it before is gone, told or not.
        self.forget(to);
        if let Some(person) = person {
            self.known.insert(to.to_owned(), person);
        }
    }

    fn forget(&mut self, nick: &str) {
        self.known.retain(|other, _| fold(other) != fold(nick));
    }
}

/// The account that somebody has by `extended-join` and `account-notify`, where `*` is none.
fn named(account: Option<&str>) -> Option<String> {
    account.filter(|account| *account != "*" && !account.is_empty()).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is asked and who `ann!a@h` is after those lines.
    fn after(lines: &[&str]) -> (Vec<String>, Option<String>) {
        let mut people = People::new("molt");
        let asked = lines.iter().filter_map(|line| people.follow(&line.parse().unwrap())).collect();
        (asked, people.account("ann", "a", "h").map(str::to_owned))
    }

    const HERE: &str = ":molt!m@x JOIN #home molt :m";
    const ANN: &str = ":ann!a@h JOIN #home Ann :a";

    #[test]
    fn who_joins_or_was_there_is_known_by_what_the_server_says() {
        let there = ":srv 354 molt 71 #home a h ann Ann";
        for (lines, expected) in [
            (&[HERE, ANN][..], Some("Ann")),
            (&[HERE, there], Some("Ann")),
            (&[HERE, ":ann!a@h JOIN #home * :a", ":ann!a@h ACCOUNT Ann"], Some("Ann")),
            (&[HERE, ANN, ":ann!a@h ACCOUNT *"], None),
            (&[HERE, ANN, ":ann!a@h ACCOUNT Bob"], Some("Bob")),
            // Without extended-join nothing is told.
            (&[HERE, ":ann!a@h JOIN #home"], None),
            (&[HERE, ANN, ":ann!a@h JOIN #other"], Some("Ann")),
            (&[HERE, ":srv 354 molt 71 #home a h ann 0"], None),
            // Another's question, and a channel that is not ours.
            (&[HERE, ":srv 354 molt 72 #home a h ann Ann"], None),
            (&[there], None),
            (&[ANN], None),
            (&[HERE, ":ann!a@h ACCOUNT Ann"], None),
        ] {
            assert_eq!(after(lines).1.as_deref(), expected, "{lines:?}");
        }
        let asked = after(&[":srv 005 molt PREFIX=(ov)@+ WHOX  :are supported", HERE, ANN]).0;
        assert_eq!(asked, ["WHO #home %tcuhna,71"]);
        assert_eq!(after(&[HERE]).0, [""; 0], "a server that does not know the question");
    }

    #[test]
    fn who_is_not_seen_any_more_is_nobody() {
        for (gone, expected) in [
            (&[":ann!a@h PART #home"][..], None),
            (&[":ann!a@h PART #HOME :bye"], None),
            (&[":op!o@h KICK #home ann :out"], None),
            (&[":op!o@h KICK #home ANN"], None),
            (&[":ann!a@h QUIT :irc.one irc.two"], None),
            (&[":ann!a@h QUIT"], None),
            (&[":molt!m@x PART #home"], None),
            (&[":op!o@h KICK #home molt :out"], None),
            (&[":ann!a@h NICK other"], None),
            // Who takes the nick is himself, whatever came before.
            (&[":ann!a@h NICK other", ":eve!a@h NICK ann"], None),
            (&[":eve!a@h JOIN #home Eve :e", ":eve!a@h NICK ann"], Some("Eve")),
            (&[":eve!a@h NICK ann"], None),
            (&[":ann!a@h PART #home", ":ann!a@h JOIN #home * :a"], None),
            (&[":ann!a@h PART #other"], Some("Ann")),
            (&[":ann!a@h NICK other", ":other!a@h NICK ann"], Some("Ann")),
            // The nick under another host is somebody of whom nothing was told.
            (&[":ann!a@h CHGHOST a cloak"], None),
            (&[":ann!a@h CHGHOST a cloak", ":ann!a@cloak CHGHOST a h"], Some("Ann")),
        ] {
            let lines = [&[HERE, ANN][..], gone].concat();
            assert_eq!(after(&lines).1.as_deref(), expected, "{lines:?}");
        }
        let two = [HERE, ":molt!m@x JOIN #two molt :m", ANN, ":ann!a@h JOIN #two Ann :a"];
        let one_less = [&two[..], &[":ann!a@h PART #home"]].concat();
        assert_eq!(after(&one_less).1.as_deref(), Some("Ann"), "she is still seen in the other");
        let none = [&one_less[..], &[":op!o@h KICK #two ann :out"]].concat();
        assert_eq!(after(&none).1, None);
    }

    #[test]
    fn no_more_people_are_kept_than_a_limit() {
        let mut people = People::new("molt");
        people.follow(&HERE.parse().unwrap());
        for number in 0..=limits::IRC_PEOPLE {
            people.follow(&format!(":n{number}!a@h JOIN #home Ann :a").parse().unwrap());
        }
        assert_eq!(people.known.len(), limits::IRC_PEOPLE);
        let last = format!("n{}", limits::IRC_PEOPLE);
        assert_eq!((people.account("n0", "a", "h"), people.account(&last, "a", "h")), (Some("Ann"), None));
    }
}
