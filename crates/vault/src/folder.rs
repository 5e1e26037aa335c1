//! A folder held open, and what is done beneath it. The floor that every public type of this crate stands on.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::buffer::spare_capacity;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, RenameFlags, ResolveFlags, Stat};
use rustix::io::{Errno, retry_on_intr};

use crate::error::FileError;
use crate::random::random;

/// Owner may read and write; nobody else may do anything.
pub(crate) const FILE: Mode = Mode::RUSR.union(Mode::WUSR);
/// Owner may enter, list and change; nobody else may do anything.
pub(crate) const FOLDER: Mode = Mode::RWXU;
/// How the kernel resolves every path: beneath the folder, through no link of any kind.
pub(crate) const BENEATH: ResolveFlags =
    ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS).union(ResolveFlags::NO_MAGICLINKS);
/// How a folder is opened.
pub(crate) const OPEN_FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OPEN);
/// How anything is opened: not inherited, never waiting for a pipe's other end, never becoming our terminal.
/// Links are the kernel's to refuse, by [`BENEATH`]: `NOFOLLOW` would hide that it was one.
pub(crate) const OPEN: OFlags = OFlags::CLOEXEC.union(OFlags::NONBLOCK).union(OFlags::NOCTTY);
/// How much of a file that is written as it comes is in memory.
const STREAM: usize = 256 * 1024;
/// The end of a temporary file's name. [`Folder::list`] leaves such files out.
const TEMPORARY: &str = ".tmp";

/// A folder held open, with the path that errors name.
#[derive(Debug)]
pub(crate) struct Folder {
    fd: OwnedFd,
    path: PathBuf,
}

impl Folder {
    pub(crate) const fn new(fd: OwnedFd, path: PathBuf) -> Self {
        Self { fd, path }
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Opens `name` beneath this folder; `Missing` when it is not there.
    pub(crate) fn open(&self, name: &str, flags: OFlags, mode: Mode) -> Result<OwnedFd, FileError> {
        check_name(name)?;
        self.open_part(OsStr::new(name), flags, mode)
    }

    /// Opens what is directly in this folder, whatever bytes its name has.
    pub(crate) fn open_part(&self, part: &OsStr, flags: OFlags, mode: Mode) -> Result<OwnedFd, FileError> {
        retry_on_intr(|| rustix::fs::openat2(&self.fd, part, flags | OPEN, mode, BENEATH))
            .map_err(|errno| FileError::of(errno, "open", &self.path.join(part)))
    }

    /// Opens the folder `name`, making it and those above it owner-only where they are missing.
    pub(crate) fn folder(&self, name: &str) -> Result<Self, FileError> {
        check_name(name)?;
        let mut folder: Option<Self> = None;
        for part in name.split('/') {
            folder = Some(folder.as_ref().unwrap_or(self).step(OsStr::new(part))?);
        }
        folder.ok_or_else(|| FileError::Name { name: name.to_owned() })
    }

    /// Opens or makes one folder directly beneath this one.
    pub(crate) fn step(&self, part: &OsStr) -> Result<Self, FileError> {
        let path = self.path.join(part);
        match self.open_part(part, OPEN_FOLDER, Mode::empty()) {
            Err(FileError::Missing { .. }) => {}
            opened => return Ok(Self::new(opened?, path)),
        }
        let error = |errno| FileError::of(errno, "create the folder", &path);
        match rustix::fs::mkdirat(&self.fd, part, FOLDER) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(error(errno)),
        }
        let fd = self.open_part(part, OPEN_FOLDER, Mode::empty())?;
        // The umask may have taken bits away.
        rustix::fs::fchmod(&fd, FOLDER).map_err(error)?;
        sync(&self.fd, &self.path)?;
        Ok(Self::new(fd, path))
    }

    /// The folder that holds `name`, opened, and the last part of `name`.
    fn parent<'a>(&self, name: &'a str) -> Result<(Option<Self>, &'a str), FileError> {
        check_name(name)?;
        match name.rsplit_once('/') {
            None => Ok((None, name)),
            Some((above, leaf)) => {
                let fd = self.open(above, OPEN_FOLDER, Mode::empty())?;
                Ok((Some(Self::new(fd, self.path.join(above))), leaf))
            }
        }
    }

    /// Like [`Self::parent`], making the folders that are missing.
    fn made_parent<'a>(&self, name: &'a str) -> Result<(Option<Self>, &'a str), FileError> {
        check_name(name)?;
        match name.rsplit_once('/') {
            None => Ok((None, name)),
            Some((above, leaf)) => Ok((Some(self.folder(above)?), leaf)),
        }
    }

    /// The bytes of the regular file `name`, or nothing when there is none.
    pub(crate) fn read(&self, name: &str, max: u64) -> Result<Option<Vec<u8>>, FileError> {
        let fd = match self.open(name, OFlags::RDONLY, Mode::empty()) {
            Err(FileError::Missing { .. }) => return Ok(None),
            opened => opened?,
        };
        let path = self.path.join(name);
        let (fd, stat) = require_file(fd, &path)?;
        read_all(&fd, &stat, max, &path).map(Some)
    }

    /// Replaces `name` as a whole with a file of `mode`, on disk when this returns.
    pub(crate) fn replace(&self, name: &str, bytes: &[u8], mode: Mode) -> Result<(), FileError> {
        let (parent, leaf) = self.made_parent(name)?;
        let parent = parent.as_ref().unwrap_or(self);
        let temporary = Temporary::write(parent, leaf, bytes, mode)?;
        rustix::fs::renameat(&parent.fd, &temporary.name, &parent.fd, leaf)
            .map_err(|errno| FileError::of(errno, "replace", &parent.path.join(leaf)))?;
        temporary.keep();
        sync(&parent.fd, &parent.path)
    }

    /// Makes `name` with these bytes, on disk when this returns; `false` when something is there already.
    pub(crate) fn create(&self, name: &str, bytes: &[u8]) -> Result<bool, FileError> {
        self.create_with(name, bytes, FILE)
    }

    /// Like [`Self::create`], with a mode of its own.
    pub(crate) fn create_with(&self, name: &str, bytes: &[u8], mode: Mode) -> Result<bool, FileError> {
        let (parent, leaf) = self.made_parent(name)?;
        let parent = parent.as_ref().unwrap_or(self);
        let made = parent.place(leaf, bytes, mode)?;
        if made {
            parent.sync()?;
        }
        Ok(made)
    }

    /// Makes those of `files` that are not there yet, directly in this folder. All are on disk when this
    /// returns, after one wait for their names.
    pub(crate) fn create_all(&self, files: &[(&str, &[u8])]) -> Result<(), FileError> {
        let mut any = false;
        for (name, bytes) in files {
            check_name(name)?;
            if name.contains('/') {
                return Err(FileError::Name { name: (*name).to_owned() });
            }
            any |= self.place(name, bytes, FILE)?;
        }
        if any { self.sync() } else { Ok(()) }
    }

    /// Like [`Self::create`], with the bytes that `fill` writes as they come. What `fill` fails with is handed back, and
    /// the file is then not there.
    pub(crate) fn create_from<T, E: From<FileError>>(
        &self,
        leaf: &str,
        fill: impl FnOnce(&mut dyn io::Write) -> Result<T, E>,
    ) -> Result<Option<T>, E> {
        check_name(leaf)?;
        if self.stat(leaf)?.is_some() {
            return Ok(None);
        }
        let path = self.path.join(leaf);
        let (temporary, fd) = Temporary::begin(self, leaf)?;
        let mut file = io::BufWriter::with_capacity(STREAM, File::from(fd));
        let filled = fill(&mut file)?;
        let io = |source: io::Error| FileError::Io { act: "write", path: path.clone(), source };
        let file = file.into_inner().map_err(|error| io(error.into_error()))?;
        sync(&file, &path)?;
        if !self.name(temporary, leaf)? {
            return Ok(None);
        }
        self.sync()?;
        Ok(Some(filled))
    }

    /// Makes the file `leaf`, whose name is not on disk before [`Self::sync`]; `false` when something is there.
    fn place(&self, leaf: &str, bytes: &[u8], mode: Mode) -> Result<bool, FileError> {
        if self.stat(leaf)?.is_some() {
            return Ok(false);
        }
        // Under its name only when complete and on disk: nobody ever reads half of it.
        self.name(Temporary::write(self, leaf, bytes, mode)?, leaf)
    }

    /// Gives a complete file its name; `false` when something has it. The file has one name at any time, so that nobody
    /// takes it for one that others can reach, also when this process is killed here. Only a file system that cannot do
    /// that gives it both names for a moment.
    fn name(&self, temporary: Temporary<'_>, leaf: &str) -> Result<bool, FileError> {
        let moved =
            rustix::fs::renameat_with(&self.fd, &temporary.name, &self.fd, leaf, RenameFlags::NOREPLACE);
        let named = match moved {
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
                rustix::fs::linkat(&self.fd, &temporary.name, &self.fd, leaf, AtFlags::empty())
            }
            Ok(()) => {
                temporary.keep();
                return Ok(true);
            }
            failed => failed,
        };
        match named {
            Ok(()) => Ok(true),
            Err(Errno::EXIST) => Ok(false),
            Err(errno) => Err(FileError::of(errno, "create", &self.path.join(leaf))),
        }
    }

    /// Waits until the names in this folder are on disk.
    pub(crate) fn sync(&self) -> Result<(), FileError> {
        sync(&self.fd, &self.path)
    }

    /// Opens `name` with `flags`, making it owner-only when it is missing. A new name is not on disk before the
    /// folder that it is in, which is returned when it is not this one, was synced.
    pub(crate) fn open_or_create(
        &self,
        name: &str,
        flags: OFlags,
    ) -> Result<(OwnedFd, Option<Self>), FileError> {
        let (above, leaf) = self.made_parent(name)?;
        let parent = above.as_ref().unwrap_or(self);
        let path = self.path.join(name);
        let existing = |fd| require_file(fd, &path).map(|(fd, _)| fd);
        let fd = match parent.open(leaf, flags, Mode::empty()) {
            Err(FileError::Missing { .. }) => {
                match parent.open(leaf, flags | OFlags::CREATE | OFlags::EXCL, FILE) {
                    Ok(fd) => {
                        rustix::fs::fchmod(&fd, FILE)
                            .map_err(|errno| FileError::of(errno, "set the mode of", &path))?;
                        fd
                    }
                    // Somebody else made it in between.
                    Err(FileError::Io { source, .. })
                        if source.kind() == std::io::ErrorKind::AlreadyExists =>
                    {
                        existing(parent.open(leaf, flags, Mode::empty())?)?
                    }
                    Err(error) => return Err(error),
                }
            }
            opened => existing(opened?)?,
        };
        Ok((fd, above))
    }

    /// What `name`, directly beneath this folder, is; a link is not followed.
    pub(crate) fn stat(&self, leaf: &str) -> Result<Option<Stat>, FileError> {
        match rustix::fs::statat(&self.fd, leaf, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(FileError::of(errno, "look at", &self.path.join(leaf))),
        }
    }

    /// What `name`, at any depth, is; nothing when a part of it is missing.
    pub(crate) fn look(&self, name: &str) -> Result<Option<Stat>, FileError> {
        match self.parent(name) {
            Ok((parent, leaf)) => parent.as_ref().unwrap_or(self).stat(leaf),
            Err(FileError::Missing { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The names in this folder, sorted, without temporary files.
    pub(crate) fn list(&self) -> Result<Vec<String>, FileError> {
        let error = |errno| FileError::of(errno, "list", &self.path);
        let mut names = Vec::new();
        for entry in rustix::fs::Dir::read_from(&self.fd).map_err(error)? {
            let entry = entry.map_err(error)?;
            let name = entry.file_name().to_string_lossy();
            if name != "." && name != ".." && !(name.starts_with('.') && name.ends_with(TEMPORARY)) {
                names.push(name.into_owned());
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    /// Gives `from` the name `to`, replacing what has it.
    pub(crate) fn rename(&self, from: &str, to: &str) -> Result<(), FileError> {
        let (old, old_leaf) = self.parent(from)?;
        let (new, new_leaf) = self.made_parent(to)?;
        let (old, new) = (old.as_ref().unwrap_or(self), new.as_ref().unwrap_or(self));
        rustix::fs::renameat(&old.fd, old_leaf, &new.fd, new_leaf)
            .map_err(|errno| FileError::of(errno, "rename", &self.path.join(from)))?;
        sync(&new.fd, &new.path)?;
        sync(&old.fd, &old.path)
    }

    /// Removes the file `name`.
    pub(crate) fn remove(&self, name: &str) -> Result<(), FileError> {
        let (parent, leaf) = self.parent(name)?;
        let parent = parent.as_ref().unwrap_or(self);
        rustix::fs::unlinkat(&parent.fd, leaf, AtFlags::empty())
            .map_err(|errno| FileError::of(errno, "remove", &self.path.join(name)))?;
        sync(&parent.fd, &parent.path)
    }
}

/// A complete file under a name drawn at random, removed unless it is kept.
struct Temporary<'a> {
    folder: &'a Folder,
    name: String,
}

impl<'a> Temporary<'a> {
    /// An empty one, owner-only.
    fn begin(folder: &'a Folder, leaf: &str) -> Result<(Self, OwnedFd), FileError> {
        let path = folder.path.join(leaf);
        let draw = random().map_err(|source| FileError::Random { path, source })?;
        let name = format!(".{:016x}{TEMPORARY}", u64::from_be_bytes(draw));
        let fd = folder.open(&name, OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL, FILE)?;
        Ok((Self { folder, name }, fd))
    }

    fn write(folder: &'a Folder, leaf: &str, bytes: &[u8], mode: Mode) -> Result<Self, FileError> {
        let path = folder.path.join(leaf);
        let (temporary, fd) = Self::begin(folder, leaf)?;
        write_all(&fd, bytes, &path)?;
        // The umask may have taken bits away; the file that is replaced may have had more.
        rustix::fs::fchmod(&fd, mode).map_err(|errno| FileError::of(errno, "set the mode of", &path))?;
        sync(&fd, &path)?;
        Ok(temporary)
    }

    fn keep(mut self) {
        self.name.clear();
    }
}

impl Drop for Temporary<'_> {
    fn drop(&mut self) {
        if self.name.is_empty() {
            return;
        }
        if let Err(errno) = rustix::fs::unlinkat(&self.folder.fd, &self.name, AtFlags::empty()) {
            // The write has failed or succeeded already; what stays is an owner-only leftover.
            tracing::warn!(folder = %self.folder.path.display(), name = %self.name, %errno, "a temporary file stays");
        }
    }
}

/// Whether a name is one that [`Temporary`] draws.
pub(crate) fn is_temporary(name: &OsStr) -> bool {
    let middle = name.as_bytes().strip_prefix(b".").and_then(|name| name.strip_suffix(TEMPORARY.as_bytes()));
    middle.is_some_and(|drawn| {
        drawn.len() == 16 && drawn.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    })
}

/// Refuses what is not a plain path beneath a folder: the kernel would refuse most of it, less clearly.
fn check_name(name: &str) -> Result<(), FileError> {
    let plain = |part: &str| !part.is_empty() && part != "." && part != ".." && !part.contains('\0');
    if name.split('/').all(plain) { Ok(()) } else { Err(FileError::Name { name: name.to_owned() }) }
}

/// `fd` and what it is, when that is a regular file.
pub(crate) fn require_file<Fd: AsFd>(fd: Fd, path: &Path) -> Result<(Fd, Stat), FileError> {
    let stat = rustix::fs::fstat(&fd).map_err(|errno| FileError::of(errno, "look at", path))?;
    require_regular(&stat, path)?;
    Ok((fd, stat))
}

/// Refuses everything but regular files, by name.
pub(crate) fn require_regular(stat: &Stat, path: &Path) -> Result<(), FileError> {
    let kind = match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => return Ok(()),
        FileType::Symlink => return Err(FileError::Symlink { path: path.to_owned() }),
        FileType::Directory => "a folder",
        FileType::Fifo => "a pipe",
        FileType::Socket => "a socket",
        FileType::CharacterDevice | FileType::BlockDevice => "a device",
        FileType::Unknown => "something unknown",
    };
    Err(FileError::NotFile { path: path.to_owned(), kind })
}

/// Reads a regular file to its end, and no more than `max` bytes even if it grows meanwhile.
pub(crate) fn read_all(fd: &OwnedFd, stat: &Stat, max: u64, path: &Path) -> Result<Vec<u8>, FileError> {
    let too_large = |size| FileError::TooLarge { path: path.to_owned(), size, max };
    let size = u64::try_from(stat.st_size).unwrap_or(0);
    if size > max {
        return Err(too_large(size));
    }
    // One byte more than it has, so that the end is seen without growing.
    let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or(0).saturating_add(1));
    loop {
        bytes.reserve(1);
        let read = retry_on_intr(|| rustix::io::read(fd, spare_capacity(&mut bytes)))
            .map_err(|errno| FileError::of(errno, "read", path))?;
        if read == 0 {
            return Ok(bytes);
        }
        let size = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        if size > max {
            return Err(too_large(size));
        }
    }
}

/// Writes all of `bytes`.
pub(crate) fn write_all(fd: &OwnedFd, mut bytes: &[u8], path: &Path) -> Result<(), FileError> {
    while !bytes.is_empty() {
        let written = retry_on_intr(|| rustix::io::write(fd, bytes))
            .map_err(|errno| FileError::of(errno, "write", path))?;
        // A disk that takes nothing and says nothing is treated as full: waiting for it could last for ever.
        let rest = bytes.get(written..).filter(|_| written > 0);
        bytes = rest.ok_or_else(|| FileError::of(Errno::NOSPC, "write", path))?;
    }
    Ok(())
}

/// Waits until a file or folder is on disk.
pub(crate) fn sync<Fd: AsFd>(fd: Fd, path: &Path) -> Result<(), FileError> {
    // Not retried: after a failed fsync the kernel may have forgotten what was not written.
    rustix::fs::fsync(fd).map_err(|errno| FileError::of(errno, "flush", path))
}
