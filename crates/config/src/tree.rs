//! What a text says, with the place of every value: the form between JSON5 and [`Config`](crate::Config).

use std::fmt;
use std::ops::Deref;

use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value};

use crate::path::{Path, Step};

/// A value and where it stands in the text.
#[derive(Debug)]
pub(crate) struct Node {
    /// The offset of its first byte.
    pub(crate) start: usize,
    /// The offset after its last byte.
    pub(crate) end: usize,
    pub(crate) kind: Kind,
}

/// What a value is.
#[derive(Debug)]
pub(crate) enum Kind {
    Bool(bool),
    List { items: Vec<Node>, trailing_comma: bool },
    Null,
    Number(Number),
    Object { members: Vec<Member>, trailing_comma: bool },
    Text(Text),
}

/// A text: as it stands in the file, or one that was sealed there or is elsewhere, and is in memory alone.
pub(crate) enum Text {
    Plain(String),
    Secret(SecretString),
}

impl Deref for Text {
    type Target = str;

    /// For comparisons, checks and the setting it belongs to; a secret never for a message.
    fn deref(&self) -> &str {
        match self {
            Self::Plain(text) => text,
            Self::Secret(secret) => secret.expose_secret(),
        }
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plain(text) => text.fmt(f),
            Self::Secret(_) => f.write_str("Secret(…)"),
        }
    }
}

/// A number. Whole ones are kept exactly.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Number {
    /// With a fraction, too large to be exact, or not finite.
    Float(f64),
    Whole(i128),
}

/// A key with its value.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) key: String,
    /// The offset of the key's first byte; it names the member in a set of skipped ones.
    pub(crate) start: usize,
    /// The offset after the key's last byte.
    pub(crate) end: usize,
    pub(crate) value: Node,
}

impl Node {
    /// The member or element at the end of one step. Of two members with one key, the last, as in JSON5.
    pub(crate) fn child(&self, step: &Step) -> Option<&Self> {
        match (&self.kind, step) {
            (Kind::List { items, .. }, Step::Index(index)) => items.get(*index),
            (Kind::Object { members, .. }, Step::Key(key)) => {
                members.iter().rev().find(|member| member.key == *key).map(|member| &member.value)
            }
            _ => None,
        }
    }

    /// The value at a path.
    pub(crate) fn at(&self, path: &Path) -> Option<&Self> {
        path.0.iter().try_fold(self, Self::child)
    }

    /// The value as JSON, references as they are written. What JSON cannot say (`NaN`) becomes null; a
    /// config that has it does not load.
    pub(crate) fn to_json(&self) -> Value {
        match &self.kind {
            Kind::Null => Value::Null,
            Kind::Bool(flag) => Value::Bool(*flag),
            Kind::Number(number) => number.to_json(),
            Kind::Text(Text::Plain(text)) => Value::String(text.clone()),
            // Asked only of a tree in which nothing was opened; were it not, this is what is shown.
            Kind::Text(Text::Secret(_)) => Value::String("***".into()),
            Kind::List { items, .. } => Value::Array(items.iter().map(Self::to_json).collect()),
            Kind::Object { members, .. } => Value::Object(
                members
                    .iter()
                    .map(|member| (member.key.clone(), member.value.to_json()))
                    .collect::<Map<_, _>>(),
            ),
        }
    }

    /// What kind of value it is, in words for an error.
    pub(crate) fn describe(&self) -> &'static str {
        match &self.kind {
            Kind::Bool(_) => "true or false",
            Kind::List { .. } => "a list",
            Kind::Null => "null",
            Kind::Number(_) => "a number",
            Kind::Object { .. } => "an object",
            Kind::Text(_) => "a text",
        }
    }
}

impl Number {
    /// The number as JSON; null when JSON has none such.
    pub(crate) fn to_json(self) -> Value {
        match self {
            Self::Float(float) => serde_json::Number::from_f64(float).map_or(Value::Null, Value::Number),
            Self::Whole(whole) => match (u64::try_from(whole), i64::try_from(whole)) {
                (Ok(number), _) => Value::from(number),
                (_, Ok(number)) => Value::from(number),
                (Err(_), Err(_)) => Value::Null,
            },
        }
    }
}
