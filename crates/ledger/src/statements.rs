//! What the keys of a book said last, each naming the next: the way from the first key to one that is in force, also
//! where the records in which they said so were pruned.

use std::io::{BufRead, BufReader, Read};

use ed25519_dalek::VerifyingKey;
use moltbot_config::limits;
use moltbot_vault::{FileError, StateDir};

use crate::keys::EPOCHS;
use crate::note::Note;
use crate::own::Trust;

/// The longest line that is read, in bytes. One has 400.
const LINE: u64 = 4096;

/// Whether the statements lead from the first key of `trust` to the one it has now, each signed by the one before.
pub(crate) fn lead_to(folder: &StateDir, trust: &Trust) -> Result<bool, FileError> {
    follow(folder, trust, |note, key| note.is_signed_by(key))
}

/// Whether there are as many statements as lead to the key of `trust`, and the last one names it.
pub(crate) fn reach(folder: &StateDir, trust: &Trust) -> Result<bool, FileError> {
    follow(folder, trust, |_, _| true)
}

fn follow(
    folder: &StateDir,
    trust: &Trust,
    is_right: impl Fn(&Note, &VerifyingKey) -> bool,
) -> Result<bool, FileError> {
    let (mut epoch, mut key) = (0, trust.first);
    let mut reader = match folder.open_file(EPOCHS) {
        Err(FileError::Missing { .. }) => return Ok(trust.epoch == 0 && key == trust.key),
        opened => BufReader::new(opened?.take(limits::LEDGER_EPOCHS_BYTES)),
    };
    let mut line = Vec::new();
    while epoch < trust.epoch {
        line.clear();
        let error = |source| FileError::Io { act: "read", path: folder.path().join(EPOCHS), source };
        (&mut reader).take(LINE).read_until(b'\n', &mut line).map_err(error)?;
        let note = serde_json::from_slice::<String>(&line).ok().as_deref().and_then(Note::parse);
        let Some(note) = note.filter(|note| note.is_of(&trust.origin) && is_right(note, &key)) else {
            return Ok(false);
        };
        (epoch, key) = match note.next {
            Some((number, next)) if number == epoch.saturating_add(1) => (number, next),
            _ => return Ok(false),
        };
    }
    Ok(key == trust.key)
}
