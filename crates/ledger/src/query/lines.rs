//! Lines of a file that grows at its end, from its beginning or from its end, with bounded memory.

use moltbot_vault::{FileError, ReadFile};

/// How much is read at once.
const CHUNK: usize = 64 * 1024;

/// Something that can be read at a place. Lets tests read without a disk.
pub(crate) trait Source {
    fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, FileError>;
}

impl Source for ReadFile {
    fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, FileError> {
        self.read_at(offset, buffer)
    }
}

/// Whole lines from the first to the last. One that is longer than `longest` is left out and counted, and so is
/// an end without a line feed: it is being written, or was torn.
#[derive(Debug)]
pub(crate) struct Forward<S> {
    source: S,
    offset: u64,
    pending: Vec<u8>,
    /// Bytes at the beginning of `pending` that were given away.
    given: usize,
    longest: usize,
    /// Whether `pending` continues a line that is too long.
    overlong: bool,
    skipped: u64,
}

impl<S: Source> Forward<S> {
    pub(crate) const fn new(source: S, longest: usize) -> Self {
        Self { source, offset: 0, pending: Vec::new(), given: 0, longest, overlong: false, skipped: 0 }
    }

    /// Lines that were left out so far.
    pub(crate) const fn skipped(&self) -> u64 {
        self.skipped
    }

    /// The next line, without its line feed.
    pub(crate) fn next(&mut self) -> Result<Option<Vec<u8>>, FileError> {
        loop {
            let rest = self.pending.get(self.given..).unwrap_or_default();
            if let Some(length) = rest.iter().position(|byte| *byte == b'\n') {
                let line = rest.get(..length).unwrap_or_default().to_vec();
                self.given = self.given.saturating_add(length).saturating_add(1);
                if std::mem::take(&mut self.overlong) || line.len() > self.longest {
                    self.skipped = self.skipped.saturating_add(1);
                    continue;
                }
                return Ok(Some(line));
            }
            if rest.len() > self.longest {
                (self.overlong, self.given) = (true, self.pending.len());
            }
            if !self.fill()? {
                return Ok(None);
            }
        }
    }

    /// Gives back what was read beyond the lines that were given: it is read again when it is needed.
    pub(crate) fn forget_ahead(&mut self) {
        let ahead = self.pending.len().saturating_sub(self.given);
        self.offset = self.offset.saturating_sub(u64::try_from(ahead).unwrap_or(u64::MAX));
        (self.pending, self.given) = (Vec::new(), 0);
    }

    /// Whether there is more to be read than when the end was met.
    pub(crate) fn has_grown(&mut self) -> Result<bool, FileError> {
        self.fill()
    }

    /// Reads more; `false` at the end.
    fn fill(&mut self) -> Result<bool, FileError> {
        self.pending.drain(..self.given.min(self.pending.len()));
        self.given = 0;
        let mut chunk = vec![0; CHUNK];
        let read = self.source.read(self.offset, &mut chunk)?;
        self.offset = self.offset.saturating_add(u64::try_from(read).unwrap_or(u64::MAX));
        self.pending.extend_from_slice(chunk.get(..read).unwrap_or_default());
        Ok(read > 0)
    }
}

/// Whole lines from the last to the first, as [`Forward`] gives them.
#[derive(Debug)]
pub(crate) struct Backward<S> {
    source: S,
    /// Where `pending` begins in the file.
    start: u64,
    pending: Vec<u8>,
    longest: usize,
    overlong: bool,
    /// Whether what is behind the last line feed was looked at.
    began: bool,
    skipped: u64,
}

impl<S: Source> Backward<S> {
    /// Reads back from `length`, which is where the file ended when it was looked at.
    pub(crate) const fn new(source: S, length: u64, longest: usize) -> Self {
        Self {
            source,
            start: length,
            pending: Vec::new(),
            longest,
            overlong: false,
            began: false,
            skipped: 0,
        }
    }

    pub(crate) const fn skipped(&self) -> u64 {
        self.skipped
    }

    /// The line before, without its line feed.
    pub(crate) fn next(&mut self) -> Result<Option<Vec<u8>>, FileError> {
        loop {
            let feed = self.pending.iter().rposition(|byte| *byte == b'\n');
            let line = match feed {
                Some(at) => {
                    let line = self.pending.split_off(at.saturating_add(1));
                    self.pending.truncate(at);
                    line
                }
                None if self.start > 0 => {
                    if self.pending.len() > self.longest {
                        (self.overlong, self.pending) = (true, Vec::new());
                    }
                    self.fill()?;
                    continue;
                }
                None if self.pending.is_empty() && !self.overlong => return Ok(None),
                None => std::mem::take(&mut self.pending),
            };
            let ended = std::mem::replace(&mut self.began, true);
            let overlong = std::mem::take(&mut self.overlong) || line.len() > self.longest;
            if !ended && line.is_empty() && !overlong {
                continue; // the file ends in a line feed, as it should
            }
            if ended && !overlong {
                return Ok(Some(line));
            }
            self.skipped = self.skipped.saturating_add(1);
        }
    }

    fn fill(&mut self) -> Result<(), FileError> {
        let step = self.start.min(u64::try_from(CHUNK).unwrap_or(u64::MAX));
        let from = self.start.saturating_sub(step);
        let mut chunk = vec![0; usize::try_from(step).unwrap_or(CHUNK)];
        let mut filled = 0;
        while let Some(free) = chunk.get_mut(filled..).filter(|free| !free.is_empty()) {
            let offset = from.saturating_add(u64::try_from(filled).unwrap_or(u64::MAX));
            match self.source.read(offset, free)? {
                0 => break, // it was cut meanwhile
                read => filled = filled.saturating_add(read),
            }
        }
        chunk.truncate(filled);
        chunk.append(&mut self.pending);
        (self.pending, self.start) = (chunk, from);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Source for &[u8] {
        fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, FileError> {
            let rest = &self[usize::try_from(offset).unwrap().min(self.len())..];
            let count = rest.len().min(buffer.len()).min(1000);
            buffer[..count].copy_from_slice(&rest[..count]);
            Ok(count)
        }
    }

    fn both(text: &str, longest: usize) -> (Vec<String>, u64) {
        let text = text.as_bytes();
        let mut forward = Forward::new(text, longest);
        let mut lines = Vec::new();
        while let Some(line) = forward.next().unwrap() {
            lines.push(String::from_utf8(line).unwrap());
        }
        let mut backward = Backward::new(text, u64::try_from(text.len()).unwrap(), longest);
        let mut back = Vec::new();
        while let Some(line) = backward.next().unwrap() {
            back.push(String::from_utf8(line).unwrap());
        }
        back.reverse();
        assert_eq!(back, lines, "backward as forward");
        let torn = u64::from(!text.is_empty() && !text.ends_with(b"\n"));
        assert_eq!(backward.skipped(), forward.skipped() + torn);
        (lines, forward.skipped())
    }

    #[test]
    fn lines_are_the_same_from_both_ends_and_what_is_too_long_or_torn_is_left_out() {
        let none: [&str; 0] = [];
        assert_eq!(both("", 10), (none.map(String::from).to_vec(), 0));
        assert_eq!(both("a\n\nb\n", 10), (["a", "", "b"].map(String::from).to_vec(), 0));
        assert_eq!(both("a\nb", 10), (["a"].map(String::from).to_vec(), 0));
        let long = "x".repeat(200_000);
        let text = format!("a\n{long}\nb\n{long}\nc\n");
        assert_eq!(both(&text, 1000), (["a", "b", "c"].map(String::from).to_vec(), 2));
        let text = format!("{long}\nb\n");
        assert_eq!(both(&text, 1000), (["b"].map(String::from).to_vec(), 1));
        let many: String = (0..50_000).map(|n| format!("{n}\n")).collect();
        assert_eq!(both(&many, 1000).0.len(), 50_000);
    }
}
