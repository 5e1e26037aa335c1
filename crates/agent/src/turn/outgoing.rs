//! What leaves for a chat network of what a turn said: no secret that is known, and nothing that is between the program and a model.
//!
//! A model repeats what it has read: a key out of a file, the form of a tool call that it did not make, the marks around text from
//! outside. Whoever reads a chat has no business with any of it, and a network keeps it for ever. What stands in a block of code is
//! left alone but for secrets: somebody may have asked for it.

use std::borrow::Cow;

use moltbot_policy::redact::Redactor;

/// What stands in place of a secret.
const HIDDEN: &str = "***";
/// What is said where nothing else is left.
const NOTHING: &str = "(The answer had nothing in it that is meant to be read.)";
/// What begins and ends a block of code.
const FENCE: &str = "```";

/// Blocks that are for the program, by the name of their tag.
const BLOCKS: [&str; 7] =
    ["antthinking", "function_call", "function_calls", "think", "thinking", "tool_call", "tool_response"];
/// What begins and ends a sign of a model's own form, such as `<|im_end|>`.
const SIGN: (&str, &str) = ("<|", "|>");
/// The longest of such signs, in bytes.
const SIGN_BYTES: usize = 40;
/// How the lines begin that stand around text from outside.
const MARKS: [&str; 4] = ["<<<EXTERNAL", "<<<END EXTERNAL", "<<<SUMMARY", "<<<END SUMMARY"];

/// The text as it may leave.
pub(super) fn outgoing<'a>(text: &'a str, redactor: &Redactor) -> Cow<'a, str> {
    let safe = redactor.redact_known(text, HIDDEN);
    if matches!(safe, Cow::Owned(_)) {
        tracing::warn!("a secret was taken out of an answer before it left for a chat");
    }
    if !safe.contains('<') {
        return safe;
    }
    // Every second piece is a block of code, also one that does not end.
    let pieces = safe.split(FENCE).enumerate();
    let cleaned: Vec<Cow<'_, str>> =
        pieces.map(|(at, piece)| if at % 2 == 0 { cleaned(piece) } else { Cow::Borrowed(piece) }).collect();
    if cleaned.iter().all(|piece| matches!(piece, Cow::Borrowed(_))) {
        return safe;
    }
    tracing::warn!(
        "what is between the program and a model was taken out of an answer before it left for a chat"
    );
    let left = cleaned.join(FENCE);
    let left = left.trim();
    Cow::Owned(if left.is_empty() { NOTHING.to_owned() } else { left.to_owned() })
}

fn cleaned(piece: &str) -> Cow<'_, str> {
    let mut out = String::new();
    let mut rest = piece;
    while let Some(at) = rest.find('<') {
        let (before, from) = rest.split_at_checked(at).unwrap_or((rest, ""));
        out.push_str(before);
        let length = length_of_inner(from);
        if length == 0 {
            out.push('<');
            rest = from.get(1..).unwrap_or_default();
        } else {
            rest = from.get(length..).unwrap_or_default();
        }
    }
    out.push_str(rest);
    if out.len() == piece.len() { Cow::Borrowed(piece) } else { Cow::Owned(out) }
}

/// Bytes of what is for the program at the start of `text`, which begins with `<`; 0 when that is none.
fn length_of_inner(text: &str) -> usize {
    if MARKS.iter().any(|mark| text.starts_with(mark)) {
        return text.find('\n').map_or(text.len(), |end| end.saturating_add(1));
    }
    let (begins, ends) = SIGN;
    // No further than one may reach: a text of beginnings alone would be read once for each.
    let near = |rest: &str| rest.get(..rest.floor_char_boundary(SIGN_BYTES)).and_then(|near| near.find(ends));
    if let Some(end) = text.strip_prefix(begins).and_then(near) {
        let length = end.saturating_add(begins.len()).saturating_add(ends.len());
        return if length <= SIGN_BYTES { length } else { 0 };
    }
    let name = text.get(1..).unwrap_or_default();
    let is_whole = |name: &str, tag: &str| {
        name.get(..tag.len()).is_some_and(|begun| begun.eq_ignore_ascii_case(tag))
            && name.get(tag.len()..).is_some_and(|rest| rest.starts_with(['>', ' ', '\n']))
    };
    let Some(tag) = BLOCKS.iter().find(|tag| is_whole(name, tag)) else { return 0 };
    let end = format!("</{tag}>");
    let mut places = text.as_bytes().windows(end.len());
    // One that does not end goes on to the end of the piece.
    let found = places.position(|found| found.eq_ignore_ascii_case(end.as_bytes()));
    found.map_or(text.len(), |at| at.saturating_add(end.len()))
}

#[cfg(test)]
mod tests {
    use secrecy::SecretString;

    use super::*;

    fn said(text: &str) -> String {
        let redactor = Redactor::default();
        redactor.hide(&[SecretString::from("sk-canary-0123456789".to_owned())]);
        outgoing(text, &redactor).into_owned()
    }

    #[test]
    fn secrets_and_scaffolding_stay_here() {
        for (text, expected) in [
            ("the key is sk-canary-0123456789.", "the key is ***."),
            ("```\nsk-canary-0123456789\n```", "```\n***\n```"),
            ("Hi <tool_call>{\"name\": \"exec\"}</tool_call> there", "Hi  there"),
            ("<THINK>he must not know</THINK>\nYes.", "Yes."),
            ("Yes.<tool_call>{\"name\":", "Yes."),
            ("<think>only this</think>", NOTHING),
            ("ok<|im_end|><|im_start|>user", "okuser"),
            ("<<<EXTERNAL 7f3a>>> from: mail\nhello\n<<<END EXTERNAL 7f3a>>>\nDone.", "hello\nDone."),
        ] {
            assert_eq!(said(text), expected, "{text}");
        }
    }

    #[test]
    fn everything_else_is_said_as_it_is() {
        for text in [
            "a < b and b > c",
            "use `Vec<T>` or <b>bold</b>",
            "```\n<tool_call>{}</tool_call>\n```",
            "```xml\n<think>",
            "<thinker>stays</thinker>",
            "<| not a sign of a model because it is far too long to be one of those |>",
            "sk-another-0123456789",
            "",
            "é<",
        ] {
            assert_eq!(said(text), text);
        }
    }
}
