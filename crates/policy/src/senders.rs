//! Layer 3, who may speak: what becomes of something that a person said on a channel.
//!
//! Pure. A sender is the vendor's immutable id and nothing else: names are not looked at. What no list and no approval
//! names is not answered. An approval by pairing is one for direct messages: in groups only lists of the config count.

use std::collections::{BTreeMap, BTreeSet};

use moltbot_config::settings::{DmPolicy, GroupPolicy, SenderEntry, SenderSettings};
use moltbot_protocol::sender::{Conversation, SenderId};

use crate::refusal::Refusal;

pub mod owner;
pub mod pairing;

/// Who may speak to one account of a channel.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SenderRules {
    direct: DmPolicy,
    group: GroupPolicy,
    allowed: BTreeSet<SenderId>,
    allowed_in_groups: BTreeSet<SenderId>,
    groups: BTreeMap<String, GroupRule>,
    ignored: Vec<String>,
}

/// Who may speak in one group.
#[derive(Clone, Debug, Eq, PartialEq)]
struct GroupRule {
    allowed: BTreeSet<SenderId>,
    need_mention: bool,
}

/// What a person decided about a sender.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Standing {
    /// Direct messages are answered.
    Approved,
    /// Nothing is answered, whatever a list says.
    Blocked,
    /// Nothing was decided.
    Unknown,
}

/// What becomes of something that was said.
#[derive(Debug)]
pub enum Admission {
    /// It is answered.
    Admit(SenderPermit),
    /// A person is to be asked whether the sender may speak.
    Ask,
    /// Nothing is done and nothing is answered.
    Ignore(Refusal),
}

/// Proof that a sender may be answered where he speaks.
#[derive(Debug)]
#[must_use = "a permit that is dropped answers nobody"]
pub struct SenderPermit {
    sender: SenderId,
}

impl SenderPermit {
    /// Who may be answered.
    pub const fn sender(&self) -> &SenderId {
        &self.sender
    }
}

impl SenderRules {
    /// The rules of a config. `read` reads an entry of a list in the vendor's own form; what neither it nor
    /// [`SenderId::parse`] understands, such as a name, lets nobody in.
    pub fn new(settings: &SenderSettings<'_>, read: impl Fn(&str) -> Option<SenderId>) -> Self {
        let mut ignored = Vec::new();
        let mut list = |entries: &[SenderEntry]| {
            let mut ids = BTreeSet::new();
            for entry in entries.iter().map(SenderEntry::text) {
                match SenderId::parse(&entry).ok().or_else(|| read(&entry)) {
                    Some(id) => drop(ids.insert(id)),
                    None => ignored.push(entry),
                }
            }
            ids
        };
        let allowed = list(settings.allow_from);
        let allowed_in_groups = list(settings.group_allow_from);
        let usual = settings.groups.get(EVERY_GROUP);
        let mut groups = BTreeMap::new();
        for (name, group) in settings.groups.iter().filter(|(name, _)| *name != EVERY_GROUP) {
            let need_mention =
                group.require_mention.or_else(|| usual.and_then(|usual| usual.require_mention));
            if group.enabled != Some(false) {
                let rule = GroupRule {
                    allowed: list(&group.allow_from),
                    need_mention: need_mention.unwrap_or(true),
                };
                groups.insert(name.to_lowercase(), rule);
            }
        }
        let (direct, group) = (settings.dm_policy, settings.group_policy);
        Self { direct, group, allowed, allowed_in_groups, groups, ignored }
    }

    /// Entries of lists that let nobody in, because they are no ids.
    pub fn ignored(&self) -> &[String] {
        &self.ignored
    }

    /// Judges what `sender` said in `conversation`; `mentioned` says whether it was said to us.
    pub fn admit(
        &self,
        sender: &SenderId,
        conversation: &Conversation,
        mentioned: bool,
        standing: Standing,
    ) -> Admission {
        if standing == Standing::Blocked {
            return ignore("sender_blocked", "the sender is blocked");
        }
        match conversation {
            Conversation::Direct { .. } => self.admit_direct(sender, standing),
            Conversation::Group { id, .. } => self.admit_in_group(sender, id, mentioned),
        }
    }

    fn admit_direct(&self, sender: &SenderId, standing: Standing) -> Admission {
        let is_listed = self.allowed.contains(sender);
        match self.direct {
            DmPolicy::Disabled => ignore("direct_disabled", "direct messages are disabled"),
            DmPolicy::Allowlist | DmPolicy::Pairing if is_listed => admit(sender),
            DmPolicy::Allowlist => ignore("sender_not_listed", "the sender is not in allowFrom"),
            DmPolicy::Pairing if standing == Standing::Approved => admit(sender),
            DmPolicy::Pairing => Admission::Ask,
        }
    }

    fn admit_in_group(&self, sender: &SenderId, group: &str, mentioned: bool) -> Admission {
        match self.group {
            GroupPolicy::Disabled => return ignore("group_disabled", "groups are disabled"),
            GroupPolicy::Allowlist => {}
        }
        let Some(rule) = self.groups.get(&group.to_lowercase()) else {
            return ignore("group_not_listed", "the group is not in groups");
        };
        if !self.allowed_in_groups.contains(sender) && !rule.allowed.contains(sender) {
            return ignore("sender_not_listed_in_group", "the sender is not in groupAllowFrom");
        }
        if rule.need_mention && !mentioned {
            return ignore("not_mentioned", "it was not said to us");
        }
        admit(sender)
    }
}

/// Not a group: the settings that groups have which say nothing else.
const EVERY_GROUP: &str = "*";

fn admit(sender: &SenderId) -> Admission {
    Admission::Admit(SenderPermit { sender: sender.clone() })
}

fn ignore(code: &'static str, message: &str) -> Admission {
    Admission::Ignore(Refusal::new(code, message))
}

#[cfg(test)]
mod tests {
    use super::*;
    use moltbot_config::settings::GroupSettings;

    fn id(text: &str) -> SenderId {
        SenderId::new("irc", "default", "account", text).unwrap()
    }

    fn rules(direct: DmPolicy, group: GroupPolicy) -> SenderRules {
        let entry = |text: &str| SenderEntry::Text(text.into());
        let (listed, in_groups) = (vec![entry("ann"), entry("@bob")], vec![entry("irc:default:account:gil")]);
        let quiet = GroupSettings { require_mention: Some(false), ..GroupSettings::default() };
        let own = GroupSettings { allow_from: vec![entry("ivy")], ..GroupSettings::default() };
        let off = GroupSettings { enabled: Some(false), ..GroupSettings::default() };
        let closed = GroupSettings::default();
        let groups = [
            ("#Open", quiet),
            ("#closed", closed),
            ("#own", own),
            ("#off", off),
            ("*", GroupSettings::default()),
        ];
        let settings = SenderSettings {
            dm_policy: direct,
            group_policy: group,
            allow_from: &listed,
            group_allow_from: &in_groups,
            groups: &groups.map(|(name, group)| (name.to_owned(), group)).into(),
        };
        SenderRules::new(&settings, |entry| (!entry.starts_with('@')).then(|| id(entry)))
    }

    fn told(admission: &Admission) -> &'static str {
        match admission {
            Admission::Admit(_) => "admit",
            Admission::Ask => "ask",
            Admission::Ignore(refusal) => refusal.code,
        }
    }

    #[test]
    fn who_is_answered_in_direct_messages() {
        use DmPolicy::{Allowlist, Disabled, Pairing};
        use Standing::{Approved, Blocked, Unknown};
        let direct = Conversation::Direct { to: "x".into() };
        for (policy, sender, standing, expected) in [
            (Pairing, "ann", Unknown, "admit"),
            (Pairing, "eve", Unknown, "ask"),
            (Pairing, "eve", Approved, "admit"),
            (Pairing, "eve", Blocked, "sender_blocked"),
            (Pairing, "ann", Blocked, "sender_blocked"),
            (Allowlist, "ann", Unknown, "admit"),
            (Allowlist, "eve", Approved, "sender_not_listed"),
            (Allowlist, "eve", Unknown, "sender_not_listed"),
            (Disabled, "ann", Approved, "direct_disabled"),
        ] {
            let rules = rules(policy, GroupPolicy::Allowlist);
            let admission = rules.admit(&id(sender), &direct, false, standing);
            assert_eq!(told(&admission), expected, "{policy:?} {sender} {standing:?}");
        }
    }

    #[test]
    fn who_is_answered_in_groups() {
        use GroupPolicy::{Allowlist, Disabled};
        use Standing::{Approved, Blocked, Unknown};
        for (policy, group, sender, mentioned, standing, expected) in [
            (Allowlist, "#open", "gil", false, Unknown, "admit"),
            (Allowlist, "#OPEN", "gil", false, Unknown, "admit"),
            (Allowlist, "#own", "gil", false, Unknown, "not_mentioned"),
            (Allowlist, "#own", "gil", true, Unknown, "admit"),
            (Allowlist, "#own", "ivy", true, Unknown, "admit"),
            (Allowlist, "#open", "ivy", true, Unknown, "sender_not_listed_in_group"),
            (Allowlist, "#open", "eve", true, Approved, "sender_not_listed_in_group"),
            (Allowlist, "#open", "ann", true, Unknown, "sender_not_listed_in_group"),
            (Allowlist, "#open", "gil", true, Blocked, "sender_blocked"),
            (Allowlist, "#off", "gil", true, Unknown, "group_not_listed"),
            (Allowlist, "#elsewhere", "gil", true, Unknown, "group_not_listed"),
            (Allowlist, "*", "gil", true, Unknown, "group_not_listed"),
            (Disabled, "#open", "gil", true, Unknown, "group_disabled"),
        ] {
            let conversation = Conversation::Group { id: group.into(), thread: None };
            let admission =
                rules(DmPolicy::Pairing, policy).admit(&id(sender), &conversation, mentioned, standing);
            assert_eq!(told(&admission), expected, "{policy:?} {group} {sender} {mentioned} {standing:?}");
        }
    }

    #[test]
    fn a_name_lets_nobody_in_and_is_told() {
        let rules = rules(DmPolicy::Allowlist, GroupPolicy::Allowlist);
        assert_eq!(rules.ignored(), ["@bob"]);
        let direct = Conversation::Direct { to: "bob".into() };
        for sender in ["@bob", "bob"] {
            let admission = rules.admit(&id(sender), &direct, true, Standing::Unknown);
            assert_eq!(told(&admission), "sender_not_listed", "{sender}");
        }
        let elsewhere = SenderId::new("irc", "second", "account", "ann").unwrap();
        let admission = rules.admit(&elsewhere, &direct, true, Standing::Unknown);
        assert_eq!(told(&admission), "sender_not_listed", "another account of ours is another network");
    }

    fn cell(admission: &Admission) -> &'static str {
        match admission {
            Admission::Admit(_) => "answered",
            Admission::Ask => "asks",
            Admission::Ignore(_) => "–",
        }
    }

    /// The rows of a table of docs/reference/access.md, which begins with `head`.
    fn table(head: &str) -> Vec<&'static str> {
        let page = include_str!("../../../docs/reference/access.md");
        let table = page.lines().skip_while(|line| !line.starts_with(head)).skip(2);
        table.take_while(|line| line.starts_with('|')).collect()
    }

    #[test]
    fn the_access_table_of_senders_in_direct_messages_is_complete() {
        let mut expected = Vec::new();
        for (who, sender) in [("in `allowFrom`", "ann"), ("not listed", "eve")] {
            for standing in [Standing::Approved, Standing::Blocked, Standing::Unknown] {
                let said = match standing {
                    Standing::Approved => "paired",
                    Standing::Blocked => "blocked",
                    Standing::Unknown => "nothing decided",
                };
                let direct = Conversation::Direct { to: "x".into() };
                let cells = [DmPolicy::Pairing, DmPolicy::Allowlist, DmPolicy::Disabled].map(|policy| {
                    let rules = rules(policy, GroupPolicy::Allowlist);
                    cell(&rules.admit(&id(sender), &direct, true, standing))
                });
                expected.push(format!("| {who}, {said} | {} |", cells.join(" | ")));
            }
        }
        let found = table("| in a direct message |");
        assert_eq!(found, expected, "the whole table is\n{}", expected.join("\n"));
    }

    #[test]
    fn the_access_table_of_senders_in_groups_is_complete() {
        let mut expected = Vec::new();
        for (who, sender, group) in [
            ("in `groupAllowFrom`", "gil", "#closed"),
            ("in `groups.<id>.allowFrom`", "ivy", "#own"),
            ("not listed", "eve", "#closed"),
            ("listed, in a group that is not", "gil", "#elsewhere"),
            ("listed, in a group with `enabled: false`", "gil", "#off"),
        ] {
            for (standing, said) in [
                (Standing::Approved, "paired"),
                (Standing::Blocked, "blocked"),
                (Standing::Unknown, "nothing decided"),
            ] {
                for (mentioned, named) in [(true, "mentions us"), (false, "does not, and must")] {
                    let conversation = Conversation::Group { id: group.into(), thread: None };
                    let cells = [GroupPolicy::Allowlist, GroupPolicy::Disabled].map(|policy| {
                        let rules = rules(DmPolicy::Pairing, policy);
                        cell(&rules.admit(&id(sender), &conversation, mentioned, standing))
                    });
                    expected.push(format!("| {who}, {said}, {named} | {} |", cells.join(" | ")));
                }
            }
        }
        let found = table("| in a group |");
        assert_eq!(found, expected, "the whole table is\n{}", expected.join("\n"));
    }
}
