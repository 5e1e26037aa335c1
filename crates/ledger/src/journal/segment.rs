//! The segment's file: written to, opened again after a failure, ended and followed by another one.

use std::path::PathBuf;
use std::sync::atomic::Ordering;

use jiff::SignedDuration;

use super::{Journal, Sign};
use crate::disk::{Disk, Segment as _};
use crate::error::LedgerError;
use crate::record::Body;
use crate::segments::segment_name;

impl<D: Disk> Journal<D> {
    /// Writes lines to the end of the segment and waits for the disk.
    pub(super) fn write(&mut self, lines: &[u8]) -> Result<(), LedgerError> {
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
    pub(super) fn reopen(&mut self) -> Result<(), LedgerError> {
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

    /// Whether the segment ends before this batch: it is full or old.
    pub(super) fn is_over(&mut self, batch: &[Body]) -> bool {
        let added = u64::try_from(estimate(batch)).unwrap_or(u64::MAX);
        let age = SignedDuration::try_from(self.options.segment_age).unwrap_or(SignedDuration::MAX);
        let is_full = self.length.saturating_add(added) > self.options.segment_bytes;
        self.length > 0
            && !self.is_unsigned
            && (is_full || self.stamp.peek().duration_since(self.begun) >= age)
    }

    /// Signs for the segment and goes on in a new one, named by its first record.
    pub(super) fn end_segment(&mut self) -> Result<(), LedgerError> {
        if self.is_dirty() {
            self.flush(&[], Sign::Now)?;
        }
        let name = segment_name(self.chain.sequence());
        self.segment = Some(self.disk.open(&name)?);
        (self.name, self.length, self.begun) = (name, 0, self.stamp.peek());
        (self.is_forgetful, self.is_pruning_due) = (true, true);
        Ok(())
    }
}

/// About how many bytes a batch has as lines, and no fewer.
pub(super) fn estimate(batch: &[Body]) -> usize {
    batch.iter().map(|body| body.length().saturating_add(512)).sum()
}
