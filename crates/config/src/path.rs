//! The name of a place in a config, such as `agents.list[0].model` or `channels["my.chat"].token`.

use std::fmt::{self, Write as _};

use thiserror::Error;

use crate::limits;

/// Why a text is not the path of a setting.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[error(
    "path {path:?} is not valid: {because}; write it as `gateway.port`, `agents.list[0].id` or `channels[\"odd.name\"].token`"
)]
pub struct InvalidPath {
    path: String,
    because: &'static str,
}

/// One step of a path.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Step {
    /// Into an element of a list.
    Index(usize),
    /// Into a member of an object.
    Key(String),
}

/// A place in a config.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Path(pub(crate) Vec<Step>);

impl Path {
    /// Reads a path. It names at least one step, and no more than a config may be deep.
    pub(crate) fn parse(text: &str) -> Result<Self, InvalidPath> {
        let invalid = |because| InvalidPath { path: text.chars().take(100).collect(), because };
        let mut steps = Vec::new();
        let mut rest = text;
        while !rest.is_empty() || steps.is_empty() {
            let (step, after) = take_step(rest).map_err(invalid)?;
            steps.push(step);
            rest = match after.strip_prefix('.') {
                Some("") => return Err(invalid("it ends with a dot")),
                Some(more) if more.starts_with('[') => return Err(invalid("a dot stands before '['")),
                Some(more) => more,
                None if after.is_empty() || after.starts_with('[') => after,
                None => return Err(invalid("a dot is missing")),
            };
            if steps.len() >= limits::CONFIG_DEPTH && !rest.is_empty() {
                return Err(invalid("it is deeper than a config may be"));
            }
        }
        Ok(Self(steps))
    }
}

fn take_step(text: &str) -> Result<(Step, &str), &'static str> {
    if let Some(inner) = text.strip_prefix('[') {
        if inner.starts_with('"') {
            let (key, rest) = take_quoted(inner)?;
            let rest = rest.strip_prefix(']').ok_or("a ']' is missing")?;
            return Ok((Step::Key(key), rest));
        }
        let (digits, rest) = inner.split_once(']').ok_or("a ']' is missing")?;
        let all_digits = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
        let index = digits.parse().ok().filter(|_| all_digits);
        return Ok((Step::Index(index.ok_or("between '[' and ']' stands a number or a quoted key")?), rest));
    }
    if text.starts_with('"') {
        let (key, rest) = take_quoted(text)?;
        return Ok((Step::Key(key), rest));
    }
    let end = text.find(['.', '[', ']', '"']).unwrap_or(text.len());
    let (key, rest) = text.split_at_checked(end).unwrap_or((text, ""));
    if key.is_empty() { Err("a key is empty") } else { Ok((Step::Key(key.to_owned()), rest)) }
}

/// Reads a JSON string at the beginning of `text`.
fn take_quoted(text: &str) -> Result<(String, &str), &'static str> {
    let mut strings = serde_json::Deserializer::from_str(text).into_iter::<String>();
    let Some(Ok(key)) = strings.next() else { return Err("a quoted key is not a JSON string") };
    Ok((key, text.get(strings.byte_offset()..).unwrap_or("")))
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, step) in self.0.iter().enumerate() {
            match step {
                Step::Index(index) => write!(f, "[{index}]")?,
                Step::Key(key) if is_ordinary(key) => {
                    if position > 0 {
                        f.write_char('.')?;
                    }
                    f.write_str(key)?;
                }
                Step::Key(key) => write!(f, "[{}]", quote(key))?,
            }
        }
        Ok(())
    }
}

/// Whether a key can stand in a path without quotes.
fn is_ordinary(key: &str) -> bool {
    !key.is_empty()
        && key
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '$' | '*' | '/' | ':' | '@' | '+'))
}

/// Whether a key can stand in JSON5 without quotes (the ASCII part of that rule).
pub(crate) fn is_identifier(key: &str) -> bool {
    let begins = key.chars().next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_' || c == '$');
    begins && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '$')
}

/// A text in double quotes, valid in JSON and safe to print: control and direction marks are escaped.
pub(crate) fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len().saturating_add(2));
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            c if is_unprintable(c) => {
                let mut units = [0_u16; 2];
                for unit in c.encode_utf16(&mut units) {
                    // Writing to a String cannot fail.
                    write!(quoted, "\\u{unit:04x}").unwrap_or_default();
                }
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// Whether printing this character could move the cursor or turn the text around.
pub(crate) fn is_unprintable(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_reads_back_as_it_was_written() {
        for text in [
            "gateway",
            "gateway.auth.token",
            "agents.list[0].id",
            "agents.list[12]",
            "channels[\"my.chat\"].token",
            "models.providers[\"a b\"][\"\\\"\"]",
            "tools.byProvider.openai/gpt-5",
            "channels[\"\"]",
        ] {
            assert_eq!(Path::parse(text).expect(text).to_string(), text, "{text}");
        }
        assert_eq!(Path::parse("a.\"b.c\".d").unwrap().to_string(), "a[\"b.c\"].d");
    }

    #[test]
    fn a_text_that_is_no_path_is_refused() {
        for text in [
            "",
            ".",
            "a.",
            "a..b",
            "a[",
            "a[x]",
            "a[-1]",
            "a[1",
            "a]b",
            "a.[0]",
            "a\"b\"",
            "[\"a",
            "a[99999999999999999999999]",
        ] {
            assert!(Path::parse(text).is_err(), "{text:?}");
        }
        assert!(Path::parse(&"a.".repeat(100_000)).is_err(), "very deep");
    }

    #[test]
    fn what_could_move_the_cursor_is_escaped() {
        assert_eq!(quote("a\u{1b}[2J\u{202e}\""), "\"a\\u001b[2J\\u202e\\\"\"");
    }
}
