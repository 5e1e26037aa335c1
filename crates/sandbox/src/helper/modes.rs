//! Modes of files where there are no namespaces: Landlock has no rules for them, so that the command may not change any. The
//! keeper changes those of the command's own folders on its behalf.

use std::ffi::OsString;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use crate::sys::Question;

/// The longest path, in bytes, as the kernel has it.
const PATH_BYTES: usize = 4096;
/// What may be set: no set-user-id, no set-group-id.
const PLAIN: u64 = 0o1777;

/// The folders in which modes may be changed.
pub(super) struct Modes(Vec<(PathBuf, OwnedFd)>);

impl Modes {
    /// The folders by their own paths.
    pub(super) fn of(folders: Vec<OwnedFd>) -> rustix::io::Result<Self> {
        let named = folders.into_iter().map(|folder| {
            let path = link(&format!("/proc/self/fd/{}", folder.as_raw_fd()))?;
            Ok((path, folder))
        });
        named.collect::<rustix::io::Result<_>>().map(Self)
    }

    /// Does what a call asks for. Whoever made it waits for the answer; what it passed is read once.
    pub(super) fn change(&self, question: &Question) -> rustix::io::Result<()> {
        let (directory, path, mode) = asked(question)?;
        if mode & !PLAIN != 0 {
            return Err(Errno::PERM);
        }
        let path = text_of(question.process, path)?;
        let full = match directory {
            _ if path.is_absolute() => path,
            None => link(&format!("/proc/{}/cwd", question.process))?.join(path),
            Some(number) => link(&format!("/proc/{}/fd/{number}", question.process))?.join(path),
        };
        let found = self.0.iter().find_map(|(name, folder)| Some((folder, full.strip_prefix(name).ok()?)));
        // Told by the name alone, before anything is walked: what is outside could hold the keeper up.
        let (folder, rest) = found.ok_or(Errno::PERM)?;
        let rest = if rest.as_os_str().is_empty() { Path::new(".") } else { rest };
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_XDEV;
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let outside = |errno| if errno == Errno::XDEV { Errno::PERM } else { errno };
        let file = rustix::fs::openat2(folder, rest, flags, Mode::empty(), resolve).map_err(outside)?;
        let mode = Mode::from_raw_mode(u32::try_from(mode).map_err(|_| Errno::PERM)?);
        rustix::fs::chmod(format!("/proc/self/fd/{}", file.as_raw_fd()), mode)
    }
}

/// The folder that a path is relative to (nothing for the working one), where the path is, and the mode.
fn asked(question: &Question) -> rustix::io::Result<(Option<i32>, u64, u64)> {
    let [first, second, third, fourth, ..] = question.arguments;
    let relative = |number: u64| {
        // The kernel looks at 32 bits.
        let number = (number & u64::from(u32::MAX)).try_into().map(u32::cast_signed);
        number.map(|number| (number != libc::AT_FDCWD).then_some(number)).map_err(|_| Errno::PERM)
    };
    match question.call {
        #[cfg(target_arch = "x86_64")]
        libc::SYS_chmod => Ok((None, first, second)),
        libc::SYS_fchmodat => Ok((relative(first)?, second, third)),
        // Of a link itself, or of a descriptor: nobody needs that.
        _ if fourth != 0 => Err(Errno::PERM),
        _ => Ok((relative(first)?, second, third)),
    }
}

/// What a process has at an address, up to the first zero.
fn text_of(process: u32, address: u64) -> rustix::io::Result<PathBuf> {
    let memory =
        rustix::fs::open(format!("/proc/{process}/mem"), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let mut text = Vec::new();
    let mut bytes = [0; 256];
    while text.len() < PATH_BYTES {
        let from = address.checked_add(u64::try_from(text.len()).unwrap_or(u64::MAX)).ok_or(Errno::FAULT)?;
        let length = rustix::io::pread(&memory, &mut bytes, from).map_err(|_| Errno::FAULT)?;
        let read = bytes.get(..length).filter(|read| !read.is_empty()).ok_or(Errno::FAULT)?;
        if let Some(end) = read.iter().position(|byte| *byte == 0) {
            text.extend(read.get(..end).unwrap_or_default());
            return Ok(PathBuf::from(OsString::from_vec(text)));
        }
        text.extend(read);
    }
    Err(Errno::NAMETOOLONG)
}

fn link(path: &str) -> rustix::io::Result<PathBuf> {
    let target = rustix::fs::readlinkat(CWD, path, Vec::new())?;
    Ok(PathBuf::from(OsString::from_vec(target.into_bytes())))
}
