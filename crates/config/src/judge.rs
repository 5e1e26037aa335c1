//! Judges a config that was read: each value against the settings that work, then against what is known
//! and not served yet. It goes on after an error, so that all are found at once.

mod bindings;
mod containers;
mod hooks;
mod known;
mod nearest;
mod policies;
mod served;
mod tools;
mod variables;
mod words;

use std::collections::{BTreeSet, HashMap};
use std::ops::Range;

use crate::path::{Path, Step, quote};
use crate::redact::{has_password, is_secret_path};
use crate::report::{ConfigErrorKind, Finding, Findings};
use crate::schema;
use crate::shape::Shape;
use crate::substitution::{Environment, Missing, expand};
use crate::tree::{Kind, Member, Node, Number, Text};
use crate::unsupported::TREE;

/// What was found out about a config.
pub(crate) struct Judged {
    pub(crate) findings: Findings,
    /// Members that do nothing yet, by the offset of their keys: they are no part of the settings.
    pub(crate) skipped: BTreeSet<usize>,
    pub(crate) unserved: Vec<Unserved>,
}

/// A setting that does nothing yet.
pub(crate) struct Unserved {
    pub(crate) path: String,
    pub(crate) at: usize,
    pub(crate) note: Option<&'static str>,
}

/// Judges a whole config.
pub(crate) fn judge(root: &Node, environment: &Environment<'_>) -> Judged {
    let mut judge = Judge {
        environment,
        findings: Findings::default(),
        path: Path::default(),
        skipped: BTreeSet::new(),
        unserved: Vec::new(),
    };
    judge.scan(root);
    judge.value(root, schema::served(), Some(&TREE));
    if let Some(channels) = root.child(&Step::Key("channels".into())) {
        judge.path.0.push(Step::Key("channels".into()));
        judge.policies(channels, "");
        judge.path.0.pop();
    }
    judge.allow_lists(root, false);
    judge.variables(root);
    judge.containers(root);
    judge.tool_policies(root);
    judge.bindings(root);
    let Judge { findings, skipped, unserved, .. } = judge;
    Judged { findings, skipped, unserved }
}

struct Judge<'a> {
    environment: &'a Environment<'a>,
    findings: Findings,
    path: Path,
    skipped: BTreeSet<usize>,
    unserved: Vec<Unserved>,
}

/// What became of a value.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Verdict {
    /// It works, but for a member without which the whole would do something else.
    Incomplete,
    /// It works, or its error is found.
    Served,
    /// It is known and does nothing yet.
    Unserved,
}

impl Judge<'_> {
    /// Finds what is wrong anywhere: a key twice, a number that is none, a variable that is missing.
    fn scan(&mut self, node: &Node) {
        match &node.kind {
            Kind::Bool(_) | Kind::Null | Kind::Number(Number::Whole(_)) => {}
            Kind::Number(Number::Float(float)) if float.is_finite() => {}
            Kind::Number(Number::Float(_)) => {
                let message = "this number is not finite".to_owned();
                self.find(ConfigErrorKind::Range, node, message, "a finite number".into(), None);
            }
            Kind::List { items, .. } => {
                for (index, item) in items.iter().enumerate() {
                    self.within(Step::Index(index), |judge| judge.scan(item));
                }
            }
            Kind::Object { members, .. } => {
                self.duplicates(members);
                for member in members {
                    self.within(Step::Key(member.key.clone()), |judge| judge.scan(&member.value));
                }
            }
            Kind::Text(text) => self.references(node, text),
        }
    }

    fn references(&mut self, node: &Node, text: &str) {
        let Err(missing) = expand(text, self.environment) else { return };
        for Missing { variable, is_empty } in missing {
            let what = if is_empty { "empty" } else { "not set" };
            self.findings.add(Finding {
                kind: ConfigErrorKind::MissingVariable,
                path: self.path.to_string(),
                message: format!("the variable `{variable}` of the environment is {what}"),
                expected: None,
                fix: Some(format!(
                    "set {variable} before the start, or write `$${{{variable}}}` for the text itself"
                )),
                at: node.start..node.end,
                shown: false,
            });
        }
    }

    fn duplicates(&mut self, members: &[Member]) {
        let mut seen: HashMap<&str, ()> = HashMap::with_capacity(members.len());
        for member in members {
            if seen.insert(&member.key, ()).is_some() {
                self.find_key(
                    ConfigErrorKind::DuplicateKey,
                    member,
                    format!("{} is set twice", quote(&short(&member.key))),
                    None,
                    "keep one of the two".to_owned(),
                );
            }
        }
    }

    fn within<T>(&mut self, step: Step, work: impl FnOnce(&mut Self) -> T) -> T {
        self.path.0.push(step);
        let result = work(self);
        self.path.0.pop();
        result
    }

    /// Adds an error about a value. Its text is shown unless it may be secret.
    fn find(
        &mut self,
        kind: ConfigErrorKind,
        node: &Node,
        message: String,
        expected: String,
        fix: Option<String>,
    ) {
        if !self.findings.has_room() {
            self.findings.add(overflow(kind));
            return;
        }
        let is_container = matches!(node.kind, Kind::List { .. } | Kind::Object { .. });
        let at = if is_container { node.start..node.start.saturating_add(1) } else { node.start..node.end };
        let shown = !self.hides(node);
        let path = self.path.to_string();
        self.findings.add(Finding { kind, path, message, expected: Some(expected), fix, at, shown });
    }

    /// Adds an error about a key.
    fn find_key(
        &mut self,
        kind: ConfigErrorKind,
        member: &Member,
        message: String,
        expected: Option<String>,
        fix: String,
    ) {
        let at: Range<usize> = member.start..member.end;
        let path = self.within(Step::Key(member.key.clone()), |judge| judge.path.to_string());
        self.findings.add(Finding { kind, path, message, expected, fix: Some(fix), at, shown: true });
    }

    /// Whether a value must not be shown.
    fn hides(&self, node: &Node) -> bool {
        is_secret_path(&self.path)
            || matches!(&node.kind, Kind::Text(text) if matches!(text, Text::Secret(_)) || has_password(text))
    }
}

/// A finding that is only counted.
fn overflow(kind: ConfigErrorKind) -> Finding {
    let (path, message) = (String::new(), String::new());
    Finding { kind, path, message, expected: None, fix: None, at: 0..0, shown: false }
}

/// The beginning of a text that may be long.
pub(crate) fn short(text: &str) -> String {
    const LONGEST: usize = 60;
    if text.chars().count() <= LONGEST {
        text.to_owned()
    } else {
        text.chars().take(LONGEST).chain(['…']).collect()
    }
}

/// The shape that a member of an object has, when the object has one.
fn member_shape(shape: Option<&'static Shape>, key: &str) -> Option<&'static Shape> {
    shape.and_then(|shape| shape.member(key))
}
