//! What has the form of a secret. Each form has a beginning that is looked for at every byte; what is looked at
//! beyond it is bounded, or is taken out and not looked at again, so that the time stays linear.

use super::Span;
use super::names::{self, Telling, is_name, telling};
use super::value::{self, BLANKS, DRAWN_WITHIN, before, byte, extent, run, run_back};

mod prefixes;
mod tools;

/// The longest label of a private key.
const LABEL: usize = 48;
/// Digits in front of the colon of a Telegram bot's token, and characters behind it.
const BOT: (usize, usize, usize) = (6, 16, 30);
/// The shortest part of a JSON Web Token.
const JWT_PART: usize = 10;
/// A user name without password in a URL that is long enough to be a token.
const USER_TOKEN: usize = 16;
/// A bearer's credential in prose: shorter ones, or longer ones without digits, are words.
const BEARER: (usize, usize) = (8, 24);

/// What was seen so far in one text.
#[derive(Debug, Default)]
pub(super) struct Forms {
    /// No JSON Web Token begins before here.
    no_jwt: usize,
    /// The flag that the program named before in this command takes a password after.
    tool: Option<tools::Tool>,
}

impl Forms {
    /// The secret that shows itself at `at`; it may begin before or behind, but not before `floor`.
    pub(super) fn at(&mut self, text: &[u8], at: usize, floor: usize) -> Option<Span> {
        let span = match byte(text, at)? {
            b';' | b'|' | b'&' | b'\n' => {
                self.tool = None;
                None
            }
            b'-' => private_key(text, at).or_else(|| flag(text, at)).or_else(|| self.short_flag(text, at)),
            b'=' => assigned(text, at),
            b':' => address(text, at).or_else(|| bot_token(text, at)).or_else(|| member(text, at)),
            letter if letter.is_ascii_alphabetic() && begins_word(text, at) => self.word(text, at),
            _ => None,
        };
        span.filter(|span| span.start >= floor && span.start < span.end && span.end > at)
    }

    /// What a word shows by how it begins.
    fn word(&mut self, text: &[u8], at: usize) -> Option<Span> {
        let rest = text.get(at..)?;
        if let Some(tool) = tools::named(rest) {
            self.tool = Some(tool);
        }
        if rest.starts_with(b"eyJ") {
            return self.web_token(text, at);
        }
        prefixes::key(rest).map(|length| Span { start: at, end: at + length }).or_else(|| bearer(text, at))
    }

    /// Three parts of base64 with dots between them, of which the first begins like `{"`.
    fn web_token(&mut self, text: &[u8], at: usize) -> Option<Span> {
        if at < self.no_jwt {
            return None;
        }
        let first = run(text, at, usize::MAX, is_token);
        let second = run(text, first + 1, usize::MAX, is_token);
        let dots = byte(text, first) == Some(b'.') && byte(text, second) == Some(b'.');
        if !dots || first - at < JWT_PART || second - first <= JWT_PART {
            self.no_jwt = first;
            return None;
        }
        let end = run(text, second, usize::MAX, |byte| is_token(byte) || byte == b'.');
        Some(Span { start: at, end: run_back(text, end, end - second, |byte| byte == b'.').max(second) })
    }

    /// `-p x` of a program that takes a password there.
    fn short_flag(&self, text: &[u8], at: usize) -> Option<Span> {
        let tool = self.tool?;
        if byte(text, at + 1)? != tool.flag || !begins_argument(text, at) {
            return None;
        }
        let from = run(text, at + 2, BLANKS, |byte| byte == b' ');
        let span = extent(text, from).filter(|span| byte(text, span.start) != Some(b'-'))?;
        if tool.flag == b'u' {
            // `curl -u name:password`.
            let user = run(text, span.start, span.end - span.start, |byte| byte != b':');
            return Some(Span { start: user + 1, ..span });
        }
        (!value::is_empty(text.get(span.start..span.end)?)).then_some(span)
    }
}

/// A private key in PEM, with what follows when its end is missing.
fn private_key(text: &[u8], at: usize) -> Option<Span> {
    const END: &[u8] = b"-----END ";
    let rest = text.get(at..)?.strip_prefix(b"-----BEGIN ")?;
    let label = rest.get(..run(rest, 0, LABEL, |byte| byte.is_ascii_uppercase() || byte == b' '))?;
    if !label.ends_with(b"PRIVATE KEY") && !label.ends_with(b"PRIVATE KEY BLOCK") {
        return None;
    }
    let inner = |byte: u8| !matches!(byte, b'"' | b'\'' | b'`' | b'<');
    let start = at + END.len();
    let body = run(text, start, usize::MAX, inner);
    let found = text.get(start..body)?.windows(END.len()).position(|window| window == END);
    let Some(offset) = found else {
        return Some(Span { start: at, end: body });
    };
    let label = start + offset + END.len();
    let end = run(text, label, LABEL, |byte| byte.is_ascii_uppercase() || byte == b' ');
    Some(Span { start: at, end: run(text, end, 5, |byte| byte == b'-') })
}

/// `--token x`, also as two members of a list.
fn flag(text: &[u8], at: usize) -> Option<Span> {
    if byte(text, at + 1) != Some(b'-') || !begins_argument(text, at) {
        return None;
    }
    let end = run(text, at + 2, names::LONGEST, is_name);
    if telling(text.get(at + 2..end)?) != Telling::Secret {
        return None;
    }
    let from = run(text, end, BLANKS * 2, |byte| matches!(byte, b' ' | b'"' | b'\'' | b',' | b'\\'));
    let gap = text.get(end..from)?;
    let listed = gap.iter().any(|byte| matches!(byte, b'"' | b'\''));
    if !gap.iter().any(|byte| matches!(byte, b' ' | b',')) || byte(text, from) == Some(b'-') {
        return None;
    }
    // A quote that opened the value was skipped: it ends where that quote is closed.
    let opened = from.checked_sub(1).filter(|_| listed && matches!(before(text, from), Some(b'"' | b'\'')));
    let slashes = opened.map_or(0, |quote| quote - run_back(text, quote, BLANKS, |byte| byte == b'\\'));
    let span = extent(text, opened.map_or(from, |quote| quote - slashes))?;
    (!value::is_empty(text.get(span.start..span.end)?)).then_some(span)
}

/// `NAME=value`, in a shell, a URL or a form.
fn assigned(text: &[u8], at: usize) -> Option<Span> {
    if matches!(byte(text, at + 1), Some(b'=' | b'>' | b'~')) || matches!(before(text, at), Some(b'=' | b'!'))
    {
        return None;
    }
    let (name, spaced, _) = name_before(text, at)?;
    let from = if spaced { run(text, at + 1, BLANKS, |byte| byte == b' ') } else { at + 1 };
    let span = valued(text, from, telling(name))?;
    (!value::is_empty(text.get(span.start..span.end)?)).then_some(span)
}

/// `"name": "value"` in JSON and YAML, and `Name: value` in headers.
fn member(text: &[u8], at: usize) -> Option<Span> {
    let (name, _, quoted) = name_before(text, at)?;
    let tells = telling(name);
    let from = run(text, at + 1, BLANKS, |byte| byte == b' ');
    if tells == Telling::Nothing || byte(text, at + 1) == Some(b':') {
        return None;
    }
    let header = tells != Telling::Secret || name.contains(&b'-');
    if !(quoted || header || value::quote(text, from).is_some() || value::looks_drawn(text, from)) {
        return None;
    }
    let span = valued(text, from, tells)?;
    (!value::is_empty(text.get(span.start..span.end)?)).then_some(span)
}

/// The value at `from` of a name that tells what it is.
fn valued(text: &[u8], from: usize, tells: Telling) -> Option<Span> {
    match tells {
        Telling::Authorization => credential(text, from),
        Telling::Cookie => value::line(text, value::quote(text, from).map_or(from, |(n, _)| from + n + 1)),
        Telling::Nothing => None,
        Telling::Secret => extent(text, from),
    }
}

/// The name that ends before a sign at `at`, whether blanks stand between, and whether it is in quotes.
fn name_before(text: &[u8], at: usize) -> Option<(&[u8], bool, bool)> {
    let end = run_back(text, at, BLANKS, |byte| byte == b' ');
    let unquoted = run_back(text, end, 1, |byte| matches!(byte, b'"' | b'\''));
    let end_of_name = run_back(text, unquoted, BLANKS, |byte| byte == b'\\' && unquoted < end);
    let start = run_back(text, end_of_name, names::LONGEST, is_name);
    let name = text.get(start..end_of_name).filter(|name| !name.is_empty())?;
    Some((name, end < at, unquoted < end))
}

/// `Bearer x` or `Basic x`, without the scheme; without a known scheme all of it.
fn credential(text: &[u8], from: usize) -> Option<Span> {
    const SCHEMES: [&[u8]; 7] = [b"basic", b"bearer", b"bot", b"digest", b"key", b"negotiate", b"token"];
    let from = value::quote(text, from).map_or(from, |(slashes, _)| from + slashes + 1);
    let end = run(text, from, 16, |byte| byte.is_ascii_alphabetic());
    let scheme = text.get(from..end)?.to_ascii_lowercase();
    if byte(text, end) != Some(b' ') || !SCHEMES.contains(&scheme.as_slice()) {
        return extent(text, from);
    }
    let start = run(text, end, BLANKS, |byte| byte == b' ');
    if scheme == b"digest" { value::line(text, start) } else { extent(text, start) }
}

/// `Bearer x` where no header's name stands in front.
fn bearer(text: &[u8], at: usize) -> Option<Span> {
    let rest = text.get(at..)?;
    if !rest.get(..7)?.eq_ignore_ascii_case(b"bearer ") {
        return None;
    }
    let start = run(text, at + 7, BLANKS, |byte| byte == b' ');
    let end = run(text, start, usize::MAX, |byte| {
        is_token(byte) || matches!(byte, b'.' | b'~' | b'+' | b'/' | b'=')
    });
    let drawn = text.get(start..end)?.iter().take(DRAWN_WITHIN).any(u8::is_ascii_digit);
    let least = if drawn { BEARER.0 } else { BEARER.1 };
    (end - start >= least).then_some(Span { start, end })
}

/// The password of `scheme://user:password@host`, or a user's name that is a token.
fn address(text: &[u8], at: usize) -> Option<Span> {
    if text.get(at..at + 3)? != b"://" {
        return None;
    }
    let start = at + 3;
    let inner = |byte: u8| {
        !byte.is_ascii_whitespace()
            && !matches!(byte, b'/' | b'?' | b'#' | b'"' | b'\'' | b'<' | b'>' | b'`' | b'\\')
    };
    let end = run(text, start, usize::MAX, inner);
    let length = text.get(start..end)?.iter().rposition(|byte| *byte == b'@')?;
    let end = start + length;
    let name = run(text, start, length, |byte| byte != b':');
    if name < end {
        let password = Span { start: name + 1, end };
        return (!value::is_empty(text.get(password.start..end)?)).then_some(password);
    }
    let drawn = text.get(start..end)?.iter().take(DRAWN_WITHIN).any(u8::is_ascii_digit);
    (length >= USER_TOKEN && drawn).then_some(Span { start, end })
}

/// `123456:…`, as Telegram makes them, in a text or in a URL's `/bot<token>/`.
fn bot_token(text: &[u8], at: usize) -> Option<Span> {
    let (least, most, secret) = BOT;
    let start = run_back(text, at, most, |byte| byte.is_ascii_digit());
    if at - start < least {
        return None;
    }
    let end = run(text, at + 1, secret, is_token);
    (end - at > secret).then(|| Span { start, end: run(text, end, usize::MAX, is_token) })
}

/// A character of base64url.
pub(super) const fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')
}

/// Whether a word begins at `at`. A letter that ends an escape of JSON or of a URL is no part of it.
fn begins_word(text: &[u8], at: usize) -> bool {
    let Some(last) = before(text, at) else { return true };
    if !last.is_ascii_alphanumeric() && last != b'_' {
        return true;
    }
    let back = |count: usize| at.checked_sub(count).and_then(|at| byte(text, at));
    let json = matches!(last, b'n' | b'r' | b't' | b'b' | b'f') && back(2) == Some(b'\\');
    json || (back(3) == Some(b'%') && last.is_ascii_hexdigit())
}

/// Whether an argument of a command begins at `at`.
fn begins_argument(text: &[u8], at: usize) -> bool {
    before(text, at)
        .is_none_or(|last| last.is_ascii_whitespace() || matches!(last, b'"' | b'\'' | b'[' | b'(' | b'`'))
}
