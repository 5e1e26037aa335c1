//! Reading without a trace, and room kept for bad days: what the book needs beyond writing.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{CWD, FallocateFlags, Mode, OFlags, ResolveFlags};
use rustix::io::{Errno, retry_on_intr};

use crate::error::{FileError, OpenError};
use crate::folder::{Folder, OPEN_FOLDER, require_file, write_all};
use crate::state_dir::StateDir;

/// How much is written at once where the file system cannot set space aside.
const CHUNK: usize = 64 * 1024;

/// How much room a file system has, in bytes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct DiskSpace {
    /// What this user may still write.
    pub free: u64,
    /// All of it, used or not.
    pub total: u64,
}

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

impl io::Read for ReadFile {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(retry_on_intr(|| rustix::io::read(&self.fd, &mut *buffer))?)
    }
}

impl StateDir {
    /// Opens a folder that is there, wherever it is and whoever made it, to read what is in it: nothing is made and no
    /// mode is repaired. Links on the way are followed.
    ///
    /// # Errors
    /// When it is missing, not a folder, or cannot be opened.
    pub fn open_to_read(path: &Path) -> Result<Self, OpenError> {
        let real = path.canonicalize().map_err(|source| OpenError::Io {
            act: "open",
            path: path.to_owned(),
            source,
        })?;
        let resolve = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        let fd = retry_on_intr(|| rustix::fs::openat2(CWD, &real, OPEN_FOLDER, Mode::empty(), resolve))
            .map_err(|errno| OpenError::of(errno, "open", &real))?;
        Ok(Self::of(Arc::new(Folder::new(fd, real))))
    }

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

    /// Makes the file `name` take `bytes` bytes of the disk, whatever it holds. `false` when it had them already.
    ///
    /// # Errors
    /// [`FileError::Full`] when there is no room; the file may then be there and smaller.
    pub fn set_aside(&self, name: &str, bytes: u64) -> Result<bool, FileError> {
        let path = self.path().join(name);
        let error = |errno| FileError::of(errno, "set space aside in", &path);
        let (fd, _) = self.inner().open_or_create(name, OFlags::RDWR)?;
        let stat = rustix::fs::fstat(&fd).map_err(error)?;
        let allocated = u64::try_from(stat.st_blocks).unwrap_or(0).saturating_mul(512);
        if allocated >= bytes && stat.st_size >= i64::try_from(bytes).unwrap_or(i64::MAX) {
            return Ok(false);
        }
        match retry_on_intr(|| rustix::fs::fallocate(&fd, FallocateFlags::empty(), 0, bytes.max(1))) {
            Ok(()) => Ok(true),
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => {
                let zeros = vec![0; CHUNK];
                let mut left = usize::try_from(bytes).unwrap_or(usize::MAX);
                while left > 0 {
                    let part = zeros.get(..left.min(CHUNK)).unwrap_or_default();
                    write_all(&fd, part, &path)?;
                    left = left.saturating_sub(part.len());
                }
                Ok(true)
            }
            Err(errno) => Err(error(errno)),
        }
    }

    /// How much room there is where this folder is.
    ///
    /// # Errors
    /// When the file system does not say.
    pub fn space(&self) -> Result<DiskSpace, FileError> {
        let stat = rustix::fs::fstatvfs(self.fd())
            .map_err(|errno| FileError::of(errno, "ask for the space of", self.path()))?;
        let bytes = |blocks: u64| blocks.saturating_mul(stat.f_frsize);
        Ok(DiskSpace { free: bytes(stat.f_bavail), total: bytes(stat.f_blocks) })
    }
}
