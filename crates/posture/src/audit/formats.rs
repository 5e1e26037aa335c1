//! A report in the forms that other programs read: SARIF 2.1.0, JUnit XML, and a page for people.

use serde_json::{Value, json};

use super::catalog::{self, Severity};
use super::report::{Finding, NotRun, Report};

/// SARIF 2.1.0 (OASIS), as code hosts and scanners take it.
pub fn sarif(report: &Report, config: &str) -> Value {
    let rules: Vec<Value> = catalog::all()
        .iter()
        .map(|info| {
            json!({
                "id": info.id, "shortDescription": {"text": info.title}, "fullDescription": {"text": info.why},
                "help": {"text": info.fix}, "properties": {"security-severity": severity_number(info.severity)},
            })
        })
        .collect();
    let results: Vec<Value> = report.findings.iter().map(|finding| result(finding, config)).collect();
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {"name": "moltbot", "version": env!("CARGO_PKG_VERSION"), "rules": rules}},
            "results": results,
            "properties": {"score": report.score.score, "rating": report.score.rating.name()},
        }],
    })
}

fn result(finding: &Finding, config: &str) -> Value {
    let level = match finding.severity {
        Severity::Critical | Severity::High => "error",
        Severity::Warn => "warning",
        Severity::Info => "note",
    };
    let locations: Vec<Value> = finding
        .evidence
        .iter()
        .map(|one| {
            let file = if one.place.starts_with('/') { &one.place } else { config };
            json!({
                "physicalLocation": {"artifactLocation": {"uri": format!("file://{file}")}},
                "logicalLocations": [{"fullyQualifiedName": one.place}],
                "message": {"text": one.seen},
            })
        })
        .collect();
    json!({
        "ruleId": finding.check, "level": level, "locations": locations,
        "message": {"text": format!("{}. {} To do: {}", finding.title, finding.detail, finding.remediation)},
        "properties": {"checkId": finding.check_id, "tags": finding.bears_on},
    })
}

/// The number that code hosts sort by, of CVSS's scale.
const fn severity_number(severity: Severity) -> &'static str {
    match severity {
        Severity::Info => "1.0",
        Severity::Warn => "5.0",
        Severity::High => "8.0",
        Severity::Critical => "9.5",
    }
}

/// JUnit XML: a case a check, failed when it found something, skipped when it could not be run.
pub fn junit(report: &Report) -> String {
    let cases =
        report.passed.len().saturating_add(report.not_run.len()).saturating_add(report.findings.len());
    let (failed, skipped) = (report.findings.len(), report.not_run.len());
    let mut xml = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuite name=\"moltbot security audit\" tests=\"{cases}\" \
         failures=\"{failed}\" skipped=\"{skipped}\">\n"
    );
    let passed = report.passed.iter().map(|id| case(id, ""));
    let not_run = report
        .not_run
        .iter()
        .map(|one| case(one.check_id, &format!("<skipped message=\"{}\"/>", escape(&one.because))));
    let found = report.findings.iter().map(|finding| {
        let (severity, title) = (finding.severity.name(), escape(finding.title));
        let text = escape(&places(finding));
        case(&finding.check_id, &format!("<failure type=\"{severity}\" message=\"{title}\">{text}</failure>"))
    });
    xml.extend(passed.chain(not_run).chain(found));
    xml.push_str("</testsuite>\n");
    xml
}

/// One case, and what became of it.
fn case(id: &str, outcome: &str) -> String {
    format!("  <testcase classname=\"audit\" name=\"{}\">{outcome}</testcase>\n", escape(id))
}

fn places(finding: &Finding) -> String {
    finding.evidence.iter().map(|one| format!("{}: {}\n", one.place, one.seen)).collect()
}

fn section(finding: &Finding) -> String {
    format!(
        "<section class=\"{severity}\"><h2>{severity}: {title}</h2><p><code>{id}</code></p><pre>{places}</pre>\
         <p>{detail}</p><p><strong>To do:</strong> {fix}</p></section>\n",
        severity = finding.severity.name(),
        title = escape(finding.title),
        id = escape(&finding.check_id),
        places = escape(&places(finding)),
        detail = escape(finding.detail),
        fix = escape(finding.remediation),
    )
}

/// A page of its own: no script, nothing fetched.
pub fn html(report: &Report) -> String {
    let rows: String = report.findings.iter().map(section).collect();
    let item =
        |one: &NotRun| format!("<li><code>{}</code>: {}</li>\n", escape(one.check_id), escape(&one.because));
    let not_run: String = report.not_run.iter().map(item).collect();
    let caps: Vec<String> =
        report.score.caps.iter().map(|cap| format!("at most {}: {}", cap.at_most, cap.because)).collect();
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>moltbot security audit</title>\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\
         <style>body{{font:16px sans-serif;max-width:50em;margin:2em auto}}section{{border-left:.4em solid #888;\
         padding-left:1em}}.critical,.high{{border-color:#b00}}.warn{{border-color:#c80}}</style></head><body>\
         <h1>{score}/100 {rating}</h1><p>{caps}</p><p>{coverage} % could be looked at.</p>\n{rows}<h2>Not run</h2><ul>{not_run}</ul></body></html>\n",
        score = report.score.score,
        rating = report.score.rating.name(),
        caps = escape(&caps.join("; ")),
        coverage = report.score.coverage,
    )
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            // XML 1.0 has no other control characters.
            c if c.is_control() && !matches!(c, '\n' | '\t') => escaped.push('\u{fffd}'),
            c => escaped.push(c),
        }
    }
    escaped
}
