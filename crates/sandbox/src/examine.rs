//! What a command finds around it, looked at for whoever has to say yes: its folder, its programs, its script files.
//!
//! Files are told by device, number and what they hold, so that another file of the same name, and the same file with other
//! bytes, are told apart.

use std::io::{self, Read as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use moltbot_policy::approval::{Facts, FileFact, Named, Overview, Place};
use moltbot_policy::container::Backend;
use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::helper::ENVIRONMENT;

/// The largest program or script file that is looked at, in bytes: twice the largest interpreter of today.
const FILE_BYTES: u64 = 256 * 1024 * 1024;
/// Where a command finds programs, in this order.
const FOLDERS: [&str; 6] = ["/usr/local/bin", "/usr/bin", "/bin", "/usr/local/sbin", "/usr/sbin", "/sbin"];
/// The workspace, as a command in the sandbox names it.
pub(crate) const WORKSPACE: &str = "/workspace";
/// What a command in the sandbox sees of the machine's programs.
const VISIBLE: [&str; 6] = ["/usr/", "/bin/", "/sbin/", "/lib/", "/lib64/", "/usr"];

/// Why it cannot be told what would run.
#[derive(Debug, Error)]
#[expect(missing_docs, reason = "each message names its fields")]
#[non_exhaustive]
pub enum ExamineError {
    /// The folder to start in.
    #[error(
        "the folder {directory:?} of the workspace cannot be opened, or a link leads to it; name a folder that is there"
    )]
    Directory { directory: String, source: io::Error },
    /// Too large to be told apart from another one.
    #[error("{path} has more than {} MiB, and cannot be approved", FILE_BYTES >> 20)]
    Large { path: String },
    /// It cannot be read.
    #[error("{path} cannot be read, so it cannot be told what would run")]
    Read { path: String, source: io::Error },
}

/// What was found, and the files themselves: as long as they are held no other file can get their numbers.
pub struct Examined {
    /// What was found.
    pub facts: Facts,
    #[expect(dead_code, reason = "held and not read")]
    held: Vec<OwnedFd>,
}

impl Examined {
    /// Nothing, for a judgement that does not depend on files.
    pub fn nothing() -> Self {
        Self { facts: Facts::default(), held: Vec::new() }
    }
}

/// Looks at what a command finds around it. `workspace` is opened by the vault, `directory` is relative to it, `home` is the
/// owner's. May block.
///
/// # Errors
/// When its folder is not there, or a file that it would run cannot be read.
pub fn examine(
    workspace: BorrowedFd<'_>,
    directory: &str,
    overview: &Overview,
    place: Place,
    backend: &Backend,
    home: &Path,
) -> Result<Examined, ExamineError> {
    let folder = open_directory(workspace, directory)?;
    let number = rustix::fs::fstat(&folder).map_err(|errno| unusable_directory(directory, errno))?;
    let has_root = place == Place::Sandbox && *backend != Backend::EmbeddedWeak;
    let mut look = Look { workspace, directory, place, has_root, held: vec![folder] };
    let programs = look.all(&overview.programs, Look::program)?;
    let operands = look.all(&overview.operands, Look::named)?;
    let environment = environment(place, home);
    let facts = Facts { directory: (number.st_dev, number.st_ino), environment, operands, programs };
    Ok(Examined { facts, held: look.held })
}

/// All of the environment that a command gets.
fn environment(place: Place, home: &Path) -> Vec<(String, String)> {
    let home = home.display().to_string();
    let given = ENVIRONMENT.iter().map(|(name, value)| match (place, *name) {
        (Place::Host, "HOME") => ("HOME".to_owned(), home.clone()),
        (Place::Host | Place::Sandbox, name) => (name.to_owned(), (*value).to_owned()),
    });
    given.collect()
}

/// Opens the folder that a command starts in, through no link.
pub(crate) fn open_directory(workspace: BorrowedFd<'_>, directory: &str) -> Result<OwnedFd, ExamineError> {
    let name = if directory.is_empty() { "." } else { directory };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    rustix::fs::openat2(workspace, name, flags, Mode::empty(), resolve)
        .map_err(|errno| unusable_directory(directory, errno))
}

fn unusable_directory(directory: &str, errno: Errno) -> ExamineError {
    ExamineError::Directory { directory: directory.into(), source: errno.into() }
}

struct Look<'a> {
    workspace: BorrowedFd<'a>,
    directory: &'a str,
    place: Place,
    /// Whether it has a root of its own, in which the workspace has another name.
    has_root: bool,
    held: Vec<OwnedFd>,
}

type Found = Result<Option<(String, OwnedFd)>, ExamineError>;

impl Look<'_> {
    /// What each of these words leads to.
    fn all(
        &mut self,
        names: &[String],
        find: impl Fn(&Self, &str) -> Found,
    ) -> Result<Vec<Named>, ExamineError> {
        let mut all = Vec::new();
        for name in names {
            let found = find(self, name)?;
            let file = match found {
                None => None,
                Some((path, file)) => {
                    let fact = fact(path, &file)?;
                    self.held.push(file);
                    fact
                }
            };
            all.push(Named { name: name.clone(), file });
        }
        Ok(all)
    }

    /// A program: by its name in the system's folders alone, or where its path leads.
    fn program(&self, name: &str) -> Found {
        if name.contains('/') {
            return self.named(name);
        }
        for folder in FOLDERS {
            if let Some(found) = open_system(&Path::new(folder).join(name))? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// A file, where its path leads from the folder that the command starts in.
    fn named(&self, name: &str) -> Found {
        if let Ok(inside) = Path::new(name).strip_prefix(WORKSPACE)
            && self.has_root
        {
            return self.in_workspace(inside);
        }
        if name.starts_with('/') {
            let is_visible = VISIBLE.iter().any(|folder| name.starts_with(folder));
            return if is_visible || !self.has_root { open_system(Path::new(name)) } else { Ok(None) };
        }
        self.in_workspace(&Path::new(self.directory).join(name))
    }

    /// No link leads out of the workspace; outside the walls none is followed at all.
    fn in_workspace(&self, path: &Path) -> Found {
        let links = match self.place {
            Place::Host => ResolveFlags::NO_SYMLINKS,
            Place::Sandbox => ResolveFlags::empty(),
        };
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS | links;
        let shown = Path::new(WORKSPACE).join(path).display().to_string();
        opened(rustix::fs::openat2(self.workspace, path, READ, Mode::empty(), resolve), shown)
    }
}

const READ: OFlags = OFlags::RDONLY.union(OFlags::CLOEXEC).union(OFlags::NONBLOCK).union(OFlags::NOCTTY);

/// Opens a file of the machine by where it really is.
fn open_system(path: &Path) -> Found {
    let Ok(real) = path.canonicalize() else { return Ok(None) };
    let resolve = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    opened(rustix::fs::openat2(CWD, &real, READ, Mode::empty(), resolve), shown(&real))
}

fn shown(path: &Path) -> String {
    PathBuf::from(path).display().to_string()
}

fn opened(file: Result<OwnedFd, Errno>, path: String) -> Found {
    match file {
        Ok(file) => Ok(Some((path, file))),
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::XDEV) => Ok(None),
        Err(errno) => Err(ExamineError::Read { path, source: errno.into() }),
    }
}

/// What a file is; nothing for what is no file.
fn fact(path: String, file: &OwnedFd) -> Result<Option<FileFact>, ExamineError> {
    let unread = |source: io::Error| ExamineError::Read { path: path.clone(), source };
    let stat = rustix::fs::fstat(file.as_fd()).map_err(|errno| unread(errno.into()))?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Ok(None);
    }
    let mut digest = Sha256::new();
    let read = copy(file, |bytes| {
        digest.update(bytes);
        Ok(())
    });
    if read.map_err(unread)? > FILE_BYTES {
        return Err(ExamineError::Large { path });
    }
    Ok(Some(FileFact { path, device: stat.st_dev, inode: stat.st_ino, digest: digest.finalize().into() }))
}

/// Reads a file to its end, or a little beyond [`FILE_BYTES`], and tells how much there was.
pub(crate) fn copy(file: &OwnedFd, mut take: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<u64> {
    let mut file = std::fs::File::from(file.try_clone()?);
    let mut buffer = vec![0; 64 * 1024];
    let mut total = 0_u64;
    while total <= FILE_BYTES {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            break;
        }
        take(buffer.get(..read).unwrap_or_default())?;
        total = total.saturating_add(u64::try_from(read).unwrap_or(u64::MAX));
    }
    Ok(total)
}
