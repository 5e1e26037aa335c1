//! One line of the book: how it is written, and how it is checked. See the crate's page for its form.

use std::fmt::Write as _;
use std::time::Instant;

use jiff::{SignedDuration, Timestamp};
use moltbot_config::limits;
use moltbot_policy::Entry;
use sha2::{Digest, Sha256};

use crate::head::Head;
use crate::note::encode_root;
use crate::own::ACCEPTED;
use crate::tree::{Node, Tree};

/// Characters of a hash.
pub(crate) const HASH: usize = 64;
const HEAD: &[u8] = br#"{"v":1,"seq":"#;
const PREV: &str = r#","prev":""#;
const OWN: &str = r#"","h":""#;
const END: &str = r#""}"#;
/// Bytes of a line after its canonical form's last member.
const SUFFIX: usize = PREV.len() + HASH + OWN.len() + HASH + END.len();
/// What the action of a record is behind. An earlier text cannot contain it: its quotes are escaped.
const ACTION: &[u8] = br#","action":""#;

/// A hash in hex, as it is written.
pub(crate) type Hex = [u8; HASH];

/// The end of the chain: what the next line must carry on, and the tree over all lines before it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Chain {
    /// The hash of the line before, in hex.
    pub(crate) previous: Hex,
    /// The tree, whose size is the number of that line.
    pub(crate) tree: Tree,
}

/// What every line of this process carries.
#[derive(Debug)]
pub(crate) struct Stamp {
    boot: String,
    started: Instant,
    clock: fn() -> Timestamp,
    /// The latest time that was written.
    last: Timestamp,
}

/// A record but for its number, times and chain. Made by the thread that waits for it.
#[derive(Clone, Debug)]
pub(crate) struct Body {
    text: String,
    /// Whether it may use the space that is kept for a full disk.
    pub(crate) reserved: bool,
    /// Whether it accepts tampering that was found.
    pub(crate) accepts: bool,
}

impl Chain {
    /// Before the first line of all.
    pub(crate) fn genesis() -> Self {
        Self { previous: [b'0'; HASH], tree: Tree::default() }
    }

    /// The end of the book here, with the newest signed `note` of it.
    pub(crate) fn head(&self, note: Option<String>) -> Head {
        Head {
            sequence: self.tree.size(),
            hash: Some(text(&self.previous).to_owned()),
            root: Some(encode_root(&self.tree.root())),
            note,
        }
    }

    /// The number of the next line.
    pub(crate) const fn sequence(&self) -> u64 {
        self.tree.size().saturating_add(1)
    }

    /// Adds the next line to `out`.
    pub(crate) fn write(&mut self, body: &Body, stamp: &mut Stamp, out: &mut String) {
        let start = out.len();
        let (sequence, now, boot) = (self.sequence(), stamp.now(), &stamp.boot);
        let since = u64::try_from(stamp.started.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let head = format!(r#"{{"v":1,"seq":{sequence},"ts":"{now:.9}","mono":{since},"boot":"{boot}""#);
        out.push_str(&head);
        out.push_str(&body.text);
        let leaf = hash(out.as_bytes().get(start..).unwrap_or_default(), &self.previous);
        let own = to_hex(&leaf);
        for part in [PREV, text(&self.previous), OWN, text(&own), END, "\n"] {
            out.push_str(part);
        }
        self.go_on(leaf, own);
    }

    /// Checks that `line`, without its line feed, is the next one, and goes on behind it.
    pub(crate) fn check(&mut self, line: &[u8]) -> Result<(), &'static str> {
        let parts = Parts::of(line)?;
        if parts.previous != self.previous {
            return Err("it does not carry on the line before it");
        }
        if sequence_of(line) != Some(self.sequence()) {
            return Err("its number is not the next one");
        }
        let (leaf, own) = parts.own_hash()?;
        self.go_on(leaf, own);
        Ok(())
    }

    fn go_on(&mut self, leaf: Node, own: Hex) {
        self.tree.push(leaf);
        self.previous = own;
    }
}

/// The number that a line claims.
pub(crate) fn sequence_of(line: &[u8]) -> Option<u64> {
    let mut number = 0_u64;
    let (mut length, mut zero) = (0, false);
    for byte in line.strip_prefix(HEAD)? {
        match byte {
            b',' => return (length > 0 && !(zero && length > 1)).then_some(number),
            b'0'..=b'9' => {
                zero = zero || (length == 0 && *byte == b'0');
                number = number.checked_mul(10)?.checked_add(u64::from(byte.wrapping_sub(b'0')))?;
                length += 1;
            }
            _ => return None,
        }
    }
    None
}

/// The number and the hash of a line that stands for itself, and the hash that it carries on.
pub(crate) fn read_alone(line: &[u8]) -> Result<(u64, Hex, Hex), &'static str> {
    let parts = Parts::of(line)?;
    let (_, own) = parts.own_hash()?;
    let sequence = sequence_of(line).ok_or("it has no number")?;
    let previous = parts.previous.try_into().map_err(|_| "it does not end like a record")?;
    Ok((sequence, own, previous))
}

/// The action of a line, as it is written.
pub(crate) fn action_of(line: &[u8]) -> &[u8] {
    let found = line.windows(ACTION.len()).position(|window| window == ACTION);
    let rest = found.and_then(|at| line.get(at.saturating_add(ACTION.len())..)).unwrap_or_default();
    rest.split(|byte| *byte == b'"').next().unwrap_or_default()
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
    fn own_hash(&self) -> Result<(Node, Hex), &'static str> {
        let leaf = hash(self.canonical, self.previous);
        let own = to_hex(&leaf);
        if own == self.own { Ok((leaf, own)) } else { Err("its hash is not that of its content") }
    }
}

/// The hash of a canonical form without its last brace: that of a leaf of the tree.
fn hash(canonical: &[u8], previous: &[u8]) -> Node {
    let mut hasher = Sha256::new();
    for part in [b"\0", canonical, b"}", previous] {
        hasher.update(part);
    }
    hasher.finalize().into()
}

/// Lower case hex of a hash.
pub(crate) fn to_hex(hash: &Node) -> Hex {
    let mut out = [0; HASH];
    for (pair, byte) in out.chunks_exact_mut(2).zip(hash) {
        for (to, nibble) in pair.iter_mut().zip([byte >> 4, byte & 0xf]) {
            *to = if nibble < 10 { b'0' + nibble } else { b'a' - 10 + nibble };
        }
    }
    out
}

/// A hash in hex as a text.
pub(crate) fn text(hex: &Hex) -> &str {
    std::str::from_utf8(hex).unwrap_or_default()
}

/// Lower case hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut out, byte| {
        for nibble in [byte >> 4, byte & 0xf] {
            out.extend(char::from_digit(u32::from(nibble), 16));
        }
        out
    })
}

/// 32 bytes from lower case hex.
pub(crate) fn unhex(text: &[u8]) -> Option<Node> {
    let digit = |byte: &u8| match byte {
        b'0'..=b'9' => Some(byte.wrapping_sub(b'0')),
        b'a'..=b'f' => Some(byte.wrapping_sub(b'a').saturating_add(10)),
        _ => None,
    };
    let mut bytes = [0; 32];
    if text.len() != HASH {
        return None;
    }
    for (to, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        let [high, low] = pair else { return None };
        *to = digit(high)? << 4 | digit(low)?;
    }
    Some(bytes)
}

impl Stamp {
    pub(crate) fn new(boot: String, clock: fn() -> Timestamp, last: Timestamp) -> Self {
        Self { boot, started: Instant::now(), clock, last }
    }

    /// What the clock says.
    pub(crate) fn peek(&self) -> Timestamp {
        (self.clock)()
    }

    /// What the clock says, for a line.
    fn now(&mut self) -> Timestamp {
        let now = self.peek();
        self.last = now;
        now
    }

    /// From when to when the clock went back since the last line, when that is more than services of time do.
    pub(crate) fn stepped(&self) -> Option<(Timestamp, Timestamp)> {
        let now = self.peek();
        let step = SignedDuration::try_from(limits::LEDGER_CLOCK_STEP).unwrap_or(SignedDuration::ZERO);
        (self.last.duration_since(now) > step).then_some((self.last, now))
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
        Self { text: out, reserved: entry.reserved, accepts: entry.action == ACCEPTED }
    }

    /// Its length in bytes.
    pub(crate) const fn length(&self) -> usize {
        self.text.len()
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
        let mut chain = Chain::genesis();
        let mut stamp = Stamp::new("boot".into(), Timestamp::now, Timestamp::UNIX_EPOCH);
        let mut out = String::new();
        for entry in entries {
            chain.write(&Body::of(entry), &mut stamp, &mut out);
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
        let (sequence, own, previous) = read_alone(lines[1].as_bytes()).unwrap();
        assert_eq!((sequence, own), (2, chain.previous));
        assert_eq!(read_alone(lines[0].as_bytes()).unwrap().1, previous);
        assert_eq!(action_of(lines[1].as_bytes()), b"command.start");
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
    fn d_28_long_texts_and_many_details_are_bounded() {
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

    #[test]
    fn an_action_is_not_what_a_text_claims_it_to_be() {
        let hostile = Entry::new(r#"x","action":"ledger.checkpoint""#, "a.b", "y", Decision::Done);
        let line = lines(&[hostile.in_session(r#","action":"ledger.stop""#)]).remove(0);
        assert_eq!(action_of(line.as_bytes()), b"a.b", "{line}");
    }

    #[test]
    fn numbers_of_lines_have_one_form() {
        let numbers = ["1", "20", "0", "01", "", "-1", "18446744073709551616", "1 "];
        let read = numbers.map(|number| sequence_of(format!(r#"{{"v":1,"seq":{number},"ts"#).as_bytes()));
        assert_eq!(read, [Some(1), Some(20), Some(0), None, None, None, None, None]);
    }

    #[test]
    fn hashes_in_hex_come_back() {
        let hash: Node = Sha256::digest(b"x").into();
        assert_eq!(unhex(&to_hex(&hash)), Some(hash));
        assert_eq!(text(&to_hex(&hash)), hex(&hash));
        assert_eq!([unhex(&[b'A'; 64]), unhex(b"00")], [None; 2]);
    }

    #[test]
    fn a_clock_that_goes_back_is_noticed_beyond_two_seconds() {
        let last = |seconds| {
            Stamp::new("boot".into(), || Timestamp::UNIX_EPOCH, Timestamp::from_second(seconds).unwrap())
        };
        assert_eq!(last(2).stepped(), None);
        assert_eq!(last(3).stepped().map(|(from, _)| from.as_second()), Some(3));
    }
}
