//! The name under which a secret is sealed, and what a value in a secret place is.

use std::collections::HashMap;

use secrecy::SecretString;

use crate::judge::short;
use crate::path::{Path, Step, quote};
use crate::redact::{counts_tokens, has_password, is_secret_path};
use crate::substitution::is_pure_reference;
use crate::tree::{Kind, Node, Text};

use super::{CLAIMED, Keeper, SEALED_PREFIX};

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

/// Opens a value that is sealed, here or by the original; nothing when it is neither.
pub(super) fn unseal(
    node: &Node,
    path: &Path,
    place: &Place,
    keeper: &dyn Keeper,
) -> Option<Result<SecretString, String>> {
    match state_of(node, path) {
        State::Sealed(text) => {
            let (id, bare) = take_id(text);
            Some(keeper.unseal(&place.name(id), &bare))
        }
        State::Original(text) => Some(keeper.unseal_original(&path.to_string(), text)),
        State::OriginalObject => Some(keeper.unseal_original(&path.to_string(), &node.to_json().to_string())),
        State::Empty | State::Open | State::Plain(_) | State::PlainNumber | State::Reference(_) => None,
    }
}

/// The name of a place, which its sealed text is bound to.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// What stands before, between and behind the elements that nothing names.
    pieces: Vec<String>,
    /// An id on the way that two elements of one list have.
    doubled: Option<String>,
}

/// What names an element of a list.
enum Name {
    /// An id that another element has, too.
    Doubled(String),
    /// Its id.
    Id(String),
    /// Nothing in the config.
    Nothing,
}

impl Place {
    /// The place of a whole config.
    pub(super) fn root() -> Self {
        Self { pieces: vec![String::new()], doubled: None }
    }

    /// The place of the value at `path` in `root`.
    pub(super) fn of(root: &Node, path: &Path) -> Self {
        let (mut place, mut node, mut above) = (Self::root(), Some(root), Path::default());
        for step in &path.0 {
            place = match (step, node.map(|node| &node.kind)) {
                (Step::Key(key), _) => place.member(key),
                (Step::Index(index), Some(Kind::List { items, .. })) => {
                    let name = names(items, &above).into_iter().nth(*index);
                    place.element(&name.unwrap_or(Name::Nothing))
                }
                (Step::Index(_), _) => place.element(&Name::Nothing),
            };
            node = node.and_then(|node| node.child(step));
            above.0.push(step.clone());
        }
        place
    }

    /// The places of the elements of a list that is at `path`, which is the path of this place.
    pub(super) fn elements(&self, items: &[Node], path: &Path) -> Vec<Self> {
        names(items, path).iter().map(|name| self.element(name)).collect()
    }

    /// The place of a member.
    pub(super) fn member(&self, key: &str) -> Self {
        let mut place = self.clone();
        let name = Path(vec![Step::Key(key.to_owned())]).to_string();
        let is_first = self.pieces.iter().all(String::is_empty) && !self.needs_id();
        if let Some(last) = place.pieces.last_mut() {
            if !is_first && !name.starts_with('[') {
                last.push('.');
            }
            last.push_str(&name);
        }
        place
    }

    fn element(&self, name: &Name) -> Self {
        let mut place = self.clone();
        match name {
            Name::Nothing => place.pieces.push(String::new()),
            Name::Doubled(id) | Name::Id(id) => {
                let is_word = id.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'));
                let id = if is_word { id.clone() } else { quote(id) };
                if let Some(last) = place.pieces.last_mut() {
                    last.push_str(&format!("[id={id}]"));
                }
            }
        }
        if let Name::Doubled(id) = name {
            place.doubled.get_or_insert_with(|| id.clone());
        }
        place
    }

    /// Why no secret may stand here: nothing would tell it from that of another element.
    pub(super) fn require_unique(&self) -> Result<(), String> {
        match self.doubled.as_deref() {
            None => Ok(()),
            Some(id) => Err(format!(
                "two elements of its list have the id {}, by which secrets are told apart; give each its own",
                quote(&short(id))
            )),
        }
    }

    /// Whether the config does not name it, so that its text carries an id.
    pub(super) fn needs_id(&self) -> bool {
        self.pieces.len() > 1
    }

    /// Its name, with the id that its text carries.
    pub(super) fn name(&self, id: Option<&str>) -> String {
        self.pieces.join(&format!("[#{}]", id.unwrap_or_default()))
    }
}

/// What names the elements of a list at `path`. An `id` in a secret place is sealed like its neighbours and names
/// nothing.
fn names(items: &[Node], path: &Path) -> Vec<Name> {
    let mut of_id = path.clone();
    of_id.0.extend([Step::Index(0), Step::Key("id".into())]);
    let is_secret = is_secret_path(&of_id);
    let id_of = |node: &Node| match node.child(&Step::Key("id".into())).map(|node| &node.kind) {
        Some(Kind::Text(Text::Plain(id))) if !is_secret && !id.is_empty() && !has_password(id) => {
            Some(id.clone())
        }
        _ => None,
    };
    let ids: Vec<Option<String>> = items.iter().map(id_of).collect();
    let mut counts: HashMap<&str, usize> = HashMap::new();
    for id in ids.iter().flatten() {
        let count = counts.entry(id).or_default();
        *count = count.saturating_add(1);
    }
    let name = |id: &Option<String>| match id {
        None => Name::Nothing,
        Some(id) if counts.get(id.as_str()) == Some(&1) => Name::Id(id.clone()),
        Some(id) => Name::Doubled(id.clone()),
    };
    ids.iter().map(name).collect()
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

/// Calls `visit` for each value with its path and place; it says whether to go on into it.
pub(crate) fn walk(root: &Node, visit: &mut dyn FnMut(&Node, &Path, &Place) -> bool) {
    into(root, &mut Path::default(), &Place::root(), visit);
}

fn into(node: &Node, path: &mut Path, place: &Place, visit: &mut dyn FnMut(&Node, &Path, &Place) -> bool) {
    if !visit(node, path, place) {
        return;
    }
    match &node.kind {
        Kind::List { items, .. } => {
            for (index, (item, place)) in items.iter().zip(place.elements(items, path)).enumerate() {
                path.0.push(Step::Index(index));
                into(item, path, &place, visit);
                path.0.pop();
            }
        }
        Kind::Object { members, .. } => {
            for member in members {
                path.0.push(Step::Key(member.key.clone()));
                into(&member.value, path, &place.member(&member.key), visit);
                path.0.pop();
            }
        }
        Kind::Bool(_) | Kind::Null | Kind::Number(_) | Kind::Text(_) => {}
    }
}
