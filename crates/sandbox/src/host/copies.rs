//! The files of a command, as they were approved: copied into memory, digested there, and closed to every change.
//!
//! A digest of a file that is run afterwards by its name or by a handle says nothing: whoever may write it changes it in
//! between, in the same file. Of a sealed copy neither is possible.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;

use moltbot_policy::approval::{FileFact, HostPermit, Named};
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};

use super::HostError;
use crate::examine::{self, WORKSPACE};
use crate::sealed;

/// The first bytes of a script, as far as the kernel reads them.
const HEAD: usize = 256;
/// Folders whose programs only the administrator changes.
const SYSTEM: [&str; 4] = ["/usr/bin/", "/bin/", "/usr/local/bin/", "/usr/sbin/"];

/// Everything that a command needs, each as it was approved.
pub(super) struct Copies {
    /// The folder that it starts in.
    pub(super) directory: OwnedFd,
    /// Its program.
    pub(super) program: OwnedFd,
    /// Whether the program is a script, which its interpreter opens by the copy's name.
    pub(super) is_script: bool,
    /// The script file that an interpreter is given, and which of the words it is.
    pub(super) operand: Option<(usize, OwnedFd)>,
}

/// Copies what a permit names, and demands that it is what was approved. May block.
pub(super) fn take(permit: &HostPermit, workspace: BorrowedFd<'_>) -> Result<Copies, HostError> {
    let facts = permit.facts();
    let directory = examine::open_directory(workspace, permit.directory()).map_err(HostError::Examine)?;
    let stat = rustix::fs::fstat(&directory).map_err(io::Error::from)?;
    if (stat.st_dev, stat.st_ino) != facts.directory {
        return Err(HostError::Drift { what: "its folder".into() });
    }
    let [Named { file: Some(program), .. }] = facts.programs.as_slice() else {
        return Err(HostError::Drift { what: "its program".into() });
    };
    let (copy, head) = copied(program, workspace)?;
    let is_script = head.starts_with(b"#!");
    if is_script {
        require_system_interpreter(program, &head)?;
    }
    let operand = facts.operands.first().and_then(|named| Some((named, named.file.as_ref()?)));
    let operand = match operand {
        None => None,
        Some((named, file)) => {
            let place = permit.words().iter().skip(1).position(|word| *word == named.name);
            let place = place.ok_or_else(|| HostError::Drift { what: file.path.clone() })?;
            Some((place.saturating_add(1), copied(file, workspace)?.0))
        }
    };
    Ok(Copies { directory, program: copy, is_script, operand })
}

/// A sealed copy of a file that is what was approved, and its first bytes.
fn copied(approved: &FileFact, workspace: BorrowedFd<'_>) -> Result<(OwnedFd, Vec<u8>), HostError> {
    let drift = || HostError::Drift { what: approved.path.clone() };
    let file = open(Path::new(&approved.path), workspace).map_err(|_| drift())?;
    let stat = rustix::fs::fstat(&file).map_err(io::Error::from)?;
    if (stat.st_dev, stat.st_ino) != (approved.device, approved.inode) {
        return Err(drift());
    }
    let mut head = Vec::new();
    let copy = sealed::copy(&file, "moltbot-approved", Mode::RUSR | Mode::XUSR, |bytes| {
        let room = HEAD.saturating_sub(head.len());
        head.extend(bytes.iter().take(room));
    })?;
    if copy.digest == approved.digest { Ok((copy.file, head)) } else { Err(drift()) }
}

/// Opens a file by where it really is, through no link.
fn open(path: &Path, workspace: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let resolve = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let opened = match path.strip_prefix(WORKSPACE) {
        Ok(inside) => {
            rustix::fs::openat2(workspace, inside, flags, Mode::empty(), resolve | ResolveFlags::BENEATH)
        }
        Err(_) => rustix::fs::openat2(CWD, path, flags, Mode::empty(), resolve),
    };
    Ok(opened?)
}

/// The interpreter of a script is not copied: it must be one that only the administrator changes.
fn require_system_interpreter(program: &FileFact, head: &[u8]) -> Result<(), HostError> {
    let line = head.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let line = String::from_utf8_lossy(line.get(2..).unwrap_or_default()).trim().to_owned();
    let interpreter = line.split([' ', '\t']).next().unwrap_or_default();
    let is_of_the_system = SYSTEM.iter().any(|folder| {
        interpreter.strip_prefix(folder).is_some_and(|name| !name.is_empty() && !name.contains('/'))
    });
    if is_of_the_system {
        return Ok(());
    }
    Err(HostError::Interpreter { path: program.path.clone(), interpreter: interpreter.to_owned() })
}
