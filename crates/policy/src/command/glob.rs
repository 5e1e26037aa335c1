//! Wildcards: `*`, `?`, `[abc]`.

/// Whether `pattern` fits all of `text`. A star fits anything, a slash as well; time grows with the product of both lengths.
pub(super) fn fits(pattern: &str, text: &str) -> bool {
    if let Some(quick) = quickly(pattern, text) {
        return quick;
    }
    let pattern: Vec<char> = pattern.chars().collect();
    let text: Vec<char> = text.chars().collect();
    walk(&pattern, &text)
}

/// The answer for patterns with stars at the ends alone, or with none: most are.
fn quickly(pattern: &str, text: &str) -> Option<bool> {
    let (begins, rest) = pattern.strip_prefix('*').map_or((false, pattern), |rest| (true, rest));
    let (ends, inner) = rest.strip_suffix('*').map_or((false, rest), |inner| (true, inner));
    if inner.contains(['*', '?', '[']) {
        return None;
    }
    Some(match (begins, ends) {
        (false, false) => inner == text,
        (false, true) => text.starts_with(inner),
        (true, false) => text.ends_with(inner),
        (true, true) => text.contains(inner),
    })
}

fn walk(pattern: &[char], text: &[char]) -> bool {
    // Where the last star was, and the text that it had taken: it takes one more when what follows does not fit.
    let (mut at, mut rest): (&[char], &[char]) = (pattern, text);
    let mut star: Option<(&[char], &[char])> = None;
    loop {
        match (at.split_first(), rest.split_first()) {
            (Some(('*', after)), _) => {
                star = Some((after, rest));
                at = after;
                continue;
            }
            (None, None) => return true,
            (Some((wanted, after)), Some((found, left))) => {
                if let Some(after) = one(*wanted, after, *found) {
                    (at, rest) = (after, left);
                    continue;
                }
            }
            (None, Some(_)) | (Some(_), None) => {}
        }
        match star {
            Some((after, [_, left @ ..])) => {
                star = Some((after, left));
                (at, rest) = (after, left);
            }
            Some(_) | None => return false,
        }
    }
}

/// What is left of the pattern when its first sign fits `found`.
fn one(wanted: char, after: &[char], found: char) -> Option<&[char]> {
    match wanted {
        '?' => Some(after),
        '[' => {
            let Some(end) = after.iter().position(|c| *c == ']') else {
                return (found == '[').then_some(after);
            };
            let (set, rest) = after.split_at_checked(end)?;
            let (negated, set) = match set.split_first() {
                Some(('!' | '^', set)) => (true, set),
                _ => (false, set),
            };
            (in_set(set, found) != negated).then(|| rest.split_first().map_or(&[][..], |(_, rest)| rest))
        }
        _ => (wanted == found).then_some(after),
    }
}

fn in_set(set: &[char], found: char) -> bool {
    set.contains(&found)
        || set.windows(3).any(|range| matches!(range, [low, '-', high] if (*low..=*high).contains(&found)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_fit_what_they_can_spell() {
        for (pattern, text, expected) in [
            ("n?e?ter", "nsenter", true),
            ("[n]senter", "nsenter", true),
            ("[m-o]*r", "nsenter", true),
            ("[!n]*", "nsenter", false),
            ("*a*b", "xxaxxab", true),
            ("a*b", "ac", false),
            ("[", "[", true),
            ("", "", true),
            ("a", "", false),
        ] {
            assert_eq!(fits(pattern, text), expected, "{pattern} {text}");
        }
        assert!(!fits(&"*a".repeat(200), &"a".repeat(150)), "many stars end soon");
    }
}
