//! Reads a tool call's arguments strictly: the model is told exactly what is wrong, so that it can mend it.

use serde_json::{Map, Value};

/// The arguments of one call. Members are taken out one by one; [`Arguments::finish`] refuses what is left.
pub(super) struct Arguments {
    tool: &'static str,
    members: Map<String, Value>,
    known: Vec<&'static str>,
}

impl Arguments {
    /// Reads the arguments as the model gave them: an object, or a text that was not JSON.
    pub(super) fn of(tool: &'static str, arguments: Value) -> Result<Self, String> {
        match arguments {
            Value::Object(members) => Ok(Self { tool, members, known: Vec::new() }),
            Value::Null => Ok(Self { tool, members: Map::new(), known: Vec::new() }),
            Value::String(text) => Err(format!(
                "the arguments of `{tool}` are not valid JSON (they begin {:?}); send one complete JSON object",
                text.chars().take(40).collect::<String>()
            )),
            other => {
                let kind = kind_of(&other);
                Err(format!("the arguments of `{tool}` are {kind}; send one JSON object"))
            }
        }
    }

    /// A text that must be there.
    pub(super) fn text(&mut self, name: &'static str) -> Result<String, String> {
        self.optional_text(name)?.ok_or_else(|| {
            format!("`{}` needs `{name}`, a text, and it is missing; call it again with it", self.tool)
        })
    }

    /// A text that may be missing.
    pub(super) fn optional_text(&mut self, name: &'static str) -> Result<Option<String>, String> {
        self.known.push(name);
        match self.members.remove(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(self.wrong(name, "a text", &other)),
        }
    }

    /// A whole number from `least` on that may be missing.
    pub(super) fn optional_number(&mut self, name: &'static str, least: u64) -> Result<Option<u64>, String> {
        self.known.push(name);
        match self.members.remove(name) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => match value.as_u64().filter(|number| *number >= least) {
                Some(number) => Ok(Some(number)),
                None => Err(self.wrong(name, &format!("a whole number of at least {least}"), &value)),
            },
        }
    }

    /// True or false, and false when it is missing.
    pub(super) fn optional_flag(&mut self, name: &'static str) -> Result<bool, String> {
        self.known.push(name);
        match self.members.remove(name) {
            None | Some(Value::Null) => Ok(false),
            Some(Value::Bool(flag)) => Ok(flag),
            Some(other) => Err(self.wrong(name, "true or false", &other)),
        }
    }

    /// Refuses members that the tool does not know.
    pub(super) fn finish(self) -> Result<(), String> {
        match self.members.keys().next() {
            None => Ok(()),
            Some(name) => Err(format!(
                "`{}` has no argument `{}`; it takes {}",
                self.tool,
                name.chars().take(40).collect::<String>(),
                self.known.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
            )),
        }
    }

    fn wrong(&self, name: &str, expected: &str, found: &Value) -> String {
        let found = match found {
            Value::Number(number) => format!("the number {number}"),
            other => kind_of(other).to_owned(),
        };
        format!("`{name}` of `{}` must be {expected}, and is {found}; call it again", self.tool)
    }
}

/// A JSON value's kind, in words.
const fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Array(_) => "a list",
        Value::Bool(_) => "true or false",
        Value::Null => "null",
        Value::Number(_) => "a number",
        Value::Object(_) => "an object",
        Value::String(_) => "a text",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(arguments: Value) -> Result<(String, Option<u64>), String> {
        let mut arguments = Arguments::of("read", arguments)?;
        let path = arguments.text("path")?;
        let offset = arguments.optional_number("offset", 1)?;
        arguments.finish()?;
        Ok((path, offset))
    }

    #[test]
    fn arguments_are_taken_as_they_should_be() {
        assert_eq!(read(json!({ "path": "a", "offset": 3 })), Ok(("a".into(), Some(3))));
        assert_eq!(read(json!({ "path": "a", "offset": null })), Ok(("a".into(), None)));
    }

    #[test]
    fn whatever_is_wrong_with_arguments_is_said() {
        for (arguments, expected) in [
            (json!({}), "`read` needs `path`, a text, and it is missing; call it again with it"),
            (json!(null), "`read` needs `path`, a text, and it is missing; call it again with it"),
            (json!({ "path": 5 }), "`path` of `read` must be a text, and is the number 5; call it again"),
            (json!({ "path": ["a"] }), "`path` of `read` must be a text, and is a list; call it again"),
            (
                json!({ "path": "a", "offset": "1" }),
                "`offset` of `read` must be a whole number of at least 1, and is a text; call it again",
            ),
            (
                json!({ "path": "a", "offset": 0 }),
                "`offset` of `read` must be a whole number of at least 1, and is the number 0; call it again",
            ),
            (
                json!({ "path": "a", "offset": -1.5 }),
                "`offset` of `read` must be a whole number of at least 1, and is the number -1.5; call it again",
            ),
            (json!({ "path": "a", "x": 1 }), "`read` has no argument `x`; it takes `path`, `offset`"),
            (json!([]), "the arguments of `read` are a list; send one JSON object"),
            (
                json!("{\"path\": \"a"),
                "the arguments of `read` are not valid JSON (they begin \"{\\\"path\\\": \\\"a\"); send one complete JSON object",
            ),
        ] {
            assert_eq!(read(arguments.clone()), Err(expected.to_owned()), "arguments {arguments}");
        }
    }
}
