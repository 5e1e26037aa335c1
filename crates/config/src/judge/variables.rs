//! Variables that a config would set: those that could load code or change our own walls are refused by name.

use super::Judge;
use crate::path::Step;
use crate::report::ConfigErrorKind;
use crate::tree::{Kind, Node};
use crate::variables::{ENV, SHELL, VARS, refused_variable};

impl Judge<'_> {
    /// Judges the names in `env` and `env.vars`.
    pub(super) fn variables(&mut self, root: &Node) {
        let Some(env) = root.child(&Step::Key(ENV.into())) else { return };
        self.within(Step::Key(ENV.into()), |judge| {
            judge.names(env, &[SHELL, VARS]);
            if let Some(vars) = env.child(&Step::Key(VARS.into())) {
                judge.within(Step::Key(VARS.into()), |judge| judge.names(vars, &[]));
            }
        });
    }

    fn names(&mut self, node: &Node, others: &[&str]) {
        let Kind::Object { members, .. } = &node.kind else { return };
        for member in members.iter().filter(|member| !others.contains(&&*member.key)) {
            if let Some(why) = refused_variable(&member.key) {
                let message = format!("a config does not set this variable: {why}");
                let fix =
                    "remove it; what programs of yours need belongs into their own environment".to_owned();
                self.find_key(ConfigErrorKind::Refused, member, message, None, fix);
            }
        }
    }
}
