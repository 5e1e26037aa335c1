//! Findings that the owner has decided to live with: each with a reason, somebody who answers for it, and an end.

use serde::Serialize;
use serde_json::Value;

use super::facts::Facts;
use super::raw::{items, text};
use super::report::Finding;

/// Where they are in the config.
pub(super) const PLACE: &str = "security.audit.suppressions";
/// The longest that one may last, in milliseconds: 90 days.
const LONGEST_MS: u64 = 90 * 24 * 60 * 60 * 1000;

/// A finding that is suppressed.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Suppressed {
    /// The finding's id.
    pub check_id: String,
    /// Why its owner lives with it.
    pub reason: String,
    /// Who answers for that.
    pub owner: String,
    /// Until when.
    pub until: String,
}

/// A suppression that suppresses nothing.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Ineffective {
    /// Its place in the config.
    pub place: String,
    /// Why it suppresses nothing.
    pub because: String,
}

/// The suppressions that hold now, and those that do not.
pub(super) fn read(facts: &Facts<'_>) -> (Vec<Suppressed>, Vec<Ineffective>) {
    let (mut good, mut bad) = (Vec::new(), Vec::new());
    let Some(value) = facts.config.value() else { return (good, bad) };
    for (index, entry) in items(value, PLACE).iter().enumerate() {
        match one(entry, facts.now_ms) {
            Ok(suppressed) => good.push(suppressed),
            Err(because) => bad.push(Ineffective { place: format!("{PLACE}[{index}]"), because }),
        }
    }
    (good, bad)
}

fn one(entry: &Value, now_ms: u64) -> Result<Suppressed, String> {
    let wanted = |name: &str| {
        let found = text(entry, name).map(str::trim).filter(|text| !text.is_empty());
        found.map(str::to_owned).ok_or_else(|| format!("{name} is missing"))
    };
    let (check_id, reason, owner, until) =
        (wanted("checkId")?, wanted("reason")?, wanted("owner")?, wanted("until")?);
    let ends = format!("{until}T23:59:59Z").parse::<jiff::Timestamp>();
    let ends = ends.map_err(|_| "until is no date such as 2026-12-31".to_owned())?;
    let ends_ms = u64::try_from(ends.as_millisecond()).unwrap_or(0);
    if ends_ms < now_ms {
        return Err(format!("it ended on {until}"));
    }
    if ends_ms.saturating_sub(now_ms) > LONGEST_MS {
        return Err("it lasts longer than 90 days".to_owned());
    }
    Ok(Suppressed { check_id, reason, owner, until })
}

/// The suppression of a finding.
pub(super) fn of<'s>(finding: &Finding, all: &'s [Suppressed]) -> Option<&'s Suppressed> {
    all.iter().find(|suppressed| suppressed.check_id == finding.check_id)
}
