//! A stand-in for a collector of OpenTelemetry: HTTP on loopback, which keeps what it was sent, and judges it by hand by
//! the protocol's definition (opentelemetry-proto, `ExportLogsServiceRequest`): no member that is not there, and each of
//! its type in JSON.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use serde_json::Value;

/// One request.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) line: String,
    pub(super) headers: String,
    pub(super) body: Value,
}

/// A collector that answers every request alike until it is told otherwise.
pub(super) struct Collector {
    port: u16,
    seen: Arc<Mutex<Vec<Request>>>,
    answer: Arc<Mutex<&'static str>>,
}

impl Collector {
    #[expect(clippy::disallowed_methods, reason = "a stand-in for somebody else's server")]
    pub(super) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let collector = Self { port, seen: Arc::default(), answer: Arc::new(Mutex::new("200 OK")) };
        let (seen, answer) = (Arc::clone(&collector.seen), Arc::clone(&collector.answer));
        std::thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                let (seen, answer) = (Arc::clone(&seen), Arc::clone(&answer));
                std::thread::spawn(move || while serve(&stream, &seen, &answer).is_some() {});
            }
        });
        collector
    }

    pub(super) fn url(&self) -> String {
        format!("http://127.0.0.1:{}/v1/logs", self.port)
    }

    pub(super) fn answer(&self, status: &'static str) {
        *self.answer.lock().unwrap() = status;
    }

    /// What it took.
    pub(super) fn taken(&self) -> Vec<Request> {
        self.seen.lock().unwrap().clone()
    }
}

/// Reads one request and answers it; nothing at the end of the connection. What it refuses it does not keep.
fn serve(stream: &TcpStream, seen: &Mutex<Vec<Request>>, answer: &Mutex<&'static str>) -> Option<()> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|length| *length > 0)?;
    let (mut headers, mut length) = (String::new(), 0);
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok()?;
        if let Some(value) = header.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
        if header.trim().is_empty() {
            break;
        }
        headers.push_str(&header);
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let answer = *answer.lock().unwrap();
    if answer.starts_with('2') {
        let body = serde_json::from_slice(&body).expect("JSON");
        seen.lock().unwrap().push(Request { line: line.trim().into(), headers, body });
    }
    let head =
        format!("HTTP/1.1 {answer}\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{{}}");
    (&mut &*stream).write_all(head.as_bytes()).ok()
}

/// The log records of requests, each judged.
pub(super) fn log_records(requests: &[Request]) -> Vec<Value> {
    let mut found = Vec::new();
    for request in requests {
        for resource in list(&request.body, &["resourceLogs"], "resourceLogs") {
            members(&resource, &["resource", "scopeLogs", "schemaUrl"]);
            members(&resource["resource"], &["attributes", "droppedAttributesCount"]);
            attributes(&resource["resource"]);
            for scope in list(&resource, &["resource", "scopeLogs", "schemaUrl"], "scopeLogs") {
                members(&scope, &["scope", "logRecords", "schemaUrl"]);
                members(&scope["scope"], &["name", "version", "attributes", "droppedAttributesCount"]);
                found.extend(scope["logRecords"].as_array().expect("logRecords").clone());
            }
        }
    }
    found.iter().for_each(log_record);
    found
}

fn log_record(record: &Value) {
    const MEMBERS: [&str; 11] = [
        "timeUnixNano",
        "observedTimeUnixNano",
        "severityNumber",
        "severityText",
        "body",
        "attributes",
        "droppedAttributesCount",
        "flags",
        "traceId",
        "spanId",
        "eventName",
    ];
    members(record, &MEMBERS);
    for name in ["timeUnixNano", "observedTimeUnixNano"] {
        // fixed64 is a text of decimal digits.
        let text = record[name].as_str().unwrap_or_else(|| panic!("{name}: {record}"));
        assert!(text.parse::<u64>().is_ok_and(|nanos| nanos > 1_700_000_000_000_000_000), "{name}: {text}");
    }
    let severity = record["severityNumber"].as_u64().expect("an enum's number");
    assert!((1..=24).contains(&severity), "{severity}");
    assert!(record["severityText"].is_string() && record["eventName"].is_string(), "{record}");
    any_value(&record["body"]);
    attributes(record);
}

fn attributes(holder: &Value) {
    let mut seen = std::collections::BTreeSet::new();
    for attribute in holder["attributes"].as_array().expect("attributes") {
        members(attribute, &["key", "value"]);
        let key = attribute["key"].as_str().expect("a key");
        assert!(!key.is_empty() && seen.insert(key), "{key:?} twice or empty");
        any_value(&attribute["value"]);
    }
}

/// One of the kinds of a value that moltbot uses: a text, or an int64, which is a text of digits.
fn any_value(value: &Value) {
    let members = value.as_object().expect("a value");
    assert_eq!(members.len(), 1, "one of its kinds: {value}");
    match (value.get("stringValue"), value.get("intValue")) {
        (Some(text), None) => assert!(text.is_string(), "{value}"),
        (None, Some(number)) => {
            assert!(number.as_str().is_some_and(|text| text.parse::<i64>().is_ok()), "{value}")
        }
        _ => panic!("{value}"),
    }
}

fn members(value: &Value, known: &[&str]) {
    for name in value.as_object().unwrap_or_else(|| panic!("an object: {value}")).keys() {
        assert!(known.contains(&name.as_str()), "{name} is no member of it: {value}");
    }
}

fn list(value: &Value, known: &[&str], name: &str) -> Vec<Value> {
    members(value, known);
    value[name].as_array().unwrap_or_else(|| panic!("{name}: {value}")).clone()
}
