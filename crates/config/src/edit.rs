//! Reads and changes one setting in the text of a config, and leaves the rest of the text as it is.

mod insert;
mod remove;

use serde_json::Value;
use thiserror::Error;

use crate::load::parse;
use crate::path::{InvalidPath, Path, Step};
use crate::report::ConfigErrors;
use crate::tree::{Kind, Node};

/// Why a setting was not read or changed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum EditError {
    /// The text is not JSON5.
    #[error(transparent)]
    Config(#[from] ConfigErrors),
    /// An element beyond the end of a list.
    #[error("`{path}` is beyond the end of the list, which has {length} elements; append with [{length}]")]
    Gap {
        /// The element.
        path: String,
        /// How many elements the list has.
        length: usize,
    },
    /// A value on the way holds no other values, or not by such a name.
    #[error("`{path}` cannot be set: `{parent}` is {found}; change `{parent}` first")]
    NotAContainer {
        /// The setting.
        path: String,
        /// The value that stands in the way.
        parent: String,
        /// What it is.
        found: &'static str,
    },
    /// A secret cannot be read, sealed or set.
    #[error("the secret `{path}` cannot be used: {because}")]
    Secret {
        /// The setting.
        path: String,
        /// Why, and what to do.
        because: String,
    },
    /// The setting is not in the file.
    #[error("`{path}` is not set; `moltbot config schema` has the defaults")]
    NotSet {
        /// The setting.
        path: String,
    },
    /// The path is not one.
    #[error(transparent)]
    Path(#[from] InvalidPath),
    /// The new value is not JSON5.
    #[error("the new value is not JSON5 ({because}); a text needs its own quotes, as '\"text\"'")]
    Value {
        /// What is wrong with it.
        because: String,
    },
}

/// The text of a config as a value, as it is written and whether it is valid or not. A secret that stands in the file is
/// in it.
///
/// # Errors
/// When the text is no JSON5.
pub fn value(text: &str) -> Result<Value, ConfigErrors> {
    Ok(parse(text, "the config")?.to_json())
}

/// The value at `path` in the text of a config, as it is written: references are not replaced, and a secret
/// that stands in the file is in it.
///
/// # Errors
/// When the path or the text is not valid, or the setting is not in the text.
pub fn get(text: &str, path: &str) -> Result<Value, EditError> {
    let path = Path::parse(path)?;
    let root = parse(text, "the config")?;
    root.at(&path).map(Node::to_json).ok_or_else(|| EditError::NotSet { path: path.to_string() })
}

/// The text with the value at `path` replaced by `json5`, or added with the objects around it. Comments and
/// everything else stay. Whether the result is a valid config is for [`load`](crate::load) to say.
///
/// # Errors
/// When the path, the text or the value is not valid, or there is no room for the value at the path.
pub fn set(text: &str, path: &str, json5: &str) -> Result<String, EditError> {
    let path = Path::parse(path)?;
    let root = parse(text, "the config")?;
    let value = new_value(json5)?;
    let (parent, depth) = deepest(&root, &path);
    let Some(step) = path.0.get(depth) else {
        return Ok(splice(text, &[(parent.start, parent.end, value)]));
    };
    let rest = path.0.get(depth.saturating_add(1)..).unwrap_or_default();
    let value = wrap(rest, value, &path)?;
    let whole = path.to_string();
    let not_a_container = || EditError::NotAContainer {
        path: whole.clone(),
        parent: name_of(path.0.get(..depth).unwrap_or_default()),
        found: parent.describe(),
    };
    match (&parent.kind, step) {
        (Kind::List { items, .. }, Step::Index(index)) if *index == items.len() => {
            Ok(insert::into(text, parent, value))
        }
        (Kind::List { items, .. }, Step::Index(_)) => {
            Err(EditError::Gap { path: whole, length: items.len() })
        }
        (Kind::Object { .. }, Step::Key(key)) => {
            Ok(insert::into(text, parent, format!("{}: {value}", insert::key(key))))
        }
        _ => Err(not_a_container()),
    }
}

/// The text without the member or element at `path`. Comments stay.
///
/// # Errors
/// When the path or the text is not valid, or nothing is there.
pub fn unset(text: &str, path: &str) -> Result<String, EditError> {
    let path = Path::parse(path)?;
    let root = parse(text, "the config")?;
    let not_set = || EditError::NotSet { path: path.to_string() };
    let (last, above) = path.0.split_last().ok_or_else(not_set)?;
    let parent = root.at(&Path(above.to_vec())).ok_or_else(not_set)?;
    let range = match (&parent.kind, last) {
        (Kind::List { items, .. }, Step::Index(index)) => {
            items.get(*index).map(|item| (item.start, item.end))
        }
        (Kind::Object { members, .. }, Step::Key(key)) => {
            let member = members.iter().rev().find(|member| member.key == *key);
            member.map(|member| (member.start, member.value.end))
        }
        _ => None,
    };
    let (start, end) = range.ok_or_else(not_set)?;
    Ok(remove::entry(text, start, end))
}

fn name_of(steps: &[Step]) -> String {
    if steps.is_empty() { "the file".to_owned() } else { Path(steps.to_vec()).to_string() }
}

/// The text of a value without what surrounds it, so that a comment after it cannot swallow the rest.
fn new_value(json5: &str) -> Result<String, EditError> {
    let root = parse(json5, "the new value").map_err(|errors| EditError::Value {
        because: errors.errors().first().map_or_else(String::new, |error| error.message.clone()),
    })?;
    Ok(json5.get(root.start..root.end).unwrap_or_default().to_owned())
}

/// The deepest value that exists on a path, and how many steps lead to it.
fn deepest<'a>(root: &'a Node, path: &Path) -> (&'a Node, usize) {
    let mut node = root;
    for (depth, step) in path.0.iter().enumerate() {
        match node.child(step) {
            Some(child) => node = child,
            None => return (node, depth),
        }
    }
    (node, path.0.len())
}

/// A value inside the objects and lists that these steps name.
fn wrap(steps: &[Step], value: String, path: &Path) -> Result<String, EditError> {
    steps.iter().rev().try_fold(value, |value, step| match step {
        Step::Index(0) => Ok(format!("[{value}]")),
        Step::Index(_) => Err(EditError::Gap { path: path.to_string(), length: 0 }),
        Step::Key(key) => Ok(format!("{{ {}: {value} }}", insert::key(key))),
    })
}

/// Replaces parts of a text, given in order, by others.
pub(crate) fn splice(text: &str, edits: &[(usize, usize, String)]) -> String {
    // Large enough from the start: a growing buffer would leave copies of secrets behind.
    let added = edits.iter().map(|(_, _, new)| new.len()).fold(0, usize::saturating_add);
    let mut result = String::with_capacity(text.len().saturating_add(added));
    let mut at = 0;
    for (start, end, new) in edits {
        result.push_str(text.get(at..*start).unwrap_or_default());
        result.push_str(new);
        at = *end;
    }
    result.push_str(text.get(at..).unwrap_or_default());
    result
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const TEXT: &str = "// head\n{\n  gateway: { port: 1, /* p */ bind: 'loopback' }, // tail\n  list: [\n    1, // one\n    2 // two\n  ],\n  \"odd.name\": {}\n}\n// end\n";

    #[test]
    fn a_value_is_found_by_its_path() {
        for (path, expected) in [
            ("gateway.port", Ok(json!(1))),
            ("list[1]", Ok(json!(2))),
            ("[\"odd.name\"]", Ok(json!({}))),
            (
                "gateway.bind.x",
                Err("`gateway.bind.x` is not set; `moltbot config schema` has the defaults".to_owned()),
            ),
        ] {
            assert_eq!(get(TEXT, path).map_err(|error| error.to_string()), expected, "{path}");
        }
    }

    #[test]
    fn a_change_touches_nothing_else() {
        for (path, value, old, new) in [
            ("gateway.port", "0x10 // new", "port: 1,", "port: 0x10,"),
            ("gateway.mode", "'local'", "'loopback' }", "'loopback', mode: 'local' }"),
            ("list[0]", "[9]", "1, // one", "[9], // one"),
            ("list[2]", "3", "2 // two\n  ]", "2, // two\n    3\n  ]"),
            ("[\"odd.name\"].a.b[0]", "true", "{}\n}", "{ a: { b: [true] } }\n}"),
            ("session", "{}", "{}\n}", "{},\n  session: {}\n}"),
            ("x-y.z", "1", "{}\n}", "{},\n  \"x-y\": { z: 1 }\n}"),
        ] {
            let expected = TEXT.replace(old, new);
            assert_ne!(expected, TEXT, "{path}: the case is wrong");
            assert_eq!(set(TEXT, path, value).unwrap(), expected, "{path}");
        }
    }

    #[test]
    fn what_has_no_room_is_refused() {
        for (path, value, expected) in [
            (
                "gateway.port.x",
                "1",
                "`gateway.port.x` cannot be set: `gateway.port` is a number; change `gateway.port` first",
            ),
            ("list.x", "1", "`list.x` cannot be set: `list` is a list; change `list` first"),
            ("gateway[0]", "1", "`gateway[0]` cannot be set: `gateway` is an object; change `gateway` first"),
            (
                "list[5]",
                "1",
                "`list[5]` is beyond the end of the list, which has 2 elements; append with [2]",
            ),
            ("a[1]", "1", "`a[1]` is beyond the end of the list, which has 0 elements; append with [0]"),
            (
                "gateway.bind",
                "lan",
                "the new value is not JSON5 (a text has no quotes around it); a text needs its own quotes, as '\"text\"'",
            ),
        ] {
            assert_eq!(set(TEXT, path, value).unwrap_err().to_string(), expected, "{path}");
        }
    }
}
