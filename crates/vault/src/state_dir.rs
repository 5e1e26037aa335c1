//! The state folder: everything that moltbot keeps, readable by its owner alone.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use moltbot_policy::Recorded;
use moltbot_policy::session::ShredPermit;
use rustix::fs::OFlags;
use rustix::io::{Errno, retry_on_intr};

use crate::error::{FileError, OpenError};
use crate::folder::{FILE, Folder, sync, write_all};
use crate::root::{OTHERS, find_root, open_root, repair};

/// The state folder or one beneath it, held open. Names are relative, without `..`; folders that a name goes
/// through are made owner-only when something is written. Clones share the handle.
#[derive(Clone, Debug)]
pub struct StateDir {
    folder: Arc<Folder>,
    /// The mode that it had before it was repaired.
    repaired_from: Option<u32>,
}

impl StateDir {
    /// Opens the folder at an absolute `path`, or makes it, readable by its owner alone from birth.
    ///
    /// A folder of ours that others may enter is repaired, and a warning logged.
    ///
    /// # Errors
    /// When it is somebody else's, a symbolic link, not a folder, or cannot be made.
    pub fn open_or_create(path: &Path) -> Result<Self, OpenError> {
        let folder = open_root(path)?;
        let repaired_from = repair(&folder)?;
        Ok(Self { folder: Arc::new(folder), repaired_from })
    }

    /// Opens the folder at an absolute `path` as it is: nothing is made or repaired. Nothing when it is not there. For those
    /// who only look.
    ///
    /// # Errors
    /// When it is a symbolic link, not a folder, or cannot be opened.
    pub fn find(path: &Path) -> Result<Option<Self>, OpenError> {
        Ok(find_root(path)?.map(|folder| Self::of(Arc::new(folder))))
    }

    /// The folder `name` in it as it is; nothing when it is not there.
    ///
    /// # Errors
    /// As [`Self::find`].
    pub fn find_folder(&self, name: &str) -> Result<Option<Self>, OpenError> {
        Self::find(&self.path().join(name))
    }

    /// Where it is, without links.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Its handle.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.folder.fd()
    }

    /// The folder `name` in it, made when it is missing; rights of others are taken away.
    ///
    /// # Errors
    /// When it is a link or not a folder, is somebody else's, or cannot be made.
    pub fn folder(&self, name: &str) -> Result<Self, FileError> {
        let folder = self.folder.folder(name)?;
        let repaired_from = repair(&folder)
            .map_err(|source| FileError::Folder { path: folder.path().to_owned(), source: source.into() })?;
        Ok(Self { folder: Arc::new(folder), repaired_from })
    }

    /// The bytes of the file `name`, at most `max`; nothing when there is none.
    ///
    /// # Errors
    /// When it is a link or not a file, is larger than `max`, or cannot be read.
    pub fn read(&self, name: &str, max: u64) -> Result<Option<Vec<u8>>, FileError> {
        self.folder.read(name, max)
    }

    /// Makes `name` hold `bytes`: the old file or the new one, never a mixture, on disk when this returns.
    ///
    /// # Errors
    /// [`FileError::Full`] when there is no space; the old file is then still there.
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<(), FileError> {
        self.folder.replace(name, bytes, FILE)
    }

    /// Makes the file `name` unless there is one; `false` when there is. On disk when this returns.
    ///
    /// # Errors
    /// When it cannot be written; it is then not there.
    pub fn create(&self, name: &str, bytes: &[u8]) -> Result<bool, FileError> {
        self.folder.create(name, bytes)
    }

    /// Opens the file `name` to write at its end, making it when it is missing. A new file is on disk, as what is
    /// written to it, after [`AppendFile::sync_data`].
    ///
    /// # Errors
    /// When it is a link or not a file, or cannot be opened.
    pub fn append(&self, name: &str) -> Result<AppendFile, FileError> {
        let (fd, above) = self.folder.open_or_create(name, OFlags::RDWR | OFlags::APPEND)?;
        let folder = above.map_or_else(|| Arc::clone(&self.folder), Arc::new);
        let path = self.folder.path().join(name);
        Ok(AppendFile { fd, folder, path, named: AtomicBool::new(false) })
    }

    /// The names in it, sorted.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn list(&self) -> Result<Vec<String>, FileError> {
        self.folder.list()
    }

    /// Gives the file `from` the name `to`, replacing what has it. On disk when this returns.
    ///
    /// # Errors
    /// When there is no `from`, or it cannot be renamed.
    pub fn rename(&self, from: &str, to: &str) -> Result<(), FileError> {
        self.folder.rename(from, to)
    }

    /// Removes the file `name`.
    ///
    /// # Errors
    /// [`FileError::Missing`] when there is none; or when it cannot be removed.
    pub fn remove(&self, name: &str) -> Result<(), FileError> {
        self.folder.remove(name)
    }

    /// Writes zeros over the file `name` and removes it. A disk that moves what is written, as flash does, may keep the old bytes.
    ///
    /// # Errors
    /// When there is none, it is a link or somebody else's, or it cannot be written.
    pub fn shred(&self, _permit: &Recorded<ShredPermit>, name: &str) -> Result<(), FileError> {
        crate::history::shred(&self.folder, name)
    }

    /// A folder that is opened to be read.
    pub(crate) const fn of(folder: Arc<Folder>) -> Self {
        Self { folder, repaired_from: None }
    }

    /// The mode that it had when it was opened, if that was not owner-only and was changed.
    pub(crate) const fn repaired_from(&self) -> Option<u32> {
        self.repaired_from
    }

    pub(crate) fn inner(&self) -> &Folder {
        &self.folder
    }
}

/// A file that grows at its end.
#[derive(Debug)]
pub struct AppendFile {
    fd: OwnedFd,
    folder: Arc<Folder>,
    path: PathBuf,
    /// Whether its name is known to be on disk. Whoever made it may have ended before it was.
    named: AtomicBool,
}

impl AppendFile {
    /// Writes all of `bytes` at the end. Not on disk before [`Self::sync_data`].
    ///
    /// # Errors
    /// [`FileError::Full`] when there is no space. A part may have been written; see [`Self::truncate`].
    pub fn write_all(&mut self, bytes: &[u8]) -> Result<(), FileError> {
        write_all(&self.fd, bytes, &self.path)
    }

    /// Waits until what was written is on disk, the first time also until the file's name is.
    ///
    /// # Errors
    /// When it is not. Trying again on this handle proves nothing: the kernel reports a loss once.
    pub fn sync_data(&self) -> Result<(), FileError> {
        if !self.named.load(Ordering::Acquire) {
            self.folder.sync()?;
            self.named.store(true, Ordering::Release);
        }
        rustix::fs::fdatasync(&self.fd).map_err(|errno| FileError::of(errno, "flush", &self.path))
    }

    /// How many bytes it has.
    ///
    /// # Errors
    /// [`FileError::Missing`] when the file was removed while it was open.
    #[expect(
        clippy::len_without_is_empty,
        reason = "a length that has to be asked of the disk, not a collection's"
    )]
    pub fn len(&self) -> Result<u64, FileError> {
        let stat = rustix::fs::fstat(&self.fd).map_err(|errno| self.error(errno, "look at"))?;
        if stat.st_nlink == 0 {
            return Err(self.error(Errno::NOENT, "look at"));
        }
        Ok(u64::try_from(stat.st_size).unwrap_or(0))
    }

    /// Cuts it off after `length` bytes, on disk when this returns.
    ///
    /// # Errors
    /// When it cannot be cut.
    pub fn truncate(&self, length: u64) -> Result<(), FileError> {
        rustix::fs::ftruncate(&self.fd, length).map_err(|errno| self.error(errno, "cut"))?;
        sync(&self.fd, &self.path)
    }

    /// Reads into `buffer` from `offset` and tells how many bytes there were; 0 is the end.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, FileError> {
        retry_on_intr(|| rustix::io::pread(&self.fd, &mut *buffer, offset))
            .map_err(|errno| self.error(errno, "read"))
    }

    /// Takes the rights of others away, if they have any: somebody else may have made it.
    ///
    /// # Errors
    /// When they cannot be taken away: it is somebody else's.
    pub fn make_private(&self) -> Result<(), FileError> {
        let stat = rustix::fs::fstat(&self.fd).map_err(|errno| self.error(errno, "look at"))?;
        if stat.st_mode & OTHERS == 0 {
            return Ok(());
        }
        let mode = rustix::fs::Mode::from_raw_mode(stat.st_mode & 0o700);
        rustix::fs::fchmod(&self.fd, mode).map_err(|errno| self.error(errno, "set the mode of"))
    }

    /// Where it is, as it was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn error(&self, errno: Errno, act: &'static str) -> FileError {
        FileError::of(errno, act, &self.path)
    }
}
