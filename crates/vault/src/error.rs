//! What can go wrong on the disk. Each text says what happened and what to do.

use std::io;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use thiserror::Error;

use crate::random::RandomError;

/// Why a folder could not be opened as a state folder or as a workspace.
#[derive(Debug, Error)]
#[expect(missing_docs, reason = "each message names its fields")]
#[non_exhaustive]
pub enum OpenError {
    /// Everybody on this machine may write in it.
    #[error(
        "{path} may be written by everybody (mode {mode:04o}); run `chmod o-w` on it, or choose another folder"
    )]
    Exposed { path: PathBuf, mode: u32 },
    /// It is one of those that must stay out of an agent's reach.
    #[error("{path} cannot be a workspace: it is or contains {guarded}; choose a folder of its own")]
    Forbidden { path: PathBuf, guarded: PathBuf },
    /// Somebody else's.
    #[error(
        "{path} belongs to user {owner}, not to user {user} who runs this; choose another folder or change its owner"
    )]
    Foreign { path: PathBuf, owner: u32, user: u32 },
    /// The operating system refused.
    #[error("cannot {act} {path}")]
    Io { act: &'static str, path: PathBuf, source: io::Error },
    /// Not a folder.
    #[error("{path} is not a folder; move it away or choose another path")]
    NotFolder { path: PathBuf },
    /// Not absolute, so it would depend on where the program was started.
    #[error("{path} is not an absolute path; give one that starts with /")]
    Relative { path: PathBuf },
    /// A symbolic link, which anybody who may write beside it can turn elsewhere.
    #[error("{path} is a symbolic link; give the folder that it leads to")]
    Symlink { path: PathBuf },
}

/// Why a file could not be read or written.
#[derive(Debug, Error)]
#[expect(missing_docs, reason = "each message names its fields")]
#[non_exhaustive]
pub enum FileError {
    /// The permit is for another act.
    #[error("the permit for {path} does not allow to {act} it")]
    Act { act: &'static str, path: PathBuf },
    /// Others can change it.
    #[error("{path} can be changed by others (mode {mode:04o}); run `chmod go-rwx` on it")]
    Exposed { path: PathBuf, mode: u32 },
    /// The folder that it is in cannot be used.
    #[error("cannot use the folder {path}")]
    Folder { path: PathBuf, source: Box<OpenError> },
    /// Somebody else's.
    #[error("{path} belongs to user {owner}, not to user {user} who runs this; change its owner")]
    Foreign { path: PathBuf, owner: u32, user: u32 },
    /// The disk, the quota or the limit on file sizes is used up.
    #[error("no space left for {path}; free some disk space, then try again")]
    Full { path: PathBuf, source: io::Error },
    /// The operating system refused.
    #[error("cannot {act} {path}")]
    Io { act: &'static str, path: PathBuf, source: io::Error },
    /// There is no such file.
    #[error("there is no {path}; check the name")]
    Missing { path: PathBuf },
    /// Not a path beneath the folder.
    #[error("{name:?} is not a relative path without `..`, `.` or empty parts; give one")]
    Name { name: String },
    /// A folder, a pipe, a socket or a device.
    #[error("{path} is {kind}, not a file; choose another name")]
    NotFile { path: PathBuf, kind: &'static str },
    /// A part of the path is a file.
    #[error("a part of {path} is not a folder; choose another name")]
    NotFolder { path: PathBuf },
    /// It leads out of the folder.
    #[error("{path} leads out of its folder; use a path inside it")]
    Outside { path: PathBuf },
    /// No name could be drawn for the temporary file.
    #[error("cannot write {path}")]
    Random { path: PathBuf, source: RandomError },
    /// A symbolic link, or a path through one.
    #[error("{path} is a symbolic link or leads through one; use the real path")]
    Symlink { path: PathBuf },
    /// Larger than the reader allows.
    #[error("{path} has {size} bytes; at most {max} are read")]
    TooLarge { path: PathBuf, size: u64, max: u64 },
}

impl FileError {
    /// Names what the kernel's answer means for `path`.
    pub(crate) fn of(errno: Errno, act: &'static str, path: &Path) -> Self {
        let path = path.to_owned();
        match errno {
            Errno::NOSPC | Errno::DQUOT | Errno::FBIG => Self::Full { path, source: errno.into() },
            Errno::NOENT => Self::Missing { path },
            Errno::NOTDIR => Self::NotFolder { path },
            Errno::LOOP => Self::Symlink { path },
            Errno::XDEV => Self::Outside { path },
            // Opening a socket, or a device without its driver.
            Errno::NXIO | Errno::NODEV => Self::NotFile { path, kind: "a socket or a device" },
            Errno::ISDIR => Self::NotFile { path, kind: "a folder" },
            _ => Self::Io { act, path, source: errno.into() },
        }
    }
}

impl OpenError {
    /// Names what the kernel's answer means for `path`.
    pub(crate) fn of(errno: Errno, act: &'static str, path: &Path) -> Self {
        let path = path.to_owned();
        match errno {
            Errno::LOOP => Self::Symlink { path },
            Errno::NOTDIR => Self::NotFolder { path },
            _ => Self::Io { act, path, source: errno.into() },
        }
    }
}
