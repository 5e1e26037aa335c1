//! One version as a file: its name, and what is sealed in it. A line of JSON about the version, then the text.

use moltbot_config::limits;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::{Change, FOLDER};
use crate::envelope::hex;

/// The version of the format.
const VERSION: u32 = 1;
/// The longest name of an actor or a command, in characters.
const NAME_CHARS: usize = 200;
/// The longest line about a version, in bytes: two such names, every character escaped, and 150 bytes more.
const HEADER_BYTES: u64 = 4096;
/// What sealing adds, and more, in bytes.
const ENVELOPE_BYTES: u64 = 1024;
/// The largest file that is read, in bytes.
pub(super) const BYTES: u64 = limits::CONFIG_BYTES + HEADER_BYTES + ENVELOPE_BYTES;

/// What kind of version it is. The order of the variants has no meaning.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    Backup,
    Config,
}

/// The name of a version's file. Names sort by number, which is by age.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Name {
    pub(super) number: u64,
    pub(super) at_ms: u64,
    pub(super) kind: Kind,
}

/// What is known of a version.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Header {
    version: u32,
    pub(super) at_ms: u64,
    pub(super) actor: String,
    pub(super) command: String,
    pub(super) sha256: String,
}

impl Name {
    /// Reads a name, of which there is one spelling.
    pub(super) fn parse(name: &str) -> Option<Self> {
        let (rest, kind) = name.rsplit_once('.')?;
        let kind = match kind {
            "backup" => Kind::Backup,
            "config" => Kind::Config,
            _ => return None,
        };
        let (number, at_ms) = rest.split_once('-')?;
        let parsed = Self { number: number.parse().ok()?, at_ms: at_ms.parse().ok()?, kind };
        (parsed.leaf() == name).then_some(parsed)
    }

    /// The path in the state folder.
    pub(super) fn path(&self) -> String {
        format!("{FOLDER}/{}", self.leaf())
    }

    fn leaf(&self) -> String {
        let kind = match self.kind {
            Kind::Backup => "backup",
            Kind::Config => "config",
        };
        format!("{:020}-{:014}.{kind}", self.number, self.at_ms)
    }
}

/// What is sealed.
pub(super) fn encode(change: &Change<'_>, text: &[u8]) -> Zeroizing<Vec<u8>> {
    let short = |name: &str| name.chars().take(NAME_CHARS).collect();
    let (actor, command) = (short(change.actor), short(change.command));
    let header = Header { version: VERSION, at_ms: change.at_ms, actor, command, sha256: sha256(text) };
    // A structure of numbers and texts always becomes JSON.
    let header = serde_json::to_string(&header).unwrap_or_default();
    // Large enough from the start: growing would leave copies of the text behind.
    let mut plain =
        Zeroizing::new(Vec::with_capacity(header.len().saturating_add(1).saturating_add(text.len())));
    plain.extend_from_slice(header.as_bytes());
    plain.push(b'\n');
    plain.extend_from_slice(text);
    plain
}

/// What was sealed.
pub(super) fn decode(plain: &[u8]) -> Result<(Header, &[u8]), &'static str> {
    let end = plain.iter().position(|byte| *byte == b'\n').ok_or("it has no first line")?;
    let (line, rest) = plain.split_at_checked(end).ok_or("it has no first line")?;
    let header: Header = serde_json::from_slice(line).map_err(|_| "its first line is not that of one")?;
    if header.version != VERSION {
        return Err("it was written by another version of moltbot");
    }
    let text = rest.split_first().map(|(_, text)| text).unwrap_or_default();
    if sha256(text) != header.sha256 {
        return Err("its text is not the one that was kept");
    }
    Ok((header, text))
}

/// SHA-256 in lower case hex.
pub(super) fn sha256(text: &[u8]) -> String {
    hex(&Sha256::digest(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_one_spelling_and_sorts_by_number() {
        let name = Name { number: 7, at_ms: 1_764_100_000_000, kind: Kind::Config };
        assert_eq!(name.path(), "history/00000000000000000007-01764100000000.config");
        assert_eq!(Name::parse("00000000000000000007-01764100000000.config"), Some(name));
        for other in
            ["7-1764100000000.config", "00000000000000000007-01764100000000.other", "writer.lock", ""]
        {
            assert_eq!(Name::parse(other), None, "{other}");
        }
        let later = Name { number: 10, at_ms: 0, kind: Kind::Backup };
        assert!(name.leaf() < later.leaf());
    }

    #[test]
    fn a_version_is_read_back_and_a_changed_text_is_noticed() {
        let change = Change { at_ms: 5, actor: "owner", command: &"\n".repeat(NAME_CHARS * 2) };
        for text in [&b""[..], b"{}", b"a\nb\n"] {
            let plain = encode(&change, text);
            let (header, read) = decode(&plain).unwrap();
            assert_eq!((header.at_ms, header.actor.as_str(), read), (5, "owner", text));
            assert!(u64::try_from(plain.len() - text.len()).unwrap() < HEADER_BYTES);
            let mut changed = plain.to_vec();
            changed.push(b'x');
            assert!(decode(&changed).is_err());
        }
        assert!(decode(b"{}").is_err() && decode(b"{}\n").is_err() && decode(b"").is_err());
    }
}
