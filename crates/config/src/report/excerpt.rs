//! Lines of the file, as an error shows them: without the values that are not at fault.

use std::ops::Range;

use crate::path::is_unprintable;

/// Characters of a line that are shown on either side of the fault: a file without line ends is one line.
const AROUND: usize = 60;
/// The widest mark, in characters.
const MARK: usize = 40;

/// A text with what must not be shown of it.
#[derive(Debug)]
pub(crate) struct Source<'a> {
    text: &'a str,
    /// The offset at which each line begins.
    lines: Vec<usize>,
    /// What is hidden, sorted: texts, numbers, comments.
    hidden: Vec<Range<usize>>,
    /// Where the part that was understood ends; the rest is hidden.
    known: usize,
}

impl<'a> Source<'a> {
    pub(crate) fn new(text: &'a str, mut hidden: Vec<Range<usize>>, known: usize) -> Self {
        hidden.sort_by_key(|range| range.start);
        let starts =
            text.bytes().enumerate().filter(|(_, b)| *b == b'\n').map(|(at, _)| at.saturating_add(1));
        let lines = std::iter::once(0).chain(starts).collect();
        Self { text, lines, hidden, known }
    }

    /// Line and column of an offset, from 1; columns count characters.
    pub(crate) fn place(&self, at: usize) -> (usize, usize) {
        let line = self.lines.partition_point(|start| *start <= at);
        let start = self.line_start(line);
        let column = self.text.get(start..at).map_or(0, |before| before.chars().count());
        (line, column.saturating_add(1))
    }

    fn line_start(&self, line: usize) -> usize {
        self.lines.get(line.saturating_sub(1)).copied().unwrap_or(0)
    }

    /// The line with a mark under `at`. `shown` lets the value under the mark be seen.
    pub(crate) fn excerpt(&self, at: Range<usize>, shown: bool) -> String {
        let (line, _) = self.place(at.start);
        let start = self.line_start(line);
        let whole = self.text.get(start..).unwrap_or("").lines().next().unwrap_or("");
        let end = start.saturating_add(whole.len());
        let before = self.render(start..at.start.min(end), None);
        let marked = self.render(at.start.min(end)..at.end.min(end), shown.then_some(&at));
        let after = self.render(at.end.min(end)..end, None);
        let cut = before.chars().count().saturating_sub(AROUND);
        let before: String =
            if cut > 0 { "…".chars().chain(before.chars().skip(cut)).collect() } else { before };
        let indent = if cut > 0 { 0 } else { before.chars().take_while(|c| *c == ' ').count() };
        let before: String = before.chars().skip(indent).collect();
        let rest: String = shorten(&marked, MARK) + &shorten(&after, AROUND);
        let width = marked.chars().count().clamp(1, MARK);
        let number = line.to_string();
        let gutter = " ".repeat(number.len());
        let lead = " ".repeat(before.chars().count());
        format!("  {number} | {before}{}\n  {gutter} | {lead}{}", rest.trim_end(), "^".repeat(width))
    }

    /// A part of a line without hidden values, and without characters that could move the cursor.
    fn render(&self, part: Range<usize>, shown: Option<&Range<usize>>) -> String {
        let mut out = String::new();
        let mut at = part.start;
        let first = self.hidden.partition_point(|range| range.end <= part.start);
        let unknown = self.known..self.text.len();
        for range in self.hidden.iter().skip(first).chain(std::iter::once(&unknown)) {
            if range.start >= part.end || range.is_empty() {
                continue;
            }
            if shown.is_some_and(|shown| shown.start <= range.start && range.end <= shown.end) {
                continue;
            }
            if range.end <= at {
                continue;
            }
            out.push_str(self.text.get(at..range.start.max(at)).unwrap_or(""));
            // What began before this part was shown as hidden there.
            if range.start >= part.start {
                out.push('…');
            }
            at = range.end.min(part.end).max(at);
        }
        out.push_str(self.text.get(at..part.end).unwrap_or(""));
        out.chars().map(|c| if c == '\t' || is_unprintable(c) { ' ' } else { c }).collect()
    }
}

/// The config with the files that it includes, whose values have places of their own.
pub(crate) struct Sources<'a> {
    main: Source<'a>,
    /// Where the values of each begin, its name, and its text; in this order.
    included: Vec<(usize, &'a str, Source<'a>)>,
}

impl<'a> Sources<'a> {
    pub(crate) fn new(main: Source<'a>, included: Vec<(usize, &'a str, Source<'a>)>) -> Self {
        Self { main, included }
    }

    /// The file of a place, its text, and the place in it.
    pub(crate) fn find(&self, at: Range<usize>) -> (Option<&'a str>, &Source<'a>, Range<usize>) {
        let until = self.included.partition_point(|(base, ..)| *base <= at.start);
        match until.checked_sub(1).and_then(|last| self.included.get(last)) {
            None => (None, &self.main, at),
            Some((base, name, source)) => {
                (Some(name), source, at.start.saturating_sub(*base)..at.end.saturating_sub(*base))
            }
        }
    }

    /// The file of an offset, and its line and column there.
    pub(crate) fn place(&self, at: usize) -> (Option<&'a str>, usize, usize) {
        let (file, source, at) = self.find(at..at);
        let (line, column) = source.place(at.start);
        (file, line, column)
    }
}

fn shorten(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        text.to_owned()
    } else {
        text.chars().take(width).chain(['…']).collect()
    }
}

#[cfg(test)]
#[expect(clippy::single_range_in_vec_init, reason = "one hidden range is what the cases need")]
mod tests {
    use super::*;

    #[test]
    fn only_the_value_at_fault_is_seen() {
        let text = "{\n  a: 'secret', b: 'wrong', // note\n}";
        let hidden = vec![7..15, 20..27, 29..36];
        let source = Source::new(text, hidden, text.len());
        assert_eq!(source.place(20), (2, 19));
        assert_eq!(source.excerpt(20..27, true), "  2 | a: …, b: 'wrong', …\n    |          ^^^^^^^");
        assert_eq!(source.excerpt(20..27, false), "  2 | a: …, b: …, …\n    |          ^");
    }

    #[test]
    fn what_follows_a_fault_of_syntax_is_not_seen() {
        let text = "{a: 1 token: 'x'}";
        let source = Source::new(text, vec![4..5], 7);
        assert_eq!(source.excerpt(6..7, true), "  1 | {a: … t…\n    |       ^");
    }

    #[test]
    fn long_lines_and_control_characters_are_tamed() {
        let text = format!("{}\u{1b}[2J!{}", "x".repeat(500), "y".repeat(500));
        let source = Source::new(&text, Vec::new(), text.len());
        let excerpt = source.excerpt(504..505, true);
        assert!(excerpt.chars().count() < 250, "{excerpt}");
        assert!(!excerpt.contains('\u{1b}'));
        assert_eq!(source.excerpt(text.len()..text.len(), true).lines().count(), 2);
    }
}
