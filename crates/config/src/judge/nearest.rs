//! The nearest of some names, for a key or value that was mistyped.

/// The longest name that is compared: no setting's is longer.
const LONGEST: usize = 64;

/// The candidate that `name` was probably meant to be: at most a third of it differs, or one is the
/// beginning of the other.
pub(super) fn nearest<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let name: Vec<char> = name.chars().flat_map(char::to_lowercase).take(LONGEST.saturating_add(1)).collect();
    if name.is_empty() || name.len() > LONGEST {
        return None;
    }
    let most = (name.len() / 3).max(1);
    let distances = candidates.filter_map(|candidate| {
        let folded: Vec<char> = candidate.chars().flat_map(char::to_lowercase).collect();
        let shares_start = name.len() >= 4 && (folded.starts_with(&name) || name.starts_with(&folded));
        let distance = distance(&name, &folded);
        (distance <= most || shares_start).then_some((distance, candidate))
    });
    distances.min().map(|(_, candidate)| candidate)
}

/// How many characters are inserted, removed, replaced or swapped with their neighbour.
fn distance(left: &[char], right: &[char]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    let cell = |row: &[usize], at: usize| row.get(at).copied().unwrap_or(usize::MAX);
    for (i, l) in left.iter().enumerate() {
        let mut next = vec![i.saturating_add(1)];
        for (j, r) in right.iter().enumerate() {
            let replaced = cell(&row, j).saturating_add(usize::from(l != r));
            let shifted = cell(&row, j.saturating_add(1)).min(cell(&next, j)).saturating_add(1);
            let is_swap = i > 0
                && j > 0
                && left.get(i.saturating_sub(1)) == Some(r)
                && right.get(j.saturating_sub(1)) == Some(l);
            let swapped =
                if is_swap { cell(&before, j.saturating_sub(1)).saturating_add(1) } else { usize::MAX };
            next.push(replaced.min(shifted).min(swapped));
        }
        before = std::mem::replace(&mut row, next);
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistyped_name_finds_the_one_that_was_meant() {
        let names = ["port", "bind", "auth", "mode", "controlUi", "timeoutSeconds", "token"];
        for (typed, expected) in [
            ("prot", Some("port")),
            ("Port", Some("port")),
            ("controllUI", Some("controlUi")),
            ("timeout", Some("timeoutSeconds")),
            ("tokens", Some("token")),
            ("colour", None),
            ("x", None),
            ("", None),
        ] {
            assert_eq!(nearest(typed, names.into_iter()), expected, "{typed}");
        }
        assert_eq!(nearest(&"x".repeat(1_000_000), names.into_iter()), None);
    }
}
