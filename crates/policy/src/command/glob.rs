//! Wildcards: `*`, `?`, `[abc]`.

use serde::Deserialize;

/// A pattern, read once: it is tried on many words.
#[derive(Clone, Debug, Deserialize)]
#[serde(from = "String")]
pub(super) struct Pattern {
    text: String,
    shape: Shape,
}

/// What a pattern consists of. Stars at the ends alone, or none, are what most have.
#[derive(Clone, Debug)]
enum Shape {
    Begins(String),
    Ends(String),
    Has(String),
    Is,
    Any(Vec<char>),
}

impl From<String> for Pattern {
    fn from(text: String) -> Self {
        let (begins, rest) = text.strip_prefix('*').map_or((false, text.as_str()), |rest| (true, rest));
        let (ends, inner) = rest.strip_suffix('*').map_or((false, rest), |inner| (true, inner));
        let shape = match (begins, ends) {
            _ if is_wild(inner) => Shape::Any(text.chars().collect()),
            (false, false) => Shape::Is,
            (false, true) => Shape::Begins(inner.to_owned()),
            (true, false) => Shape::Ends(inner.to_owned()),
            (true, true) => Shape::Has(inner.to_owned()),
        };
        Self { text, shape }
    }
}

impl Pattern {
    /// As it was written.
    pub(super) fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it fits all of `text`. A star fits anything, a slash as well; time grows with the product of both lengths.
    pub(super) fn fits(&self, text: &str) -> bool {
        match &self.shape {
            Shape::Begins(beginning) => text.starts_with(beginning),
            Shape::Ends(end) => text.ends_with(end),
            Shape::Has(part) => text.contains(part),
            Shape::Is => text == self.text,
            Shape::Any(pattern) => {
                // Most words begin otherwise.
                match (pattern.first(), text.chars().next()) {
                    (Some('*' | '?' | '['), _) | (None, _) => {}
                    (Some(wanted), found) if Some(*wanted) == found => {}
                    (Some(_), _) => return false,
                }
                walk(pattern, &text.chars().collect::<Vec<_>>())
            }
        }
    }
}

/// Whether a text has wildcards.
pub(super) fn is_wild(text: &str) -> bool {
    text.bytes().any(|byte| matches!(byte, b'*' | b'?' | b'['))
}

/// Whether `pattern` fits all of `text`.
pub(super) fn fits(pattern: &str, text: &str) -> bool {
    Pattern::from(pattern.to_owned()).fits(text)
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
