//! Code within a command: for a shell, for an interpreter, for `eval`. A shell's is judged like any script; another
//! language's is looked through for what it starts and reaches.

use super::call::Call;
use super::patterns;
use super::programs::{self, Interpreter};
use super::review::Review;
use super::verdict::{Choice, Severity};
use super::word::{Flow, UNKNOWN, Word};
use super::{paths, rules::base_name};

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
            "psql" | "mysql" | "sqlite3" => {
                if let Some(text) = call.input.text().filter(|text| {
                    ["\\!", "system", ".shell", "PROGRAM", "program"].iter().any(|word| text.contains(word))
                }) {
                    self.code(&text.to_owned(), name);
                }
                None
            }
            "make" | "gmake" | "gdb" | "ed" | "ex" | "vim" | "at" | "batch" | "crontab" | "ftp" => {
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
            | "test" | "[" | "mapfile" | "wait" => {
                self.names(call, name);
                None
            }
            _ if programs::is_shell(name) => Some(self.shell(call)),
            _ => programs::interpreter(name).map(|interpreter| self.interpreter(call, interpreter)),
        }
    }

    /// Judges a word as a script.
    pub(super) fn script_word(&mut self, word: &Word, input: &Flow) -> Flow {
        match &word.flow {
            Flow::Text(text) if word.text.chars().eq([UNKNOWN]) => {
                self.raise(
                    Choice::Refuse,
                    Severity::High,
                    "hidden_script",
                    "a script is put together by another command",
                );
                self.script(&text.clone(), input.clone())
            }
            Flow::Revealed(text) => {
                self.hidden("hidden_script", "a script is hidden by an encoding");
                self.script(&text.clone(), input.clone())
            }
            Flow::Decoded => self.hidden("hidden_script", "a script is hidden by an encoding"),
            Flow::Fetched => self.hidden("fetched_script", "a script comes from the network"),
            Flow::Nothing | Flow::Text(_) | Flow::Unknown if word.text.chars().eq([UNKNOWN]) => {
                self.raise(
                    Choice::Ask,
                    Severity::Medium,
                    "dynamic_script",
                    format!("a script is only known when it runs: {}", word.written),
                );
                Flow::Unknown
            }
            Flow::Nothing | Flow::Text(_) | Flow::Unknown => {
                if word.is_expanded() {
                    self.raise(
                        Choice::Ask,
                        Severity::Medium,
                        "dynamic_script",
                        "a part of a script is only known when it runs",
                    );
                }
                self.script(&word.text.clone(), input.clone())
            }
        }
    }

    fn hidden(&mut self, code: &str, text: &str) -> Flow {
        self.raise(Choice::Refuse, Severity::High, code, text);
        Flow::Unknown
    }

    /// Judges what a shell or an interpreter reads from its input. `look` is whether it is a shell's script.
    fn from_input(&mut self, call: &Call, language: Option<&str>) {
        match call.input.clone() {
            Flow::Text(text) => match language {
                None => drop(self.script(&text, Flow::Nothing)),
                Some(language) => self.code(&text, language),
            },
            Flow::Revealed(text) => {
                self.hidden("hidden_script", "a script is hidden by an encoding");
                match language {
                    None => drop(self.script(&text, Flow::Nothing)),
                    Some(language) => self.code(&text, language),
                }
            }
            Flow::Decoded => drop(self.hidden("hidden_script", "a script is hidden by an encoding")),
            Flow::Fetched => drop(self.hidden("fetched_script", "a script comes from the network")),
            Flow::Unknown => self.raise(
                Choice::Ask,
                Severity::Medium,
                "dynamic_script",
                "a script comes from another command or a file",
            ),
            Flow::Nothing => self.raise(
                Choice::Ask,
                Severity::Low,
                "no_script",
                format!("`{}` waits for commands", call.name()),
            ),
        }
    }

    fn shell(&mut self, call: &Call) -> Flow {
        self.look_at_words(call);
        let mut rest = call.arguments();
        while let Some((word, after)) = rest.split_first() {
            let text = word.text.as_str();
            let short =
                (text.starts_with('-') || text.starts_with('+')) && !text.starts_with("--") && text.len() > 1;
            if short && text.contains('c') && text.starts_with('-') {
                let script = after.iter().find(|word| !word.text.starts_with(['-', '+']));
                let Some(script) = script else { break };
                self.positional(after);
                let flow = self.script_word(script, &call.input);
                self.part(call);
                return flow;
            }
            match text {
                "-s" => break,
                "--rcfile" | "--init-file" => {
                    self.raise(
                        Choice::Ask,
                        Severity::Medium,
                        "loads_code",
                        "a shell reads a file of commands before its own",
                    );
                    rest = after.get(1..).unwrap_or_default();
                }
                "-o" | "+o" | "-O" | "+O" => rest = after.get(1..).unwrap_or_default(),
                "--version" | "--help" => {
                    self.part(call);
                    return Flow::Unknown;
                }
                _ if short || text.starts_with("--") => {
                    if text.contains('s') && short {
                        break;
                    }
                    rest = after;
                }
                _ => {
                    self.script_file(word, call);
                    self.part(call);
                    return Flow::Unknown;
                }
            }
        }
        self.from_input(call, None);
        self.part(call);
        Flow::Unknown
    }

    fn part(&mut self, call: &Call) {
        // A shell or an interpreter is judged by what it is given; its own name says nothing.
        self.push(call);
    }

    /// A file of commands or code as an operand.
    fn script_file(&mut self, word: &Word, call: &Call) {
        let text = word.text.as_str();
        match &word.flow {
            Flow::Nothing => {}
            Flow::Revealed(text) | Flow::Text(text) => {
                self.raise(
                    Choice::Refuse,
                    Severity::High,
                    "hidden_script",
                    "a script is put together by another command",
                );
                drop(self.script(&text.clone(), Flow::Nothing));
                return;
            }
            Flow::Unknown => self.raise(
                Choice::Ask,
                Severity::Medium,
                "dynamic_script",
                "a script is what another command writes",
            ),
            Flow::Decoded => drop(self.hidden("hidden_script", "a script is hidden by an encoding")),
            Flow::Fetched => drop(self.hidden("fetched_script", "a script comes from the network")),
        }
        if matches!(text, "-" | "/dev/stdin" | "/dev/fd/0" | "/proc/self/fd/0") {
            let language = (!programs::is_shell(call.name())).then(|| call.name().to_owned());
            return self.from_input(call, language.as_deref());
        }
        if !word.is_literal() {
            self.raise(
                Choice::Ask,
                Severity::Medium,
                "dynamic_script",
                format!("which file of code runs is only known then: {}", word.written),
            );
        } else if text.starts_with('/') && !text.starts_with("/workspace/") {
            self.raise(
                Choice::Ask,
                Severity::Medium,
                "foreign_script",
                format!("it runs a file of code outside of the workspace: {text}"),
            );
        } else if self.fetches {
            self.raise(
                Choice::Ask,
                Severity::Medium,
                "fetched_script",
                "it runs a file after something was fetched",
            );
        }
    }

    fn eval(&mut self, call: &Call) -> Flow {
        self.raise(Choice::Ask, Severity::Medium, "eval", "`eval` makes a script of words");
        let words = call.arguments();
        if let [only] = words {
            return self.script_word(only, &call.input);
        }
        for word in words {
            match word.flow {
                Flow::Decoded | Flow::Revealed(_) => {
                    drop(self.hidden("hidden_script", "a script is hidden by an encoding"))
                }
                Flow::Fetched => drop(self.hidden("fetched_script", "a script comes from the network")),
                Flow::Nothing | Flow::Text(_) | Flow::Unknown => {}
            }
        }
        let text: Vec<&str> = words.iter().map(|word| word.text.as_str()).collect();
        self.script(&text.join(" "), call.input.clone())
    }

    fn source(&mut self, call: &Call) -> Flow {
        self.raise(Choice::Ask, Severity::Medium, "source", "it runs a file as a part of itself");
        self.look_at_words(call);
        if let Some(file) =
            call.arguments().iter().find(|word| !word.text.starts_with('-') || word.text == "-")
        {
            let shell = Word::plain("sh");
            let inner = Call { words: vec![shell, file.clone()], ..call.clone() };
            self.script_file(file, &inner);
        }
        self.push(call);
        Flow::Unknown
    }

    /// Scripts that the shell keeps for later: of `trap`, and of `alias`.
    fn kept(&mut self, call: &Call, name: &str) {
        for word in call.arguments() {
            let script = if name == "alias" {
                word.text.split_once('=').map(|(_, script)| script)
            } else {
                Some(word.text.as_str())
            };
            let Some(script) = script.filter(|script| script.contains([' ', ';', '/']) || name == "alias")
            else {
                continue;
            };
            if name == "alias" {
                self.raise(Choice::Ask, Severity::Medium, "alias", "it gives another meaning to a word");
            }
            self.script(&script.to_owned(), Flow::Nothing);
        }
    }

    /// `env -S 'program words'`
    fn split_string(&mut self, call: &Call) -> Option<Flow> {
        let words = call.arguments();
        let at = words.iter().position(|word| {
            word.text.starts_with("--split-string")
                || (word.text.starts_with('-') && !word.text.starts_with("--") && word.text.contains('S'))
        })?;
        let word = words.get(at)?;
        let own = word.text.split_once(['=', 'S']).map(|(_, script)| script).unwrap_or_default();
        let more = words.iter().skip(at.saturating_add(1)).map(|word| word.text.as_str());
        let script: Vec<&str> = Some(own)
            .filter(|own| !own.is_empty() && *own != "plit-string")
            .into_iter()
            .chain(more)
            .collect();
        self.push(call);
        Some(self.script(&script.join(" "), call.input.clone()))
    }

    /// What a shell's script gets as `$0`, `$1`: it may be used as a program.
    fn positional(&mut self, words: &[Word]) {
        self.mentions |= words.iter().skip(1).any(|word| programs::leaves_walls(base_name(&word.text)));
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
                _ if interpreter.values.contains(&text) => rest = after.get(1..).unwrap_or_default(),
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
        self.from_input(call, Some(interpreter.language));
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
            "timeit",
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

    /// The program of `awk`: it can start others, open files and connections.
    fn awk(&mut self, call: &Call) -> Flow {
        self.push(call);
        let mut rest = call.arguments();
        let mut program = None;
        while let Some((word, after)) = rest.split_first() {
            match word.text.as_str() {
                "-f" | "--file" | "-i" | "--include" | "-l" | "--load" | "-E" | "--exec" => {
                    self.raise(
                        Choice::Ask,
                        Severity::Low,
                        "script_file",
                        "the program of `awk` is in a file",
                    );
                    if let Some(file) = after.first() {
                        self.script_file(file, call);
                    }
                    rest = after.get(1..).unwrap_or_default();
                }
                "-v" | "-F" | "--assign" | "--field-separator" => rest = after.get(1..).unwrap_or_default(),
                "-e" | "--source" => {
                    program = after.first();
                    break;
                }
                text if text.starts_with('-') && text.len() > 1 => rest = after,
                _ => {
                    program = Some(word);
                    rest = after;
                    break;
                }
            }
        }
        rest.iter()
            .filter(|word| program.is_none_or(|program| program.written != word.written))
            .for_each(|word| self.look_at_path(&word.text, false));
        let Some(program) = program else { return Flow::Decoded };
        let text = patterns::joined(&program.text);
        let spoken: String = text.chars().filter(|c| !c.is_whitespace()).collect();
        if spoken.contains("/inet") {
            self.raise(
                Choice::Refuse,
                Severity::High,
                "network_by_shell",
                "the program of `awk` opens a connection",
            );
        }
        let pipes = spoken.contains("|getline")
            || spoken.contains("|&")
            || spoken.contains("|\"")
            || spoken.replace("||", "").contains(")|")
            || spoken.contains("print|");
        if spoken.contains("system(")
            || pipes
            || spoken.contains("@load")
            || spoken.contains("@include")
            || spoken.contains('@') && spoken.contains("(") && spoken.contains("@f")
        {
            self.code(&program.text.replace('|', " system | "), "awk");
        }
        if spoken.contains("getline<") || spoken.contains(">\"") || spoken.contains("environ") {
            self.raise(
                Choice::Ask,
                Severity::Low,
                "inline_code",
                "the program of `awk` opens files or reads the environment",
            );
            self.look_at_path(&text, true);
        }
        if program.is_expanded() {
            self.raise(
                Choice::Ask,
                Severity::Medium,
                "dynamic_script",
                "the program of `awk` is only known when it runs",
            );
        }
        super::flow::written(call)
    }

    /// The script of `sed`: GNU's can start programs, read and write files.
    fn sed(&mut self, call: &Call) -> Flow {
        self.push(call);
        let mut scripts: Vec<&Word> = Vec::new();
        let mut files: Vec<&Word> = Vec::new();
        let (mut given, mut in_place) = (false, false);
        let mut rest = call.arguments();
        while let Some((word, after)) = rest.split_first() {
            rest = after;
            match word.text.as_str() {
                "-e" | "--expression" | "-ne" | "-Ee" | "-nEe" | "-re" => {
                    scripts.extend(after.first());
                    given = true;
                    rest = after.get(1..).unwrap_or_default();
                }
                "-f" | "--file" => {
                    self.raise(Choice::Ask, Severity::Low, "script_file", "the script of `sed` is in a file");
                    given = true;
                    rest = after.get(1..).unwrap_or_default();
                }
                "-l" | "--line-length" => rest = after.get(1..).unwrap_or_default(),
                text if text.starts_with("--expression=") || (text.starts_with("-e") && text.len() > 2) => {
                    scripts.push(word);
                    given = true;
                }
                text if text.starts_with('-') && text.len() > 1 => {
                    in_place |= text.starts_with("-i") || text.starts_with("--in") || text.contains('i')
                }
                _ if !given && scripts.is_empty() => scripts.push(word),
                _ => files.push(word),
            }
        }
        files.iter().for_each(|word| self.look_at_path(&word.text, in_place));
        for script in scripts {
            if script.is_expanded() && script.text.starts_with(UNKNOWN) {
                self.raise(
                    Choice::Ask,
                    Severity::Medium,
                    "dynamic_script",
                    "the script of `sed` is only known when it runs",
                );
            }
            if let Some(command) = super::sed::starts(&script.text) {
                self.raise(
                    Choice::Refuse,
                    Severity::High,
                    "sed_runs",
                    "the script of `sed` starts a program",
                );
                drop(self.script(&command, Flow::Nothing));
            } else if super::sed::opens_files(&script.text) {
                self.raise(Choice::Ask, Severity::Low, "inline_code", "the script of `sed` opens files");
                self.look_at_path(&script.text, true);
            }
        }
        super::flow::written(call)
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
