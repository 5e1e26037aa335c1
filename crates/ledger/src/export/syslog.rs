//! RFC 5424: one message, with every member of the record as structured data.

use super::{Origin, Severity, sentence};
use crate::query::Record;
use crate::record::is_obeyed;

/// Facility 13, "log audit".
const FACILITY: u8 = 13;
/// The structured data's name. 32473 is the number that RFC 5612 keeps for those who have none of their own.
const NAME: &str = "moltbot@32473";
/// The longest text of one member, in bytes.
const TEXT: usize = 1024;
/// The longest message, in bytes: RFC 5425 says that a receiver should take 8192.
const MESSAGE: usize = 8192;
/// Room for what stands outside of the structured data, in bytes.
const REST: usize = 2048;

pub(super) fn message(record: &Record, origin: &Origin) -> String {
    let severity = match Severity::of(record) {
        Severity::High => 2,
        Severity::Informational => 6,
        Severity::Low => 4,
    };
    let priority = FACILITY * 8 + severity;
    let time = micros(&record.ts);
    let (host, process, kind) = (name(&origin.host, 255), name(&record.boot, 128), name(&record.action, 32));
    let mut text = format!("<{priority}>1 {time} {host} moltbot {process} {kind} [{NAME}");
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
    // The mark says that what follows is UTF-8.
    text.push_str("] \u{feff}");
    text.push_str(&plain(&bounded(&sentence(record))));
    text
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
