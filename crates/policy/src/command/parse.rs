//! From text to a tree: everyday scripts at once, all others by the calls of the parser that keep nothing of what they read.

use std::borrow::Cow;
use std::panic::AssertUnwindSafe;

use brush_parser::ast::{
    Command, CommandPrefixOrSuffixItem as Item, CompoundList, Program, SeparatorOperator,
};
use brush_parser::{ParserOptions, Token, TokenizerOptions, parse_tokens, uncached_tokenize_str};

use super::plain;
use super::word::{self, Variables, Word};

/// How many openings of groups, loops and substitutions one script may have: the parser descends into each.
const OPENINGS: usize = 400;
/// How deep parentheses and `case` may stand in each other. The parser tries each in two ways, arithmetic and a group, a
/// pattern and a command, so that its time doubles with every level of a script that is wrong.
const LEVELS: usize = 8;
/// How many variables may have a subscript in which something is put in, where an element of an array may be set.
const SUBSCRIPTS: usize = 2;
/// Digits of the number of a descriptor. The parser does not survive one that does not fit; no program has so many.
const DESCRIPTOR_DIGITS: usize = 9;

/// The tree of a script, or why there is none.
pub(super) fn parse(text: &str) -> Result<Program, String> {
    plain::tree(text).map_or_else(|| parsed(text), Ok)
}

/// The same, by the parser.
pub(super) fn parsed(text: &str) -> Result<Program, String> {
    caught(|| tree(text)).unwrap_or_else(|| Err("the parser gives up at it".into()))
}

/// What `read` comes to; nothing where the parser gives up the thread, as it does at texts that nobody has thought of. It keeps
/// nothing of what it has read, so there is nothing to be wrong afterwards.
fn caught<T>(read: impl FnOnce() -> T) -> Option<T> {
    std::panic::catch_unwind(AssertUnwindSafe(read)).ok()
}

fn tree(text: &str) -> Result<Program, String> {
    let options = ParserOptions::default();
    // The parser calls itself for each opening: more than these could use up the stack before it says no.
    let openings = text.bytes().filter(|byte| matches!(byte, b'(' | b'`' | b'{')).count();
    if openings > OPENINGS.saturating_mul(4) {
        return Err("it has too many groups and substitutions".into());
    }
    if sets_element(text) && subscripts(text) > SUBSCRIPTS {
        return Err("subscripts stand too deep in subscripts".into());
    }
    if has_blank_document(text) {
        return Err("the word of a here-document stands apart; write it right behind `<<`".into());
    }
    let tokens = uncached_tokenize_str(&ended(text), &TokenizerOptions::default())
        .map_err(|error| error.to_string())?;
    let opens = |token: &&Token| {
        matches!(
            token.to_str(),
            "(" | "(("
                | "{"
                | "[["
                | "!"
                | "if"
                | "while"
                | "until"
                | "for"
                | "case"
                | "select"
                | "coproc"
                | "time"
                | "function"
        )
    };
    if tokens.iter().filter(opens).count() > OPENINGS {
        return Err("it has too many groups and loops".into());
    }
    levels(&tokens)?;
    if has_parted_doubles(&tokens) {
        return Err("two parentheses with a blank between them can be read in two ways; write `{ …; }` for one of them".into());
    }
    if tokens
        .windows(2)
        .any(|pair| matches!(pair, [number, redirection] if is_descriptor(number, redirection)))
    {
        return Err("the number of a descriptor is too great".into());
    }
    parse_tokens(&tokens, &options).map_err(|error| error.to_string())
}

/// Whether a name with a subscript stands outside `${…}`, as where an element of an array is set.
fn sets_element(text: &str) -> bool {
    let is_one = |at: usize| {
        let (before, _) = text.split_at_checked(at).unwrap_or_default();
        let head = before.trim_end_matches(|c: char| c.is_ascii_alphanumeric() || c == '_');
        head.len() < before.len() && !head.ends_with(['{', '!', '#', '$'])
    };
    text.match_indices('[').any(|(at, _)| is_one(at))
}

/// How many variables have a subscript in which something is put in. The parser tries each within another, in the subscript of an
/// assignment, in so many ways that six of them take it a quarter of a minute. Those in a row are counted as well: more than has to
/// be is refused.
fn subscripts(text: &str) -> usize {
    // Each ends where the next begins: what is put in is seen by that as well.
    let is_one = |rest: &&str| {
        let Some((name, subscript)) = rest.split_once('[') else { return false };
        let plain = subscript.split_once('}').map(|(inner, _)| inner);
        let is_plain = plain.is_some_and(|inner| !inner.contains(['$', '"', '\'', '\\', '`', '\n']));
        !name.contains(['}', '{', '$']) && !is_plain
    };
    text.split("${").skip(1).filter(is_one).count()
}

/// The text with the end of its last line. Without it the parser never ends where a here-document's word is empty, as in
/// `cat <<"" x`, because it looks for that word at the end of the text, again and again. A text whose end is escaped is left as it
/// is: to bash a backslash there is one, and not the continuation of a line, and the parser refuses it.
fn ended(text: &str) -> Cow<'_, str> {
    let backslashes = text.bytes().rev().take_while(|byte| *byte == b'\\').count();
    if backslashes % 2 == 1 || !text.contains("<<") {
        Cow::Borrowed(text)
    } else {
        Cow::Owned(format!("{text}\n"))
    }
}

/// Whether a here-document within a substitution has no word where it should stand, or an empty one: the parser takes a blank for
/// it, and gives up the whole program at what follows. Where quotes end is not looked at: more is refused than has to be.
fn has_blank_document(text: &str) -> bool {
    let nested = text.contains("$(") || text.contains("$[");
    let is_blank = |rest: &str| {
        let rest = rest.strip_prefix('-').unwrap_or(rest);
        let rest = rest.strip_prefix([' ', '\t']).or_else(|| rest.strip_prefix("\\\n")).unwrap_or(rest);
        let word = rest.split(|c: char| c.is_whitespace() || "<>;&|()".contains(c)).next().unwrap_or(rest);
        word.trim_matches(['\'', '"', '\\', '$']).is_empty()
    };
    let documents =
        text.match_indices("<<").filter_map(|(at, sign)| text.get(at.saturating_add(sign.len())..));
    // A word to read, `<<<`, is none.
    nested && documents.filter(|rest| !rest.starts_with('<')).any(is_blank)
}

/// Refuses parentheses that do not end, and levels upon levels. It may count too many, and never too few: a `)` that ends
/// nothing, as behind a pattern, takes nothing off, and `esac` takes off no parenthesis.
fn levels(tokens: &[Token]) -> Result<(), &'static str> {
    // Parentheses that are open: before the first `case`, then within each.
    let mut open = vec![0_usize];
    let mut begins = true;
    for token in tokens {
        let operator = matches!(token, Token::Operator(..));
        match token.to_str() {
            "(" if operator => open.iter_mut().rev().take(1).for_each(|open| *open = open.saturating_add(1)),
            ")" if operator => open.iter_mut().rev().take(1).for_each(|open| *open = open.saturating_sub(1)),
            "case" => open.push(0),
            "esac" if begins && open.len() > 1 => {
                let left = open.pop().unwrap_or_default();
                open.iter_mut().rev().take(1).for_each(|open| *open = open.saturating_add(left));
            }
            _ => {}
        }
        if open.iter().sum::<usize>().saturating_add(open.len()) > LEVELS.saturating_add(1) {
            return Err("groups stand too deep in groups");
        }
        begins = operator || token.to_str() == "in";
    }
    if open.iter().any(|open| *open > 0) {
        return Err("a parenthesis does not end");
    }
    Ok(())
}

/// Whether a group in a group stands there as `( ( … ) )`. Bash runs what is in it; the parser, which does not see blanks,
/// takes it for the arithmetic `(( … ))`, in which nothing is a command.
fn has_parted_doubles(tokens: &[Token]) -> bool {
    let sign = |token: &Token, wanted: &str| matches!(token, Token::Operator(text, _) if text == wanted);
    let touches = |at: usize| match (tokens.get(at), tokens.get(at.saturating_add(1))) {
        (Some(Token::Operator(_, place)), Some(Token::Operator(_, after))) => {
            place.end.index == after.start.index
        }
        _ => false,
    };
    // The parentheses that are open, and the last one that ended: where it began and where it ended.
    let (mut open, mut last): (Vec<usize>, Option<(usize, usize)>) = (Vec::new(), None);
    for (at, token) in tokens.iter().enumerate() {
        if sign(token, "(") {
            open.push(at);
        } else if sign(token, ")")
            && let Some(began) = open.pop()
        {
            let is_double = last == Some((began.saturating_add(1), at.saturating_sub(1)));
            if is_double && !(touches(began) && touches(at.saturating_sub(1))) {
                return true;
            }
            last = Some((began, at));
        }
    }
    false
}

/// Whether two tokens are the number of a descriptor and its redirection, with more digits than a number has.
fn is_descriptor(number: &Token, redirection: &Token) -> bool {
    let (Token::Word(digits, place), Token::Operator(sign, after)) = (number, redirection) else {
        return false;
    };
    digits.len() > DESCRIPTOR_DIGITS
        && digits.bytes().all(|digit| digit.is_ascii_digit())
        && sign.starts_with(['<', '>'])
        && place.end.index == after.start.index
}

/// The words of a script that is one simple command, all known, nothing redirected or set.
pub(super) fn simple(program: &Program) -> Option<Vec<String>> {
    let [CompoundList(items)] = program.complete_commands.as_slice() else { return None };
    let [item] = items.as_slice() else { return None };
    let pipeline = Some(&item.0).filter(|list| list.additional.is_empty()).map(|list| &list.first)?;
    let plain = !pipeline.bang && pipeline.timed.is_none() && matches!(item.1, SeparatorOperator::Sequence);
    let [Command::Simple(command)] = pipeline.seq.as_slice() else { return None };
    let name = command.word_or_name.as_ref().filter(|_| plain && command.prefix.is_none())?;
    let nothing = Variables::new();
    let literal =
        |written: &str| word::read(written, &nothing).ok().filter(Word::is_literal).map(|word| word.text);
    let mut words = vec![literal(&name.value).filter(|name| !super::programs::is_builtin(name))?];
    for item in command.suffix.iter().flat_map(|suffix| &suffix.0) {
        match item {
            Item::Word(word) => words.push(literal(&word.value)?),
            Item::AssignmentWord(_, word) => words.push(literal(&word.value)?),
            Item::IoRedirect(_) | Item::ProcessSubstitution(..) => return None,
        }
    }
    Some(words)
}

/// Characters that make a terminal show something else than what runs.
pub(super) fn hidden(script: &str) -> Option<&'static str> {
    if script.bytes().all(|byte| matches!(byte, b'\n' | b'\t' | b' '..=b'~')) {
        return None;
    }
    script.chars().find_map(|c| match c {
        '\n' | '\t' => None,
        '\r' => Some("it has a carriage return, which hides what stands before it from whoever reads it"),
        _ if c.is_control() => {
            Some("it has a control character, which hides what it is from whoever reads it")
        }
        '\u{200b}'..='\u{200f}'
        | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{2069}'
        | '\u{feff}'
        | '\u{61c}'
        | '\u{00ad}'
        | '\u{e0000}'..='\u{e007f}' => {
            Some("it has an invisible character or one that turns the direction of text")
        }
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_parser_gives_up_at_is_unreadable() {
        let read = |text: &str| uncached_tokenize_str(text, &TokenizerOptions::default()).map(|it| it.len());
        assert_eq!(
            caught(|| read("$(r<v<<  e$x)=r; $(rev <<< $x) - n; $(r<v<<  e$x)=r; $(r-t 1\n").ok()),
            None
        );
        assert_eq!(caught(|| read("echo x").ok()), Some(Some(2)));
    }
}
