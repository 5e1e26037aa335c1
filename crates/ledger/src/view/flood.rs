//! How much somebody who is not let in can write into a view: some lines for each source and minute, some for each
//! minute in all. What is beyond is counted, and the counts are written when the minute is over.

use std::collections::HashMap;

use super::line::Line;

const MINUTE: i64 = 60_000;

/// The lines of one minute.
#[derive(Debug)]
pub(super) struct Flood {
    /// Lines of one source in one minute before they are counted.
    each: u32,
    /// Lines of one minute before they are counted, whoever they are of.
    all: u32,
    minute: i64,
    written: u32,
    /// Bounded by `all`: a source that is beyond that is not remembered.
    sources: HashMap<String, Source>,
    beyond: Repeats,
}

#[derive(Debug, Default)]
struct Source {
    written: u32,
    repeats: Repeats,
}

/// What was counted and not written.
#[derive(Debug, Default)]
struct Repeats {
    count: i64,
    first: i64,
    last: i64,
    /// The last of them, but for its count.
    line: Option<Line>,
}

impl Flood {
    pub(super) fn new(each: u32, all: u32) -> Self {
        let beyond = Repeats::default();
        Self { each, all, minute: i64::MIN, written: 0, sources: HashMap::new(), beyond }
    }

    /// The line that is to be written for something that `source` did `count` times, unless it is counted.
    pub(super) fn admit(&mut self, source: &str, at: i64, count: i64, line: Line) -> Option<String> {
        let known = self.sources.get(source).map_or(0, |source| source.written);
        if known == 0 && self.written >= self.all {
            self.beyond.add(at, count, None);
            return None;
        }
        let entry = self.sources.entry(source.to_owned()).or_default();
        if known >= self.each || self.written >= self.all {
            entry.repeats.add(at, count, Some(line));
            return None;
        }
        entry.written = entry.written.saturating_add(1);
        self.written = self.written.saturating_add(1);
        Some(line.number("count", (count > 1).then_some(count)).end())
    }

    /// Lines for what was counted in a minute that is over at `now`. `rest` is the beginning of the line for
    /// sources that were too many to tell apart.
    pub(super) fn pass(&mut self, now: i64, rest: impl FnOnce(i64) -> Line) -> Vec<String> {
        let minute = now.div_euclid(MINUTE);
        if minute == self.minute {
            return Vec::new();
        }
        let lines = self.close(rest);
        self.minute = minute;
        lines
    }

    /// Lines for what was counted so far.
    pub(super) fn close(&mut self, rest: impl FnOnce(i64) -> Line) -> Vec<String> {
        self.written = 0;
        let mut repeats: Vec<Repeats> = self.sources.drain().map(|(_, source)| source.repeats).collect();
        let mut beyond = std::mem::take(&mut self.beyond);
        beyond.line = (beyond.count > 0).then(|| rest(beyond.last));
        repeats.push(beyond);
        repeats.retain(|repeats| repeats.count > 0);
        repeats.sort_by_key(|repeats| (repeats.last, repeats.first, repeats.count));
        repeats.into_iter().filter_map(Repeats::end).collect()
    }
}

impl Repeats {
    fn add(&mut self, at: i64, count: i64, line: Option<Line>) {
        if self.count == 0 {
            self.first = at;
        }
        self.count = self.count.saturating_add(count);
        (self.last, self.line) = (at, line);
    }

    fn end(self) -> Option<String> {
        Some(self.line?.number("count", Some(self.count)).number("since", Some(self.first)).end())
    }
}
