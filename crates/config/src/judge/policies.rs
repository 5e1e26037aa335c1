//! Who may write to the assistant: policies of channels, wherever in `channels` they stand, and lists of senders.
//!
//! They are judged although no channel is served yet: a config that lets anybody in must not begin to do
//! so on the day one is.

use super::Judge;
use super::words::quoted_list;
use crate::path::Step;
use crate::report::ConfigErrorKind;
use crate::substitution::expand;
use crate::tree::{Kind, Node};

/// The policies for direct messages that there are.
const DIRECT: &[&str] = &["allowlist", "disabled", "pairing"];
/// The policies for groups that there are.
const GROUP: &[&str] = &["allowlist", "disabled"];
/// Where it is told what to do with what is not accepted any more.
pub(super) const GUIDE: &str = "docs/security/breaking-changes.md";

impl Judge<'_> {
    /// Whether the value that is looked at is a policy of a channel, which [`Self::policies`] judges.
    pub(super) fn is_at_policy(&self) -> bool {
        let names: Vec<String> = self
            .path
            .0
            .iter()
            .map(|step| match step {
                Step::Key(key) => fold(key),
                Step::Index(_) => String::new(),
            })
            .collect();
        match names.as_slice() {
            [channels, .., last] if channels == "channels" && last == "dmpolicy" => true,
            [channels, .., last] if channels == "channels" && last == "grouppolicy" => true,
            [channels, .., dm, last] => channels == "channels" && dm == "dm" && last == "policy",
            _ => false,
        }
    }

    /// Judges every policy in `node`, which is the value of a key with the folded name `parent`.
    pub(super) fn policies(&mut self, node: &Node, parent: &str) {
        match &node.kind {
            Kind::List { items, .. } => {
                for (index, item) in items.iter().enumerate() {
                    self.within(Step::Index(index), |judge| judge.policies(item, parent));
                }
            }
            Kind::Object { members, .. } => {
                for member in members {
                    let name = fold(&member.key);
                    let is_direct = name == "dmpolicy" || (parent == "dm" && name == "policy");
                    let is_group = name == "grouppolicy";
                    self.within(Step::Key(member.key.clone()), |judge| {
                        if is_direct {
                            judge.direct_policy(&member.value);
                        } else if is_group {
                            judge.group_policy(&member.value);
                        } else {
                            judge.policies(&member.value, &name);
                        }
                    });
                }
            }
            Kind::Bool(_) | Kind::Null | Kind::Number(_) | Kind::Text(_) => {}
        }
    }

    fn direct_policy(&mut self, node: &Node) {
        if !self.is_open(node) {
            return self.policy(node, DIRECT);
        }
        if crate::hole!("open-dm-policy") {
            return;
        }
        let fix = "write \"pairing\", and newcomers get a code that you approve; or \"allowlist\", and list who may write in `allowFrom`";
        self.refuse(node, "anybody could give orders to your assistant", DIRECT, fix);
    }

    fn group_policy(&mut self, node: &Node) {
        if !self.is_open(node) {
            return self.policy(node, GROUP);
        }
        let fix = "write \"allowlist\", and list who may write in `groupAllowFrom`; or \"disabled\"";
        self.refuse(node, "anybody in any group could give orders to your assistant", GROUP, fix);
    }

    fn is_open(&self, node: &Node) -> bool {
        let Kind::Text(text) = &node.kind else { return false };
        expand(text, self.environment).is_ok_and(|text| fold(text.expose()) == "open")
    }

    fn refuse(&mut self, node: &Node, why: &str, allowed: &[&str], fix: &str) {
        let message = format!("{} is not accepted: {why}", self.show(node));
        let fix = Some(format!("{fix}; see {GUIDE}"));
        self.find(ConfigErrorKind::Refused, node, message, quoted_list(allowed), fix);
    }

    /// Judges every list of those who may write or order, wherever in the config it stands.
    pub(super) fn allow_lists(&mut self, node: &Node, is_list: bool) {
        match &node.kind {
            Kind::List { items, .. } => {
                for (index, item) in items.iter().enumerate() {
                    self.within(Step::Index(index), |judge| judge.allow_lists(item, is_list));
                }
            }
            Kind::Object { members, .. } => {
                let in_channels = matches!(self.path.0.first(), Some(Step::Key(key)) if key == "channels");
                for member in members {
                    let name = fold(&member.key);
                    // Below it stand channels or accounts with a list each.
                    let is_list = is_list || name.ends_with("allowfrom") || (in_channels && name == "users");
                    self.within(Step::Key(member.key.clone()), |judge| {
                        judge.allow_lists(&member.value, is_list);
                    });
                }
            }
            Kind::Text(text) if is_list => {
                let Ok(text) = expand(text, self.environment) else { return };
                // No id of any vendor has a star in it.
                if text.expose().contains('*') {
                    let message = format!(
                        "{} is not accepted: a wildcard lets anybody give orders to your assistant",
                        self.show(node)
                    );
                    let fix = format!(
                        "list the ids of those who may, or remove it and approve them by pairing; see {GUIDE}"
                    );
                    self.find(ConfigErrorKind::Refused, node, message, "ids without `*`".into(), Some(fix));
                } else if self.is_in_telegram() && !is_telegram_user(text.expose()) {
                    let message = format!(
                        "{} is not accepted: a name may be somebody else's tomorrow",
                        self.show(node)
                    );
                    let fix = "write the user's number, which Telegram never changes; a newcomer who writes to your bot is told it with the pairing code";
                    let expected = "the number of a user, such as 123456789";
                    self.find(ConfigErrorKind::Refused, node, message, expected.into(), Some(fix.into()));
                }
            }
            Kind::Bool(_) | Kind::Null | Kind::Number(_) | Kind::Text(_) => {}
        }
    }

    fn is_in_telegram(&self) -> bool {
        let is = |step: Option<&Step>, name: &str| matches!(step, Some(Step::Key(key)) if key == name);
        is(self.path.0.first(), "channels") && is(self.path.0.get(1), "telegram")
    }

    fn policy(&mut self, node: &Node, allowed: &[&str]) {
        let Kind::Text(text) = &node.kind else {
            let message = format!("{} is {}", self.show(node), node.describe());
            let expected = format!("one of {}", quoted_list(allowed));
            return self.find(ConfigErrorKind::Type, node, message, expected, None);
        };
        let Ok(expanded) = expand(text, self.environment) else { return };
        if !allowed.contains(&expanded.expose()) {
            self.not_one_of(node, expanded.expose(), allowed, None);
        }
    }
}

/// Whether an entry of a list names a user of Telegram by its number: `123`, `tg:123`, `telegram:123`, or in full
/// `telegram:account:user:123`.
fn is_telegram_user(entry: &str) -> bool {
    let parts: Vec<&str> = entry.trim().split(':').collect();
    let is_prefix = |name: &str| ["telegram", "tg"].iter().any(|known| name.eq_ignore_ascii_case(known));
    let number = match parts.as_slice() {
        [number] => number,
        [prefix, number] if is_prefix(prefix) => number,
        ["telegram", _account, "user", number] => number,
        _ => return false,
    };
    !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
}

/// A name without case, spaces and marks: `dm_policy` and ` Open ` are what they look like.
fn fold(text: &str) -> String {
    text.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}
