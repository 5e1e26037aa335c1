//! The book in the forms that other systems read.

use jiff::Timestamp;
use moltbot_ledger::export::{Format, Origin, otlp, syslog, syslog_head, timestamp, write};
use moltbot_ledger::query::{Following, Item, Reader};
use moltbot_ledger::{VerifyOptions, verify};
use moltbot_policy::{Book as _, Decision, Entry};
use moltbot_vault::StateDir;
use serde_json::Value;

use crate::{bytes_of, segments, state};

fn origin() -> Origin {
    Origin { installation: "00000000-0000-4000-8000-000000000000".into(), host: "box".into() }
}

/// One record of every class, and one that attacks.
fn written() -> (tempfile::TempDir, StateDir) {
    let (home, state) = state();
    let ledger = crate::open(&state);
    let plain = |action, target: &str| Entry::new("gateway", action, target, Decision::Done);
    let agent = |action, target: &str, decision| {
        Entry::new("agent:r1", action, target, decision).in_session("agent:main:main")
    };
    let sign_in = Entry::new("device:d1", "auth.sign_in", "gateway", Decision::Allowed);
    let refused = Entry::new("source:192.0.2.1", "auth.sign_in", "gateway", Decision::Refused);
    let hostile = "x\"]\\\n<1>1 - - - \u{1b}[2J\u{202e}é";
    let entries = vec![
        sign_in.with("client", "127.0.0.1").with("locality", "local").with("method", "token"),
        refused.with("client", "192.0.2.1").with("code", "token_mismatch"),
        plain("grant.give", "operator.admin"),
        plain("pairing.approve", "device:d1"),
        plain("config.change", "gateway.port"),
        plain("message.accept", "r1"),
        plain("unknown", "x"),
        agent("command.start", "ls", Decision::Allowed).with("sandbox", "embedded"),
        agent("command.end", "ls", Decision::Done).with("start", "9").with("exit", "2"),
        agent("file.write", "a/b.txt", Decision::Allowed),
        agent("egress.open", "api.example.com:443", Decision::Allowed),
        agent("egress.open", "[::1]:1", Decision::Refused),
        plain("gateway.listen", "127.0.0.1:18789"),
        plain("ledger.recovered", "x").with("bytes", "7"),
        agent("file.read", hostile, Decision::Allowed).with("reason", hostile.repeat(200)),
    ];
    ledger.enter_all(entries).unwrap();
    ledger.shutdown();
    (home, state)
}

fn exported(state: &StateDir, format: Format, range: std::ops::RangeInclusive<u64>) -> String {
    let reader = Reader::of(state.folder("ledger").unwrap());
    let mut out = Vec::new();
    let exported = write(&reader, &origin(), format, range, &mut out).unwrap();
    let text = String::from_utf8(out).unwrap();
    assert_eq!(exported.records, u64::try_from(text.lines().count()).unwrap(), "{format:?}: one line each");
    let obeyed = |c: char| c != '\n' && (c.is_control() || c == '\u{202e}');
    assert!(!text.contains(obeyed), "{format:?} moves no terminal: {text:?}");
    text
}

fn values(state: &StateDir, format: Format) -> Vec<Value> {
    exported(state, format, 1..=u64::MAX).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn records_leave_as_they_stand_in_the_book() {
    let (_home, state) = written();
    let whole = String::from_utf8(bytes_of(&segments(state.path())[0])).unwrap();
    assert_eq!(exported(&state, Format::Jsonl, 1..=u64::MAX), whole);
    let part: String = whole.lines().skip(2).take(3).map(|line| format!("{line}\n")).collect();
    assert_eq!(exported(&state, Format::Jsonl, 3..=5), part);
}

#[test]
fn every_record_is_an_event_of_its_class_and_activity() {
    let (_home, state) = written();
    let events = values(&state, Format::Ocsf);
    let classes: Vec<(u64, u64, u64, u64)> = events
        .iter()
        .map(|event| {
            let number = |name: &str| event[name].as_u64().unwrap();
            let (class, activity) = (number("class_uid"), number("activity_id"));
            assert_eq!(number("type_uid"), class * 100 + activity);
            assert_eq!(number("category_uid"), class / 1000);
            (class, activity, number("severity_id"), number("status_id"))
        })
        .collect();
    let expected = [
        (6003, 99, 1, 1), // the book's keys
        (6002, 3, 1, 1),
        (3002, 1, 1, 1),
        (3002, 1, 2, 2),
        (3003, 1, 1, 1),
        (3004, 6, 1, 1),
        (3004, 3, 1, 1),
        (6003, 1, 1, 1),
        (6003, 99, 1, 1),
        (1007, 1, 1, 1),
        (1007, 2, 1, 1),
        (1001, 3, 1, 1),
        (4001, 1, 1, 1),
        (4001, 5, 2, 2),
        (4001, 7, 1, 1),
        (2004, 1, 4, 1),
        (1001, 2, 1, 1),
        (6002, 4, 1, 1),
        (6003, 99, 1, 1), // its last checkpoint
    ];
    assert_eq!(classes, expected);
    assert_eq!(events[2]["metadata"]["uid"], "00000000-0000-4000-8000-000000000000/3");
    assert_eq!(events[2]["src_endpoint"]["ip"], "127.0.0.1");
    assert_eq!((&events[10]["exit_code"], &events[10]["process"]["uid"]), (&2.into(), &"9".into()));
    assert_eq!(
        (&events[12]["dst_endpoint"]["hostname"], &events[12]["dst_endpoint"]["port"]),
        (&"api.example.com".into(), &443.into())
    );
    assert_eq!(events[10]["metadata"]["correlation_uid"], "r1");
}

#[test]
fn a_log_request_carries_the_time_the_number_and_the_installation() {
    let (_home, state) = written();
    let requests = values(&state, Format::Otlp);
    let record = &requests[3]["resourceLogs"][0]["scopeLogs"][0]["logRecords"][0];
    assert_eq!((&record["severityText"], &record["eventName"]), (&"WARN".into(), &"auth.sign_in".into()));
    assert_eq!(record["timeUnixNano"].as_str().unwrap().len(), 19);
    let attributes = record["attributes"].as_array().unwrap();
    let value = |key: &str| &attributes.iter().find(|pair| pair["key"] == key).unwrap()["value"];
    assert_eq!(value("moltbot.seq")["intValue"], "4");
    assert_eq!(value("log.record.uid")["stringValue"], "00000000-0000-4000-8000-000000000000/4");
    assert_eq!(value("moltbot.details.code")["stringValue"], "token_mismatch");
}

/// The structured data of a message, read by the grammar of RFC 5424, 6.3, and what follows it.
fn structured(message: &str) -> (Vec<(String, String)>, String) {
    let mut rest = message.split_once(" [moltbot@32473").unwrap().1;
    let mut members = Vec::new();
    while let Some(member) = rest.strip_prefix(' ') {
        let (name, value) = member.split_once("=\"").unwrap();
        let mut text = String::new();
        let mut characters = value.char_indices();
        let end = loop {
            match characters.next().unwrap() {
                (_, '\\') => text.push(characters.next().unwrap().1),
                (at, '"') => break at,
                (_, other) => {
                    assert_ne!(other, ']', "an unescaped bracket in {value}");
                    text.push(other);
                }
            }
        };
        members.push((name.to_owned(), text));
        rest = value.get(end + 1..).unwrap();
    }
    (members, rest.strip_prefix("] ").unwrap().to_owned())
}

#[test]
fn a_syslog_message_keeps_to_its_grammar_whatever_the_record_says() {
    let (_home, state) = written();
    let text = exported(&state, Format::Syslog, 1..=u64::MAX);
    let messages: Vec<&str> = text.lines().collect();
    let (head, _) = messages[3].split_once(" [").unwrap();
    let head: Vec<&str> = head.split(' ').collect();
    assert_eq!(
        (head[0], head[2], head[3], head[5]),
        ("<108>1", "box", "moltbot", "auth.sign_in"),
        "{head:?}"
    );
    assert_eq!((head[1].len(), head[1].get(19..20), head[1].get(26..)), (27, Some("."), Some("Z")));
    for message in &messages {
        assert!(message.len() <= 8192);
        let (members, said) = structured(message);
        let member =
            |name: &str| members.iter().find(|member| member.0 == name).map(|member| member.1.as_str());
        assert_eq!(member("installation"), Some(origin().installation.as_str()));
        assert_eq!(member("h").unwrap().len(), 64);
        assert!(said.starts_with('\u{feff}'), "{said:?}");
    }
    let (members, _) = structured(messages[16]);
    let target = &members.iter().find(|member| member.0 == "target").unwrap().1;
    assert_eq!(target, "x\"]\\\\u{a}<1>1 - - - \\u{1b}[2J\\u{202e}é");
}

fn at() -> Timestamp {
    timestamp(1_700_000_000_123)
}

fn items(state: &StateDir, first: u64, last: u64) -> Vec<Item> {
    let mut following = Following::new(Reader::of(state.folder("ledger").unwrap()), first);
    following.batch(last).unwrap()
}

#[test]
fn messages_that_are_sent_have_their_length_in_front() {
    let (_home, state) = written();
    let text = exported(&state, Format::Syslog, 4..=6);
    let expected: String = text.lines().map(|line| format!("{} {line}", line.len())).collect();
    assert_eq!(String::from_utf8(syslog(&items(&state, 4, 6), &origin(), at())).unwrap(), expected);
}

#[test]
fn a_head_is_sent_in_ascii_as_it_is_expected_by_a_verification() {
    let (_home, state) = written();
    let report = verify(&state.path().join("ledger"), &VerifyOptions::default());
    let head = report.head.unwrap();
    let message = String::from_utf8(syslog_head(&head, &origin(), at())).unwrap();
    assert!(message.is_ascii() && !message.contains(char::is_control), "{message}");
    let (length, message) = message.split_once(' ').unwrap();
    assert_eq!(length.parse(), Ok(message.len()));
    assert!(
        message.starts_with("<110>1 2023-11-14T22:13:20.123000Z box moltbot - ledger.head ["),
        "{message}"
    );
    let (members, said) = structured(message);
    assert_eq!(members[1], ("seq".into(), head.sequence.to_string()));
    assert_eq!(said.parse(), Ok(head));
}

#[test]
fn records_that_are_missing_are_told_in_each_form() {
    let gap = [Item::Gap { first: 3, last: 5 }];
    let message = String::from_utf8(syslog(&gap, &origin(), at())).unwrap();
    let (members, said) = structured(message.split_once(' ').unwrap().1);
    assert_eq!(members[1..], [("first".into(), "3".into()), ("last".into(), "5".into())]);
    assert!(said.starts_with("records 3 to 5 of the book are not there"), "{said}");
    let request: Value = serde_json::from_slice(&otlp(&gap, &origin(), at())).unwrap();
    let record = &request["resourceLogs"][0]["scopeLogs"][0]["logRecords"][0];
    assert_eq!(
        (&record["eventName"], &record["timeUnixNano"]),
        (&"ledger.gap".into(), &"1700000000123000000".into())
    );
    assert_eq!(record["attributes"][1]["value"]["intValue"], "3");
}

#[test]
fn one_request_has_many_log_records() {
    let (_home, state) = written();
    let request: Value = serde_json::from_slice(&otlp(&items(&state, 1, 9), &origin(), at())).unwrap();
    let sent = request["resourceLogs"][0]["scopeLogs"][0]["logRecords"].as_array().unwrap();
    let alone: Vec<Value> = values(&state, Format::Otlp)[..9]
        .iter()
        .map(|one| one["resourceLogs"][0]["scopeLogs"][0]["logRecords"][0].clone())
        .collect();
    assert_eq!(sent, &alone);
}
