//! The owner's allowlist: which programs may run without a question, by the path that they really have.

/// Whether one of `patterns` names the program at `resolved`, its canonical path. A `*` and a `?` stay within a folder,
/// `**` does not; `~` is `home`; upper and lower case differ. A pattern without a folder names nothing, and neither does
/// a path that is not canonical: another file could stand behind it.
pub fn matches(patterns: &[&str], resolved: &str, home: &str) -> bool {
    let canonical =
        resolved.starts_with('/') && resolved.split('/').skip(1).all(|part| !matches!(part, "" | "." | ".."));
    canonical && patterns.iter().any(|pattern| fits(pattern, resolved, home))
}

fn fits(pattern: &str, resolved: &str, home: &str) -> bool {
    let pattern = match pattern.strip_prefix("~/") {
        Some(below) => format!("{}/{below}", home.trim_end_matches('/')),
        None => pattern.to_owned(),
    };
    if !pattern.starts_with('/') {
        return false;
    }
    let pattern: Vec<&str> = pattern.split('/').collect();
    let path: Vec<&str> = resolved.split('/').collect();
    parts_fit(&pattern, &path)
}

fn parts_fit(pattern: &[&str], path: &[&str]) -> bool {
    match (pattern.split_first(), path.split_first()) {
        (None, None) => true,
        (Some((&"**", [])), _) => !path.is_empty(),
        (Some((&"**", rest)), Some((_, left))) => parts_fit(rest, path) || parts_fit(pattern, left),
        (Some((wanted, rest)), Some((part, left))) => part_fits(wanted, part) && parts_fit(rest, left),
        (None, Some(_)) | (Some(_), None) => false,
    }
}

/// Within one part of a path; brackets are letters, as upstream has them.
fn part_fits(wanted: &str, part: &str) -> bool {
    if !wanted.contains(['*', '?']) {
        return wanted == part;
    }
    super::glob::fits(&wanted.replace('[', "[[]"), part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn e11_a_pattern_stays_within_its_folder() {
        for (pattern, resolved, expected) in [
            ("/usr/bin/git", "/usr/bin/git", true),
            ("/usr/bin/*", "/usr/bin/git", true),
            ("/usr/bin/*", "/usr/bin/../../tmp/x", false),
            ("/usr/bin/*", "/usr/bin/x/y", false),
            ("/usr/**/git", "/usr/lib/git-core/git", true),
            ("/usr/**", "/usr/bin/git", true),
            ("/usr/bin/g?t", "/usr/bin/git", true),
            ("/usr/bin/g?t", "/usr/bin/g/t", false),
            ("/usr/bin/git", "/usr/bin/GIT", false),
            ("/usr/bin/git*", "/usr/bin/git-lfs", true),
            ("~/bin/tool", "/home/a/bin/tool", true),
            ("~/bin/*", "/home/b/bin/tool", false),
            ("/usr/bin/[g]it", "/usr/bin/git", false),
            ("/usr/bin/git/", "/usr/bin/git", false),
        ] {
            assert_eq!(matches(&[pattern], resolved, "/home/a"), expected, "{pattern} for {resolved}");
        }
    }

    #[test]
    fn e12_a_name_names_no_program() {
        for resolved in ["/tmp/git", "/usr/bin/git", "git", "./git"] {
            assert!(!matches(&["git", "./git", "bin/git"], resolved, "/home/a"), "{resolved}");
        }
        assert!(!matches(&["/usr/bin/git"], "/tmp/git", "/home/a"));
    }
}
