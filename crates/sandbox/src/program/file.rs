//! The file of a program: that nobody else can change it, or have its name lead to another one.
//!
//! The path is walked part by part, links included, and every folder on the way must be root's or the owner's and closed
//! to the writing of others. The file is then opened once, looked at through that handle, and the handle is what is run.

use std::ffi::{OsStr, OsString};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Component, Path, PathBuf};

use moltbot_policy::secret::program::SecretProgramPermit;
use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, Stat};

use super::AskError;

/// Links on one way: as many as the kernel follows.
const LINKS: u32 = 40;
/// What others may not have: the writing of the group and of everybody.
const WRITING: u32 = 0o022;
const STICKY: u32 = 0o1000;

/// Opens the program of a permit.
pub(super) fn open(permit: &SecretProgramPermit) -> Result<OwnedFd, AskError> {
    let program = permit.program().to_owned();
    let mut way = Way { program: program.clone(), follows_links: permit.follows_links(), links: 0 };
    let real = way.walk(Path::new(permit.program()))?;
    let is_in = |folder: &String| {
        let folder = Path::new(folder).canonicalize();
        folder.is_ok_and(|folder| real.starts_with(folder))
    };
    if !permit.trusted_folders().is_empty() && !permit.trusted_folders().iter().any(is_in) {
        return Err(AskError::Untrusted { program, real });
    }
    open_real(&program, &real, OFlags::PATH)
}

/// Opens a program of this installation for reading, when nobody else can change it or what leads to it.
pub(crate) fn open_own(path: &Path) -> Result<OwnedFd, AskError> {
    let program = path.display().to_string();
    let mut way = Way { program: program.clone(), follows_links: true, links: 0 };
    let real = way.walk(path)?;
    open_real(&program, &real, OFlags::RDONLY)
}

/// Opens what was found at the end of the way, and looks at it through the handle.
fn open_real(program: &str, real: &Path, how: OFlags) -> Result<OwnedFd, AskError> {
    let start = |errno: rustix::io::Errno| AskError::Start { program: program.into(), source: errno.into() };
    let flags = how | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let file = rustix::fs::openat2(CWD, real, flags, Mode::empty(), resolve).map_err(start)?;
    let stat = rustix::fs::fstat(&file).map_err(start)?;
    match unfit(&stat) {
        None => Ok(file),
        Some(what) => Err(AskError::Program { program: program.into(), what }),
    }
}

/// What is wrong with the file of a program.
fn unfit(stat: &Stat) -> Option<String> {
    let mode = stat.st_mode & 0o7777;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Some("it is not a file".into());
    }
    if !is_ours(stat) {
        return Some(format!("it belongs to user {}, who is neither root nor the owner", stat.st_uid));
    }
    if mode & WRITING != 0 {
        return Some(format!("others may write it (mode {mode:04o})"));
    }
    (mode & 0o111 == 0).then(|| format!("it is not executable (mode {mode:04o})"))
}

fn is_ours(stat: &Stat) -> bool {
    stat.st_uid == 0 || stat.st_uid == rustix::process::geteuid().as_raw()
}

struct Way {
    program: String,
    follows_links: bool,
    links: u32,
}

impl Way {
    /// Where a path leads, when nobody else can change that.
    fn walk(&mut self, path: &Path) -> Result<PathBuf, AskError> {
        let mut real = PathBuf::from("/");
        // What is still ahead, the next part last.
        let mut ahead: Vec<OsString> = parts_of(path);
        while let Some(part) = ahead.pop() {
            if part == ".." {
                real.pop();
                continue;
            }
            let here = real.join(&part);
            let stat = self.look(&here)?;
            self.require_closed(&real, &stat)?;
            match FileType::from_raw_mode(stat.st_mode) {
                FileType::Symlink => {
                    let target = self.follow(&here)?;
                    if target.is_absolute() {
                        real = PathBuf::from("/");
                    }
                    ahead.extend(parts_of(&target));
                }
                _ => real = here,
            }
        }
        Ok(real)
    }

    fn look(&self, path: &Path) -> Result<Stat, AskError> {
        rustix::fs::lstat(path).map_err(|errno| {
            let what = format!("{} cannot be looked at: {}", path.display(), std::io::Error::from(errno));
            AskError::Program { program: self.program.clone(), what }
        })
    }

    /// Requires that nobody else can put something in the place of an entry of `folder`. Where everybody may write, as in
    /// `/tmp`, the sticky bit must keep others from taking away what is ours.
    fn require_closed(&self, folder: &Path, entry: &Stat) -> Result<(), AskError> {
        let stat = self.look(folder)?;
        let mode = stat.st_mode & 0o7777;
        let what = if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
            "is not a folder".to_owned()
        } else if !is_ours(&stat) {
            format!("belongs to user {}, who is neither root nor the owner", stat.st_uid)
        } else if mode & WRITING != 0 && !(mode & STICKY != 0 && is_ours(entry)) {
            format!("may be written by others (mode {mode:04o})")
        } else {
            return Ok(());
        };
        Err(AskError::Folder { program: self.program.clone(), path: folder.to_owned(), what })
    }

    fn follow(&mut self, link: &Path) -> Result<PathBuf, AskError> {
        self.links = self.links.saturating_add(1);
        if !self.follows_links || self.links > LINKS {
            return Err(AskError::Link { program: self.program.clone(), path: link.to_owned() });
        }
        let target = rustix::fs::readlink(link, Vec::new())
            .map_err(|errno| AskError::Start { program: self.program.clone(), source: errno.into() })?;
        Ok(PathBuf::from(OsString::from_vec(target.into_bytes())))
    }
}

/// The parts of a path, the first one last.
fn parts_of(path: &Path) -> Vec<OsString> {
    let part = |part: Component<'_>| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some(OsStr::new("..").to_owned()),
        Component::CurDir | Component::Prefix(_) | Component::RootDir => None,
    };
    path.components().rev().filter_map(part).collect()
}
