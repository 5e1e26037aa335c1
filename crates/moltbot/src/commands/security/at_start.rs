//! The score of a gateway that has just started: looked for once it serves, kept like any other, and told.

use std::time::Duration;

use moltbot_gateway::View;
use moltbot_ledger::Ledger;
use moltbot_policy::record;
use moltbot_policy::score::ScorePermit;
use moltbot_posture::audit::{self, LedgerFact, Report, SandboxFact, Severity};
use serde_json::Value;

use super::gather::{Within, gather_within};
use super::scores;
use crate::commands::status::sandbox_in_a_line;
use crate::home::{self, Home};
use crate::output;

/// How long a gateway has served before it looks: what waits for its start comes first, and the sandbox has been tried.
const SERVED: Duration = Duration::from_secs(10);
/// Who keeps the score, in the book.
const ACTOR: &str = "gateway";

/// Looks after a while, beside everything else.
pub(crate) fn rate(home: &Home, ledger: &Ledger, view: View) {
    let (home, ledger) = (home.clone(), ledger.clone());
    tokio::spawn(async move {
        tokio::time::sleep(SERVED).await;
        let work = move || look_and_keep(&home, &ledger, &view);
        if let Err(error) = tokio::task::spawn_blocking(work).await {
            tracing::warn!(%error, "the security of the installation was not looked at");
        }
    });
}

fn look_and_keep(home: &Home, ledger: &Ledger, view: &View) {
    let within = Within {
        devices: view.devices(),
        ledger: book(home, ledger),
        sandbox: sandbox_fact(&view.sandbox()),
    };
    let report = gather_within(&home.environment, false, Some(within)).facts(audit::audit);
    tell(&report);
    if let Err(error) = kept(home, ledger, &report) {
        tracing::warn!(error = format!("{error:#}"), "the score is not kept");
    }
    view.touch();
    moltbot_sandbox::give_free_memory_back();
}

fn kept(home: &Home, ledger: &Ledger, report: &Report) -> anyhow::Result<()> {
    drop(record(ScorePermit::for_owner(report.score.score, ACTOR), ledger)?);
    scores::fact(report, false).keep(&home.state).map_err(|error| home::failed(&error))
}

/// The number, and whatever is grave.
fn tell(report: &Report) {
    let summary = scores::in_a_line(&scores::fact(report, false));
    tracing::info!(summary, "the security score; `moltbot security audit` has every finding");
    for finding in report.open().filter(|finding| finding.severity >= Severity::High) {
        let (check, fix) = (&finding.check_id, &finding.remediation);
        tracing::warn!(%check, severity = finding.severity.name(), fix, "{}", finding.title);
    }
}

/// The book that is open has been looked at when it was opened.
fn book(home: &Home, ledger: &Ledger) -> LedgerFact {
    match ledger.lockdown() {
        Some(found) => LedgerFact::Changed(format!("line {}: {}", found.line, output::harmless(&found.what))),
        None => {
            let is_anchored = home.anchors().is_ok_and(|anchors| !anchors.is_empty());
            LedgerFact::Intact { records: ledger.head().sequence, is_anchored }
        }
    }
}

fn sandbox_fact(sandbox: &Value) -> SandboxFact {
    match sandbox.get("state").and_then(Value::as_str) {
        Some("ready") => SandboxFact::Works(sandbox_in_a_line(sandbox)),
        Some("unavailable") => {
            let reason = sandbox.get("reason").and_then(Value::as_str).unwrap_or_default();
            SandboxFact::Unavailable { reason: reason.to_owned() }
        }
        _ => SandboxFact::Untried("it is being tried".to_owned()),
    }
}
