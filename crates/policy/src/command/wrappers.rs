//! Programs that start another one, and how they are told which.

use std::collections::HashMap;
use std::sync::LazyLock;

use super::programs::by_name;

/// A program that starts the one that its words name.
pub(super) struct Wrapper {
    /// Options whose next word is their value: letters.
    pub(super) letters: &'static str,
    /// The same for long options.
    pub(super) long: &'static [&'static str],
    /// Words that stand before the program.
    pub(super) words: usize,
    /// Whether `NAME=value` may stand before the program.
    pub(super) assigns: bool,
    /// The letter of the option whose value is a script, if any.
    pub(super) script: Option<char>,
    /// Whether words from its input are added to the program's.
    pub(super) feeds: bool,
}

const fn wrapper(letters: &'static str, long: &'static [&'static str], words: usize) -> Wrapper {
    Wrapper { letters, long, words, assigns: false, script: None, feeds: false }
}

/// The wrappers, by name.
static WRAPPERS: &[(&[&str], Wrapper)] = &[
    (
        &[
            "command",
            "builtin",
            "nohup",
            "setsid",
            "unbuffer",
            "fakeroot",
            "eatmydata",
            "catchsegv",
            "setarch",
            "linux32",
            "linux64",
            "numactl",
            "i386",
            "x86_64",
            "busybox",
            "toybox",
            "noglob",
            "nocorrect",
            "proxychains",
            "proxychains4",
            "torsocks",
            "dbus-run-session",
            "valgrind",
            "tini",
            "dumb-init",
            "wine",
            "rlwrap",
            "chronic",
            "ifne",
            "annotate-output",
            "pkexec",
            "choom",
            "prlimit",
        ],
        wrapper("", &[], 0),
    ),
    (&["env"], Wrapper { assigns: true, ..wrapper("uCa", &["--unset", "--chdir", "--argv0"], 0) }),
    (&["nice"], wrapper("n", &["--adjustment"], 0)),
    (&["ionice"], wrapper("cn", &["--class", "--classdata"], 0)),
    (&["timeout", "gtimeout"], wrapper("ks", &["--kill-after", "--signal"], 1)),
    (&["stdbuf"], wrapper("ioe", &["--input", "--output", "--error"], 0)),
    (&["time"], wrapper("fo", &["--format", "--output"], 0)),
    (&["exec"], wrapper("a", &[], 0)),
    (
        &["xargs"],
        Wrapper {
            feeds: true,
            ..wrapper(
                "adEILnPs",
                &[
                    "--arg-file",
                    "--delimiter",
                    "--max-lines",
                    "--max-args",
                    "--max-procs",
                    "--max-chars",
                    "--process-slot-var",
                ],
                0,
            )
        },
    ),
    (
        &["sudo"],
        Wrapper {
            assigns: true,
            ..wrapper(
                "ugpChrtTDRU",
                &["--user", "--group", "--prompt", "--chdir", "--host", "--role", "--chroot"],
                0,
            )
        },
    ),
    (&["doas"], wrapper("uC", &[], 0)),
    (&["su"], Wrapper { script: Some('c'), ..wrapper("gGsTw", &["--group", "--shell"], usize::MAX) }),
    (
        &["runuser", "sg"],
        Wrapper { script: Some('c'), ..wrapper("ugGs", &["--user", "--group", "--shell"], 0) },
    ),
    (
        &["flock"],
        Wrapper { script: Some('c'), ..wrapper("wE", &["--timeout", "--wait", "--conflict-exit-code"], 1) },
    ),
    (
        &["script"],
        Wrapper {
            script: Some('c'),
            ..wrapper("EIBOTomt", &["--echo", "--log-in", "--log-out", "--log-io"], usize::MAX)
        },
    ),
    (&["taskset", "setlock", "chpst", "softlimit", "gosu", "su-exec"], wrapper("p", &[], 1)),
    (&["chrt"], wrapper("TPD", &[], 1)),
    (
        &["strace", "ltrace"],
        wrapper("abeoOpPsSuEIUX", &["--output", "--trace", "--attach", "--env", "--user"], 0),
    ),
    (&["watch"], wrapper("nqs", &["--interval", "--equexit"], 0)),
    (
        &["parallel"],
        Wrapper {
            feeds: true,
            ..wrapper(
                "jaSNLnPI",
                &[
                    "--jobs",
                    "--arg-file",
                    "--sshlogin",
                    "--max-args",
                    "--delay",
                    "--timeout",
                    "--results",
                    "--joblog",
                ],
                0,
            )
        },
    ),
    (
        &["systemd-run", "systemd-inhibit"],
        wrapper("pEutM", &["--unit", "--property", "--setenv", "--slice", "--machine", "--uid", "--gid"], 0),
    ),
    (
        &["unshare", "nsenter", "setpriv"],
        wrapper(
            "tSGRwW",
            &[
                "--target",
                "--setuid",
                "--setgid",
                "--root",
                "--wd",
                "--map-user",
                "--map-group",
                "--propagation",
            ],
            0,
        ),
    ),
    (&["chroot"], wrapper("", &["--userspec", "--groups"], 1)),
    (&["capsh"], wrapper("", &["--user"], usize::MAX)),
    (
        &["bwrap", "firejail", "proot"],
        wrapper(
            "",
            &["--setenv", "--chdir", "--unsetenv", "--hostname", "--uid", "--gid", "--cap-add", "--cap-drop"],
            0,
        ),
    ),
    (
        &["ld.so"],
        wrapper(
            "",
            &[
                "--library-path",
                "--preload",
                "--audit",
                "--inhibit-rpath",
                "--argv0",
                "--glibc-hwcaps-prepend",
            ],
            0,
        ),
    ),
];

static LOADER: Wrapper = wrapper(
    "",
    &["--library-path", "--preload", "--audit", "--inhibit-rpath", "--argv0", "--glibc-hwcaps-prepend"],
    0,
);

/// The wrapper of this name.
pub(super) fn wrapper_of(name: &str) -> Option<&'static Wrapper> {
    if name.starts_with("ld-linux") || name.starts_with("ld-musl") || name == "ld.so" {
        return Some(&LOADER);
    }
    static BY_NAME: LazyLock<HashMap<&str, &Wrapper>> = LazyLock::new(|| by_name(WRAPPERS));
    BY_NAME.get(name).copied()
}

/// Wrappers that change who a program is, what it may or where it runs: the wrapping itself is judged as well.
pub(super) fn is_judged_itself(name: &str) -> bool {
    matches!(
        name,
        "sudo"
            | "doas"
            | "su"
            | "runuser"
            | "sg"
            | "pkexec"
            | "systemd-run"
            | "unshare"
            | "nsenter"
            | "setpriv"
            | "chroot"
            | "capsh"
            | "bwrap"
            | "firejail"
            | "proot"
            | "gosu"
            | "su-exec"
            | "strace"
            | "ltrace"
            | "proxychains"
            | "proxychains4"
            | "torsocks"
            | "script"
            | "parallel"
            | "systemd-inhibit"
            | "wine"
            | "prlimit"
            | "choom"
    ) || name.starts_with("ld-")
        || name == "ld.so"
}
