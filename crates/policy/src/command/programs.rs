//! Which program is what: shells, interpreters, programs that start another one, and what becomes of a text in a pipeline.

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

/// An interpreter of a language, and the options after which code stands.
pub(super) struct Interpreter {
    /// The language, as people call it.
    pub(super) language: &'static str,
    /// Letters of short options whose value is code.
    pub(super) letters: &'static str,
    /// Long options whose value is code.
    pub(super) long: &'static [&'static str],
    /// Options whose next word is their value.
    pub(super) values: &'static [&'static str],
    /// Letters of short options that take the rest of their word.
    pub(super) taking: &'static str,
}

/// The interpreter of this name.
pub(super) fn interpreter(name: &str) -> Option<&'static Interpreter> {
    static PYTHON: Interpreter = Interpreter {
        language: "Python",
        letters: "c",
        long: &[],
        values: &["-W", "-X", "-m"],
        taking: "WXm",
    };
    static PERL: Interpreter = Interpreter {
        language: "Perl",
        letters: "eE",
        long: &[],
        values: &["-I", "-M", "-m"],
        taking: "IMmFDxiC",
    };
    static RUBY: Interpreter = Interpreter {
        language: "Ruby",
        letters: "e",
        long: &[],
        values: &["-I", "-r", "-C"],
        taking: "IrCFKEx",
    };
    static NODE: Interpreter = Interpreter {
        language: "JavaScript",
        letters: "ep",
        long: &["--eval", "--print", "-pe"],
        values: &["-r", "--require", "--import"],
        taking: "rC",
    };
    static PHP: Interpreter = Interpreter {
        language: "PHP",
        letters: "rBRE",
        long: &["--run"],
        values: &["-d", "-c", "-f"],
        taking: "dcfz",
    };
    static LUA: Interpreter =
        Interpreter { language: "Lua", letters: "e", long: &[], values: &["-l"], taking: "l" };
    static OTHER: Interpreter = Interpreter {
        language: "an interpreter",
        letters: "ec",
        long: &["--eval", "--execute", "-eval"],
        values: &[],
        taking: "",
    };
    static POWERSHELL: Interpreter =
        Interpreter { language: "PowerShell", letters: "", long: &[], values: &[], taking: "" };
    let stem = name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.' || c == '-');
    match stem {
        "python" | "pypy" | "micropython" | "ipython" | "jython" => Some(&PYTHON),
        "perl" => Some(&PERL),
        "ruby" | "jruby" | "irb" => Some(&RUBY),
        "node" | "nodejs" | "ts-node" | "tsx" | "qjs" => Some(&NODE),
        "php" | "php-cli" | "hhvm" => Some(&PHP),
        "lua" | "luajit" | "texlua" => Some(&LUA),
        "pwsh" | "powershell" | "powershell.exe" => Some(&POWERSHELL),
        "Rscript" | "R" | "julia" | "guile" | "racket" | "sbcl" | "clisp" | "ocaml" | "ghci" | "runghc"
        | "runhaskell" | "tclsh" | "wish" | "expect" | "elixir" | "iex" | "erl" | "escript" | "groovy"
        | "scala" | "kotlin" | "jshell" | "swift" | "crystal" | "octave" | "gnuplot" | "raku" | "rakudo"
        | "scheme" | "gsi" | "csi" | "emacs" | "osascript" | "deno" | "bun" => Some(&OTHER),
        _ => None,
    }
}

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

/// The wrapper of this name.
pub(super) fn wrapper_of(name: &str) -> Option<&'static Wrapper> {
    static NONE: Wrapper = wrapper("", &[], 0);
    static ENV: Wrapper = Wrapper { assigns: true, ..wrapper("uCa", &["--unset", "--chdir", "--argv0"], 0) };
    static NICE: Wrapper = wrapper("n", &["--adjustment"], 0);
    static IONICE: Wrapper = wrapper("cn", &["--class", "--classdata"], 0);
    static TIMEOUT: Wrapper = wrapper("ks", &["--kill-after", "--signal"], 1);
    static STDBUF: Wrapper = wrapper("ioe", &["--input", "--output", "--error"], 0);
    static TIME: Wrapper = wrapper("fo", &["--format", "--output"], 0);
    static EXEC: Wrapper = wrapper("a", &[], 0);
    static XARGS: Wrapper = Wrapper {
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
    };
    static SUDO: Wrapper = Wrapper {
        assigns: true,
        ..wrapper(
            "ugpChrtTDRU",
            &["--user", "--group", "--prompt", "--chdir", "--host", "--role", "--chroot"],
            0,
        )
    };
    static DOAS: Wrapper = wrapper("uC", &[], 0);
    static SU: Wrapper =
        Wrapper { script: Some('c'), ..wrapper("gGsTw", &["--group", "--shell"], usize::MAX) };
    static RUNUSER: Wrapper =
        Wrapper { script: Some('c'), ..wrapper("ugGs", &["--user", "--group", "--shell"], 0) };
    static FLOCK: Wrapper =
        Wrapper { script: Some('c'), ..wrapper("wE", &["--timeout", "--wait", "--conflict-exit-code"], 1) };
    static SCRIPT: Wrapper = Wrapper {
        script: Some('c'),
        ..wrapper("EIBOTomt", &["--echo", "--log-in", "--log-out", "--log-io"], usize::MAX)
    };
    static TASKSET: Wrapper = wrapper("p", &[], 1);
    static CHRT: Wrapper = wrapper("TPD", &[], 1);
    static STRACE: Wrapper =
        wrapper("abeoOpPsSuEIUX", &["--output", "--trace", "--attach", "--env", "--user"], 0);
    static WATCH: Wrapper = wrapper("nqs", &["--interval", "--equexit"], 0);
    static PARALLEL: Wrapper = Wrapper {
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
    };
    static LOADER: Wrapper = wrapper(
        "",
        &["--library-path", "--preload", "--audit", "--inhibit-rpath", "--argv0", "--glibc-hwcaps-prepend"],
        0,
    );
    static SYSTEMD: Wrapper =
        wrapper("pEutM", &["--unit", "--property", "--setenv", "--slice", "--machine", "--uid", "--gid"], 0);
    static NAMESPACE: Wrapper = wrapper(
        "tSGRwW",
        &["--target", "--setuid", "--setgid", "--root", "--wd", "--map-user", "--map-group", "--propagation"],
        0,
    );
    static CHROOT: Wrapper = wrapper("", &["--userspec", "--groups"], 1);
    static CAPSH: Wrapper = wrapper("", &["--user"], usize::MAX);
    static BWRAP: Wrapper = wrapper(
        "",
        &["--setenv", "--chdir", "--unsetenv", "--hostname", "--uid", "--gid", "--cap-add", "--cap-drop"],
        0,
    );
    Some(match name {
        "command" | "builtin" | "nohup" | "setsid" | "unbuffer" | "fakeroot" | "eatmydata" | "catchsegv"
        | "setarch" | "linux32" | "linux64" | "numactl" | "i386" | "x86_64" | "busybox" | "toybox"
        | "noglob" | "nocorrect" | "proxychains" | "proxychains4" | "torsocks" | "dbus-run-session"
        | "valgrind" | "tini" | "dumb-init" | "wine" | "rlwrap" | "chronic" | "ifne" | "annotate-output"
        | "pkexec" | "choom" | "prlimit" => &NONE,
        "env" => &ENV,
        "nice" => &NICE,
        "ionice" => &IONICE,
        "timeout" | "gtimeout" => &TIMEOUT,
        "stdbuf" => &STDBUF,
        "time" => &TIME,
        "exec" => &EXEC,
        "xargs" => &XARGS,
        "sudo" => &SUDO,
        "doas" => &DOAS,
        "su" => &SU,
        "runuser" | "sg" => &RUNUSER,
        "flock" => &FLOCK,
        "script" => &SCRIPT,
        "taskset" | "setlock" | "chpst" | "softlimit" | "gosu" | "su-exec" => &TASKSET,
        "chrt" => &CHRT,
        "strace" | "ltrace" => &STRACE,
        "watch" => &WATCH,
        "parallel" => &PARALLEL,
        "systemd-run" | "systemd-inhibit" => &SYSTEMD,
        "unshare" | "nsenter" | "setpriv" => &NAMESPACE,
        "chroot" => &CHROOT,
        "capsh" => &CAPSH,
        "bwrap" | "firejail" | "proot" => &BWRAP,
        _ if name.starts_with("ld-linux") || name.starts_with("ld-musl") || name == "ld.so" => &LOADER,
        _ => return None,
    })
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

/// Programs whose words are no paths: they print them, or look for them.
pub(super) fn only_mentions(name: &str, index: usize, word: &str) -> bool {
    match name {
        "echo" | "printf" | "man" | "apropos" | "whatis" | "which" | "whereis" | "type" | "help" | "info"
        | "tldr" | ":" | "true" | "false" | "logger" | "yes" | "expr" | "basename" | "dirname" | "hash"
        | "seq" | "look" | "gh" | "glab" => true,
        // The first word that is no option is what is looked for.
        "grep" | "egrep" | "fgrep" | "zgrep" | "rg" | "ag" | "ack" | "jq" | "yq" => {
            index == 0 || word.starts_with("-e")
        }
        "git" => !word.starts_with("--"),
        _ => false,
    }
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
