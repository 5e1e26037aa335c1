//! Looking into the book without its lock: what it says, not whether it was changed. Everything streams: memory
//! does not grow with the book.

mod explain;
mod following;
mod lines;
mod record;
mod render;
mod search;

use std::ops::RangeInclusive;

use moltbot_config::limits;
use moltbot_vault::{FileError, ReadFile, StateDir};
use thiserror::Error;

use crate::segments;
use lines::Forward;

pub use explain::{Explanation, Node, explain};
pub use following::{Following, Item};
pub(crate) use lines::Backward;
pub use record::Record;
pub use render::{line as render_line, tree as render_tree};
pub use search::{Filter, search};

/// Why the book could not be looked into.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum QueryError {
    /// The disk refused.
    #[error("the book cannot be read")]
    File(#[from] FileError),
}

/// The book, opened to be read: the folder that its segments are in.
#[derive(Clone, Debug)]
pub struct Reader {
    folder: StateDir,
}

impl Reader {
    /// Reads the segments in `folder`.
    pub const fn of(folder: StateDir) -> Self {
        Self { folder }
    }

    /// The records from number `first` on, in order.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn records(&self, first: u64) -> Result<Records, QueryError> {
        self.range(first..=u64::MAX)
    }

    /// The records of a range of numbers, in order.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn range(&self, range: RangeInclusive<u64>) -> Result<Records, QueryError> {
        let mut segments = self.segments()?;
        // The last segment that begins before the range is the first that is needed.
        let needed = segments.partition_point(|(number, _)| number <= range.start()).saturating_sub(1);
        segments.drain(..needed);
        segments.reverse();
        Ok(Records { folder: self.folder.clone(), segments, lines: None, range, skipped: 0 })
    }

    /// The record with a number.
    ///
    /// # Errors
    /// When the book cannot be read.
    pub fn show(&self, sequence: u64) -> Result<Option<Record>, QueryError> {
        self.range(sequence..=sequence)?.next_record()
    }

    /// The last `count` records, in order; [`limits::LEDGER_READ`] at most. To follow a book, ask for
    /// [`Self::records`] behind the last of them again and again.
    ///
    /// # Errors
    /// When the book cannot be read.
    pub fn tail(&self, count: usize) -> Result<Vec<Record>, QueryError> {
        let mut records = Vec::new();
        self.backward(|record| {
            records.push(record);
            records.len() < count.min(limits::LEDGER_READ)
        })?;
        records.reverse();
        records.truncate(count);
        Ok(records)
    }

    /// Gives every record, the newest first, for as long as `wanted` wants more. Tells how many
    /// lines were passed over because they are none of a record.
    fn backward(&self, mut wanted: impl FnMut(Record) -> bool) -> Result<u64, QueryError> {
        let mut skipped = 0_u64;
        for (_, name) in self.segments()?.into_iter().rev() {
            let Some(file) = self.open(&name)? else { continue };
            let length = file.len()?;
            let mut lines = Backward::new(file, length, limits::LEDGER_LINE_BYTES);
            while let Some(line) = lines.next()? {
                let Some(record) = Record::parse(&line) else {
                    skipped = skipped.saturating_add(1);
                    continue;
                };
                if !wanted(record) {
                    return Ok(skipped);
                }
            }
            skipped = skipped.saturating_add(lines.skipped());
        }
        Ok(skipped)
    }

    /// The numbers and names of the segments, in order.
    fn segments(&self) -> Result<Vec<(u64, String)>, QueryError> {
        let names = segments::list(&self.folder)?.into_iter().map(|segment| segment.name);
        let number = |name: &str| name.split('.').next().and_then(|digits| digits.parse().ok());
        Ok(names.filter_map(|name| Some((number(&name)?, name))).collect())
    }

    fn open(&self, name: &str) -> Result<Option<ReadFile>, QueryError> {
        match self.folder.open_file(name) {
            Err(FileError::Missing { .. }) => Ok(None), // its time was over
            opened => Ok(Some(opened?)),
        }
    }
}

/// Records, one after the other.
#[derive(Debug)]
pub struct Records {
    folder: StateDir,
    /// Segments that were not begun, the next one last.
    segments: Vec<(u64, String)>,
    lines: Option<Forward<ReadFile>>,
    range: RangeInclusive<u64>,
    skipped: u64,
}

impl Records {
    /// Lines so far that are none of a record.
    pub const fn skipped(&self) -> u64 {
        self.skipped
    }

    /// The next record.
    ///
    /// # Errors
    /// When the book cannot be read.
    pub fn next_record(&mut self) -> Result<Option<Record>, QueryError> {
        Ok(self.next_line()?.map(|(record, _)| record))
    }

    /// The next record with its line as it stands in the book.
    ///
    /// # Errors
    /// When the book cannot be read.
    pub fn next_line(&mut self) -> Result<Option<(Record, Vec<u8>)>, QueryError> {
        loop {
            let Some(lines) = &mut self.lines else {
                if !self.open_next()? {
                    return Ok(None);
                }
                continue;
            };
            let Some(line) = lines.next()? else {
                self.skipped = self.skipped.saturating_add(lines.skipped());
                self.lines = None;
                continue;
            };
            match Record::parse(&line) {
                None => self.skipped = self.skipped.saturating_add(1),
                Some(record) if record.seq > *self.range.end() => return Ok(None),
                Some(record) if record.seq < *self.range.start() => {}
                Some(record) => return Ok(Some((record, line))),
            }
        }
    }

    fn open_next(&mut self) -> Result<bool, QueryError> {
        let Some((_, name)) = self.segments.pop() else { return Ok(false) };
        match self.folder.open_file(&name) {
            Err(FileError::Missing { .. }) => {}
            opened => self.lines = Some(Forward::new(opened?, limits::LEDGER_LINE_BYTES)),
        }
        Ok(true)
    }
}
