//! From a path that the owner chose to a folder held open: the only place that takes absolute paths.

use std::ffi::OsStr;
use std::io;
use std::os::fd::AsFd;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{CWD, Mode, ResolveFlags, Stat};
use rustix::io::retry_on_intr;

use crate::error::{FileError, OpenError};
use crate::folder::{FOLDER, Folder, OPEN_FOLDER};

/// Whatever group and others may do.
pub(crate) const OTHERS: u32 = 0o077;

/// Opens the folder at `path`, making it and what is missing above it owner-only.
///
/// Links above the folder are followed first (a home may be one) and judged by where they lead; the folder
/// itself may not be a link. What is then opened has no link on its way, or is refused by the kernel.
pub(crate) fn open_root(path: &Path) -> Result<Folder, OpenError> {
    let (existing, missing) = split_existing(path)?;
    let mut folder = open_real(existing)?;
    for part in missing.into_iter().rev() {
        folder = folder.step(part)?;
    }
    Ok(folder)
}

/// Like [`open_root`] for a folder that is there, which is not changed; nothing when it is not there.
pub(crate) fn find_root(path: &Path) -> Result<Option<Folder>, OpenError> {
    let (existing, missing) = split_existing(path)?;
    match missing.as_slice() {
        [] => open_real(existing).map(Some),
        [name] => match open_real(existing.join(name)) {
            Err(OpenError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(None),
            opened => opened.map(Some),
        },
        _ => Ok(None),
    }
}

/// Opens a folder whose path has no link in it.
fn open_real(path: PathBuf) -> Result<Folder, OpenError> {
    let resolve = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let fd = retry_on_intr(|| rustix::fs::openat2(CWD, &path, OPEN_FOLDER, Mode::empty(), resolve))
        .map_err(|errno| OpenError::of(errno, "open", &path))?;
    Ok(Folder::new(fd, path))
}

/// The real path of the deepest folder above `path` that exists, and the rest of `path`, last part first.
fn split_existing(path: &Path) -> Result<(PathBuf, Vec<&OsStr>), OpenError> {
    let relative = || OpenError::Relative { path: path.to_owned() };
    if !path.is_absolute() || path.components().any(|part| part == Component::ParentDir) {
        return Err(relative());
    }
    let mut missing = Vec::new();
    let mut above = path;
    // The last part is never followed, so it always counts as missing; only `/` has none.
    while let (Some(name), Some(parent)) = (above.file_name(), above.parent()) {
        missing.push(name);
        match parent.canonicalize() {
            Ok(existing) => return Ok((existing, missing)),
            Err(source) if source.kind() == io::ErrorKind::NotFound => above = parent,
            Err(source) => {
                return Err(OpenError::Io { act: "look at", path: parent.to_owned(), source });
            }
        }
    }
    Ok((PathBuf::from("/"), missing))
}

/// What is open, when it is ours.
pub(crate) fn require_owned<Fd: AsFd>(fd: Fd, path: &Path) -> Result<Stat, OpenError> {
    let stat = rustix::fs::fstat(fd).map_err(|errno| OpenError::of(errno, "look at", path))?;
    let user = rustix::process::geteuid().as_raw();
    if stat.st_uid == user {
        return Ok(stat);
    }
    Err(OpenError::Foreign { path: path.to_owned(), owner: stat.st_uid, user })
}

/// Takes every right of others to a folder of ours away, and says so when there were any. Rights that the owner has
/// given up stay given up. The answer is the mode that it had, when that was changed.
pub(crate) fn repair(folder: &Folder) -> Result<Option<u32>, OpenError> {
    let stat = require_owned(folder.fd(), folder.path())?;
    let mode = stat.st_mode & 0o7777;
    if mode & !FOLDER.as_raw_mode() == 0 {
        return Ok(None);
    }
    rustix::fs::fchmod(folder.fd(), Mode::from_raw_mode(mode) & FOLDER)
        .map_err(|errno| OpenError::of(errno, "set the mode of", folder.path()))?;
    if mode & OTHERS != 0 {
        let mode = format!("{mode:04o}");
        tracing::warn!(path = %folder.path().display(), mode, "a folder was open to others; it is owner-only now");
    }
    Ok(Some(mode))
}

/// Opens the folder that holds the file at `path`.
pub(crate) fn open_parent(path: &Path) -> Result<(Folder, &str), FileError> {
    let name = || FileError::Name { name: path.display().to_string() };
    let leaf = path.file_name().and_then(OsStr::to_str).ok_or_else(name)?;
    let parent = path.parent().filter(|_| path.is_absolute()).ok_or_else(name)?;
    let parent = match parent.canonicalize() {
        Ok(real) => real,
        Err(_) => parent.to_owned(),
    };
    let folder =
        open_root(&parent).map_err(|error| FileError::Folder { path: parent, source: error.into() })?;
    Ok((folder, leaf))
}

impl From<FileError> for OpenError {
    fn from(error: FileError) -> Self {
        match error {
            FileError::Symlink { path } => Self::Symlink { path },
            FileError::NotFolder { path } | FileError::NotFile { path, .. } => Self::NotFolder { path },
            FileError::Io { act, path, source } => Self::Io { act, path, source },
            FileError::Full { path, source } => Self::Io { act: "create", path, source },
            other => Self::Io { act: "open", path: PathBuf::new(), source: io::Error::other(other) },
        }
    }
}
