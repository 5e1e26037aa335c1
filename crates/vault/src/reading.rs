//! Reading without a trace.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::io::retry_on_intr;

use crate::error::FileError;
use crate::folder::require_file;
use crate::state_dir::StateDir;

/// A file opened to be read from its beginning.
#[derive(Debug)]
pub struct ReadFile {
    fd: OwnedFd,
    path: PathBuf,
}

impl ReadFile {
    /// Reads into `buffer` from `offset` and tells how many bytes there were; 0 is the end.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, FileError> {
        retry_on_intr(|| rustix::io::pread(&self.fd, &mut *buffer, offset))
            .map_err(|errno| FileError::of(errno, "read", &self.path))
    }

    /// How many bytes it has.
    ///
    /// # Errors
    /// When it cannot be looked at.
    #[expect(
        clippy::len_without_is_empty,
        reason = "a length that has to be asked of the disk, not a collection's"
    )]
    pub fn len(&self) -> Result<u64, FileError> {
        let stat =
            rustix::fs::fstat(&self.fd).map_err(|errno| FileError::of(errno, "look at", &self.path))?;
        Ok(u64::try_from(stat.st_size).unwrap_or(0))
    }

    /// Where it is, as it was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl StateDir {
    /// Opens the file `name` to be read from its beginning.
    ///
    /// # Errors
    /// [`FileError::Missing`] when there is none; or when it is a link, not a file, or cannot be opened.
    pub fn open_file(&self, name: &str) -> Result<ReadFile, FileError> {
        let path = self.path().join(name);
        let fd = self.inner().open(name, OFlags::RDONLY, Mode::empty())?;
        let (fd, _) = require_file(fd, &path)?;
        Ok(ReadFile { fd, path })
    }
}
