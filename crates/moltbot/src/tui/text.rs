//! Text of anybody on a screen: what would act on the terminal is written out, and lines are broken at what they take up.

use moltbot_policy::shown::{in_one_line, visible};
use unicode_segmentation::UnicodeSegmentation as _;
use unicode_width::UnicodeWidthStr as _;

/// Marks on one character. More of them reach into the lines above and below.
const MARKS: usize = 3;
/// Columns of a tab.
const TAB: &str = "    ";

/// A text that a terminal can be given, in one or several lines. What acts on a terminal is written as `<U+001B>`, what shows
/// nothing (joiners, variation selectors, fillers) is left out, and so is what is piled up on one character.
pub(crate) fn on_screen(text: &str) -> String {
    let text = visible(text);
    let mut shown = String::with_capacity(text.len());
    let mut marks = 0_usize;
    for character in text.chars() {
        match character {
            '\n' => shown.push('\n'),
            '\t' => shown.push_str(TAB),
            _ if is_nothing(character) => continue,
            _ => {
                let is_mark = unicode_width::UnicodeWidthChar::width(character) == Some(0);
                marks = if is_mark { marks.saturating_add(1) } else { 0 };
                if marks <= MARKS {
                    shown.push(character);
                }
            }
        }
    }
    shown
}

/// The same in one line. For names, and for what a person decides about, where what shows nothing is written out.
pub(crate) fn in_line(text: &str) -> String {
    on_screen(&in_one_line(text))
}

/// Characters that show nothing by themselves and that [`visible`] leaves in.
const fn is_nothing(character: char) -> bool {
    matches!(
        character,
        '\u{00AD}' | '\u{034F}' | '\u{115F}' | '\u{1160}' | '\u{17B4}' | '\u{17B5}' | '\u{180B}'..='\u{180F}' | '\u{200C}'
            | '\u{200D}' | '\u{206A}'..='\u{206F}' | '\u{3164}' | '\u{FE00}'..='\u{FE0F}' | '\u{FFA0}'
            | '\u{E0100}'..='\u{E01EF}'
    )
}

/// Columns that a piece takes up.
pub(crate) fn columns(text: &str) -> usize {
    text.width()
}

/// The text in lines of at most `width` columns: broken at blanks, and within a word that is longer than a line. What is
/// wider than a line by itself is shown as `?`.
pub(crate) fn wrap(text: &str, width: usize) -> Vec<String> {
    let width = width.max(1);
    let mut lines = Vec::new();
    for paragraph in text.split('\n') {
        let mut line = Wrapped::default();
        for word in paragraph.split_word_bounds() {
            line.add_word(word, width, &mut lines);
        }
        lines.push(line.text);
    }
    lines
}

/// A line that is being filled.
#[derive(Default)]
struct Wrapped {
    text: String,
    columns: usize,
}

impl Wrapped {
    fn add_word(&mut self, word: &str, width: usize, lines: &mut Vec<String>) {
        let needed = columns(word);
        let fits = |line: &Self| line.columns.saturating_add(needed) <= width;
        if fits(self) {
            return self.push(word, needed);
        }
        if word.trim().is_empty() {
            // A blank at the end of a line breaks it, and is not carried over.
            return self.end(lines);
        }
        if self.columns > 0 && needed <= width {
            self.end(lines);
            return self.push(word, needed);
        }
        for piece in word.graphemes(true) {
            let (piece, needed) = if columns(piece) > width { ("?", 1) } else { (piece, columns(piece)) };
            if self.columns.saturating_add(needed) > width {
                self.end(lines);
            }
            self.push(piece, needed);
        }
    }

    fn push(&mut self, text: &str, columns: usize) {
        self.text.push_str(text);
        self.columns = self.columns.saturating_add(columns);
    }

    fn end(&mut self, lines: &mut Vec<String>) {
        lines.push(std::mem::take(&mut self.text));
        self.columns = 0;
    }
}

/// The beginning of a line, in at most `width` columns; cut with `…`.
pub(crate) fn fit(text: &str, width: usize) -> String {
    if columns(text) <= width {
        return text.to_owned();
    }
    let mut fitted = String::new();
    for piece in text.graphemes(true) {
        if columns(&fitted).saturating_add(columns(piece)) >= width {
            break;
        }
        fitted.push_str(piece);
    }
    if width > 0 {
        fitted.push('…');
    }
    fitted
}

/// The beginning of a text, in at most `most` bytes, and whether that is all of it.
pub(crate) fn beginning(text: &str, most: usize) -> (&str, bool) {
    let end = (0..=most.min(text.len())).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    (text.get(..end).unwrap_or_default(), end == text.len())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_acts_on_a_terminal_is_written_out_or_left_out() {
        for (text, expected) in [
            ("a\u{1b}]52;c;aGk=\u{7}b", "a<U+001B>]52;c;aGk=<U+0007>b"),
            ("\u{1b}]8;;https://x\u{1b}\\link", "<U+001B>]8;;https://x<U+001B>\\link"),
            ("\u{9b}2J", "<U+009B>2J"),
            ("a\u{202e}b\u{2066}c", "a<U+202E>b<U+2066>c"),
            ("zero\u{200b}width\u{200d}\u{fe0f}\u{ad}", "zero<U+200B>width"),
            ("e\u{301}\u{301}\u{301}\u{301}\u{301}!", "e\u{301}\u{301}\u{301}!"),
            ("a\tb\r\nc", "a    b\nc"),
        ] {
            assert_eq!(on_screen(text), expected, "{text:?}");
        }
        assert_eq!(in_line("ls\u{200d}\nrm"), "ls<U+200D><U+000A>rm");
    }

    #[test]
    fn lines_are_broken_at_blanks_and_by_columns() {
        for (text, width, expected) in [
            ("one two three", 7, vec!["one two", "three"]),
            ("abcdefgh", 3, vec!["abc", "def", "gh"]),
            ("日本語文", 5, vec!["日本", "語文"]),
            ("日本", 1, vec!["?", "?"]),
            ("a\n\nb", 9, vec!["a", "", "b"]),
            ("👍👍", 3, vec!["👍", "👍"]),
        ] {
            assert_eq!(wrap(text, width), expected, "{text:?} in {width}");
        }
        assert_eq!(
            (fit("日本語", 5).as_str(), fit("abc", 3).as_str(), fit("abc", 0).as_str()),
            ("日本…", "abc", "")
        );
        assert_eq!((beginning("äb", 1), beginning("äb", 3)), (("", false), ("äb", true)));
    }

    proptest! {
        #[test]
        fn nothing_on_a_screen_acts_on_it(text in any::<String>(), width in 1_usize..40) {
            let shown = on_screen(&text);
            prop_assert!(shown.chars().all(|c| c == '\n' || !c.is_control()));
            prop_assert!(visible(&shown) == shown);
            for line in wrap(&shown, width) {
                prop_assert!(columns(&line) <= width, "{:?} in {}", line, width);
            }
            prop_assert!(columns(&fit(&in_line(&text), width)) <= width);
        }
    }
}
