//! A record of a process that must not open the book: its keys are refused, so it can sign nothing.
//!
//! The chain needs no key. The next process that opens the book signs for what was added, as after a crash.

use std::path::PathBuf;

use jiff::Timestamp;
use moltbot_policy::Entry;
use moltbot_vault::{StateDir, random_id};

use crate::error::LedgerError;
use crate::ledger::{FOLDER, take_lock};
use crate::opening;
use crate::own;
use crate::record::{Body, Stamp};

/// Adds `entry`, which has no secret in it, at the end of the book in the state folder, between a `ledger.start` and a
/// `ledger.stop`. Its number, once it is on disk; nothing when there is no book, or when something in it does not fit:
/// it is then left to the process that may open it. `anchors` are files that remember its head.
///
/// # Errors
/// [`LedgerError::Busy`] when another process has the book open, or when the disk refuses.
pub fn alarm(state: &StateDir, anchors: &[PathBuf], entry: &Entry) -> Result<Option<u64>, LedgerError> {
    let folder = state.folder(FOLDER)?;
    let _lock = take_lock(&folder)?;
    let Some(mut position) = opening::end_of(&folder, anchors, Timestamp::now())? else { return Ok(None) };
    let (name, torn) = (position.name.as_str(), position.torn.take());
    let mut bodies: Vec<Body> = torn.map(|torn| own::recovered(name, &torn)).into_iter().collect();
    bodies.push(own::started(name, position.before));
    bodies.push(Body::of(entry));
    let mut stamp = Stamp::new(random_id()?, Timestamp::now, position.last);
    let mut lines = String::new();
    for body in &bodies {
        position.chain.write(body, &mut stamp, &mut lines);
    }
    let sequence = position.chain.tree.size();
    position.chain.write(&own::stopped(FOLDER), &mut stamp, &mut lines);
    let mut file = folder.append(name)?;
    file.write_all(lines.as_bytes())?;
    file.sync_data()?;
    Ok(Some(sequence))
}
