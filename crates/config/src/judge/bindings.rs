//! `bindings` that name an agent or a channel that there is not: what is misspelt here would go to another agent.

use super::{Judge, nearest};
use crate::path::{Step, quote};
use crate::report::ConfigErrorKind;
use crate::substitution::expand;
use crate::tree::{Kind, Node};
use crate::unsupported;

impl Judge<'_> {
    /// Judges the names in `bindings`.
    pub(super) fn bindings(&mut self, root: &Node) {
        let key = |name: &str| Step::Key(name.to_owned());
        let Some(Node { kind: Kind::List { items, .. }, .. }) = root.child(&key("bindings")) else { return };
        let mut agents = self.agents_of(root);
        if agents.is_empty() {
            agents.push("main".to_owned());
        }
        let channels = self.channels_of(root);
        self.within(key("bindings"), |judge| {
            for (index, item) in items.iter().enumerate() {
                judge.within(Step::Index(index), |judge| {
                    let of =
                        |steps: &[&str]| steps.iter().try_fold(item, |node, name| node.child(&key(name)));
                    if let Some(node) = of(&["agentId"]) {
                        judge.within(key("agentId"), |judge| {
                            judge.one_of(node, &agents, "agent", "an agent of `agents.list`");
                        });
                    }
                    if let Some(node) = of(&["match", "channel"]) {
                        judge.within(key("match"), |judge| {
                            judge.within(key("channel"), |judge| {
                                judge.one_of(node, &channels, "channel", "a channel");
                            });
                        });
                    }
                });
            }
        });
    }

    fn agents_of(&self, root: &Node) -> Vec<String> {
        let list = [Step::Key("agents".into()), Step::Key("list".into())];
        let list = list.iter().try_fold(root, |node, step| node.child(step));
        let Some(Node { kind: Kind::List { items, .. }, .. }) = list else { return Vec::new() };
        let ids = items.iter().filter_map(|item| item.child(&Step::Key("id".into())));
        ids.filter_map(|id| self.name_in(id)).collect()
    }

    /// The channels that are known, served or not, and those that the config names.
    fn channels_of(&self, root: &Node) -> Vec<String> {
        let known = unsupported::channels().map(str::to_owned);
        let own = root.child(&Step::Key("channels".into()));
        let own = own.and_then(|own| match &own.kind {
            Kind::Object { members, .. } => Some(members.iter().map(|member| member.key.clone())),
            _ => None,
        });
        known.chain(own.into_iter().flatten()).filter(|name| name != "defaults").collect()
    }

    /// The name that a text is, as agents are called; nothing when it is no text, which is found elsewhere.
    fn name_in(&self, node: &Node) -> Option<String> {
        let Kind::Text(text) = &node.kind else { return None };
        let expanded = expand(text, self.environment).ok()?;
        Some(expanded.expose().trim().to_ascii_lowercase())
    }

    fn one_of(&mut self, node: &Node, known: &[String], what: &str, expected: &str) {
        let Some(name) = self.name_in(node) else { return };
        if known.contains(&name) {
            return;
        }
        let message = format!("there is no {what} {}", quote(&name));
        let fix = match nearest::nearest(&name, known.iter().map(String::as_str)) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("name one of {}, or remove the binding", known.join(", ")),
        };
        self.find(ConfigErrorKind::Range, node, message, expected.to_owned(), Some(fix));
    }
}
