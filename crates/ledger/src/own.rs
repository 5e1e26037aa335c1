//! What the book says about itself: records whose action begins with `ledger.`, written and read.

use std::path::PathBuf;

use ed25519_dalek::VerifyingKey;
use jiff::Timestamp;
use moltbot_policy::{Decision, Entry};
use serde_json::{Map, Value};

use crate::note::{Note, decode_key, decode_root, encode_key, encode_root, number};
use crate::opening::Torn;
use crate::record::{Body, Hex, hex, text, unhex};
use crate::tree::Tree;

/// What the actions of these records begin with.
pub(crate) const OWN: &[u8] = b"ledger.";
pub(crate) const ACCEPTED: &str = "ledger.accepted";
pub(crate) const CHECKPOINT: &str = "ledger.checkpoint";
pub(crate) const EPOCH: &str = "ledger.epoch";
pub(crate) const GENESIS: &str = "ledger.genesis";
pub(crate) const PRUNED: &str = "ledger.pruned";
pub(crate) const RECOVERED: &str = "ledger.recovered";
pub(crate) const SEGMENT: &str = "ledger.segment";
pub(crate) const STOP: &str = "ledger.stop";
pub(crate) const TAMPERED: &str = "ledger.tampered";

/// A change of the book that moltbot did not make, as it was found when the book was opened.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Tampering {
    /// The file in which it is; the book's folder when a file is missing.
    pub path: PathBuf,
    /// The line in that file, from 1; 0 where it is none.
    pub line: u64,
    /// What does not fit.
    pub what: String,
    /// The number of the record that tells of it.
    pub sequence: u64,
}

/// Whose signatures a book has at some point.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Trust {
    pub(crate) origin: String,
    /// The key that the book was begun with.
    pub(crate) first: VerifyingKey,
    /// How many keys came after it.
    pub(crate) epoch: u64,
    /// The one that signs now.
    pub(crate) key: VerifyingKey,
}

/// What the first record of a segment says, so that the segment can be verified without those before it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Claims {
    /// The tree over everything before.
    pub(crate) tree: Tree,
    pub(crate) trust: Trust,
    /// The number of the last record that was pruned.
    pub(crate) pruned: u64,
    /// Tampering that nobody has accepted.
    pub(crate) tampering: Option<Tampering>,
}

/// What a tombstone says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Tombstone {
    pub(crate) first: u64,
    pub(crate) last: u64,
    /// `h` of the last record pruned.
    pub(crate) hash: Hex,
    /// The root of the tree over all records up to it, in base64.
    pub(crate) root: String,
}

/// The details of a record.
pub(crate) struct Details(Map<String, Value>);

impl Details {
    pub(crate) fn of(line: &[u8]) -> Option<Self> {
        let mut record: Value = serde_json::from_slice(line).ok()?;
        match record.get_mut("details")?.take() {
            Value::Object(details) => Some(Self(details)),
            _ => None,
        }
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name)?.as_str()
    }

    fn number(&self, name: &str) -> Option<u64> {
        number(self.get(name)?)
    }

    pub(crate) fn note(&self) -> Option<Note> {
        Note::parse(self.get("note")?)
    }

    /// The key of a genesis.
    pub(crate) fn genesis(&self) -> Option<Trust> {
        let key = decode_key(self.get("key")?)?;
        Some(Trust { origin: self.get("origin")?.to_owned(), first: key, epoch: 0, key })
    }

    pub(crate) fn claims(&self) -> Option<Claims> {
        let edges = self.get("edges")?.as_bytes().chunks(64).map(unhex).collect::<Option<Vec<_>>>()?;
        let tree = Tree::of(self.number("size")?, edges)?;
        if decode_root(self.get("root")?)? != tree.root() {
            return None;
        }
        let trust = Trust {
            origin: self.get("origin")?.to_owned(),
            first: decode_key(self.get("first_key")?)?,
            epoch: self.number("epoch")?,
            key: decode_key(self.get("key")?)?,
        };
        let tampering = match self.get("tampered") {
            None => None,
            Some(sequence) => Some(Tampering {
                path: PathBuf::from(self.get("file")?),
                line: self.number("line")?,
                what: self.get("what")?.to_owned(),
                sequence: number(sequence)?,
            }),
        };
        Some(Claims { tree, trust, pruned: self.number("pruned")?, tampering })
    }

    pub(crate) fn tombstone(&self) -> Option<Tombstone> {
        let hash = self.get("hash")?;
        unhex(hash.as_bytes())?;
        Some(Tombstone {
            first: self.number("first")?,
            last: self.number("last")?,
            hash: hash.as_bytes().try_into().ok()?,
            root: self.get("root")?.to_owned(),
        })
    }
}

fn done(action: &'static str, target: &str) -> Entry {
    Entry::new("gateway", action, target, Decision::Done)
}

pub(crate) fn genesis(trust: &Trust) -> Body {
    let entry = done(GENESIS, &trust.origin).with("origin", trust.origin.as_str());
    Body::of(&entry.with("key", encode_key(&trust.key)))
}

/// The first record of a segment: of one that tells of tampering, when that is new.
pub(crate) fn head(segment: &str, claims: &Claims) -> Body {
    let Claims { tree, trust, pruned, tampering } = claims;
    let is_new = tampering.as_ref().is_some_and(|found| found.sequence == tree.size().saturating_add(1));
    let mut entry = done(if is_new { TAMPERED } else { SEGMENT }, segment)
        .with("edges", tree.edges().iter().map(|edge| hex(edge)).collect::<String>())
        .with("epoch", trust.epoch.to_string())
        .with("first_key", encode_key(&trust.first))
        .with("key", encode_key(&trust.key))
        .with("origin", trust.origin.as_str())
        .with("pruned", pruned.to_string())
        .with("root", encode_root(&tree.root()))
        .with("size", tree.size().to_string());
    if let Some(found) = tampering {
        entry = entry
            .with("file", found.path.display().to_string())
            .with("line", found.line.to_string())
            .with("tampered", found.sequence.to_string())
            .with("what", found.what.as_str());
    }
    Body::of(&entry)
}

/// A record with a signed note: a checkpoint, or the last act of a key.
pub(crate) fn signed(action: &'static str, origin: &str, note: String) -> Body {
    Body::of(&done(action, origin).with("note", note))
}

pub(crate) fn pruned(tombstone: &Tombstone) -> Body {
    let Tombstone { first, last, hash, root } = tombstone;
    let entry = done(PRUNED, &format!("{first}-{last}"));
    let entry = entry.with("first", first.to_string()).with("last", last.to_string());
    Body::of(&entry.with("hash", text(hash)).with("root", root.as_str()))
}

pub(crate) fn recovered(segment: &str, torn: &Torn) -> Body {
    let entry = done(RECOVERED, segment);
    let entry = entry.with("bytes", torn.bytes.to_string()).with("sha256", torn.hash.clone());
    Body::of(&entry.with("file", torn.name.clone()))
}

/// `before` tells how the last process ended.
pub(crate) fn started(segment: &str, before: &'static str) -> Body {
    let entry = done("ledger.start", segment).with("before", before);
    let entry = entry.with("pid", std::process::id().to_string());
    Body::of(&entry.with("version", env!("CARGO_PKG_VERSION")))
}

pub(crate) fn stopped(folder: &str) -> Body {
    Body::of(&done(STOP, folder).from_reserve())
}

/// Records were refused because the disk did not take them.
pub(crate) fn resumed(segment: &str, refused: u64) -> Body {
    Body::of(&done("ledger.resumed", segment).with("refused", refused.to_string()))
}

/// Buffered records were lost because the disk did not take them in time.
pub(crate) fn dropped(segment: &str, count: u64) -> Body {
    Body::of(&done("ledger.dropped", segment).with("count", count.to_string()))
}

/// The alarm that the reserve pays for.
pub(crate) fn disk_full(segment: &str, free: u64) -> Body {
    Body::of(&done("ledger.disk_full", segment).with("free", free.to_string()))
}

pub(crate) fn clock_step(segment: &str, from: Timestamp, to: Timestamp) -> Body {
    let entry = done("ledger.clock_step", segment);
    Body::of(&entry.with("from", format!("{from:.9}")).with("to", format!("{to:.9}")))
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::SigningKey;

    use super::*;
    use crate::record::{Chain, Stamp};

    fn read(body: &Body) -> Details {
        let mut out = String::new();
        let mut stamp = Stamp::new("boot".into(), Timestamp::now, Timestamp::UNIX_EPOCH);
        Chain::genesis().write(body, &mut stamp, &mut out);
        Details::of(out.trim_end().as_bytes()).unwrap()
    }

    fn trust() -> Trust {
        let key = |seed| SigningKey::from_bytes(&[seed; 32]).verifying_key();
        Trust { origin: "moltbot/x/ledger".into(), first: key(1), epoch: 3, key: key(2) }
    }

    #[test]
    fn what_is_claimed_comes_back() {
        let mut tree = Tree::default();
        tree.pad(1_000_003);
        let tampering = Tampering { path: "/a b".into(), line: 7, what: "\"x\"\n".into(), sequence: 5 };
        for tampering in [None, Some(tampering)] {
            let claims = Claims { tree: tree.clone(), trust: trust(), pruned: 4, tampering };
            assert_eq!(read(&head("x.mlog", &claims)).claims(), Some(claims));
        }
        let first = Trust { epoch: 0, key: trust().first, ..trust() };
        assert_eq!(read(&genesis(&first)).genesis(), Some(first));
        let tombstone = Tombstone { first: 1, last: 9, hash: [b'a'; 64], root: encode_root(&tree.root()) };
        assert_eq!(read(&pruned(&tombstone)).tombstone(), Some(tombstone));
    }

    #[test]
    fn the_largest_tree_fits_a_record() {
        let mut tree = Tree::default();
        tree.pad(crate::segments::LARGEST - 1);
        assert_eq!(tree.edges().len(), 53);
        let claims = Claims { tree, trust: trust(), pruned: 0, tampering: None };
        assert_eq!(read(&head("x.mlog", &claims)).claims(), Some(claims));
    }
}
