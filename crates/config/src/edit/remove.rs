//! Removes a member or an element, with the comma after it, and its line when nothing else is on it.

use super::splice;

/// The text without what stands from `start` to `end` and the comma that follows it.
pub(super) fn entry(text: &str, start: usize, end: usize) -> String {
    let comma = comma_after(text, end);
    let mut edits = vec![(start, end, String::new())];
    match comma {
        // With nothing but space before the comma, the two are one piece.
        Some(at) if text.get(end..at).is_some_and(|between| between.trim().is_empty()) => {
            edits = vec![whole_line(text, start, at.saturating_add(1))];
        }
        Some(at) => edits.push((at, at.saturating_add(1), String::new())),
        // The last one: a comma before it may stay, as JSON5 allows.
        None => edits = vec![whole_line(text, start, end)],
    }
    splice(text, &edits)
}

/// The range with its whole line, when nothing else is on it; else with the space behind it.
fn whole_line(text: &str, start: usize, end: usize) -> (usize, usize, String) {
    let before = text.get(..start).unwrap_or_default();
    let line = before.rfind('\n').map(|at| at.saturating_add(1));
    let after = text.get(end..).unwrap_or_default();
    let blanks = after.len().saturating_sub(after.trim_start_matches([' ', '\t']).len());
    let ends_line = after.get(blanks..).is_some_and(|rest| rest.starts_with('\n'));
    match line {
        Some(line) if ends_line && before.get(line..).is_some_and(|indent| indent.trim().is_empty()) => {
            (line, end.saturating_add(blanks).saturating_add(1), String::new())
        }
        _ => (start, end.saturating_add(if ends_line { 0 } else { blanks }), String::new()),
    }
}

/// The comma that follows, over white space and comments.
fn comma_after(text: &str, end: usize) -> Option<usize> {
    let mut rest = text.get(end..)?;
    loop {
        rest = rest.trim_start_matches(|c: char| c.is_whitespace() || c == '\u{feff}');
        if let Some(comment) = rest.strip_prefix("//") {
            rest = comment.find(['\n', '\r', '\u{2028}', '\u{2029}']).and_then(|at| comment.get(at..))?;
        } else if let Some(comment) = rest.strip_prefix("/*") {
            rest = comment.find("*/").and_then(|at| comment.get(at.saturating_add(2)..))?;
        } else {
            return rest.starts_with(',').then(|| text.len().saturating_sub(rest.len()));
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::edit::unset;

    #[test]
    fn what_is_removed_leaves_everything_else_as_it_was() {
        for (text, path, expected) in [
            ("{ a: 1, b: 2 }", "a", "{ b: 2 }"),
            ("{ a: 1, b: 2 }", "b", "{ a: 1, }"),
            ("{\n  a: 1, // one\n  b: 2,\n}", "b", "{\n  a: 1, // one\n}"),
            ("{\n  // first\n  a: 1,\n  b: 2\n}", "a", "{\n  // first\n  b: 2\n}"),
            ("{ a: 1 /* x, y */, b: 2 }", "a", "{  /* x, y */ b: 2 }"),
            ("{ a: [1, 2, 3] }", "a[1]", "{ a: [1, 3] }"),
            ("{ a: 1 }", "a", "{ }"),
        ] {
            assert_eq!(unset(text, path).unwrap(), expected, "{path} of {text}");
        }
        assert!(unset("{ a: 1 }", "b").is_err() && unset("{ a: 1 }", "a.b").is_err());
    }
}
