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
}

impl<D: Disk> Journal<D> {
    pub(crate) fn new(disk: D, end: Position, stamp: Stamp, flushes: Arc<AtomicU64>) -> Self {
        let Position { name, length, chain, torn: _ } = end;
        let full = limits::LEDGER_SEGMENT_BYTES;
        Self { disk, segment: None, name, length, chain, stamp, refused: 0, flushes, full }
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
