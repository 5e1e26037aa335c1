//! Code within a command: for a shell, for an interpreter, for `eval`. A shell's is judged like any script; another
//! language's is looked through for what it starts and reaches.

use super::call::Call;
use super::interpreters::{self, Interpreter};
use super::paths;
use super::patterns;
use super::programs;
use super::review::Review;
use super::verdict::{Choice, Severity};
use super::word::{Flow, Word};

/// What code does that starts programs or makes other code.
const STARTS: &[&str] = &[
    "system",
    "popen",
    "exec",
    "spawn",
    "subprocess",
    "child_process",
    "ctypes",
    "cdll",
    "syscall",
    "fork",
    "eval",
    "compile",
    "marshal",
    "pickle",
    "getattr",
    "__import__",
    "importlib",
    "b64decode",
    "fromhex",
    "unhexlify",
    "fromcharcode",
    "pack(",
    "chr(",
    "%x",
    "qx",
    "`",
    "io.popen",
    "loadstring",
    "pty",
    "backtick",
    "proc_open",
    "passthru",
    "shell",
    "open(\"|",
    "open3",
    "dlopen",
    "ffi",
    "process.binding",
    "require(\"vm",
    "runinnewcontext",
    "codecs.decode",
    "process.mainmodule",
    "kernel.",
];

/// What undoes an encoding, and what runs the text that comes of it.
const DECODES: &[&str] = &[
    "b64decode",
    "fromhex",
    "unhexlify",
    "base64_decode",
    "pack(\"h",
    "\"hex\")",
    "\"base64\")",
    "fromcharcode",
    "atob(",
];
const RUNS: &[&str] = &["exec", "eval", "system", "compile", "popen", "spawn"];

/// What opens a connection, and what hands it to a shell.
const CONNECTS: &[&str] = &["socket", "fsockopen", "/inet", "net.connect", "tcpsocket", "net.socket"];
const HANDS_OVER: &[&str] =
    &["pty.spawn", "dup2", "<&3", "/bin/sh", "/bin/bash", "sh -i", "spawn(\"sh\"", "exec(\"sh"];

/// What code does that reaches the network, or a file.
const REACHES: &[&str] = &[
    "socket",
    "connect",
    "urlopen",
    "requests.",
    "http",
    "net.",
    "tcp",
    "open(",
    "open ",
    "readfile",
    "writefile",
    "unlink",
    "rmtree",
    "remove",
    "file(",
    "read(",
    "io.",
    "slurp",
    "<",
    "require",
    "include",
    "import os",
    "opendir",
    "chmod",
    "rename",
];

impl Review<'_> {
    /// Judges a call of something that runs code it is given; nothing when the program is no such thing.
    pub(super) fn interpreted(&mut self, call: &Call, name: &str) -> Option<Flow> {
        match name {
            "eval" => Some(self.eval(call)),
            "source" | "." => Some(self.source(call)),
            "trap" | "alias" => {
                self.kept(call, name);
                None
            }
            "env" => self.split_string(call),
            "awk" | "gawk" | "mawk" | "nawk" | "original-awk" => Some(self.awk(call)),
            "sed" | "gsed" | "ssed" => Some(self.sed(call)),
            "psql" | "mysql" | "sqlite3" | "mariadb" => {
                self.code_in_words(call, name);
                if let Some(text) = call.input.text().filter(|text| {
                    ["\\!", "system", ".shell", "PROGRAM", "program"].iter().any(|word| text.contains(word))
                }) {
                    self.code(text, name);
                }
                None
            }
            "make" | "gmake" | "gdb" | "ed" | "ex" | "vim" | "at" | "batch" | "crontab" | "ftp" | "m4"
            | "dc" | "lldb" | "nvim" | "vi" => {
                self.code_in_words(call, name);
                if let Some(text) = call.input.text().map(str::to_owned) {
                    self.code(&text, name);
                }
                None
            }
            "cd" | "pushd" => {
                self.change_folder(call);
                None
            }
            "export" | "declare" | "typeset" | "readonly" | "local" | "read" | "unset" | "printf" | "let"
            | "test" | "[" | "mapfile" | "readarray" | "getopts" | "wait" => {
                self.names(call, name);
                None
            }
            _ if programs::is_shell(name) => Some(self.shell(call)),
            _ => interpreters::interpreter(name).map(|interpreter| self.interpreter(call, interpreter)),
        }
    }

    /// Words by which an editor, a debugger or a database is told to start a program.
    fn code_in_words(&mut self, call: &Call, name: &str) {
        for word in call.arguments() {
            if ["!", "shell", "system", "syscmd", "program", "PROGRAM", "|"]
                .iter()
                .any(|sign| word.text.contains(sign))
            {
                self.code(&format!("system {}", word.text), name);
            }
        }
    }

    fn interpreter(&mut self, call: &Call, interpreter: &Interpreter) -> Flow {
        self.look_at_words(call);
        self.push(call);
        if interpreter.language == "PowerShell" {
            self.raise(Choice::Ask, Severity::Medium, "inline_code", "PowerShell runs what its options say");
            return Flow::Unknown;
        }
        let mut rest = call.arguments();
        while let Some((word, after)) = rest.split_first() {
            let text = word.text.as_str();
            if let Some(code) = inline_code(text, after, interpreter) {
                match code.flow {
                    Flow::Fetched => drop(self.hidden("fetched_script", "code comes from the network")),
                    Flow::Decoded | Flow::Revealed(_) => {
                        drop(self.hidden("hidden_script", "code is hidden by an encoding"))
                    }
                    Flow::Nothing | Flow::Text(_) | Flow::Unknown => {}
                }
                let text = if code.text == text { text.trim_start_matches('-') } else { &code.text };
                self.code(text, interpreter.language);
                return Flow::Unknown;
            }
            match text {
                "--version" | "-V" | "--help" | "-v" | "-h" | "--test" => return Flow::Unknown,
                "-m" if interpreter.language == "Python" => {
                    self.module(after);
                    return super::flow::written(call);
                }
                _ if interpreter.values.contains(&text) => {
                    if matches!(text, "-r" | "--require" | "--import" | "-l")
                        || text == "-d" && interpreter.language == "PHP"
                    {
                        self.raise(Choice::Ask, Severity::Medium, "loads_code", "an option loads code");
                    }
                    rest = after.get(1..).unwrap_or_default();
                }
                _ if text.starts_with('-') && text.len() > 1 => {
                    if text.starts_with("-M")
                        || text.starts_with("-r")
                        || text.contains("require")
                        || text.contains("import")
                    {
                        self.raise(Choice::Ask, Severity::Medium, "loads_code", "an option loads code");
                    }
                    rest = after;
                }
                _ => {
                    self.script_file(word, call);
                    return Flow::Unknown;
                }
            }
        }
        self.read_script(call, Some(interpreter.language));
        Flow::Unknown
    }

    /// `python -m module`
    fn module(&mut self, words: &[Word]) {
        const KNOWN: &[&str] = &[
            "pytest",
            "unittest",
            "venv",
            "json.tool",
            "base64",
            "compileall",
            "py_compile",
            "doctest",
            "mypy",
            "black",
            "ruff",
            "flake8",
            "calendar",
            "tabnanny",
            "this",
            "platform",
            "site",
            "sysconfig",
            "ast",
            "dis",
            "tokenize",
            "zipfile",
            "tarfile",
        ];
        let name = words.first().map(|word| word.text.as_str()).unwrap_or_default();
        if !KNOWN.contains(&name) {
            self.raise(Choice::Ask, Severity::Low, "module", format!("it runs the module `{name}`"));
        }
    }

    /// Looks through code of another language.
    pub(super) fn code(&mut self, code: &str, language: &str) {
        let text = patterns::joined(code);
        let starts = STARTS.iter().any(|word| text.contains(word));
        let reaches = REACHES.iter().any(|word| text.contains(word));
        let found = patterns::in_code(code);
        let path = paths::sensitive(&text, None, true).filter(|found| found.grade(false).is_some());
        let has = |words: &[&str]| words.iter().any(|word| text.contains(word));
        if has(DECODES) && has(RUNS) {
            self.hidden("hidden_script", "code is hidden by an encoding");
        }
        if has(CONNECTS) && has(HANDS_OVER) {
            self.hidden("reverse_shell", "code hands a shell to the network");
        }
        self.mentions |= found.iter().any(|_| starts);
        if starts && found.is_empty() && text.contains("syscall") {
            self.raise(
                Choice::Refuse,
                Severity::High,
                "system_call",
                format!("code for {language} calls the kernel by number"),
            );
        }
        for pattern in &found {
            let severity = patterns::of(*pattern).severity;
            if starts || reaches {
                self.pattern(*pattern);
            }
            let choice =
                if (starts || reaches) && severity == Severity::High { Choice::Refuse } else { Choice::Ask };
            self.raise(
                choice,
                severity,
                "escape_in_code",
                format!("code for {language} has to do with: {}", patterns::of(*pattern).name),
            );
        }
        if let Some(path) = path.filter(|_| starts || reaches) {
            let (choice, severity) = path.grade(false).unwrap_or((Choice::Ask, Severity::Medium));
            self.raise(choice, severity, path.code, format!("code for {language} names {}", path.what));
        }
        if starts && (text.contains("mount /") || text.contains("mount -") || text.contains("docker run")) {
            self.raise(
                Choice::Refuse,
                Severity::High,
                "escape_in_code",
                format!("code for {language} changes which file systems are there"),
            );
        }
        let (severity, what) = if starts {
            (Severity::Medium, "starts other programs or makes code")
        } else {
            (Severity::Low, "is not judged")
        };
        self.raise(Choice::Ask, severity, "inline_code", format!("code for {language} {what}"));
    }
}

/// The code that stands after, or in, an option.
fn inline_code<'a>(
    text: &str,
    after: &'a [Word],
    interpreter: &Interpreter,
) -> Option<std::borrow::Cow<'a, Word>> {
    use std::borrow::Cow;
    if interpreter.long.contains(&text) {
        return after.first().map(Cow::Borrowed);
    }
    if let Some((option, code)) = text.split_once('=').filter(|(option, _)| interpreter.long.contains(option))
    {
        return Some(Cow::Owned(Word {
            text: code.to_owned(),
            written: option.to_owned(),
            ..Word::default()
        }));
    }
    let letters =
        text.strip_prefix('-').filter(|letters| !letters.starts_with('-') && !letters.is_empty())?;
    let (options, code) = letters.split_once(|c| interpreter.letters.contains(c))?;
    if options.chars().any(|c| interpreter.taking.contains(c)) {
        return None;
    }
    if code.is_empty() {
        return after.first().map(Cow::Borrowed);
    }
    Some(Cow::Owned(Word { text: code.to_owned(), ..Word::default() }))
}
