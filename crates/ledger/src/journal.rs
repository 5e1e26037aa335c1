//! The segment that is being written: batches go on disk as a whole or are taken back.

mod segment;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use jiff::Timestamp;
use moltbot_vault::Vault;

use crate::disk::Disk;
use crate::error::LedgerError;
use crate::head::Head;
use crate::keys::Keys;
use crate::opening::{HEAD, Position};
use crate::options::LedgerOptions;
use crate::own::{self, Claims, Tampering};
use crate::record::{Body, Chain, Stamp};
use crate::space::Space;
use segment::estimate;

/// The end of the book, and the only writer there is.
#[derive(Debug)]
pub(crate) struct Journal<D: Disk> {
    pub(crate) disk: D,
    /// Nothing after a failure: the handle that failed is never used again.
    segment: Option<D::Segment>,
    pub(crate) name: String,
    /// How long the segment is without what failed.
    length: u64,
    /// When it was begun.
    begun: Timestamp,
    chain: Chain,
    /// Records up to here are signed for.
    pub(crate) signed: u64,
    note: Option<String>,
    stamp: Stamp,
    keys: Keys,
    pub(crate) space: Space,
    /// The number of the last record that was pruned.
    pub(crate) pruned: u64,
    pub(crate) tampering: Option<Tampering>,
    /// Whether the book has no key yet.
    is_unsigned: bool,
    /// Whether the register is to remember the head at the next checkpoint.
    is_forgetful: bool,
    /// Whether it is to at the next sign of life.
    is_behind: bool,
    /// Whether old segments are to be looked for.
    pub(crate) is_pruning_due: bool,
    /// Whether the alarm for a full disk has yet to be written.
    pub(crate) is_alarmed: bool,
    /// Records refused since the last one that was written.
    refused: u64,
    /// Buffered records that were lost since.
    pub(crate) dropped: Arc<AtomicU64>,
    flushes: Arc<AtomicU64>,
    pub(crate) options: LedgerOptions,
    /// Lines that are on disk and not in the views yet.
    written: String,
}

/// Whether a flush ends with a signature.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Sign {
    /// In any case.
    Now,
    /// When enough records came since the last one.
    WhenDue,
}

/// Lines that are about to be written, and where the book is when they are.
struct Draft {
    chain: Chain,
    lines: String,
    first: u64,
    dropped: u64,
    /// The signed note at the end, and whether it is the last act of its key.
    signature: Option<(String, bool)>,
}

impl<D: Disk> Journal<D> {
    pub(crate) fn new(disk: D, end: Position, keys: Keys, stamp: Stamp, options: LedgerOptions) -> Self {
        let Position { name, length, begun, chain, signed, pruned, tampering, .. } = end;
        let space = Space::new(options.reserve_bytes);
        Self {
            disk,
            segment: None,
            name,
            length,
            begun,
            chain,
            signed,
            note: None,
            stamp,
            keys,
            space,
            pruned,
            tampering,
            is_unsigned: false,
            is_forgetful: true,
            is_behind: true,
            is_pruning_due: true,
            is_alarmed: false,
            refused: 0,
            dropped: Arc::default(),
            flushes: Arc::default(),
            options,
            written: String::new(),
        }
    }

    /// Begins to sign with the next record.
    pub(crate) const fn begin_to_sign(&mut self) {
        self.is_unsigned = true;
    }

    pub(crate) fn flushes(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.flushes)
    }

    pub(crate) const fn keys(&self) -> &Keys {
        &self.keys
    }

    /// Erases from the disk what the keys' file should not hold any more.
    pub(crate) fn clean_keys(&mut self) -> Result<(), LedgerError> {
        self.keys.clean(&self.disk)
    }

    /// Seals the keys' file with another root key.
    pub(crate) fn reseal(&mut self, vault: Vault) -> Result<(), LedgerError> {
        self.keys.reseal(&self.disk, vault)
    }

    /// What the clock says.
    pub(crate) fn now(&self) -> Timestamp {
        self.stamp.peek()
    }

    /// Looks at the disk's room; `true` when it has just become too little.
    pub(crate) fn look_at_space(&mut self) -> bool {
        let is_new = self.space.look(&self.disk);
        self.is_alarmed |= is_new;
        is_new
    }

    /// The number of the last record.
    pub(crate) fn last(&self) -> u64 {
        self.chain.tree.size()
    }

    /// The end of the book, with its newest note.
    pub(crate) fn head(&self) -> Head {
        self.chain.head(self.note.clone())
    }

    /// Whether there is something that is not signed for.
    pub(crate) const fn is_dirty(&self) -> bool {
        // The record of the signature is not under it.
        self.chain.tree.size() > self.signed.saturating_add(1)
    }

    /// Writes a batch and returns the number of its first record when all of it is on disk.
    ///
    /// After an error nothing of it is in the book, and the next batch goes through a new handle: the kernel
    /// reports a lost write once, and then forgets it.
    pub(crate) fn append(&mut self, batch: &[Body], sign: Sign) -> Result<u64, LedgerError> {
        let error = match self.try_append(batch, sign) {
            Ok(first) => return Ok(first),
            Err(error) => error,
        };
        if self.refused == 0 {
            tracing::error!(error = error.told(), "the book cannot be written; what needs it is refused");
        }
        self.segment = None;
        if error.is_full() {
            self.is_alarmed |= !self.space.is_full();
            self.space.release(&self.disk);
        }
        // At once, so that a crash from now on finds a whole book.
        if let Err(error) = self.reopen() {
            tracing::debug!(error = error.told(), "the book stays closed until the next record");
        }
        Err(error)
    }

    /// Counts records that are refused.
    pub(crate) const fn refuse(&mut self, count: u64) {
        self.refused = self.refused.saturating_add(count);
    }

    /// The lines that were written since this was last asked, for the views.
    pub(crate) fn take_written(&mut self) -> String {
        std::mem::take(&mut self.written)
    }

    fn try_append(&mut self, batch: &[Body], sign: Sign) -> Result<u64, LedgerError> {
        if self.segment.is_none() {
            self.reopen()?;
        }
        if self.is_over(batch) {
            self.end_segment()?;
        }
        self.flush(batch, sign)
    }

    fn flush(&mut self, batch: &[Body], sign: Sign) -> Result<u64, LedgerError> {
        let draft = self.draft(batch, sign)?;
        self.write(draft.lines.as_bytes())?;
        self.written.push_str(&draft.lines);
        self.length = self.length.saturating_add(bytes(&draft.lines));
        let Draft { chain, first, dropped, signature, .. } = draft;
        self.chain = chain;
        self.dropped.fetch_sub(dropped, Ordering::Relaxed);
        (self.is_unsigned, self.is_alarmed) = (false, false);
        if batch.iter().any(|body| body.accepts) {
            self.tampering = None;
        }
        if !self.space.is_full() {
            self.refused = 0;
        }
        if let Some((note, is_last)) = signature {
            // The signature is for everything before its own record.
            self.signed = self.chain.tree.size().saturating_sub(1);
            self.note = Some(note.clone());
            if is_last && let Err(error) = self.keys.advance(&self.disk, note, self.stamp.peek()) {
                tracing::warn!(error = error.told(), "an old signing key could not be erased yet");
            }
        }
        Ok(first)
    }

    /// The lines of a batch: what the book has to say about itself, the batch, and the signature.
    fn draft(&mut self, batch: &[Body], sign: Sign) -> Result<Draft, LedgerError> {
        let mut chain = self.chain.clone();
        let mut lines = String::with_capacity(estimate(batch));
        let dropped = self.dropped.load(Ordering::Relaxed);
        for body in self.prefix(dropped) {
            chain.write(&body, &mut self.stamp, &mut lines);
        }
        let first = chain.sequence();
        for body in batch {
            chain.write(body, &mut self.stamp, &mut lines);
        }
        let news = chain.tree.size().saturating_sub(self.signed);
        let is_sign_of_life = batch.is_empty() && !self.is_dirty();
        if !is_sign_of_life {
            self.keys.use_up();
            self.is_behind = true;
        }
        let mut signature = None;
        if sign == Sign::Now || news >= self.options.checkpoint_records {
            let is_last = self.keys.is_over() && self.prepare_key();
            let (size, root) = (chain.tree.size(), chain.tree.root());
            let note = self.keys.sign(size, root, is_last);
            let action = if is_last { own::EPOCH } else { own::CHECKPOINT };
            chain.write(&own::signed(action, self.keys.origin(), note.clone()), &mut self.stamp, &mut lines);
            signature = Some((note, is_last));
        }
        Ok(Draft { chain, lines, first, dropped, signature })
    }

    /// What the book says before the next records.
    fn prefix(&mut self, dropped: u64) -> Vec<Body> {
        let mut bodies = Vec::new();
        if self.is_unsigned {
            bodies.push(own::genesis(&self.keys.trust()));
        } else if self.length == 0 {
            bodies.push(own::head(&self.name, &self.claims()));
        }
        if let Some((from, to)) = self.stamp.stepped() {
            bodies.push(own::clock_step(&self.name, from, to));
        }
        if self.is_alarmed {
            let free = self.disk.space().map_or(0, |space| space.free);
            bodies.push(own::disk_full(&self.name, free));
        }
        if dropped > 0 {
            bodies.push(own::dropped(&self.name, dropped));
        }
        if self.refused > 0 && !self.space.is_full() {
            bodies.push(own::resumed(&self.name, self.refused));
        }
        bodies
    }

    /// What is before the segment that begins.
    fn claims(&self) -> Claims {
        Claims {
            tree: self.chain.tree.clone(),
            trust: self.keys.trust(),
            pruned: self.pruned,
            tampering: self.tampering.clone(),
        }
    }

    /// Makes the next key ready; until it is, the old one goes on.
    fn prepare_key(&mut self) -> bool {
        match self.keys.prepare(&self.disk) {
            Ok(()) => true,
            Err(error) => {
                tracing::warn!(
                    error = error.told(),
                    "the next signing key cannot be kept; the old one goes on"
                );
                false
            }
        }
    }

    /// Signs for what is new; without anything new it is a sign of life.
    pub(crate) fn checkpoint(&mut self) -> Result<(), LedgerError> {
        let epoch = self.keys.trust().epoch;
        let was_dirty = self.is_dirty();
        self.append(&[], Sign::Now)?;
        self.is_forgetful |= self.keys.trust().epoch != epoch;
        if let Err(error) = self.clean_keys() {
            tracing::warn!(error = error.told(), "an old signing key could not be erased yet");
        }
        if self.is_forgetful || (self.is_behind && !was_dirty) {
            self.remember();
        }
        Ok(())
    }

    /// Lets the register remember the head.
    pub(crate) fn remember(&mut self) {
        let head = format!("{}\n", self.head());
        match self.disk.replace(HEAD, head.as_bytes()) {
            Ok(()) => (self.is_forgetful, self.is_behind) = (false, false),
            // It then remembers an older head, which the book has as well.
            Err(error) => tracing::warn!(%error, "the head of the book could not be remembered"),
        }
    }
}

fn bytes(text: &str) -> u64 {
    u64::try_from(text.len()).unwrap_or(u64::MAX)
}

#[cfg(test)]
pub(crate) mod tests {
    use jiff::SignedDuration;
    use moltbot_policy::{Decision, Entry};
    use moltbot_vault::{FileKey, StateDir};
    use tempfile::{TempDir, tempdir};

    use super::*;
    use crate::disk::{Fault, FaultyDisk};
    use crate::opening;
    use crate::segments::{Lines, Next, list, segment_name};
    use crate::{Outcome, VerifyOptions, verify};

    pub(crate) struct Bench {
        _home: TempDir,
        vault: Vault,
        pub(crate) folder: StateDir,
        pub(crate) disk: FaultyDisk,
        pub(crate) journal: Journal<FaultyDisk>,
    }

    impl Bench {
        pub(crate) fn new() -> Self {
            Self::with(LedgerOptions::default())
        }

        pub(crate) fn with(options: LedgerOptions) -> Self {
            let home = tempdir().unwrap();
            let state = StateDir::open_or_create(home.path()).unwrap();
            let vault = Vault::open_or_create(&state, &FileKey).unwrap();
            let folder = state.folder("ledger").unwrap();
            let disk = FaultyDisk::new(folder.clone());
            let journal = journal(&folder, &disk, &vault, options);
            Self { _home: home, vault, folder, disk, journal }
        }

        /// The book as another process finds it, which was not told of anything.
        pub(crate) fn reopen(&mut self) {
            let options = self.journal.options.clone();
            self.journal = journal(&self.folder, &self.disk, &self.vault, options);
        }

        pub(crate) fn append(&mut self, targets: &[&str]) -> Result<u64, LedgerError> {
            let entry = |target: &&str| Entry::new("a", "b.c", *target, Decision::Done);
            let bodies: Vec<Body> = targets.iter().map(|target| Body::of(&entry(target))).collect();
            let written = self.journal.append(&bodies, Sign::WhenDue);
            if written.is_err() {
                self.journal.refuse(u64::try_from(bodies.len()).unwrap());
            }
            // As the writer does before each flush.
            self.journal.look_at_space();
            written
        }

        /// Target or action of every record behind the genesis, in the order of the files, each checked.
        fn records(&self) -> Vec<String> {
            let mut chain = Chain::genesis();
            let mut described = Vec::new();
            for segment in list(&self.folder).unwrap() {
                let mut lines = Lines::of(&self.folder, &segment.name).unwrap();
                while let Next::Line(line) = lines.next().unwrap() {
                    chain.check(line).unwrap();
                    let value: serde_json::Value = serde_json::from_slice(line).unwrap();
                    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
                    described.push(match value["action"].as_str().unwrap() {
                        "b.c" => text(&value["target"]),
                        "ledger.resumed" => format!("resumed {}", text(&value["details"]["refused"])),
                        action => action.trim_start_matches("ledger.").to_owned(),
                    });
                }
            }
            assert_eq!(described.remove(0), "genesis");
            described
        }

        fn outcome(&self) -> Outcome {
            let report = verify(self.folder.path(), &VerifyOptions::default());
            println!("{:?}", report.problems);
            report.outcome
        }
    }

    fn journal(
        folder: &StateDir,
        disk: &FaultyDisk,
        vault: &Vault,
        options: LedgerOptions,
    ) -> Journal<FaultyDisk> {
        let now = (options.clock)();
        let (position, file) = opening::open(folder, vault, &[], now).unwrap();
        assert_eq!(position.tampering, None);
        let is_unsigned = !file.begun;
        let keys = Keys::new(vault.clone(), file, options.epoch, now);
        keys.write(folder).unwrap();
        let mut journal = Journal::new(
            disk.clone(),
            position,
            keys,
            Stamp::new("boot".into(), options.clock, now),
            options,
        );
        if is_unsigned {
            journal.begin_to_sign();
        }
        journal
    }

    #[test]
    fn after_each_fault_nothing_of_the_batch_is_left_and_the_book_goes_on_through_a_new_handle() {
        for fault in [Fault::Full, Fault::Short, Fault::Sync] {
            let mut bench = Bench::new();
            assert_eq!(bench.append(&["one"]).unwrap(), 2);
            bench.disk.set(fault);
            assert!(bench.append(&["lost", "also lost"]).is_err(), "{fault:?}");
            assert_eq!(bench.records(), ["one"], "after {fault:?}");
            bench.disk.set(Fault::None);
            bench.journal.space = Space::new(0);
            bench.append(&["two", "three"]).unwrap();
            let alarm: &[&str] = if fault == Fault::Sync { &[] } else { &["disk_full"] };
            let expected = [&["one"], alarm, &["resumed 2", "two", "three"]].concat();
            assert_eq!(bench.records(), expected, "after {fault:?}");
            bench.append(&["four"]).unwrap();
            assert_eq!(bench.records().len(), expected.len() + 1);
        }
    }

    #[test]
    fn a_disk_that_is_gone_is_asked_again_through_a_new_handle() {
        let mut bench = Bench::new();
        bench.append(&["one"]).unwrap();
        bench.disk.set(Fault::Dead);
        bench.journal.segment = None;
        for _ in 0..3 {
            assert!(bench.append(&["lost"]).is_err());
        }
        bench.disk.set(Fault::None);
        bench.append(&["two"]).unwrap();
        assert_eq!(bench.records(), ["one", "resumed 3", "two"]);
    }

    #[test]
    fn a_segment_that_is_full_is_signed_for_and_followed_by_one_that_tells_what_was_before() {
        let mut bench = Bench::with(LedgerOptions { segment_bytes: 1500, ..LedgerOptions::default() });
        for target in ["one", "two", "three", "four", "five"] {
            bench.append(&[target]).unwrap();
        }
        let more = ["three", "four", "five"].map(|target| ["checkpoint", "segment", target]).concat();
        assert_eq!(bench.records(), [vec!["one", "two"], more].concat());
        let firsts: Vec<u64> = list(&bench.folder).unwrap().iter().map(|segment| segment.first).collect();
        assert_eq!(firsts, [1, 5, 8, 11]);
        assert_eq!(bench.outcome(), Outcome::Intact);
        let end = bench.journal.chain.clone();
        bench.reopen();
        assert_eq!(bench.journal.chain, end);
        bench.append(&["six"]).unwrap();
        assert_eq!(bench.outcome(), Outcome::Intact);
    }

    #[test]
    fn a_segment_that_is_old_is_followed_by_a_new_one() {
        let mut bench = Bench::new();
        bench.append(&["one"]).unwrap();
        bench.journal.begun = Timestamp::now() - SignedDuration::from_hours(24);
        bench.append(&["two"]).unwrap();
        assert_eq!(bench.records(), ["one", "checkpoint", "segment", "two"]);
    }

    #[test]
    fn a_new_segment_that_could_not_be_written_is_found_empty_and_used() {
        let mut bench = Bench::with(LedgerOptions { segment_bytes: 1000, ..LedgerOptions::default() });
        bench.append(&["one"]).unwrap();
        bench.journal.checkpoint().unwrap();
        bench.disk.set(Fault::Short);
        assert!(bench.append(&["lost"]).is_err());
        let segments = list(&bench.folder).unwrap();
        assert_eq!((segments.len(), segments[1].first), (2, 4));
        assert_eq!(bench.outcome(), Outcome::Intact);
        bench.disk.set(Fault::None);
        bench.reopen();
        bench.append(&["two"]).unwrap();
        assert_eq!(bench.records(), ["one", "checkpoint", "segment", "two"]);
        assert_eq!(bench.outcome(), Outcome::Intact);
    }

    #[test]
    fn a_segment_that_somebody_cut_removed_or_wrote_to_takes_no_more() {
        let acts: [fn(&StateDir); 2] = [
            |folder| folder.append(&segment_name(1)).unwrap().truncate(10).unwrap(),
            |folder| folder.remove(&segment_name(1)).unwrap(),
        ];
        for (act, name) in acts.into_iter().zip(["cut", "removed"]) {
            let mut bench = Bench::new();
            bench.append(&["one"]).unwrap();
            act(&bench.folder);
            for _ in 0..2 {
                assert!(bench.append(&["lost"]).is_err(), "a segment that was {name}");
            }
        }
        let mut bench = Bench::new();
        bench.append(&["one"]).unwrap();
        bench.folder.append(&segment_name(1)).unwrap().write_all(b"foreign").unwrap();
        let error = bench.append(&["lost"]).unwrap_err();
        assert!(matches!(error, LedgerError::Changed { .. }), "{error}");
        assert_eq!(bench.records(), ["one"], "what is not ours is cut off");
        bench.append(&["two"]).unwrap();
    }

    #[test]
    fn a_checkpoint_comes_with_so_many_records_and_a_key_ends_when_it_is_old() {
        let options = LedgerOptions {
            checkpoint_records: 3,
            epoch: std::time::Duration::ZERO,
            ..LedgerOptions::default()
        };
        let mut bench = Bench::with(options);
        for target in ["one", "two", "three", "four"] {
            bench.append(&[target]).unwrap();
        }
        assert_eq!(bench.records(), ["one", "two", "epoch", "three", "four", "epoch"]);
        // A sign of life does not use a key up.
        bench.journal.checkpoint().unwrap();
        bench.journal.checkpoint().unwrap();
        assert_eq!(bench.records()[6..], ["checkpoint", "checkpoint"]);
        assert_eq!(bench.outcome(), Outcome::Intact);
        bench.reopen();
        bench.append(&["five"]).unwrap();
        bench.journal.checkpoint().unwrap();
        assert_eq!(bench.records()[8..], ["five", "epoch"]);
        let report = verify(bench.folder.path(), &VerifyOptions::default());
        assert_eq!((report.outcome, report.epochs), (Outcome::Intact, 3), "{:?}", report.problems);
    }

    #[test]
    fn a_key_that_cannot_be_replaced_goes_on_and_is_erased_when_it_can() {
        let options = LedgerOptions { epoch: std::time::Duration::ZERO, ..LedgerOptions::default() };
        let mut bench = Bench::with(options);
        bench.append(&["one"]).unwrap();
        bench.disk.set(Fault::Rename);
        bench.journal.checkpoint().unwrap();
        assert_eq!(bench.records(), ["one", "checkpoint"], "it is not used up, but signs on");
        bench.disk.set(Fault::None);
        bench.append(&["two"]).unwrap();
        // The record of the next key cannot be flushed: the old one is in force, in memory and on the disk.
        bench.disk.set(Fault::Sync);
        assert!(bench.journal.checkpoint().is_err());
        bench.journal.checkpoint().unwrap();
        assert_eq!(bench.records(), ["one", "checkpoint", "two", "epoch"]);
        bench.append(&["three"]).unwrap();
        bench.disk.set(Fault::Sync);
        assert!(bench.journal.checkpoint().is_err());
        bench.reopen();
        bench.append(&["four"]).unwrap();
        bench.journal.checkpoint().unwrap();
        assert_eq!(bench.outcome(), Outcome::Intact);
    }

    #[test]
    fn a_thief_of_the_key_can_write_nothing_before_its_epoch_that_the_first_key_would_vouch_for() {
        let options = LedgerOptions {
            checkpoint_records: 3,
            epoch: std::time::Duration::ZERO,
            ..LedgerOptions::default()
        };
        let mut bench = Bench::with(options.clone());
        for n in 0..12 {
            bench.append(&[&n.to_string()]).unwrap();
        }
        let first_key =
            Some(crate::PublicKey::of(bench.journal.keys().origin(), bench.journal.keys().trust().first));
        let verified = |bench: &Bench| {
            verify(
                bench.folder.path(),
                &VerifyOptions { from_key: first_key.clone(), ..VerifyOptions::default() },
            )
        };
        assert_eq!(verified(&bench).outcome, Outcome::Intact);
        let whole = bench.folder.read(&segment_name(1), 1 << 20).unwrap().unwrap();
        let lines: Vec<&[u8]> = whole.split_inclusive(|byte| *byte == b'\n').collect();
        let action = |line: &[u8]| String::from_utf8_lossy(crate::record::action_of(line)).into_owned();
        let stolen = bench.folder.read("signing.key", 4096).unwrap().unwrap();
        let last_epoch = lines.iter().rposition(|line| action(line) == "ledger.epoch").unwrap();
        // He has the state as it is, a program without scruples, and all the time he wants.
        for kept in 1..=lines.len() {
            let text: Vec<u8> = lines.iter().take(kept).copied().flatten().copied().collect();
            bench.folder.write(&segment_name(1), &text).unwrap();
            bench.folder.write("signing.key", &stolen).unwrap();
            let now = Timestamp::now();
            let (mut position, mut file) = opening::open(&bench.folder, &bench.vault, &[], now).unwrap();
            (position.name, position.length, position.tampering) = (segment_name(1), bytes_of(&text), None);
            // He counts keys as the book does there, and has only the one.
            let ended = lines.iter().take(kept).filter(|line| action(line) == "ledger.epoch").count();
            file.epoch = u64::try_from(ended).unwrap();
            assert_eq!(position.chain.tree.size(), bytes_of(&lines[..kept]));
            let keys = Keys::new(bench.vault.clone(), file, options.epoch, now);
            let stamp = Stamp::new("boot".into(), options.clock, now);
            bench.journal = Journal::new(bench.disk.clone(), position, keys, stamp, options.clone());
            for _ in 0..6 {
                bench.append(&["forged"]).unwrap();
            }
            let report = verified(&bench);
            let expected = if kept > last_epoch { Outcome::Intact } else { Outcome::Tampered };
            assert_eq!(report.outcome, expected, "forged behind record {kept}: {:?}", report.problems);
        }
    }

    fn bytes_of<T>(slice: &[T]) -> u64 {
        u64::try_from(slice.len()).unwrap()
    }
}
