//! Makes what a tool brings safe to show: to the model, in a terminal, on a page.
//!
//! Terminal sequences can repaint a screen and bidirectional marks can reorder a line; neither has a place
//! in a result. Sequences that only colour a command's output are removed, everything else is made visible.

pub(crate) use moltbot_policy::shown::visible;

/// A command's output as text: bytes that are not UTF-8 are replaced, terminal sequences are removed, other
/// controls are made visible.
pub(super) fn from_command(output: &[u8]) -> String {
    visible(&without_sequences(&String::from_utf8_lossy(output)))
}

/// A text without ANSI sequences: CSI, OSC and the other strings, and two-character escapes. A sequence
/// without an end takes the line it stands on, no more.
fn without_sequences(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        let kind = match character {
            '\u{1B}' => characters.next(),
            '\u{9B}' => Some('['),
            '\u{9D}' => Some(']'),
            '\u{90}' => Some('P'),
            other => {
                kept.push(other);
                continue;
            }
        };
        match kind {
            Some('[') => {
                while let Some(next) = characters.next_if(|next| *next != '\n') {
                    if ('@'..='~').contains(&next) {
                        break;
                    }
                }
            }
            Some(']' | 'P' | 'X' | '^' | '_') => skip_string(&mut characters),
            Some('(' | ')' | '*' | '+' | '#' | '%' | ' ') => {
                let _designated = characters.next_if(|next| *next != '\n');
            }
            Some('\n') => kept.push('\n'),
            Some(_) | None => {}
        }
    }
    kept
}

/// Skips the rest of an operating system command or a like string: to BEL, ST or the end of the line.
fn skip_string(characters: &mut std::iter::Peekable<std::str::Chars<'_>>) {
    while let Some(next) = characters.next_if(|next| *next != '\n') {
        match next {
            '\u{07}' | '\u{9C}' => return,
            '\u{1B}' => {
                let _terminator = characters.next_if(|next| *next == '\\');
                return;
            }
            _ => {}
        }
    }
}

/// The beginning of a text of at most `max` bytes, without splitting a character.
pub(super) fn beginning(text: &str, max: usize) -> &str {
    if text.len() <= max {
        return text;
    }
    let end = (0..=max).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    text.get(..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_acts_on_a_terminal_does_not_come_through() {
        for (output, expected) in [
            (&b"plain\ttext\n"[..], "plain\ttext\n"),
            (b"\x1b[31mred\x1b[0m", "red"),
            (b"\x1b]0;title\x07after", "after"),
            (b"\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link"),
            (b"\x1b[2J\x1b(Bx\x1b7y", "xy"),
            (b"\x1b]never ends\nnext", "\nnext"),
            (b"a\r\nb\rc", "a\nb<U+000D>c"),
            (b"\xff\xfe", "\u{FFFD}\u{FFFD}"),
            ("pass\u{202E}drow".as_bytes(), "pass<U+202E>drow"),
            (b"bell\x07\x00", "bell<U+0007><U+0000>"),
            ("\u{9B}31mx".as_bytes(), "x"),
            (b"\x1b", ""),
        ] {
            assert_eq!(from_command(output), expected, "output {output:?}");
        }
    }

    #[test]
    fn a_text_that_is_shown_keeps_its_sequences_visible() {
        assert_eq!(visible("\u{1B}[31m"), "<U+001B>[31m");
    }

    #[test]
    fn a_beginning_ends_between_characters() {
        for (max, expected) in [(0, ""), (1, "a"), (2, "a"), (3, "aä"), (9, "aäb")] {
            assert_eq!(beginning("aäb", max), expected, "at most {max}");
        }
    }
}
