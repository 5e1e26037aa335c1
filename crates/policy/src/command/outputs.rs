//! Where a command writes: the words of a program that are no sources.

use super::call::Call;
use super::word::Word;

/// Options whose value a program writes to, in a word of their own or behind `=`.
const OPTIONS: &[&str] = &[
    "--log-file",
    "--outDir",
    "--out",
    "--outdir",
    "--output",
    "--output-file",
    "--separate-git-dir",
    "--target-dir",
    "--tmpdir",
    "-O",
    "-o",
    "-out",
];

/// Programs to which `-o` is something else than a file to write.
const OTHER_O: &[&str] = &[
    "[", "ack", "ag", "df", "dir", "egrep", "exa", "eza", "fgrep", "find", "git", "grep", "head", "id",
    "kill", "ls", "lsof", "mount", "nm", "pgrep", "ps", "rg", "scp", "set", "shopt", "ssh", "stat", "sudo",
    "tail", "test", "vdir", "zgrep",
];

/// Programs that change the files that they are given, or write some of them.
const CHANGE: &[&str] = &[
    "ar", "dos2unix", "mktemp", "objcopy", "patchelf", "ranlib", "rename", "script", "sqlite3", "strip",
    "unix2dos", "zip",
];

/// Programs that write to the last of several words.
const LAST: &[&str] = &["pdftotext", "split", "uniq", "xxd"];

/// Programs that unpack, and the options that say where to.
const UNPACK: &[(&[&str], &[&str])] = &[
    (&["tar", "bsdtar", "gtar", "cpio"], &["-C", "--directory", "-D", "--one-top-level"]),
    (&["unzip", "patch"], &["-d", "--directory"]),
    (&["7z", "7za"], &["-o"]),
    (&["csplit"], &["-f", "--prefix"]),
    (&["mktemp", "sort"], &["-p", "-T", "--temporary-directory"]),
    (&["wget"], &["-P", "--directory-prefix"]),
    (&["git"], &["-o", "--output-directory"]),
];

/// Which words of a call its program writes to.
pub(super) struct Outputs<'c> {
    words: &'c [Word],
    /// The program changes what it is given.
    changes: bool,
    /// It writes to the last of several words.
    last: bool,
    /// It unpacks, and these options say where to.
    own: Vec<&'static [&'static str]>,
    /// `-o` is something else to it.
    other_o: bool,
}

impl<'c> Outputs<'c> {
    /// Those of `call`.
    pub(super) fn of(call: &'c Call) -> Self {
        let name = call.name();
        let unpacks = !matches!(name, "tar" | "bsdtar" | "gtar") || extracts(call);
        let own = UNPACK.iter().filter(|(names, _)| unpacks && names.contains(&name));
        Self {
            words: call.arguments(),
            changes: CHANGE.contains(&name),
            last: LAST.contains(&name),
            own: own.map(|(_, options)| *options).collect(),
            other_o: OTHER_O.contains(&name),
        }
    }

    /// Whether the program writes to the word `at`, which stands behind `before`: what is between may be said in one word.
    pub(super) fn has(&self, at: usize, before: &str) -> bool {
        let Some(text) = self.words.get(at).map(|word| word.text.as_str()) else { return false };
        let plain = !text.starts_with('-');
        if self.changes && plain {
            return true;
        }
        if self.last && plain && at > 0 && at.saturating_add(1) == self.words.len() {
            return self.words.iter().filter(|word| !word.text.starts_with('-')).count() > 1;
        }
        if plain && !before.starts_with('-') {
            return false;
        }
        let own = self.own.iter().copied().flatten();
        let others = OPTIONS.iter().filter(|option| !(self.other_o && matches!(**option, "-o" | "-O")));
        own.chain(others).any(|option| is_value(text, before, option))
    }
}

/// Whether a word is the value of an option: behind it, behind its `=`, or in the same word when it has one letter.
fn is_value(text: &str, before: &str, option: &str) -> bool {
    // The last of several letters takes the value: `-idD folder`.
    let letter = option.strip_prefix('-').filter(|letter| letter.len() == 1);
    let clustered = letter.is_some_and(|letter| {
        before.starts_with('-') && !before.starts_with("--") && before.ends_with(letter)
    });
    if before == option || clustered {
        return true;
    }
    match text.strip_prefix(option) {
        Some(rest) if option.starts_with("--") => rest.starts_with('='),
        Some(rest) => option.len() == 2 && rest.starts_with(['/', '~', '.']),
        None => false,
    }
}

fn extracts(call: &Call) -> bool {
    call.arguments().iter().enumerate().any(|(at, word)| {
        let text = word.text.as_str();
        let letters = (at == 0 || text.starts_with('-')) && !text.starts_with("--") && !text.contains('/');
        letters && text.contains('x') || matches!(text, "--extract" | "--get")
    })
}
