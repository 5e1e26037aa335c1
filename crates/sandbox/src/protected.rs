//! Paths of the workspace that programs on the host run or obey: a command may read them, but not write them.
//!
//! Only what exists when the command starts can be held. A placeholder in the place of what is missing would litter
//! the workspace and forbid an honest `git init`; instead, what has appeared when the command ends is named in the
//! book and in the log. One name is never honest beside settings that are held, and is taken away: see
//! [`take_away`].

use std::io;
use std::os::fd::BorrowedFd;

use moltbot_policy::file::{FOLDERS_ABOVE_PROTECTED, PROTECTED_PATHS};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags};

/// Leads git to settings and hooks in another folder.
const DIVERSION: &str = "commondir";

/// The names whose writing is watched, and that are not there.
pub(crate) fn missing(workspace: BorrowedFd<'_>) -> Vec<&'static str> {
    watched().filter(|name| !is_obeyed(workspace, name)).collect()
}

/// Those of `absent` that are there now.
pub(crate) fn appeared(workspace: BorrowedFd<'_>, absent: &[&'static str]) -> Vec<&'static str> {
    absent.iter().copied().filter(|name| is_obeyed(workspace, name)).collect()
}

/// Removes a diversion of git that has appeared beside settings that were held: the hold would mean nothing. In the
/// folder of a repository git itself makes no such file. Answers whether there was one.
pub(crate) fn take_away(
    workspace: BorrowedFd<'_>,
    absent: &[&'static str],
    appeared: &[&'static str],
) -> io::Result<bool> {
    if absent.contains(&".git/config") || !appeared.contains(&".git/commondir") {
        return Ok(false);
    }
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    let folder = rustix::fs::openat2(workspace, ".git", flags, Mode::empty(), resolve)?;
    rustix::fs::unlinkat(&folder, DIVERSION, AtFlags::empty())?;
    Ok(true)
}

/// What is held when the command starts: what is there and can be mounted over, which a symlink cannot.
pub(crate) fn held(workspace: BorrowedFd<'_>) -> impl Iterator<Item = &'static str> {
    let is_held = move |name: &&str| {
        let kind = kind(workspace, name);
        let leads = FOLDERS_ABOVE_PROTECTED.contains(name) && kind == Some(FileType::Directory);
        !leads && kind.is_some_and(|kind| kind != FileType::Symlink)
    };
    watched().filter(is_held)
}

/// The folders above them, which may be written but not moved.
pub(crate) fn folders_above(workspace: BorrowedFd<'_>) -> impl Iterator<Item = &'static str> {
    let is_folder = move |name: &&str| kind(workspace, name) == Some(FileType::Directory);
    FOLDERS_ABOVE_PROTECTED.into_iter().filter(is_folder)
}

fn watched() -> impl Iterator<Item = &'static str> {
    PROTECTED_PATHS.into_iter().chain(FOLDERS_ABOVE_PROTECTED)
}

/// Whether there is something at a path that a program would obey: a folder above is only a way.
fn is_obeyed(workspace: BorrowedFd<'_>, name: &str) -> bool {
    kind(workspace, name)
        .is_some_and(|kind| kind != FileType::Directory || !FOLDERS_ABOVE_PROTECTED.contains(&name))
}

fn kind(workspace: BorrowedFd<'_>, name: &str) -> Option<FileType> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    let found = rustix::fs::openat2(workspace, name, flags, Mode::empty(), resolve).ok()?;
    let stat = rustix::fs::fstat(&found).ok()?;
    Some(FileType::from_raw_mode(stat.st_mode))
}
