//! Where a value that was assigned to a telling name begins and ends.

use super::Span;

/// Levels of JSON strings within JSON strings whose quotes are understood.
const NESTING: usize = 7;
/// Blanks that may stand between a name, its sign and its value.
pub(super) const BLANKS: usize = 4;

/// The byte at `at`.
pub(super) fn byte(text: &[u8], at: usize) -> Option<u8> {
    text.get(at).copied()
}

/// The byte before `at`.
pub(super) fn before(text: &[u8], at: usize) -> Option<u8> {
    at.checked_sub(1).and_then(|at| byte(text, at))
}

/// Where the bytes that `holds` end, from `from` on, looking at `most` at most.
pub(super) fn run(text: &[u8], from: usize, most: usize, holds: impl Fn(u8) -> bool) -> usize {
    let rest = text.get(from..).unwrap_or_default();
    from + rest.iter().take(most).take_while(|byte| holds(**byte)).count()
}

/// Where the bytes that `holds` begin, back from `from`, looking at `most` at most.
pub(super) fn run_back(text: &[u8], from: usize, most: usize, holds: impl Fn(u8) -> bool) -> usize {
    let rest = text.get(..from).unwrap_or_default();
    from - rest.iter().rev().take(most).take_while(|byte| holds(**byte)).count()
}

/// A quote as it stands at `at`: with the backslashes that a string around it puts in front.
pub(super) fn quote(text: &[u8], at: usize) -> Option<(usize, u8)> {
    let end = run(text, at, NESTING, |byte| byte == b'\\');
    match byte(text, end)? {
        mark @ (b'"' | b'\'') => Some((end - at, mark)),
        _ => None,
    }
}

/// The value at `from`: within its quotes, or up to where a shell, a URL or JSON would end it.
pub(super) fn extent(text: &[u8], from: usize) -> Option<Span> {
    let quoted =
        quote(text, from).and_then(|(slashes, mark)| within(text, from + slashes + 1, slashes, mark));
    quoted.or_else(|| bare(text, quote(text, from).map_or(from, |(slashes, _)| from + slashes + 1)))
}

/// From `start` to the closing quote. One that is itself within a longer value has more backslashes.
fn within(text: &[u8], start: usize, slashes: usize, mark: u8) -> Option<Span> {
    let mut run = 0;
    for (offset, found) in text.get(start..)?.iter().enumerate() {
        if *found == b'\\' {
            run += 1;
            continue;
        }
        let closes = if slashes == 0 { mark == b'\'' || run % 2 == 0 } else { run <= slashes };
        if *found == mark && closes {
            let end = start + offset - run.min(slashes);
            return Some(Span { start, end }).filter(|span| span.start < span.end);
        }
        run = 0;
    }
    None
}

/// A value without quotes.
fn bare(text: &[u8], start: usize) -> Option<Span> {
    let end = until(text, start, ends_bare);
    let trimmed = run_back(text, end, end - start, |byte| matches!(byte, b')' | b']' | b'}' | b','));
    Some(Span { start, end: trimmed }).filter(|span| span.start < span.end)
}

/// The first byte from `start` on that `ends` a value, or the backslash of a line break or quote that JSON has
/// escaped. Looks no further than that.
fn until(text: &[u8], start: usize, ends: impl Fn(u8) -> bool) -> usize {
    let rest = text.get(start..).unwrap_or_default();
    let next = rest.iter().skip(1).map(Some).chain([None]);
    let escapes = |next: Option<&u8>| matches!(next, Some(b'n' | b'r' | b't' | b'"' | b'\''));
    let outside = |byte: u8, next: Option<&u8>| ends(byte) || byte == b'\\' && escapes(next);
    let inside = |(byte, next): &(&u8, Option<&u8>)| !outside(**byte, *next);
    start + rest.iter().zip(next).take_while(inside).count()
}

const fn ends_bare(byte: u8) -> bool {
    byte.is_ascii_whitespace()
        || matches!(byte, b'"' | b'\'' | b'`' | b';' | b'&' | b'|' | b'<' | b'>' | b'\0')
}

/// The rest of a line or string, for headers whose value has blanks.
pub(super) fn line(text: &[u8], start: usize) -> Option<Span> {
    let end = until(text, start, |byte| matches!(byte, b'\r' | b'\n' | b'"' | b'\'' | b'\0'));
    Some(Span { start, end }).filter(|span| span.start < span.end)
}

/// Whether a value is none: nothing, a word of JSON, a reference to where the secret is, or one that was taken
/// out before.
pub(super) fn is_empty(value: &[u8]) -> bool {
    let word = |value: &[u8]| {
        const WORDS: [&[u8]; 7] = [b"null", b"true", b"false", b"none", b"undefined", b"None", b"Some"];
        WORDS.contains(&value)
    };
    let name = |name: &[u8]| {
        !name.is_empty() && name.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_')
    };
    let reference = |value: &[u8]| match value {
        // Its brace may have been taken for one of the text around it.
        [b'$', b'{', name_ @ ..] => name(name_.strip_suffix(b"}").unwrap_or(name_)),
        [b'$', b'(', ..] | [b'$'] => true,
        [b'$', name_ @ ..] => name(name_),
        _ => false,
    };
    let replaced = |value: &[u8]| {
        let hex = value.strip_prefix(b"hmac:").unwrap_or_default();
        value.iter().all(|byte| *byte == b'*')
            || matches!(hex.len(), 32 | 64) && hex.iter().all(u8::is_ascii_hexdigit)
    };
    // Longer ones are no references, and must not be looked at again and again.
    value.len() <= REFERENCE && (word(value) || reference(value) || replaced(value))
}

/// Whether the value without quotes that begins at `from`, after a name in prose, is more than a word.
pub(super) fn looks_drawn(text: &[u8], from: usize) -> bool {
    let end = run(text, from, DRAWN_WITHIN, |byte| !ends_bare(byte));
    let value = text.get(from..end).unwrap_or_default();
    value.len() >= 6 && value.iter().any(u8::is_ascii_digit)
}

/// The longest reference, in bytes.
const REFERENCE: usize = 128;
/// How far into a value its digits are looked for.
pub(super) const DRAWN_WITHIN: usize = 48;
