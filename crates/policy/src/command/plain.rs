//! The tree of an everyday script, without the parser.
//!
//! Most of what an agent runs is words, in quotes or not, between `|`, `&&`, `||` and `;`. The parser spends more on such a
//! text than everything that is asked about it afterwards. What is read here is only what leaves no choice; at the first
//! character that might mean something else the parser reads all of it. The two give the same tree: a test compares them, over
//! the corpus and over texts that nobody wrote.

use brush_parser::ast::{
    AndOr, AndOrList, Command, CommandPrefixOrSuffixItem as Item, CommandSuffix, CompoundList,
    CompoundListItem, Pipeline, Program, SeparatorOperator, SimpleCommand, Word,
};

/// Bytes of the longest text that is read here.
const LONGEST: usize = 4096;

/// The tree of `text`, where nothing in it can be read in two ways.
pub(super) fn tree(text: &str) -> Option<Program> {
    // What the checks before the parser look for, in quotes as well.
    if text.len() > LONGEST || text.contains("<<") || text.contains("${") {
        return None;
    }
    let mut rest = text.trim_matches(BLANKS);
    let mut script = Script::default();
    loop {
        let length = length_of_word(rest)?;
        let (word, behind) = rest.split_at_checked(length)?;
        script.word(word)?;
        let blank = behind.trim_start_matches(BLANKS);
        let (operator, next) = operator(blank)?;
        if let Some(operator) = operator {
            script.end(operator);
        } else if next.is_empty() {
            return script.program();
        } else if blank.len() == behind.len() {
            return None;
        }
        rest = next.trim_start_matches(BLANKS);
    }
}

const BLANKS: [char; 2] = [' ', '\t'];

/// What stands between two commands.
#[derive(Clone, Copy)]
enum Operator {
    Pipe,
    And,
    Or,
    Then,
}

/// The operator at the start of `text`, if one is there, and what comes behind it; nothing for one that is not read here.
fn operator(text: &str) -> Option<(Option<Operator>, &str)> {
    let behind = text.trim_start_matches(['|', '&', ';']);
    let sign = text.get(..text.len().checked_sub(behind.len())?)?;
    let operator = match sign {
        "" => None,
        "|" => Some(Operator::Pipe),
        "&&" => Some(Operator::And),
        "||" => Some(Operator::Or),
        ";" => Some(Operator::Then),
        _ => return None,
    };
    Some((operator, behind))
}

/// Bytes of the word at the start of `text`; nothing when there is none, or one that only the parser can read.
fn length_of_word(text: &str) -> Option<usize> {
    let mut letters = text.bytes().enumerate().peekable();
    let mut end = text.len();
    while let Some((at, letter)) = letters.next() {
        match letter {
            b' ' | b'\t' | b'|' | b'&' | b';' => {
                end = at;
                break;
            }
            b'\'' => while letters.next()?.1 != b'\'' {},
            b'"' => loop {
                match letters.next()?.1 {
                    b'"' => break,
                    b'\\' | b'`' => return None,
                    b'$' => variable(letters.peek()?.1)?,
                    _ => {}
                }
            },
            b'$' => variable(letters.peek()?.1)?,
            _ if is_plain(letter) => {}
            _ => return None,
        }
    }
    (end > 0).then_some(end)
}

/// Whether what follows a `$` begins a name.
fn variable(letter: u8) -> Option<()> {
    (letter.is_ascii_alphabetic() || letter == b'_').then_some(())
}

/// Whether a letter means itself in a word, to the parser.
const fn is_plain(letter: u8) -> bool {
    letter.is_ascii_alphanumeric()
        || matches!(
            letter,
            b'_' | b'.' | b'/' | b',' | b':' | b'=' | b'@' | b'%' | b'+' | b'-' | b'~' | b'*' | b'?'
        )
}

/// Words with a meaning of their own at some place.
fn is_reserved(word: &str) -> bool {
    matches!(
        word,
        "case"
            | "coproc"
            | "do"
            | "done"
            | "elif"
            | "else"
            | "esac"
            | "fi"
            | "for"
            | "function"
            | "if"
            | "in"
            | "select"
            | "then"
            | "time"
            | "until"
            | "while"
    )
}

/// Whether a word may be an assignment.
fn is_assignment(word: &str) -> bool {
    word.contains('=') && word.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
}

/// The tree so far.
#[derive(Default)]
struct Script {
    items: Vec<CompoundListItem>,
    /// The list in which the last command stands: its first pipeline, and the others.
    first: Option<Pipeline>,
    others: Vec<AndOr>,
    /// How the pipeline that is being read goes on from the one before it.
    joined: Option<Operator>,
    commands: Vec<Command>,
    name: Option<Word>,
    suffix: Vec<Item>,
}

impl Script {
    fn word(&mut self, text: &str) -> Option<()> {
        if is_reserved(text) || is_assignment(text) {
            return None;
        }
        let word = Word { value: text.to_owned(), loc: None };
        match self.name {
            None => self.name = Some(word),
            Some(_) => self.suffix.push(Item::Word(word)),
        }
        Some(())
    }

    /// What `operator` ends: a command, and all that it is the last of.
    fn end(&mut self, operator: Operator) {
        let suffix = std::mem::take(&mut self.suffix);
        self.commands.push(Command::Simple(SimpleCommand {
            prefix: None,
            word_or_name: self.name.take(),
            suffix: (!suffix.is_empty()).then_some(CommandSuffix(suffix)),
        }));
        if matches!(operator, Operator::Pipe) {
            return;
        }
        let pipeline = Pipeline { timed: None, bang: false, seq: std::mem::take(&mut self.commands) };
        match self.joined {
            Some(Operator::And) => self.others.push(AndOr::And(pipeline)),
            Some(Operator::Or) => self.others.push(AndOr::Or(pipeline)),
            _ => self.first = Some(pipeline),
        }
        self.joined = Some(operator);
        if matches!(operator, Operator::Then)
            && let Some(first) = self.first.take()
        {
            let list = AndOrList { first, additional: std::mem::take(&mut self.others) };
            self.items.push(CompoundListItem(list, SeparatorOperator::Sequence));
        }
    }

    fn program(mut self) -> Option<Program> {
        self.name.as_ref()?;
        self.end(Operator::Then);
        Some(Program { complete_commands: vec![CompoundList(self.items)] })
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;

    use super::super::parse::parsed;
    use super::*;

    /// A tree without the places of its words.
    fn written(program: &Program) -> String {
        let mut text = format!("{program:?}");
        while let Some(at) = text.find("loc: Some(") {
            let end = text.get(at..).and_then(|rest| rest.find("})")).unwrap();
            let end = at + end + text.get(at + end..).unwrap().find(')').unwrap();
            text.replace_range(at..=end, "loc: None");
        }
        text
    }

    /// Whether `text` is read here; the parser is of the same mind then.
    fn is_read(text: &str) -> bool {
        let Some(ours) = tree(text) else { return false };
        let theirs = parsed(text).unwrap_or_else(|why| panic!("{text:?}: the parser says {why}"));
        assert_eq!(written(&ours), written(&theirs), "{text:?}");
        true
    }

    #[test]
    fn everyday_scripts_are_read_as_the_parser_reads_them() {
        for text in [
            "ls",
            " ls\t-l  'a b' ",
            "git log --oneline | head -n 3 && echo \"$HOME/x y\"; date||true",
            "a|b|c;d&&e||f|g;h",
            "find . -name '*.rs' ~/x ?.c",
            "echo ''\"\"'a'b \"it's\" 'say \"x\"' $HOME$USER",
            "echo 'a\nb'",
        ] {
            assert!(is_read(text), "{text:?}");
        }
    }

    #[test]
    fn what_might_mean_something_else_is_left_to_the_parser() {
        for text in [
            "",
            " ",
            ";",
            "ls;",
            "ls|",
            "|ls",
            "a;;b",
            "a|&b",
            "a&b",
            "a&&",
            "a &&& b",
            "a > b",
            "2>x a",
            "a <b",
            "a\nb",
            "A=b c",
            "export A=b",
            "if a",
            "time a",
            "echo in",
            "! a",
            "{ a",
            "a }",
            "[ a ]",
            "(a)",
            "a()",
            "a # b",
            "a\\ b",
            "a `b`",
            "a $(b)",
            "a ${b}",
            "a $1",
            "a $'b'",
            "a $",
            "\"$(b)\"",
            "\"a\\b\"",
            "\"$\"",
            "'a",
            "\"a",
            "a[1]",
            "é",
            "a\u{a0}b",
            "<<",
            "'<<'",
            "echo !x",
            "a\rb",
        ] {
            assert_eq!(tree(text).map(|it| written(&it)), None, "{text:?}");
        }
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "the test reads the repository that it is part of")]
    fn half_of_the_corpus_needs_no_parser() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/commands/corpus.jsonl");
        let text = std::fs::read_to_string(path).unwrap();
        let command = |line: &str| {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            line.get("cmd").and_then(|cmd| cmd.as_str()).unwrap().to_owned()
        };
        let all: Vec<String> = text.lines().map(command).collect();
        let read = all.iter().filter(|text| is_read(text)).count();
        assert!(read * 2 > all.len(), "{read} of {}", all.len());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]
        #[test]
        fn both_read_the_same(pieces in prop::collection::vec(prop::sample::select(vec![
            "a", "ls", "-l", " ", "  ", "\t", "|", "||", "&&", ";", "&", "'", "\"", "$", "A", "=", "A=b", "if", "in", "do",
            "time", "!", "~", "*", "?", "#", "\\", "\n", "1", "2", ">", "<", "(", ")", "{", "}", "[", "]", "é", "@", "+", "/",
            "'a b'", "\"a $B\"", ".", ":", ",", "%", "^", "$H", "x y",
        ]), 0..12)) {
            is_read(&pieces.concat());
        }
    }
}
