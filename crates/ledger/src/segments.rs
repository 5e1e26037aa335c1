//! The files of a book: how they are named, and how their lines are read without holding them.

use std::io::{BufRead, BufReader, Read};

use moltbot_config::limits;
use moltbot_vault::{FileError, ReadFile, StateDir};

use crate::record::read_alone;

/// How much is read at once.
const CHUNK: usize = 256 * 1024;
/// The end of a segment's name.
const SEGMENT: &str = ".mlog";
/// Digits of a segment's name: those of the largest number.
const DIGITS: usize = 20;
/// The largest number of a record: what every reader of JSON counts exactly. At a million a second it takes 285 years.
pub(crate) const LARGEST: u64 = 1 << 53;
/// The most that a power cut can tear: what was being flushed, of which nobody was told that it is recorded.
pub(crate) const TEARABLE: usize = limits::LEDGER_BATCH_BYTES + limits::LEDGER_LINE_BYTES;
/// The smallest part that a disk writes as a whole, in bytes.
const BLOCK: u64 = 512;
/// One that was never written.
const WHOLE_BLOCK: [u8; 512] = [0; 512];
/// How much of a segment's end is looked at first; a line of ordinary length fits.
const WINDOW: usize = 8 * 1024;

/// A segment of the book.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Segment {
    pub(crate) name: String,
    /// The number of its first line, which is its name.
    pub(crate) first: u64,
}

/// The name of the segment whose first line is `sequence`.
pub(crate) fn segment_name(sequence: u64) -> String {
    format!("{sequence:0DIGITS$}{SEGMENT}")
}

/// The segments in `folder`, in order.
pub(crate) fn list(folder: &StateDir) -> Result<Vec<Segment>, FileError> {
    Ok(folder.list()?.into_iter().filter_map(segment_of).collect())
}

fn segment_of(name: String) -> Option<Segment> {
    let number = name.strip_suffix(SEGMENT)?;
    if number.len() != DIGITS || !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    // A number that no book reaches is kept as what does not fit, so that nobody can hide a file behind it.
    let first = number.parse().unwrap_or(u64::MAX);
    Some(Segment { name, first })
}

/// Lines of a segment, one after the other, in a buffer of their own.
pub(crate) struct Lines<R> {
    reader: BufReader<R>,
    line: Vec<u8>,
}

/// What comes next in a segment.
pub(crate) enum Next<'a> {
    /// Nothing.
    End,
    /// A line, without its line feed.
    Line(&'a [u8]),
    /// Bytes that no line feed ends within the longest length of a line.
    Partial,
}

impl Lines<ReadFile> {
    pub(crate) fn of(folder: &StateDir, name: &str) -> Result<Self, FileError> {
        Ok(Self { reader: BufReader::with_capacity(CHUNK, folder.open_file(name)?), line: Vec::new() })
    }
}

impl<R: Read> Lines<R> {
    pub(crate) fn next(&mut self) -> Result<Next<'_>, FileError> {
        self.line.clear();
        let limit = u64::try_from(limits::LEDGER_LINE_BYTES).unwrap_or(u64::MAX);
        let read = (&mut self.reader).take(limit).read_until(b'\n', &mut self.line);
        let read = read.map_err(|source| FileError::Io { act: "read", path: "a segment".into(), source })?;
        match self.line.strip_suffix(b"\n") {
            Some(line) => Ok(Next::Line(line)),
            None if read == 0 => Ok(Next::End),
            None => Ok(Next::Partial),
        }
    }
}

/// The first line of a segment, when it has a whole one.
pub(crate) fn first_line(folder: &StateDir, name: &str) -> Result<Option<Vec<u8>>, FileError> {
    let mut line = Vec::new();
    let limit = u64::try_from(limits::LEDGER_LINE_BYTES).unwrap_or(u64::MAX);
    let reader = BufReader::with_capacity(WINDOW, folder.open_file(name)?);
    let error = |source| FileError::Io { act: "read", path: name.into(), source };
    reader.take(limit).read_until(b'\n', &mut line).map_err(error)?;
    Ok(line.strip_suffix(b"\n").map(<[u8]>::to_vec))
}

/// The last line of a segment that was finished long ago; nothing when it does not end in a whole one.
pub(crate) fn last_line(folder: &StateDir, name: &str) -> Result<Option<Vec<u8>>, FileError> {
    let file = folder.open_file(name)?;
    let length = file.len()?;
    let mut window = WINDOW;
    loop {
        let offset = length.saturating_sub(u64::try_from(window).unwrap_or(u64::MAX));
        let tail = read_tail(&file, offset, window)?;
        let Some(lines) = tail.strip_suffix(b"\n") else { return Ok(None) };
        match lines.iter().rposition(|byte| *byte == b'\n') {
            Some(at) => return Ok(lines.get(at.saturating_add(1)..).map(<[u8]>::to_vec)),
            None if offset == 0 => return Ok(Some(lines.to_vec())),
            None if window > limits::LEDGER_LINE_BYTES => return Ok(None),
            None => window = window.saturating_mul(8),
        }
    }
}

/// Whether two segments meet: the last line of one is carried on by the first line of the other.
pub(crate) fn meet(folder: &StateDir, one: &Segment, other: &Segment) -> Result<bool, FileError> {
    let last = last_line(folder, &one.name)?;
    let first = first_line(folder, &other.name)?;
    let Some((last, first)) = last.zip(first) else { return Ok(false) };
    Ok(match (read_alone(&last), read_alone(&first)) {
        (Ok((before, hash, _)), Ok((number, _, carried))) => {
            before.checked_add(1) == Some(number) && number == other.first && hash == carried
        }
        _ => false,
    })
}

/// What is behind `offset`, and one byte more than `max` at most.
pub(crate) fn read_tail(file: &ReadFile, offset: u64, max: usize) -> Result<Vec<u8>, FileError> {
    let mut tail = vec![0; max.saturating_add(1)];
    let mut filled = 0;
    while let Some(free) = tail.get_mut(filled..).filter(|free| !free.is_empty()) {
        let read = file.read_at(offset.saturating_add(u64::try_from(filled).unwrap_or(u64::MAX)), free)?;
        if read == 0 {
            break;
        }
        filled = filled.saturating_add(read);
    }
    tail.truncate(filled);
    Ok(tail)
}

/// Whether what does not fit, behind `offset`, is an end that was being written when the power went: one last line, or
/// blocks that the disk never got and shows as zeros. Longer than [`TEARABLE`] is neither.
pub(crate) fn is_torn(tail: &[u8], offset: u64) -> bool {
    if tail.len() > TEARABLE {
        return false;
    }
    match tail.iter().position(|byte| *byte == b'\n') {
        None => true,
        Some(end) => end.saturating_add(1) == tail.len() || has_lost_block(tail.split_at(end).0, offset),
    }
}

/// Whether a line has a block of zeros in it: a whole one, or the rest of the one in which it begins.
fn has_lost_block(line: &[u8], offset: u64) -> bool {
    let zeros = line.iter().take_while(|byte| **byte == 0).count();
    let end = offset.saturating_add(u64::try_from(zeros).unwrap_or(u64::MAX));
    (zeros > 0 && end.is_multiple_of(BLOCK))
        || line.windows(WHOLE_BLOCK.len()).any(|window| window == WHOLE_BLOCK)
}

#[cfg(test)]
mod tests {
    use tempfile::tempdir;

    use super::*;

    #[test]
    fn segments_are_named_by_twenty_digits_and_nothing_else_is_one() {
        let home = tempdir().unwrap();
        let folder = StateDir::open_or_create(home.path()).unwrap();
        for name in [&segment_name(7), &segment_name(10), "1.mlog", "head", "00000000000000000001.mlog.torn"]
        {
            folder.write(name, b"x").unwrap();
        }
        let found: Vec<u64> = list(&folder).unwrap().iter().map(|segment| segment.first).collect();
        assert_eq!(found, [7, 10]);
        folder.write("99999999999999999999.mlog", b"x").unwrap();
        assert_eq!(list(&folder).unwrap().last().unwrap().first, u64::MAX);
    }

    #[test]
    fn ends_of_segments_are_found_whatever_the_length_of_their_lines() {
        let home = tempdir().unwrap();
        let folder = StateDir::open_or_create(home.path()).unwrap();
        for (length, before) in [(1, 0), (8191, 1), (8192, 5), (20_000, 3), (70_000, 0)] {
            let text = format!("{}{}\n", "a\n".repeat(before), "b".repeat(length));
            folder.write("x", text.as_bytes()).unwrap();
            assert_eq!(last_line(&folder, "x").unwrap().map(|line| line.len()), Some(length));
            let first = first_line(&folder, "x").unwrap().map(|line| line.len());
            assert_eq!(first, Some(if before > 0 { 1 } else { length }));
        }
        folder.write("x", b"a\nb").unwrap();
        assert_eq!(
            (last_line(&folder, "x").unwrap(), first_line(&folder, "x").unwrap()),
            (None, Some(b"a".into()))
        );
        folder.write("x", b"").unwrap();
        assert_eq!((last_line(&folder, "x").unwrap(), first_line(&folder, "x").unwrap()), (None, None));
    }

    #[test]
    fn an_end_is_torn_when_it_is_one_line_or_has_lost_a_block_and_not_by_a_single_zero() {
        let rest = b"x\n{}\n{}\n";
        let with = |zeros: usize| [vec![0; zeros].as_slice(), rest].concat();
        assert!(is_torn(b"{\"v\":1", 7) && is_torn(b"{}\n", 7) && is_torn(b"", 7) && is_torn(&[0; 9], 7));
        assert!(!is_torn(rest, 7) && !is_torn(&with(1), 7) && !is_torn(&with(504), 7));
        assert!(is_torn(&with(505), 7), "the rest of the block in which it begins");
        assert!(is_torn(&[b"{\"v\"".as_slice(), &with(512)].concat(), 7), "a whole one");
        assert!(!is_torn(&[rest.as_slice(), &with(512)].concat(), 7), "only the first line counts");
        assert!(!is_torn(&vec![b'x'; TEARABLE + 1], 7));
    }
}
