//! Programs that only filter their input, with the options that keep them so.

use super::rules::base_name;
use super::verdict::{Argument, Part};

struct Profile {
    name: &'static str,
    /// Short options without a value, by letter.
    letters: &'static str,
    /// Short options with a value, by letter.
    valued: &'static str,
    /// Long options, whole; with `=` behind those that have a value.
    long: &'static [&'static str],
    /// Words that are no options and no files: a filter, a pattern, sets of characters.
    words: usize,
}

/// What each may be given. An option that is not here, or is shortened, is none of them.
const PROFILES: &[Profile] = &[
    Profile {
        name: "cut",
        letters: "nsz",
        valued: "bcdf",
        long: &[
            "--bytes=",
            "--characters=",
            "--delimiter=",
            "--fields=",
            "--complement",
            "--only-delimited",
            "--output-delimiter=",
            "--zero-terminated",
        ],
        words: 0,
    },
    Profile {
        name: "grep",
        letters: "EFGHPachilnoqsvwxyz",
        valued: "ABCme",
        long: &[
            "--extended-regexp",
            "--fixed-strings",
            "--ignore-case",
            "--invert-match",
            "--word-regexp",
            "--line-regexp",
            "--count",
            "--only-matching",
            "--quiet",
            "--line-number",
            "--max-count=",
            "--after-context=",
            "--before-context=",
            "--context=",
            "--regexp=",
        ],
        words: 1,
    },
    Profile {
        name: "head",
        letters: "qvz",
        valued: "cn",
        long: &["--bytes=", "--lines=", "--quiet", "--verbose", "--zero-terminated"],
        words: 0,
    },
    Profile {
        name: "jq",
        letters: "acehjnrsCMRS",
        valued: "",
        long: &[
            "--compact-output",
            "--raw-output",
            "--raw-input",
            "--slurp",
            "--null-input",
            "--sort-keys",
            "--tab",
            "--exit-status",
            "--join-output",
            "--monochrome-output",
        ],
        words: 1,
    },
    Profile {
        name: "sort",
        letters: "bdfghiMnrRsuVz",
        valued: "kt",
        long: &[
            "--ignore-case",
            "--general-numeric-sort",
            "--human-numeric-sort",
            "--month-sort",
            "--numeric-sort",
            "--reverse",
            "--version-sort",
            "--key=",
            "--field-separator=",
            "--stable",
            "--unique",
            "--zero-terminated",
        ],
        words: 0,
    },
    Profile {
        name: "tail",
        letters: "qvz",
        valued: "cn",
        long: &["--bytes=", "--lines=", "--quiet", "--verbose", "--zero-terminated"],
        words: 0,
    },
    Profile {
        name: "tr",
        letters: "cCdst",
        valued: "",
        long: &["--complement", "--delete", "--squeeze-repeats", "--truncate-set1"],
        words: 2,
    },
    Profile {
        name: "uniq",
        letters: "cdDiuz",
        valued: "fsw",
        long: &[
            "--count",
            "--repeated",
            "--ignore-case",
            "--unique",
            "--skip-fields=",
            "--skip-chars=",
            "--check-chars=",
            "--zero-terminated",
        ],
        words: 0,
    },
    Profile {
        name: "wc",
        letters: "clmwL",
        valued: "",
        long: &["--bytes", "--chars", "--lines", "--words", "--max-line-length"],
        words: 0,
    },
];

/// Whether a part only filters its standard input: a known filter, without files, with known options alone, every word
/// known before it runs, and nothing redirected, set or wrapped around it. The caller makes sure that the program is the
/// system's own, and that it runs without a shell.
pub fn is_safe(part: &Part) -> bool {
    let Some(program) = part.program.as_deref() else { return false };
    let Some(profile) = PROFILES.iter().find(|profile| profile.name == base_name(program)) else {
        return false;
    };
    let plain = part.redirects.is_empty() && part.environment.is_empty() && part.wrappers.is_empty();
    plain && options_are_safe(profile, &part.arguments)
}

fn options_are_safe(profile: &Profile, arguments: &[Argument]) -> bool {
    let mut words = profile.words;
    let mut rest = arguments.iter();
    let mut options = true;
    while let Some(argument) = rest.next() {
        // `$`, a back quote and a wildcard are for a shell; a word that has one was meant for one.
        let Some(text) = argument.literal() else { return false };
        if options && text == "--" {
            options = false;
        } else if options && text.starts_with("--") {
            if !long_is_safe(profile, text) {
                return false;
            }
        } else if options && text.starts_with('-') && text.len() > 1 {
            let Some(takes_value) = short_is_safe(profile, text) else { return false };
            let pattern = profile.name == "grep" && text.contains('e');
            if takes_value && rest.next().is_none_or(|value| value.literal().is_none()) {
                return false;
            }
            if pattern {
                words = 0;
            }
        } else {
            words = match words.checked_sub(1) {
                Some(left) if word_is_safe(profile, text) => left,
                Some(_) | None => return false,
            };
        }
    }
    true
}

fn long_is_safe(profile: &Profile, text: &str) -> bool {
    match text.split_once('=') {
        Some((name, _)) => profile.long.iter().any(|known| known.strip_suffix('=') == Some(name)),
        None => profile.long.contains(&text),
    }
}

/// Whether the next word is the value of a cluster of short options; nothing when one of them is not known.
fn short_is_safe(profile: &Profile, text: &str) -> Option<bool> {
    let mut letters = text.chars().skip(1);
    // `head -5` is an old form of `head -n 5`.
    if text.chars().skip(1).all(|c| c.is_ascii_digit()) && matches!(profile.name, "head" | "tail") {
        return Some(false);
    }
    while let Some(letter) = letters.next() {
        if profile.valued.contains(letter) {
            return Some(letters.next().is_none());
        }
        if !profile.letters.contains(letter) {
            return None;
        }
    }
    Some(false)
}

/// A filter of `jq` may name the environment and files; a pattern of `grep` must not look like a file that was meant.
fn word_is_safe(profile: &Profile, text: &str) -> bool {
    const FORBIDDEN: &[&str] = &[
        "env",
        "$ENV",
        "$__",
        "input",
        "include",
        "import",
        "debug",
        "getpath",
        "limit",
        "ltrimstr",
        "@sh",
        "halt",
        "get_search_list",
        "modulemeta",
        "stderr",
        "now",
        "splits",
    ];
    match profile.name {
        "jq" => !FORBIDDEN.iter().any(|word| text.contains(word)),
        _ => !text.starts_with(['/', '~']) && !text.starts_with("./") && !text.starts_with("../"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Rules, judge};
    use super::*;

    fn safe(script: &str) -> bool {
        let verdict = judge(script, Rules::built_in().unwrap());
        matches!(verdict.parts.as_slice(), [part] if is_safe(part))
    }

    #[test]
    fn e06_e07_what_a_filter_could_do_besides_is_not_safe() {
        for script in [
            "grep \"$(touch x)\"",
            "grep \"`id`\"",
            "sort --compress-program=sh",
            "sort --compress-prog=sh",
            "sort --comp=sh",
            "sort -o out.txt",
            "sort -oout",
            "sort --output=x",
            "sort -T /tmp",
            "sort --files0-from=x",
            "sort --parallel=9",
            "sort --random-source=x",
            "grep -f/etc/passwd x",
            "grep -f /etc/passwd x",
            "grep --file=x y",
            "grep -r x",
            "grep -R x .",
            "grep --recursive x",
            "grep --include=x y",
            "grep x file",
            "grep x /etc/passwd",
            "head -c5 passwd*",
            "head passwd",
            "head -n 5 passwd",
            "tail -f x",
            "tail -F",
            "tail --follow",
            "tail --pid=1",
            "jq env",
            "jq -n env",
            "jq -n '$ENV'",
            "jq 'env.X'",
            "jq -n '$ENV.X'",
            "jq -f x",
            "jq --from-file x",
            "jq --slurpfile a b .",
            "jq --rawfile a b .",
            "jq input_filename",
            "jq . file",
            "jq -L x .",
            "jq 'include \"x\";.'",
            "grep $HOME",
            "grep ~",
            "head $HOME/.ssh/*",
            "wc x",
            "wc --files0-from=-",
            "uniq a b",
            "uniq x",
            "cut -f1 x",
            "tr a b c",
            "sort x",
            "sort < x",
            "sort > x",
            "LC_ALL=x sort",
            "nice sort",
            "cat",
            "sed p",
            "awk 1",
            "env",
            "less",
            "grep -e x -e y z",
            "sort -S 9G",
            "sort --batch-size=2",
            "grep -P -f x",
        ] {
            assert!(!safe(script), "{script}");
        }
    }

    #[test]
    fn a_plain_filter_is_safe() {
        for script in [
            "sort",
            "sort -u",
            "sort -k 2,2 -t ,",
            "sort -rn",
            "uniq -c",
            "wc -l",
            "head -5",
            "head -n 5",
            "tail -n3",
            "tr a-z A-Z",
            "tr -d '\\n'",
            "cut -d: -f1",
            "cut --fields=1",
            "grep foo",
            "grep -i 'a b'",
            "grep -ve x",
            "grep -c -- -x",
            "jq .",
            "jq -r '.items[].name'",
            "/usr/bin/sort -u",
        ] {
            assert!(safe(script), "{script}");
        }
    }
}
