//! A config as it is written, valid or not: looked up by path, and walked.

use serde_json::Value;

/// The value at `path`, whose members are separated by dots; nothing where there is none.
pub(super) fn at<'a>(value: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.').try_fold(value, |value, name| value.get(name))
}

/// The text at `path`.
pub(super) fn text<'a>(value: &'a Value, path: &str) -> Option<&'a str> {
    at(value, path).and_then(Value::as_str)
}

/// Whether `path` is `true`.
pub(super) fn is_set(value: &Value, path: &str) -> bool {
    at(value, path).and_then(Value::as_bool) == Some(true)
}

/// The elements at `path`, of a list or of one value that stands for a list of one.
pub(super) fn items<'a>(value: &'a Value, path: &str) -> &'a [Value] {
    match at(value, path) {
        None | Some(Value::Null) => &[],
        Some(Value::Array(items)) => items,
        Some(one) => std::slice::from_ref(one),
    }
}

/// The members at `path`, in the order of the file.
pub(super) fn members<'a>(value: &'a Value, path: &str) -> impl Iterator<Item = (&'a str, &'a Value)> {
    let found = at(value, path).and_then(Value::as_object);
    found.into_iter().flatten().map(|(name, value)| (name.as_str(), value))
}

/// A word without case, spaces and marks: ` Open ` and `open` are the same to who reads the file.
pub(super) fn fold(text: &str) -> String {
    text.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

/// Calls `visit` for every value below `value`, with its path and the folded name of the member that it stands in.
pub(super) fn walk<'a>(
    value: &'a Value,
    path: &str,
    name: &str,
    visit: &mut dyn FnMut(&str, &str, &'a Value),
) {
    visit(path, name, value);
    match value {
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                walk(item, &format!("{path}[{index}]"), name, visit);
            }
        }
        Value::Object(members) => {
            for (key, member) in members {
                let below = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                walk(member, &below, &fold(key), visit);
            }
        }
        Value::Bool(_) | Value::Null | Value::Number(_) | Value::String(_) => {}
    }
}
