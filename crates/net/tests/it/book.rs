//! A real book, for a test.

use moltbot_ledger::{Ledger, LedgerOptions};
use moltbot_vault::StateDir;
use tempfile::TempDir;

/// A book in a folder of its own. The folder lasts as long as the first half.
pub(crate) fn book() -> (TempDir, Ledger) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let state = StateDir::open_or_create(&folder.path().join("state")).expect("a state folder");
    let ledger = Ledger::open(&state, &moltbot_testkit::vault(&state), LedgerOptions::default()).expect("a book");
    (folder, ledger)
}
