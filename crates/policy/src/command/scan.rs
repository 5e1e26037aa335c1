//! Where quotes, substitutions and expansions within a word end.

/// Whether what follows a `{` makes the shell write several words.
pub(super) fn is_brace(rest: &str) -> bool {
    let inner = rest.split_once('}').map_or("", |(inner, _)| inner);
    inner.contains(',') || inner.contains("..")
}

/// The words that the first braces of a word make, at most sixteen.
pub(super) fn unbraced(text: &str) -> Vec<String> {
    let Some((before, rest)) = text.split_once('{') else { return Vec::new() };
    let Some((inner, after)) = rest.split_once('}') else { return Vec::new() };
    inner.split(',').take(16).map(|part| format!("{before}{part}{after}")).collect()
}

/// `:2`, `::7`, `: -3`, but not `:-x`.
pub(super) fn is_substring(operation: &str) -> bool {
    operation.strip_prefix(':').is_some_and(|rest| !rest.starts_with(['-', '=', '+', '?']))
}

/// Where the script of a substitution ends: the index of its closing parenthesis.
pub(super) fn end_of_script(text: &str) -> Option<usize> {
    let mut depth = 0_u32;
    let mut rest = text.char_indices();
    let mut before = '\n';
    while let Some((at, c)) = rest.next() {
        match c {
            '\\' => drop(rest.next()),
            '\'' => while rest.next()?.1 != '\'' {},
            '"' => skip_double_quoted(&mut rest)?,
            '#' if " \t\n;|&(".contains(before) => while rest.next()?.1 != '\n' {},
            '(' => depth = depth.saturating_add(1),
            ')' if depth == 0 => return Some(at),
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        before = c;
    }
    None
}

pub(super) fn end_of_balanced(text: &str, open: char, close: char) -> Option<usize> {
    let mut depth = 0_u32;
    let mut rest = text.char_indices();
    while let Some((at, c)) = rest.next() {
        match c {
            '\\' => drop(rest.next()),
            '\'' => while rest.next()?.1 != '\'' {},
            '"' => skip_double_quoted(&mut rest)?,
            _ if c == open => depth = depth.saturating_add(1),
            _ if c == close => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return at.checked_add(c.len_utf8());
                }
            }
            _ => {}
        }
    }
    None
}

/// To the end of a double quote, past substitutions within it, which may have quotes of their own.
fn skip_double_quoted(rest: &mut std::str::CharIndices<'_>) -> Option<()> {
    loop {
        match rest.next()?.1 {
            '"' => return Some(()),
            '\\' => drop(rest.next()),
            '$' if rest.as_str().starts_with('(') => {
                rest.next();
                let end = end_of_script(rest.as_str())?;
                let target = rest.offset().checked_add(end)?;
                while rest.offset() <= target {
                    rest.next()?;
                }
            }
            _ => {}
        }
    }
}
