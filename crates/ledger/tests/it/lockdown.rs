use std::path::Path;

use moltbot_ledger::{Outcome, VerifyOptions, anchor, verify};
use moltbot_policy::Book as _;
use moltbot_vault::StateDir;

use crate::{bytes_of, entry, open, put, quiet, segments, state, try_open};

/// A book with a genesis, a start, three records, a stop and a checkpoint.
fn written(state: &StateDir) {
    let ledger = open(state);
    for target in ["one", "two", "three"] {
        ledger.enter(entry(target)).unwrap();
    }
    ledger.shutdown();
}

fn outcome(state: &StateDir) -> Outcome {
    verify(&state.path().join("ledger"), &VerifyOptions::default()).outcome
}

/// The action and the number of the first record of each segment.
fn heads(state: &Path) -> Vec<(String, u64)> {
    let heads = segments(state).into_iter().map(|segment| {
        let text = String::from_utf8_lossy(&bytes_of(&segment)).into_owned();
        let record: serde_json::Value =
            serde_json::from_str(text.lines().next().unwrap()).unwrap_or_default();
        (record["action"].as_str().unwrap_or_default().to_owned(), record["seq"].as_u64().unwrap_or_default())
    });
    heads.collect()
}

/// What somebody does to the text of a segment.
type Change = fn(&str) -> String;

#[test]
fn d_24_a_changed_book_is_kept_as_evidence_and_goes_on_locked_down_beside_it() {
    const MISPLACED: &str = "it does not carry on the line before it";
    let cases: [(&str, Change, u64, &str); 6] = [
        ("edited", |text| text.replacen("\"two\"", "\"owt\"", 1), 4, "its hash is not that of its content"),
        ("swapped", |text| reorder(text, &[0, 1, 3, 2, 4, 5, 6]), 3, MISPLACED),
        ("removed", |text| reorder(text, &[0, 1, 3, 4, 5, 6]), 3, MISPLACED),
        ("repeated", |text| reorder(text, &[0, 1, 2, 2, 3, 4, 5, 6]), 4, MISPLACED),
        ("an empty line", |text| text.replacen('\n', "\n\n", 1), 2, "it does not end like a record"),
        ("no beginning", |text| reorder(text, &[1, 2, 3, 4, 5, 6]), 1, MISPLACED),
    ];
    for (name, change, line, what) in cases {
        let (_home, state) = state();
        written(&state);
        let segment = segments(state.path()).remove(0);
        let text = change(&String::from_utf8(bytes_of(&segment)).unwrap());
        put(&segment, text.as_bytes());
        let ledger = open(&state);
        let found = ledger.lockdown().unwrap().clone();
        assert_eq!((found.line, found.what.as_str()), (line, what), "{name}");
        assert_eq!(found.path, segment, "{name}");
        // It can still be written to: the owner's sign-in is recorded.
        assert!(ledger.enter(entry("after")).unwrap() > found.sequence, "{name}");
        ledger.shutdown();
        assert_eq!(bytes_of(&segment), text.as_bytes(), "{name}: the evidence stays as it was");
        let (action, sequence) = heads(state.path()).remove(1);
        assert_eq!((action.as_str(), sequence), ("ledger.tampered", found.sequence), "{name}");
        let report = verify(&state.path().join("ledger"), &VerifyOptions::default());
        assert_eq!(report.outcome, Outcome::Tampered, "{name}: {:?}", report.problems);
        assert_eq!((report.problems[0].line, &report.problems[0].path), (line, &segment), "{name}");
        // A start changes nothing about it.
        let ledger = open(&state);
        assert_eq!(ledger.lockdown(), Some(&found), "{name}: the next start is locked down, too");
        ledger.shutdown();
        assert_eq!(segments(state.path()).len(), 2, "{name}: one part for one tampering");
        assert_eq!(outcome(&state), Outcome::Tampered);
    }
}

fn reorder(text: &str, order: &[usize]) -> String {
    let lines: Vec<&str> = text.lines().collect();
    order.iter().map(|at| format!("{}\n", lines[*at])).collect()
}

#[test]
fn the_owner_who_has_looked_lifts_the_lock_and_verification_goes_on_telling() {
    let (_home, state) = state();
    written(&state);
    let segment = segments(state.path()).remove(0);
    let text = String::from_utf8(bytes_of(&segment)).unwrap().replacen("\"two\"", "\"owt\"", 1);
    put(&segment, text.as_bytes());
    let ledger = open(&state);
    assert!(ledger.lockdown().is_some());
    ledger.accept_tampering("owner").unwrap();
    ledger.shutdown();
    for _ in 0..2 {
        let ledger = open(&state);
        assert_eq!(ledger.lockdown(), None);
        ledger.shutdown();
        assert_eq!(outcome(&state), Outcome::Tampered);
    }
    // What is changed in the new part is told beside the old.
    let part = segments(state.path()).remove(1);
    let text = String::from_utf8(bytes_of(&part)).unwrap();
    put(&part, text.replacen("ledger.accepted", "ledger.acceptee", 1).as_bytes());
    let report = verify(&state.path().join("ledger"), &VerifyOptions::default());
    assert_eq!(report.problems.last().unwrap().path, part, "{:?}", report.problems);
    assert!(open(&state).lockdown().is_some());
}

/// What somebody does to the folder of a book; `other` is that of another installation.
type Act = fn(state: &StateDir, other: &StateDir);

const FIRST: &str = "ledger/00000000000000000001.mlog";

fn take_from(other: &StateDir, state: &StateDir, name: &str) {
    put(&state.path().join(name), &bytes_of(&other.path().join(name)));
}

const ACTS: [(&str, Act, &str); 8] = [
    ("no key", |state, _| state.remove("ledger/signing.key").unwrap(), "signing key of the book is missing"),
    (
        "another key",
        |state, other| take_from(other, state, "ledger/signing.key"),
        "signing key is not what was written",
    ),
    (
        "no book",
        |state, _| {
            state.remove("ledger/head").unwrap();
            state.remove(FIRST).unwrap();
        },
        "what was signed is gone",
    ),
    (
        "another book",
        |state, other| {
            state.remove("ledger/head").unwrap();
            take_from(other, state, FIRST);
        },
        "the book is that of another installation",
    ),
    (
        "another register",
        |state, _| put(&state.path().join("ledger/head"), b"{}"),
        "it does not hold a head of the book",
    ),
    (
        "no first segment",
        |state, _| state.rename(FIRST, "ledger/00000000000000000003.mlog").unwrap(),
        "a segment before it is missing",
    ),
    (
        "a segment that is none",
        |state, _| put(&state.path().join("ledger/00000000000000000008.mlog"), b"{}\n{}\n"),
        "it does not end like a record",
    ),
    (
        "a segment that cannot be",
        |state, _| put(&state.path().join("ledger/99999999999999999999.mlog"), b"{}\n{}\n"),
        "its number is not the next one",
    ),
];

#[test]
fn d_24_what_is_missing_or_replaced_beside_the_lines_is_tampering_too() {
    let (_other_home, other) = state();
    written(&other);
    for (name, act, expected) in ACTS {
        let (_home, state) = state();
        written(&state);
        act(&state, &other);
        let ledger = open(&state);
        let what = ledger.lockdown().map(|found| found.what.clone()).unwrap_or_default();
        assert!(what.contains(expected), "{name}: {what}");
        ledger.enter(entry("after")).unwrap();
        ledger.shutdown();
        assert_eq!(outcome(&state), Outcome::Tampered, "{name}");
        assert!(open(&state).lockdown().is_some(), "{name}: it stays locked down");
    }
}

#[test]
fn a_book_put_back_to_an_older_copy_is_noticed_by_who_remembers_its_head() {
    let (home, state) = state();
    written(&state);
    let names = ["ledger/00000000000000000001.mlog", "ledger/head", "ledger/signing.key"];
    let old = names.map(|name| bytes_of(&state.path().join(name)));
    let path = home.path().join("anchor");
    let ledger = open(&state);
    ledger.enter(entry("four")).unwrap();
    ledger.shutdown();
    let head = ledger.head();
    assert!(anchor::remember(&path, &head).unwrap());
    let options = || moltbot_ledger::LedgerOptions { anchors: vec![path.clone()], ..quiet() };
    let ledger = try_open(&state, options()).unwrap();
    assert_eq!(ledger.lockdown(), None, "a book that went on is the same book");
    ledger.shutdown();

    for (name, bytes) in names.iter().zip(&old) {
        put(&state.path().join(name), bytes);
    }
    assert_eq!(outcome(&state), Outcome::Intact, "inside the folder nothing tells");
    let expect = VerifyOptions { expect_head: Some(head.clone()), ..VerifyOptions::default() };
    assert_eq!(verify(&state.path().join("ledger"), &expect).outcome, Outcome::Truncated);
    let ledger = try_open(&state, options()).unwrap();
    let what = ledger.lockdown().unwrap().what.clone();
    assert!(what.contains(&format!("remembers record {}", head.sequence)), "{what}");
    drop(ledger);
    // An older copy that went on in another way has as many records.
    for (name, bytes) in names.iter().zip(&old) {
        put(&state.path().join(name), bytes);
    }
    state.remove(&format!("ledger/{:020}.mlog", head.sequence + 1)).unwrap();
    let ledger = open(&state);
    for _ in 0..20 {
        ledger.enter(entry("other")).unwrap();
    }
    ledger.shutdown();
    assert_eq!(verify(&state.path().join("ledger"), &expect).outcome, Outcome::Tampered);
    let ledger = try_open(&state, options()).unwrap();
    assert!(ledger.lockdown().unwrap().what.contains("is not the one that"));
}

#[test]
fn d_26_one_corrupt_line_does_not_hide_what_is_behind_it() {
    let (_home, state) = state();
    let options = || moltbot_ledger::LedgerOptions { segment_bytes: 2000, ..quiet() };
    let ledger = try_open(&state, options()).unwrap();
    for n in 0..40 {
        ledger.enter(entry(n.to_string())).unwrap();
    }
    ledger.shutdown();
    let all = segments(state.path());
    for (at, from) in [(1, b'a'), (4, b'b')] {
        let mut bytes = bytes_of(&all[at]);
        let position = bytes.len() / 2;
        bytes[position] = from ^ bytes[position] ^ 0x15;
        put(&all[at], &bytes);
    }
    let report = verify(&state.path().join("ledger"), &VerifyOptions::default());
    let found: Vec<&Path> = report.problems.iter().map(|problem| problem.path.as_path()).collect();
    assert_eq!(found, [all[1].as_path(), all[4].as_path()], "{:?}", report.problems);
    assert!(report.records > 40, "{} of the records are read nevertheless", report.records);
    assert_eq!(usize::try_from(report.segments).unwrap(), all.len());
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the test plays one who opens the folder to others")]
fn d_27_modes_are_repaired_and_links_are_not_followed() {
    use std::os::unix::fs::PermissionsExt as _;
    let (home, state) = state();
    written(&state);
    let folder = state.path().join("ledger");
    std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o755)).unwrap();
    open(&state).shutdown();
    assert_eq!(folder.metadata().unwrap().permissions().mode() & 0o7777, 0o700);
    let segment = segments(state.path()).remove(0);
    let elsewhere = home.path().join("elsewhere.mlog");
    std::fs::rename(&segment, &elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, &segment).unwrap();
    let before = bytes_of(&elsewhere);
    assert!(try_open(&state, quiet()).unwrap_err().to_string().contains("cannot be read"));
    assert_eq!(bytes_of(&elsewhere), before, "nothing is written through a link");
    assert_eq!(outcome(&state), Outcome::Unknown);
}
