//! Files that hold no secret but must not be changed by others, such as the certificates of authorities.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::retry_on_intr;

use crate::error::FileError;
use crate::folder::{read_all, require_file};

/// What group and others must not be able to do.
const CHANGE: u32 = 0o022;
/// A folder in which only the owner of a file may rename or remove it.
const STICKY: u32 = 0o1000;

/// The bytes of a file that anybody may read, at most `max`. Links on the way are followed: the system's certificates are
/// full of them. Neither the file nor the folder that it is in may be changed by anybody but this user and root.
///
/// # Errors
/// When `path` is not absolute, is missing, larger than `max`, may be changed by others, or cannot be read.
pub fn read_public(path: &Path, max: u64) -> Result<Vec<u8>, FileError> {
    let (fd, stat, real) = open(path)?;
    read_all(&fd, &stat, max, &real)
}

/// The same file, opened to be read by somebody else, and its size in bytes.
///
/// # Errors
/// When `path` is not absolute, is missing, may be changed by others, or cannot be read.
pub fn open_public(path: &Path) -> Result<(OwnedFd, u64), FileError> {
    let (fd, stat, _) = open(path)?;
    Ok((fd, u64::try_from(stat.st_size).unwrap_or(0)))
}

fn open(path: &Path) -> Result<(OwnedFd, Stat, PathBuf), FileError> {
    let name = || FileError::Name { name: path.display().to_string() };
    let real = if path.is_absolute() { path.canonicalize() } else { return Err(name()) };
    let real = real.map_err(|source| FileError::Io { act: "open", path: path.to_owned(), source })?;
    let folder = real.parent().ok_or_else(name)?;
    let stat = rustix::fs::stat(folder).map_err(|errno| FileError::of(errno, "look at", folder))?;
    if stat.st_mode & STICKY == 0 {
        require_unchangeable(&stat, folder)?;
    }
    let resolve = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let fd = retry_on_intr(|| rustix::fs::openat2(CWD, &real, flags, Mode::empty(), resolve))
        .map_err(|errno| FileError::of(errno, "open", &real))?;
    let (fd, stat) = require_file(fd, &real)?;
    require_unchangeable(&stat, &real)?;
    Ok((fd, stat, real))
}

fn require_unchangeable(stat: &Stat, path: &Path) -> Result<(), FileError> {
    let user = rustix::process::geteuid().as_raw();
    if stat.st_uid != user && stat.st_uid != 0 {
        return Err(FileError::Foreign { path: path.to_owned(), owner: stat.st_uid, user });
    }
    match stat.st_mode & 0o7777 {
        mode if mode & CHANGE == 0 => Ok(()),
        mode => Err(FileError::Exposed { path: path.to_owned(), mode }),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use tempfile::tempdir;

    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "files of other programs, made by a test")]
    fn what_others_may_change_is_not_believed() {
        let home = tempdir().unwrap();
        let (file, link) = (home.path().join("ca.pem"), home.path().join("link"));
        let mode = |path: &Path, mode| {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
        };
        std::fs::write(&file, "text").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        mode(&file, 0o644);
        assert_eq!(read_public(&link, 4).unwrap(), b"text");
        assert!(matches!(read_public(&file, 3), Err(FileError::TooLarge { .. })));
        assert!(matches!(read_public(Path::new("ca.pem"), 9), Err(FileError::Name { .. })));
        assert!(read_public(&home.path().join("none"), 9).is_err());
        for open in [0o664, 0o646] {
            mode(&file, open);
            assert!(matches!(read_public(&file, 9), Err(FileError::Exposed { .. })), "{open:o}");
        }
        mode(&file, 0o600);
        mode(home.path(), 0o777);
        assert!(matches!(read_public(&file, 9), Err(FileError::Exposed { .. })));
        mode(home.path(), 0o1777);
        assert!(read_public(&file, 9).is_ok(), "as in /tmp");
    }
}
