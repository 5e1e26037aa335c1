//! One simple command as its words, when a shell could not read it in any other way.
//!
//! Stricter than any shell: blanks part the words, single quotes hold anything, double quotes anything that a shell leaves
//! alone in them. Whatever a shell would expand, redirect, join or assign is no simple command here.

/// What may stand in a word without quotes.
fn is_plain(c: char) -> bool {
    c.is_ascii_alphanumeric()
        || matches!(c, '_' | '-' | '.' | '/' | ':' | ',' | '+' | '@' | '%' | '=')
        || (!c.is_ascii() && c.is_alphanumeric())
}

/// The words of a script that is one simple command; nothing when it is more, or less.
pub fn simple(script: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut characters = script.trim_matches([' ', '\t', '\n']).chars();
    while let Some(c) = characters.next() {
        match c {
            ' ' | '\t' => words.extend(word.take()),
            '\'' => {
                let word = word.get_or_insert_default();
                quoted(&mut characters, '\'', word, |_| true)?;
            }
            '"' => {
                let word = word.get_or_insert_default();
                quoted(&mut characters, '"', word, |c| !matches!(c, '$' | '`' | '\\' | '!'))?;
            }
            c if is_plain(c) => word.get_or_insert_default().push(c),
            _ => return None,
        }
    }
    words.extend(word);
    let first = words.first()?;
    // An assignment in front is no program, and neither is an option.
    (!first.is_empty() && !first.contains('=') && !first.starts_with('-')).then_some(words)
}

/// Reads to the closing quote.
fn quoted(
    characters: &mut std::str::Chars<'_>,
    quote: char,
    word: &mut String,
    may_stand: impl Fn(char) -> bool,
) -> Option<()> {
    loop {
        match characters.next()? {
            c if c == quote => return Some(()),
            c if may_stand(c) => word.push(c),
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn e20_a_simple_command_is_its_words_and_nothing_else_is_one() {
        for (script, words) in [
            ("ls -la /tmp", vec!["ls", "-la", "/tmp"]),
            ("  git commit -m 'it''s; $(fine) `x`\n*'  ", vec!["git", "commit", "-m", "its; $(fine) `x`\n*"]),
            ("echo \"a  b\" ''", vec!["echo", "a  b", ""]),
            ("a'b'\"c\"d", vec!["abcd"]),
            ("find . -name '*.rs'", vec!["find", ".", "-name", "*.rs"]),
            ("ls --color=auto", vec!["ls", "--color=auto"]),
        ] {
            let words = words.into_iter().map(str::to_owned).collect();
            assert_eq!(simple(script), Some(words), "{script:?}");
        }
        for script in [
            "", " ", "a;b", "a&b", "a|b", "a\nb", "a>b", "a<b", "$a", "a $b", "`a`", "a*", "a?", "[a]",
            "~/a", "a\\ b", "(a)", "{a,b}", "a#b", "#a", "! a", "A=b c", "'", "\"a", "\"$a\"", "\"`a`\"",
            "\"a\\b\"", "\"a!b\"", "''", "a\rb", "a\0b", "a\u{a0}b", "-x a", "a^b",
        ] {
            assert_eq!(simple(script), None, "{script:?}");
        }
    }
}
