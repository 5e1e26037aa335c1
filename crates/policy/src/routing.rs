//! Which agent answers what arrives on a channel. Pure.
//!
//! A sender chooses no agent: what decides is where he speaks and who he is by the vendor's immutable id, never a name and never a
//! text. The most precise rule that fits wins; of those that are as precise the first of the config, so that one message goes to one
//! agent whatever else there is.

use moltbot_protocol::ids::AgentId;
use moltbot_protocol::sender::{Conversation, SenderId};

/// One rule. All that it names has to fit.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Rule {
    /// The agent that answers.
    pub agent: AgentId,
    /// The channel.
    pub channel: String,
    /// The account on it; all of them when absent.
    pub account: Option<String>,
    /// Who or where.
    pub peer: Option<Peer>,
    /// The guild.
    pub guild: Option<String>,
    /// The team.
    pub team: Option<String>,
}

/// Who speaks, or where.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Peer {
    /// A group, or with `:topic:` and its name one topic of it.
    Group(String),
    /// A person in direct messages: his identities at the accounts that the rule is for.
    Person(Vec<SenderId>),
}

/// What is known of something that arrived.
#[derive(Clone, Copy, Debug)]
pub struct Arrived<'a> {
    /// Who said it, with the channel and the account.
    pub sender: &'a SenderId,
    /// Where.
    pub conversation: &'a Conversation,
    /// The guild of the conversation, on channels that have them.
    pub guild: Option<&'a str>,
    /// The team.
    pub team: Option<&'a str>,
}

/// The agent that answers; nothing when no rule fits, which is the default agent's.
pub fn agent_for<'a>(rules: &'a [Rule], arrived: &Arrived<'_>) -> Option<&'a AgentId> {
    let fitting = rules.iter().filter_map(|rule| Some((precision(rule, arrived)?, &rule.agent)));
    // Of several that are least it is the first.
    fitting.min_by_key(|(precision, _)| *precision).map(|(_, agent)| agent)
}

/// How precise a rule is; the most precise first.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Precision {
    Peer,
    /// The group that a topic is in.
    GroupOfTopic,
    Guild,
    Team,
    Account,
    Channel,
}

/// How precise a rule is for what arrived; nothing when it does not fit.
fn precision(rule: &Rule, arrived: &Arrived<'_>) -> Option<Precision> {
    let Arrived { sender, conversation, guild, team } = *arrived;
    let is_of =
        |wanted: &Option<String>, has: Option<&str>| wanted.as_deref().is_none_or(|it| has == Some(it));
    let is_there = rule.channel == sender.channel() && is_of(&rule.account, Some(sender.account()));
    if !is_there || !is_of(&rule.guild, guild) || !is_of(&rule.team, team) {
        return None;
    }
    match (&rule.peer, &rule.guild, &rule.team, &rule.account) {
        (Some(peer), ..) => of_peer(peer, sender, conversation),
        (None, Some(_), ..) => Some(Precision::Guild),
        (None, None, Some(_), _) => Some(Precision::Team),
        (None, None, None, Some(_)) => Some(Precision::Account),
        (None, None, None, None) => Some(Precision::Channel),
    }
}

fn of_peer(peer: &Peer, sender: &SenderId, conversation: &Conversation) -> Option<Precision> {
    match (peer, conversation) {
        (Peer::Person(ids), Conversation::Direct { .. }) => ids.contains(sender).then_some(Precision::Peer),
        (Peer::Group(named), Conversation::Group { id, thread }) => {
            let is_named = |text: &str| named.to_lowercase() == text.to_lowercase();
            match thread {
                None => is_named(id).then_some(Precision::Peer),
                Some(thread) if is_named(&format!("{id}:topic:{thread}")) => Some(Precision::Peer),
                Some(_) => is_named(id).then_some(Precision::GroupOfTopic),
            }
        }
        // A person's own agent does not answer him in a group, where others read and write.
        (Peer::Person(_), Conversation::Group { .. }) | (Peer::Group(_), Conversation::Direct { .. }) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ann(account: &str) -> SenderId {
        SenderId::new("telegram", account, "user", "7").unwrap()
    }

    fn rule(agent: &str) -> Rule {
        let agent = AgentId::parse(agent).unwrap();
        Rule { agent, channel: "telegram".into(), account: None, peer: None, guild: None, team: None }
    }

    fn account(agent: &str) -> Rule {
        Rule { account: Some("default".into()), ..rule(agent) }
    }

    fn group(agent: &str, name: &str) -> Rule {
        Rule { peer: Some(Peer::Group(name.into())), ..account(agent) }
    }

    #[test]
    fn the_most_precise_rule_wins_and_of_two_the_first() {
        let (direct, topic) = (
            Conversation::Direct { to: "7".into() },
            Conversation::Group { id: "-100".into(), thread: Some("3".into()) },
        );
        let (sender, other) = (ann("default"), ann("work"));
        let rules = [
            rule("channel"),
            account("account"),
            account("second"),
            Rule { team: Some("t".into()), ..account("team") },
            Rule { guild: Some("g".into()), ..account("guild") },
            group("group", "-100"),
            Rule { peer: Some(Peer::Person(vec![ann("default")])), ..account("peer") },
            group("topic", "-100:topic:3"),
        ];
        let arrived = |sender, conversation, guild, team| Arrived { sender, conversation, guild, team };
        let of = |rules: &[Rule], arrived: Arrived<'_>| {
            agent_for(rules, &arrived).map_or_else(|| "-".to_owned(), ToString::to_string)
        };
        assert_eq!(of(&rules, arrived(&sender, &direct, Some("g"), Some("t"))), "peer");
        assert_eq!(of(&rules, arrived(&sender, &topic, Some("g"), Some("t"))), "topic");
        assert_eq!(of(&rules[..7], arrived(&sender, &topic, Some("g"), Some("t"))), "group");
        assert_eq!(of(&rules[..5], arrived(&sender, &topic, Some("g"), Some("t"))), "guild");
        assert_eq!(of(&rules[..5], arrived(&sender, &topic, None, Some("t"))), "team");
        assert_eq!(of(&rules[..5], arrived(&sender, &topic, None, None)), "account");
        assert_eq!(
            of(&rules, arrived(&other, &direct, None, None)),
            "channel",
            "his other account is not he"
        );
        assert_eq!(of(&rules[1..], arrived(&other, &direct, None, None)), "-");
        let irc = SenderId::new("irc", "default", "account", "7").unwrap();
        assert_eq!(of(&rules, arrived(&irc, &direct, None, None)), "-");
    }

    #[test]
    fn all_that_a_rule_names_has_to_fit() {
        let direct = Conversation::Direct { to: "7".into() };
        let here = Conversation::Group { id: "#Home".into(), thread: None };
        let sender = ann("default");
        let fits = |rule: Rule, conversation: &Conversation, guild: Option<&str>| {
            agent_for(&[rule], &Arrived { sender: &sender, conversation, guild, team: None }).is_some()
        };
        let person = Rule { peer: Some(Peer::Person(vec![ann("default")])), ..rule("a") };
        assert!(fits(person.clone(), &direct, None));
        assert!(!fits(person.clone(), &here, None), "in a group he is one of many");
        assert!(!fits(Rule { guild: Some("g".into()), ..person }, &direct, None));
        assert!(fits(group("a", "#home"), &here, None));
        assert!(!fits(group("a", "#home2"), &here, None) && !fits(group("a", "7"), &direct, None));
        let both = Rule { guild: Some("g".into()), ..group("a", "#home") };
        assert!(fits(both.clone(), &here, Some("g")) && !fits(both, &here, Some("h")));
    }
}
