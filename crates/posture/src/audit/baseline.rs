//! What an earlier report found, so that only what is new fails a build.

use std::collections::BTreeSet;

use serde_json::Value;

use super::report::Finding;

/// The findings of an earlier report.
#[derive(Clone, Debug, Default)]
pub struct Baseline(BTreeSet<(String, String)>);

impl Baseline {
    /// Reads a report that `--json` printed.
    ///
    /// # Errors
    /// When it is none.
    pub fn read(report: &[u8]) -> Result<Self, String> {
        let report: Value =
            serde_json::from_slice(report).map_err(|error| format!("it is not JSON: {error}"))?;
        let findings = report.get("findings").and_then(Value::as_array).ok_or("it has no list `findings`")?;
        let text = |finding: &Value, name: &str| finding.get(name).and_then(Value::as_str).map(str::to_owned);
        let mut known = BTreeSet::new();
        for finding in findings {
            let id = text(finding, "checkId").ok_or("a finding has no `checkId`")?;
            for place in finding.get("evidence").and_then(Value::as_array).into_iter().flatten() {
                known.insert((id.clone(), text(place, "place").unwrap_or_default()));
            }
        }
        Ok(Self(known))
    }

    /// Whether a finding, or a place of it, was not there.
    pub fn is_new(&self, finding: &Finding) -> bool {
        finding.evidence.iter().any(|one| !self.0.contains(&(finding.check_id.clone(), one.place.clone())))
    }
}
