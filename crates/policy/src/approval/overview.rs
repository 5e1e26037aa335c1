//! What is known of a command from its text alone, as far as approvals go.

use super::binding::Facts;
use super::rules::Rules;
use crate::command::{Argument, Choice, Part, Redirect, RedirectKind, Verdict};
use crate::refusal::Refusal;

/// What the review of a command that is not refused says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Finding {
    /// A person has to look at it.
    Ask,
    /// Nothing in it speaks against it.
    Run,
}

/// A command as its text tells it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Overview {
    /// What the review says.
    pub finding: Finding,
    /// Why.
    pub reasons: Vec<String>,
    /// The programs that it names, in order.
    pub programs: Vec<String>,
    /// The files that it gives to programs as scripts.
    pub operands: Vec<String>,
    /// Whether its programs are all that decides: literal words, nothing that a shell works out while it runs.
    pub is_plain: bool,
}

impl Overview {
    /// What the review of a command found.
    pub fn of(verdict: &Verdict) -> Self {
        Self {
            finding: if verdict.choice == Choice::Run { Finding::Run } else { Finding::Ask },
            reasons: verdict.reasons.iter().map(|reason| reason.text.clone()).collect(),
            programs: verdict.parts.iter().filter_map(|part| part.program.clone()).collect(),
            operands: verdict.parts.iter().filter_map(operand_of).collect(),
            is_plain: is_plain(verdict),
        }
    }

    /// The paths of its programs, when a list of paths can speak for it: its programs are all that decides, each is there,
    /// and none of them runs what it is given.
    pub(super) fn listable(&self, facts: &Facts) -> Option<Vec<String>> {
        if !self.is_plain || facts.programs.len() != self.programs.len() || facts.programs.is_empty() {
            return None;
        }
        let path = |named: &super::binding::Named| {
            let path = &named.file.as_ref()?.path;
            may_be_listed(path).then(|| path.clone())
        };
        facts.programs.iter().map(path).collect()
    }

    /// The entries of the list that let it pass.
    pub(super) fn listed(&self, facts: &Facts, rules: &Rules) -> Option<Vec<String>> {
        let paths = self.listable(facts)?;
        rules.entries(paths.iter().map(String::as_str))
    }
}

/// Whether a list of programs can speak for a command: it consists of programs with words that are known before it runs,
/// and at most that one of them is not known has the review ask. Whatever else it asks about, no list answers.
fn is_plain(verdict: &Verdict) -> bool {
    let is_plain = |part: &Part| {
        let joins = |redirect: &Redirect| redirect.kind == RedirectKind::Duplicate;
        part.is_literal()
            && part.wrappers.is_empty()
            && part.environment.is_empty()
            && part.redirects.iter().all(joins)
    };
    !verdict.parts.is_empty()
        && verdict.parts.iter().all(is_plain)
        && verdict.reasons.iter().all(|reason| reason.code == UNKNOWN)
}

/// The script file that a program is given: the first argument of an interpreter that is no option.
fn operand_of(part: &Part) -> Option<String> {
    let name = base(part.program.as_deref()?.rsplit('/').next()?);
    if !SHELLS.contains(&name) && !INTERPRETERS.contains(&name) {
        return None;
    }
    let mut words = part.arguments.iter().filter_map(Argument::literal);
    words.find(|word| !word.starts_with('-') && !word.is_empty()).map(str::to_owned)
}

/// Demands of a command outside the walls that its words name what runs: no program that starts another one, and of an
/// interpreter the script file first, which is looked at and bound.
///
/// # Errors
/// When something would run that nobody has looked at.
pub(super) fn require_bound(words: &[String], facts: &Facts) -> Result<(), Refusal> {
    let path =
        facts.programs.first().and_then(|program| program.file.as_ref()).map(|file| file.path.as_str());
    let named = words.first().map(String::as_str);
    for name in
        [named, path].into_iter().flatten().map(|path| base(path.rsplit('/').next().unwrap_or_default()))
    {
        if WRAPPERS.contains(&name) || name.starts_with("ld-") || name == "busybox" || name == "toybox" {
            let message = "outside the sandbox no program runs that starts another one; name that one itself";
            return Err(Refusal::new("host_wrapper", message));
        }
        if !SHELLS.contains(&name) && !INTERPRETERS.contains(&name) {
            continue;
        }
        let operand = facts.operands.first().filter(|operand| operand.file.is_some());
        if operand.is_none_or(|operand| Some(&operand.name) != words.get(1)) {
            let message = "outside the sandbox an interpreter runs a script file of the workspace, which comes right behind it: no inline code, no options in front, no link";
            return Err(Refusal::new("host_inline", message));
        }
    }
    Ok(())
}

/// Whether the program at `path` may be on a list that lets it pass whatever its arguments are: a program of the system,
/// whose work is not to run what it is given.
pub fn may_be_listed(path: &str) -> bool {
    let is_of_the_system = SYSTEM.iter().any(|folder| path.starts_with(folder));
    let name = base(path.rsplit('/').next().unwrap_or_default());
    is_of_the_system
        && ![SHELLS, INTERPRETERS, WRAPPERS, RUNNERS].iter().any(|names| names.contains(&name))
        && !name.starts_with("ld-")
        && !name.starts_with("ld.")
}

/// A name without the version behind it: `python3.11` is `python`.
fn base(name: &str) -> &str {
    let short = name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.' || c == '-');
    if short.is_empty() { name } else { short }
}

/// Where programs are that only the system's administrator changes.
const SYSTEM: &[&str] = &["/usr/", "/bin/", "/sbin/", "/lib/", "/lib64/", "/opt/"];
/// The code of a review that knows no rule for a program.
const UNKNOWN: &str = "unknown_program";
const SHELLS: &[&str] = &[
    "ash", "bash", "busybox", "csh", "dash", "elvish", "fish", "ksh", "mksh", "nu", "pwsh", "rbash", "rc",
    "sh", "tcsh", "toybox", "xonsh", "yash", "zsh",
];
/// Languages, and editors and tools that have one.
const INTERPRETERS: &[&str] = &[
    "R",
    "Rscript",
    "awk",
    "bc",
    "bpftrace",
    "bun",
    "dc",
    "deno",
    "ed",
    "emacs",
    "erl",
    "ex",
    "expect",
    "gawk",
    "gdb",
    "ghc",
    "groovy",
    "guile",
    "iex",
    "irb",
    "java",
    "jjs",
    "jq",
    "jshell",
    "julia",
    "lua",
    "luajit",
    "m4",
    "mawk",
    "nano",
    "nawk",
    "node",
    "nodejs",
    "nvim",
    "ocaml",
    "octave",
    "osascript",
    "perl",
    "php",
    "psql",
    "pypy",
    "python",
    "ruby",
    "scala",
    "sed",
    "sqlite",
    "swift",
    "tclsh",
    "ts-node",
    "tsx",
    "vi",
    "view",
    "vim",
    "wish",
];
/// Programs that run another one that they are given.
const WRAPPERS: &[&str] = &[
    "capsh",
    "chpst",
    "chroot",
    "chrt",
    "command",
    "cpulimit",
    "doas",
    "env",
    "eval",
    "exec",
    "fakeroot",
    "find",
    "firejail",
    "flock",
    "gosu",
    "ionice",
    "less",
    "logsave",
    "ltrace",
    "man",
    "more",
    "newgrp",
    "nice",
    "nohup",
    "nsenter",
    "numactl",
    "parallel",
    "pkexec",
    "prlimit",
    "run-parts",
    "runuser",
    "script",
    "setarch",
    "setpriv",
    "setsid",
    "sg",
    "ssh",
    "start-stop-daemon",
    "stdbuf",
    "strace",
    "su",
    "sudo",
    "systemd-run",
    "taskset",
    "time",
    "timeout",
    "tmux",
    "trace-cmd",
    "unshare",
    "valgrind",
    "watch",
    "xargs",
];
/// Programs that run what their arguments, or files where they work, tell them.
const RUNNERS: &[&str] = &[
    "ansible",
    "apt",
    "apt-get",
    "at",
    "batch",
    "bazel",
    "c++",
    "cargo",
    "cc",
    "clang",
    "cmake",
    "cpio",
    "crontab",
    "curl",
    "docker",
    "dnf",
    "dpkg",
    "g++",
    "gcc",
    "gem",
    "git",
    "gmake",
    "go",
    "gradle",
    "helm",
    "just",
    "kubectl",
    "make",
    "meson",
    "mvn",
    "nerdctl",
    "ninja",
    "npm",
    "npx",
    "openssl",
    "pip",
    "pipx",
    "pnpm",
    "podman",
    "rake",
    "rpm",
    "rsync",
    "runc",
    "rustc",
    "scp",
    "sftp",
    "snap",
    "sort",
    "systemctl",
    "tar",
    "tee",
    "terraform",
    "uv",
    "uvx",
    "wget",
    "yarn",
    "yum",
    "zip",
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::{Rules, judge};

    #[test]
    fn e16_what_runs_what_it_is_given_is_on_no_list() {
        for path in [
            "/bin/sh",
            "/usr/bin/bash",
            "/usr/bin/python3",
            "/usr/bin/python3.11",
            "/usr/bin/perl5.36.0",
            "/usr/bin/env",
            "/usr/bin/xargs",
            "/usr/bin/find",
            "/usr/bin/git",
            "/usr/bin/make",
            "/usr/bin/awk",
            "/usr/bin/busybox",
            "/lib64/ld-linux-x86-64.so.2",
            "/usr/bin/npm",
            "/usr/bin/sort",
            "/workspace/ls",
            "/home/me/bin/ls",
            "/tmp/ls",
            "",
            "ls",
        ] {
            assert!(!may_be_listed(path), "{path}");
        }
        for path in [
            "/usr/bin/ls",
            "/bin/cat",
            "/usr/bin/grep",
            "/usr/bin/wc",
            "/usr/local/bin/hledger",
            "/usr/bin/7z",
        ] {
            assert!(may_be_listed(path), "{path}");
        }
    }

    #[test]
    fn the_script_of_an_interpreter_is_an_operand() {
        for (script, operand) in [
            ("python3 -u tools/x.py --fast", Some("tools/x.py")),
            ("bash deploy.sh", Some("deploy.sh")),
            ("/usr/bin/perl -w a.pl", Some("a.pl")),
            ("cat a.txt", None),
            ("sh", None),
        ] {
            let overview = Overview::of(&judge(script, Rules::built_in().unwrap()));
            assert_eq!(overview.operands.first().map(String::as_str), operand, "{script}");
        }
    }
}
