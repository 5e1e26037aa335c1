//! Cutting a long text into messages of a vendor's size.

/// Cuts `text` into pieces that `fits` takes, where a reader would: between paragraphs, lines, sentences or words, and
/// only within a word when it is longer than a piece. No piece is empty or blank. `fits` must take every prefix of what it takes,
/// and any single character.
pub fn pieces(text: &str, fits: impl Fn(&str) -> bool) -> Vec<String> {
    let mut left = text.trim();
    let mut pieces = Vec::new();
    while !left.is_empty() {
        let longest = longest(left, &fits);
        let end = if longest.len() == left.len() { left.len() } else { cut(longest) };
        let Some((piece, rest)) = left.split_at_checked(end) else { break };
        if !piece.trim().is_empty() {
            pieces.push(piece.trim_end().to_owned());
        }
        left = rest.trim_start();
    }
    pieces
}

/// The longest beginning that fits, and one character at least: found by halving.
fn longest<'a>(text: &'a str, fits: &impl Fn(&str) -> bool) -> &'a str {
    if fits(text) {
        return text;
    }
    let ends: Vec<usize> = text.char_indices().map(|(at, _)| at).skip(1).collect();
    let fitting = ends.partition_point(|end| text.get(..*end).is_some_and(fits));
    let end = ends.get(fitting.saturating_sub(1)).copied().unwrap_or(text.len());
    text.get(..end).unwrap_or(text)
}

/// Where to cut a beginning that is followed by more: at the last of the best places in its second half.
fn cut(beginning: &str) -> usize {
    let half = beginning.len() / 2;
    for separator in ["\n\n", "\n", ". ", " "] {
        match beginning.rfind(separator) {
            Some(at) if at > half => return at + separator.len(),
            Some(_) | None => {}
        }
    }
    beginning.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut_at(text: &str, bytes: usize) -> Vec<String> {
        pieces(text, |piece| piece.len() <= bytes)
    }

    #[test]
    fn a_text_is_cut_where_a_reader_would_cut_it() {
        for (text, bytes, expected) in [
            ("short", 10, &["short"][..]),
            ("one two three four", 10, &["one two", "three four"]),
            ("one\n\ntwo two two", 10, &["one\n\ntwo", "two two"]),
            ("first part.\n\nsecond", 14, &["first part.", "second"]),
            ("abcdefghij", 4, &["abcd", "efgh", "ij"]),
            ("äöüäöü", 4, &["äö", "üä", "öü"]),
            ("  \n ", 4, &[]),
            ("", 4, &[]),
        ] {
            assert_eq!(cut_at(text, bytes), expected, "{text:?} in {bytes}");
        }
    }

    #[test]
    fn nothing_but_space_is_lost_and_every_piece_fits() {
        let text: String = (0..500).map(|number| format!("word{number} ä{}\n", number % 7)).collect();
        for bytes in [16, 40, 100, 399] {
            let cut = cut_at(&text, bytes);
            assert!(cut.iter().all(|piece| piece.len() <= bytes && !piece.trim().is_empty()), "{bytes}");
            let words = |text: &str| text.split_whitespace().collect::<String>();
            assert_eq!(words(&cut.join(" ")), words(&text), "{bytes}");
        }
    }
}
