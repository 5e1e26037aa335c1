//! What those who guess try early: runs along the alphabet or a keyboard, repetitions, common words, and what was printed
//! as an example.
//!
//! No list of millions: the rules of length and of different characters come first, and what keeps them is common only
//! when it is made of common parts.

/// Characters in a run such as `abcdefgh`, `aaaaaaaa` or `qwertyui` that are too many to be chance.
const RUN: usize = 8;
/// What has to be left when common words are taken away: six letters, or fifteen digits.
const OWN_WEIGHT: usize = 60;
/// Rows of keyboards, each read in both directions.
const ROWS: [&str; 5] = ["1234567890", "qwertyuiop", "qwertzuiop", "asdfghjkl", "zxcvbnm"];
/// Parts of tokens that the documentation of one of the generations printed, or that stand for one.
const EXAMPLES: [&str; 14] = [
    "your-",
    "your_",
    "token-here",
    "token_here",
    "tokenhere",
    "test-token",
    "test_token",
    "example",
    "changeme",
    "change-me",
    "placeholder",
    "replaceme",
    "replace-me",
    "insert-",
];
/// Words of the passwords that are found most often, and of this program and its forerunners. Longer ones first: what is
/// taken away as a whole leaves no pieces.
const COMMON: [&str; 72] = [
    "administrator",
    "iloveyou",
    "assistant",
    "superman",
    "football",
    "baseball",
    "princess",
    "sunshine",
    "whatever",
    "starwars",
    "password",
    "passwort",
    "internet",
    "computer",
    "clawdbot",
    "openclaw",
    "security",
    "december",
    "november",
    "february",
    "september",
    "welcome",
    "letmein",
    "charlie",
    "jessica",
    "michael",
    "michelle",
    "freedom",
    "pokemon",
    "default",
    "gateway",
    "moltbot",
    "october",
    "january",
    "company",
    "trustno",
    "monkey",
    "dragon",
    "master",
    "shadow",
    "hunter",
    "summer",
    "winter",
    "spring",
    "autumn",
    "qwerty",
    "qwertz",
    "secret",
    "server",
    "access",
    "batman",
    "jordan",
    "please",
    "admin",
    "token",
    "login",
    "hello",
    "guest",
    "enter",
    "clawd",
    "love",
    "pass",
    "test",
    "user",
    "root",
    "your",
    "that",
    "this",
    "the",
    "and",
    "my",
    "is",
];

/// Whether it is one of the early guesses.
pub(super) fn is_guessable(text: &str) -> bool {
    let lower = text.to_lowercase();
    has_run(text.as_bytes())
        || walks(&lower)
        || is_repetition(&lower)
        || EXAMPLES.iter().any(|example| lower.contains(example))
        || weight_of_its_own(&lower) < OWN_WEIGHT
}

/// Whether [`RUN`] neighbours rise by one, fall by one, or are the same.
fn has_run(text: &[u8]) -> bool {
    let steps: Vec<i16> = text
        .windows(2)
        .filter_map(|pair| Some(i16::from(*pair.get(1)?) - i16::from(*pair.first()?)))
        .collect();
    steps.windows(RUN - 1).any(|run| {
        run.first().is_some_and(|step| step.abs() <= 1) && run.iter().all(|step| Some(step) == run.first())
    })
}

/// Whether [`RUN`] characters are neighbours on a row of a keyboard.
fn walks(lower: &str) -> bool {
    ROWS.iter().any(|row| {
        let back: String = row.chars().rev().collect();
        [*row, back.as_str()]
            .into_iter()
            .any(|row| row.as_bytes().windows(RUN).any(|part| has_part(lower.as_bytes(), part)))
    })
}

fn has_part(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

/// Whether it is one piece again and again; the last one may be cut.
fn is_repetition(lower: &str) -> bool {
    let text: Vec<char> = lower.chars().collect();
    (1..=text.len() / 2)
        .any(|period| text.iter().zip(text.iter().skip(period)).all(|(one, next)| one == next))
}

/// What is left when common words are taken away, also those that are written with digits and signs: ten for a letter,
/// four for a digit.
fn weight_of_its_own(lower: &str) -> usize {
    let own: Vec<char> = lower.chars().collect();
    let mut rest: Vec<Option<char>> = own.iter().copied().map(unmask).map(Some).collect();
    for word in COMMON.iter().chain(ROWS.iter().skip(1)) {
        let word: Vec<Option<char>> = word.chars().map(Some).collect();
        while let Some(at) = rest.windows(word.len()).position(|part| part == word) {
            rest.iter_mut().skip(at).take(word.len()).for_each(|taken| *taken = None);
        }
    }
    let left = own.iter().zip(&rest).filter(|(_, left)| left.is_some());
    left.map(|(own, _)| match own {
        own if own.is_alphabetic() => 10,
        own if own.is_numeric() => 4,
        _ => 0,
    })
    .sum()
}

/// The letter that a sign is commonly written for.
const fn unmask(sign: char) -> char {
    match sign {
        '0' => 'o',
        '1' | '!' => 'i',
        '3' => 'e',
        '4' | '@' => 'a',
        '5' | '$' => 's',
        '7' => 't',
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_taken_away_as_a_whole() {
        for (one, other) in COMMON.iter().zip(COMMON.iter().skip(1)) {
            assert!(one.len() + 1 >= other.len(), "{other} stands behind {one}");
        }
        assert_eq!(weight_of_its_own("p4$$w0rd"), 0);
        assert!(weight_of_its_own("q8zr3vtlx0nwybe5mkc7hdpfj2sgua9o") > 200);
    }

    /// A drawn token is refused about as often as the rule says: never in a lifetime.
    #[test]
    fn d_04_tokens_that_are_drawn_are_not_guessable() {
        let mut state = 1_u64;
        for _ in 0..20_000 {
            let token: String = (0..43)
                .map(|_| {
                    state =
                        state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
                    char::from(*alphabet.get(usize::try_from(state >> 58).unwrap()).unwrap())
                })
                .collect();
            assert!(!is_guessable(&token), "{token}");
        }
    }
}
