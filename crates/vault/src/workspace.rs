//! The agent's folder, reached by handle alone: no path of the agent's choice leads out of it.

use std::os::fd::BorrowedFd;
use std::path::Path;
use std::sync::Arc;

use moltbot_policy::Recorded;
use moltbot_policy::file::{FileAct, FilePermit};
use rustix::fs::Mode;

use crate::error::{FileError, OpenError};
use crate::folder::{FILE, Folder, require_regular};
use crate::root::{open_root, require_owned};

/// Folders of the system: neither they nor anything in them is a workspace.
const SYSTEM: [&str; 11] =
    ["/bin", "/boot", "/dev", "/etc", "/lib", "/lib64", "/proc", "/run/secrets", "/sbin", "/sys", "/usr"];
/// Folders that hold other people's: they are no workspace, but something in them may be.
const SHARED: [&str; 10] = ["/", "/home", "/media", "/mnt", "/opt", "/root", "/run", "/srv", "/tmp", "/var"];
/// The rights that a replaced file keeps. Set-user-id, set-group-id and sticky are not among them.
const KEPT: u32 = 0o777;

/// The agent's folder, held open. Clones share the handle.
#[derive(Clone, Debug)]
pub struct Workspace {
    folder: Arc<Folder>,
}

impl Workspace {
    /// Opens the folder at an absolute `path`, or makes it. `forbidden` are the home, the state folder and
    /// whatever else an agent must not have as a whole: they and everything above them are refused, something
    /// inside them is not.
    ///
    /// # Errors
    /// When it is forbidden, a folder of the system, a symbolic link, somebody else's, open to everybody, or
    /// cannot be made.
    pub fn open_or_create(path: &Path, forbidden: &[&Path]) -> Result<Self, OpenError> {
        // By its text first, so that nothing is made where nothing may be.
        refuse_system(path)?;
        refuse_forbidden(path, forbidden)?;
        let folder = open_root(path)?;
        // Then by where it really is: a link or a mount may have led elsewhere.
        refuse_system(folder.path())?;
        refuse_forbidden(folder.path(), forbidden)?;
        let stat = require_owned(folder.fd(), folder.path())?;
        refuse_same(&folder, (stat.st_dev, stat.st_ino), forbidden)?;
        let mode = stat.st_mode & 0o7777;
        if mode & Mode::WOTH.as_raw_mode() != 0 {
            return Err(OpenError::Exposed { path: folder.path().to_owned(), mode });
        }
        Ok(Self { folder: Arc::new(folder) })
    }

    /// Where it is, without links.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Its handle.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.folder.fd()
    }

    /// The bytes of the file that the permit names, at most `max`.
    ///
    /// # Errors
    /// When the permit is not for reading; when there is no such file; when it is a link or leads through one,
    /// is not a regular file, is larger than `max`, or cannot be read. It never waits for a pipe.
    pub fn read(&self, permit: Recorded<FilePermit>, max: u64) -> Result<Vec<u8>, FileError> {
        let permit = permit.into_permit();
        let path = permit.path();
        require_act(&permit, FileAct::Read, "read")?;
        self.folder.read(path, max)?.ok_or_else(|| FileError::Missing { path: path.into() })
    }

    /// Makes the file that the permit names hold `bytes`, and the folders that it is in where they are missing.
    /// A file that is replaced keeps its rights, never set-user-id; a new one is owner-only.
    ///
    /// # Errors
    /// When the permit is not for writing; when something else than a file is there; when it leads through a
    /// link, or cannot be written. What was there then stays.
    pub fn write(&self, permit: Recorded<FilePermit>, bytes: &[u8]) -> Result<(), FileError> {
        let permit = permit.into_permit();
        let path = permit.path();
        require_act(&permit, FileAct::Write, "write")?;
        let mode = match self.folder.look(path)? {
            None => FILE,
            Some(stat) => {
                require_regular(&stat, Path::new(path))?;
                Mode::from_raw_mode(stat.st_mode & KEPT)
            }
        };
        self.folder.replace(path, bytes, mode)
    }

    /// Removes the file that the permit names.
    ///
    /// # Errors
    /// When the permit is not for removing; when there is no such file, something else is there, it leads through a link,
    /// or cannot be removed.
    pub fn remove(&self, permit: Recorded<FilePermit>) -> Result<(), FileError> {
        let permit = permit.into_permit();
        let path = permit.path();
        require_act(&permit, FileAct::Remove, "remove")?;
        let stat = self.folder.look(path)?.ok_or_else(|| FileError::Missing { path: path.into() })?;
        require_regular(&stat, Path::new(path))?;
        self.folder.remove(path)
    }

    /// Makes those of the files that are not there: name and bytes, directly in the folder. For the files that a
    /// workspace starts with. All are on disk when this returns.
    ///
    /// # Errors
    /// When one cannot be written; those before it may be there.
    pub fn seed(&self, files: &[(&str, &[u8])]) -> Result<(), FileError> {
        self.folder.create_all(files)
    }

    /// The text of a file that goes into the system prompt, at most `max` bytes; nothing when there is none.
    /// Bytes that are not UTF-8 become U+FFFD: one of them should not silence an agent.
    ///
    /// # Errors
    /// When it is a link or not a file, is larger than `max`, or cannot be read.
    pub fn read_text(&self, name: &str, max: u64) -> Result<Option<String>, FileError> {
        let bytes = self.folder.read(name, max)?;
        Ok(bytes.map(|bytes| match String::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
        }))
    }
}

fn require_act(permit: &FilePermit, needed: FileAct, act: &'static str) -> Result<(), FileError> {
    if permit.act() == needed { Ok(()) } else { Err(FileError::Act { act, path: permit.path().into() }) }
}

/// Refuses a folder of the system, or one that holds other people's.
pub(crate) fn refuse_system(path: &Path) -> Result<(), OpenError> {
    let system = SYSTEM.iter().map(Path::new).find(|system| path.starts_with(system));
    match system.or_else(|| SHARED.iter().map(Path::new).find(|shared| path == *shared)) {
        None => Ok(()),
        Some(guarded) => Err(OpenError::Forbidden { path: path.to_owned(), guarded: guarded.to_owned() }),
    }
}

fn refuse_forbidden(path: &Path, forbidden: &[&Path]) -> Result<(), OpenError> {
    match forbidden.iter().find(|guarded| guarded.starts_with(path)) {
        None => Ok(()),
        Some(guarded) => Err(OpenError::Forbidden { path: path.to_owned(), guarded: (*guarded).to_owned() }),
    }
}

/// Refuses a workspace that is, by device and inode, a guarded folder or one above it, whatever its path says.
fn refuse_same(folder: &Folder, identity: (u64, u64), forbidden: &[&Path]) -> Result<(), OpenError> {
    for guarded in forbidden {
        let Ok(real) = guarded.canonicalize() else {
            continue; // Not there, so it is nothing that could be reached.
        };
        let same = real
            .ancestors()
            .any(|above| rustix::fs::stat(above).is_ok_and(|stat| (stat.st_dev, stat.st_ino) == identity));
        if same {
            let (path, guarded) = (folder.path().to_owned(), (*guarded).to_owned());
            return Err(OpenError::Forbidden { path, guarded });
        }
    }
    Ok(())
}
