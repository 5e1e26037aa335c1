//! IRC's text: what is sent in how many lines, and what is said to us.

/// Bytes of text in one line. A line has 512 with its end, its command, and the sender that the server puts before it:
/// nick, user and host of up to 105, and a target of up to 50.
const PIECE_BYTES: usize = 340;

/// The lines of an answer. Nothing in them is a line end, a CTCP request or a formatting code.
pub(super) fn pieces(text: &str) -> Vec<String> {
    let lines = text.lines().map(|line| line.chars().filter(|c| !c.is_control()).collect::<String>());
    lines.flat_map(|line| crate::text::pieces(&line, |piece| piece.len() <= PIECE_BYTES)).collect()
}

/// Names are the same whatever the case of ASCII letters. Some networks hold `{}|^` for the lower case of `[]\~` as well
/// (RFC 2812, 2.2), and on others those are two names: two that are one somewhere are never one here, because services
/// write an account always as it was registered.
pub(super) fn fold(name: &str) -> String {
    name.to_ascii_lowercase()
}

/// A whole mask, of which the nick is compared as nicks are.
pub(super) fn mask(nick: &str, user: &str, host: &str) -> String {
    format!("{}!{}@{}", fold(nick), user.to_ascii_lowercase(), host.to_ascii_lowercase())
}

/// Whether a target is a channel's name.
pub(super) fn is_channel(target: &str) -> bool {
    target.starts_with(['#', '&', '+', '!'])
}

/// Whether `nick` is mentioned as a word of its own, and the text without a mention before it.
pub(super) fn mention(text: &str, nick: &str) -> (bool, String) {
    let is_part = |c: char| c.is_alphanumeric() || "-_[]\\`^{}|".contains(c);
    let nick = fold(nick);
    let is_mentioned = text.split(|c| !is_part(c)).any(|word| fold(word) == nick);
    let first = text.split(|c| !is_part(c)).next().unwrap_or_default();
    if fold(first) != nick {
        return (is_mentioned, text.to_owned());
    }
    let rest = text.get(first.len()..).unwrap_or_default();
    let said = rest.trim_start_matches([':', ',', ' ']);
    (true, said.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_cut_into_lines_that_a_server_takes() {
        assert_eq!(pieces("one\r\n\ntwo\u{1}ACTION x\u{1}\0\u{3}04"), ["one", "twoACTION x04"]);
        let long = "word ".repeat(400);
        let cut = pieces(&long);
        assert!(cut.len() > 5 && cut.iter().all(|piece| piece.len() <= PIECE_BYTES), "{cut:?}");
        assert_eq!(pieces(&long), cut, "always the same");
        assert!(pieces("ä\u{a0}\n".repeat(3).as_str()).iter().all(|piece| !piece.trim().is_empty()));
    }

    #[test]
    fn names_that_are_two_on_some_network_are_two() {
        assert_eq!(fold("Ann[X]\\~"), "ann[x]\\~");
        assert_ne!(fold("ann["), fold("ann{"));
        assert_ne!(mask("ann^", "u", "h"), mask("ann~", "u", "h"));
    }

    #[test]
    fn a_mention_is_a_word_and_not_a_part_of_one() {
        for (text, expected) in [
            ("molt: hello", (true, "hello")),
            ("MOLT, hello", (true, "hello")),
            ("molt hello", (true, "hello")),
            ("hello molt", (true, "hello molt")),
            ("hello @molt!", (true, "hello @molt!")),
            ("moltbot: hello", (false, "moltbot: hello")),
            ("xmolt molt_", (false, "xmolt molt_")),
            ("", (false, "")),
        ] {
            let (mentioned, said) = mention(text, "Molt");
            assert_eq!((mentioned, said.as_str()), expected, "{text}");
        }
    }
}
