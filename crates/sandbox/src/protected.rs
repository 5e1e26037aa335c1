//! Paths of the workspace that programs on the host run or obey: a command may read them, but not write them.
//!
//! Only what exists when the command starts can be held. A placeholder in the place of what is missing would litter
//! the workspace and forbid an honest `git init`; instead, what has appeared when the command ends is named in the
//! book and in the log.

use std::os::fd::BorrowedFd;

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags};

/// What is held.
pub(crate) const PATHS: [&str; 6] =
    [".envrc", ".git/config", ".git/hooks", ".moltbot", ".vscode", ".gitmodules"];
/// The folders above them, which may be written but not moved.
pub(crate) const FOLDERS_ABOVE: [&str; 1] = [".git"];

/// The paths that do not exist.
pub(crate) fn missing(workspace: BorrowedFd<'_>) -> Vec<&'static str> {
    PATHS.into_iter().filter(|name| !exists(workspace, name)).collect()
}

/// Those of `absent` that exist now, as a list.
pub(crate) fn appeared(workspace: BorrowedFd<'_>, absent: &[&'static str]) -> String {
    let appeared: Vec<&str> = absent.iter().copied().filter(|name| exists(workspace, name)).collect();
    appeared.join(", ")
}

/// Whether there is something at a path, which a symlink is not: what it leads to is somewhere else.
pub(crate) fn exists(workspace: BorrowedFd<'_>, name: &str) -> bool {
    kind(workspace, name).is_some()
}

/// Whether there is a folder at a path.
pub(crate) fn is_folder(workspace: BorrowedFd<'_>, name: &str) -> bool {
    kind(workspace, name) == Some(FileType::Directory)
}

fn kind(workspace: BorrowedFd<'_>, name: &str) -> Option<FileType> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    let found = rustix::fs::openat2(workspace, name, flags, Mode::empty(), resolve).ok()?;
    let stat = rustix::fs::fstat(&found).ok()?;
    Some(FileType::from_raw_mode(stat.st_mode)).filter(|kind| *kind != FileType::Symlink)
}
