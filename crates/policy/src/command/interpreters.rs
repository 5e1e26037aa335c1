//! Interpreters of languages other than the shell's, and how they are given code.

use std::collections::HashMap;
use std::sync::LazyLock;

use super::programs::by_name;

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

/// The interpreters, by the name without its version.
static INTERPRETERS: &[(&[&str], Interpreter)] = &[
    (
        &["python", "pypy", "micropython", "ipython", "jython"],
        Interpreter {
            language: "Python",
            letters: "c",
            long: &[],
            values: &["-W", "-X", "-m"],
            taking: "WXm",
        },
    ),
    (
        &["perl"],
        Interpreter {
            language: "Perl",
            letters: "eE",
            long: &[],
            values: &["-I", "-M", "-m"],
            taking: "IMmFDxiC",
        },
    ),
    (
        &["ruby", "jruby", "irb"],
        Interpreter {
            language: "Ruby",
            letters: "e",
            long: &[],
            values: &["-I", "-r", "-C"],
            taking: "IrCFKEx",
        },
    ),
    (
        &["node", "nodejs", "ts-node", "tsx", "qjs"],
        Interpreter {
            language: "JavaScript",
            letters: "ep",
            long: &["--eval", "--print", "-pe"],
            values: &["-r", "--require", "--import"],
            taking: "rC",
        },
    ),
    (
        &["php", "php-cli", "hhvm"],
        Interpreter {
            language: "PHP",
            letters: "rBRE",
            long: &["--run"],
            values: &["-d", "-c", "-f"],
            taking: "dcfz",
        },
    ),
    (
        &["lua", "luajit", "texlua"],
        Interpreter { language: "Lua", letters: "e", long: &[], values: &["-l"], taking: "l" },
    ),
    (
        &["pwsh", "powershell", "powershell.exe"],
        Interpreter { language: "PowerShell", letters: "", long: &[], values: &[], taking: "" },
    ),
    (
        &[
            "Rscript",
            "R",
            "julia",
            "guile",
            "racket",
            "sbcl",
            "clisp",
            "ocaml",
            "ghci",
            "runghc",
            "runhaskell",
            "tclsh",
            "wish",
            "expect",
            "elixir",
            "iex",
            "erl",
            "escript",
            "groovy",
            "scala",
            "kotlin",
            "jshell",
            "swift",
            "crystal",
            "octave",
            "gnuplot",
            "raku",
            "rakudo",
            "scheme",
            "gsi",
            "csi",
            "emacs",
            "osascript",
            "deno",
            "bun",
        ],
        Interpreter {
            language: "an interpreter",
            letters: "ec",
            long: &["--eval", "--execute", "-eval"],
            values: &[],
            taking: "",
        },
    ),
];

/// The interpreter of this name.
pub(super) fn interpreter(name: &str) -> Option<&'static Interpreter> {
    let stem = name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.' || c == '-');
    static BY_NAME: LazyLock<HashMap<&str, &Interpreter>> = LazyLock::new(|| by_name(INTERPRETERS));
    BY_NAME.get(stem).copied()
}
