//! From the bytes of a file to a [`Config`], or to everything that is wrong with it.

use std::fmt;

use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::include::{self, Expanded, IncludedFile, IncludedFiles, NoFiles};
use crate::judge::{Judged, Unserved, judge};
use crate::limits;
use crate::migrate::{self, Migrated, Move};
use crate::reader::{self, SyntaxError};
use crate::redact::redact;
use crate::report::{ConfigError, ConfigErrorKind, ConfigErrors, Finding, Findings, Source, Sources};
use crate::secrets::{self, Keeper, NoKeys, Part, PlainSecret};
use crate::settings::Config;
use crate::substitution::Environment;
use crate::tree::Node;
use crate::values::Values;
use crate::variables;

/// A config that is valid.
pub struct Loaded {
    /// The settings that work.
    pub config: Config,
    /// The settings that are known and do nothing yet, in the order of the file.
    pub unsupported: Vec<Unsupported>,
    /// The file as it is written, with references such as `${NAME}` in place; secrets that stand in the
    /// file itself are in it, so that it is shown only after [`redact`](crate::redact).
    pub value: Value,
    /// Secrets that stand in the file as plaintext, in its order: sealed at its next write.
    pub plain: Vec<PlainSecret>,
    /// Every secret of the config, opened: for taking them out of logs and records.
    pub secrets: Vec<SecretString>,
    /// Settings whose secret a program has that was not asked ([`Asked::Withheld`](crate::Asked)): in their place is a
    /// value that nobody knows.
    pub withheld: Vec<String>,
    /// The files that it includes, relative to its folder.
    pub files: Vec<String>,
    /// Keys of older generations, which are read as if they stood where they belong now.
    pub migrated: Vec<Migrated>,
}

/// What a config is read with.
#[derive(Clone, Copy)]
pub struct Surroundings<'a> {
    /// Looks up the variables of `${NAME}` references.
    pub environment: &'a Environment<'a>,
    /// Opens what is sealed.
    pub keeper: &'a dyn Keeper,
    /// Whether the installation is marked sealed: plaintext in a secret place is an error then.
    pub sealed: bool,
    /// Reads what it includes.
    pub files: &'a dyn IncludedFiles,
}

impl<'a> Surroundings<'a> {
    /// Those of a config in which nothing is sealed and which includes nothing.
    pub const fn plain(environment: &'a Environment<'a>) -> Self {
        Self { environment, keeper: &NoKeys, sealed: false, files: &NoFiles }
    }
}

impl fmt::Debug for Surroundings<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Surroundings").field("sealed", &self.sealed).finish_non_exhaustive()
    }
}

impl fmt::Debug for Loaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loaded")
            .field("config", &self.config)
            .field("unsupported", &self.unsupported)
            .field("value", &redact(&self.value))
            .field("plain", &self.plain)
            .finish()
    }
}

/// A setting that is accepted and does nothing yet.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Unsupported {
    /// The setting, as `channels.telegram`.
    pub path: String,
    /// The included file that it is in; nothing for the config itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// The line of its key, from 1.
    pub line: usize,
    /// The character of the line, from 1.
    pub column: usize,
    /// What holds instead, when its owner could think that it makes something safer.
    pub note: Option<String>,
}

impl fmt::Display for Unsupported {
    /// What its owner should know, in one line without its place.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is not supported yet", self.path)?;
        match &self.note {
            None => Ok(()),
            Some(note) => write!(f, ": {note}"),
        }
    }
}

/// Reads a config. `name` is what messages call the file. What is sealed is opened into memory alone.
///
/// # Errors
/// Every error of the file at once, with its place; when it is no JSON5 at all, the first fault.
pub fn load(text: &[u8], name: &str, surroundings: &Surroundings<'_>) -> Result<Loaded, ConfigErrors> {
    let Surroundings { environment, keeper, sealed, files } = *surroundings;
    let text = decode(text, name)?;
    let (root, outline) = reader::read(text).map_err(|fault| syntax_error(*fault, text, name))?;
    let Expanded { mut root, files, findings } = include::expand(root, text.len(), files);
    let main = Source::new(text, outline.hidden, text.len());
    let sources = Sources::new(main, files.iter().map(IncludedFile::source).collect());
    if let Some(errors) = findings.into_errors(name, &sources) {
        return Err(errors);
    }
    let free = files.last().map_or(text.len(), IncludedFile::end).saturating_add(1);
    let migrated = told_moves(&migrate::apply(&mut root, free), &sources);
    let value = root.to_json();
    let mut opened = secrets::open(&mut root, Part::Variables, text.len(), keeper, environment);
    let own = variables::of(&root, environment);
    let either = |name: &str| environment(name).or_else(|| own.get(name).cloned());
    let environment: &Environment<'_> = &either;
    opened.add(secrets::open(&mut root, Part::Rest, text.len(), keeper, environment));
    let withheld = std::mem::take(&mut opened.withheld);
    let Judged { mut findings, skipped, unserved } = judge(&root, environment);
    let plain = told(opened, sealed, &mut findings, &sources);
    if let Some(errors) = findings.into_errors(name, &sources) {
        return Err(errors);
    }
    let values = Values { node: &root, skipped: &skipped, environment };
    let config = Config::deserialize(values).map_err(|error| {
        // The judge let pass what a setting does not take: a fault of this program, said plainly.
        let fix = "report this as a fault of moltbot, with the setting that it names";
        whole_file(name, ConfigErrorKind::Type, format!("a setting cannot be used: {error}"), fix)
    })?;
    let unsupported = listed(unserved, &sources);
    let secrets = secrets::values(&root, environment);
    let mut files: Vec<String> = files.into_iter().map(|file| file.name).collect();
    files.sort_unstable();
    files.dedup();
    Ok(Loaded { config, unsupported, value, plain, secrets, withheld, files, migrated })
}

fn told_moves(moves: &[Move], sources: &Sources<'_>) -> Vec<Migrated> {
    let told = |one: &Move| {
        let (file, line, _) = sources.place(one.at);
        let to = one.to.as_ref()?.to_string();
        Some(Migrated { from: one.from.to_string(), to, file: file.map(str::to_owned), line })
    };
    moves.iter().filter_map(told).collect()
}

/// What does nothing yet, in the order of the files.
fn listed(unserved: Vec<Unserved>, sources: &Sources<'_>) -> Vec<Unsupported> {
    let place = |one: Unserved| {
        let (file, line, column) = sources.place(one.at);
        let (file, note) = (file.map(str::to_owned), one.note.map(str::to_owned));
        Unsupported { path: one.path, file, line, column, note }
    };
    let mut listed: Vec<Unsupported> = unserved.into_iter().map(place).collect();
    listed.sort_by(|a, b| (&a.file, a.line, a.column).cmp(&(&b.file, b.line, b.column)));
    listed
}

/// Turns what did not open into errors, and plaintext too where the installation is sealed.
fn told(
    opened: secrets::Opened,
    sealed: bool,
    findings: &mut Findings,
    sources: &Sources<'_>,
) -> Vec<PlainSecret> {
    // Of a value that did not open, nothing else can be said.
    for fault in &opened.faults {
        findings.forget(&fault.path);
    }
    let mut find = |path: &str, at: std::ops::Range<usize>, message: String, fix: String| {
        let kind = ConfigErrorKind::Secret;
        let (path, fix) = (path.to_owned(), Some(fix));
        findings.add(Finding { kind, path, message, expected: None, fix, at, shown: false });
    };
    for fault in opened.faults {
        find(&fault.path, fault.start..fault.end, fault.message, fault.fix);
    }
    if sealed {
        for (path, at) in &opened.plain {
            let message =
                "it stands here in plaintext, and the secrets of this installation are sealed".to_owned();
            let fix = format!("run `moltbot secrets set {path}`, or write a reference such as ${{NAME}}");
            find(path, *at..*at, message, fix);
        }
    }
    let line = |at| sources.place(at).1;
    opened.plain.into_iter().map(|(path, at)| PlainSecret { path, line: line(at) }).collect()
}

/// Reads a text to a tree, for work on the text itself.
pub(crate) fn parse(text: &str, name: &str) -> Result<Node, ConfigErrors> {
    let text = decode(text.as_bytes(), name)?;
    let (root, _) = reader::read(text).map_err(|fault| syntax_error(*fault, text, name))?;
    Ok(root)
}

fn decode<'a>(text: &'a [u8], name: &str) -> Result<&'a str, ConfigErrors> {
    let size = u64::try_from(text.len()).unwrap_or(u64::MAX);
    if size > limits::CONFIG_BYTES {
        let message = format!("it has {size} bytes; a config has at most {}", limits::CONFIG_BYTES);
        return Err(whole_file(name, ConfigErrorKind::Size, message, "check that this is a config"));
    }
    std::str::from_utf8(text).map_err(|fault| {
        let at = fault.valid_up_to();
        let valid = text.get(..at).map(String::from_utf8_lossy).unwrap_or_default();
        let byte = text.get(at).copied().unwrap_or_default();
        let message = format!("it is not UTF-8: byte {at} is 0x{byte:02x}");
        let mut errors = whole_file_error(ConfigErrorKind::Encoding, message, "save the file as UTF-8");
        let line = valid.rsplit('\n').next().unwrap_or("");
        errors.line = valid.matches('\n').count().saturating_add(1);
        errors.column = line.chars().count().saturating_add(1);
        ConfigErrors::new(name, vec![errors], 0)
    })
}

fn syntax_error(fault: SyntaxError, text: &str, name: &str) -> ConfigErrors {
    let end = fault.end(text);
    let SyntaxError { at, message, fix, path, outline } = fault;
    let source = Sources::new(Source::new(text, outline.hidden, end), Vec::new());
    let mut findings = Findings::default();
    findings.add(Finding {
        kind: ConfigErrorKind::Syntax,
        path: path.to_string(),
        message,
        expected: None,
        fix: Some(fix.to_owned()),
        at: at..end,
        shown: false,
    });
    findings.into_errors(name, &source).unwrap_or_else(|| ConfigErrors::new(name, Vec::new(), 1))
}

fn whole_file(name: &str, kind: ConfigErrorKind, message: String, fix: &str) -> ConfigErrors {
    ConfigErrors::new(name, vec![whole_file_error(kind, message, fix)], 0)
}

fn whole_file_error(kind: ConfigErrorKind, message: String, fix: &str) -> ConfigError {
    ConfigError {
        kind,
        file: None,
        path: String::new(),
        message,
        expected: None,
        fix: Some(fix.to_owned()),
        line: 0,
        column: 0,
        excerpt: None,
    }
}
