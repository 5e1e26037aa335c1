//! One file wherever the owner put it, such as the config.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, Stat};

use crate::error::FileError;
use crate::folder::{FILE, read_all, require_file};
use crate::root::{OTHERS, open_parent};

/// A file that the owner may have put anywhere and that only the owner may read.
#[derive(Clone, Debug)]
pub struct OwnerFile {
    path: PathBuf,
}

impl OwnerFile {
    /// The file at an absolute `path`, whether it is there or not.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its bytes, at most `max`; nothing when there is no such file.
    ///
    /// Rights of others are taken away first, and a warning logged. That is refused for a file with several names, and
    /// for one that is not named like a config: it may be another program's.
    ///
    /// # Errors
    /// When it is a link, not a file, somebody else's, larger than `max`, or cannot be read or repaired.
    pub fn read(&self, max: u64) -> Result<Option<Vec<u8>>, FileError> {
        if !self.path.parent().is_some_and(Path::exists) {
            return Ok(None);
        }
        let (folder, leaf) = open_parent(&self.path)?;
        let fd = match folder.open(leaf, OFlags::RDONLY, Mode::empty()) {
            Err(FileError::Missing { .. }) => return Ok(None),
            opened => opened?,
        };
        let (fd, stat) = require_file(fd, &self.path)?;
        self.require_private(&fd, &stat)?;
        read_all(&fd, &stat, max, &self.path).map(Some)
    }

    /// The bytes, at most `max`, whoever may read them, without repairing that; nothing when there is none. For those who
    /// only look.
    ///
    /// # Errors
    /// When it is a link or not a file, is larger than `max`, or cannot be read.
    pub fn look(&self, max: u64) -> Result<Option<Vec<u8>>, FileError> {
        if !self.path.parent().is_some_and(Path::exists) {
            return Ok(None);
        }
        let (folder, leaf) = open_parent(&self.path)?;
        let fd = match folder.open(leaf, OFlags::RDONLY, Mode::empty()) {
            Err(FileError::Missing { .. }) => return Ok(None),
            opened => opened?,
        };
        let (fd, stat) = require_file(fd, &self.path)?;
        read_all(&fd, &stat, max, &self.path).map(Some)
    }

    /// The bytes of the file `name` in this file's folder or below, at most `max`: what a config includes. It has to be
    /// as private as this one; no link is followed, and no name leads out of the folder.
    ///
    /// # Errors
    /// As for [`Self::read`], and [`FileError::Missing`] when there is no such file.
    pub fn read_beside(&self, name: &str, max: u64) -> Result<Vec<u8>, FileError> {
        let (beside, fd, stat) = self.open_beside(name)?;
        beside.require_private(&fd, &stat)?;
        read_all(&fd, &stat, max, &beside.path)
    }

    /// The same, whoever may read it, without repairing that. For those who only look.
    ///
    /// # Errors
    /// As for [`Self::read_beside`], but for who may read it.
    pub fn look_beside(&self, name: &str, max: u64) -> Result<Vec<u8>, FileError> {
        let (beside, fd, stat) = self.open_beside(name)?;
        read_all(&fd, &stat, max, &beside.path)
    }

    fn open_beside(&self, name: &str) -> Result<(Self, std::os::fd::OwnedFd, Stat), FileError> {
        let (folder, _) = open_parent(&self.path)?;
        let beside = Self::at(folder.path().join(name));
        let fd = folder.open(name, OFlags::RDONLY, Mode::empty())?;
        let (fd, stat) = require_file(fd, &beside.path)?;
        Ok((beside, fd, stat))
    }

    /// What it and the files `beside` it look like from outside: a text that is another one when a file was changed,
    /// replaced, made or removed. Nothing is opened.
    pub fn stamp(&self, beside: &[String]) -> String {
        let Ok((folder, leaf)) = open_parent(&self.path) else { return "unreachable".into() };
        let names = std::iter::once(leaf).chain(beside.iter().map(String::as_str));
        let one = |name: &str| match folder.look(name) {
            Ok(Some(stat)) => {
                let Stat {
                    st_dev, st_ino, st_size, st_mtime, st_mtime_nsec, st_ctime, st_ctime_nsec, ..
                } = stat;
                format!("{st_dev} {st_ino} {st_size} {st_mtime}.{st_mtime_nsec} {st_ctime}.{st_ctime_nsec}")
            }
            Ok(None) => "missing".into(),
            Err(error) => error.to_string(),
        };
        names.map(one).collect::<Vec<String>>().join("\n")
    }

    /// Makes it hold `bytes`, owner-only: the old file or the new one, on disk when this returns. A stricter mode stays.
    ///
    /// # Errors
    /// When it is a link, not a file, somebody else's, or cannot be written; what was there stays.
    pub fn write(&self, bytes: &[u8]) -> Result<(), FileError> {
        let (folder, leaf) = open_parent(&self.path)?;
        let mut mode = FILE;
        if let Some(stat) = folder.stat(leaf)? {
            crate::folder::require_regular(&stat, &self.path)?;
            self.require_ours(&stat)?;
            // An owner who has closed it to writing by hand finds it closed.
            mode = Mode::from_raw_mode(stat.st_mode) & FILE | Mode::RUSR;
        }
        folder.replace(leaf, bytes, mode)
    }

    /// Makes it with these bytes, owner-only, unless something is there; `false` when there is. On disk when this returns.
    ///
    /// # Errors
    /// When it cannot be written; it is then not there.
    pub fn create(&self, bytes: &[u8]) -> Result<bool, FileError> {
        let (folder, leaf) = open_parent(&self.path)?;
        folder.create(leaf, bytes)
    }

    /// Like [`Self::create`], with what `fill` writes as it comes, so that no more than a piece of it is in memory. Nothing
    /// when something is there already: `fill` was then not asked, or what it wrote is gone.
    ///
    /// # Errors
    /// What `fill` fails with, or when it cannot be written; it is then not there.
    pub fn create_from<T, E: From<FileError>>(
        &self,
        fill: impl FnOnce(&mut dyn std::io::Write) -> Result<T, E>,
    ) -> Result<Option<T>, E> {
        let (folder, leaf) = open_parent(&self.path)?;
        folder.create_from(leaf, fill)
    }

    fn require_ours(&self, stat: &Stat) -> Result<(), FileError> {
        let user = rustix::process::geteuid().as_raw();
        if stat.st_uid == user {
            return Ok(());
        }
        Err(FileError::Foreign { path: self.path.clone(), owner: stat.st_uid, user })
    }

    fn require_private(&self, fd: &std::os::fd::OwnedFd, stat: &Stat) -> Result<(), FileError> {
        self.require_ours(stat)?;
        let mode = stat.st_mode & 0o7777;
        if mode & OTHERS == 0 {
            return Ok(());
        }
        let private = Mode::from_raw_mode(mode & Mode::RWXU.as_raw_mode());
        let is_ours = stat.st_nlink == 1 && is_config_name(&self.path);
        if !is_ours || rustix::fs::fchmod(fd, private).is_err() {
            return Err(FileError::Exposed { path: self.path.clone(), mode });
        }
        let mode = format!("{mode:04o}");
        tracing::warn!(path = %self.path.display(), mode, "a file was open to others; it is owner-only now");
        Ok(())
    }
}

/// Whether a file is named like a config.
pub(crate) fn is_config_name(path: &Path) -> bool {
    matches!(path.extension().and_then(OsStr::to_str), Some("json" | "json5"))
}
