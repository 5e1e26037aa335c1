use std::os::unix::fs::MetadataExt as _;

use moltbot_ledger::{Ledger, LedgerError};
use moltbot_policy::Book as _;
use moltbot_vault::StateDir;
use serde_json::Value;

use crate::{actions, bytes_of, entry, put, segments, state, verified};

/// A book with a start, three records and a stop.
fn written(state: &StateDir) {
    let ledger = Ledger::open(state).unwrap();
    for target in ["one", "two", "three"] {
        ledger.enter(entry(target)).unwrap();
    }
    ledger.shutdown();
}

#[test]
fn a_book_is_private_and_goes_on_where_it_ended() {
    let (_home, state) = state();
    written(&state);
    written(&state);
    let records = verified(state.path());
    let once = ["ledger.start", "test.act", "test.act", "test.act", "ledger.stop"];
    assert_eq!(actions(&records), [once, once].concat());
    assert_ne!(records[0]["boot"], records[5]["boot"], "each process has an id of its own");
    let segment = &segments(state.path())[0];
    assert!(segment.ends_with("ledger/00000000000000000001.mlog"), "{}", segment.display());
    let mode = |path: &std::path::Path| path.metadata().unwrap().mode() & 0o7777;
    assert_eq!((mode(segment), mode(segment.parent().unwrap())), (0o600, 0o700));
}

#[test]
fn a_book_has_one_writer() {
    let (_home, state) = state();
    let first = Ledger::open(&state).unwrap();
    let error = Ledger::open(&state).unwrap_err();
    assert!(matches!(error, LedgerError::Busy { .. }), "{error}");
    drop(first);
    Ledger::open(&state).unwrap().shutdown();
    let records = verified(state.path());
    assert_eq!(actions(&records), ["ledger.start", "ledger.stop", "ledger.start", "ledger.stop"]);
}

#[test]
fn a_line_torn_anywhere_is_set_aside_and_said() {
    let (_home, state) = state();
    written(&state);
    let segment = segments(state.path()).remove(0);
    let whole = bytes_of(&segment);
    let last = whole.len() - whole.rsplit(|byte| *byte == b'\n').nth(1).unwrap().len() - 1;
    let torn = segment.with_extension("mlog.torn");
    for cut in [last + 1, last + 2, last + 100, whole.len() - 2, whole.len() - 1] {
        put(&segment, &whole[..cut]);
        Ledger::open(&state).unwrap().shutdown();
        let records = verified(state.path());
        assert_eq!(
            actions(&records)[4..],
            ["ledger.recovered", "ledger.start", "ledger.stop"],
            "cut at {cut}"
        );
        let length = (cut - last).to_string();
        assert_eq!(records[4]["details"]["bytes"].as_str(), Some(length.as_str()));
        assert!(bytes_of(&torn).ends_with(&whole[last..cut]), "what was torn off is kept");
    }
    put(&segment, &whole[..last]);
    Ledger::open(&state).unwrap().shutdown();
    assert_eq!(actions(&verified(state.path()))[4..], ["ledger.start", "ledger.stop"], "cut between lines");
}

#[test]
fn a_last_line_that_does_not_fit_and_blocks_that_never_came_are_torn_too() {
    let (_home, state) = state();
    written(&state);
    let segment = segments(state.path()).remove(0);
    let whole = bytes_of(&segment);
    let mut wrong = whole.clone();
    let position = wrong.len() - 10;
    wrong[position] ^= 1;
    let zeros = [whole.as_slice(), &[0; 700], b"\n{\"v\":1}\n"].concat();
    for (name, bytes, kept) in [("wrong", wrong, 4), ("zeros", zeros, 5)] {
        put(&segment, &bytes);
        Ledger::open(&state).unwrap().shutdown();
        let records = verified(state.path());
        assert_eq!(actions(&records)[kept..], ["ledger.recovered", "ledger.start", "ledger.stop"], "{name}");
    }
}

#[test]
fn a_changed_book_is_not_opened_and_not_touched() {
    let (_home, state) = state();
    written(&state);
    let segment = segments(state.path()).remove(0);
    let whole = String::from_utf8(bytes_of(&segment)).unwrap();
    let lines: Vec<&str> = whole.lines().collect();
    let swapped = [lines[0], lines[2], lines[1], lines[3], lines[4]].join("\n") + "\n";
    let removed = [lines[0], lines[2], lines[3], lines[4]].join("\n") + "\n";
    let repeated = [lines[0], lines[1], lines[1], lines[2], lines[3], lines[4]].join("\n") + "\n";
    for (name, text, expected) in [
        ("edited", whole.replacen("\"two\"", "\"owt\"", 1), (3, "its hash is not that of its content")),
        ("swapped", swapped, (2, "it does not carry on the line before it")),
        ("removed", removed, (2, "it does not carry on the line before it")),
        ("repeated", repeated, (3, "it does not carry on the line before it")),
        ("an empty line", whole.replacen('\n', "\n\n", 1), (2, "it does not end like a record")),
        (
            "another start",
            whole.split_once('\n').unwrap().1.into(),
            (1, "it does not carry on the line before it"),
        ),
    ] {
        put(&segment, text.as_bytes());
        match Ledger::open(&state).unwrap_err() {
            LedgerError::Tampered { line, what, .. } => assert_eq!((line, what), expected, "{name}"),
            other => panic!("{name}: {other}"),
        }
        assert_eq!(bytes_of(&segment), text.as_bytes(), "{name}: the evidence stays as it was");
    }
    put(&segment, whole.as_bytes());
    Ledger::open(&state).unwrap().shutdown();
}

#[test]
fn a_missing_segment_is_noticed() {
    let (_home, state) = state();
    written(&state);
    let segment = segments(state.path()).remove(0);
    state.rename("ledger/00000000000000000001.mlog", "ledger/00000000000000000003.mlog").unwrap();
    let error = Ledger::open(&state).unwrap_err();
    assert!(matches!(error, LedgerError::Tampered { line: 1, .. }), "{error}");
    assert!(error.to_string().contains("a segment before it is missing"), "{error}");
    state.rename("ledger/00000000000000000003.mlog", "ledger/00000000000000000001.mlog").unwrap();
    // A second segment that does not carry on the first.
    put(&segment.with_file_name("00000000000000000006.mlog"), b"{}\n{}\n");
    let error = Ledger::open(&state).unwrap_err();
    assert!(matches!(error, LedgerError::Tampered { line: 1, .. }), "{error}");
}

#[test]
fn what_is_recorded_can_be_read_as_it_was() {
    let (_home, state) = state();
    let ledger = Ledger::open(&state).unwrap();
    let sequence = ledger.enter(entry("rm -rf /\n\u{1b}[2J \"x\"").in_session("agent:main:main")).unwrap();
    ledger.shutdown();
    let record: Value = verified(state.path()).remove(usize::try_from(sequence).unwrap() - 1);
    let member = |name: &str| record[name].as_str().unwrap().to_owned();
    assert_eq!(
        [member("actor"), member("session"), member("target"), member("decision")],
        ["tester", "agent:main:main", "rm -rf /\n\u{1b}[2J \"x\"", "allowed"]
    );
}
