//! How far a command fills the disk of its workspace.
//!
//! What counts is what the disk has left, because that alone sees everything: files that were deleted and are open, files
//! within files, and whichever process wrote. It cannot tell who wrote: of commands that run at once, and of other programs
//! of the machine, each has the other's growth counted against it.

use std::os::fd::OwnedFd;

use moltbot_config::limits;
use rustix::fs::{Mode, OFlags};

/// A growth that is nobody's fault: journals, and what other programs write.
const NOISE: u64 = 16 * 1024 * 1024;

/// Watches the disk of the workspace.
pub(super) struct Disk {
    folder: OwnedFd,
    at_first: u64,
    most: u64,
}

impl Disk {
    /// From now on. Called within the private root.
    pub(super) fn watch(most: u64) -> rustix::io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Self::watch_of(rustix::fs::open("/workspace", flags, Mode::empty())?, most)
    }

    /// The disk of a folder, from now on.
    pub(super) fn watch_of(folder: OwnedFd, most: u64) -> rustix::io::Result<Self> {
        Ok(Self { at_first: left(&folder)?, folder, most })
    }

    /// Whether the command has to end. A disk that no longer says what it has is taken for a full one.
    pub(super) fn is_filled(&self) -> bool {
        left(&self.folder).map_or(true, |left| is_too_much(self.at_first, left, self.most))
    }
}

fn is_too_much(at_first: u64, left: u64, most: u64) -> bool {
    let grown = at_first.saturating_sub(left);
    grown > most || (left < limits::DISK_KEPT && grown > NOISE)
}

/// Bytes that an ordinary user can still write to a folder's disk.
fn left(folder: &OwnedFd) -> rustix::io::Result<u64> {
    let disk = rustix::fs::fstatvfs(folder)?;
    Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_beyond_the_limit_or_into_what_is_kept_is_too_much() {
        const GIB: u64 = 1 << 30;
        for (at_first, left, too_much) in [
            (100 * GIB, 97 * GIB, false),
            (100 * GIB, 95 * GIB, true),
            (GIB, GIB - NOISE, false),
            (GIB, limits::DISK_KEPT - 1, true),
            // Full before: who writes nothing may go on.
            (limits::DISK_KEPT / 2, limits::DISK_KEPT / 2, false),
            (limits::DISK_KEPT / 2, limits::DISK_KEPT / 2 - NOISE - 1, true),
            (GIB, 2 * GIB, false),
        ] {
            assert_eq!(is_too_much(at_first, left, 4 * GIB), too_much, "{at_first} {left}");
        }
    }
}
