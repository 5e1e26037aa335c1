//! Who may write to the assistant: policies of channels, wherever in `channels` they stand.
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
const GROUP: &[&str] = &["allowlist", "disabled", "open"];

impl Judge<'_> {
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
                            judge.policy(&member.value, GROUP);
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
        let is_open = match &node.kind {
            Kind::Text(text) => {
                expand(text, self.environment).is_ok_and(|text| fold(text.expose()) == "open")
            }
            _ => false,
        };
        if !is_open {
            return self.policy(node, DIRECT);
        }
        let message =
            format!("{} is not accepted: anybody could give orders to your assistant", self.show(node));
        let fix = "write \"pairing\", and newcomers get a code that you approve; or \"allowlist\", and list who may write in `allowFrom`";
        self.find(ConfigErrorKind::Refused, node, message, quoted_list(DIRECT), Some(fix.to_owned()));
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

/// A name without case, spaces and marks: `dm_policy` and ` Open ` are what they look like.
fn fold(text: &str) -> String {
    text.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}
