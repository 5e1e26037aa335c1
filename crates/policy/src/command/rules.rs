//! Rules about programs: what runs, what a person is asked about, what is refused.

use thiserror::Error;

/// The rules in force: the built-in ones and the owner's.
#[derive(Debug, Default)]
pub struct Rules;

/// Why rules cannot be used. No command runs with broken rules.
#[derive(Clone, Debug, Error, Eq, PartialEq)]
#[error("the rules for commands in {path} cannot be used: {problem}; no command runs until it is mended")]
pub struct RulesError {
    /// Where the rules are from.
    pub path: String,
    /// What is wrong, with the rule's name or the line.
    pub problem: String,
}

impl Rules {
    /// The built-in rules, read at their first use.
    ///
    /// # Errors
    /// When they are broken, which a test shows they are not.
    pub fn built_in() -> Result<&'static Self, RulesError> {
        static RULES: Rules = Rules;
        Ok(&RULES)
    }

    /// The built-in rules and those in `text`, which is from `path`.
    ///
    /// # Errors
    /// When the text is no rules, or a rule's own examples do not fit it.
    pub fn with_owners(_text: &str, path: &str) -> Result<Self, RulesError> {
        Err(RulesError { path: path.to_owned(), problem: "rules of the owner cannot be read yet".into() })
    }
}
