//! From bytes that a model says to text that may be told: whole characters only, and nothing of a stop text.

/// An answer while it is said.
#[derive(Debug)]
pub(crate) struct Spoken {
    /// Bytes of a character that is not whole yet.
    bytes: Vec<u8>,
    /// Text that may be the beginning of a stop text.
    held: String,
    stops: Vec<String>,
}

impl Spoken {
    /// An answer that ends before any of `stops`.
    pub(crate) const fn new(stops: Vec<String>) -> Self {
        Self { bytes: Vec::new(), held: String::new(), stops }
    }

    /// Adds what was said: what may be told now, and whether a stop text was said.
    pub(crate) fn add(&mut self, said: &[u8]) -> (String, bool) {
        self.bytes.extend(said);
        let whole = whole(&mut self.bytes);
        self.held.push_str(&whole);
        let found = self.stops.iter().filter_map(|stop| self.held.find(stop.as_str())).min();
        if let Some(at) = found {
            self.held.truncate(at);
            self.bytes.clear();
            return (std::mem::take(&mut self.held), true);
        }
        let keep = self.stops.iter().map(|stop| beginning(&self.held, stop)).max().unwrap_or(0);
        let rest = self.held.split_off(self.held.len().saturating_sub(keep));
        (std::mem::replace(&mut self.held, rest), false)
    }

    /// What is left to tell when nothing more is said.
    pub(crate) fn end(mut self) -> String {
        if !self.bytes.is_empty() {
            self.held.push(char::REPLACEMENT_CHARACTER);
        }
        self.held
    }
}

/// Takes the whole characters off the front of `bytes`. What can no longer become one is replaced.
fn whole(bytes: &mut Vec<u8>) -> String {
    let mut text = String::new();
    let mut rest = bytes.as_slice();
    let mut kept = 0;
    for chunk in rest.utf8_chunks() {
        text.push_str(chunk.valid());
        let invalid = chunk.invalid();
        rest = rest.get(chunk.valid().len() + invalid.len()..).unwrap_or_default();
        let begun =
            rest.is_empty() && std::str::from_utf8(invalid).is_err_and(|error| error.error_len().is_none());
        if begun {
            kept = invalid.len();
        } else if !invalid.is_empty() {
            text.push(char::REPLACEMENT_CHARACTER);
        }
    }
    bytes.drain(..bytes.len().saturating_sub(kept));
    text
}

/// How many bytes at the end of `text` are a beginning of `stop`.
fn beginning(text: &str, stop: &str) -> usize {
    let lengths = stop.char_indices().map(|(at, _)| at).filter(|at| *at > 0);
    lengths.filter(|length| stop.get(..*length).is_some_and(|part| text.ends_with(part))).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Says `bytes` in pieces of `size`.
    fn say(bytes: &[u8], size: usize, stops: &[&str]) -> (String, bool) {
        let mut spoken = Spoken::new(stops.iter().map(|stop| (*stop).to_owned()).collect());
        let mut told = String::new();
        for piece in bytes.chunks(size) {
            let (text, stopped) = spoken.add(piece);
            told.push_str(&text);
            if stopped {
                return (told, true);
            }
        }
        told.push_str(&spoken.end());
        (told, false)
    }

    #[test]
    fn whole_characters_come_out_however_they_are_cut() {
        let text = "aé€😀z";
        for size in 1..6 {
            assert_eq!(say(text.as_bytes(), size, &[]), (text.to_owned(), false), "pieces of {size}");
        }
        let mut spoken = Spoken::new(Vec::new());
        assert_eq!(spoken.add(&[0xf0, 0x9f]), (String::new(), false), "half a character is held back");
        assert_eq!(spoken.add(b"a"), ("\u{fffd}a".into(), false), "what cannot become one is replaced");
        assert_eq!(spoken.add(&[0xff, 0xc3]).0, "\u{fffd}");
        assert_eq!(spoken.end(), "\u{fffd}");
    }

    #[test]
    fn no_part_of_a_stop_text_is_told() {
        for size in 1..8 {
            assert_eq!(say(b"one ENDE two", size, &["ENDE"]), ("one ".into(), true), "pieces of {size}");
            assert_eq!(say(b"one END", size, &["ENDE"]), ("one END".into(), false), "pieces of {size}");
            assert_eq!(say(b"aab", size, &["ab"]), ("a".into(), true), "pieces of {size}");
            assert_eq!(say("xé!".as_bytes(), size, &["é!", "x€"]), ("x".into(), true), "pieces of {size}");
            assert_eq!(say(b"a<b|c", size, &["c", "b|"]), ("a<".into(), true), "pieces of {size}");
        }
        let mut spoken = Spoken::new(vec!["STOP".into()]);
        assert_eq!(spoken.add(b"a ST"), ("a ".into(), false), "what may become a stop text is held back");
        assert_eq!(spoken.add(b"ART"), ("START".into(), false), "and told when it does not");
    }
}
