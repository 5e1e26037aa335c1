//! Files that a person names on the command line.

use std::path::Path;

use moltbot_vault::OwnerFile;

use crate::exit::Exit;
use crate::home;

/// Writes a new owner-only file; one that is there stays.
pub(crate) fn new_file(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let path = std::path::absolute(path)?;
    let made = OwnerFile::at(&path).create(bytes).map_err(|error| home::failed(&error))?;
    if made {
        return Ok(());
    }
    Err(Exit::Failed.because(format!("{} is there already; choose another name", path.display())))
}

/// The bytes of an owner-only file, at most `max`.
pub(crate) fn read_file(path: &Path, max: u64) -> anyhow::Result<Vec<u8>> {
    let path = std::path::absolute(path)?;
    let bytes = OwnerFile::at(&path).read(max).map_err(|error| home::failed(&error))?;
    bytes.ok_or_else(|| Exit::Failed.because(format!("there is no file {}", path.display())))
}
