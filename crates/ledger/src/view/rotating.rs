//! A log that is turned over at [`limits::VIEW_BYTES`]: `x` becomes `x.1`, and so on to `x.5`.

use moltbot_config::limits;
use moltbot_vault::{AppendFile, FileError, StateDir};

use super::FOLDER;

/// A view's file. Written by the one thread that writes the book, so nothing else turns it over.
#[derive(Debug)]
pub(super) struct Rotating {
    state: StateDir,
    /// In the folder of logs.
    name: String,
    file: Option<AppendFile>,
    /// Lines that could not be written since the last that was.
    missing: u64,
    /// All lines that could not be written.
    lost: u64,
    full: u64,
}

/// The name of a log that was turned over; 1 is the latest.
pub(super) fn old(name: &str, place: u32) -> String {
    format!("{name}.{place}")
}

impl Rotating {
    pub(super) fn new(state: StateDir, name: &str) -> Self {
        let full = limits::VIEW_BYTES;
        Self { state, name: name.to_owned(), file: None, missing: 0, lost: 0, full }
    }

    /// Adds a line, line feed included. What cannot be written is counted, and logged when it begins and ends.
    pub(super) fn write(&mut self, line: &str) {
        match self.try_write(line) {
            Ok(()) if self.missing > 0 => {
                let (name, lines) = (self.name.as_str(), std::mem::take(&mut self.missing));
                tracing::warn!(name, lines, "a log is written again; the book has the lines that it lacks");
            }
            Ok(()) => {}
            Err(error) => {
                if self.missing == 0 {
                    let name = self.name.as_str();
                    tracing::error!(%error, name, "a log cannot be written; what it lacks is in the book");
                }
                self.file = None;
                self.missing = self.missing.saturating_add(1);
                self.lost = self.lost.saturating_add(1);
            }
        }
    }

    /// How many lines could not be written.
    pub(super) const fn lost(&self) -> u64 {
        self.lost
    }

    fn try_write(&mut self, line: &str) -> Result<(), FileError> {
        let added = u64::try_from(line.len()).unwrap_or(u64::MAX);
        let length = match self.file.as_ref().map(AppendFile::len) {
            Some(Ok(length)) => length,
            // It was removed, or was never opened.
            Some(Err(_)) | None => self.open()?,
        };
        if length > 0 && length.saturating_add(added) > self.full {
            self.turn_over()?;
            self.open()?;
        }
        match &mut self.file {
            Some(file) => file.write_all(line.as_bytes()),
            None => Ok(()),
        }
    }

    /// Opens the log, owner-only, and ends a line that a crash tore off.
    fn open(&mut self) -> Result<u64, FileError> {
        // Opened anew each time, which takes the rights of others away.
        let mut file = self.state.folder(FOLDER)?.append(&self.name)?;
        file.make_private()?;
        let mut length = file.len()?;
        let mut last = [b'\n'];
        if length > 0 && file.read_at(length.saturating_sub(1), &mut last)? > 0 && last != [b'\n'] {
            file.write_all(b"\n")?;
            length = length.saturating_add(1);
        }
        self.file = Some(file);
        Ok(length)
    }

    /// Moves every log one place on; the last one is overwritten.
    fn turn_over(&mut self) -> Result<(), FileError> {
        self.file = None;
        let folder = self.state.folder(FOLDER)?;
        for place in (1..limits::VIEW_FILES).rev() {
            rename(&folder, &old(&self.name, place), &old(&self.name, place.saturating_add(1)))?;
        }
        rename(&folder, &self.name, &old(&self.name, 1))
    }
}

/// Renames a file, if there is one.
fn rename(folder: &StateDir, from: &str, to: &str) -> Result<(), FileError> {
    match folder.rename(from, to) {
        Err(FileError::Missing { .. }) => Ok(()),
        renamed => renamed,
    }
}

/// Removes a log with those that were turned over.
pub(super) fn remove(folder: &StateDir, name: &str) -> Result<(), FileError> {
    for name in std::iter::once(name.to_owned()).chain((1..=limits::VIEW_FILES).map(|place| old(name, place)))
    {
        match folder.remove(&name) {
            Ok(()) | Err(FileError::Missing { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Puts a log, with those that were turned over, in place of another.
pub(super) fn replace(folder: &StateDir, from: &str, to: &str) -> Result<(), FileError> {
    remove(folder, to)?;
    rename(folder, from, to)?;
    (1..=limits::VIEW_FILES).try_for_each(|place| rename(folder, &old(from, place), &old(to, place)))
}
