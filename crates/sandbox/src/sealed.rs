//! Memory files that nobody can change any more.

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use rustix::fs::{MemfdFlags, Mode, SealFlags};
use sha2::{Digest as _, Sha256};

use crate::examine;

/// A copy of a file.
pub(crate) struct Copy {
    pub(crate) file: OwnedFd,
    /// The SHA-256 of what is in it.
    pub(crate) digest: [u8; 32],
    /// How many bytes there were.
    pub(crate) bytes: u64,
}

/// A memory file with these bytes.
pub(crate) fn of_bytes(name: &str, bytes: &[u8]) -> io::Result<OwnedFd> {
    let file = make(name)?;
    write_all(file.as_fd(), bytes)?;
    seal(&file)?;
    Ok(file)
}

/// A copy of a file that is read once: what is digested, and what `look` sees, is what is in the copy.
pub(crate) fn copy(file: &OwnedFd, name: &str, mode: Mode, mut look: impl FnMut(&[u8])) -> io::Result<Copy> {
    let copy = make(name)?;
    let mut digest = Sha256::new();
    let bytes = examine::copy(file, |bytes| {
        look(bytes);
        digest.update(bytes);
        write_all(copy.as_fd(), bytes)
    })?;
    rustix::fs::fchmod(&copy, mode)?;
    seal(&copy)?;
    Ok(Copy { file: copy, digest: digest.finalize().into(), bytes })
}

fn make(name: &str) -> io::Result<OwnedFd> {
    Ok(rustix::fs::memfd_create(name, MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?)
}

fn seal(file: &OwnedFd) -> io::Result<()> {
    let seals = SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE;
    Ok(rustix::fs::fcntl_add_seals(file, seals)?)
}

fn write_all(file: BorrowedFd<'_>, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        let written = rustix::io::retry_on_intr(|| rustix::io::write(file, bytes))?;
        bytes = bytes.get(written..).unwrap_or_default();
    }
    Ok(())
}
