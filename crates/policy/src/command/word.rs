//! One word of a shell script: what the program gets, as far as that is known before it runs.
//!
//! The parser says where a word ends; this says what is in it. Where the two would differ (a blank that nothing quotes,
//! a quote that does not end) the word is unreadable, and the script with it.

use std::collections::HashMap;

use super::scan::{end_of_balanced, end_of_script, is_brace, is_substring};

/// Stands in a word's text for what is only known when it runs. It cannot be written: control characters are refused.
pub(super) const UNKNOWN: char = '\u{1}';

/// Values of variables that a script sets to text. Used to look further, never to permit.
pub(super) type Variables = HashMap<String, String>;

/// A word that cannot be read as the shell would read it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unreadable(pub(super) &'static str);

/// A word, with how it was put together.
#[derive(Clone, Debug, Default)]
pub(super) struct Word {
    /// The text without quotes and escapes; [`UNKNOWN`] for what is not known, values for variables that the script sets.
    pub(super) text: String,
    /// As written; empty when that is the text.
    pub(super) written: String,
    /// The scripts of its substitutions.
    pub(super) scripts: Vec<String>,
    /// What the shell would put in: variables, substitutions.
    pub(super) expansions: u8,
    /// Among them one that cuts, replaces or goes by another name, or `$IFS`.
    pub(super) computed: bool,
    /// Wildcards: any, and those that spell one letter at a time.
    pub(super) wildcard: Wildcard,
    /// `{a,b}` or `{1..3}`.
    pub(super) braces: bool,
    /// Letters that were escaped or quoted although no letter needs it, beside others: `un""share`, `c\url`.
    pub(super) disguised: bool,
    /// What its only substitution writes, when it is nothing but that.
    pub(super) flow: Flow,
}

/// What a command reads or writes, as far as its text tells.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) enum Flow {
    /// Nothing, or what the terminal gives.
    #[default]
    Nothing,
    /// This text.
    Text(String),
    /// What some program writes.
    Unknown,
    /// Something that was hidden by an encoding or a change of letters.
    Decoded,
    /// The same, when we can undo it as well.
    Revealed(String),
    /// Something from the network.
    Fetched,
}

/// Which wildcards a word has.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Wildcard {
    #[default]
    None,
    /// `*`
    Star,
    /// `?`, `[x]`, `+(x)`
    Spelling,
}

impl Word {
    /// A word of plain text.
    pub(super) fn plain(text: &str) -> Self {
        Self { text: text.to_owned(), ..Self::default() }
    }

    /// Whether the program gets exactly [`Self::text`].
    pub(super) fn is_literal(&self) -> bool {
        self.expansions == 0 && self.wildcard == Wildcard::None && !self.braces && !self.text.starts_with('~')
    }

    /// Whether the shell puts in something.
    pub(super) const fn is_expanded(&self) -> bool {
        self.expansions > 0
    }
}

impl Flow {
    /// The text, when it is known.
    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Self::Revealed(text) | Self::Text(text) => Some(text),
            Self::Decoded | Self::Fetched | Self::Nothing | Self::Unknown => None,
        }
    }
}

/// Reads `written`, a word as the parser found it.
pub(super) fn read(written: &str, variables: &Variables) -> Result<Word, Unreadable> {
    if written.bytes().all(is_plain) {
        return Ok(Word::plain(written));
    }
    let mut reader = Reader::new(written, variables);
    reader.word()?;
    let mut word = reader.word;
    word.written = written.to_owned();
    word.disguised = reader.hidden && reader.pieces > 1;
    Ok(word)
}

/// Reads a here-document that the shell expands: quotes are text.
pub(super) fn read_document(written: &str, variables: &Variables) -> Result<Word, Unreadable> {
    let mut reader = Reader::new(written, variables);
    reader.double_quoted(None)?;
    Ok(Word { written: written.to_owned(), ..reader.word })
}

const fn is_plain(byte: u8) -> bool {
    matches!(byte, b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'.' | b'/' | b',' | b':' | b'=' | b'@' | b'%' | b'+' | b'-')
}

struct Reader<'a> {
    rest: std::str::Chars<'a>,
    variables: &'a Variables,
    word: Word,
    /// Runs of text in one kind of quoting.
    pieces: u32,
    /// A letter that was quoted or escaped for no reason.
    hidden: bool,
    plain_run: bool,
}

impl<'a> Reader<'a> {
    fn new(written: &'a str, variables: &'a Variables) -> Self {
        let word = Word { text: String::with_capacity(written.len()), ..Word::default() };
        Self { rest: written.chars(), variables, word, pieces: 0, hidden: false, plain_run: false }
    }

    fn peek(&self) -> Option<char> {
        self.rest.clone().next()
    }

    fn piece(&mut self) {
        self.pieces = self.pieces.saturating_add(1);
        self.plain_run = false;
    }

    fn word(&mut self) -> Result<(), Unreadable> {
        while let Some(c) = self.rest.next() {
            match c {
                '\'' => self.single_quoted()?,
                '"' => {
                    self.piece();
                    let before = self.word.text.len();
                    self.double_quoted(Some('"'))?;
                    self.look_for_hidden(before);
                }
                '\\' => self.escape(),
                '$' | '`' => self.expansion(c, false)?,
                '<' | '>' if self.peek() == Some('(') => {
                    self.rest.next();
                    self.substitution()?;
                }
                ' ' | '\t' | '\n' | ';' | '|' | '&' | '<' | '>' | '(' | ')' => {
                    return Err(Unreadable("a word ends where the shell would not end it"));
                }
                _ => self.unquoted(c)?,
            }
        }
        Ok(())
    }

    fn unquoted(&mut self, c: char) -> Result<(), Unreadable> {
        if !self.plain_run {
            self.piece();
            self.plain_run = true;
        }
        match c {
            '*' | '?' | '[' | '+' | '@' | '!' if self.peek() == Some('(') => return self.extended_glob(),
            UNKNOWN => {
                self.unknown();
                return Ok(());
            }
            '?' => self.word.wildcard = Wildcard::Spelling,
            '[' if self.rest.as_str().contains(']') => self.word.wildcard = Wildcard::Spelling,
            '*' => self.word.wildcard = self.word.wildcard.max(Wildcard::Star),
            '{' if is_brace(self.rest.as_str()) => self.word.braces = true,
            _ => {}
        }
        self.word.text.push(c);
        Ok(())
    }

    /// `+(a|b)`: any of its texts. Only that it is there, and its first text, are kept.
    fn extended_glob(&mut self) -> Result<(), Unreadable> {
        self.word.wildcard = Wildcard::Spelling;
        let inner = self.balanced('(', ')')?;
        let inner = inner.trim_start_matches('(');
        self.word.text.push_str(inner.split(['|', ')']).next().unwrap_or_default());
        for script in substitutions_in(inner)? {
            self.word.scripts.push(script);
            self.unknown();
        }
        Ok(())
    }

    fn single_quoted(&mut self) -> Result<(), Unreadable> {
        self.piece();
        let (text, rest) = self.rest.as_str().split_once('\'').ok_or(Unreadable("a quote does not end"))?;
        let before = self.word.text.len();
        self.word.text.push_str(text);
        self.rest = rest.chars();
        self.look_for_hidden(before);
        Ok(())
    }

    /// Quotes around nothing, or around letters alone, hide a word when there is more beside them.
    fn look_for_hidden(&mut self, before: usize) {
        let quoted = self.word.text.get(before..).unwrap_or_default();
        self.hidden |= quoted.chars().all(|c| c.is_ascii_alphanumeric() || "_-/.".contains(c));
    }

    fn escape(&mut self) {
        match self.rest.next() {
            None | Some('\n') => {}
            Some(c) => {
                self.piece();
                // One in front keeps an alias away, which people do.
                self.hidden |= c.is_ascii_alphanumeric() && (!self.word.text.is_empty() || self.pieces > 1);
                self.word.text.push(c);
            }
        }
    }

    /// Up to `end`, or to the end of the text. Quotes but that one are text.
    fn double_quoted(&mut self, end: Option<char>) -> Result<(), Unreadable> {
        while let Some(c) = self.rest.next() {
            match c {
                _ if Some(c) == end => return Ok(()),
                '\\' => match self.peek() {
                    Some('\n') => {
                        self.rest.next();
                    }
                    Some(next @ ('$' | '`' | '\\')) => self.escaped_in_quotes(next),
                    Some(next @ '"') if end.is_some() => self.escaped_in_quotes(next),
                    _ => self.word.text.push('\\'),
                },
                '$' | '`' => self.expansion(c, true)?,
                UNKNOWN => self.unknown(),
                _ => self.word.text.push(c),
            }
        }
        if end.is_some() { Err(Unreadable("a quote does not end")) } else { Ok(()) }
    }

    fn escaped_in_quotes(&mut self, c: char) {
        self.rest.next();
        self.word.text.push(c);
    }

    /// What is not known: one mark, and a count.
    fn unknown(&mut self) {
        self.word.expansions = self.word.expansions.saturating_add(1);
        self.word.text.push(UNKNOWN);
    }

    fn expansion(&mut self, sign: char, in_quotes: bool) -> Result<(), Unreadable> {
        if !in_quotes {
            self.piece();
        }
        if sign == '`' {
            return self.backquoted();
        }
        match self.peek() {
            Some('\'') if !in_quotes => {
                self.rest.next();
                self.ansi_quoted()
            }
            Some('"') if !in_quotes => {
                self.rest.next();
                self.double_quoted(Some('"'))
            }
            Some('(') if self.rest.as_str().starts_with("((") => self.arithmetic(),
            Some('(') => {
                self.rest.next();
                self.substitution()
            }
            Some('[') => {
                let inner = self.balanced('[', ']')?;
                self.nested(inner)?;
                self.unknown();
                Ok(())
            }
            Some('{') => self.braced_parameter(),
            Some(c) if c.is_ascii_alphabetic() || c == '_' => {
                self.named();
                Ok(())
            }
            Some(c) if c.is_ascii_digit() || "@*#?-$!".contains(c) => {
                self.rest.next();
                self.unknown();
                Ok(())
            }
            _ => {
                self.word.text.push('$');
                Ok(())
            }
        }
    }

    fn named(&mut self) {
        let text = self.rest.as_str();
        let end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len());
        let (name, rest) = text.split_at_checked(end).unwrap_or((text, ""));
        self.rest = rest.chars();
        self.value_of(name);
    }

    fn value_of(&mut self, name: &str) {
        self.word.computed |= name == "IFS";
        match self.variables.get(name) {
            Some(value) => {
                self.word.expansions = self.word.expansions.saturating_add(1);
                self.word.text.push_str(value);
            }
            // Where a person's files are; a word that starts with it is known when it runs, like any with a variable.
            None if name == "HOME" => {
                self.word.expansions = self.word.expansions.saturating_add(1);
                self.word.text.push('~');
            }
            None => self.unknown(),
        }
    }

    /// `$((…))`, or a subshell in a substitution, `$( (…) )`, which the shell tells apart by its end.
    fn arithmetic(&mut self) -> Result<(), Unreadable> {
        let inner = self.balanced('(', ')')?;
        let script = inner.strip_prefix('(').and_then(|inner| inner.strip_suffix(')')).unwrap_or(inner);
        if script.starts_with('(') && script.ends_with(')') {
            self.nested(script)?;
        } else {
            self.word.scripts.push(script.to_owned());
        }
        self.unknown();
        Ok(())
    }

    fn braced_parameter(&mut self) -> Result<(), Unreadable> {
        let inner = self.balanced('{', '}')?;
        let inner = inner.strip_prefix('{').and_then(|inner| inner.strip_suffix('}')).unwrap_or(inner);
        let end = inner.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(inner.len());
        let (name, operation) = inner.split_at_checked(end).unwrap_or((inner, ""));
        self.nested(operation)?;
        if operation == "@P" {
            // The value is read like a prompt: its substitutions run.
            let value = self.variables.get(name).cloned();
            self.word.scripts.push(value.unwrap_or_else(|| format!("eval \"${name}\"")));
        }
        match operation.chars().next() {
            None if !name.is_empty() => self.value_of(name),
            _ if name == "IFS" => {
                self.word.computed = true;
                self.unknown();
            }
            // A default or an alternative is text that the script itself shows.
            Some(':' | '-' | '=' | '+' | '?') if !is_substring(operation) => self.default(name, operation),
            Some('[') => self.unknown(),
            _ => {
                self.word.computed = !name.is_empty() || inner.starts_with('!');
                self.unknown();
            }
        }
        Ok(())
    }

    /// `${x:-text}`: the value, or the text where that is plain.
    fn default(&mut self, name: &str, operation: &str) {
        let text = operation.trim_start_matches([':', '-', '=', '+', '?']);
        let plain = !text.is_empty() && text.bytes().all(is_plain) && !self.variables.contains_key(name);
        if plain {
            self.word.expansions = self.word.expansions.saturating_add(1);
            self.word.text.push_str(text);
        } else {
            self.value_of(name);
        }
    }

    /// Keeps the substitutions within text that is itself not one.
    fn nested(&mut self, text: &str) -> Result<(), Unreadable> {
        self.word.scripts.extend(substitutions_in(text)?);
        Ok(())
    }

    fn backquoted(&mut self) -> Result<(), Unreadable> {
        let mut script = String::new();
        loop {
            match self.rest.next() {
                None => return Err(Unreadable("a back quote does not end")),
                Some('`') => break,
                Some('\\') => match self.rest.next() {
                    Some(c @ ('`' | '\\' | '$')) => script.push(c),
                    Some(c) => script.extend(['\\', c]),
                    None => return Err(Unreadable("a back quote does not end")),
                },
                Some(c) => script.push(c),
            }
        }
        self.word.scripts.push(script);
        self.unknown();
        Ok(())
    }

    /// After `$(` or `<(`.
    fn substitution(&mut self) -> Result<(), Unreadable> {
        let text = self.rest.as_str();
        let end = end_of_script(text).ok_or(Unreadable("a substitution does not end"))?;
        let (script, rest) = text.split_at_checked(end).ok_or(Unreadable("a substitution does not end"))?;
        self.rest = rest.chars();
        self.rest.next();
        self.word.scripts.push(script.to_owned());
        self.unknown();
        Ok(())
    }

    /// From the opening sign that is next, to its partner; quotes are looked at, both signs are included.
    fn balanced(&mut self, open: char, close: char) -> Result<&'a str, Unreadable> {
        let text = self.rest.as_str();
        let end = end_of_balanced(text, open, close).ok_or(Unreadable("an expansion does not end"))?;
        let (inner, rest) = text.split_at_checked(end).ok_or(Unreadable("an expansion does not end"))?;
        self.rest = rest.chars();
        Ok(inner)
    }

    fn ansi_quoted(&mut self) -> Result<(), Unreadable> {
        let before = self.word.text.len();
        let mut escaped = false;
        loop {
            match self.rest.next().ok_or(Unreadable("a quote does not end"))? {
                '\'' => break,
                '\\' => {
                    let character =
                        super::escape::ansi(&mut self.rest).ok_or(Unreadable("a quote does not end"))?;
                    escaped |= character.is_ascii_alphanumeric() || character == '/';
                    self.word.text.push(character);
                }
                c => self.word.text.push(c),
            }
        }
        self.look_for_hidden(before);
        if escaped {
            // A letter that is spelt by its number hides, whether or not there is more beside it.
            self.hidden = true;
            self.pieces = self.pieces.max(2);
        }
        Ok(())
    }
}

/// The substitutions in text that is an arithmetic expression or the operand of an expansion.
pub(super) fn substitutions_in(text: &str) -> Result<Vec<String>, Unreadable> {
    if !text.contains(['$', '`', '<', '>']) {
        return Ok(Vec::new());
    }
    let nothing = Variables::new();
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find(['$', '`', '<', '>']) {
        let (_, from) = rest.split_at_checked(at).unwrap_or(("", rest));
        let starts = from.starts_with("$(") || from.starts_with("${") || from.starts_with('`');
        if !(starts || from.starts_with("<(") || from.starts_with(">(")) {
            rest = from.get(1..).unwrap_or_default();
            continue;
        }
        let mut reader = Reader::new(from, &nothing);
        match reader.rest.next() {
            Some(sign @ ('$' | '`')) => reader.expansion(sign, true)?,
            _ => {
                reader.rest.next();
                reader.substitution()?;
            }
        }
        rest = reader.rest.as_str();
        found.append(&mut reader.word.scripts);
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(written: &str) -> String {
        read(written, &Variables::new()).unwrap().text
    }

    #[test]
    fn a_word_is_what_the_program_gets() {
        for (written, expected) in [
            ("ls", "ls"),
            ("un\"\"share", "unshare"),
            ("u\\nshare", "unshare"),
            ("'don'\\''t'", "don't"),
            ("\"a $x b\"", "a \u{1} b"),
            ("\"a \\$x \\n\"", "a $x \\n"),
            ("$'\\x6e\\163'", "ns"),
            ("a\\\nb", "ab"),
            ("${x:-$(id)}", "\u{1}"),
            ("$(echo \")\" # )\n)x", "\u{1}x"),
            ("`id`", "\u{1}"),
            ("--file=<(sort x)", "--file=\u{1}"),
            ("/proc/$$/root", "/proc/\u{1}/root"),
            ("+(mount)", "mount"),
        ] {
            assert_eq!(text(written), expected, "{written}");
        }
    }

    #[test]
    fn every_substitution_is_found_wherever_it_hides() {
        for written in [
            "$(id)",
            "`id`",
            "\"$(id)\"",
            "\"`id`\"",
            "${x:-$(id)}",
            "\"${x:-`id`}\"",
            "$(( a[$(id)] ))",
            "$[ $(id) ]",
            "<(id)",
            ">(id)",
            "a=<(id)",
            "$\"$(id)\"",
            "+($(id))",
            "${x/$(id)/b}",
            "${x[$(id)]}",
            "$((1+`id`))",
            "${a:$(id)}",
        ] {
            let word = read(written, &Variables::new()).unwrap();
            assert!(word.scripts.iter().any(|found| found == "id"), "{written}: {word:?}");
            assert!(!word.is_literal(), "{written}");
        }
        for written in ["'$(id)'", "\\$\\(id\\)", "\"\\$(id)\"", "$'$(id)'"] {
            assert!(read(written, &Variables::new()).unwrap().scripts.is_empty(), "{written}");
        }
    }

    #[test]
    fn a_word_that_ends_elsewhere_for_the_shell_is_unreadable() {
        for written in ["'a", "\"a", "$(a", "`a", "${a", "a b", "a;b", "$(a # )", "\"$(a\""] {
            assert!(read(written, &Variables::new()).is_err(), "{written}");
        }
    }
}
