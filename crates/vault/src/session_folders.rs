//! Folders that sessions work in which are shut off from their agent's workspace: `sandboxes` in the state folder.

use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
use std::path::Path;

use moltbot_policy::Recorded;
use moltbot_policy::surroundings::FolderPermit;
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Timespec, Timestamps};
use sha2::{Digest as _, Sha256};

use crate::error::{FileError, OpenError};
use crate::folder::{BENEATH, Folder};
use crate::state_dir::StateDir;
use crate::workspace::Workspace;

/// Where they are in the state folder.
const FOLDERS: &str = "sandboxes";
/// Characters of what they are named after in their names, before the digest that tells equal beginnings apart.
const SLUG_CHARS: usize = 32;

/// One of them.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SessionFolder {
    /// Its name in `sandboxes`.
    pub name: String,
    /// When a turn last worked in it, in milliseconds since the epoch.
    pub used_ms: u64,
}

/// Why a session has no folder to work in.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SessionFolderError {
    /// The folder of all such folders.
    #[error("cannot create the folder for this session; free disk space or correct the state folder's owner")]
    Create(#[source] FileError),
    /// The folder itself.
    #[error("cannot open the folder of this session; correct its owner and mode")]
    Open(#[source] OpenError),
}

/// The folder of what `shared_by` names, made where it is missing. It counts as used now.
///
/// # Errors
/// When it cannot be made, opened or marked.
pub fn session_folder(state: &StateDir, shared_by: &str) -> Result<Workspace, SessionFolderError> {
    let folder = state.folder(&format!("{FOLDERS}/{}", session_folder_name(shared_by)));
    let folder = folder.map_err(SessionFolderError::Create)?;
    let workspace =
        Workspace::open_or_create(folder.path(), &[state.path()]).map_err(SessionFolderError::Open)?;
    let now = Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_NOW };
    rustix::fs::futimens(workspace.fd(), &Timestamps { last_access: now, last_modification: now })
        .map_err(|errno| SessionFolderError::Create(FileError::of(errno, "mark", folder.path())))?;
    Ok(workspace)
}

/// The name of the folder of what `shared_by` names: readable in front, and different for different names.
pub fn session_folder_name(shared_by: &str) -> String {
    let ordinary = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '_' | '-');
    let key = shared_by.to_lowercase();
    let mut name: String = key.chars().take(SLUG_CHARS).map(|c| if ordinary(c) { c } else { '-' }).collect();
    name.push('-');
    for byte in Sha256::digest(shared_by.as_bytes()).iter().take(4) {
        // Writing to a string cannot fail; an empty suffix would only make the name less telling.
        if write!(name, "{byte:02x}").is_err() {
            break;
        }
    }
    name
}

/// Those that there are, by their names.
///
/// # Errors
/// When the folder of them cannot be read.
pub fn session_folders(state: &StateDir) -> Result<Vec<SessionFolder>, FileError> {
    let all = state.inner().folder(FOLDERS)?;
    let mut found = Vec::new();
    for name in all.list()? {
        let Some(stat) = all.stat(&name)? else { continue };
        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            let seconds = u64::try_from(stat.st_mtime).unwrap_or_default();
            let used_ms = seconds.saturating_mul(1000);
            found.push(SessionFolder { name, used_ms });
        }
    }
    Ok(found)
}

/// Removes the folder that the permit names, with all that is in it. Links in it are removed, not followed.
///
/// # Errors
/// When there is no such folder, or something in it cannot be removed; what was removed by then is gone.
pub fn remove_session_folder(state: &StateDir, permit: Recorded<FolderPermit>) -> Result<(), FileError> {
    let name = permit.into_permit().into_name();
    let all = state.inner().folder(FOLDERS)?;
    if !session_folders(state)?.iter().any(|folder| folder.name == name) {
        return Err(FileError::Missing { path: all.path().join(name) });
    }
    let top = open_folder(&all, OsStr::new(&name))?;
    empty(&top)?;
    rustix::fs::unlinkat(all.fd(), &name, AtFlags::REMOVEDIR)
        .map_err(|errno| FileError::of(errno, "remove", top.path()))?;
    all.sync()
}

/// Opens a folder that a command may have closed to its owner.
fn open_folder(above: &Folder, name: &OsStr) -> Result<Folder, FileError> {
    let path = above.path().join(name);
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let handle = rustix::fs::openat2(above.fd(), name, flags, Mode::empty(), BENEATH)
        .map_err(|errno| FileError::of(errno, "open", &path))?;
    // By the handle: what the name leads to may be another thing by now.
    let itself = format!("/proc/self/fd/{}", handle.as_raw_fd());
    rustix::fs::chmod(itself, Mode::RWXU).map_err(|errno| FileError::of(errno, "set the mode of", &path))?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let opened: OwnedFd = rustix::fs::openat(&handle, ".", flags, Mode::empty())
        .map_err(|errno| FileError::of(errno, "open", &path))?;
    Ok(Folder::new(opened, path))
}

/// Empties a folder. What is deep in it is brought to the top first: a command can nest folders deeper than a process can
/// have files open.
fn empty(top: &Folder) -> Result<(), FileError> {
    let mut brought = 0_u64;
    loop {
        let folders = remove_files(top)?;
        if folders.is_empty() {
            return Ok(());
        }
        for name in folders {
            let inner = open_folder(top, &name)?;
            for deep in remove_files(&inner)? {
                let to = free_name(top, &mut brought)?;
                rustix::fs::renameat(inner.fd(), &deep, top.fd(), &to)
                    .map_err(|errno| FileError::of(errno, "move", &inner.path().join(&deep)))?;
            }
            rustix::fs::unlinkat(top.fd(), &name, AtFlags::REMOVEDIR)
                .map_err(|errno| FileError::of(errno, "remove", inner.path()))?;
        }
    }
}

/// A name that nothing in the folder has.
fn free_name(folder: &Folder, used: &mut u64) -> Result<String, FileError> {
    loop {
        *used = used.saturating_add(1);
        let name = format!(".removing-{used}");
        if folder.stat(&name)?.is_none() {
            return Ok(name);
        }
    }
}

/// Removes all that is directly in a folder and is none, and returns the names of those that are.
fn remove_files(folder: &Folder) -> Result<Vec<OsString>, FileError> {
    use std::os::unix::ffi::OsStringExt as _;
    let path = folder.path();
    let failed = |act: &'static str, path: &Path, errno| FileError::of(errno, act, path);
    let mut folders = Vec::new();
    let entries = Dir::read_from(folder.fd().as_fd()).map_err(|errno| failed("list", path, errno))?;
    let entries: Result<Vec<_>, _> = entries.collect();
    for entry in entries.map_err(|errno| failed("list", path, errno))? {
        let name = OsString::from_vec(entry.file_name().to_bytes().to_vec());
        if name == "." || name == ".." {
            continue;
        }
        match rustix::fs::unlinkat(folder.fd(), &name, AtFlags::empty()) {
            Ok(()) => {}
            Err(rustix::io::Errno::ISDIR) => folders.push(name),
            Err(errno) => return Err(failed("remove", &path.join(&name), errno)),
        }
    }
    Ok(folders)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use moltbot_policy::{Book, Entering, Entry, Unrecorded, record};

    use super::*;

    struct Blank;

    impl Book for Blank {
        fn enter(&self, _: Entry) -> Result<u64, Unrecorded> {
            Ok(1)
        }

        fn enter_soon(&self, entries: Vec<Entry>) -> Entering {
            Box::pin(std::future::ready(self.enter_all(entries)))
        }
    }

    fn remove(state: &StateDir, name: &str) -> Result<(), FileError> {
        remove_session_folder(state, record(FolderPermit::for_owner(name, "owner"), &Blank).unwrap())
    }

    #[test]
    fn a_folder_of_a_session_is_readable_safe_and_its_own() {
        let name = session_folder_name("agent:main:telegram:dm:../../Ärger");
        assert_eq!(name, format!("agent-main-telegram-dm-..-..--rg-{}", name.rsplit('-').next().unwrap()));
        assert_eq!(name.len(), 32 + 1 + 8);
        for (one, other) in [("a/b", "a:b"), (&"x".repeat(60), &"x".repeat(61))] {
            assert_ne!(session_folder_name(one), session_folder_name(other), "{one} and {other}");
        }
        assert!(!session_folder_name("agent:main:..").starts_with('.'));
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "what a command may leave behind")]
    fn a_folder_goes_with_all_that_is_in_it_and_nothing_that_is_elsewhere() {
        let home = tempfile::tempdir().unwrap();
        let state = StateDir::open_or_create(&home.path().join("state")).unwrap();
        let outside = home.path().join("outside");
        std::fs::create_dir(&outside).unwrap();
        std::fs::write(outside.join("kept"), "x").unwrap();
        let workspace = session_folder(&state, "agent:main:irc:dm:x").unwrap();
        let other = session_folder(&state, "agent:main:irc:dm:y").unwrap();
        let path = workspace.path().to_owned();
        std::fs::write(path.join("file"), "x").unwrap();
        symlink(&outside, path.join("link")).unwrap();
        let deep = (0..40).fold(path.join("a"), |path, _| path.join("nested-folder"));
        std::fs::create_dir_all(&deep).unwrap();
        symlink(outside.join("kept"), deep.join("link")).unwrap();
        std::fs::create_dir(path.join("closed")).unwrap();
        std::fs::write(path.join("closed/file"), "x").unwrap();
        std::fs::set_permissions(path.join("closed"), PermissionsExt::from_mode(0o000)).unwrap();
        let found = session_folders(&state).unwrap();
        assert_eq!(found.len(), 2);
        assert!(found.iter().all(|folder| folder.used_ms > 1_700_000_000_000), "{found:?}");
        remove(&state, &session_folder_name("agent:main:irc:dm:x")).unwrap();
        assert!(!path.exists() && other.path().exists() && outside.join("kept").exists());
        for name in ["gone", "../outside", "", ".", "..", "a/b"] {
            assert!(remove(&state, name).is_err(), "{name:?}");
        }
        assert!(other.path().exists() && outside.join("kept").exists());
    }
}
