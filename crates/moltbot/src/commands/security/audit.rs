//! `moltbot security audit|fix|score`: looks, tells, and puts right.

use moltbot_posture::audit::baseline::Baseline;
use moltbot_posture::audit::{self, Finding, Report, Severity};
use serde_json::{Value, json};

use super::fix::{self, Fixed, Reach};
use super::gather::{config_path, gather};
use super::scores;
use crate::arguments::{Audit, FailOn, ScoreOptions};
use crate::commands::files::{new_file, read_file};
use crate::environment::Environment;
use crate::exit::Exit;
use crate::output::{self, Paint, harmless};

/// The largest earlier report that is read, in bytes.
const BASELINE_BYTES: u64 = 4 * 1024 * 1024;

/// Looks, and prints what was found.
pub(super) fn run(environment: &Environment, options: &Audit) -> anyhow::Result<Exit> {
    let baseline = options.baseline.as_deref().map(|path| {
        let read = Baseline::read(&read_file(path, BASELINE_BYTES)?);
        read.map_err(|why| Exit::Usage.because(format!("{} is no report: {why}", path.display())))
    });
    let baseline = baseline.transpose()?;
    let mut report = look(environment, options.deep);
    let mut fixed = None;
    if options.fix {
        fixed = Some(fix::all(environment, &report, Reach::Fix, options.dry_run)?);
        if !options.dry_run {
            report = look(environment, options.deep);
        }
    }
    // A look changes nothing; what the book is told of anyway is kept as well.
    if options.deep || fixed.is_some() && !options.dry_run {
        scores::keep(environment, &report, options.deep);
    }
    if let Some(path) = &options.html {
        new_file(path, audit::html(&report).as_bytes())?;
    }
    show(environment, options, &report, fixed.as_ref())?;
    Ok(exit(options.fail_on, &report, baseline.as_ref()))
}

/// Puts right what can be.
pub(super) fn fix(environment: &Environment, dry_run: bool, json: bool) -> anyhow::Result<Exit> {
    let before = look(environment, false);
    let fixed = fix::all(environment, &before, Reach::Fix, dry_run)?;
    let after = if dry_run { before } else { look(environment, false) };
    if !dry_run {
        scores::keep(environment, &after, false);
    }
    if json {
        output::json(&json!({"fix": fixed, "score": after.score, "open": after.findings.len()}))?;
    } else {
        print_fixed(&fixed, dry_run)?;
        output::line(&headline(&after))?;
    }
    // What is grave and has to be put right by hand is no success either.
    let is_left = !dry_run && after.worst() >= Some(Severity::High);
    Ok(if fixed.has_failed() || is_left { Exit::Failed } else { Exit::Done })
}

/// The number, and why it is no higher.
pub(super) fn score(environment: &Environment, options: &ScoreOptions) -> anyhow::Result<Exit> {
    if options.history {
        return scores::show(environment, options.json);
    }
    let report = look(environment, false);
    if options.json {
        let mut value = serde_json::to_value(&report.score)?;
        if let Some(members) = value.as_object_mut() {
            members.insert("scoreWithSuppressions".into(), report.score_with_suppressions.into());
            members.insert("summary".into(), serde_json::to_value(report.summary)?);
        }
        output::json(&value)?;
    } else {
        output::line(&headline(&report))?;
        print_caps(&report)?;
    }
    // A number for an installation that could not be looked at is none to rely on.
    let is_blind = report.findings.iter().any(|one| one.check == "config.unreadable");
    Ok(if is_blind { Exit::Failed } else { Exit::Done })
}

pub(super) fn look(environment: &Environment, deep: bool) -> Report {
    gather(environment, deep).facts(audit::audit)
}

fn exit(fail_on: FailOn, report: &Report, baseline: Option<&Baseline>) -> Exit {
    let is_new = |finding: &Finding| baseline.is_none_or(|baseline| baseline.is_new(finding));
    let least = match fail_on {
        FailOn::Critical => Severity::Critical,
        FailOn::High => Severity::High,
        FailOn::New | FailOn::Warn => Severity::Warn,
    };
    let fails = |finding: &Finding| finding.severity >= least && is_new(finding);
    if report.open().any(fails) { Exit::Failed } else { Exit::Done }
}

fn show(
    environment: &Environment,
    options: &Audit,
    report: &Report,
    fixed: Option<&Fixed>,
) -> anyhow::Result<()> {
    if options.json {
        let whole = serde_json::to_value(report)?;
        let value: Value = match fixed {
            None => whole,
            Some(fixed) => json!({"fix": fixed, "report": whole}),
        };
        output::json(&value)?;
    } else if options.sarif {
        output::json(&audit::sarif(report, &config_path(environment).display().to_string()))?;
    } else if options.junit {
        output::piece(&audit::junit(report))?;
    } else {
        print(report, options, fixed)?;
    }
    Ok(())
}

pub(super) fn headline(report: &Report) -> String {
    let score = report.score.score;
    let paint = match report.score.rating {
        audit::Rating::Excellent | audit::Rating::Good => Paint::Good,
        audit::Rating::Acceptable | audit::Rating::NeedsImprovement => Paint::Warn,
        audit::Rating::Critical => Paint::Bad,
    };
    let rating = output::paint(report.score.rating.name(), paint);
    let second = match report.score_with_suppressions {
        same if same == score => String::new(),
        other => format!("; {other} without what is suppressed"),
    };
    format!("Security Score: {score}/100 ({rating}){second}")
}

fn print_caps(report: &Report) -> anyhow::Result<()> {
    output::line(&format!("{} % of the checks' weight could be looked at", report.score.coverage))?;
    for cap in &report.score.caps {
        output::line(&format!("at most {}: {}", cap.at_most, cap.because))?;
    }
    Ok(())
}

fn print(report: &Report, options: &Audit, fixed: Option<&Fixed>) -> anyhow::Result<()> {
    output::line("Moltbot security audit")?;
    output::line(&headline(report))?;
    let counts = report.summary;
    output::line(&format!(
        "Summary: {} critical · {} high · {} warn · {} info",
        counts.critical, counts.high, counts.warn, counts.info
    ))?;
    print_caps(report)?;
    if let Some(fixed) = fixed {
        output::line("\nFIX")?;
        print_fixed(fixed, options.dry_run)?;
    }
    for severity in [Severity::Critical, Severity::High, Severity::Warn, Severity::Info] {
        let found: Vec<&Finding> =
            report.findings.iter().filter(|finding| finding.severity == severity).collect();
        if !found.is_empty() {
            output::line(&format!("\n{}", severity.name().to_uppercase()))?;
        }
        for finding in found {
            print_finding(finding, options.explain)?;
        }
    }
    for one in &report.not_run {
        output::line(&format!("not run: {}: {}", one.check_id, harmless(&one.because)))?;
    }
    for one in &report.ineffective_suppressions {
        output::line(&format!("{} suppresses nothing: {}", one.place, one.because))?;
    }
    if !options.deep {
        output::line("\nRun deeper: moltbot security audit --deep")?;
    }
    Ok(())
}

fn print_finding(finding: &Finding, explain: bool) -> anyhow::Result<()> {
    let tag = if finding.auto_fixable { " [auto-fixable]" } else { "" };
    output::line(&format!("{} {}{tag}", finding.check_id, finding.title))?;
    for one in &finding.evidence {
        let (place, seen) = (harmless(&one.place), harmless(&one.seen));
        output::line(&if place.is_empty() { format!("  {seen}") } else { format!("  {place}: {seen}") })?;
    }
    output::line(&format!("  {}", finding.detail))?;
    output::line(&format!("  Fix: {}", finding.remediation))?;
    if explain {
        output::line(&format!(
            "  Costs {} points; bears on {}",
            finding.points,
            finding.bears_on.join(", ")
        ))?;
    }
    Ok(())
}

pub(in crate::commands) fn print_fixed(fixed: &Fixed, dry_run: bool) -> anyhow::Result<()> {
    if fixed.items.is_empty() {
        output::line("nothing to do")?;
    }
    for item in &fixed.items {
        let word = if dry_run { "would" } else { item.outcome.name() };
        let because = item.outcome.because().map(|because| format!(" ({})", harmless(because)));
        output::line(&format!(
            "{word}: {}: {}{}",
            item.check_id,
            harmless(&item.act),
            because.unwrap_or_default()
        ))?;
    }
    Ok(())
}
