//! What is wrong with a config: every error with its place, the line it is on, and what to do.

mod excerpt;

use std::fmt;

use serde::Serialize;
use thiserror::Error;

pub(crate) use excerpt::{Source, Sources};

/// Errors of one file that are kept; the rest are counted. Nobody repairs more at a time.
pub(crate) const ERRORS_KEPT: usize = 100;

/// Everything that is wrong with a config. Its text is a full report, with a line of the file for each.
///
/// Secrets are in none of it: excerpts show keys and punctuation, and of values only the one at fault,
/// unless its path is one that may hold a secret.
#[derive(Clone, Debug, Error, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ConfigErrors {
    file: String,
    errors: Vec<ConfigError>,
    /// Errors beyond those listed.
    more: usize,
}

impl ConfigErrors {
    pub(crate) fn new(file: &str, mut errors: Vec<ConfigError>, more: usize) -> Self {
        errors.sort_by(|a, b| (&a.file, a.line, a.column).cmp(&(&b.file, b.line, b.column)));
        Self { file: file.to_owned(), errors, more }
    }

    /// The errors, in the order of the file; at most 100.
    pub fn errors(&self) -> &[ConfigError] {
        &self.errors
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.errors.len().saturating_add(self.more);
        let plural = if count == 1 { "" } else { "s" };
        writeln!(f, "{} is not a valid config: {count} error{plural}", self.file)?;
        for error in &self.errors {
            write!(f, "\n{error}")?;
        }
        if self.more > 0 {
            writeln!(f, "\nand {} more", self.more)?;
        }
        Ok(())
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct ConfigError {
    /// Which family of error it is.
    pub kind: ConfigErrorKind,
    /// The included file that it is in, relative to the config's folder; nothing for the config itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// The setting, as `agents.list[0].id`; empty for the whole file.
    pub path: String,
    /// What is wrong, with the value unless it is secret.
    pub message: String,
    /// What would be right, when that can be said.
    pub expected: Option<String>,
    /// What to do.
    pub fix: Option<String>,
    /// The line, from 1; 0 when the error has no place.
    pub line: usize,
    /// The character in the line, from 1; 0 when the error has no place.
    pub column: usize,
    /// The line of the file with a mark under the fault.
    pub excerpt: Option<String>,
}

/// Families of errors.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ConfigErrorKind {
    /// One key twice in an object.
    DuplicateKey,
    /// Not UTF-8.
    Encoding,
    /// A file that cannot be included.
    Include,
    /// A variable of the environment is missing or empty.
    MissingVariable,
    /// Out of its range, or not one of the values there are.
    Range,
    /// Valid for other programs, but unsafe: not accepted here.
    Refused,
    /// A secret that does not open, or stands in plaintext where it must be sealed.
    Secret,
    /// Larger than a config may be.
    Size,
    /// Not JSON5, or nested too deep.
    Syntax,
    /// A value of the wrong type.
    Type,
    /// A key that no setting has.
    UnknownKey,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = if self.path.is_empty() { "the file" } else { &self.path };
        if self.line > 0 {
            let file = self.file.as_deref().map(|file| format!("{file}, ")).unwrap_or_default();
            writeln!(f, "{name} ({file}line {}, column {}): {}", self.line, self.column, self.message)?;
        } else {
            writeln!(f, "{name}: {}", self.message)?;
        }
        if let Some(excerpt) = &self.excerpt {
            writeln!(f, "{excerpt}")?;
        }
        if let Some(expected) = &self.expected {
            writeln!(f, "  expected: {expected}")?;
        }
        if let Some(fix) = &self.fix {
            writeln!(f, "  fix: {fix}")?;
        }
        Ok(())
    }
}

/// An error whose place is still an offset.
#[derive(Debug)]
pub(crate) struct Finding {
    pub(crate) kind: ConfigErrorKind,
    pub(crate) path: String,
    pub(crate) message: String,
    pub(crate) expected: Option<String>,
    pub(crate) fix: Option<String>,
    /// Where the mark goes.
    pub(crate) at: std::ops::Range<usize>,
    /// Whether the text under the mark may be shown although it is a value.
    pub(crate) shown: bool,
}

/// Findings while a config is judged; keeps the first hundred and counts the rest.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    kept: Vec<Finding>,
    more: usize,
}

impl Findings {
    /// Whether another finding would be kept, so that costly advice is worth its while.
    pub(crate) fn has_room(&self) -> bool {
        self.kept.len() < ERRORS_KEPT
    }

    pub(crate) fn add(&mut self, finding: Finding) {
        if self.has_room() {
            self.kept.push(finding);
        } else {
            self.more = self.more.saturating_add(1);
        }
    }

    /// Takes back what was found at a path.
    pub(crate) fn forget(&mut self, path: &str) {
        self.kept.retain(|finding| finding.path != path);
    }

    /// The errors with lines and excerpts, or nothing when there are none.
    pub(crate) fn into_errors(self, file: &str, sources: &Sources<'_>) -> Option<ConfigErrors> {
        if self.kept.is_empty() {
            return None;
        }
        let errors = self.kept.into_iter().map(|finding| locate(finding, sources)).collect();
        Some(ConfigErrors::new(file, errors, self.more))
    }
}

fn locate(finding: Finding, sources: &Sources<'_>) -> ConfigError {
    let Finding { kind, path, message, expected, fix, at, shown } = finding;
    let (file, source, at) = sources.find(at);
    let (line, column) = source.place(at.start);
    let excerpt = Some(source.excerpt(at, shown));
    ConfigError { kind, file: file.map(str::to_owned), path, message, expected, fix, line, column, excerpt }
}
