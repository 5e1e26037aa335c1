//! OpenTelemetry's log data model in its JSON form: one request with one record.

use serde_json::{Value, json};

use super::{Origin, Severity, sentence};
use crate::query::Record;

pub(super) fn request(record: &Record, origin: &Origin) -> Value {
    let (number, name) = match Severity::of(record) {
        Severity::High => (17, "ERROR"),
        Severity::Informational => (9, "INFO"),
        Severity::Low => (13, "WARN"),
    };
    let time = nanos(&record.ts);
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
            "logRecords": [{
                "timeUnixNano": time,
                "observedTimeUnixNano": time,
                "severityNumber": number,
                "severityText": name,
                "eventName": record.action,
                "body": {"stringValue": sentence(record)},
                "attributes": attributes(record, origin),
            }],
        }],
    }]})
}

fn attributes(record: &Record, origin: &Origin) -> Vec<Value> {
    let number = record.seq.to_string();
    let uid = format!("{}/{number}", origin.installation);
    let mut attributes = texts(&[
        ("log.record.uid", &uid),
        ("moltbot.actor", &record.actor),
        ("moltbot.decision", &record.decision),
        ("moltbot.target", &record.target),
        ("moltbot.session", record.session.as_deref().unwrap_or_default()),
        ("moltbot.boot", &record.boot),
        ("moltbot.h", &record.h),
    ]);
    // 64-bit numbers are texts in JSON.
    attributes.push(json!({"key": "moltbot.seq", "value": {"intValue": number}}));
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
