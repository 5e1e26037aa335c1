//! A full disk: when it is one, and the space that was set aside for it.
//!
//! A disk is full when it took nothing, or has too few free bytes left. Free bytes and not a share: five percent of a
//! large disk are years of records. What is set aside is a file that is given back to the disk; it then pays for the
//! alarm and for the local owner, and is made again when there is room.

use std::time::Instant;

use moltbot_config::limits;
use moltbot_vault::{DiskSpace, FileError};

use crate::disk::Disk;

/// The file that takes the space.
pub(crate) const RESERVE: &str = "reserve";

/// What is known about the disk.
#[derive(Debug)]
pub(crate) struct Space {
    /// How much is set aside at most, in bytes.
    wanted: u64,
    /// Why the disk counts as full.
    full: Option<Full>,
    /// Whether a warning that it fills was logged.
    warned: bool,
}

#[derive(Clone, Copy, Debug)]
enum Full {
    /// It has few bytes left.
    Low,
    /// It took nothing although it may say that it has room; asked again after a pause.
    Refused(Instant),
}

impl Space {
    pub(crate) const fn new(wanted: u64) -> Self {
        Self { wanted, full: None, warned: false }
    }

    /// Whether only what the reserve pays for may be written.
    pub(crate) const fn is_full(&self) -> bool {
        self.full.is_some()
    }

    /// Looks at the disk, sets space aside when there is room, and tells whether the disk has just become full.
    pub(crate) fn look<D: Disk>(&mut self, disk: &D) -> bool {
        let space = match disk.space() {
            Ok(space) => space,
            // A file system that does not say is believed when it takes what it is given.
            Err(error) => {
                tracing::debug!(%error, "the free space of the book's disk is not known");
                return false;
            }
        };
        if space.free < limits::LEDGER_LOW_BYTES && !self.warned {
            tracing::warn!(free = space.free, "the disk of the book fills; free some space");
        }
        self.warned = space.free < limits::LEDGER_LOW_BYTES;
        let is_low = space.free < least(space);
        match self.full {
            None if is_low => {
                self.full = Some(Full::Low);
                return true;
            }
            None => {}
            Some(Full::Refused(until)) if Instant::now() < until => {}
            Some(_) if is_low => {}
            Some(_) => self.full = None,
        }
        false
    }

    /// Notes that the disk took nothing, and gives it what was set aside. `false` when there was nothing.
    pub(crate) fn release<D: Disk>(&mut self, disk: &D) -> bool {
        self.full = Some(Full::Refused(Instant::now() + limits::LEDGER_FULL_PAUSE));
        match disk.remove(RESERVE) {
            Ok(()) => true,
            Err(FileError::Missing { .. }) => false,
            Err(error) => {
                tracing::error!(%error, "the space that the book set aside cannot be given back");
                false
            }
        }
    }

    /// Sets space aside, when there is room for it beside what others need.
    pub(crate) fn keep<D: Disk>(&self, disk: &D) -> Result<(), FileError> {
        let space = disk.space()?;
        let wanted = self.wanted.min(space.total / limits::LEDGER_RESERVE_PART);
        let there = disk.folder().open_file(RESERVE).and_then(|file| file.len()).unwrap_or(0);
        if self.is_full()
            || wanted == 0
            || there >= wanted
            || space.free < wanted.saturating_add(least(space))
        {
            return Ok(());
        }
        disk.set_aside(RESERVE, wanted)
    }
}

/// The free bytes below which a disk is full.
fn least(space: DiskSpace) -> u64 {
    limits::LEDGER_FULL_BYTES.min(space.total / limits::LEDGER_FULL_PART)
}
