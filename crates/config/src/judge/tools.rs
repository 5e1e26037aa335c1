//! Policies of tools that say two things at once, wherever they stand.

use super::Judge;
use crate::path::Step;
use crate::report::ConfigErrorKind;
use crate::tree::{Kind, Node};

impl Judge<'_> {
    /// Judges `tools` of all agents and of each.
    pub(super) fn tool_policies(&mut self, root: &Node) {
        let key = |name: &str| Step::Key(name.to_owned());
        let mut places = vec![vec![key("tools")]];
        let list = [key("agents"), key("list")].iter().try_fold(root, |node, step| node.child(step));
        if let Some(Node { kind: Kind::List { items, .. }, .. }) = list {
            let of_agent = |index| vec![key("agents"), key("list"), Step::Index(index), key("tools")];
            places.extend((0..items.len()).map(of_agent));
        }
        for path in places {
            if let Some(node) = path.iter().try_fold(root, |node, step| node.child(step)) {
                let before = std::mem::replace(&mut self.path.0, path);
                self.tool_policy(node);
                self.path.0 = before;
            }
        }
    }

    /// Judges one, and those within it.
    fn tool_policy(&mut self, node: &Node) {
        let Kind::Object { members, .. } = &node.kind else { return };
        let names = |name: &str| {
            let named = node.child(&Step::Key(name.to_owned()));
            named.is_some_and(|named| matches!(&named.kind, Kind::List { items, .. } if !items.is_empty()))
        };
        for member in members {
            self.within(Step::Key(member.key.clone()), |judge| {
                if member.key == "alsoAllow" && names("alsoAllow") && names("allow") {
                    let message =
                        "`alsoAllow` adds to a profile, and `allow` is all that there is".to_owned();
                    let fix = "put what it names into `allow`, and remove it".to_owned();
                    let expected = "one of `allow` and `alsoAllow`".to_owned();
                    judge.find(ConfigErrorKind::Refused, &member.value, message, expected, Some(fix));
                } else {
                    judge.tool_policy(&member.value);
                }
            });
        }
    }
}
