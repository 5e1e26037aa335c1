//! The scores that are kept: each is told to the book first.

use moltbot_gateway::ScoreFact;
use moltbot_policy::score::ScorePermit;
use moltbot_posture::audit::Report;
use moltbot_vault::StateDir;
use serde_json::json;

use crate::book::{CommandBook, OWNER};
use crate::environment::Environment;
use crate::exit::Exit;
use crate::home::{self, Home};
use crate::{clock, output};

/// Keeps a score where there is an installation with a config. One that cannot be kept is no reason to withhold the report.
pub(super) fn keep(environment: &Environment, report: &Report, deep: bool) {
    let has_config = report.findings.iter().all(|one| !one.check.starts_with("config.missing"));
    let is_there = StateDir::find(&environment.state_dir).is_ok_and(|state| state.is_some());
    if has_config
        && is_there
        && let Err(error) = kept(environment, report, deep)
    {
        output::note(&format!("note: the score is not kept: {error:#}"));
    }
}

fn kept(environment: &Environment, report: &Report, deep: bool) -> anyhow::Result<()> {
    let home = Home::ensure(environment.clone())?;
    let book = CommandBook::open(&home)?;
    drop(book.record(ScorePermit::for_owner(report.score.score, OWNER))?);
    fact(report, deep).keep(&home.state).map_err(|error| home::failed(&error))?;
    book.close();
    Ok(())
}

/// What is kept of a report.
pub(super) fn fact(report: &Report, deep: bool) -> ScoreFact {
    let counts = report.summary;
    ScoreFact {
        at_ms: clock::now_ms(),
        score: report.score.score,
        rating: report.score.rating.name().to_owned(),
        coverage: report.score.coverage,
        deep,
        findings: [counts.critical, counts.high, counts.warn, counts.info],
    }
}

/// Shows those that are kept, the newest last.
pub(super) fn show(environment: &Environment, as_json: bool) -> anyhow::Result<Exit> {
    let state = StateDir::find(&environment.state_dir).map_err(|error| home::failed(&error))?;
    let scores = state.map(|state| ScoreFact::read(&state)).unwrap_or_default();
    if as_json {
        output::json(&json!({ "scores": scores }))?;
        return Ok(Exit::Done);
    }
    if scores.is_empty() {
        output::line("no score is kept yet; `moltbot security audit --deep` keeps one")?;
    }
    for one in scores {
        output::line(&format!("{}  {}", clock::readable(one.at_ms), in_a_line(&one)))?;
    }
    Ok(Exit::Done)
}

/// A score, with what it is made of.
pub(crate) fn in_a_line(fact: &ScoreFact) -> String {
    let [critical, high, warn, info] = fact.findings;
    let how = if fact.deep { ", attacked" } else { "" };
    format!(
        "{}/100 ({}): {critical} critical, {high} high, {warn} warn, {info} info; {} % looked at{how}",
        fact.score,
        output::harmless(&fact.rating),
        fact.coverage
    )
}
