//! Books that were begun before books were signed.

use moltbot_ledger::{Outcome, PublicKey, VerifyOptions, verify};
use moltbot_policy::Book as _;
use moltbot_vault::StateDir;
use sha2::{Digest, Sha256};

use crate::{actions, bytes_of, entry, open, put, segments, state, try_open, verified};

/// Writes a book of `count` records as they were before, in segments of 10.
fn unsigned(state: &StateDir, count: u64) {
    let mut previous = "0".repeat(64);
    let mut text = String::new();
    for sequence in 1..=count {
        let action = if sequence == 1 { "ledger.start" } else { "test.act" };
        let canonical = format!(
            r#"{{"v":1,"seq":{sequence},"ts":"2026-01-31T12:00:00.000000000Z","mono":5,"boot":"b","actor":"old","action":"{action}","target":"{sequence}","decision":"done","details":{{}}"#
        );
        let hash = Sha256::digest(format!("\0{canonical}}}{previous}"));
        let own: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        text.push_str(&format!("{canonical},\"prev\":\"{previous}\",\"h\":\"{own}\"}}\n"));
        previous = own;
        if sequence % 10 == 0 || sequence == count {
            let first = (sequence - 1) / 10 * 10 + 1;
            state.write(&format!("ledger/{first:020}.mlog"), text.as_bytes()).unwrap();
            text.clear();
        }
    }
}

fn judge(state: &StateDir, from_key: Option<PublicKey>) -> Outcome {
    verify(&state.path().join("ledger"), &VerifyOptions { from_key, ..VerifyOptions::default() }).outcome
}

#[test]
fn an_unsigned_book_goes_on_and_its_records_are_under_the_first_signature() {
    for count in [1, 9, 10, 25] {
        let (_home, state) = state();
        unsigned(&state, count);
        assert_eq!(judge(&state, None), Outcome::Intact);
        let key: PublicKey = try_open(&crate::state().1, crate::quiet()).unwrap().public_key();
        assert_eq!(judge(&state, Some(key)), Outcome::Unknown, "there is no key to compare");
        let ledger = open(&state);
        assert_eq!(ledger.lockdown(), None);
        ledger.enter(entry("new")).unwrap();
        ledger.shutdown();
        assert_eq!(judge(&state, Some(ledger.public_key())), Outcome::Intact);
        let records = verified(state.path());
        // It is an old segment, so a new one comes after the genesis.
        let mut found = actions(&records).split_off(usize::try_from(count).unwrap());
        found.retain(|action| !["ledger.checkpoint", "ledger.segment"].contains(action));
        assert_eq!(found, ["ledger.genesis", "ledger.start", "test.act", "ledger.stop"], "after {count}");
        let again = open(&state);
        assert_eq!((again.lockdown(), again.public_key()), (None, ledger.public_key()));
        again.shutdown();
        assert_eq!(judge(&state, Some(ledger.public_key())), Outcome::Intact);
    }
}

#[test]
fn old_records_that_are_chained_anew_are_not_those_that_were_signed_for() {
    let (_home, state) = state();
    unsigned(&state, 25);
    let ledger = open(&state);
    let key = ledger.public_key();
    ledger.shutdown();
    drop(ledger);
    let signed = bytes_of(&segments(state.path())[2]);
    // Somebody writes other old records, with the same numbers and a chain that fits, up to the signed ones.
    let (_other_home, other) = crate::state();
    unsigned(&other, 25);
    for (at, segment) in segments(state.path()).iter().enumerate().take(2) {
        let theirs = String::from_utf8(bytes_of(&segments(other.path())[at])).unwrap();
        put(segment, theirs.replace("\"old\"", "\"new\"").as_bytes());
    }
    assert_eq!(judge(&state, Some(key)), Outcome::Tampered);
    assert_eq!(bytes_of(&segments(state.path())[2]), signed);
    assert!(
        open(&state).lockdown().is_some(),
        "a book that is signed in the middle of its only new segment is read whole"
    );
}

#[test]
fn a_signed_book_cannot_be_made_an_unsigned_one() {
    let (_home, state) = state();
    open(&state).shutdown();
    state.remove("ledger/head").unwrap();
    unsigned(&state, 5);
    let ledger = open(&state);
    assert_eq!(ledger.lockdown().unwrap().what, "the book was signed, and what was signed is gone");
}
