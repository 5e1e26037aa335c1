//! The seam to the disk, so that tests can make it fail where it really does.

use moltbot_vault::{AppendFile, FileError, StateDir};

/// Where segments are.
pub(crate) trait Disk: Send + 'static {
    /// An opened segment.
    type Segment: Segment;

    /// Opens the segment `name` through a new handle, making it when it is missing.
    fn open(&self, name: &str) -> Result<Self::Segment, FileError>;
}

/// A segment that grows at its end.
pub(crate) trait Segment: Send {
    fn write_all(&mut self, bytes: &[u8]) -> Result<(), FileError>;
    fn sync_data(&self) -> Result<(), FileError>;
    fn length(&self) -> Result<u64, FileError>;
    fn truncate(&self, length: u64) -> Result<(), FileError>;
}

impl Disk for StateDir {
    type Segment = AppendFile;

    fn open(&self, name: &str) -> Result<AppendFile, FileError> {
        self.append(name)
    }
}

impl Segment for AppendFile {
    fn write_all(&mut self, bytes: &[u8]) -> Result<(), FileError> {
        Self::write_all(self, bytes)
    }

    fn sync_data(&self) -> Result<(), FileError> {
        Self::sync_data(self)
    }

    fn length(&self) -> Result<u64, FileError> {
        Self::len(self)
    }

    fn truncate(&self, length: u64) -> Result<(), FileError> {
        Self::truncate(self, length)
    }
}
