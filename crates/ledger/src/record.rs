//! One line of the book: how it is written, and how it is checked. See the crate's page for its form.

use std::fmt::Write as _;
use std::time::Instant;

use moltbot_config::limits;
use moltbot_policy::Entry;
use sha2::{Digest, Sha256};

/// Characters of a hash.
const HASH: usize = 64;
const PREV: &str = r#","prev":""#;
const OWN: &str = r#"","h":""#;
const END: &str = r#""}"#;
/// Bytes of a line after its canonical form's last member.
const SUFFIX: usize = PREV.len() + HASH + OWN.len() + HASH + END.len();

/// The end of the chain: what the next line must carry on.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Chain {
    /// The number of the next line.
    pub(crate) sequence: u64,
    /// The hash of the line before it, in hex.
    pub(crate) previous: String,
}

/// What every line of this process carries.
#[derive(Debug)]
pub(crate) struct Stamp {
    boot: String,
    started: Instant,
}

/// A record but for its number, times and chain. Made by the thread that waits for it.
#[derive(Debug)]
pub(crate) struct Body(String);

impl Chain {
    /// Before the first line of all.
    pub(crate) fn genesis() -> Self {
        Self { sequence: 1, previous: "0".repeat(HASH) }
    }

    /// Adds the next line to `out`.
    pub(crate) fn write(&mut self, body: &Body, stamp: &Stamp, out: &mut String) {
        let start = out.len();
        let (sequence, now, boot) = (self.sequence, jiff::Timestamp::now(), &stamp.boot);
        let since = u64::try_from(stamp.started.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let head = format!(r#"{{"v":1,"seq":{sequence},"ts":"{now:.9}","mono":{since},"boot":"{boot}""#);
        out.push_str(&head);
        out.push_str(&body.0);
        let own = hash(out.as_bytes().get(start..).unwrap_or_default(), self.previous.as_bytes());
        for part in [PREV, &self.previous, OWN, &own, END, "\n"] {
            out.push_str(part);
        }
        *self = Self { sequence: sequence.saturating_add(1), previous: own };
    }

    /// Checks that `line`, without its line feed, is the next one, and goes on behind it.
    pub(crate) fn check(&mut self, line: &[u8]) -> Result<(), &'static str> {
        let parts = Parts::of(line)?;
        if parts.previous != self.previous.as_bytes() {
            return Err("it does not carry on the line before it");
        }
        let head = format!(r#"{{"v":1,"seq":{},"#, self.sequence);
        if !line.starts_with(head.as_bytes()) {
            return Err("its number is not the next one");
        }
        let own = parts.own_hash()?;
        *self = Self { sequence: self.sequence.saturating_add(1), previous: own };
        Ok(())
    }

    /// The chain behind `line`, believing its number and what it carries on: the last line of a segment that
    /// is not read as a whole.
    pub(crate) fn behind(line: &[u8]) -> Result<Self, &'static str> {
        let previous = Parts::of(line)?.own_hash()?;
        let number = line.strip_prefix(br#"{"v":1,"seq":"#).ok_or("it does not begin like a record")?;
        let digits = number.split(|byte| *byte == b',').next().unwrap_or_default();
        let number = std::str::from_utf8(digits).ok().and_then(|text| text.parse::<u64>().ok());
        let sequence = number.ok_or("it has no number")?.saturating_add(1);
        Ok(Self { sequence, previous })
    }
}

/// A line taken apart.
struct Parts<'a> {
    canonical: &'a [u8],
    previous: &'a [u8],
    own: &'a [u8],
}

impl<'a> Parts<'a> {
    fn of(line: &'a [u8]) -> Result<Self, &'static str> {
        let parts = || {
            let (canonical, suffix) = line.split_at_checked(line.len().checked_sub(SUFFIX)?)?;
            let (previous, rest) = suffix.strip_prefix(PREV.as_bytes())?.split_at_checked(HASH)?;
            let (own, end) = rest.strip_prefix(OWN.as_bytes())?.split_at_checked(HASH)?;
            (end == END.as_bytes()).then_some(Self { canonical, previous, own })
        };
        parts().ok_or("it does not end like a record")
    }

    /// The line's hash, when it is the one it claims.
    fn own_hash(&self) -> Result<String, &'static str> {
        let own = hash(self.canonical, self.previous);
        if own.as_bytes() == self.own { Ok(own) } else { Err("its hash is not that of its content") }
    }
}

/// The hash of a canonical form without its last brace.
fn hash(canonical: &[u8], previous: &[u8]) -> String {
    let mut hasher = Sha256::new();
    for part in [b"\0", canonical, b"}", previous] {
        hasher.update(part);
    }
    hex(&hasher.finalize())
}

/// Lower case hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: [char; 16] =
        ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'];
    let digit = |nibble: u8| DIGITS.get(usize::from(nibble)).copied().unwrap_or_default();
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 0xf)]).collect()
}

impl Stamp {
    pub(crate) fn new(boot: String) -> Self {
        Self { boot, started: Instant::now() }
    }
}

impl Body {
    /// The members that the entry gives. Long texts are cut, and what a terminal would obey is escaped.
    pub(crate) fn of(entry: &Entry) -> Self {
        let mut out = String::with_capacity(256 + entry.target.len().min(limits::LEDGER_TEXT_BYTES));
        write_member(&mut out, "actor", &entry.actor);
        if let Some(session) = &entry.session {
            write_member(&mut out, "session", session);
        }
        write_member(&mut out, "action", entry.action);
        write_member(&mut out, "target", &entry.target);
        write_member(&mut out, "decision", entry.decision.name());
        out.push_str(r#","details":{"#);
        for (position, (name, value)) in entry.details.iter().take(limits::LEDGER_DETAILS).enumerate() {
            if position > 0 {
                out.push(',');
            }
            write_text(&mut out, name);
            out.push(':');
            write_text(&mut out, value);
        }
        out.push('}');
        Self(out)
    }

    /// Its length in bytes.
    pub(crate) const fn length(&self) -> usize {
        self.0.len()
    }
}

fn write_member(out: &mut String, name: &str, value: &str) {
    out.push(',');
    write_text(out, name);
    out.push(':');
    write_text(out, value);
}

/// Writes a JSON string of at most [`limits::LEDGER_TEXT_BYTES`] bytes of `text`, and how many were cut off.
pub(crate) fn write_text(out: &mut String, text: &str) {
    let end = text.floor_char_boundary(limits::LEDGER_TEXT_BYTES);
    let kept = text.get(..end).unwrap_or_default();
    out.push('"');
    for character in kept.chars() {
        match character {
            '"' => out.push_str(r#"\""#),
            '\\' => out.push_str(r"\\"),
            plain if !is_obeyed(plain) => out.push(plain),
            obeyed => write_escape(out, obeyed),
        }
    }
    let cut = text.len().saturating_sub(kept.len());
    if cut > 0 {
        out.push_str("…[");
        out.push_str(&cut.to_string());
        out.push_str(" bytes cut]");
    }
    out.push('"');
}

/// Whether a terminal or an editor would obey the character instead of showing it: controls, and those that
/// end a line or turn the direction of a text around.
pub(crate) const fn is_obeyed(character: char) -> bool {
    matches!(character,
        '\0'..='\x1f' | '\x7f'..='\u{9f}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

pub(crate) fn write_escape(out: &mut String, character: char) {
    for unit in character.encode_utf16(&mut [0; 2]) {
        if write!(out, r"\u{unit:04x}").is_err() {
            // Writing to a string does not fail; if it ever did, the hash would still cover what is there.
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use moltbot_policy::Decision;

    use super::*;

    fn entry(target: &str) -> Entry {
        Entry::new("gateway", "command.start", target, Decision::Allowed)
    }

    fn lines(entries: &[Entry]) -> Vec<String> {
        let (mut chain, stamp) = (Chain::genesis(), Stamp::new("boot".into()));
        let mut out = String::new();
        for entry in entries {
            chain.write(&Body::of(entry), &stamp, &mut out);
        }
        out.lines().map(str::to_owned).collect()
    }

    #[test]
    fn a_line_is_json_with_its_members_in_order() {
        let entry = entry("ls").in_session("agent:main:main").with("b", "2").with("a", "1");
        let line = lines(&[entry]).remove(0);
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        let (ts, mono) = (value["ts"].as_str().unwrap(), value["mono"].as_u64().unwrap());
        let (prev, own) = (value["prev"].as_str().unwrap(), value["h"].as_str().unwrap());
        let expected = format!(
            r#"{{"v":1,"seq":1,"ts":"{ts}","mono":{mono},"boot":"boot","actor":"gateway","session":"agent:main:main","action":"command.start","target":"ls","decision":"allowed","details":{{"a":"1","b":"2"}},"prev":"{prev}","h":"{own}"}}"#
        );
        assert_eq!(line, expected);
        assert_eq!((prev, ts.len(), ts.get(29..)), ("0".repeat(64).as_str(), 30, Some("Z")), "{ts}");
        let canonical = line.get(..line.len() - 146).unwrap();
        assert_eq!(own, hex(&Sha256::digest(format!("\0{canonical}}}{prev}"))));
    }

    #[test]
    fn every_changed_byte_breaks_the_line_or_the_next() {
        let lines = lines(&[entry("one"), entry("two")]);
        for position in 0..lines[0].len() {
            let mut changed = lines[0].clone().into_bytes();
            changed[position] ^= 1;
            let mut chain = Chain::genesis();
            assert!(chain.check(&changed).is_err(), "byte {position} of {}", lines[0]);
        }
        let mut chain = Chain::genesis();
        assert_eq!(chain.check(lines[1].as_bytes()), Err("it does not carry on the line before it"));
        assert_eq!(
            lines.iter().map(|line| chain.check(line.as_bytes())).collect::<Vec<_>>(),
            [Ok(()), Ok(())]
        );
        assert_eq!(Chain::behind(lines[1].as_bytes()), Ok(chain));
    }

    #[test]
    fn what_a_terminal_would_obey_is_escaped_and_comes_back_as_it_was() {
        let hostile = "a\n{\"v\":1}\r\u{1b}[2J\u{9b}31m\0\t\\\u{7f}\u{202e}\u{2028}é🦀";
        let line = lines(&[entry(hostile)]).remove(0);
        assert!(!line.chars().any(is_obeyed), "{line:?}");
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(value["target"].as_str(), Some(hostile));
    }

    #[test]
    fn long_texts_and_many_details_are_bounded() {
        let mut entry = entry(&"é".repeat(3000));
        entry.target.insert(0, 'x');
        for name in ["01", "02", "03", "04", "05", "06", "07", "08", "09", "10", "11", "12", "13", "14", "15"]
        {
            entry = entry.with(name, "\u{1}".repeat(10_000));
        }
        for name in ["16", "17", "18"] {
            entry = entry.with(name, "\u{1}".repeat(10_000));
        }
        let line = lines(&[entry]).remove(0);
        assert!(line.len() < limits::LEDGER_LINE_BYTES, "{} bytes", line.len());
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        let expected = format!("x{}…[1906 bytes cut]", "é".repeat(2047));
        assert_eq!(value["target"].as_str(), Some(expected.as_str()));
        assert_eq!(value["details"].as_object().unwrap().len(), limits::LEDGER_DETAILS);
    }
}
