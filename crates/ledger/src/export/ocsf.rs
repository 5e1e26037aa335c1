//! OCSF 1.5.0 (<https://schema.ocsf.io/1.5.0>): each record as the event of the class that fits it.

use serde_json::{Map, Value, json};

use super::{Origin, Severity, sentence};
use crate::query::Record;

const VERSION: &str = "1.5.0";
/// The activity that has no number of its own.
const OTHER: u32 = 99;

/// A class of events: its number, name and category.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Class {
    ApiActivity,
    ApplicationLifecycle,
    Authentication,
    AuthorizeSession,
    DetectionFinding,
    EntityManagement,
    FileActivity,
    NetworkActivity,
    ProcessActivity,
}

impl Class {
    const fn uid(self) -> u32 {
        match self {
            Self::ApiActivity => 6003,
            Self::ApplicationLifecycle => 6002,
            Self::Authentication => 3002,
            Self::AuthorizeSession => 3003,
            Self::DetectionFinding => 2004,
            Self::EntityManagement => 3004,
            Self::FileActivity => 1001,
            Self::NetworkActivity => 4001,
            Self::ProcessActivity => 1007,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::ApiActivity => "API Activity",
            Self::ApplicationLifecycle => "Application Lifecycle",
            Self::Authentication => "Authentication",
            Self::AuthorizeSession => "Authorize Session",
            Self::DetectionFinding => "Detection Finding",
            Self::EntityManagement => "Entity Management",
            Self::FileActivity => "File System Activity",
            Self::NetworkActivity => "Network Activity",
            Self::ProcessActivity => "Process Activity",
        }
    }

    /// Whether the class itself says who acts; to the others the profile `host` adds it.
    const fn has_actor(self) -> bool {
        match self {
            Self::ApplicationLifecycle | Self::DetectionFinding | Self::NetworkActivity => false,
            Self::ApiActivity
            | Self::Authentication
            | Self::AuthorizeSession
            | Self::EntityManagement
            | Self::FileActivity
            | Self::ProcessActivity => true,
        }
    }

    /// The class and activity of a record, by its action. What is not known is a call of our own interface.
    fn of(record: &Record) -> (Self, u32) {
        let (area, verb) = record.action.split_once('.').unwrap_or((record.action.as_str(), ""));
        let refused = record.is_refused();
        match (area, verb) {
            ("auth", "sign_in") => (Self::Authentication, 1),
            ("auth", "sign_out") => (Self::Authentication, 2),
            ("auth", _) => (Self::Authentication, OTHER),
            ("grant", _) => (Self::AuthorizeSession, 1),
            ("command", "start") => (Self::ProcessActivity, 1),
            ("command", "end") => (Self::ProcessActivity, 2),
            ("command", "attempt") | ("session", "quarantine") => (Self::DetectionFinding, 1),
            ("file", "read") => (Self::FileActivity, 2),
            ("file", "write") => (Self::FileActivity, 3),
            ("egress", _) if refused => (Self::NetworkActivity, 5),
            ("egress", _) => (Self::NetworkActivity, 1),
            ("gateway", "listen") => (Self::NetworkActivity, 7),
            ("gateway" | "ledger", "start") => (Self::ApplicationLifecycle, 3),
            ("gateway" | "ledger", "stop") => (Self::ApplicationLifecycle, 4),
            ("alarm" | "detect" | "drill" | "posture", _)
            | ("ledger", "clock_step" | "disk_full" | "dropped" | "recovered" | "resumed" | "tampered") => {
                (Self::DetectionFinding, 1)
            }
            ("config" | "key" | "pairing" | "secret" | "secrets" | "session", verb) => {
                (Self::EntityManagement, management(verb))
            }
            (_, verb) => (Self::ApiActivity, call(verb)),
        }
    }
}

/// What is done to an entity.
fn management(verb: &str) -> u32 {
    match verb {
        "approve" | "pair" => 6,
        "revoke" | "unpair" => 7,
        verb => call(verb),
    }
}

/// Create, read, update, delete.
fn call(verb: &str) -> u32 {
    match verb {
        "accept" | "add" | "create" => 1,
        "get" | "list" | "read" | "reveal" => 2,
        "change" | "reset" | "rotate" | "set" | "update" | "write" => 3,
        "delete" | "remove" | "unset" => 4,
        _ => OTHER,
    }
}

/// The record as an event.
pub(super) fn event(record: &Record, origin: &Origin) -> Value {
    let (class, activity) = Class::of(record);
    let severity = match Severity::of(record) {
        Severity::High => 4,
        Severity::Informational => 1,
        Severity::Low => 2,
    };
    let mut event = Map::new();
    let uid = class.uid();
    for (name, value) in [
        ("class_uid", json!(uid)),
        ("class_name", json!(class.name())),
        ("category_uid", json!(uid / 1000)),
        ("activity_id", json!(activity)),
        ("type_uid", json!(uid * 100 + activity)),
        ("severity_id", json!(severity)),
        ("time", json!(record.millis())),
        ("message", json!(sentence(record))),
        ("status_id", json!(if record.is_refused() { 2 } else { 1 })),
        ("metadata", metadata(class, record, origin)),
        ("actor", json!({"user": user(record), "app_name": "moltbot"})),
        ("unmapped", unmapped(record)),
    ] {
        event.insert(name.into(), value);
    }
    if activity == OTHER {
        event.insert("activity_name".into(), json!(record.action));
    }
    if let Some(reason) = record.detail("reason").or_else(|| record.detail("code")) {
        event.insert("status_detail".into(), json!(reason));
    }
    event.extend(about(class, record, origin));
    Value::Object(event)
}

fn metadata(class: Class, record: &Record, origin: &Origin) -> Value {
    let mut metadata = json!({
        "version": VERSION,
        "product": {"name": "moltbot", "vendor_name": "moltbot", "version": env!("CARGO_PKG_VERSION")},
        "uid": format!("{}/{}", origin.installation, record.seq),
        "sequence": record.seq,
        "event_code": record.action,
        "original_time": record.ts,
        "log_name": "ledger",
    });
    if let Some(metadata) = metadata.as_object_mut() {
        metadata.extend(record.run().map(|run| ("correlation_uid".into(), json!(run))));
        metadata.extend((!class.has_actor()).then(|| ("profiles".into(), json!(["host"]))));
    }
    metadata
}

fn user(record: &Record) -> Value {
    match record.actor.strip_prefix("device:") {
        None => json!({"name": record.actor}),
        Some(device) => json!({"name": record.actor, "uid": device}),
    }
}

/// What has no place of its own, without what is told elsewhere.
fn unmapped(record: &Record) -> Value {
    json!({
        "target": record.target,
        "decision": record.decision,
        "session": record.session,
        "details": record.details,
        "boot": record.boot,
        "h": record.h,
    })
}

/// What the class says besides.
fn about(class: Class, record: &Record, origin: &Origin) -> Map<String, Value> {
    let name = if origin.host.is_empty() { "moltbot" } else { &origin.host };
    // Type 1 is a server.
    let device = json!({"type_id": 1, "name": name, "uid": origin.installation});
    let about = match class {
        Class::ApiActivity => {
            json!({"api": {"operation": record.action}, "src_endpoint": source(record, name)})
        }
        Class::ApplicationLifecycle => json!({"app": {"name": "moltbot", "vendor_name": "moltbot"}}),
        Class::Authentication => json!({
            "user": user(record),
            "service": {"name": "moltbot gateway"},
            "src_endpoint": source(record, "unknown"),
            "is_remote": record.detail("locality") != Some("local"),
        }),
        Class::AuthorizeSession => json!({"user": user(record), "privileges": [record.target]}),
        Class::DetectionFinding => {
            json!({"finding_info": {"uid": record.h, "title": record.action, "desc": sentence(record)}})
        }
        Class::EntityManagement => {
            let kind = record.action.split('.').next().unwrap_or_default();
            json!({"entity": {"name": record.target, "type": kind}})
        }
        Class::FileActivity => {
            let leaf = record.target.rsplit('/').next().unwrap_or_default();
            // Type 1 is a regular file.
            json!({"device": device, "file": {"type_id": 1, "name": leaf, "path": record.target}})
        }
        Class::NetworkActivity => json!({"dst_endpoint": destination(&record.target)}),
        Class::ProcessActivity => {
            json!({"device": device, "process": process(record), "exit_code": exit(record)})
        }
    };
    let members = about.as_object().cloned().unwrap_or_default();
    members.into_iter().filter(|(_, value)| !value.is_null()).collect()
}

fn source(record: &Record, otherwise: &str) -> Value {
    match record.detail("client").and_then(|client| client.parse::<std::net::IpAddr>().ok()) {
        Some(client) => json!({"ip": client.to_string()}),
        None => json!({"name": otherwise}),
    }
}

/// `host:port`.
fn destination(target: &str) -> Value {
    let (host, port) = target.rsplit_once(':').unwrap_or((target, ""));
    let address = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
    let mut endpoint = match address {
        Ok(address) => json!({"ip": address.to_string()}),
        Err(_) => json!({"hostname": host}),
    };
    if let (Ok(port), Some(endpoint)) = (port.parse::<u16>(), endpoint.as_object_mut()) {
        endpoint.insert("port".into(), json!(port));
    }
    endpoint
}

/// A command. Its id is the number of the record for its start, because it is one of many processes.
fn process(record: &Record) -> Value {
    let start = record.detail("start").map_or_else(|| record.seq.to_string(), str::to_owned);
    let mut process = json!({"uid": start, "cmd_line": record.target, "sandbox": record.detail("sandbox")});
    if let Some(process) = process.as_object_mut() {
        process.retain(|_, value| !value.is_null());
    }
    process
}

fn exit(record: &Record) -> Option<i64> {
    record.detail("exit").and_then(|code| code.parse().ok())
}
