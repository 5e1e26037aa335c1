//! Rules about programs: what runs, what a person is asked about, what is refused.
//!
//! The built-in ones are in `rules.toml`; the owner can add to them, never take away: of all rules that fit a part the
//! strictest holds. Each rule carries examples that it must and must not fit, which are tried whenever rules are read.

use std::collections::HashMap;
use std::sync::OnceLock;

use serde::Deserialize;
use thiserror::Error;

use super::glob::{self, Pattern};
use super::patterns::{self, Name};
use super::verdict::{Argument, Choice, Part, Severity};

const BUILT_IN: &str = include_str!("rules.toml");

/// The rules in force: the built-in ones and the owner's.
#[derive(Debug, Default)]
pub struct Rules {
    rules: Vec<Rule>,
    /// Rules by program; those whose program has wildcards apart.
    by_program: HashMap<String, Vec<usize>>,
    wild: Vec<(Pattern, usize)>,
}

/// One rule.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Its name, unique among the rules: lower case, digits and underscores.
    pub name: String,
    /// Programs by name, without a folder; `*` and `?` stand for any letters.
    programs: Vec<Pattern>,
    /// The first words that are no options: alternatives for each.
    #[serde(default)]
    words: Vec<Vec<Pattern>>,
    /// Options whose next word is their value.
    #[serde(default)]
    values: Vec<String>,
    /// At least one argument fits one of these.
    #[serde(default)]
    arguments: Vec<Pattern>,
    /// No argument fits one of these, and none could turn into one when the command runs.
    #[serde(default)]
    unless: Vec<Pattern>,
    verdict: Word,
    #[serde(default)]
    severity: Option<Grade>,
    #[serde(default)]
    pattern: Option<String>,
    /// Why.
    pub justification: String,
    #[serde(rename = "match")]
    fits: Vec<String>,
    #[serde(default)]
    not_match: Vec<String>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Word {
    Ask,
    Refuse,
    Run,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Grade {
    High,
    Low,
    Medium,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    rule: Vec<Rule>,
}

/// Why rules cannot be used. No command runs with broken rules.
#[derive(Clone, Debug, Error, Eq, PartialEq)]
#[error(
    "the rules for commands in {path} cannot be used: {problem}; no command runs until the file is mended or removed"
)]
pub struct RulesError {
    /// Where the rules are from.
    pub path: String,
    /// What is wrong, with the rule's name or the line.
    pub problem: String,
}

impl Rules {
    /// The built-in rules, read and tried at their first use.
    ///
    /// # Errors
    /// When they are broken, which a test shows they are not.
    pub fn built_in() -> Result<&'static Self, RulesError> {
        static RULES: OnceLock<Result<Rules, RulesError>> = OnceLock::new();
        RULES.get_or_init(|| Self::read(&[("the program itself", BUILT_IN)])).as_ref().map_err(Clone::clone)
    }

    /// The built-in rules and those in `text`, which is from `path`.
    ///
    /// # Errors
    /// When the text is no rules, or a rule's own examples do not fit it.
    pub fn with_owners(text: &str, path: &str) -> Result<Self, RulesError> {
        let mut rules = Self::read(&[("the program itself", BUILT_IN), (path, text)])?;
        // What an owner does not want is no attempt to get out, unless he says so.
        let known = Self::built_in()?;
        for rule in rules.rules.iter_mut().skip(known.rules.len()) {
            rule.severity.get_or_insert(Grade::Medium);
        }
        Ok(rules)
    }

    /// Every rule, the built-in ones first.
    pub fn iter(&self) -> impl Iterator<Item = &Rule> {
        self.rules.iter()
    }

    fn read(files: &[(&str, &str)]) -> Result<Self, RulesError> {
        let mut all = Self::default();
        for (path, text) in files {
            let broken = |problem: String| RulesError { path: (*path).to_owned(), problem };
            let file: File =
                toml::from_str(text).map_err(|error| broken(error.to_string().trim_end().to_owned()))?;
            let mut problems = Vec::new();
            for rule in file.rule {
                if all.rules.iter().any(|known| known.name == rule.name) {
                    problems
                        .push(format!("there are two rules `{}`; name one of them differently", rule.name));
                } else if let Err(problem) = rule.check() {
                    problems.push(format!("rule `{}`: {problem}", rule.name));
                } else {
                    all.add(rule);
                }
            }
            if !problems.is_empty() {
                return Err(broken(problems.join("; ")));
            }
        }
        Ok(all)
    }

    fn add(&mut self, rule: Rule) {
        let index = self.rules.len();
        for program in &rule.programs {
            if glob::is_wild(program.as_str()) {
                self.wild.push((program.clone(), index));
            } else {
                self.by_program.entry(program.as_str().to_owned()).or_default().push(index);
            }
        }
        self.rules.push(rule);
    }

    /// The rules that fit `part`. One that lets it run fits only a program of the system's.
    pub fn fitting<'a>(&'a self, part: &'a Part) -> impl Iterator<Item = &'a Rule> {
        let program = part.program.as_deref().unwrap_or_default();
        let (name, own) = (base_name(program), is_system(program));
        let exact = self.by_program.get(name).into_iter().flatten();
        let wild = self.wild.iter().filter(|(program, _)| program.fits(name)).map(|(_, index)| index);
        let found = exact.chain(wild).filter_map(|index| self.rules.get(*index));
        found.filter(move |rule| (own || rule.choice() != Choice::Run) && rule.fits_words(part))
    }

    /// Whether a rule lets `name` run in some form: it is a program that people know.
    pub(super) fn knows(&self, name: &str) -> bool {
        self.by_program.contains_key(name)
    }
}

/// Whether a program is found by its name alone, or lies where the system keeps its own.
fn is_system(program: &str) -> bool {
    match program.rsplit_once('/') {
        None => true,
        Some((folder, _)) => {
            matches!(
                folder,
                "/bin" | "/sbin" | "/usr/bin" | "/usr/sbin" | "/usr/local/bin" | "/usr/local/sbin"
            )
        }
    }
}

/// The name of a program without its folder.
pub(super) fn base_name(program: &str) -> &str {
    program.rsplit('/').next().unwrap_or(program)
}

impl Rule {
    /// What it says.
    pub fn choice(&self) -> Choice {
        match self.verdict {
            Word::Ask => Choice::Ask,
            Word::Refuse => Choice::Refuse,
            Word::Run => Choice::Run,
        }
    }

    /// How bad what it is about is. Without a word of its own: high for what a built-in rule refuses, low for what it asks
    /// about, medium for an owner's rule.
    pub fn severity(&self) -> Severity {
        match (self.severity, self.verdict) {
            (Some(Grade::High), _) | (None, Word::Refuse) => Severity::High,
            (Some(Grade::Medium), _) => Severity::Medium,
            (Some(Grade::Low), _) | (None, Word::Ask | Word::Run) => Severity::Low,
        }
    }

    /// What it fits, for a person: its programs, and the words that they must or must not have.
    pub fn shown(&self) -> String {
        let joined =
            |patterns: &[Pattern]| patterns.iter().map(Pattern::as_str).collect::<Vec<_>>().join("|");
        let mut text = joined(&self.programs);
        for words in &self.words {
            text.push_str(&format!(" {}", joined(words)));
        }
        if !self.arguments.is_empty() {
            text.push_str(&format!(" with {}", joined(&self.arguments)));
        }
        if !self.unless.is_empty() {
            text.push_str(&format!(" without {}", joined(&self.unless)));
        }
        text
    }

    pub(super) fn pattern(&self) -> Option<Name> {
        self.pattern.as_deref().and_then(patterns::named)
    }

    fn check(&self) -> Result<(), String> {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        if self.name.is_empty() || !self.name.chars().all(plain) {
            return Err("a name has lower case letters, digits and underscores".into());
        }
        if self.programs.is_empty()
            || self
                .programs
                .iter()
                .any(|program| program.as_str().is_empty() || program.as_str().contains('/'))
        {
            return Err("`programs` are names without a folder, at least one".into());
        }
        if self.programs.iter().any(|program| program.as_str().trim_matches(['*', '?']).is_empty()) {
            return Err("a program needs a letter: a rule for every program is no rule".into());
        }
        if self.justification.trim().is_empty() || self.fits.is_empty() {
            return Err("it needs a `justification`, and a command under `match` that it fits".into());
        }
        if self.pattern.is_some() && self.pattern().is_none() {
            return Err("there is no pattern of that name; `moltbot commands rules list` shows them".into());
        }
        if let Some(example) = self.fits.iter().find(|example| !self.fits_script(example)) {
            return Err(format!("it does not fit its own example under `match`: {example}"));
        }
        if let Some(example) = self.not_match.iter().find(|example| self.fits_script(example)) {
            return Err(format!("it fits its own example under `not_match`: {example}"));
        }
        Ok(())
    }

    /// Whether it fits a part of `script`.
    fn fits_script(&self, script: &str) -> bool {
        let nothing = Self::nothing();
        super::judge(script, nothing).parts.iter().any(|part| {
            let name = part.program.as_deref().map(base_name).unwrap_or_default();
            self.programs.iter().any(|program| program.fits(name)) && self.fits_words(part)
        })
    }

    fn nothing() -> &'static Rules {
        static NOTHING: OnceLock<Rules> = OnceLock::new();
        NOTHING.get_or_init(Rules::default)
    }

    fn fits_words(&self, part: &Part) -> bool {
        self.fits_first_words(part) && self.fits_arguments(part) && self.fits_unless(part)
    }

    fn fits_first_words(&self, part: &Part) -> bool {
        let mut words = part.arguments.iter();
        self.words.iter().all(|alternatives| {
            let word = loop {
                match words.next() {
                    None => return false,
                    Some(Argument::Literal(text)) if self.values.contains(text) => drop(words.next()),
                    Some(Argument::Literal(text)) if text.starts_with('-') && text.len() > 1 => {}
                    Some(word) => break word,
                }
            };
            let Argument::Literal(word) = word else { return false };
            alternatives.iter().any(|alternative| alternative.fits(word))
        })
    }

    fn fits_arguments(&self, part: &Part) -> bool {
        let any = |argument: &Argument| self.arguments.iter().any(|wanted| wanted.fits(argument.shown()));
        self.arguments.is_empty() || part.arguments.iter().any(any)
    }

    fn fits_unless(&self, part: &Part) -> bool {
        let denied = |argument: &Argument| {
            is_open(argument) && self.choice() == Choice::Run
                || self.unless.iter().any(|denied| denied.fits(argument.shown()))
        };
        self.unless.is_empty() || !part.arguments.iter().any(denied)
    }
}

/// Whether a word could become an option when the command runs.
fn is_open(argument: &Argument) -> bool {
    match argument {
        Argument::Literal(_) => false,
        Argument::Dynamic(written) if written.starts_with('{') => {
            written.contains("{-") || written.contains(",-") || written.contains('$')
        }
        Argument::Dynamic(written) => written.trim_start_matches('"').starts_with(['$', '`', '*', '?', '[']),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_rules_fit_their_examples() {
        let rules = Rules::built_in().unwrap();
        assert!(rules.iter().count() > 60);
        for rule in rules.iter() {
            assert!(rule.justification.len() > 10, "{}", rule.name);
        }
    }

    #[test]
    fn broken_rules_say_what_is_wrong() {
        let rule = |more: &str| {
            format!("[[rule]]\nname = \"own\"\nprograms = [\"mytool\"]\njustification = \"mine\"\n{more}")
        };
        for (text, expected) in [
            ("[[rule]]".to_owned(), "missing field"),
            (rule("verdict = \"run\"\nmatch = [\"mytool x\"]\nx = 1"), "unknown field"),
            (rule("verdict = \"maybe\"\nmatch = [\"mytool x\"]"), "unknown variant"),
            (rule("verdict = \"run\"\nmatch = [\"other x\"]"), "does not fit its own example"),
            (
                rule("verdict = \"run\"\nmatch = [\"mytool\"]\nnot_match = [\"sudo mytool x\"]"),
                "it fits its own example",
            ),
            (rule("verdict = \"run\"\nmatch = []"), "needs a `justification`"),
            (
                rule("verdict = \"run\"\nmatch = [\"mytool\"]").replace("mytool\"]\nj", "*\"]\nj"),
                "needs a letter",
            ),
            (rule("verdict = \"run\"\nmatch = [\"mytool\"]\npattern = \"x\""), "no pattern of that name"),
            (rule("verdict = \"run\"\nmatch = [\"mytool\"]").replace("own", "mount"), "two rules"),
        ] {
            let error = Rules::with_owners(&text, "/state/commands.toml").unwrap_err();
            assert!(error.to_string().contains(expected), "{text}: {error}");
            assert!(
                error.to_string().contains("/state/commands.toml")
                    && error.to_string().contains("no command runs")
            );
        }
    }

    #[test]
    fn the_owner_adds_and_never_takes_away() {
        let text = "[[rule]]\nname = \"own\"\nprograms = [\"mytool\", \"nsenter\"]\nverdict = \"run\"\n\
                    justification = \"mine\"\nmatch = [\"mytool x\"]\n";
        let rules = Rules::with_owners(text, "commands.toml").unwrap();
        assert_eq!(super::super::judge("mytool x", &rules).choice, Choice::Run);
        assert_eq!(
            super::super::judge("/tmp/mytool x", &rules).choice,
            Choice::Ask,
            "a path is not the name"
        );
        assert_eq!(super::super::judge("nsenter -t 1 -m", &rules).choice, Choice::Refuse);
    }
}
