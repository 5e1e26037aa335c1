//! The segment that is being written: batches go on disk as a whole or are taken back.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use moltbot_config::limits;
use moltbot_policy::{Decision, Entry};

use crate::disk::{Disk, Segment};
use crate::error::LedgerError;
use crate::opening::{Position, segment_name};
use crate::record::{Body, Chain, Stamp};

/// The end of the book, and the only writer there is.
#[derive(Debug)]
pub(crate) struct Journal<D: Disk> {
    disk: D,
    /// Nothing after a failure: the handle that failed is never used again.
    segment: Option<D::Segment>,
    name: String,
    /// How long the segment is without what failed.
    length: u64,
    chain: Chain,
    stamp: Stamp,
    /// Records refused since the last one that was written.
    refused: u64,
    flushes: Arc<AtomicU64>,
    /// The size at which a segment ends.
    full: u64,
    /// The lines of the last batch, for the views.
    written: String,
}

impl<D: Disk> Journal<D> {
    pub(crate) fn new(disk: D, end: Position, stamp: Stamp, flushes: Arc<AtomicU64>) -> Self {
        let Position { name, length, chain, torn: _ } = end;
        let full = limits::LEDGER_SEGMENT_BYTES;
        Self {
            disk,
            segment: None,
            name,
            length,
            chain,
            stamp,
            refused: 0,
            flushes,
            full,
            written: String::new(),
        }
    }

    /// Writes a batch and returns the number of its first record when all of it is on disk.
    ///
    /// After an error nothing of it is in the book, and the next batch goes through a new handle: the kernel
    /// reports a lost write once, and then forgets it.
    pub(crate) fn append(&mut self, batch: &[Body]) -> Result<u64, LedgerError> {
        let error = match self.try_append(batch) {
            Ok(first) => return Ok(first),
            Err(error) => error,
        };
        let refused = u64::try_from(batch.len()).unwrap_or(u64::MAX);
        if self.refused == 0 {
            tracing::error!(error = error.told(), "the book cannot be written; what needs it is refused");
        }
        self.refused = self.refused.saturating_add(refused);
        self.segment = None;
        // At once, so that a crash from now on finds a whole book.
        if let Err(error) = self.reopen() {
            tracing::debug!(error = error.told(), "the book stays closed until the next record");
        }
        Err(error)
    }

    /// The lines of the last batch that was written, once.
    pub(crate) fn take_written(&mut self) -> String {
        std::mem::take(&mut self.written)
    }

    fn try_append(&mut self, batch: &[Body]) -> Result<u64, LedgerError> {
        if self.segment.is_none() {
            self.reopen()?;
        }
        let mut chain = self.chain.clone();
        let mut lines = String::with_capacity(batch.iter().map(|body| body.length() + 512).sum());
        if self.refused > 0 {
            chain.write(&self.resumed(), &self.stamp, &mut lines);
        }
        let first = chain.sequence;
        for body in batch {
            chain.write(body, &self.stamp, &mut lines);
        }
        let added = u64::try_from(lines.len()).unwrap_or(u64::MAX);
        if self.length > 0 && self.length.saturating_add(added) > self.full {
            self.rotate()?;
        }
        self.write(lines.as_bytes())?;
        self.length = self.length.saturating_add(added);
        self.chain = chain;
        self.refused = 0;
        self.written = lines;
        Ok(first)
    }

    fn write(&mut self, lines: &[u8]) -> Result<(), LedgerError> {
        let (name, expected) = (&self.name, self.length);
        let changed = |found| LedgerError::Changed { path: PathBuf::from(name), expected, found };
        let segment = self.segment.as_mut().ok_or_else(|| changed(0))?;
        // Asked before every flush: a segment that was cut or removed must not swallow what follows.
        let found = segment.length()?;
        if found != expected {
            return Err(changed(found));
        }
        segment.write_all(lines)?;
        segment.sync_data()?;
        self.flushes.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Opens the segment again and cuts off what is not known to be on disk.
    fn reopen(&mut self) -> Result<(), LedgerError> {
        let segment = self.disk.open(&self.name)?;
        let found = segment.length()?;
        if found < self.length {
            let path = PathBuf::from(&self.name);
            return Err(LedgerError::Changed { path, expected: self.length, found });
        }
        if found > self.length {
            segment.truncate(self.length)?;
        }
        self.segment = Some(segment);
        Ok(())
    }

    /// Goes on in a new segment, named by its first record.
    fn rotate(&mut self) -> Result<(), LedgerError> {
        let name = segment_name(self.chain.sequence);
        self.segment = Some(self.disk.open(&name)?);
        (self.name, self.length) = (name, 0);
        Ok(())
    }

    fn resumed(&self) -> Body {
        let entry = Entry::new("gateway", "ledger.resumed", self.name.as_str(), Decision::Done);
        Body::of(&entry.with("refused", self.refused.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use moltbot_vault::StateDir;
    use tempfile::{TempDir, tempdir};

    use super::*;
    use crate::disk::{Fault, FaultyDisk};
    use crate::opening::find_end;

    struct Bench {
        _home: TempDir,
        folder: StateDir,
        disk: FaultyDisk,
        journal: Journal<FaultyDisk>,
    }

    impl Bench {
        fn new() -> Self {
            let home = tempdir().unwrap();
            let folder = StateDir::open_or_create(home.path()).unwrap();
            let disk = FaultyDisk::new(folder.clone());
            let end = find_end(&folder).unwrap();
            let journal = Journal::new(disk.clone(), end, Stamp::new("boot".into()), Arc::default());
            Self { _home: home, folder, disk, journal }
        }

        fn append(&mut self, targets: &[&str]) -> Result<u64, LedgerError> {
            let entry = |target: &&str| Entry::new("a", "b.c", *target, Decision::Done);
            let bodies: Vec<Body> = targets.iter().map(|target| Body::of(&entry(target))).collect();
            self.journal.append(&bodies)
        }

        /// Action and target of every record, in the order of the files.
        fn records(&self) -> Vec<String> {
            let names = self.folder.list().unwrap();
            let text: Vec<u8> =
                names.iter().flat_map(|name| self.folder.read(name, 1 << 20).unwrap().unwrap()).collect();
            let mut chain = Chain::genesis();
            let lines = text.strip_suffix(b"\n").unwrap_or_default().split(|byte| *byte == b'\n');
            let described = lines.map(|line| {
                chain.check(line).unwrap();
                let value: serde_json::Value = serde_json::from_slice(line).unwrap();
                match value["action"].as_str().unwrap() {
                    "b.c" => value["target"].as_str().unwrap().to_owned(),
                    action => format!("{action} {}", value["details"]["refused"].as_str().unwrap()),
                }
            });
            described.collect()
        }
    }

    #[test]
    fn after_each_fault_nothing_of_the_batch_is_left_and_the_book_goes_on_through_a_new_handle() {
        for fault in [Fault::Full, Fault::Short, Fault::Sync] {
            let mut bench = Bench::new();
            assert_eq!(bench.append(&["one"]).unwrap(), 1);
            bench.disk.set(fault);
            assert!(bench.append(&["lost", "also lost"]).is_err(), "{fault:?}");
            assert_eq!(bench.records(), ["one"], "after {fault:?}");
            bench.disk.set(Fault::None);
            assert_eq!(bench.append(&["two", "three"]).unwrap(), 3, "after {fault:?}");
            assert_eq!(bench.records(), ["one", "ledger.resumed 2", "two", "three"], "after {fault:?}");
            assert_eq!(bench.append(&["four"]).unwrap(), 5);
        }
    }

    #[test]
    fn a_full_disk_is_refused_for_as_long_as_it_is_full() {
        let mut bench = Bench::new();
        bench.append(&["one"]).unwrap();
        bench.disk.set(Fault::Full);
        for attempt in 0..5 {
            let told = bench.append(&["lost"]).unwrap_err().told();
            assert!(told.contains("no space left"), "attempt {attempt}: {told}");
        }
        bench.disk.set(Fault::None);
        bench.append(&["two"]).unwrap();
        assert_eq!(bench.records(), ["one", "ledger.resumed 5", "two"]);
    }

    #[test]
    fn a_disk_that_is_gone_is_asked_again_through_a_new_handle() {
        let mut bench = Bench::new();
        bench.append(&["one"]).unwrap();
        bench.disk.set(Fault::Dead);
        for _ in 0..3 {
            assert!(bench.append(&["lost"]).is_err());
        }
        bench.disk.set(Fault::None);
        bench.append(&["two"]).unwrap();
        assert_eq!(bench.records(), ["one", "ledger.resumed 3", "two"]);
    }

    #[test]
    fn a_segment_that_is_full_is_followed_by_one_that_carries_on_the_chain() {
        let mut bench = Bench::new();
        bench.journal.full = 700;
        for target in ["one", "two", "three", "four", "five"] {
            bench.append(&[target]).unwrap();
        }
        let names: Vec<String> = [1, 3, 5].map(segment_name).into();
        assert_eq!(bench.folder.list().unwrap(), names);
        assert_eq!(bench.records(), ["one", "two", "three", "four", "five"]);
        let end = find_end(&bench.folder).unwrap();
        assert_eq!((end.name, end.chain), (segment_name(5), bench.journal.chain.clone()));
    }

    #[test]
    fn a_new_segment_that_could_not_be_written_is_found_empty_and_used() {
        let mut bench = Bench::new();
        bench.journal.full = 500; // a record has about 300 bytes: its times have more digits or fewer
        bench.append(&["one"]).unwrap();
        bench.disk.set(Fault::Short);
        assert!(bench.append(&["lost"]).is_err());
        let end = find_end(&bench.folder).unwrap();
        assert_eq!((end.name, end.length), (segment_name(2), 0));
        bench.disk.set(Fault::None);
        bench.append(&["two"]).unwrap();
        assert_eq!(bench.records(), ["one", "ledger.resumed 1", "two"]);
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
}
