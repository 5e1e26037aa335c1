use std::os::unix::fs::MetadataExt as _;

use moltbot_ledger::LedgerError;
use moltbot_policy::Book as _;
use moltbot_vault::StateDir;
use serde_json::Value;

use crate::{actions, bytes_of, entry, open, put, quiet, segments, state, try_open, verified};

/// A book with a start, three records and a stop.
fn written(state: &StateDir) {
    let ledger = open(state);
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
    let once = ["ledger.start", "test.act", "test.act", "test.act", "ledger.stop", "ledger.checkpoint"];
    assert_eq!(actions(&records), [&["ledger.genesis"], once.as_slice(), &once].concat());
    assert_ne!(records[1]["boot"], records[7]["boot"], "each process has an id of its own");
    assert_eq!(
        [&records[1], &records[7]].map(|start| start["details"]["before"].as_str()),
        [Some("nothing"), Some("stopped")]
    );
    let segment = &segments(state.path())[0];
    assert!(segment.ends_with("ledger/00000000000000000001.mlog"), "{}", segment.display());
    let mode = |path: &std::path::Path| path.metadata().unwrap().mode() & 0o7777;
    assert_eq!((mode(segment), mode(segment.parent().unwrap())), (0o600, 0o700));
}

#[test]
fn a_book_has_one_writer() {
    let (_home, state) = state();
    let first = open(&state);
    let error = try_open(&state, quiet()).unwrap_err();
    assert!(matches!(error, LedgerError::Busy { .. }), "{error}");
    drop(first);
    open(&state).shutdown();
    let records = verified(state.path());
    let once = ["ledger.start", "ledger.stop", "ledger.checkpoint"];
    assert_eq!(actions(&records), [&["ledger.genesis"], once.as_slice(), &once].concat());
}

/// What a process leaves behind that was killed after `written`: no stop, no register.
fn crashed(state: &StateDir) -> Vec<u8> {
    written(state);
    let segment = segments(state.path()).remove(0);
    let whole = bytes_of(&segment);
    let stop = whole.windows(13).rposition(|window| window == b"\"ledger.stop\"").unwrap();
    let end = whole[..stop].iter().rposition(|byte| *byte == b'\n').unwrap() + 1;
    state.remove("ledger/head").unwrap();
    put(&segment, &whole[..end]);
    whole[..end].to_vec()
}

#[test]
fn a_line_torn_anywhere_is_set_aside_and_said() {
    let (_home, state) = state();
    let whole = crashed(&state);
    let segment = segments(state.path()).remove(0);
    let last = whole.len() - whole.rsplit(|byte| *byte == b'\n').nth(1).unwrap().len() - 1;
    let torn = segment.with_extension("mlog.torn");
    for cut in [last + 1, last + 2, last + 100, whole.len() - 2, whole.len() - 1] {
        put(&segment, &whole[..cut]);
        open(&state).shutdown();
        state.remove("ledger/head").unwrap();
        let records = verified(state.path());
        assert_eq!(
            actions(&records)[4..],
            ["ledger.recovered", "ledger.start", "ledger.stop", "ledger.checkpoint"],
            "cut at {cut}"
        );
        let length = (cut - last).to_string();
        assert_eq!(records[4]["details"]["bytes"].as_str(), Some(length.as_str()));
        assert_eq!(records[5]["details"]["before"].as_str(), Some("not recorded"));
        assert!(bytes_of(&torn).ends_with(&whole[last..cut]), "what was torn off is kept");
    }
    put(&segment, &whole[..last]);
    open(&state).shutdown();
    assert_eq!(
        actions(&verified(state.path()))[4..],
        ["ledger.start", "ledger.stop", "ledger.checkpoint"],
        "cut between lines"
    );
}

#[test]
fn a_last_line_that_does_not_fit_and_blocks_that_never_came_are_torn_too() {
    let (_home, state) = state();
    let whole = crashed(&state);
    let segment = segments(state.path()).remove(0);
    let mut wrong = whole.clone();
    let position = wrong.len() - 10;
    wrong[position] ^= 1;
    let zeros = [whole.as_slice(), &[0; 700], b"\n{\"v\":1}\n"].concat();
    for (name, bytes, kept) in [("wrong", wrong, 4), ("zeros", zeros, 5)] {
        put(&segment, &bytes);
        open(&state).shutdown();
        state.remove("ledger/head").unwrap();
        let records = verified(state.path());
        let end = ["ledger.recovered", "ledger.start", "ledger.stop", "ledger.checkpoint"];
        assert_eq!(actions(&records)[kept..], end, "{name}");
    }
}

#[test]
fn the_last_line_of_a_closed_book_can_be_torn_but_no_whole_line_can_go_missing() {
    let (_home, state) = state();
    written(&state);
    let segment = segments(state.path()).remove(0);
    let whole = bytes_of(&segment);
    put(&segment, &whole[..whole.len() - 5]);
    let ledger = open(&state);
    assert_eq!(ledger.lockdown(), None);
    ledger.shutdown();
    let records = verified(state.path());
    assert_eq!(actions(&records)[6..8], ["ledger.recovered", "ledger.start"]);
    // The register remembers the record that is cut off between two lines.
    let whole = bytes_of(&segment);
    let last = whole.len() - whole.rsplit(|byte| *byte == b'\n').nth(1).unwrap().len() - 1;
    put(&segment, &whole[..last]);
    let ledger = open(&state);
    let what = ledger.lockdown().unwrap().what.clone();
    assert!(what.contains("head remembers record"), "{what}");
}

#[test]
fn what_is_recorded_can_be_read_as_it_was() {
    let (_home, state) = state();
    let ledger = open(&state);
    let sequence = ledger.enter(entry("rm -rf /\n\u{1b}[2J \"x\"").in_session("agent:main:main")).unwrap();
    ledger.shutdown();
    let record: Value = verified(state.path()).remove(usize::try_from(sequence).unwrap() - 1);
    let member = |name: &str| record[name].as_str().unwrap().to_owned();
    assert_eq!(
        [member("actor"), member("session"), member("target"), member("decision")],
        ["tester", "agent:main:main", "rm -rf /\n\u{1b}[2J \"x\"", "allowed"]
    );
}
