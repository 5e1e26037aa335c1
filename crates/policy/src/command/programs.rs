//! Which program is what: parts of the shell, shells, those that leave the walls, those whose words are only text.

use std::collections::HashMap;

/// A table by its names; the first of two rows with a name counts.
pub(super) fn by_name<T>(
    table: &'static [(&'static [&'static str], T)],
) -> HashMap<&'static str, &'static T> {
    let rows = table.iter().rev();
    rows.flat_map(|(names, row)| names.iter().map(move |name| (*name, row))).collect()
}

/// Parts of the shell: without it they are not there, or are something else.
pub(super) fn is_builtin(name: &str) -> bool {
    const BUILTINS: &[&str] = &[
        ".",
        ":",
        "alias",
        "bg",
        "bind",
        "break",
        "builtin",
        "caller",
        "cd",
        "command",
        "compgen",
        "complete",
        "compopt",
        "continue",
        "coproc",
        "declare",
        "dirs",
        "disown",
        "enable",
        "eval",
        "exec",
        "exit",
        "export",
        "fc",
        "fg",
        "getopts",
        "hash",
        "help",
        "history",
        "jobs",
        "let",
        "local",
        "logout",
        "mapfile",
        "popd",
        "pushd",
        "read",
        "readarray",
        "readonly",
        "return",
        "set",
        "shift",
        "shopt",
        "source",
        "suspend",
        "times",
        "trap",
        "type",
        "typeset",
        "ulimit",
        "umask",
        "unalias",
        "unset",
        "wait",
    ];
    BUILTINS.contains(&name)
}

/// Programs that read shell scripts.
pub(super) fn is_shell(name: &str) -> bool {
    matches!(
        name,
        "bash"
            | "sh"
            | "dash"
            | "ash"
            | "zsh"
            | "ksh"
            | "ksh93"
            | "mksh"
            | "rbash"
            | "yash"
            | "fish"
            | "csh"
            | "tcsh"
            | "posh"
            | "hush"
            | "lksh"
            | "rksh"
            | "elvish"
            | "nu"
    )
}

/// Names that hardly any word is by accident: programs that leave the walls.
pub(super) fn leaves_walls(name: &str) -> bool {
    matches!(
        name,
        "nsenter"
            | "unshare"
            | "insmod"
            | "modprobe"
            | "pivot_root"
            | "switch_root"
            | "debugfs"
            | "setns"
            | "bpftool"
            | "bpftrace"
            | "kexec"
            | "rmmod"
            | "finit_module"
            | "losetup"
            | "mount"
            | "chroot"
            | "capsh"
            | "setcap"
    )
}

/// Programs whose arguments are text to them, or names of files: a word that only looks like a program is none.
pub(super) fn takes_text(name: &str) -> bool {
    matches!(
        name,
        "echo"
            | "printf"
            | "grep"
            | "egrep"
            | "fgrep"
            | "zgrep"
            | "rg"
            | "ag"
            | "ack"
            | "git"
            | "gh"
            | "glab"
            | "man"
            | "apropos"
            | "whatis"
            | "which"
            | "whereis"
            | "type"
            | "help"
            | "info"
            | "tldr"
            | "look"
            | "test"
            | "["
            | ":"
            | "true"
            | "false"
            | "logger"
            | "yes"
            | "command"
            | "jq"
            | "yq"
            | "expr"
            | "hash"
            | "basename"
            | "dirname"
            | "wc"
            | "cat"
            | "head"
            | "tail"
            | "ls"
            | "less"
            | "touch"
            | "mkdir"
            | "cd"
            | "export"
            | "declare"
            | "local"
            | "alias"
            | "read"
            | "seq"
            | "find"
            | "fd"
            | "tee"
            | "cp"
            | "mv"
            | "rm"
    )
}

/// Whether a word is no path to a program: it is printed, or looked for. `place` counts the words that are no options,
/// `before` is the word in front of it.
pub(super) fn only_mentions(name: &str, place: usize, before: &str, word: &str) -> bool {
    match name {
        "echo" | "printf" | "man" | "apropos" | "whatis" | "which" | "whereis" | "type" | "help" | "info"
        | "tldr" | ":" | "true" | "false" | "logger" | "yes" | "expr" | "basename" | "dirname" | "hash"
        | "seq" | "look" | "gh" | "glab" => true,
        "jq" | "yq" => place == 0,
        "git" => {
            let text =
                matches!(before, "-m" | "--message" | "--grep" | "-S" | "-G" | "grep" | "--author" | "-e")
                    || (before.ends_with('m') && before.starts_with('-') && !before.starts_with("--"));
            text || word.starts_with("--message=")
                || word.starts_with("--grep=")
                || word.starts_with("-S")
                || word.starts_with("-G")
        }
        _ if searches(name) => {
            (place == 0 && !takes_value(name, before))
                || matches!(before, "-e" | "--regexp")
                || word.starts_with("-e")
                || word.starts_with("--regexp=")
        }
        _ => false,
    }
}

fn searches(name: &str) -> bool {
    matches!(name, "grep" | "egrep" | "fgrep" | "zgrep" | "rg" | "ag" | "ack")
}

/// Whether an option of a program that searches says what for: then its first word is a file.
pub(super) fn pattern_is_given(name: &str, call: &super::call::Call) -> bool {
    searches(name)
        && call.arguments().iter().any(|word| {
            let text = word.text.as_str();
            text.starts_with("--regexp")
                || text.starts_with("--file")
                || (text.starts_with('-') && !text.starts_with("--") && text.contains(['e', 'f']))
        })
}

/// Whether the word after an option of a program that searches is its value.
pub(super) fn takes_value(name: &str, option: &str) -> bool {
    searches(name)
        && matches!(
            option,
            "-A" | "-B"
                | "-C"
                | "-m"
                | "-t"
                | "-T"
                | "-g"
                | "-e"
                | "-f"
                | "-d"
                | "-D"
                | "--type"
                | "--type-not"
                | "--glob"
                | "--context"
                | "--max-count"
                | "--after-context"
                | "--before-context"
                | "--regexp"
                | "--file"
                | "--include"
                | "--exclude"
                | "--color"
                | "--max-depth"
                | "-M"
                | "-j"
                | "--sort"
        )
}

/// Whether a program changes the files that its words name.
pub(super) fn writes(name: &str) -> bool {
    matches!(
        name,
        "tee"
            | "cp"
            | "mv"
            | "ln"
            | "dd"
            | "install"
            | "truncate"
            | "touch"
            | "rm"
            | "rmdir"
            | "mkdir"
            | "chmod"
            | "chown"
            | "chgrp"
            | "sed-i"
            | "patch"
            | "shred"
            | "unlink"
            | "link"
            | "fallocate"
            | "setfacl"
            | "chattr"
            | "rsync"
            | "mknod"
            | "mkfifo"
            | "sponge"
            | "ed"
            | "ex"
            | "vi"
            | "vim"
            | "nano"
            | "chcon"
            | "setcap"
            | "sysctl"
    )
}
