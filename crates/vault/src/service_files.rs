//! The two files by which a service manager knows a program: its unit, and the link that has it started.

use std::path::{Path, PathBuf};

use moltbot_policy::Recorded;
use moltbot_policy::service::ServicePermit;
use rustix::fs::{AtFlags, CWD, FileType, Mode};
use rustix::io::Errno;

use crate::error::FileError;
use crate::owner_file::OwnerFile;

/// The largest unit that is read, in bytes.
const UNIT_BYTES: u64 = 64 * 1024;

/// A unit, and where it is started from.
#[derive(Clone, Debug)]
pub struct ServiceFiles {
    unit: PathBuf,
    link: PathBuf,
}

impl ServiceFiles {
    /// The unit `name` in `folder`, started by the target `wanted_by` there.
    pub fn new(folder: &Path, name: &str, wanted_by: &str) -> Self {
        Self { unit: folder.join(name), link: folder.join(format!("{wanted_by}.wants")).join(name) }
    }

    /// The unit's path.
    pub fn unit(&self) -> &Path {
        &self.unit
    }

    /// The unit's text, when there is one.
    ///
    /// # Errors
    /// When it is no file, is too large or cannot be read.
    pub fn text(&self) -> Result<Option<String>, FileError> {
        let bytes = OwnerFile::at(&self.unit).look(UNIT_BYTES)?;
        Ok(bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
    }

    /// Whether it is started by itself.
    pub fn is_linked(&self) -> bool {
        rustix::fs::lstat(&self.link)
            .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Symlink)
    }

    /// Writes the unit, and the link that has it started.
    ///
    /// # Errors
    /// When one of them cannot be written. A unit without its link is told by [`Self::is_linked`].
    pub fn write(&self, _permit: &Recorded<ServicePermit>, text: &str) -> Result<(), FileError> {
        for folder in [self.unit.parent(), self.link.parent()].into_iter().flatten() {
            make_folders(folder)?;
        }
        OwnerFile::at(&self.unit).write(text.as_bytes())?;
        let name = self.unit.file_name().unwrap_or_default();
        match rustix::fs::symlinkat(Path::new("..").join(name), CWD, &self.link) {
            Ok(()) => Ok(()),
            Err(Errno::EXIST) if self.is_linked() => Ok(()),
            Err(errno) => Err(FileError::of(errno, "link", &self.link)),
        }
    }

    /// Takes both away. What is not there is taken away already.
    ///
    /// # Errors
    /// When one cannot be removed.
    pub fn remove(&self, _permit: &Recorded<ServicePermit>) -> Result<(), FileError> {
        for path in [&self.link, &self.unit] {
            match rustix::fs::unlinkat(CWD, path, AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(errno) => return Err(FileError::of(errno, "remove", path)),
            }
        }
        Ok(())
    }
}

/// Makes a folder and those above it, as others of a service manager are: readable to all.
fn make_folders(folder: &Path) -> Result<(), FileError> {
    let mut above: Vec<&Path> = folder.ancestors().collect();
    above.reverse();
    for folder in above.into_iter().filter(|folder| folder.parent().is_some()) {
        match rustix::fs::mkdir(folder, Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(Errno::EXIST) => {}
            // A folder that this user may not write and that is there is told as that.
            Err(_) if folder.is_dir() => {}
            Err(errno) => return Err(FileError::of(errno, "make", folder)),
        }
    }
    Ok(())
}
