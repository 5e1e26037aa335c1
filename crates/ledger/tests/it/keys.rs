use std::time::Duration;

use moltbot_ledger::{Head, LedgerOptions, Outcome, PublicKey, VerifyOptions, anchor, hash_of, verify};
use moltbot_policy::Book as _;

use crate::{entry, quiet, state, try_open, verified};

/// A book in which every checkpoint is the last act of its key.
fn fast() -> LedgerOptions {
    LedgerOptions { epoch: Duration::ZERO, checkpoint_records: 4, ..quiet() }
}

fn from(key: &PublicKey) -> VerifyOptions {
    VerifyOptions { from_key: Some(key.clone()), ..VerifyOptions::default() }
}

#[test]
fn a_book_is_verified_with_its_first_public_key_alone() {
    let (_home, state) = state();
    let ledger = try_open(&state, fast()).unwrap();
    for n in 0..20 {
        ledger.enter(entry(n.to_string())).unwrap();
    }
    ledger.shutdown();
    let folder = state.path().join("ledger");
    let report = verify(&folder, &from(&ledger.public_key()));
    assert_eq!((report.outcome, report.problems.as_slice()), (Outcome::Intact, [].as_slice()));
    assert!(report.epochs > 4 && report.is_closed, "{report:?}");
    assert_eq!(report.public_key, Some(ledger.public_key()));
    assert_eq!(report.head, Some(ledger.head()));
    assert_eq!(usize::try_from(report.records).unwrap(), verified(state.path()).len());
    let (_home, other) = crate::state();
    let foreign = try_open(&other, quiet()).unwrap().public_key();
    assert_eq!(verify(&folder, &from(&foreign)).outcome, Outcome::Tampered);
    let read: PublicKey = ledger.public_key().to_string().parse().unwrap();
    assert_eq!(verify(&folder, &from(&read)).outcome, Outcome::Intact);
    // Nothing is written by looking, not even the mode of a file.
    assert_eq!(verify(&folder.join("nowhere"), &VerifyOptions::default()).outcome, Outcome::Unknown);
    assert!(!folder.join("nowhere").exists());
}

#[test]
fn what_somebody_remembers_of_a_book_must_be_in_it() {
    let (home, state) = state();
    let ledger = try_open(&state, fast()).unwrap();
    for n in 0..10 {
        ledger.enter(entry(n.to_string())).unwrap();
    }
    ledger.shutdown();
    let folder = state.path().join("ledger");
    let head = ledger.head();
    let expect = |head: Head| {
        verify(&folder, &VerifyOptions { expect_head: Some(head), ..VerifyOptions::default() }).outcome
    };
    let short = |sequence: u64| {
        let hash =
            verified(state.path())[usize::try_from(sequence).unwrap() - 1]["h"].as_str().unwrap().to_owned();
        format!("{sequence}:{hash}").parse::<Head>().unwrap()
    };
    let note: Head = head.note.clone().unwrap().parse().unwrap();
    for head in [head.clone(), note, short(1), short(5), head.to_string().parse().unwrap()] {
        assert_eq!(expect(head.clone()), Outcome::Intact, "{head}");
    }
    let beyond = Head { sequence: head.sequence + 1, note: None, ..head.clone() };
    assert_eq!(expect(beyond), Outcome::Truncated);
    let other = Head { hash: short(5).hash, root: None, note: None, ..head.clone() };
    assert_eq!(expect(other), Outcome::Tampered);
    // From a head that is trusted, what is before its segment is not read.
    let from = VerifyOptions { from_checkpoint: Some(head.clone()), ..VerifyOptions::default() };
    assert_eq!(verify(&folder, &from).outcome, Outcome::Intact);
    let path = home.path().join("anchor");
    assert!(anchor::remember(&path, &head).unwrap());
    assert_eq!(anchor::read(&path).unwrap(), Some(head));
}

#[test]
fn values_that_may_be_secret_are_found_by_their_hash() {
    let (_home, state) = state();
    let vault = moltbot_testkit::vault(&state);
    let ledger = try_open(&state, quiet()).unwrap();
    let hash = ledger.hash_of("hunter2");
    assert_eq!((hash.len(), hash.starts_with("hmac:"), hash.clone()), (69, true, hash_of(&vault, "hunter2")));
    assert_ne!(hash, ledger.hash_of("hunter3"));
    let (_home, other) = crate::state();
    assert_ne!(
        hash,
        try_open(&other, quiet()).unwrap().hash_of("hunter2"),
        "another installation tells another"
    );
}
