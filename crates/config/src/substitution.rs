//! `${NAME}` in the texts of a config: replaced by variables of the environment when it is loaded.
//!
//! Names are `[A-Z_][A-Z0-9_]*`; `$${NAME}` is the literal `${NAME}`; anything else with a dollar is left
//! as it is. A variable that is missing or empty is an error: an empty token would let everybody in.

use std::borrow::Cow;

use secrecy::{ExposeSecret, SecretString};

/// How the caller looks up a variable.
pub(crate) type Environment<'a> = dyn Fn(&str) -> Option<SecretString> + 'a;

/// A text after substitution.
pub(crate) enum Expanded<'a> {
    /// Nothing of the environment is in it.
    Plain(Cow<'a, str>),
    /// It holds values of the environment, which are treated as secret.
    Secret(SecretString),
}

impl Expanded<'_> {
    /// The text. For a comparison or the field it belongs to; never for a message.
    pub(crate) fn expose(&self) -> &str {
        match self {
            Self::Plain(text) => text,
            Self::Secret(secret) => secret.expose_secret(),
        }
    }
}

/// A variable that cannot be used.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Missing<'a> {
    pub(crate) variable: &'a str,
    /// Whether it exists but is empty.
    pub(crate) is_empty: bool,
}

/// Part of a text.
#[derive(Debug, Eq, PartialEq)]
enum Piece<'a> {
    Literal(&'a str),
    Reference(&'a str),
}

/// Replaces the references in `text`, or names every one that cannot be.
pub(crate) fn expand<'a>(
    text: &'a str,
    environment: &Environment<'_>,
) -> Result<Expanded<'a>, Vec<Missing<'a>>> {
    if !text.contains("${") {
        return Ok(Expanded::Plain(Cow::Borrowed(text)));
    }
    let mut missing = Vec::new();
    let mut secrets: Vec<(&str, Option<SecretString>)> = Vec::new();
    for piece in pieces(text) {
        match piece {
            Piece::Literal(literal) => secrets.push((literal, None)),
            Piece::Reference(variable) => match environment(variable) {
                None => missing.push(Missing { variable, is_empty: false }),
                Some(value) if value.expose_secret().is_empty() => {
                    missing.push(Missing { variable, is_empty: true });
                }
                Some(value) => secrets.push(("", Some(value))),
            },
        }
    }
    if !missing.is_empty() {
        return Err(missing);
    }
    let has_reference = secrets.iter().any(|(_, secret)| secret.is_some());
    let parts =
        secrets.iter().map(|(literal, secret)| secret.as_ref().map_or(*literal, |s| s.expose_secret()));
    // One allocation of the exact size: a growing buffer would leave copies of a secret behind.
    let size = parts.clone().map(str::len).fold(0_usize, usize::saturating_add);
    let mut whole = String::with_capacity(size);
    parts.for_each(|part| whole.push_str(part));
    Ok(if has_reference { Expanded::Secret(whole.into()) } else { Expanded::Plain(Cow::Owned(whole)) })
}

/// The text with which a config says `text` itself, whatever looks like a reference in it.
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len().saturating_add(8));
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        let (before, from) = rest.split_at_checked(at).unwrap_or((rest, ""));
        escaped.push_str(before);
        if from.get(2..).and_then(reference).is_some() {
            escaped.push('$');
        }
        escaped.push_str("${");
        rest = from.get(2..).unwrap_or_default();
    }
    escaped.push_str(rest);
    escaped
}

/// What [`escape`] was given. References that are none of its making stay as they are written.
pub(crate) fn unescape(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for piece in pieces(text) {
        match piece {
            Piece::Literal(literal) => plain.push_str(literal),
            Piece::Reference(name) => {
                for part in ["${", name, "}"] {
                    plain.push_str(part);
                }
            }
        }
    }
    plain
}

/// Whether the text is one reference and nothing else, so that it holds no secret itself.
pub(crate) fn is_pure_reference(text: &str) -> bool {
    matches!(pieces(text).as_slice(), [Piece::Reference(_)])
}

fn pieces(text: &str) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    let mut literal = text;
    let mut from = 0;
    while let Some(found) = literal.get(from..).and_then(|rest| rest.find("${")) {
        let at = from.saturating_add(found);
        let Some((name, rest)) = literal.get(at.saturating_add(2)..).and_then(reference) else {
            from = at.saturating_add(2);
            continue;
        };
        let before = literal.get(..at).unwrap_or("");
        if let Some(unescaped) = before.strip_suffix('$') {
            let escaped_end = literal.len().saturating_sub(rest.len());
            pieces.push(Piece::Literal(unescaped));
            pieces.push(Piece::Literal(literal.get(at..escaped_end).unwrap_or("")));
        } else {
            pieces.push(Piece::Literal(before));
            pieces.push(Piece::Reference(name));
        }
        literal = rest;
        from = 0;
    }
    pieces.push(Piece::Literal(literal));
    pieces.retain(|piece| *piece != Piece::Literal(""));
    pieces
}

/// The name and what follows the brace, for a text that begins after `${`.
fn reference(text: &str) -> Option<(&str, &str)> {
    let ordinary = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_';
    let length = text.bytes().take_while(|b| ordinary(*b)).count();
    let (name, rest) = text.split_at_checked(length)?;
    let begins = name.bytes().next().is_some_and(|b| !b.is_ascii_digit());
    Some((name, rest.strip_prefix('}')?)).filter(|_| begins)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(name: &str) -> Option<SecretString> {
        match name {
            "A" => Some("one".into()),
            "B_2" => Some("${A}".into()),
            "EMPTY" => Some("".into()),
            _ => None,
        }
    }

    #[test]
    fn references_are_replaced_once_and_escapes_are_literal() {
        for (text, expected) in [
            ("", ""),
            ("plain $5 $ {A}", "plain $5 $ {A}"),
            ("${A}", "one"),
            ("Bearer ${A}!", "Bearer one!"),
            ("${A}${A}", "oneone"),
            ("${B_2}", "${A}"), // what a variable says is not read again
            ("$${A}", "${A}"),
            ("$${A} ${A}", "${A} one"),
            ("$$${A}", "$${A}"),
            ("${a} ${} ${A", "${a} ${} ${A"),
            ("${${A}", "${one"),
            ("é${A}é", "éoneé"),
        ] {
            let expanded = expand(text, &environment).unwrap_or_else(|_| panic!("{text}"));
            assert_eq!(expanded.expose(), expected, "{text}");
        }
    }

    #[test]
    fn every_variable_that_is_missing_or_empty_is_named() {
        let Err(missing) = expand("${A} ${NO} ${EMPTY}", &environment) else { panic!("must fail") };
        assert_eq!(
            missing,
            [Missing { variable: "NO", is_empty: false }, Missing { variable: "EMPTY", is_empty: true }]
        );
    }

    #[test]
    fn what_is_escaped_is_read_as_itself() {
        for text in ["", "${A}", "$${A}", "$$${A}${B}", "${a} ${} ${A", "x$", "${${A}", "é${A}é"] {
            let escaped = escape(text);
            let expanded = expand(&escaped, &|_| panic!("{escaped} refers to something"));
            assert_eq!(expanded.ok().as_ref().map(Expanded::expose), Some(text), "{escaped}");
            assert_eq!(unescape(&escaped), text, "{escaped}");
        }
    }

    #[test]
    fn only_a_reference_alone_is_pure() {
        for (text, pure) in
            [("${A}", true), ("$${A}", false), ("x${A}", false), ("${A}${B}", false), ("${a}", false)]
        {
            assert_eq!(is_pure_reference(text), pure, "{text}");
        }
    }
}
