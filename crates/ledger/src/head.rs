//! A head of the book, for remembering outside of it: whoever knows one notices a book that was cut, replaced or put
//! back to an older copy.

use std::fmt;
use std::str::FromStr;

use serde_json::{Value, json};
use thiserror::Error;

use crate::follow::Known;
use crate::note::{Note, decode_root, number};
use crate::record::{HASH, unhex};

/// The end of a book at some moment. Its text is one line of JSON.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Head {
    /// The number of its last record.
    pub sequence: u64,
    /// That record's `h`, in hex. Not there when only a note is known.
    pub hash: Option<String>,
    /// The root of the Merkle tree over all records up to it, in base64.
    pub root: Option<String>,
    /// The newest signed note of the book, which is for as many records or fewer.
    pub note: Option<String>,
}

impl Head {
    /// What it says about the book of which `by` remembers it.
    pub(crate) fn known(&self, by: &str) -> Vec<Known> {
        let hash = self.hash.as_ref().and_then(|hash| hash.as_bytes().try_into().ok());
        let root = self.root.as_deref().and_then(decode_root);
        let mut known = vec![Known { sequence: self.sequence, hash, root, by: by.to_owned() }];
        if let Some(note) = self.note.as_deref().and_then(Note::parse).filter(|note| note.size > 0) {
            known.push(Known { sequence: note.size, hash: None, root: Some(note.root), by: by.to_owned() });
        }
        known.retain(|known| known.sequence > 0);
        known
    }
}

impl fmt::Display for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut head = serde_json::Map::from_iter([("seq".to_owned(), Value::from(self.sequence))]);
        for (name, value) in [("h", &self.hash), ("root", &self.root), ("note", &self.note)] {
            if let Some(value) = value {
                head.insert(name.to_owned(), json!(value));
            }
        }
        write!(f, "{}", Value::Object(head))
    }
}

/// A text that is no head of a book.
#[derive(Clone, Debug, Error, Eq, PartialEq)]
#[error(
    "this is no head of a book; give what `moltbot ledger checkpoint` printed, a signed note of the book, or `<number>:<hash>` of a record"
)]
pub struct NotAHead;

impl FromStr for Head {
    type Err = NotAHead;

    /// Reads the form that is displayed, a signed note, or the number and the hash of a record with a colon between.
    fn from_str(text: &str) -> Result<Self, NotAHead> {
        let read = || {
            if text.trim_start().starts_with('{') {
                return of_json(text);
            }
            // A shell takes the last line feed away.
            let whole = format!("{}\n", text.trim_end());
            if let Some(note) = Note::parse(&whole) {
                let root = Some(crate::note::encode_root(&note.root));
                return Some(Self { sequence: note.size, hash: None, root, note: Some(whole) });
            }
            let (sequence, hash) = text.trim().split_once(':')?;
            unhex(hash.as_bytes())?;
            Some(Self { sequence: number(sequence)?, hash: Some(hash.to_owned()), root: None, note: None })
        };
        read().ok_or(NotAHead)
    }
}

fn of_json(text: &str) -> Option<Head> {
    let value: Value = serde_json::from_str(text).ok()?;
    let members = value.as_object()?;
    let member = |name: &str| match members.get(name) {
        None => Some(None),
        Some(value) => value.as_str().map(|text| Some(text.to_owned())),
    };
    let head = Head {
        sequence: members.get("seq")?.as_u64()?,
        hash: member("h")?,
        root: member("root")?,
        note: member("note")?,
    };
    let is_known = members.keys().all(|name| ["seq", "h", "root", "note"].contains(&name.as_str()));
    let is_whole =
        head.hash.as_ref().is_none_or(|hash| hash.len() == HASH && unhex(hash.as_bytes()).is_some())
            && head.root.as_ref().is_none_or(|root| decode_root(root).is_some())
            && head
                .note
                .as_ref()
                .is_none_or(|note| Note::parse(note).is_some_and(|note| note.size <= head.sequence))
            && (head.hash.is_some() || head.root.is_some());
    (is_known && is_whole).then_some(head)
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::SigningKey;

    use super::*;
    use crate::note::{Statement, encode_root};

    #[test]
    fn a_head_is_read_in_each_of_its_forms() {
        let key = SigningKey::from_bytes(&[7; 32]);
        let note = Statement { origin: "moltbot/x/ledger", size: 9, root: [1; 32], next: None }.sign(&key);
        let root = Some(encode_root(&[1; 32]));
        let head =
            Head { sequence: 12, hash: Some("a".repeat(64)), root: root.clone(), note: Some(note.clone()) };
        assert_eq!(head.to_string().parse(), Ok(head.clone()));
        assert!(!head.to_string().contains('\n'));
        assert_eq!(head.known("x").len(), 2);
        let bare = Head { sequence: 9, hash: None, root, note: Some(note.clone()) };
        assert_eq!([note.parse(), note.trim_end().parse()], [Ok(bare.clone()), Ok(bare)]);
        let short = Head { sequence: 3, hash: Some("b".repeat(64)), root: None, note: None };
        assert_eq!(format!("3:{}", "b".repeat(64)).parse(), Ok(short));
        for wrong in
            ["", "3", "3:b", "{}", r#"{"seq":3}"#, r#"{"seq":3,"h":"x"}"#, &format!("-3:{}", "b".repeat(64))]
        {
            assert_eq!(wrong.parse::<Head>(), Err(NotAHead), "{wrong}");
        }
        let ahead = Head { sequence: 8, ..head };
        assert_eq!(
            ahead.to_string().parse::<Head>(),
            Err(NotAHead),
            "a note for more records than there are"
        );
    }
}
