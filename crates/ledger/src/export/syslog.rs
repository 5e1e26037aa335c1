//! RFC 5424: one message, with every member of the record as structured data.

use jiff::Timestamp;

use super::{GAP, Origin, Severity, missing, sentence};
use crate::head::Head;
use crate::query::Record;
use crate::record::is_obeyed;

/// Facility 13, "log audit".
const FACILITY: u8 = 13;
/// The structured data's name. 32473 is the number that RFC 5612 keeps for those who have none of their own.
const NAME: &str = "moltbot@32473";
/// What a message with the head of the book is called.
const HEAD: &str = "ledger.head";
/// The longest text of one member, in bytes.
const TEXT: usize = 1024;
/// The longest message, in bytes: RFC 5425 says that a receiver should take 8192.
const MESSAGE: usize = 8192;
/// Room for what stands outside of the structured data, in bytes.
const REST: usize = 2048;

pub(super) fn message(record: &Record, origin: &Origin) -> String {
    let number = record.seq.to_string();
    let members = [
        ("installation", origin.installation.as_str()),
        ("seq", &number),
        ("h", &record.h),
        ("decision", &record.decision),
        ("action", &record.action),
        ("actor", &record.actor),
        ("session", record.session.as_deref().unwrap_or_default()),
        ("target", &record.target),
    ];
    let details = record.details.iter().map(|(name, value)| (format!("d-{name}"), value.as_str()));
    let members = members.into_iter().map(|(name, value)| (name.to_owned(), value)).chain(details);
    let header = Header {
        severity: Severity::of(record),
        time: micros(&record.ts),
        host: &origin.host,
        process: &record.boot,
        kind: &record.action,
    };
    let mut text = header.with(members);
    // The mark says that what follows is UTF-8.
    text.push_str("] \u{feff}");
    text.push_str(&plain(&bounded(&sentence(record))));
    text
}

/// That records are not there.
pub(super) fn gap(first: u64, last: u64, origin: &Origin, at: Timestamp) -> String {
    let (from, to) = (first.to_string(), last.to_string());
    let members = [("installation", origin.installation.as_str()), ("first", &from), ("last", &to)];
    let mut text = Header::own(Severity::High, GAP, origin, at).with(named(members));
    text.push_str("] ");
    text.push_str(&missing(first, last));
    text
}

/// The head of the book. It is ASCII, so that it has no mark in front and can be pasted as it is.
pub(super) fn head(head: &Head, origin: &Origin, at: Timestamp) -> String {
    let number = head.sequence.to_string();
    let hash = head.hash.as_deref().unwrap_or_default();
    let members = [("installation", origin.installation.as_str()), ("seq", &number), ("h", hash)];
    let mut text = Header::own(Severity::Informational, HEAD, origin, at).with(named(members));
    text.push_str("] ");
    for character in head.to_string().chars() {
        match character {
            character if character.is_ascii() => text.push(character),
            character => crate::record::write_escape(&mut text, character),
        }
    }
    text
}

fn named<'a, const N: usize>(members: [(&str, &'a str); N]) -> impl Iterator<Item = (String, &'a str)> {
    members.map(|(name, value)| (name.to_owned(), value)).into_iter()
}

/// What stands in front of the structured data.
struct Header<'a> {
    severity: Severity,
    time: String,
    host: &'a str,
    process: &'a str,
    kind: &'a str,
}

impl<'a> Header<'a> {
    /// That of a message which is none of a record.
    fn own(severity: Severity, kind: &'a str, origin: &'a Origin, at: Timestamp) -> Self {
        Self { severity, time: micros(&format!("{at:.6}")), host: &origin.host, process: "", kind }
    }

    /// The header and the structured data, but for its last bracket. Members that have no room are left out, and that is
    /// said.
    fn with<'m>(&self, members: impl Iterator<Item = (String, &'m str)>) -> String {
        let severity = match self.severity {
            Severity::High => 2,
            Severity::Informational => 6,
            Severity::Low => 4,
        };
        let priority = FACILITY * 8 + severity;
        let (host, process, kind) = (name(self.host, 255), name(self.process, 128), name(self.kind, 32));
        let mut text = format!("<{priority}>1 {} {host} moltbot {process} {kind} [{NAME}", self.time);
        let mut cut = false;
        for (name, value) in members.filter(|(_, value)| !value.is_empty()) {
            let member = format!(" {}=\"{}\"", self::name(&name, 32), escaped(value));
            if text.len() + member.len() + REST > MESSAGE {
                cut = true;
            } else {
                text.push_str(&member);
            }
        }
        if cut {
            text.push_str(" cut=\"true\"");
        }
        text
    }
}

/// A time with at most six digits behind the point, as the RFC has it.
fn micros(time: &str) -> String {
    match time.split_once('.') {
        Some((seconds, digits)) => {
            let digits: String = digits.chars().filter(char::is_ascii_digit).take(6).collect();
            format!("{seconds}.{digits}Z")
        }
        None => name(time, 32),
    }
}

/// A text as one of the header's names: printable ASCII without blanks.
fn name(text: &str, longest: usize) -> String {
    let kept = text.chars().filter(|c| c.is_ascii_graphic() && !matches!(c, '=' | ']' | '"'));
    let kept: String = kept.take(longest).collect();
    if kept.is_empty() { "-".into() } else { kept }
}

/// A value within quotes.
fn escaped(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    for character in plain(&bounded(value)).chars() {
        if matches!(character, '"' | '\\' | ']') {
            out.push('\\');
        }
        out.push(character);
    }
    out
}

fn bounded(text: &str) -> String {
    let kept = text.get(..text.floor_char_boundary(TEXT)).unwrap_or_default();
    if kept.len() < text.len() { format!("{kept}…") } else { kept.to_owned() }
}

/// A text in which nothing ends a line or moves a terminal.
fn plain(text: &str) -> String {
    let escape = |character: char| {
        if is_obeyed(character) { character.escape_unicode().to_string() } else { character.to_string() }
    };
    text.chars().map(escape).collect()
}
