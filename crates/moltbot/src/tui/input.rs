//! The line that is typed: several lines, edited by what a person sees as one character, and what was sent before.

use std::collections::VecDeque;

use moltbot_config::limits;
use unicode_segmentation::UnicodeSegmentation as _;

use super::text::{columns, on_screen};

/// Messages that can be brought back.
const REMEMBERED: usize = 100;

/// What is typed.
#[derive(Debug, Default)]
pub(crate) struct Input {
    text: String,
    /// Where the next character goes, in bytes; between two characters as a person sees them.
    cursor: usize,
    earlier: VecDeque<String>,
    /// Which earlier message is shown, counted from the newest; nothing while a new one is typed.
    shown: Option<usize>,
    /// What was typed before an earlier one was brought back.
    draft: String,
}

/// What is typed as rows of a screen.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Rows {
    /// The rows.
    pub(crate) rows: Vec<String>,
    /// The row of the cursor.
    pub(crate) row: usize,
    /// Its column.
    pub(crate) column: usize,
}

impl Input {
    /// The text.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Whether nothing is typed.
    pub(crate) const fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// Types a text; what would act on a terminal is not taken. Whether all of it had room.
    pub(crate) fn insert(&mut self, text: &str) -> bool {
        let text = text.replace("\r\n", "\n").replace('\r', "\n");
        let text = on_screen(&text);
        let room = limits::MESSAGE_CHARS.saturating_sub(self.text.chars().count());
        let end = text.char_indices().nth(room).map_or(text.len(), |(end, _)| end);
        let taken = text.get(..end).unwrap_or_default();
        self.text.insert_str(self.cursor, taken);
        self.cursor = self.boundary_from(self.cursor.saturating_add(taken.len()));
        self.shown = None;
        end == text.len()
    }

    /// Takes the text, and remembers it.
    pub(crate) fn take(&mut self) -> String {
        let text = std::mem::take(&mut self.text);
        (self.cursor, self.shown) = (0, None);
        if !text.trim().is_empty() && self.earlier.back() != Some(&text) {
            self.earlier.push_back(text.clone());
            if self.earlier.len() > REMEMBERED {
                self.earlier.pop_front();
            }
        }
        text
    }

    /// Empties it.
    pub(crate) fn clear(&mut self) {
        self.text.clear();
        (self.cursor, self.shown) = (0, None);
    }

    /// Takes away what is before the cursor, by one character.
    pub(crate) fn backspace(&mut self) {
        self.remove(self.before(self.cursor), self.cursor);
    }

    /// Takes away the character at the cursor.
    pub(crate) fn delete(&mut self) {
        self.remove(self.cursor, self.after(self.cursor));
    }

    /// Takes away the word before the cursor.
    pub(crate) fn delete_word(&mut self) {
        self.remove(self.word_before(), self.cursor);
    }

    /// Takes away what is before the cursor in its line.
    pub(crate) fn delete_to_start(&mut self) {
        self.remove(self.line_start(), self.cursor);
    }

    /// Takes away what is behind the cursor in its line.
    pub(crate) fn delete_to_end(&mut self) {
        self.remove(self.cursor, self.line_end());
    }

    /// One character to the left.
    pub(crate) fn left(&mut self) {
        self.cursor = self.before(self.cursor);
    }

    /// One character to the right.
    pub(crate) fn right(&mut self) {
        self.cursor = self.after(self.cursor);
    }

    /// To the beginning of the word.
    pub(crate) fn word_left(&mut self) {
        self.cursor = self.word_before();
    }

    /// Behind the word.
    pub(crate) fn word_right(&mut self) {
        let rest = self.text.get(self.cursor..).unwrap_or_default();
        let mut words = rest.split_word_bound_indices().filter(|(_, word)| !word.trim().is_empty());
        let end = words.next().map_or(rest.len(), |(at, word)| at.saturating_add(word.len()));
        self.cursor = self.cursor.saturating_add(end);
    }

    /// To the beginning of the line.
    pub(crate) fn start(&mut self) {
        self.cursor = self.line_start();
    }

    /// To the end of the line.
    pub(crate) fn end(&mut self) {
        self.cursor = self.line_end();
    }

    /// A line up; from the first one, to the message before.
    pub(crate) fn up(&mut self) {
        let start = self.line_start();
        if start == 0 {
            return self.earlier();
        }
        let column = self.column(start);
        let end = start.saturating_sub(1);
        let above =
            self.text.get(..end).and_then(|text| text.rfind('\n')).map_or(0, |at| at.saturating_add(1));
        self.cursor = self.at_column(above, end, column);
    }

    /// A line down; from the last one, to the message after.
    pub(crate) fn down(&mut self) {
        let end = self.line_end();
        if end == self.text.len() {
            return self.later();
        }
        let column = self.column(self.line_start());
        let below = end.saturating_add(1);
        let rest = self.text.get(below..).unwrap_or_default();
        let until = rest.find('\n').map_or(self.text.len(), |at| below.saturating_add(at));
        self.cursor = self.at_column(below, until, column);
    }

    /// The rows that it takes on a screen of that width.
    pub(crate) fn rows(&self, width: usize) -> Rows {
        let width = width.max(2);
        let mut rows = Rows { rows: vec![String::new()], row: 0, column: 0 };
        let mut column = 0_usize;
        let (mut place, mut found) = (0_usize, false);
        for piece in self.text.graphemes(true) {
            let needed = columns(piece);
            let breaks = piece == "\n" || column.saturating_add(needed) > width;
            let at_cursor = place >= self.cursor && !found;
            if at_cursor && piece == "\n" {
                (rows.row, rows.column, found) = (rows.rows.len().saturating_sub(1), column, true);
            }
            if breaks {
                rows.rows.push(String::new());
                column = 0;
            }
            if at_cursor && piece != "\n" {
                (rows.row, rows.column, found) = (rows.rows.len().saturating_sub(1), column, true);
            }
            if piece != "\n"
                && let Some(row) = rows.rows.last_mut()
            {
                row.push_str(piece);
                column = column.saturating_add(needed);
            }
            place = place.saturating_add(piece.len());
        }
        if !found {
            (rows.row, rows.column) = (rows.rows.len().saturating_sub(1), column);
        }
        rows
    }

    fn earlier(&mut self) {
        let next = self.shown.map_or(0, |shown| shown.saturating_add(1));
        let Some(text) = self.earlier.iter().rev().nth(next).cloned() else { return };
        if self.shown.is_none() {
            self.draft = std::mem::take(&mut self.text);
        }
        self.show(Some(next), text);
    }

    fn later(&mut self) {
        let Some(shown) = self.shown else { return };
        match shown.checked_sub(1) {
            None => {
                let draft = std::mem::take(&mut self.draft);
                self.show(None, draft);
            }
            Some(next) => {
                let text = self.earlier.iter().rev().nth(next).cloned().unwrap_or_default();
                self.show(Some(next), text);
            }
        }
    }

    fn show(&mut self, which: Option<usize>, text: String) {
        (self.cursor, self.text, self.shown) = (text.len(), text, which);
    }

    fn remove(&mut self, from: usize, to: usize) {
        if from < to && self.text.is_char_boundary(from) && self.text.is_char_boundary(to) {
            self.text.replace_range(from..to, "");
        }
        // What stood on both sides may be one character now.
        self.cursor = self.boundary_from(from);
        self.shown = None;
    }

    /// The first place between two characters at or behind this one.
    fn boundary_from(&self, place: usize) -> usize {
        let mut places = self.text.grapheme_indices(true).map(|(at, _)| at);
        places.find(|at| *at >= place).unwrap_or(self.text.len())
    }

    fn before(&self, place: usize) -> usize {
        let text = self.text.get(..place).unwrap_or_default();
        text.grapheme_indices(true).next_back().map_or(0, |(at, _)| at)
    }

    fn after(&self, place: usize) -> usize {
        let rest = self.text.get(place..).unwrap_or_default();
        place.saturating_add(rest.graphemes(true).next().map_or(0, str::len))
    }

    fn word_before(&self) -> usize {
        let text = self.text.get(..self.cursor).unwrap_or_default();
        let mut words = text.split_word_bound_indices().rev().filter(|(_, word)| !word.trim().is_empty());
        words.next().map_or(0, |(at, _)| at)
    }

    fn line_start(&self) -> usize {
        let text = self.text.get(..self.cursor).unwrap_or_default();
        text.rfind('\n').map_or(0, |at| at.saturating_add(1))
    }

    fn line_end(&self) -> usize {
        let rest = self.text.get(self.cursor..).unwrap_or_default();
        rest.find('\n').map_or(self.text.len(), |at| self.cursor.saturating_add(at))
    }

    fn column(&self, start: usize) -> usize {
        columns(self.text.get(start..self.cursor).unwrap_or_default())
    }

    fn at_column(&self, start: usize, end: usize, column: usize) -> usize {
        let line = self.text.get(start..end).unwrap_or_default();
        let mut passed = 0_usize;
        for (at, piece) in line.grapheme_indices(true) {
            if passed >= column {
                return start.saturating_add(at);
            }
            passed = passed.saturating_add(columns(piece));
        }
        end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(text: &str) -> Input {
        let mut input = Input::default();
        assert!(input.insert(text));
        input
    }

    #[test]
    fn a_character_is_what_a_person_sees_as_one() {
        let mut input = typed("aé👍🏽");
        input.backspace();
        assert_eq!(input.text(), "aé");
        input.backspace();
        input.insert("文");
        input.left();
        input.delete();
        assert_eq!(input.text(), "a");
    }

    #[test]
    fn words_and_lines_are_taken_away() {
        let mut input = typed("one two\nthree four");
        input.delete_word();
        assert_eq!(input.text(), "one two\nthree ");
        input.delete_to_start();
        assert_eq!(input.text(), "one two\n");
        input.up();
        input.word_right();
        input.delete_to_end();
        assert_eq!(input.text(), "one\n");
        input.word_left();
        input.insert("x ");
        assert_eq!(input.text(), "x one\n");
    }

    #[test]
    fn up_and_down_go_through_lines_and_then_through_earlier_messages() {
        let mut input = Input::default();
        for said in ["first", "second", "second"] {
            input.insert(said);
            input.take();
        }
        input.insert("dra\nft");
        input.up();
        input.insert("!");
        assert_eq!(input.text(), "dr!a\nft");
        input.up();
        assert_eq!(input.text(), "second");
        input.up();
        input.up();
        assert_eq!(input.text(), "first", "nothing is before the first, and the same is remembered once");
        input.down();
        input.down();
        assert_eq!(input.text(), "dr!a\nft", "what was typed is not lost");
        input.down();
        assert_eq!(input.text(), "dr!a\nft");
    }

    #[test]
    fn rows_are_as_wide_as_the_screen_and_know_where_the_cursor_is() {
        let rows = |input: &Input, width| {
            let Rows { rows, row, column } = input.rows(width);
            (rows.join("|"), row, column)
        };
        let mut input = typed("abcdef\ngh");
        assert_eq!(rows(&input, 4), ("abcd|ef|gh".into(), 2, 2));
        input.up();
        assert_eq!(rows(&input, 4), ("abcd|ef|gh".into(), 0, 2));
        input.end();
        assert_eq!(rows(&input, 4), ("abcd|ef|gh".into(), 1, 2));
        assert_eq!(rows(&typed("日本"), 3), ("日|本".into(), 1, 2));
        assert_eq!(rows(&Input::default(), 1), (String::new(), 0, 0));
    }

    #[test]
    fn what_is_pasted_can_do_nothing_to_the_terminal_and_has_an_end() {
        let mut input = typed("a\u{1b}[31m\r\nb");
        assert_eq!(input.text(), "a<U+001B>[31m\nb");
        assert!(
            !input.insert(&"x".repeat(limits::MESSAGE_CHARS)),
            "there is room for a message, and no more"
        );
        assert_eq!(input.text().chars().count(), limits::MESSAGE_CHARS);
    }
}
