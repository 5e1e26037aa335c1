//! One fact, its judgement and its fix.

use serde::Serialize;

/// How a fact is judged. The order is that of badness.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// It is well.
    Ok,
    /// Something will not work as it could.
    Warn,
    /// It stops moltbot here.
    Fail,
}

/// One fact about this installation.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Check {
    /// Stable, such as `state.folder`.
    pub id: &'static str,
    /// The judgement.
    pub level: Level,
    /// What is so.
    pub what: String,
    /// What to do about it; absent when all is well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
}

impl Check {
    /// All is well.
    pub(crate) fn ok(id: &'static str, what: impl Into<String>) -> Self {
        Self { id, level: Level::Ok, what: what.into(), fix: None }
    }

    /// Something will not work as it could.
    pub(crate) fn warn(id: &'static str, what: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { id, level: Level::Warn, what: what.into(), fix: Some(fix.into()) }
    }

    /// It stops moltbot here.
    pub(crate) fn fail(id: &'static str, what: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { id, level: Level::Fail, what: what.into(), fix: Some(fix.into()) }
    }
}

/// The worst judgement among the checks.
pub fn worst(checks: &[Check]) -> Level {
    checks.iter().map(|check| check.level).max().unwrap_or(Level::Ok)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_failure_outweighs_everything() {
        let checks =
            [Check::ok("a", ""), Check::fail("b", "", ""), Check::warn("c", "", ""), Check::ok("d", "")];
        assert_eq!(worst(&checks), Level::Fail);
        assert_eq!(worst(&[]), Level::Ok);
    }
}
