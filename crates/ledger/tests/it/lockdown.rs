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

#[test]
fn d_24_a_changed_book_is_kept_as_evidence_and_goes_on_locked_down_beside_it() {
    let whole = {
        let (_home, state) = state();
        written(&state);
        String::from_utf8(bytes_of(&segments(state.path())[0])).unwrap()
    };
    let lines: Vec<&str> = whole.lines().collect();
    let order = |order: &[usize]| order.iter().map(|at| format!("{}\n", lines[*at])).collect::<String>();
    let misplaced = "it does not carry on the line before it";
    for (name, change, line, what) in [
        (
            "edited",
            Box::new(|text: &str| text.replacen("\"two\"", "\"owt\"", 1)) as Box<dyn Fn(&str) -> String>,
            4,
            "its hash is not that of its content",
        ),
        ("swapped", Box::new(|text: &str| reorder(text, &[0, 1, 3, 2, 4, 5, 6])), 3, misplaced),
        ("removed", Box::new(|text: &str| reorder(text, &[0, 1, 3, 4, 5, 6])), 3, misplaced),
        ("repeated", Box::new(|text: &str| reorder(text, &[0, 1, 2, 2, 3, 4, 5, 6])), 4, misplaced),
        (
            "an empty line",
            Box::new(|text: &str| text.replacen('\n', "\n\n", 1)),
            2,
            "it does not end like a record",
        ),
        ("no beginning", Box::new(|text: &str| reorder(text, &[1, 2, 3, 4, 5, 6])), 1, misplaced),
    ] {
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
    assert_eq!(order(&[0]).len(), lines[0].len() + 1);
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

#[test]
fn what_is_missing_or_replaced_beside_the_segments_is_tampering_too() {
    let (_other_home, other) = state();
    written(&other);
    let foreign = bytes_of(&segments(other.path())[0]);
    let foreign_key = bytes_of(&other.path().join("ledger/signing.key"));
    type Act<'a> = Box<dyn Fn(&StateDir) + 'a>;
    let acts: Vec<(&str, Act, &str)> = vec![
        (
            "the key",
            Box::new(|state| state.remove("ledger/signing.key").unwrap()),
            "signing key of the book is missing",
        ),
        (
            "another key",
            Box::new(|state| put(&state.path().join("ledger/signing.key"), &foreign_key)),
            "signing key is not what was written",
        ),
        (
            "the book",
            Box::new(|state| {
                state.remove("ledger/head").unwrap();
                state.remove("ledger/00000000000000000001.mlog").unwrap();
            }),
            "what was signed is gone",
        ),
        (
            "another book",
            Box::new(|state| {
                state.remove("ledger/head").unwrap();
                put(&state.path().join("ledger/00000000000000000001.mlog"), &foreign);
            }),
            "the book is that of another installation",
        ),
        (
            "the register",
            Box::new(|state| put(&state.path().join("ledger/head"), b"{}")),
            "it does not hold a head of the book",
        ),
        (
            "the first segment",
            Box::new(|state| {
                state.rename("ledger/00000000000000000001.mlog", "ledger/00000000000000000003.mlog").unwrap();
            }),
            "what was before it is missing",
        ),
        (
            "a segment that is none",
            Box::new(|state| {
                put(&state.path().join("ledger/00000000000000000008.mlog"), b"{}\n{}\n");
            }),
            "it does not end like a record",
        ),
        (
            "a segment that cannot be",
            Box::new(|state| {
                put(&state.path().join("ledger/99999999999999999999.mlog"), b"{}\n{}\n");
            }),
            "its number is not the next one",
        ),
    ];
    for (name, act, expected) in acts {
        let (_home, state) = state();
        written(&state);
        act(&state);
        let ledger = open(&state);
        let what = ledger.lockdown().map(|found| found.what.clone()).unwrap_or_default();
        assert!(what.contains(expected), "{name}: {what}");
        ledger.enter(entry("after")).unwrap();
        ledger.shutdown();
        assert_eq!(outcome(&state), Outcome::Tampered, "{name}");
        let ledger = open(&state);
        assert!(ledger.lockdown().is_some(), "{name}: it stays locked down");
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
