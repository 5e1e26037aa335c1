//! Makes text of anybody safe to show: to a person, to the model, in a terminal, on a page.
//!
//! Terminal sequences can repaint a screen and bidirectional marks can reorder a line: what a person reads would not be
//! what is there. Both are written as what they are.

use std::fmt::Write as _;

/// A text with every control and bidirectional character but tab and line feed written as `<U+001B>`. A
/// carriage return before a line feed is dropped.
pub fn visible(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        if character == '\r' && characters.peek() == Some(&'\n') {
            continue;
        }
        if is_hidden(character) {
            push(&mut shown, character);
        } else {
            shown.push(character);
        }
    }
    shown
}

/// A text in one line, as [`visible`] and with tabs, line feeds and every carriage return written out as well. For what
/// a person decides about: nothing in it can look like a line of ours.
pub fn in_one_line(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        if is_hidden(character) || is_invisible(character) || matches!(character, '\n' | '\t') {
            push(&mut shown, character);
        } else {
            shown.push(character);
        }
    }
    shown
}

fn push(shown: &mut String, character: char) {
    // Writing to a string cannot fail; were it to, the character would be left out and not acted on.
    if write!(shown, "<U+{:04X}>", u32::from(character)).is_err() {
        shown.push('?');
    }
}

/// Whether a character acts on what is shown instead of being shown.
fn is_hidden(character: char) -> bool {
    match character {
        '\n' | '\t' => false,
        '\u{061C}' | '\u{200B}' | '\u{200E}' | '\u{200F}' | '\u{FEFF}' => true,
        '\u{202A}'..='\u{202E}' | '\u{2060}'..='\u{2069}' | '\u{2028}' | '\u{2029}' => true,
        '\u{FFF9}'..='\u{FFFB}' | '\u{E0000}'..='\u{E007F}' => true,
        other => other.is_control(),
    }
}

/// Whether a character shows nothing, so that two texts that differ look alike. Ordinary text has some of them, commands
/// have none.
const fn is_invisible(character: char) -> bool {
    matches!(
        character,
        '\u{00A0}' | '\u{00AD}' | '\u{034F}' | '\u{115F}' | '\u{1160}' | '\u{17B4}' | '\u{17B5}' | '\u{180B}'..='\u{180E}'
            | '\u{2000}'..='\u{200F}' | '\u{202F}' | '\u{205F}' | '\u{206A}'..='\u{206F}' | '\u{3000}' | '\u{3164}'
            | '\u{FE00}'..='\u{FE0F}' | '\u{FFA0}' | '\u{E0100}'..='\u{E01EF}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_acts_on_a_line_is_written_out() {
        for (text, expected) in [
            ("ls -la\n", "ls -la\n"),
            ("a\r\nb", "a\nb"),
            ("rm -rf x\rls", "rm -rf x<U+000D>ls"),
            ("\u{1b}[2Kls", "<U+001B>[2Kls"),
            ("a\u{202e}b\u{2069}", "a<U+202E>b<U+2069>"),
            ("übung 文", "übung 文"),
        ] {
            assert_eq!(visible(text), expected);
        }
        assert_eq!(in_one_line("zero\u{200d}width"), "zero<U+200D>width");
        assert_eq!(in_one_line("ls\n\ttrue\r\n"), "ls<U+000A><U+0009>true<U+000D><U+000A>");
    }
}
