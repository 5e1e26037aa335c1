//! The book through its public face, on a real disk. Its lines are checked by code of the tests' own.
#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a helper of a test fails its test, and says what it did"
)]

mod export;
mod full_disk;
mod group;
mod keys;
mod kill;
mod lockdown;
mod migration;
mod mutations;
mod opening;
mod query;
mod views;

use std::path::{Path, PathBuf};
use std::time::Duration;

use moltbot_ledger::{Ledger, LedgerError, LedgerOptions};
use moltbot_policy::{Decision, Entry};
use moltbot_vault::StateDir;
use serde_json::Value;
use sha2::{Digest, Sha256};
use tempfile::{TempDir, tempdir};

/// A state folder of its own. It lasts as long as the first half.
fn state() -> (TempDir, StateDir) {
    let home = tempdir().unwrap();
    let state = StateDir::open_or_create(&home.path().join("state")).unwrap();
    (home, state)
}

/// A book whose thread does nothing of its own accord while a test looks.
fn quiet() -> LedgerOptions {
    let hour = Duration::from_secs(3600);
    LedgerOptions { checkpoint_after: hour, heartbeat: hour, reserve_bytes: 0, ..LedgerOptions::default() }
}

fn open(state: &StateDir) -> Ledger {
    try_open(state, quiet()).unwrap()
}

fn try_open(state: &StateDir, options: LedgerOptions) -> Result<Ledger, LedgerError> {
    Ledger::open(state, &moltbot_testkit::vault(state), options)
}

fn entry(target: impl Into<String>) -> Entry {
    Entry::new("tester", "test.act", target, Decision::Allowed).with("some", "detail")
}

/// The segments, in order.
fn segments(state: &Path) -> Vec<PathBuf> {
    let names = state.join("ledger").read_dir().unwrap().map(|name| name.unwrap().path());
    let mut segments: Vec<PathBuf> =
        names.filter(|path| path.extension().is_some_and(|ending| ending == "mlog")).collect();
    segments.sort();
    segments
}

#[expect(clippy::disallowed_methods, reason = "the test looks past the vault")]
fn bytes_of(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap()
}

#[expect(clippy::disallowed_methods, reason = "the test plays one who changes the book")]
fn put(path: &Path, bytes: &[u8]) {
    std::fs::write(path, bytes).unwrap();
}

/// Every record of the book, each checked to be chained to the one before it.
fn verified(state: &Path) -> Vec<Value> {
    let mut records: Vec<Value> = Vec::new();
    let mut previous = "0".repeat(64);
    for segment in segments(state) {
        let text = String::from_utf8(bytes_of(&segment)).unwrap();
        assert!(text.is_empty() || text.ends_with('\n'), "the last line of {} is whole", segment.display());
        for line in text.lines() {
            let record: Value = serde_json::from_str(line).unwrap();
            assert_eq!(record["seq"].as_u64(), Some(u64::try_from(records.len()).unwrap() + 1), "{line}");
            assert_eq!(record["prev"].as_str(), Some(previous.as_str()), "{line}");
            let canonical = line.get(..line.len() - 146).unwrap();
            let hash = Sha256::digest(format!("\0{canonical}}}{previous}"));
            previous = hash.iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(record["h"].as_str(), Some(previous.as_str()), "{line}");
            records.push(record);
        }
    }
    records
}

/// The actions of records, in order.
fn actions(records: &[Value]) -> Vec<&str> {
    records.iter().map(|record| record["action"].as_str().unwrap()).collect()
}
