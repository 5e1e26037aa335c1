//! How types, ranges and values are put into words.

use serde_json::Value;

use super::{Judge, short};
use crate::path::quote;
use crate::tree::{Kind, Node, Number};

impl Judge<'_> {
    /// A value for a message: itself when it is short and not secret.
    pub(super) fn show(&self, node: &Node) -> String {
        match &node.kind {
            Kind::List { .. } | Kind::Object { .. } | Kind::Null => "this".into(),
            _ if self.hides(node) => "this (hidden) value".into(),
            Kind::Bool(flag) => flag.to_string(),
            Kind::Number(Number::Whole(whole)) => whole.to_string(),
            Kind::Number(Number::Float(float)) => float.to_string(),
            Kind::Text(text) => quote(&short(text)),
        }
    }
}

/// The type of a value, in words.
pub(super) fn type_of(node: &Node) -> &'static str {
    match &node.kind {
        Kind::Bool(_) => "true or false, not what belongs here",
        Kind::Number(Number::Float(_)) => "not a whole number",
        Kind::List { .. } => "a list",
        Kind::Null => "null",
        Kind::Number(_) => "a number",
        Kind::Object { .. } => "an object",
        Kind::Text(_) => "a text",
    }
}

/// Whether a schema without alternatives takes values of this type.
pub(super) fn takes(schema: &Value, node: &Node) -> bool {
    let is = |name: &str| match schema.get("type") {
        None => true,
        Some(Value::Array(names)) => names.iter().any(|one| one == name),
        Some(one) => one == name,
    };
    match &node.kind {
        Kind::Bool(_) => is("boolean"),
        Kind::List { .. } => is("array"),
        Kind::Null => is("null"),
        Kind::Number(Number::Float(float)) => is("number") || (!float.is_finite() && is("integer")),
        Kind::Number(Number::Whole(_)) => is("integer") || is("number"),
        Kind::Object { .. } => is("object"),
        Kind::Text(_) => is("string"),
    }
}

/// The texts that alternatives allow, when they do not allow every text.
pub(super) fn allowed_texts<'a>(alternatives: &[&'a Value]) -> Option<Vec<&'a str>> {
    let mut allowed = Vec::new();
    for one in alternatives {
        if let Some(text) = one.get("const").and_then(Value::as_str) {
            allowed.push(text);
        } else {
            allowed.extend(one.get("enum")?.as_array()?.iter().filter_map(Value::as_str));
        }
    }
    (!allowed.is_empty()).then_some(allowed)
}

/// What alternatives expect, in words.
pub(super) fn described(alternatives: &[&Value]) -> String {
    let texts: Vec<&Value> = alternatives.iter().copied().filter(|one| names_type(one, "string")).collect();
    let mut words = match allowed_texts(&texts) {
        Some(allowed) => vec![format!("one of {}", quoted_list(&allowed))],
        None if texts.is_empty() => Vec::new(),
        None => vec!["a text in quotes".to_owned()],
    };
    for one in alternatives {
        for (name, said) in [("array", "a list"), ("boolean", "true or false"), ("object", "an object")] {
            if names_type(one, name) {
                words.push(said.to_owned());
            }
        }
        if names_type(one, "integer") {
            words.push(match (one.get("minimum"), one.get("maximum")) {
                (Some(least), Some(most)) => format!("a whole number from {least} to {most}"),
                (Some(least), None) => format!("a whole number of at least {least}"),
                (None, _) => "a whole number".to_owned(),
            });
        }
    }
    words.join(", or ")
}

fn names_type(schema: &Value, name: &str) -> bool {
    match schema.get("type") {
        Some(Value::Array(names)) => names.iter().any(|one| one == name),
        Some(one) => one == name,
        None => false,
    }
}

/// What to do about a value that does not fit.
pub(super) fn mismatch_fix(node: &Node, alternatives: &[&Value], default: Option<&Value>) -> String {
    if let Kind::Text(text) = &node.kind {
        let wants = |name| alternatives.iter().any(|one| names_type(one, name));
        let is_number = wants("integer") && text.trim().parse::<i64>().is_ok();
        let is_flag = wants("boolean") && matches!(&**text, "false" | "true");
        if is_number || is_flag {
            return "write it without quotes".to_owned();
        }
    }
    match default.filter(|default| !default.is_null() && !default.is_object()) {
        Some(default) => format!("correct it, or remove the setting: its default is {default}"),
        None => "correct it, or remove the setting".to_owned(),
    }
}

/// The default that a schema names.
pub(super) fn default_of(schema: &Value) -> Option<&Value> {
    schema.get("default")
}

/// Texts in quotes, with commas.
pub(super) fn quoted_list(texts: &[&str]) -> String {
    texts.iter().map(|text| quote(text)).collect::<Vec<_>>().join(", ")
}
