//! A real book, for a test.

use moltbot_ledger::query::Reader;
use moltbot_ledger::{Ledger, LedgerOptions};
use moltbot_vault::StateDir;
use tempfile::TempDir;

/// A book in a folder of its own. The folder lasts as long as the first half.
pub(crate) fn book() -> (TempDir, Ledger) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let state = StateDir::open_or_create(&folder.path().join("state")).expect("a state folder");
    let ledger =
        Ledger::open(&state, &moltbot_testkit::vault(&state), LedgerOptions::default()).expect("a book");
    (folder, ledger)
}

/// The decisions on connections in a book, as `decision target code`, with the proxy before the code.
pub(crate) fn decisions(folder: &TempDir) -> Vec<String> {
    let state = StateDir::open_or_create(&folder.path().join("state")).expect("a state folder");
    let reader = Reader::of(state.folder("ledger").expect("the book"));
    let records = reader.tail(100).expect("records");
    let told = records.iter().filter(|record| record.action == "egress.open").map(|record| {
        let code = record.detail("code").unwrap_or_default();
        let via = record.detail("via").map(|proxy| format!("via {proxy} ")).unwrap_or_default();
        format!("{} {} {via}{code}", record.decision, record.target).trim_end().to_owned()
    });
    told.collect()
}
