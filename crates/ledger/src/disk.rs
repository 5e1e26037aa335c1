//! The seam to the disk, so that tests can make it fail where it really does.

use moltbot_vault::{AppendFile, DiskSpace, FileError, StateDir};

/// Where segments are.
pub(crate) trait Disk: Send + 'static {
    /// An opened segment.
    type Segment: Segment;

    /// Opens the segment `name` through a new handle, making it when it is missing.
    fn open(&self, name: &str) -> Result<Self::Segment, FileError>;

    /// Makes the file `name` hold `bytes`, as a whole, on disk.
    fn replace(&self, name: &str, bytes: &[u8]) -> Result<(), FileError>;

    /// Removes the file `name`.
    fn remove(&self, name: &str) -> Result<(), FileError>;

    /// Makes the file `name` take so many bytes.
    fn set_aside(&self, name: &str, bytes: u64) -> Result<(), FileError>;

    /// How much room there is.
    fn space(&self) -> Result<DiskSpace, FileError>;

    /// The folder, to read in.
    fn folder(&self) -> &StateDir;
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

    fn replace(&self, name: &str, bytes: &[u8]) -> Result<(), FileError> {
        self.write(name, bytes)
    }

    fn remove(&self, name: &str) -> Result<(), FileError> {
        Self::remove(self, name)
    }

    fn set_aside(&self, name: &str, bytes: u64) -> Result<(), FileError> {
        Self::set_aside(self, name, bytes).map(drop)
    }

    fn space(&self) -> Result<DiskSpace, FileError> {
        Self::space(self)
    }

    fn folder(&self) -> &StateDir {
        self
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

#[cfg(test)]
pub(crate) use tests::{Fault, FaultyDisk};

#[cfg(test)]
mod tests {
    use std::io;
    use std::path::PathBuf;
    use std::sync::{Arc, Condvar, Mutex};

    use super::*;

    /// What goes wrong next.
    #[derive(Clone, Copy, Debug, Default, PartialEq)]
    pub(crate) enum Fault {
        /// Nothing works, opening neither.
        Dead,
        /// The disk does not answer until another fault is set.
        Hang,
        /// Nothing.
        #[default]
        None,
        /// Files cannot be replaced.
        Rename,
        /// There is no space for anything.
        Full,
        /// A part is written, then there is no space.
        Short,
        /// All is written, but it cannot be flushed: once, as the kernel reports it.
        Sync,
    }

    /// A real folder that fails as it is told. A handle that failed must never be used again.
    #[derive(Clone, Debug)]
    pub(crate) struct FaultyDisk {
        folder: StateDir,
        fault: Arc<(Mutex<(Fault, bool)>, Condvar)>,
    }

    #[derive(Debug)]
    pub(crate) struct FaultySegment {
        file: AppendFile,
        disk: FaultyDisk,
        failed: Mutex<bool>,
    }

    impl FaultyDisk {
        pub(crate) fn new(folder: StateDir) -> Self {
            Self { folder, fault: Arc::default() }
        }

        pub(crate) fn set(&self, fault: Fault) {
            *self.fault.0.lock().unwrap() = (fault, false);
            self.fault.1.notify_all();
        }

        /// Waits until somebody waits for the disk.
        pub(crate) fn await_hang(&self) {
            let state = self.fault.0.lock().unwrap();
            drop(self.fault.1.wait_while(state, |(_, hangs)| !*hangs).unwrap());
        }
    }

    impl FaultySegment {
        /// The fault that is set, once it is not to hang.
        fn fault(&self) -> Fault {
            assert!(!*self.failed.lock().unwrap(), "a handle that failed is used again");
            let (state, changed) = &*self.disk.fault;
            let mut state = state.lock().unwrap();
            state.1 = state.0 == Fault::Hang;
            changed.notify_all();
            changed.wait_while(state, |(fault, _)| *fault == Fault::Hang).unwrap().0
        }

        fn fail(&self, kind: io::ErrorKind) -> FileError {
            *self.failed.lock().unwrap() = true;
            let (path, source) = (PathBuf::from("segment"), io::Error::from(kind));
            match kind {
                io::ErrorKind::StorageFull => FileError::Full { path, source },
                _ => FileError::Io { act: "flush", path, source },
            }
        }
    }

    impl Disk for FaultyDisk {
        type Segment = FaultySegment;

        fn open(&self, name: &str) -> Result<FaultySegment, FileError> {
            if self.fault.0.lock().unwrap().0 == Fault::Dead {
                return Err(FileError::Missing { path: PathBuf::from(name) });
            }
            let file = self.folder.append(name)?;
            Ok(FaultySegment { file, disk: self.clone(), failed: Mutex::new(false) })
        }

        fn replace(&self, name: &str, bytes: &[u8]) -> Result<(), FileError> {
            let (path, source) = (PathBuf::from(name), io::Error::from(io::ErrorKind::Other));
            match self.fault.0.lock().unwrap().0 {
                Fault::Dead | Fault::Rename => Err(FileError::Io { act: "replace", path, source }),
                Fault::Full | Fault::Short => Err(FileError::Full { path, source }),
                Fault::Hang | Fault::None | Fault::Sync => self.folder.write(name, bytes),
            }
        }

        fn remove(&self, name: &str) -> Result<(), FileError> {
            self.folder.remove(name)
        }

        fn set_aside(&self, name: &str, bytes: u64) -> Result<(), FileError> {
            match self.fault.0.lock().unwrap().0 {
                Fault::Full | Fault::Short => {
                    let source = io::Error::from(io::ErrorKind::StorageFull);
                    Err(FileError::Full { path: PathBuf::from(name), source })
                }
                _ => self.folder.set_aside(name, bytes).map(drop),
            }
        }

        fn space(&self) -> Result<DiskSpace, FileError> {
            self.folder.space()
        }

        fn folder(&self) -> &StateDir {
            &self.folder
        }
    }

    impl Segment for FaultySegment {
        fn write_all(&mut self, bytes: &[u8]) -> Result<(), FileError> {
            match self.fault() {
                Fault::Dead | Fault::Full => Err(self.fail(io::ErrorKind::StorageFull)),
                Fault::Short => {
                    self.file.write_all(&bytes[..bytes.len() / 2]).unwrap();
                    Err(self.fail(io::ErrorKind::StorageFull))
                }
                Fault::Hang | Fault::None | Fault::Rename | Fault::Sync => self.file.write_all(bytes),
            }
        }

        fn sync_data(&self) -> Result<(), FileError> {
            if self.fault() == Fault::Sync {
                self.disk.set(Fault::None);
                return Err(self.fail(io::ErrorKind::Other));
            }
            self.file.sync_data()
        }

        fn length(&self) -> Result<u64, FileError> {
            assert!(!*self.failed.lock().unwrap(), "a handle that failed is used again");
            self.file.len()
        }

        fn truncate(&self, length: u64) -> Result<(), FileError> {
            self.file.truncate(length)
        }
    }
}
