//! OpenTelemetry's log data model in its JSON form.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{GAP, Origin, Severity, missing, sentence};
use crate::query::Record;

/// A request with these log records.
pub(super) fn request(records: Vec<Value>, origin: &Origin) -> Value {
    let version = env!("CARGO_PKG_VERSION");
    json!({"resourceLogs": [{
        "resource": {"attributes": texts(&[
            ("service.name", "moltbot"),
            ("service.version", version),
            ("service.instance.id", &origin.installation),
            ("host.name", &origin.host),
        ])},
        "scopeLogs": [{
            "scope": {"name": "moltbot.ledger", "version": version},
            "logRecords": records,
        }],
    }]})
}

/// A record as a log record.
pub(super) fn log_record(record: &Record, origin: &Origin) -> Value {
    let (number, name) = match Severity::of(record) {
        Severity::High => (17, "ERROR"),
        Severity::Informational => (9, "INFO"),
        Severity::Low => (13, "WARN"),
    };
    let time = nanos(&record.ts);
    json!({
        "timeUnixNano": time,
        "observedTimeUnixNano": time,
        "severityNumber": number,
        "severityText": name,
        "eventName": record.action,
        "body": {"stringValue": sentence(record)},
        "attributes": attributes(record, origin),
    })
}

/// That records are not there.
pub(super) fn gap(first: u64, last: u64, origin: &Origin, at: Timestamp) -> Value {
    let time = at.as_nanosecond().to_string();
    let mut attributes = texts(&[("log.record.uid", &format!("{}/gap/{first}-{last}", origin.installation))]);
    attributes.push(number("moltbot.gap.first", first));
    attributes.push(number("moltbot.gap.last", last));
    json!({
        "timeUnixNano": time,
        "observedTimeUnixNano": time,
        "severityNumber": 17,
        "severityText": "ERROR",
        "eventName": GAP,
        "body": {"stringValue": missing(first, last)},
        "attributes": attributes,
    })
}

/// 64-bit numbers are texts in JSON.
fn number(name: &str, value: u64) -> Value {
    json!({"key": name, "value": {"intValue": value.to_string()}})
}

fn attributes(record: &Record, origin: &Origin) -> Vec<Value> {
    let uid = format!("{}/{}", origin.installation, record.seq);
    let mut attributes = texts(&[
        ("log.record.uid", &uid),
        ("moltbot.actor", &record.actor),
        ("moltbot.decision", &record.decision),
        ("moltbot.target", &record.target),
        ("moltbot.session", record.session.as_deref().unwrap_or_default()),
        ("moltbot.boot", &record.boot),
        ("moltbot.h", &record.h),
    ]);
    attributes.push(self::number("moltbot.seq", record.seq));
    for (name, value) in &record.details {
        attributes.push(text(&format!("moltbot.details.{name}"), value));
    }
    attributes
}

fn texts(members: &[(&str, &str)]) -> Vec<Value> {
    members.iter().filter(|(_, value)| !value.is_empty()).map(|(name, value)| text(name, value)).collect()
}

fn text(name: &str, value: &str) -> Value {
    json!({"key": name, "value": {"stringValue": value}})
}

/// Nanoseconds since the epoch, as a text.
fn nanos(time: &str) -> String {
    time.parse::<jiff::Timestamp>().map_or_else(|_| "0".into(), |time| time.as_nanosecond().to_string())
}
