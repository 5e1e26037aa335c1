//! What an audit says: upstream's report, with score, caps and coverage.

use serde::Serialize;

use super::catalog::{Info, NotApplicable, Severity, bears_on, not_applicable};
use super::facts::Facts;
use super::score::{Mark, Score, score, weight};
use super::suppressions::{self, Ineffective, Suppressed};
use super::{Evidence, Outcome};

/// Evidence of one finding that is told one by one.
const SHOWN: usize = 20;

/// What an audit found.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// When, in milliseconds since the epoch.
    pub ts: u64,
    /// Findings by severity.
    pub summary: Counts,
    /// The findings, the worst first.
    pub findings: Vec<Finding>,
    /// The score, with every finding in it.
    #[serde(flatten)]
    pub score: Score,
    /// The score without what is suppressed; critical findings stay in it.
    pub score_with_suppressions: u8,
    /// Findings that are suppressed.
    pub suppressed: Vec<Suppressed>,
    /// Suppressions that suppress nothing.
    pub ineffective_suppressions: Vec<Ineffective>,
    /// Checks that could not be run: they count as not passed.
    pub not_run: Vec<NotRun>,
    /// Checks that passed.
    pub passed: Vec<&'static str>,
    /// Ids of other generations that are not looked at.
    pub not_applicable: &'static [NotApplicable],
}

/// Findings by severity.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Counts {
    pub critical: usize,
    pub high: usize,
    pub warn: usize,
    pub info: usize,
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// Its id, with the channel's name where the check's has `<provider>`.
    pub check_id: String,
    /// How bad it is.
    pub severity: Severity,
    /// What it is, in a line.
    pub title: &'static str,
    /// Why it matters.
    pub detail: &'static str,
    /// What to do.
    pub remediation: &'static str,
    /// Where, and what was seen.
    #[serde(serialize_with = "places")]
    pub evidence: Vec<Evidence>,
    /// Whether `--fix` does it.
    pub auto_fixable: bool,
    /// What it costs, in points of the sum.
    pub points: f64,
    /// The requirements of norms that it bears on.
    pub bears_on: &'static [String],
    /// The check that found it.
    #[serde(skip)]
    pub check: &'static str,
}

/// A check that could not be run.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NotRun {
    /// Its id.
    pub check_id: &'static str,
    /// Why.
    pub because: String,
}

impl Report {
    pub(super) fn of(outcomes: Vec<(&'static Info, Outcome)>, facts: &Facts<'_>) -> Self {
        let whole: u32 = outcomes.iter().map(|(info, _)| weight(info)).sum();
        let found_score = score(outcomes.iter().map(|(info, outcome)| (*info, mark(outcome))));
        let (mut findings, mut not_run, mut passed) = (Vec::new(), Vec::new(), Vec::new());
        for (info, outcome) in &outcomes {
            match outcome {
                Outcome::Passed => passed.push(info.id.as_str()),
                Outcome::NotRun(because) => {
                    not_run.push(NotRun { check_id: &info.id, because: because.clone() });
                }
                Outcome::Found(evidence) => findings.extend(by_provider(info, evidence, whole)),
            }
        }
        findings.sort_by(|one, other| (other.severity, &one.check_id).cmp(&(one.severity, &other.check_id)));
        let (known, ineffective_suppressions) = suppressions::read(facts);
        let mut suppressed: Vec<Suppressed> = Vec::new();
        for finding in &findings {
            suppressed.extend(suppressions::of(finding, &known).cloned());
        }
        let lived_with = |info: &Info, evidence: &[Evidence]| {
            let ids = by_provider(info, evidence, whole);
            info.severity != Severity::Critical
                && ids.iter().all(|one| suppressions::of(one, &known).is_some())
        };
        let second = score(outcomes.iter().map(|(info, outcome)| match outcome {
            Outcome::Found(evidence) if lived_with(info, evidence) => (*info, Mark::Passed),
            other => (*info, mark(other)),
        }));
        Self {
            ts: facts.now_ms,
            summary: counts(&findings),
            findings,
            score: found_score,
            score_with_suppressions: second.score,
            suppressed,
            ineffective_suppressions,
            not_run,
            passed,
            not_applicable: not_applicable(),
        }
    }

    /// The worst finding that is not suppressed.
    pub fn worst(&self) -> Option<Severity> {
        self.open().map(|finding| finding.severity).max()
    }

    /// Findings that are not suppressed, or may not be: a critical one stays open.
    pub fn open(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|finding| {
            finding.severity == Severity::Critical || suppressions::of(finding, &self.suppressed).is_none()
        })
    }
}

const fn mark(outcome: &Outcome) -> Mark {
    match outcome {
        Outcome::Passed => Mark::Passed,
        Outcome::Found(_) => Mark::Found,
        Outcome::NotRun(_) => Mark::NotRun,
    }
}

fn counts(findings: &[Finding]) -> Counts {
    let count = |severity| findings.iter().filter(|finding| finding.severity == severity).count();
    Counts {
        critical: count(Severity::Critical),
        high: count(Severity::High),
        warn: count(Severity::Warn),
        info: count(Severity::Info),
    }
}

/// One finding for each channel that the evidence is of.
fn by_provider(info: &Info, evidence: &[Evidence], whole: u32) -> Vec<Finding> {
    let mut groups: Vec<(Option<&str>, Vec<Evidence>)> = Vec::new();
    for one in evidence {
        let provider = one.provider.as_deref();
        match groups.iter_mut().find(|(of, _)| *of == provider) {
            Some((_, group)) => group.push(one.clone()),
            None => groups.push((provider, vec![one.clone()])),
        }
    }
    let Some(info) = super::catalog::info(&info.id) else { return Vec::new() };
    groups.into_iter().map(|(provider, group)| finding(info, provider, group, whole)).collect()
}

fn finding(info: &'static Info, provider: Option<&str>, mut evidence: Vec<Evidence>, whole: u32) -> Finding {
    let more = evidence.len().saturating_sub(SHOWN);
    evidence.truncate(SHOWN);
    if more > 0 {
        evidence.push(Evidence::new("", format!("and {more} more")));
    }
    Finding {
        check_id: info.id.replace("<provider>", provider.unwrap_or("defaults")),
        severity: info.severity,
        title: &info.title,
        detail: &info.why,
        remediation: &info.fix,
        evidence,
        auto_fixable: info.fixable,
        points: (f64::from(weight(info)) * 1000.0 / f64::from(whole.max(1))).round() / 10.0,
        bears_on: bears_on(&info.topic),
        check: &info.id,
    }
}

fn places<S: serde::Serializer>(evidence: &[Evidence], serializer: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Place<'a> {
        place: &'a str,
        seen: &'a str,
    }
    serializer.collect_seq(evidence.iter().map(|one| Place { place: &one.place, seen: &one.seen }))
}
