//! Keys of older generations: where each belongs now.
//!
//! A config with such keys is read as if it had been written today, and its owner is told; `config migrate` writes it so.
//! Both go by one plan, move by move. What is set in both places is not moved: it is an error that names both.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::edit::{EditError, set, unset};
use crate::load::parse;
use crate::path::{Path, Step};
use crate::tree::{Kind, Member, Node, Text};

/// Where a key was, and where it belongs. In this order: the parts of `agent` that went elsewhere come before the rest.
const RULES: &[(&str, &str)] = &[
    ("agent.elevated", "tools.elevated"),
    ("agent.bash", "tools.exec"),
    ("agent.sandbox.tools", "tools.sandbox.tools"),
    ("agent.subagents.tools", "tools.subagents.tools"),
    ("agent.tools", "tools"),
    ("agent", "agents.defaults"),
    ("discord", "channels.discord"),
    ("gateway.password", "gateway.auth.password"),
    ("gateway.token", "gateway.auth.token"),
    ("identity", IDENTITY),
    ("imessage", "channels.imessage"),
    ("messages.tts.enabled", TTS),
    ("msteams", "channels.msteams"),
    ("routing.agentToAgent", "tools.agentToAgent"),
    ("routing.allowFrom", "channels.whatsapp.allowFrom"),
    ("routing.bindings", "bindings"),
    ("routing.groupChat", "messages.groupChat"),
    ("routing.queue", "messages.queue"),
    ("routing", NOWHERE),
    ("signal", "channels.signal"),
    ("slack", "channels.slack"),
    ("telegram", "channels.telegram"),
    ("tools.bash", "tools.exec"),
    ("whatsapp", "channels.whatsapp"),
];
/// Where the name and face of the agent belong: to the default agent.
const IDENTITY: &str = "agents.list[0].identity";
/// Where it belongs whether answers are spoken.
const TTS: &str = "messages.tts.auto";
/// Where a section belongs that was taken apart: nowhere as a whole.
const NOWHERE: &str = "bindings, messages and channels";
/// The agents.
const LIST: &str = "agents.list";
/// Moves that one config may need: each is a setting of its own.
const MOVES: usize = 1000;

/// A key of an older generation.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Migrated {
    /// Where it stands.
    pub from: String,
    /// Where it belongs.
    pub to: String,
    /// The included file that it is in; nothing for the config itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// Its line, from 1.
    pub line: usize,
}

/// One move.
pub(crate) struct Move {
    pub(crate) from: Path,
    /// Nothing when what is left is empty.
    pub(crate) to: Option<Path>,
    form: Form,
    /// The offset of the value.
    pub(crate) at: usize,
}

/// How a value is put where it belongs.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Form {
    AsItIs,
    /// As the identity of the first agent of a list that is made for it.
    OfAgent,
    /// As this text.
    Text(&'static str),
}

/// Where a setting of an older generation belongs now.
pub(crate) fn place_of(path: &str) -> Option<&'static str> {
    RULES.iter().find(|(from, _)| *from == path).map(|(_, to)| *to)
}

/// Moves every key of an older generation that can be moved. `free` is beyond all places of the tree: objects that are made
/// have places from there on.
pub(crate) fn apply(root: &mut Node, free: usize) -> Vec<Move> {
    let (mut moves, mut free) = (Vec::new(), free);
    while moves.len() < MOVES
        && let Some(next) = next(root)
    {
        let Some(node) = take(root, &next.from.0) else { break };
        if let Some(to) = &next.to {
            put(root, &to.0, formed(node, next.form, &mut free), &mut free);
        }
        moves.push(next);
    }
    moves
}

/// The text of a config with every key of an older generation where it belongs, and the moves, each as `from` and `to`.
/// Comments and everything else stay.
///
/// # Errors
/// When the text is not JSON5.
pub fn migrate(text: &str) -> Result<(String, BTreeMap<String, String>), EditError> {
    let (mut text, mut told) = (text.to_owned(), BTreeMap::new());
    for _ in 0..MOVES {
        let root = parse(&text, "the config")?;
        let Some(next) = next(&root) else { break };
        if let (Some(to), Some(node)) = (&next.to, root.at(&next.from)) {
            let value = text.get(node.start..node.end).unwrap_or_default();
            let value = match next.form {
                Form::AsItIs => value.to_owned(),
                Form::OfAgent => format!("[{{ id: \"main\", identity: {value} }}]"),
                Form::Text(text) => format!("\"{text}\""),
            };
            text = set(&text, &to.to_string(), &value)?;
            told.insert(next.from.to_string(), to.to_string());
        }
        text = unset(&text, &next.from.to_string())?;
    }
    Ok((text, told))
}

/// The first move that there is to make.
fn next(root: &Node) -> Option<Move> {
    RULES.iter().find_map(|(from, to)| {
        let from = Path::parse(from).ok()?;
        let node = root.at(&from)?;
        let at = node.start;
        match *to {
            IDENTITY => {
                let (to, form) = of_default_agent(root)?;
                Some(Move { from, to: Some(to), form, at })
            }
            TTS => {
                let Kind::Bool(is_on) = node.kind else { return None };
                let to = Path::parse(TTS).ok()?;
                let form = Form::Text(if is_on { "always" } else { "off" });
                root.at(&to).is_none().then_some(Move { from, to: Some(to), form, at })
            }
            NOWHERE => is_empty(node).then_some(Move { from, to: None, form: Form::AsItIs, at }),
            to => candidate(root, from, Path::parse(to).ok()?),
        }
    })
}

/// The move of a value, or of something in it where there is a value at its place already.
fn candidate(root: &Node, from: Path, to: Path) -> Option<Move> {
    let node = root.at(&from)?;
    if is_twice(root, &from) {
        return None;
    }
    let form = Form::AsItIs;
    let Some(there) = root.at(&to) else {
        return has_room(root, &to).then_some(Move { from, to: Some(to), form, at: node.start });
    };
    let (Kind::Object { members, .. }, Kind::Object { .. }) = (&node.kind, &there.kind) else { return None };
    if members.is_empty() {
        return Some(Move { from, to: None, form, at: node.start });
    }
    members.iter().find_map(|member| {
        let below =
            |path: &Path| Path(path.0.iter().cloned().chain([Step::Key(member.key.clone())]).collect());
        candidate(root, below(&from), below(&to))
    })
}

/// The identity of the default agent: the one that says so, else the first. Nothing when it has one.
fn of_default_agent(root: &Node) -> Option<(Path, Form)> {
    let list = Path::parse(LIST).ok()?;
    let Some(node) = root.at(&list) else {
        return has_room(root, &list).then_some((list, Form::OfAgent));
    };
    let Kind::List { items, .. } = &node.kind else { return None };
    let says_so = |item: &Node| {
        item.child(&Step::Key("default".into())).is_some_and(|node| matches!(node.kind, Kind::Bool(true)))
    };
    let index = items.iter().position(says_so).unwrap_or(0);
    let mut path = list;
    path.0.extend([Step::Index(index), Step::Key("identity".into())]);
    let agent = items.get(index).filter(|agent| matches!(agent.kind, Kind::Object { .. }))?;
    agent.child(&Step::Key("identity".into())).is_none().then_some((path, Form::AsItIs))
}

fn is_empty(node: &Node) -> bool {
    matches!(&node.kind, Kind::Object { members, .. } if members.is_empty())
}

/// Whether a key on a path is there twice, which is an error whatever it says.
fn is_twice(root: &Node, path: &Path) -> bool {
    let mut node = Some(root);
    path.0.iter().any(|step| {
        let here = node;
        node = here.and_then(|node| node.child(step));
        match (here.map(|node| &node.kind), step) {
            (Some(Kind::Object { members, .. }), Step::Key(key)) => {
                members.iter().filter(|member| member.key == *key).count() > 1
            }
            _ => false,
        }
    })
}

/// Whether objects can be made along a path.
fn has_room(root: &Node, path: &Path) -> bool {
    let mut node = root;
    for step in &path.0 {
        if !matches!((&node.kind, step), (Kind::Object { .. }, Step::Key(_))) {
            return false;
        }
        match node.child(step) {
            Some(child) => node = child,
            None => return true,
        }
    }
    true
}

fn take(node: &mut Node, path: &[Step]) -> Option<Node> {
    let (Step::Key(key), rest) = path.split_first()? else { return None };
    let Kind::Object { members, .. } = &mut node.kind else { return None };
    let place = members.iter().rposition(|member| member.key == *key)?;
    if rest.is_empty() {
        Some(members.remove(place).value)
    } else {
        take(&mut members.get_mut(place)?.value, rest)
    }
}

/// Puts a value at a path, and makes the objects on the way that are missing.
fn put(node: &mut Node, path: &[Step], value: Node, free: &mut usize) {
    match (&mut node.kind, path.split_first()) {
        (Kind::List { items, .. }, Some((Step::Index(index), rest))) => {
            if let Some(item) = items.get_mut(*index) {
                put(item, rest, value, free);
            }
        }
        (Kind::Object { members, .. }, Some((Step::Key(key), rest))) => {
            if let Some(member) = members.iter_mut().rev().find(|member| member.key == *key) {
                return put(&mut member.value, rest, value, free);
            }
            let mut made = member(key, Node { kind: object(Vec::new()), ..value_place(&value) }, free);
            if rest.is_empty() {
                made.value = value
            } else {
                put(&mut made.value, rest, value, free)
            }
            members.push(made);
        }
        _ => {}
    }
}

/// A value with the place of another, for what is made around it.
fn value_place(value: &Node) -> Node {
    Node { start: value.start, end: value.end, kind: Kind::Null }
}

fn object(members: Vec<Member>) -> Kind {
    Kind::Object { members, trailing_comma: false }
}

/// A member with a place of its own, which names it among those that are left out.
fn member(key: &str, value: Node, free: &mut usize) -> Member {
    let start = *free;
    *free = start.saturating_add(1);
    Member { key: key.to_owned(), start, end: start, value }
}

fn formed(node: Node, form: Form, free: &mut usize) -> Node {
    let (start, end) = (node.start, node.end);
    let kind = match form {
        Form::AsItIs => return node,
        Form::Text(text) => Kind::Text(Text::Plain(text.to_owned())),
        Form::OfAgent => {
            let id = Node { start, end, kind: Kind::Text(Text::Plain("main".into())) };
            let members = vec![member("id", id, free), member("identity", node, free)];
            Kind::List { items: vec![Node { start, end, kind: object(members) }], trailing_comma: false }
        }
    };
    Node { start, end, kind }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn both(text: &str) -> (serde_json::Value, String) {
        let mut root = parse(text, "t").unwrap();
        apply(&mut root, text.len() + 1);
        let (migrated, _) = migrate(text).unwrap();
        assert_eq!(
            parse(&migrated, "t").unwrap().to_json(),
            root.to_json(),
            "the text and the tree differ: {migrated}"
        );
        assert_eq!(migrate(&migrated).unwrap().0, migrated, "a second time changes nothing");
        (root.to_json(), migrated)
    }

    #[test]
    fn each_key_goes_where_it_belongs_now() {
        for (text, expected) in [
            ("{telegram: {enabled: true}}", json!({"channels": {"telegram": {"enabled": true}}})),
            (
                "{agent: {model: 'a/b', bash: {timeoutSec: 5}, elevated: {enabled: false}, tools: {deny: ['exec']}}, tools: {}}",
                json!({"agents": {"defaults": {"model": "a/b"}},
                       "tools": {"exec": {"timeoutSec": 5}, "elevated": {"enabled": false}, "deny": ["exec"]}}),
            ),
            (
                "{gateway: {token: 't', auth: {mode: 'token'}}, tools: {bash: {backgroundMs: 1}}}",
                json!({"gateway": {"auth": {"mode": "token", "token": "t"}}, "tools": {"exec": {"backgroundMs": 1}}}),
            ),
            (
                "{identity: {name: 'Molty'}}",
                json!({"agents": {"list": [{"id": "main", "identity": {"name": "Molty"}}]}}),
            ),
            (
                "{identity: {name: 'Molty'}, agents: {list: [{id: 'a'}, {id: 'b', default: true}]}}",
                json!({"agents": {"list": [{"id": "a"}, {"id": "b", "default": true, "identity": {"name": "Molty"}}]}}),
            ),
            (
                "{routing: {queue: {mode: 'collect'}, groupChat: {historyLimit: 3}, bindings: []}, messages: {tts: {enabled: true}}}",
                json!({"messages": {"tts": {"auto": "always"}, "groupChat": {"historyLimit": 3}, "queue": {"mode": "collect"}}, "bindings": []}),
            ),
            // In parts, where there is something already.
            (
                "{slack: {a: 1, b: {c: 2}}, channels: {slack: {b: {d: 3}}}}",
                json!({"channels": {"slack": {"a": 1, "b": {"c": 2, "d": 3}}}}),
            ),
        ] {
            assert_eq!(both(text).0, expected, "{text}");
        }
    }

    #[test]
    fn what_is_set_twice_or_has_no_place_stays() {
        for text in [
            "{gateway: {token: 'a', auth: {token: 'b'}}}",
            "{telegram: {enabled: true}, channels: {telegram: {enabled: false}}}",
            "{telegram: {a: 1}, telegram: {b: 1}}",
            "{telegram: {a: 1}, channels: 5}",
            "{routing: {other: 1}}",
            "{identity: {}, agents: {list: [{identity: {}}]}}",
            "{}",
            "[]",
        ] {
            assert_eq!(migrate(text).unwrap().0, text);
        }
    }

    #[test]
    fn comments_stay() {
        let text = "// head\n{\n  // my bot\n  telegram: { enabled: true /* yes */ }, // after\n  gateway: { port: 1 },\n}\n// end\n";
        let (_, migrated) = both(text);
        for comment in ["// head", "// my bot", "/* yes */", "// after", "// end"] {
            assert!(migrated.contains(comment), "{comment}: {migrated}");
        }
    }
}
