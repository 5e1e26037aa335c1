//! The only place that prints. Facts go to standard output, notes and errors to standard error.
//!
//! A reader that went away (`moltbot logs | head`) is an error of kind `BrokenPipe`, which ends the program
//! quietly; it is never a panic. Colour is used on a terminal alone, and never when `NO_COLOR` is set.

use std::io::{self, IsTerminal, Write};
use std::sync::OnceLock;

use serde_json::Value;

static PLAIN: OnceLock<bool> = OnceLock::new();

/// How a text stands out on a terminal.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Paint {
    /// It failed.
    Bad,
    /// It matters less.
    Dim,
    /// It is well.
    Good,
    /// It matters more.
    Strong,
    /// It may fail soon.
    Warn,
}

/// Says once that nothing is to be coloured.
pub(crate) fn plain(no_color: bool) {
    PLAIN.get_or_init(|| no_color || !io::stdout().is_terminal());
}

/// Whether a person sits at this terminal: both ends are one.
pub(crate) fn is_interactive() -> bool {
    io::stdin().is_terminal() && io::stdout().is_terminal()
}

/// The text in its colour, or as it is.
pub(crate) fn paint(text: &str, paint: Paint) -> String {
    if *PLAIN.get().unwrap_or(&true) {
        return text.to_owned();
    }
    let code = match paint {
        Paint::Bad => 31,
        Paint::Dim => 2,
        Paint::Good => 32,
        Paint::Strong => 1,
        Paint::Warn => 33,
    };
    format!("\u{1b}[{code}m{text}\u{1b}[0m")
}

/// Prints one line of facts.
pub(crate) fn line(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.write_all(b"\n")
}

/// Prints a piece of a line at once: a streamed answer, a prompt.
pub(crate) fn piece(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Prints facts for a program.
pub(crate) fn json(value: &Value) -> io::Result<()> {
    line(&serde_json::to_string_pretty(value)?)
}

/// Prints a note for the person. Where there is no standard error, nobody is left to tell.
pub(crate) fn note(text: &str) {
    let mut err = io::stderr().lock();
    if err.write_all(text.as_bytes()).is_ok() && !text.ends_with('\n') {
        err.write_all(b"\n").ok();
    }
}

/// Shows how far something long is, in one line that the next one takes the place of; on a terminal alone. An empty text ends it.
pub(crate) fn progress(text: &str) {
    let mut err = io::stderr().lock();
    if err.is_terminal() {
        err.write_all(format!("\r\u{1b}[K{text}").as_bytes()).ok();
        err.flush().ok();
    }
}

/// What strangers wrote, without what a terminal would obey: control characters but line ends and tabs.
pub(crate) fn harmless(text: &str) -> String {
    let visible = |c: char| c == '\n' || c == '\t' || !(c.is_control() || is_direction(c));
    text.chars().filter(|c| visible(*c)).collect()
}

/// Characters that reorder the text around them on the screen.
const fn is_direction(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_obey_is_not_printed() {
        assert_eq!(harmless("a\u{1b}[31mb\u{7}\r\n\tc\u{202e}d"), "a[31mb\n\tcd");
    }
}
