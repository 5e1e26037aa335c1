//! Follows the book as it grows, across its segments, for those who send it elsewhere. What is missing is told.

use moltbot_vault::{FileError, ReadFile};

use moltbot_config::limits;

use super::{QueryError, Reader, Record};
use crate::query::lines::Forward;
use crate::record::sequence_of;

/// What comes next in a book.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Item {
    /// Records that are not there: pruned, or no records any more.
    Gap {
        /// The number of the first of them.
        first: u64,
        /// The number of the last of them.
        last: u64,
    },
    /// A record.
    Record(Box<Record>),
}

impl Item {
    /// The number of the last record that this is about.
    pub fn last(&self) -> u64 {
        match self {
            Self::Gap { last, .. } => *last,
            Self::Record(record) => record.seq,
        }
    }
}

/// A place in a book that goes on growing. Reads each line once, and remembers where it was.
#[derive(Debug)]
pub struct Following {
    reader: Reader,
    next: u64,
    open: Option<Open>,
    /// Whether the segment was read anew because of what comes next.
    looked_again: bool,
}

/// A segment that is being read.
#[derive(Debug)]
struct Open {
    /// The number in its name.
    number: u64,
    lines: Forward<ReadFile>,
}

impl Following {
    /// Begins at the record with number `next`.
    pub const fn new(reader: Reader, next: u64) -> Self {
        Self { reader, next, open: None, looked_again: false }
    }

    /// What comes next, no further than record `until`; nothing when that is not there yet.
    fn next(&mut self, until: u64) -> Result<Option<Item>, QueryError> {
        while self.next <= until {
            let Some(line) = self.line()? else { return Ok(None) };
            match line {
                Line::Before => {}
                Line::Gap(last) if !self.looked_again => {
                    // What was read ahead may have been taken back since, and written anew.
                    tracing::debug!(self.next, last, "the book is looked at again");
                    (self.looked_again, self.open) = (true, None);
                }
                Line::Gap(last) => return Ok(Some(self.gap(last.min(until)))),
                Line::Record(record) => {
                    self.looked_again = false;
                    self.next = record.seq.saturating_add(1);
                    return Ok(Some(Item::Record(record)));
                }
            }
        }
        Ok(None)
    }

    /// Up to [`limits::LEDGER_SENT_RECORDS`] items of about [`limits::LEDGER_SENT_BYTES`] together, no further than record
    /// `until`. Say with `until` what is known to be on disk: lines behind it may still be taken back.
    ///
    /// # Errors
    /// When the book cannot be read.
    pub fn batch(&mut self, until: u64) -> Result<Vec<Item>, QueryError> {
        let (mut items, mut bytes) = (Vec::new(), 0_usize);
        while items.len() < limits::LEDGER_SENT_RECORDS && bytes < limits::LEDGER_SENT_BYTES {
            let Some(item) = self.next(until)? else { break };
            bytes = bytes.saturating_add(size(&item));
            items.push(item);
        }
        if let Some(open) = &mut self.open {
            open.lines.forget_ahead();
        }
        Ok(items)
    }

    fn gap(&mut self, last: u64) -> Item {
        let first = self.next;
        self.next = last.saturating_add(1);
        Item::Gap { first, last }
    }

    /// The next line that is one of a record.
    fn line(&mut self) -> Result<Option<Line>, QueryError> {
        loop {
            let Some(open) = &mut self.open else {
                if !self.open_for_next()? {
                    return Ok(None);
                }
                continue;
            };
            if let Some(line) = open.lines.next()? {
                if let Some(line) = self.judge(&line) {
                    return Ok(Some(line));
                }
                continue;
            }
            let number = open.number;
            match self.segment_behind(number)? {
                None => return Ok(None),
                // The writer may have added to this one before it began the next.
                Some(_) if self.reads_on()? => {}
                Some(behind) => drop(self.open_number(behind)?),
            }
        }
    }

    /// What a line is, seen from the place; nothing when it is none of a record.
    fn judge(&mut self, line: &[u8]) -> Option<Line> {
        let sequence = sequence_of(line)?;
        // Most lines before the place are passed over without being read.
        if sequence < self.next {
            return Some(Line::Before);
        }
        let record = Record::parse(line)?;
        if record.seq > self.next {
            // It comes again, behind the gap.
            self.open = None;
            return Some(Line::Gap(record.seq.saturating_sub(1)));
        }
        Some(Line::Record(Box::new(record)))
    }

    /// Whether the open segment has grown since its end was met.
    fn reads_on(&mut self) -> Result<bool, QueryError> {
        match &mut self.open {
            Some(open) => Ok(open.lines.has_grown()?),
            None => Ok(false),
        }
    }

    /// The number of the segment behind the one with `number`.
    fn segment_behind(&self, number: u64) -> Result<Option<u64>, QueryError> {
        Ok(self.reader.segments()?.into_iter().map(|(other, _)| other).find(|other| *other > number))
    }

    /// Opens the segment in which the next record is, or the first behind it.
    fn open_for_next(&mut self) -> Result<bool, QueryError> {
        let segments = self.reader.segments()?;
        let at = segments.partition_point(|(number, _)| *number <= self.next).saturating_sub(1);
        match segments.get(at) {
            None => Ok(false),
            Some((number, _)) => self.open_number(*number),
        }
    }

    fn open_number(&mut self, number: u64) -> Result<bool, QueryError> {
        let name = crate::segments::segment_name(number);
        match self.reader.folder.open_file(&name) {
            // It was pruned since it was listed: the list is looked at again.
            Err(FileError::Missing { .. }) => self.open = None,
            opened => {
                let lines = Forward::new(opened?, limits::LEDGER_LINE_BYTES);
                self.open = Some(Open { number, lines });
            }
        }
        Ok(true)
    }
}

/// One line, seen from the place.
enum Line {
    /// It is before it.
    Before,
    /// It is further on: what is missing ends with this number.
    Gap(u64),
    /// It is the next.
    Record(Box<Record>),
}

/// What an item takes, about.
fn size(item: &Item) -> usize {
    let Item::Record(record) = item else { return 0 };
    let details = record.details.iter().map(|(name, value)| name.len().saturating_add(value.len()));
    details.fold(record.target.len(), usize::saturating_add).saturating_add(512)
}

#[cfg(test)]
mod tests {
    use tempfile::tempdir;

    use super::*;
    use crate::segments::segment_name;
    use moltbot_vault::StateDir;

    fn line(seq: u64) -> String {
        format!(
            "{{\"v\":1,\"seq\":{seq},\"ts\":\"2026-01-01T00:00:00.000000000Z\",\"mono\":1,\"boot\":\"b\",\"actor\":\"a\",\
             \"action\":\"b.c\",\"target\":\"t\",\"decision\":\"done\",\"details\":{{}},\"prev\":\"0\",\"h\":\"1\"}}\n"
        )
    }

    fn lines(range: std::ops::RangeInclusive<u64>) -> String {
        range.map(line).collect()
    }

    /// Numbers of records, and gaps as `first-last`.
    fn read(following: &mut Following, until: u64) -> Vec<String> {
        let told = |item| match item {
            Item::Gap { first, last } => format!("{first}-{last}"),
            Item::Record(record) => format!("{}{}", record.seq, record.target.trim_matches('t')),
        };
        following.batch(until).unwrap().into_iter().map(told).collect()
    }

    fn book() -> (tempfile::TempDir, StateDir) {
        let home = tempdir().unwrap();
        let folder = StateDir::open_or_create(home.path()).unwrap();
        (home, folder)
    }

    fn write(folder: &StateDir, first: u64, text: &str) {
        folder.write(&segment_name(first), text.as_bytes()).unwrap();
    }

    fn append(folder: &StateDir, first: u64, text: &str) {
        let path = folder.path().join(segment_name(first));
        #[expect(clippy::disallowed_methods, reason = "the writer of the book, in a test")]
        let mut file = std::fs::OpenOptions::new().append(true).open(path).unwrap();
        std::io::Write::write_all(&mut file, text.as_bytes()).unwrap();
    }

    #[test]
    fn a_book_is_followed_through_its_segments_as_it_grows_and_no_further_than_told() {
        let (_home, folder) = book();
        let mut following = Following::new(Reader::of(folder.clone()), 2);
        assert_eq!(read(&mut following, 9), [""; 0]);
        write(&folder, 1, &lines(1..=3));
        assert_eq!(read(&mut following, 2), ["2"]);
        assert_eq!(read(&mut following, 9), ["3"]);
        append(&folder, 1, &lines(4..=4));
        write(&folder, 5, &lines(5..=5));
        assert_eq!(read(&mut following, 9), ["4", "5"]);
        let sixth = line(6);
        let (half, rest) = sixth.split_at(20);
        append(&folder, 5, half);
        assert_eq!(read(&mut following, 9), [""; 0]);
        append(&folder, 5, rest);
        assert_eq!(read(&mut following, 9), ["6"]);
    }

    #[test]
    fn what_was_pruned_and_what_is_no_record_is_told_as_a_gap() {
        let (_home, folder) = book();
        write(&folder, 7, &lines(7..=8));
        write(&folder, 9, &format!("{}nothing\n{}", line(9), line(11)));
        write(&folder, 14, &lines(14..=14));
        let mut following = Following::new(Reader::of(folder.clone()), 3);
        assert_eq!(read(&mut following, 99), ["3-6", "7", "8", "9", "10-10", "11", "12-13", "14"]);
        // Pruned while it was open: what is open is read to its end.
        let mut following = Following::new(Reader::of(folder.clone()), 7);
        assert_eq!(read(&mut following, 7), ["7"]);
        folder.remove(&segment_name(7)).unwrap();
        folder.remove(&segment_name(9)).unwrap();
        assert_eq!(read(&mut following, 99), ["8", "9-13", "14"]);
    }

    #[test]
    fn a_line_that_was_taken_back_and_written_anew_is_read_anew() {
        let (_home, folder) = book();
        write(&folder, 1, &lines(1..=1));
        append(&folder, 1, &lines(2..=3));
        let mut following = Following::new(Reader::of(folder.clone()), 1);
        assert_eq!(read(&mut following, 1), ["1"]);
        // The flush failed: its line is cut off, and another is written.
        let path = folder.path().join(segment_name(1));
        #[expect(clippy::disallowed_methods, reason = "the writer of the book, in a test")]
        let file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
        file.set_len(line(1).len().try_into().unwrap()).unwrap();
        append(&folder, 1, &lines(2..=3).replace("\"t\"", "\"!\""));
        assert_eq!(read(&mut following, 3), ["2!", "3!"]);
    }
}
