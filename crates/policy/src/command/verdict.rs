//! What a review answers: a choice, why, and the simple commands that it was made for.

use std::fmt;

use crate::record::Entry;

/// What may be done with a command. The later is the stricter; over several parts the strictest holds.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Choice {
    /// It may run, within its walls.
    #[default]
    Run,
    /// A person decides.
    Ask,
    /// It does not run, whoever wants it.
    Refuse,
}

impl Choice {
    /// The word for it in rules, in the book and in `commands review`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Run => "run",
            Self::Ask => "ask",
            Self::Refuse => "refuse",
        }
    }
}

/// How bad a command would be that does what it looks like.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Severity {
    /// Unusual.
    Low,
    /// It may reach what is not the agent's: a person decides.
    Medium,
    /// It tries to leave its walls, to hide what it is, or to take over the machine.
    High,
}

impl Severity {
    /// The word for it in rules, in the book and in `commands review`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
        }
    }
}

/// One reason for asking or refusing.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Reason {
    /// Stable, lower case with underscores, such as `dynamic_program`; or the name of a rule of the owner's.
    pub code: String,
    /// What it is about, and why that matters.
    pub text: String,
}

/// A word of a command.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Argument {
    /// What the program gets, to the letter: quotes and escapes are removed.
    Literal(String),
    /// Only known when it runs: it has a variable, a substitution, a wildcard or braces. As it was written.
    Dynamic(String),
}

impl Argument {
    /// The text that the program gets, when it is known.
    pub fn literal(&self) -> Option<&str> {
        match self {
            Self::Literal(text) => Some(text),
            Self::Dynamic(_) => None,
        }
    }

    /// The text to show: what the program gets, or what was written.
    pub fn shown(&self) -> &str {
        match self {
            Self::Literal(text) | Self::Dynamic(text) => text,
        }
    }
}

/// A redirection of input or output.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Redirect {
    /// What it does.
    pub kind: RedirectKind,
    /// The file, or the text of a here-document or here-string.
    pub target: Argument,
}

/// What a redirection does.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RedirectKind {
    /// Joins one descriptor to another, such as `2>&1`.
    Duplicate,
    /// The command reads a file.
    Read,
    /// The command reads text that stands in the script.
    Text,
    /// The command writes a file, or reads and writes it.
    Write,
}

/// One simple command: a program with its words, when what is wrapped around it is taken off.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Part {
    /// The program as written, without quotes and escapes; nothing when it is only known when it runs.
    pub program: Option<String>,
    /// Its words, without the program.
    pub arguments: Vec<Argument>,
    /// Variables that are set for it, by the shell or by `env`.
    pub environment: Vec<(String, Argument)>,
    /// Where its input comes from and its output goes to.
    pub redirects: Vec<Redirect>,
    /// The programs that start it, outermost first, such as `sudo` and `timeout`.
    pub wrappers: Vec<String>,
}

impl Part {
    /// Whether every word is known before it runs.
    pub fn is_literal(&self) -> bool {
        self.program.is_some() && self.arguments.iter().all(|word| word.literal().is_some())
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.program.as_deref().unwrap_or("(known when it runs)"))?;
        self.arguments.iter().try_for_each(|word| write!(f, " {}", word.shown()))
    }
}

/// The answer of a review.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Verdict {
    /// What may be done with the command.
    pub choice: Choice,
    /// The worst of what was found; nothing when nothing was.
    pub severity: Option<Severity>,
    /// The names of the escape patterns that it matches, each once.
    pub patterns: Vec<&'static str>,
    /// Why it is not simply run, each once.
    pub reasons: Vec<Reason>,
    /// The simple commands that it consists of, also those within substitutions, shells and wrappers.
    pub parts: Vec<Part>,
    /// The words of the whole script, when it is one simple command.
    pub(super) simple: Option<Vec<String>>,
}

impl Verdict {
    /// The verdict on nothing.
    pub(super) const NOTHING: Self = Self {
        choice: Choice::Run,
        severity: None,
        patterns: Vec::new(),
        reasons: Vec::new(),
        parts: Vec::new(),
        simple: None,
    };

    /// Says in an entry what was found.
    pub fn tell(&self, entry: Entry) -> Entry {
        let mut entry = entry.with("review", self.choice.name());
        if let Some(severity) = self.severity {
            entry = entry.with("severity", severity.name());
        }
        if !self.patterns.is_empty() {
            entry = entry.with("patterns", self.patterns.join(", "));
        }
        if !self.reasons.is_empty() {
            let codes: Vec<&str> = self.reasons.iter().map(|reason| reason.code.as_str()).collect();
            entry = entry.with("reasons", codes.join(", "));
        }
        entry
    }

    /// The program and its words, when the whole script is one simple command whose words are all known, without
    /// redirections and variables of its own: it can be run without a shell.
    pub fn simple(&self) -> Option<&[String]> {
        self.simple.as_deref()
    }

    /// Makes the choice at least `choice`, for a reason.
    pub(super) fn raise(&mut self, choice: Choice, severity: Severity, code: &str, text: impl Into<String>) {
        self.choice = self.choice.max(choice);
        self.severity = self.severity.max(Some(severity));
        let text = text.into();
        if !self.reasons.iter().any(|reason| reason.code == code && reason.text == text) {
            self.reasons.push(Reason { code: code.to_owned(), text });
        }
    }
}
