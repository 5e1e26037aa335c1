//! Follows a book line by line: the chain, the tree, the keys and what the book says about itself. Opening and
//! verifying are this one walk.

use ed25519_dalek::VerifyingKey;
use moltbot_config::limits;

use crate::head::Head;
use crate::note::{Note, PublicKey};
use crate::own::{self, Claims, Details, Tampering, Tombstone, Trust};
use crate::record::{Chain, Hex, action_of, read_alone};
use crate::tree::Node;

/// Where a line is.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Place {
    /// The segment, counted from 0.
    pub(crate) segment: usize,
    /// The line in it, from 1.
    pub(crate) line: u64,
}

/// What somebody remembers of a book.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Known {
    /// The number of a record.
    pub(crate) sequence: u64,
    /// Its hash.
    pub(crate) hash: Option<Hex>,
    /// The root of the tree up to it.
    pub(crate) root: Option<Node>,
    /// Who remembers.
    pub(crate) by: String,
}

/// A checkpoint whose signature has not been looked at yet: a later one of the same key vouches for it.
#[derive(Debug)]
struct Unsettled {
    note: Note,
    key: VerifyingKey,
    place: Place,
}

/// The walk so far.
#[derive(Debug)]
pub(crate) struct Follower {
    pub(crate) chain: Chain,
    pub(crate) trust: Option<Trust>,
    /// The key that the book must begin with.
    pub(crate) from_key: Option<PublicKey>,
    /// Records up to here are under a signature that is right.
    pub(crate) signed: u64,
    unsettled: Option<Unsettled>,
    /// The newest note that is known to be right.
    pub(crate) note: Option<Note>,
    /// What the last key that ended said last.
    pub(crate) last_statement: Option<String>,
    pub(crate) checkpoints: u64,
    pub(crate) signatures: u64,
    pub(crate) epochs: u64,
    pub(crate) recovered: u64,
    pub(crate) records: u64,
    /// Whether the last record that is no checkpoint says that the book was closed.
    pub(crate) is_closed: bool,
    pub(crate) pruned: u64,
    pub(crate) tampering: Option<Tampering>,
    /// Tombstones, and the number of the record in which each is.
    pub(crate) tombstones: Vec<(u64, Tombstone)>,
    /// The ends of segments: the number, the hash and the root.
    pub(crate) ends: Vec<(u64, Hex, Node)>,
    /// What others remember, largest number first. What was found is taken out.
    pub(crate) known: Vec<Known>,
    /// What they remember otherwise.
    pub(crate) contradicted: Vec<Known>,
    /// What they remember of records before the place where the walk began.
    pub(crate) unmet: Vec<Known>,
}

impl Follower {
    /// At the beginning of a book.
    pub(crate) fn new(mut known: Vec<Known>) -> Self {
        known.sort_by_key(|known| std::cmp::Reverse(known.sequence));
        Self {
            chain: Chain::genesis(),
            trust: None,
            from_key: None,
            signed: 0,
            unsettled: None,
            note: None,
            last_statement: None,
            checkpoints: 0,
            signatures: 0,
            epochs: 0,
            recovered: 0,
            records: 0,
            is_closed: false,
            pruned: 0,
            tampering: None,
            tombstones: Vec::new(),
            ends: Vec::new(),
            known,
            contradicted: Vec::new(),
            unmet: Vec::new(),
        }
    }

    /// Goes to the beginning of a segment, believing what its first line says about what was before it.
    pub(crate) fn believe(&mut self, line: &[u8]) -> Result<(), &'static str> {
        let claims = head_of(line).ok_or("it does not begin with what was before it")?;
        let (_, _, previous) = read_alone(line)?;
        self.unsettled = None;
        self.signed = claims.tree.size();
        self.pruned = claims.pruned;
        self.tampering = claims.tampering;
        (self.chain, self.trust) = (Chain { previous, tree: claims.tree }, Some(claims.trust));
        Ok(())
    }

    /// Checks that `line` is the next one, and goes on behind it.
    pub(crate) fn follow(&mut self, line: &[u8], place: Place) -> Result<(), &'static str> {
        let action = action_of(line);
        let is_own = action.starts_with(own::OWN);
        let before = (is_own || place.line == 1).then(|| self.chain.clone());
        self.chain.check(line)?;
        if let Some(before) = before
            && let Err(what) = self.judge(action, line, &before, place)
        {
            self.chain = before;
            return Err(what);
        }
        self.records = self.records.saturating_add(1);
        if action != own::CHECKPOINT.as_bytes() && action != own::EPOCH.as_bytes() {
            self.is_closed = action == own::STOP.as_bytes();
        }
        self.meet_known();
        Ok(())
    }

    /// Looks at the signature of the last checkpoint. The place is that of one which is not right.
    pub(crate) fn settle(&mut self) -> Result<(), (Place, &'static str)> {
        let Some(Unsettled { note, key, place }) = self.unsettled.take() else { return Ok(()) };
        self.signatures = self.signatures.saturating_add(1);
        if !note.is_signed_by(&key) {
            return Err((place, "its signature is not that of the book's key"));
        }
        self.signed = note.size;
        self.note = Some(note);
        Ok(())
    }

    /// The end of the book as far as it was followed.
    pub(crate) fn head(&self) -> Head {
        self.chain.head(self.note.as_ref().map(|note| note.as_str().to_owned()))
    }

    /// Judges a record of the book's own, whose place in the chain is right. `before` is what it speaks of.
    fn judge(
        &mut self,
        action: &[u8],
        line: &[u8],
        before: &Chain,
        place: Place,
    ) -> Result<(), &'static str> {
        let is_first = place.line == 1;
        let details = || Details::of(line).ok_or("it is no record");
        match std::str::from_utf8(action).unwrap_or_default() {
            own::SEGMENT | own::TAMPERED if !is_first => Err("a segment begins in the middle of another"),
            own::SEGMENT => {
                self.enter_segment(&details()?.claims().ok_or("it claims what cannot be")?, before)
            }
            own::TAMPERED => {
                let claims = details()?.claims().ok_or("it claims what cannot be")?;
                if claims.tree != before.tree {
                    return Err("it does not tell what was before it");
                }
                (self.trust, self.tampering) = (Some(claims.trust), claims.tampering);
                Ok(())
            }
            own::GENESIS => self.begin(details()?.genesis().ok_or("it names no key")?),
            _ if is_first && self.trust.is_some() => {
                Err("the segment does not begin with what was before it")
            }
            own::CHECKPOINT | own::EPOCH => {
                let note = details()?.note().ok_or("it has no signed note")?;
                self.check_note(note, action == own::EPOCH.as_bytes(), before, place)
            }
            own::PRUNED => {
                let tombstone = details()?.tombstone().ok_or("it does not tell what was pruned")?;
                self.pruned = self.pruned.max(tombstone.last);
                self.tombstones.push((self.chain.tree.size(), tombstone));
                Ok(())
            }
            own::ACCEPTED => {
                self.tampering = None;
                Ok(())
            }
            own::RECOVERED => {
                self.recovered = self.recovered.saturating_add(1);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn begin(&mut self, trust: Trust) -> Result<(), &'static str> {
        if self.trust.is_some() {
            return Err("the book begins a second time");
        }
        self.trust = Some(trust);
        self.require_first_key()
    }

    /// Whether the book began with the key that it should have.
    pub(crate) fn require_first_key(&self) -> Result<(), &'static str> {
        match (&self.from_key, &self.trust) {
            (Some(expected), Some(trust)) if !expected.is(&trust.origin, &trust.first) => {
                Err("the book was begun with another key")
            }
            _ => Ok(()),
        }
    }

    fn enter_segment(&mut self, claims: &Claims, before: &Chain) -> Result<(), &'static str> {
        let same = claims.tree == before.tree
            && self.trust.as_ref() == Some(&claims.trust)
            && claims.pruned == self.pruned
            && claims.tampering == self.tampering;
        if !same {
            return Err("it does not tell what was before it");
        }
        self.ends.push((before.tree.size(), before.previous, before.tree.root()));
        Ok(())
    }

    fn check_note(
        &mut self,
        note: Note,
        is_last: bool,
        before: &Chain,
        place: Place,
    ) -> Result<(), &'static str> {
        let trust = self.trust.as_mut().ok_or("the book has no key yet")?;
        let size = before.tree.size();
        if !note.says(&trust.origin, size, &before.tree.root()) {
            return Err("it does not tell what was before it");
        }
        self.checkpoints = self.checkpoints.saturating_add(1);
        let key = trust.key;
        match (is_last, note.next) {
            (false, None) => {}
            (true, Some((epoch, next))) if trust.epoch.checked_add(1) == Some(epoch) => {
                (trust.epoch, trust.key) = (epoch, next);
                self.epochs = self.epochs.saturating_add(1);
                self.last_statement = Some(note.as_str().to_owned());
            }
            _ => return Err("it does not name the next key"),
        }
        self.unsettled = Some(Unsettled { note, key, place });
        // The last signature of a key vouches for all of its others, and so does one in this many records.
        if is_last || size.saturating_sub(self.signed) >= limits::LEDGER_CHECKPOINT {
            self.settle().map_err(|(_, what)| what)?;
        }
        Ok(())
    }

    /// Compares what others remember of the record that was just followed.
    fn meet_known(&mut self) {
        let at = self.chain.tree.size();
        while let Some(known) = self.known.pop_if(|known| known.sequence <= at) {
            if known.sequence < at {
                self.unmet.push(known);
                continue;
            }
            let is_same = known.hash.is_none_or(|hash| hash == self.chain.previous)
                && known.root.is_none_or(|root| root == self.chain.tree.root());
            if !is_same {
                self.contradicted.push(known);
            }
        }
    }
}

/// What a line claims to be before it, when it is the first of a segment.
pub(crate) fn head_of(line: &[u8]) -> Option<Claims> {
    let action = action_of(line);
    let is_head = action == own::SEGMENT.as_bytes() || action == own::TAMPERED.as_bytes();
    let claims = is_head.then(|| Details::of(line)?.claims()).flatten()?;
    let (sequence, _, _) = read_alone(line).ok()?;
    (claims.tree.size().checked_add(1) == Some(sequence)).then_some(claims)
}
