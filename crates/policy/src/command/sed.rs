//! Scripts of `sed`: those of GNU can start programs and open files.

/// The command that a script starts, when it starts one; empty when it is what the lines say.
pub(super) fn starts(script: &str) -> Option<String> {
    commands(script).find_map(|(command, rest)| match command {
        'e' => Some(rest.to_owned()),
        's' => flags(rest).contains('e').then(String::new),
        _ => None,
    })
}

/// Whether a script reads or writes files of its own.
pub(super) fn opens_files(script: &str) -> bool {
    commands(script).any(|(command, rest)| match command {
        'r' | 'R' | 'w' | 'W' => !rest.trim().is_empty(),
        's' => flags(rest).contains('w'),
        _ => false,
    })
}

/// What follows the replacement of `s`, in front of a file name or the next command.
fn flags(rest: &str) -> String {
    let mut rest = rest.chars();
    let Some(delimiter) = rest.next() else { return String::new() };
    for _ in 0..2 {
        skip(&mut rest, delimiter);
    }
    rest.take_while(|c| !matches!(c, ';' | '}' | '\n' | ' ')).collect()
}

/// To behind the delimiter, which a backslash or brackets hide.
fn skip(rest: &mut std::str::Chars<'_>, delimiter: char) {
    while let Some(c) = rest.next() {
        if c == '\\' {
            rest.next();
        } else if c == delimiter {
            return;
        }
    }
}

/// The commands of a script, each with the rest of its line.
fn commands(script: &str) -> impl Iterator<Item = (char, &str)> {
    let mut rest = script;
    std::iter::from_fn(move || {
        rest = after_address(rest);
        let mut signs = rest.chars();
        let command = signs.next()?;
        let after = signs.as_str();
        let line_end = after.find('\n').unwrap_or(after.len());
        let line = after.get(..line_end).unwrap_or_default();
        let taken = match command {
            's' | 'y' => {
                let mut inner = after.chars();
                if let Some(delimiter) = inner.next() {
                    skip(&mut inner, delimiter);
                    skip(&mut inner, delimiter);
                }
                let before = after.len().saturating_sub(inner.as_str().len());
                inner.as_str().find([';', '\n', '}']).map_or(after.len(), |at| at.saturating_add(before))
            }
            'e' | 'r' | 'R' | 'w' | 'W' | 'a' | 'i' | 'c' | '#' | ':' => line_end,
            _ => 0,
        };
        rest = after.get(taken..).unwrap_or_default();
        Some((command, line))
    })
}

/// Past blanks, separators and the addresses in front of a command.
fn after_address(script: &str) -> &str {
    let mut rest = script;
    loop {
        rest = rest
            .trim_start_matches(|c: char| c.is_whitespace() || c.is_ascii_digit() || ";{},$!~+".contains(c));
        let delimiter = match rest.strip_prefix('\\').and_then(|after| after.chars().next()) {
            Some(own) => Some((own, 2)),
            None => rest.starts_with('/').then_some(('/', 1)),
        };
        let Some((delimiter, length)) = delimiter else { return rest };
        let mut inner = rest.get(length..).unwrap_or_default().chars();
        skip(&mut inner, delimiter);
        rest = inner.as_str().trim_start_matches(['I', 'M']);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_that_starts_a_program_is_seen() {
        for (script, expected) in [
            ("1e mount /dev/sda1 /mnt", true),
            ("s/a/id/e", true),
            ("s/a/b/;s,x,y,ge", true),
            ("/x/{e id\n}", true),
            ("e", true),
            ("\\,x,e id", true),
            ("1,40p", false),
            ("s/.*e/x/g", false),
            ("s/a/e id/", false),
            ("/release/d", false),
            ("y/abe/eba/", false),
            ("a e id", false),
            ("s/\"enabled\": true/\"enabled\": false/", false),
            ("$!N;s/\\n/ /e", true),
        ] {
            assert_eq!(starts(script).is_some(), expected, "{script}");
        }
        assert!(
            opens_files("w /etc/passwd")
                && opens_files("s/a/b/w x")
                && !opens_files("s/w/r/")
                && !opens_files("/w x/p")
        );
    }
}
