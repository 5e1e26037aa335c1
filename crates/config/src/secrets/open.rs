//! Opening the secrets of a config that was read: into memory, and nowhere else.

use secrecy::{ExposeSecret, SecretString};

use super::place::{Place, State, state_of, take_id, walk};
use super::reference::SecretRef;
use super::{Keeper, NUMBER};
use crate::path::{Path, Step};
use crate::redact::is_secret_path;
use crate::substitution::{Environment, expand};
use crate::tree::{Kind, Node, Number, Text};

/// What was found while opening.
#[derive(Default)]
pub(crate) struct Opened {
    /// Values that do not open: path, offsets, what is wrong, what to do.
    pub(crate) faults: Vec<Fault>,
    /// Plaintext in secret places: path and offset.
    pub(crate) plain: Vec<(String, usize)>,
}

/// A value that does not open.
pub(crate) struct Fault {
    pub(crate) path: String,
    pub(crate) start: usize,
    pub(crate) end: usize,
    pub(crate) message: String,
    pub(crate) fix: String,
}

/// Puts what is sealed or referred to in place of its form, as a secret.
pub(crate) fn open(root: &mut Node, keeper: &dyn Keeper, environment: &Environment<'_>) -> Opened {
    let mut opening = Opening { keeper, environment, opened: Opened::default(), found: Vec::new() };
    opening.look(root, root, &mut Path::default());
    let Opening { opened, found, .. } = opening;
    for (path, kind) in found {
        if let Some(node) = root.at_mut(&path) {
            node.kind = kind;
        }
    }
    opened
}

/// Every secret of a tree that was opened, as it is used.
pub(crate) fn values(root: &Node, environment: &Environment<'_>) -> Vec<SecretString> {
    let mut values = Vec::new();
    walk(root, &mut |node, path| {
        if let Kind::Text(text) = &node.kind
            && (matches!(text, Text::Secret(_)) || is_secret_path(path))
            && let Ok(expanded) = expand(text, environment)
        {
            values.push(SecretString::from(expanded.expose()));
        }
        true
    });
    values
}

struct Opening<'a> {
    keeper: &'a dyn Keeper,
    environment: &'a Environment<'a>,
    opened: Opened,
    found: Vec<(Path, Kind)>,
}

impl Opening<'_> {
    fn look(&mut self, root: &Node, node: &Node, path: &mut Path) {
        if let Some(reference) = is_secret_path(path).then(|| SecretRef::at(node)).flatten() {
            return self.refer(node, path, reference);
        }
        match state_of(node, path) {
            State::Open => self.into(root, node, path),
            State::Empty | State::Reference(_) => {}
            State::Plain(_) | State::PlainNumber => self.opened.plain.push((path.to_string(), node.start)),
            State::Sealed(text) => {
                let (id, sealed) = take_id(text);
                let place = Place::of(root, path).name(id);
                let plain = self.keeper.unseal(&place, &sealed);
                self.take(node, path, plain);
            }
            State::Original(text) => {
                let plain = self.keeper.unseal_original(&path.to_string(), text);
                self.take(node, path, plain);
            }
            State::OriginalObject => {
                let plain = self.keeper.unseal_original(&path.to_string(), &node.to_json().to_string());
                self.take(node, path, plain);
            }
        }
    }

    fn into(&mut self, root: &Node, node: &Node, path: &mut Path) {
        let mut below = |step: Step, child: &Node| {
            path.0.push(step);
            self.look(root, child, path);
            path.0.pop();
        };
        match &node.kind {
            Kind::List { items, .. } => {
                items.iter().enumerate().for_each(|(index, item)| below(Step::Index(index), item));
            }
            Kind::Object { members, .. } => {
                members.iter().for_each(|member| below(Step::Key(member.key.clone()), &member.value));
            }
            Kind::Bool(_) | Kind::Null | Kind::Number(_) | Kind::Text(_) => {}
        }
    }

    fn take(&mut self, node: &Node, path: &Path, plain: Result<SecretString, String>) {
        match plain {
            Ok(plain) => self.found.push((path.clone(), kind_of(plain))),
            Err(message) => {
                let fix = format!(
                    "`moltbot secrets set {path}` sets it again, or write a reference such as ${{NAME}}"
                );
                self.fault(node, path, message, fix);
            }
        }
    }

    fn refer(&mut self, node: &Node, path: &Path, reference: Result<SecretRef, String>) {
        let value = reference.and_then(|reference| match &reference {
            SecretRef::Env { id, .. } => {
                let value = (self.environment)(id).filter(|value| !value.expose_secret().is_empty());
                value.ok_or_else(|| format!("the variable `{id}` of the environment is not set or empty"))
            }
            elsewhere => self.keeper.resolve(elsewhere),
        });
        match value {
            // As it is: what is elsewhere is no text of a config, in which references are replaced.
            Ok(value) => {
                let escaped = crate::substitution::escape(value.expose_secret());
                self.found.push((path.clone(), Kind::Text(Text::Secret(escaped.into()))));
            }
            Err(message) => self.fault(
                node,
                path,
                message,
                "correct the reference, or put there what it refers to".into(),
            ),
        }
    }

    fn fault(&mut self, node: &Node, path: &Path, message: String, fix: String) {
        let Node { start, end, .. } = *node;
        self.opened.faults.push(Fault { path: path.to_string(), start, end, message, fix });
    }
}

/// A secret as the value that it was.
fn kind_of(plain: SecretString) -> Kind {
    let number = plain.expose_secret().strip_prefix(NUMBER).and_then(number_of);
    number.map_or(Kind::Text(Text::Secret(plain)), Kind::Number)
}

fn number_of(text: &str) -> Option<Number> {
    text.parse().map(Number::Whole).ok().or_else(|| text.parse().map(Number::Float).ok())
}
