//! The name under which a secret is sealed, and what a value in a secret place is.

use crate::path::{Path, Step, quote};
use crate::redact::{counts_tokens, has_password, is_secret_path};
use crate::substitution::is_pure_reference;
use crate::tree::{Kind, Node, Text};

use super::{CLAIMED, SEALED_PREFIX};

/// What stands before the id that a sealed text carries.
const ID: &str = "id=";
/// Digits of such an id.
const DIGITS: usize = 16;

/// What a value is, seen as a secret.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum State<'a> {
    /// Nothing secret.
    Open,
    /// An empty text in a secret place.
    Empty,
    /// What the original sealed: a text that holds its envelope.
    Original(&'a str),
    /// What the original sealed, as an object.
    OriginalObject,
    /// A number in a secret place.
    PlainNumber,
    /// A text in a secret place.
    Plain(&'a str),
    /// One reference to the environment and nothing else.
    Reference(&'a str),
    /// A text that claims to be sealed.
    Sealed(&'a str),
}

/// What the value at `path` is. Looked at before containers are gone into.
pub(super) fn state_of<'a>(node: &'a Node, path: &Path) -> State<'a> {
    match &node.kind {
        Kind::Text(Text::Plain(text)) => text_state(text, path),
        Kind::Number(_) if is_secret_path(path) && !counts_tokens(path) => State::PlainNumber,
        Kind::Object { .. } if is_original_object(node) => State::OriginalObject,
        _ => State::Open,
    }
}

fn text_state<'a>(text: &'a str, path: &Path) -> State<'a> {
    let is_secret = is_secret_path(path);
    if text.starts_with(SEALED_PREFIX) || (is_secret && text.starts_with(CLAIMED)) {
        return State::Sealed(text);
    }
    if is_pure_reference(text) || !(is_secret || has_password(text)) {
        return if is_secret { State::Reference(text) } else { State::Open };
    }
    if text.is_empty() {
        return State::Empty;
    }
    if is_original(text) { State::Original(text) } else { State::Plain(text) }
}

/// Whether a text holds JSON with the six members of the original's envelope, each of its type.
fn is_original(text: &str) -> bool {
    let value =
        text.trim_start().starts_with('{').then(|| serde_json::from_str::<serde_json::Value>(text).ok());
    value.flatten().is_some_and(|value| is_original_value(&value))
}

fn is_original_object(node: &Node) -> bool {
    let Kind::Object { members, .. } = &node.kind else { return false };
    members.iter().any(|member| member.key == "authTag") && is_original_value(&node.to_json())
}

fn is_original_value(value: &serde_json::Value) -> bool {
    let text = |name: &str| value.get(name).is_some_and(serde_json::Value::is_string);
    let members = value.as_object().map(serde_json::Map::len);
    members == Some(6)
        && value.get("version").is_some_and(serde_json::Value::is_number)
        && ["algorithm", "ciphertext", "iv", "authTag", "salt"].into_iter().all(text)
}

/// The name of a place, and whether the text there must carry an id.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Place {
    before: Vec<String>,
}

impl Place {
    /// The place of the value at `path` in `root`.
    pub(super) fn of(root: &Node, path: &Path) -> Self {
        let mut parts = vec![String::new()];
        let mut node = Some(root);
        for step in &path.0 {
            let child = node.and_then(|node| node.child(step));
            match step {
                Step::Key(_) => {
                    let name = Path(vec![step.clone()]).to_string();
                    if let Some(last) = parts.last_mut() {
                        if !last.is_empty() && !name.starts_with('[') {
                            last.push('.');
                        }
                        last.push_str(&name);
                    }
                }
                Step::Index(_) => {
                    match node.zip(child).and_then(|(list, element)| unique_id(list, element)) {
                        Some(id) => parts.iter_mut().last().into_iter().for_each(|last| last.push_str(&id)),
                        None => parts.push(String::new()),
                    }
                }
            }
            node = child;
        }
        Self { before: parts }
    }

    /// Whether the path does not name it for good, so that its text carries an id.
    pub(super) fn needs_id(&self) -> bool {
        self.before.len() > 1
    }

    /// Its name, with the id that its text carries.
    pub(super) fn name(&self, id: Option<&str>) -> String {
        self.before.join(&format!("[#{}]", id.unwrap_or_default()))
    }
}

/// `[id=…]` for an element of a list, when it has an `id` that no other element has.
fn unique_id(list: &Node, element: &Node) -> Option<String> {
    let id_of = |node: &Node| match node.child(&Step::Key("id".into())).map(|node| &node.kind) {
        Some(Kind::Text(Text::Plain(id))) => Some(id.clone()),
        _ => None,
    };
    let id = id_of(element)?;
    let Kind::List { items, .. } = &list.kind else { return None };
    let same = items.iter().filter(|item| id_of(item).as_ref() == Some(&id)).count();
    let plain = !id.is_empty() && id.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'));
    (same == 1).then(|| if plain { format!("[id={id}]") } else { format!("[id={}]", quote(&id)) })
}

/// A sealed text taken apart: the id that it carries, and the text without it.
pub(super) fn take_id(sealed: &str) -> (Option<&str>, String) {
    let carried = || {
        let rest = sealed.strip_prefix(SEALED_PREFIX)?.strip_prefix(ID)?;
        let (id, bytes) = rest.split_once(':')?;
        let is_id = id.len() == DIGITS && id.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        is_id.then(|| (Some(id), format!("{SEALED_PREFIX}{bytes}")))
    };
    carried().unwrap_or_else(|| (None, sealed.to_owned()))
}

/// A sealed text with the id that it is to carry.
pub(super) fn with_id(sealed: &str, id: &str) -> String {
    match sealed.strip_prefix(SEALED_PREFIX) {
        Some(bytes) => format!("{SEALED_PREFIX}{ID}{id}:{bytes}"),
        None => sealed.to_owned(),
    }
}

/// Calls `visit` for each value with its path; it says whether to go on into it.
pub(crate) fn walk(root: &Node, visit: &mut dyn FnMut(&Node, &Path) -> bool) {
    fn into(node: &Node, path: &mut Path, visit: &mut dyn FnMut(&Node, &Path) -> bool) {
        if !visit(node, path) {
            return;
        }
        let mut below = |step: Step, child: &Node| {
            path.0.push(step);
            into(child, path, visit);
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
    into(root, &mut Path::default(), visit);
}
