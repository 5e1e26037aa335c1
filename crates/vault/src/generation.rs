//! The newest generation of the key file, remembered beside the book, so that an older file put back is noticed.
//!
//! ```text
//! moltbot key generation v1
//! generation <the newest that is on disk>
//! check <64 hex digits>
//! ```
//!
//! It is in the book's folder and not beside the keys: who puts back the keys and the config does not put back the book,
//! and a backup of all of it fits together. It is written when the key file is on disk, so that a crash between the two
//! leaves a file that is newer than what is remembered, which is no harm. The check is made as that of the key file: a
//! text of another installation, or one that somebody wrote, is not believed.

use zeroize::Zeroizing;

use crate::error::FileError;
use crate::key_file::{RootKey, check};
use crate::state_dir::StateDir;

/// Where it is in the state folder.
pub(crate) const REGISTER: &str = "ledger/generation";
const TITLE: &str = "moltbot key generation v1";
/// The largest file that is read, in bytes. It has 150.
const BYTES: u64 = 512;

/// What is remembered.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Remembered {
    /// Something that these keys did not write.
    Alien,
    /// This generation.
    Generation(u64),
    /// Nothing yet.
    Nothing,
}

/// What the register says, checked with the installation's lasting key.
pub(crate) fn read(state: &StateDir, lasting: &RootKey) -> Result<Remembered, FileError> {
    let Some(bytes) = state.inner().read(REGISTER, BYTES)? else { return Ok(Remembered::Nothing) };
    let named = std::str::from_utf8(&bytes).ok().and_then(|text| {
        text.strip_prefix(TITLE)?.strip_prefix("\ngeneration ")?.split('\n').next()?.parse().ok()
    });
    // Only the spelling that this program writes is one.
    let is_ours = |generation: &u64| text(*generation, lasting).as_bytes() == bytes;
    Ok(named.filter(is_ours).map_or(Remembered::Alien, Remembered::Generation))
}

/// Whether there is a register, whoever wrote it.
pub(crate) fn is_there(state: &StateDir) -> Result<bool, FileError> {
    Ok(state.inner().look(REGISTER)?.is_some())
}

/// Remembers a generation, on disk when this returns.
pub(crate) fn write(state: &StateDir, generation: u64, lasting: &RootKey) -> Result<(), FileError> {
    state.write(REGISTER, text(generation, lasting).as_bytes())
}

fn text(generation: u64, lasting: &RootKey) -> Zeroizing<String> {
    let body = format!("{TITLE}\ngeneration {generation}\n");
    let check = check(lasting, &body);
    Zeroizing::new(format!("{body}check {check}\n"))
}

#[cfg(test)]
mod tests {
    use tempfile::tempdir;

    use super::*;
    use crate::key_file::draw_key;

    #[test]
    fn what_was_remembered_is_read_back_and_no_changed_byte_is_believed() {
        let home = tempdir().unwrap();
        let state = StateDir::open_or_create(home.path()).unwrap();
        let (ours, other) = (draw_key().unwrap(), draw_key().unwrap());
        assert_eq!(read(&state, &ours).unwrap(), Remembered::Nothing);
        write(&state, 12, &ours).unwrap();
        assert_eq!(read(&state, &ours).unwrap(), Remembered::Generation(12));
        assert_eq!(read(&state, &other).unwrap(), Remembered::Alien);
        let bytes = state.read(REGISTER, BYTES).unwrap().unwrap();
        for position in 0..bytes.len() {
            for bit in 0..8 {
                let mut changed = bytes.clone();
                changed[position] ^= 1 << bit;
                state.write(REGISTER, &changed).unwrap();
                assert_eq!(read(&state, &ours).unwrap(), Remembered::Alien, "byte {position}, bit {bit}");
            }
            state.write(REGISTER, &bytes[..position]).unwrap();
            assert_eq!(read(&state, &ours).unwrap(), Remembered::Alien, "{position} bytes");
        }
    }
}
