//! Reads JSON5 into a [`Node`] tree with the place of every value.
//!
//! Our own, because errors must point at values and neither JSON5 library of the dependency list gives
//! their places; `json5` decides which characters are space and identifiers, and is the oracle in the
//! tests. Work is linear in the text and recursion ends at [`limits::CONFIG_DEPTH`].

mod number;
mod string;

use std::ops::Range;

use json5::char::{is_json5_identifier, is_json5_identifier_start, is_json5_whitespace};

use crate::limits;
use crate::path::{Path, Step};
use crate::tree::{Kind, Member, Node, Text};

/// What [`read`] found besides the values.
#[derive(Debug, Default)]
pub(crate) struct Outline {
    /// Where numbers and texts stand, and comments: what an excerpt must not show by accident.
    pub(crate) hidden: Vec<Range<usize>>,
}

/// Why a text is not JSON5.
#[derive(Debug)]
pub(crate) struct SyntaxError {
    /// The offset of the fault.
    pub(crate) at: usize,
    /// What is wrong.
    pub(crate) message: String,
    /// What would be right.
    pub(crate) fix: &'static str,
    /// The setting whose value was being read.
    pub(crate) path: Path,
    /// Everything that was read until then.
    pub(crate) outline: Outline,
}

impl SyntaxError {
    /// Where the character at fault ends: what was understood, and it.
    pub(crate) fn end(&self, text: &str) -> usize {
        let next = text.get(self.at..).and_then(|rest| rest.chars().next());
        next.map_or(self.at, |c| self.at.saturating_add(c.len_utf8()))
    }
}

/// Reads a whole text.
pub(crate) fn read(text: &str) -> Result<(Node, Outline), Box<SyntaxError>> {
    let mut reader = Reader { text, at: 0, path: Path::default(), outline: Outline::default() };
    let result = reader.document();
    let Reader { path, outline, .. } = reader;
    match result {
        Ok(node) => Ok((node, outline)),
        Err(Fault { at, message, fix }) => Err(Box::new(SyntaxError { at, message, fix, path, outline })),
    }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    path: Path,
    outline: Outline,
}

/// A fault before the path and outline are added.
struct Fault {
    at: usize,
    message: String,
    fix: &'static str,
}

type Read<T> = Result<T, Fault>;

const VALUE: &str = "write a value: an object, a list, a text in quotes, a number, true, false or null";

impl<'a> Reader<'a> {
    fn document(&mut self) -> Read<Node> {
        self.skip_space()?;
        if self.peek().is_none() {
            return Err(self.fault(self.at, "the file is empty", "write at least `{}`"));
        }
        let node = self.value()?;
        self.skip_space()?;
        match self.peek() {
            None => Ok(node),
            Some(_) => Err(self.fault(
                self.at,
                "something follows the end of the value",
                "remove it, or the bracket too many before it",
            )),
        }
    }

    fn value(&mut self) -> Read<Node> {
        let start = self.at;
        let is_container = matches!(self.peek(), Some('{' | '['));
        let read = self.kind();
        match &read {
            // What was begun as a value is hidden to the end: it may be half of a secret.
            Err(_) if !is_container => self.outline.hidden.push(start..self.text.len()),
            Ok(Kind::Number(_) | Kind::Text(_)) => self.outline.hidden.push(start..self.at),
            Ok(_) | Err(_) => {}
        }
        Ok(Node { start, end: self.at, kind: read? })
    }

    fn kind(&mut self) -> Read<Kind> {
        let start = self.at;
        Ok(match self.peek() {
            None => return Err(self.fault(start, "the file ends where a value should be", VALUE)),
            Some('{') => self.object()?,
            Some('[') => self.list()?,
            Some(quote @ ('"' | '\'')) => Kind::Text(Text::Plain(self.string(quote)?)),
            Some(c) if c.is_ascii_digit() || matches!(c, '+' | '-' | '.' | 'I' | 'N') => {
                Kind::Number(self.number()?)
            }
            Some(c) if is_json5_identifier_start(c) => self.word()?,
            Some(_) => return Err(self.fault(start, "a value should be here", VALUE)),
        })
    }

    fn word(&mut self) -> Read<Kind> {
        let start = self.at;
        let word = self.take_while(is_json5_identifier);
        match word {
            "true" => Ok(Kind::Bool(true)),
            "false" => Ok(Kind::Bool(false)),
            "null" => Ok(Kind::Null),
            _ => Err(self.fault(start, "a text has no quotes around it", "write it in quotes, as \"text\"")),
        }
    }

    fn object(&mut self) -> Read<Kind> {
        let open = self.open("object")?;
        let mut members = Vec::new();
        let mut comma = true;
        loop {
            self.skip_space()?;
            match self.peek() {
                None => return Err(self.unclosed(open, "object", "add the missing '}'")),
                Some('}') => break,
                Some(_) if !comma => {
                    return Err(self.fault(
                        self.at,
                        "a comma or '}' should be here",
                        "separate the settings by commas",
                    ));
                }
                Some(_) => members.push(self.member()?),
            }
            comma = self.comma()?;
        }
        self.bump();
        let trailing_comma = comma && !members.is_empty();
        Ok(Kind::Object { members, trailing_comma })
    }

    fn member(&mut self) -> Read<Member> {
        let start = self.at;
        let key = self.key()?;
        let end = self.at;
        self.skip_space()?;
        if !self.eat(':') {
            // What is no key may be a value, and a secret one.
            self.outline.hidden.push(start..end);
            let (message, fix) = match self.peek() {
                None => ("the file ends after a key", "write ':' and the value, and close the brackets"),
                Some(_) => ("a ':' should follow the key", "write `key: value`"),
            };
            return Err(self.fault(self.at, message, fix));
        }
        self.path.0.push(Step::Key(key.clone()));
        self.skip_space()?;
        let value = self.value()?;
        self.path.0.pop();
        Ok(Member { key, start, end, value })
    }

    fn key(&mut self) -> Read<String> {
        match self.peek() {
            Some(quote @ ('"' | '\'')) => {
                let start = self.at;
                let read = self.string(quote);
                if read.is_err() {
                    self.outline.hidden.push(start..self.text.len());
                }
                read
            }
            Some(c) if is_json5_identifier_start(c) => {
                let key = self.take_while(is_json5_identifier).to_owned();
                if self.peek() == Some('\\') {
                    return Err(self.fault(
                        self.at,
                        "a key has an escape outside quotes",
                        "write the key in quotes",
                    ));
                }
                Ok(key)
            }
            _ => Err(self.fault(
                self.at,
                "a key should be here",
                "write a name, in quotes when it is more than letters, digits, '_' and '$'",
            )),
        }
    }

    fn list(&mut self) -> Read<Kind> {
        let open = self.open("list")?;
        let mut items = Vec::new();
        let mut comma = true;
        loop {
            self.skip_space()?;
            match self.peek() {
                None => return Err(self.unclosed(open, "list", "add the missing ']'")),
                Some(']') => break,
                Some(_) if !comma => {
                    return Err(self.fault(
                        self.at,
                        "a comma or ']' should be here",
                        "separate the elements by commas",
                    ));
                }
                Some(_) => {
                    self.path.0.push(Step::Index(items.len()));
                    items.push(self.value()?);
                    self.path.0.pop();
                }
            }
            comma = self.comma()?;
        }
        self.bump();
        let trailing_comma = comma && !items.is_empty();
        Ok(Kind::List { items, trailing_comma })
    }

    /// Steps over the opening bracket, unless it is too deep. Depth is that of the path plus this one.
    fn open(&mut self, what: &str) -> Read<usize> {
        let at = self.at;
        if self.path.0.len() >= limits::CONFIG_DEPTH {
            let message = format!("this {what} is nested more than {} deep", limits::CONFIG_DEPTH);
            return Err(self.fault(at, message, "no setting is so deep: remove brackets"));
        }
        self.bump();
        Ok(at)
    }

    fn comma(&mut self) -> Read<bool> {
        self.skip_space()?;
        Ok(self.eat(','))
    }

    fn unclosed(&self, open: usize, what: &str, fix: &'static str) -> Fault {
        self.fault(open, format!("the file ends inside this {what}"), fix)
    }

    fn skip_space(&mut self) -> Read<()> {
        loop {
            let start = self.at;
            let rest = self.rest();
            if rest.starts_with("//") {
                let ends = |c| matches!(c, '\n' | '\r' | '\u{2028}' | '\u{2029}');
                self.advance(rest.find(ends).unwrap_or(rest.len()));
            } else if let Some(inside) = rest.strip_prefix("/*") {
                let Some(length) = inside.find("*/") else {
                    return Err(self.fault(
                        start,
                        "the file ends inside this comment",
                        "close the comment with '*/'",
                    ));
                };
                self.advance(length.saturating_add(4));
            } else if self.peek().is_some_and(is_json5_whitespace) {
                self.take_while(is_json5_whitespace);
                continue;
            } else {
                return Ok(());
            }
            self.outline.hidden.push(start..self.at);
        }
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or("")
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    /// Steps over one character and gives it.
    fn bump(&mut self) -> Option<char> {
        let next = self.peek();
        self.advance(next.map_or(0, char::len_utf8));
        next
    }

    fn eat(&mut self, expected: char) -> bool {
        let found = self.peek() == Some(expected);
        if found {
            self.bump();
        }
        found
    }

    fn advance(&mut self, bytes: usize) {
        self.at = self.at.saturating_add(bytes);
    }

    fn take_while(&mut self, belongs: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let end = rest.find(|c| !belongs(c)).unwrap_or(rest.len());
        self.advance(end);
        rest.get(..end).unwrap_or("")
    }

    #[expect(clippy::unused_self, reason = "reads as what it is at every call: the reader's fault")]
    fn fault(&self, at: usize, message: impl Into<String>, fix: &'static str) -> Fault {
        Fault { at, message: message.into(), fix }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn parse(text: &str) -> Result<Value, String> {
        read(text).map(|(node, _)| node.to_json()).map_err(|e| format!("{}@{}", e.message, e.at))
    }

    #[test]
    fn everything_that_json5_has_is_read() {
        let text = "\u{feff}// head\n{ a: 1, 'b': \"x\", \"c\": [1, 2,], /* c */ $d_1: +.5, e: 0x1F, f: -0xA, g: 5., h: 1e3, \
                    i: 'it\\'s \\x41\\u0042\\\n new', é: null, j: true, k: false, l: {}, m: [], n: -0.25, o: \"\\u{no}\" }";
        assert!(parse(text).is_err(), "\\u without four digits");
        let text = text.replace(", o: \"\\u{no}\"", "");
        let expected = json!({"a": 1, "b": "x", "c": [1, 2], "$d_1": 0.5, "e": 31, "f": -10, "g": 5, "h": 1000,
            "i": "it's AB new", "é": null, "j": true, "k": false, "l": {}, "m": [], "n": -0.25});
        assert_eq!(parse(&text), Ok(expected));
    }

    #[test]
    fn every_fault_says_what_and_where() {
        for (text, expected) in [
            ("", "the file is empty@0"),
            ("  // x", "the file is empty@6"),
            ("{", "the file ends inside this object@0"),
            ("{a: [1,", "the file ends inside this list@4"),
            ("{a", "the file ends after a key@2"),
            ("{a:", "the file ends where a value should be@3"),
            ("{a: \"x", "the file ends inside this text@4"),
            ("{a: 'x\n'}", "a text goes over the end of the line@6"),
            ("{a: x}", "a text has no quotes around it@4"),
            ("{a 1}", "a ':' should follow the key@3"),
            ("{a: 1 b: 2}", "a comma or '}' should be here@6"),
            ("[1 2]", "a comma or ']' should be here@3"),
            ("{,}", "a key should be here@1"),
            ("[,]", "a value should be here@1"),
            ("{1: 2}", "a key should be here@1"),
            ("{} {}", "something follows the end of the value@3"),
            ("/* x", "the file ends inside this comment@0"),
            ("01", "a number begins with a zero too many@0"),
            ("1x", "a number has something that does not belong@1"),
            ("++1", "a number has something that does not belong@1"),
            ("'\\x4'", "an escape is not complete@1"),
            ("'\\u12G4'", "an escape is not complete@1"),
            ("'\\1'", "an escape is not known@1"),
        ] {
            assert_eq!(parse(text), Err(expected.to_owned()), "{text:?}");
        }
    }

    #[test]
    fn depth_ends_at_the_limit() {
        let deep = |n: usize| format!("{}{}", "[".repeat(n), "]".repeat(n));
        assert!(parse(&deep(limits::CONFIG_DEPTH)).is_ok());
        for text in [
            deep(limits::CONFIG_DEPTH + 1),
            "[".repeat(1_000_000),
            "{a:".repeat(300_000),
            "+".repeat(1_000_000),
        ] {
            assert!(parse(&text).is_err());
        }
    }
}
