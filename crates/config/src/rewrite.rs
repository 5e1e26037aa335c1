//! From what a client says a config should be to the text of the file: only what is different is changed, so that comments
//! stay, and what the client was shown as `***` stays as it is.

use serde_json::{Map, Value};

use crate::edit::{EditError, set, unset};
use crate::load::parse;
use crate::path::{Path, Step, quote};
use crate::redact::{HIDDEN, redact};
use crate::tree::{Kind, Node};

/// Changes that one call may make: more than a config has settings.
const EDITS: usize = 10_000;

/// The settings of a config's own text without its secrets, references and `$include` as they are written.
///
/// # Errors
/// When the text is not JSON5.
pub fn shown(text: &str) -> Result<Value, EditError> {
    Ok(redact(&parse(text, "the config")?.to_json()))
}

/// A JSON merge patch (RFC 7396) applied: null takes a member out, objects are gone into, all else is replaced.
pub fn merge_patch(target: Value, patch: Value) -> Value {
    let Value::Object(patch) = patch else { return patch };
    let mut members = match target {
        Value::Object(members) => members,
        _ => Map::new(),
    };
    for (key, value) in patch {
        if value.is_null() {
            members.remove(&key);
        } else {
            let before = members.remove(&key).unwrap_or(Value::Null);
            members.insert(key, merge_patch(before, value));
        }
    }
    Value::Object(members)
}

/// The text with the settings of `target`. Where that says `***`, what stands in the text stays: at the same path, and in a
/// list at the element of the same `id`. Nothing of one place ever gets to another.
///
/// # Errors
/// When the text is not JSON5, or a `***` stands where nothing is hidden.
pub fn rewrite(text: &str, target: &Value) -> Result<String, EditError> {
    let root = parse(text, "the config")?;
    let mut planning = Planning { text, edits: Vec::new(), path: Path::default() };
    planning.compare(&root, target)?;
    let edits = planning.edits;
    if edits.len() > EDITS {
        return Err(EditError::Value { because: "it changes too much at once".into() });
    }
    let mut text = text.to_owned();
    for Edit { path, value } in edits {
        text = match value {
            None => unset(&text, &path)?,
            Some(value) if path.is_empty() => value,
            Some(value) => set(&text, &path, &value)?,
        };
    }
    Ok(text)
}

struct Edit {
    path: String,
    /// Nothing when it is taken out.
    value: Option<String>,
}

struct Planning<'a> {
    text: &'a str,
    edits: Vec<Edit>,
    path: Path,
}

impl Planning<'_> {
    fn compare(&mut self, old: &Node, new: &Value) -> Result<(), EditError> {
        match (&old.kind, new) {
            (_, Value::String(text)) if text == HIDDEN => self.require_hidden(Some(old)),
            (Kind::Object { members, .. }, Value::Object(wanted)) => {
                for member in members {
                    if !wanted.contains_key(&member.key) {
                        self.path.0.push(Step::Key(member.key.clone()));
                        self.edits.push(Edit { path: self.path.to_string(), value: None });
                        self.path.0.pop();
                    }
                }
                for (key, value) in wanted {
                    let step = Step::Key(key.clone());
                    let before = old.child(&step);
                    self.path.0.push(step);
                    match before {
                        Some(before) => self.compare(before, value)?,
                        None => self.put(None, value)?,
                    }
                    self.path.0.pop();
                }
                Ok(())
            }
            (Kind::List { items, .. }, Value::Array(wanted)) if same_elements(items, wanted) => {
                for (index, (item, value)) in items.iter().zip(wanted).enumerate() {
                    self.path.0.push(Step::Index(index));
                    self.compare(item, value)?;
                    self.path.0.pop();
                }
                Ok(())
            }
            _ if old.to_json() == *new => Ok(()),
            _ => self.put(Some(old), new),
        }
    }

    fn put(&mut self, old: Option<&Node>, new: &Value) -> Result<(), EditError> {
        let value = self.render(old, new)?;
        self.edits.push(Edit { path: self.path.to_string(), value: Some(value) });
        Ok(())
    }

    /// A value as text, with what is hidden taken from where it stands.
    fn render(&mut self, old: Option<&Node>, new: &Value) -> Result<String, EditError> {
        match new {
            Value::String(text) if text == HIDDEN => {
                self.require_hidden(old)?;
                let there = old.and_then(|old| self.text.get(old.start..old.end));
                Ok(there.unwrap_or_default().to_owned())
            }
            Value::Array(wanted) => {
                let mut parts = Vec::with_capacity(wanted.len());
                for (index, value) in wanted.iter().enumerate() {
                    self.path.0.push(Step::Index(index));
                    let before = old.and_then(|old| of_same_id(old, value));
                    parts.push(self.render(before, value)?);
                    self.path.0.pop();
                }
                Ok(format!("[{}]", parts.join(", ")))
            }
            Value::Object(wanted) => {
                let mut parts = Vec::with_capacity(wanted.len());
                for (key, value) in wanted {
                    let step = Step::Key(key.clone());
                    let before = old.and_then(|old| old.child(&step));
                    self.path.0.push(step);
                    parts.push(format!("{}: {}", quote(key), self.render(before, value)?));
                    self.path.0.pop();
                }
                Ok(if parts.is_empty() { "{}".into() } else { format!("{{ {} }}", parts.join(", ")) })
            }
            Value::String(text) => Ok(quote(text)),
            Value::Null | Value::Bool(_) | Value::Number(_) => Ok(new.to_string()),
        }
    }

    /// Whether `***` is how the value that stands here is shown.
    fn require_hidden(&self, old: Option<&Node>) -> Result<(), EditError> {
        // By its place in the whole, as it was shown.
        let is_hidden = old.is_some_and(|old| {
            let mut whole = old.to_json();
            for step in self.path.0.iter().rev() {
                whole = match step {
                    Step::Key(key) => Value::Object([(key.clone(), whole)].into_iter().collect()),
                    Step::Index(_) => Value::Array(vec![whole]),
                };
            }
            let mut shown = &redact(&whole);
            for step in &self.path.0 {
                let inner = match step {
                    Step::Key(key) => shown.get(key),
                    Step::Index(_) => shown.get(0),
                };
                shown = inner.unwrap_or(&Value::Null);
            }
            *shown == HIDDEN
        });
        if is_hidden {
            return Ok(());
        }
        Err(EditError::Secret {
            path: self.path.to_string(),
            because: format!(
                "{HIDDEN} stands for a secret that is there, and here is none; set it, or take it out"
            ),
        })
    }
}

fn id_of(node: &Node) -> Option<Value> {
    node.child(&Step::Key("id".into())).map(Node::to_json).filter(Value::is_string)
}

/// The one element of a list that has the id of a new value.
fn of_same_id<'a>(old: &'a Node, new: &Value) -> Option<&'a Node> {
    let Kind::List { items, .. } = &old.kind else { return None };
    let id = new.get("id").filter(|id| id.is_string())?;
    let mut found = items.iter().filter(|item| id_of(item).as_ref() == Some(id));
    found.next().filter(|_| found.next().is_none())
}

/// Whether two lists are of the same elements in the same order, by their ids; without ids, as many.
fn same_elements(old: &[Node], new: &[Value]) -> bool {
    old.len() == new.len()
        && old
            .iter()
            .zip(new)
            .all(|(old, new)| id_of(old).as_ref() == new.get("id").filter(|id| id.is_string()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::edit::value as value_of;

    const TEXT: &str = "// head\n{\n  gateway: { port: 1, /* p */ auth: { token: 'canary', mode: 'token' } }, // tail\n  agents: { list: [\n    { id: 'a', memorySearch: { apiKey: 'key-a' } }, // one\n    { id: 'b', memorySearch: { apiKey: 'key-b' } },\n  ] },\n}\n";

    fn rewritten(change: impl FnOnce(&mut Value)) -> Result<String, String> {
        let mut target = shown(TEXT).unwrap();
        assert!(!target.to_string().contains("canary"));
        change(&mut target);
        rewrite(TEXT, &target).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_the_same_stays_as_it_is_written() {
        assert_eq!(rewritten(|_| ()).unwrap(), TEXT);
        let changed = rewritten(|target| target["gateway"]["port"] = json!(2)).unwrap();
        assert_eq!(changed, TEXT.replace("port: 1", "port: 2"));
        let changed = rewritten(|target| {
            target["gateway"]["auth"].as_object_mut().unwrap().remove("mode");
            target["ui"] = json!({"a": [1, {"b": "${X}"}]});
        });
        let changed = changed.unwrap();
        for kept in ["// head", "/* p */", "// tail", "// one", "'canary'"] {
            assert!(changed.contains(kept), "{kept}: {changed}");
        }
        let value = value_of(&changed).unwrap();
        assert_eq!(value["ui"], json!({"a": [1, {"b": "${X}"}]}));
        assert_eq!(value["gateway"]["auth"], json!({"token": "canary"}));
    }

    #[test]
    fn a_marker_keeps_the_secret_of_its_own_place_and_no_other() {
        let swapped = rewritten(|target| {
            target["agents"]["list"].as_array_mut().unwrap().reverse();
        });
        let list = value_of(&swapped.unwrap()).unwrap()["agents"]["list"].clone();
        assert_eq!(list[0], json!({"id": "b", "memorySearch": {"apiKey": "key-b"}}));
        assert_eq!(list[1], json!({"id": "a", "memorySearch": {"apiKey": "key-a"}}));
        for (place, change) in [
            ("gateway.auth.password", json!({"gateway": {"auth": {"password": "***"}}})),
            ("gateway.port", json!({"gateway": {"port": "***"}})),
            (
                "agents.list[0].memorySearch.apiKey",
                json!({"agents": {"list": [{"id": "c", "memorySearch": {"apiKey": "***"}}]}}),
            ),
        ] {
            let said = rewritten(|target| *target = merge_patch(target.take(), change)).unwrap_err();
            assert!(said.contains(place) && said.contains("here is none"), "{place}: {said}");
        }
    }

    #[test]
    fn a_patch_is_merged_as_the_standard_says() {
        let merged = merge_patch(
            json!({"a": {"b": 1, "c": 2}, "d": [1]}),
            json!({"a": {"b": null, "e": {"f": null, "g": 3}}, "d": [2]}),
        );
        assert_eq!(merged, json!({"a": {"c": 2, "e": {"g": 3}}, "d": [2]}));
    }
}
