//! Calls of tools in what a model says.
//!
//! Models say a call as JSON, in marks, in a fence or bare. Only a whole answer that is nothing else, and calls tools that were
//! offered, is one; everything else is text, and is held back no longer than it could still become one.

use serde::Deserialize;
use serde_json::value::RawValue;

/// A call.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Called {
    pub(crate) name: String,
    /// A JSON object, as the model wrote it.
    pub(crate) arguments: String,
}

/// What an answer is, so far.
#[derive(Debug, Eq, PartialEq)]
pub(crate) enum Reading {
    /// Calls, if nothing else is said.
    Calls(Vec<Called>),
    /// It may become one.
    Open,
    /// It is text, whatever is said.
    Text,
}

/// Reads what was said so far, when `offered` may be called.
pub(crate) fn read(said: &str, offered: &[String]) -> Reading {
    if offered.is_empty() {
        return Reading::Text;
    }
    let said = said.trim_start();
    let read = match said.chars().next() {
        None => Err(Reading::Open),
        Some('<') => marked(said, offered),
        Some('`') => fenced(said, offered),
        Some(_) => object(said, offered).and_then(|(called, rest)| nothing(rest).map(|()| vec![called])),
    };
    read.map_or_else(|reading| reading, Reading::Calls)
}

/// `<tool_call>{…}</tool_call>`, once or more.
fn marked(said: &str, offered: &[String]) -> Result<Vec<Called>, Reading> {
    let mut calls = Vec::new();
    let mut rest = said;
    while !rest.is_empty() || calls.is_empty() {
        let inner = literal(rest, "<tool_call>")?;
        let (called, after) = object(inner.trim_start(), offered)?;
        rest = literal(after.trim_start(), "</tool_call>")?.trim_start();
        calls.push(called);
        if calls.len() > CALLS {
            return Err(Reading::Text);
        }
    }
    Ok(calls)
}

/// Three backticks, perhaps `json`, an object, three backticks.
fn fenced(said: &str, offered: &[String]) -> Result<Vec<Called>, Reading> {
    let inner = literal(said, FENCE)?;
    if "json".starts_with(inner) {
        return Err(Reading::Open);
    }
    let inner = inner.strip_prefix("json").unwrap_or(inner);
    let (called, rest) = object(inner.trim_start(), offered)?;
    nothing(literal(rest.trim_start(), FENCE)?)?;
    Ok(vec![called])
}

const FENCE: &str = "```";
/// Calls of one answer.
const CALLS: usize = 16;

/// What follows `literal`.
fn literal<'a>(said: &'a str, literal: &str) -> Result<&'a str, Reading> {
    match said.strip_prefix(literal) {
        Some(rest) => Ok(rest),
        None if literal.starts_with(said) => Err(Reading::Open),
        None => Err(Reading::Text),
    }
}

fn nothing(rest: &str) -> Result<(), Reading> {
    if rest.trim_start().is_empty() { Ok(()) } else { Err(Reading::Text) }
}

/// A call as models write it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    name: String,
    arguments: Box<RawValue>,
}

/// The call at the beginning of `said`, and what follows.
fn object<'a>(said: &'a str, offered: &[String]) -> Result<(Called, &'a str), Reading> {
    if said.is_empty() {
        return Err(Reading::Open);
    }
    if !said.starts_with('{') {
        return Err(Reading::Text);
    }
    let mut objects = serde_json::Deserializer::from_str(said).into_iter::<Written>();
    match objects.next() {
        Some(Ok(Written { name, arguments }))
            if offered.contains(&name) && arguments.get().starts_with('{') =>
        {
            let rest = said.get(objects.byte_offset()..).unwrap_or_default();
            Ok((Called { name, arguments: arguments.get().to_owned() }, rest))
        }
        Some(Err(error)) if error.is_eof() => Err(Reading::Open),
        Some(_) => Err(Reading::Text),
        None => Err(Reading::Open),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ARGUMENTS: &str = r#"{"city": "Bern", "a": [1]}"#;

    fn offered() -> Vec<String> {
        vec!["weather".into(), "time".into()]
    }

    fn call() -> String {
        format!(r#"{{"name": "weather", "arguments": {ARGUMENTS}}}"#)
    }

    #[test]
    fn a_whole_answer_that_calls_an_offered_tool_is_a_call() {
        let called = Called { name: "weather".into(), arguments: ARGUMENTS.into() };
        let call = call();
        for (text, count) in [
            (call.clone(), 1),
            (format!(" \n{call}\n"), 1),
            (format!("<tool_call>\n{call}\n</tool_call>"), 1),
            (format!("<tool_call>{call}</tool_call>\n<tool_call>\n{call}</tool_call>\n"), 2),
            (format!("```json\n{call}\n```\n"), 1),
            (format!("```\n{call}```"), 1),
        ] {
            assert_eq!(read(&text, &offered()), Reading::Calls(vec![called.clone(); count]), "{text}");
            for (at, _) in text.char_indices() {
                let part = text.get(..at).unwrap();
                assert_ne!(read(part, &offered()), Reading::Text, "it could still become a call: {part}");
            }
        }
    }

    #[test]
    fn everything_else_is_text_as_soon_as_it_cannot_be_a_call() {
        let call = call();
        for text in [
            "H".to_owned(),
            format!("{call} and more"),
            format!("Sure: {call}"),
            "{\"name\": \"delete\", \"arguments\": {}}".into(),
            "{\"name\": \"weather\", \"arguments\": \"Bern\"}".into(),
            "{\"name\": \"weather\", \"arguments\": {}, \"more\":".into(),
            "{\"name\": 1".into(),
            "{\"answer\"".into(),
            "[".into(),
            "<b".into(),
            "<tool_call>no".into(),
            format!("<tool_call>{call}</b"),
            "```rust".into(),
            format!("```json\n{call}\n``` so"),
            format!("<tool_call>{call}</tool_call> so"),
        ] {
            assert_eq!(read(&text, &offered()), Reading::Text, "{text}");
        }
        assert_eq!(read(&call, &[]), Reading::Text, "no tool was offered");
    }
}
