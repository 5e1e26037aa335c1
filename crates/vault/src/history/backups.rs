//! Plaintext backups that the original and its users left beside the config: taken into the history, then destroyed.
//!
//! A file is overwritten before its name is removed. That is no promise: a file system that writes elsewhere (btrfs, a
//! journal of data) and a disk that spreads its writes keep the old blocks for a while. Whoever fears that changes the
//! secrets that were in it.

use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use moltbot_config::limits;
use rustix::fs::{Mode, OFlags, Stat};
use zeroize::Zeroizing;

use super::file::{Kind, sha256};
use super::{Change, History, HistoryError, LOCK};
use crate::error::FileError;
use crate::folder::{FILE, Folder, read_all, require_file, sync, write_all};
use crate::root::{find_root, open_parent};

/// The config's name in the state folder.
const CONFIG: &str = "moltbot.json";
/// Names that the config had or has.
const CONFIGS: [&str; 3] = [CONFIG, "clawdbot.json", "openclaw.json"];
/// How the ends of backups' names begin.
const ENDS: [&[u8]; 2] = [b".bak", b".backup"];
/// What a file is overwritten with at a time.
const ZEROS: [u8; 4096] = [0; 4096];

/// What became of a plaintext backup.
#[derive(Debug)]
#[expect(missing_docs, reason = "the variants say it")]
pub enum BackupOutcome {
    /// It is still there.
    Failed { source: HistoryError },
    /// It is in the history, and the file is gone.
    Sealed { number: u64 },
    /// It is in the history, and this name is gone, but the plaintext has other names (hard links).
    Shared { number: u64, names: usize },
}

/// A plaintext backup that was met.
#[derive(Debug)]
pub struct BackupReport {
    /// Where it was.
    pub path: PathBuf,
    /// What became of it.
    pub outcome: BackupOutcome,
}

/// Whether `name` is a backup of the config, by its name: `moltbot.json.bak`, `.bak.1`, `.backup`.
pub(crate) fn is_backup_of(name: &OsStr, config: &OsStr) -> bool {
    let configs = CONFIGS.iter().map(|name| name.as_bytes()).chain([config.as_bytes()]);
    configs
        .filter_map(|config| name.as_bytes().strip_prefix(config))
        .any(|end| ENDS.iter().any(|start| end.starts_with(start)))
}

/// The backups beside the config and in the state folder, by their names; none where a folder cannot be read.
pub fn config_backups(state: &Path, config: &Path) -> Vec<PathBuf> {
    let mut folders: Vec<&Path> = config.parent().into_iter().chain([state]).collect();
    folders.dedup();
    let name = config.file_name().unwrap_or_default();
    let mut found = Vec::new();
    for folder in folders {
        let Ok(Some(opened)) = find_root(folder) else { continue };
        let names = opened.list().unwrap_or_default().into_iter();
        let names = names.filter(|file| is_backup_of(OsStr::new(file), name));
        found.extend(names.take(limits::CONFIG_BACKUPS).map(|file| folder.join(file)));
    }
    found
}

/// A backup that is open.
struct Backup {
    name: String,
    path: PathBuf,
    fd: OwnedFd,
    stat: Stat,
}

impl History<'_> {
    /// Seals the plaintext backups beside the config and in the state folder into the history, oldest first, and
    /// destroys the files. One that is in the history already, because an earlier try was cut off, is only destroyed.
    /// A call does at most [`limits::CONFIG_BACKUPS`] in each folder.
    ///
    /// # Errors
    /// When a folder cannot be read. What became of each file is in the answer.
    pub fn absorb_backups(&self, config: &Path, actor: &str) -> Result<Vec<BackupReport>, HistoryError> {
        let mut reports = self.absorb_beside(config, actor)?;
        let ours = self.state.path().join(CONFIG);
        if config.parent().and_then(|above| above.canonicalize().ok()).as_deref() != Some(self.state.path()) {
            reports.extend(self.absorb_beside(&ours, actor)?);
        }
        Ok(reports)
    }

    fn absorb_beside(&self, config: &Path, actor: &str) -> Result<Vec<BackupReport>, HistoryError> {
        let (folder, config) = open_parent(config)?;
        let mut reports = Vec::new();
        let mut backups = Vec::new();
        let listed = folder.list()?.into_iter();
        let names = listed.filter(|name| is_backup_of(OsStr::new(name), OsStr::new(config)));
        for name in names.take(limits::CONFIG_BACKUPS) {
            match Backup::open(&folder, name) {
                Ok(backup) => backups.push(backup),
                Err((path, error)) => {
                    let outcome = BackupOutcome::Failed { source: error.into() };
                    reports.push(BackupReport { path, outcome });
                }
            }
        }
        backups.sort_by_key(|backup| backup.stat.st_mtime);
        for backup in backups {
            let outcome = self
                .absorb(&folder, &backup, actor)
                .unwrap_or_else(|source| BackupOutcome::Failed { source });
            reports.push(BackupReport { path: backup.path, outcome });
        }
        Ok(reports)
    }

    fn absorb(&self, folder: &Folder, backup: &Backup, actor: &str) -> Result<BackupOutcome, HistoryError> {
        let text = Zeroizing::new(read_all(&backup.fd, &backup.stat, limits::CONFIG_BYTES, &backup.path)?);
        let number = self.keep_backup(&text, backup, actor)?;
        // Only now, when the history is on disk.
        let names = usize::try_from(backup.stat.st_nlink).unwrap_or(usize::MAX).saturating_sub(1);
        if names == 0 {
            backup.overwrite(folder)?;
        }
        folder.remove(&backup.name)?;
        Ok(if names == 0 {
            BackupOutcome::Sealed { number }
        } else {
            BackupOutcome::Shared { number, names }
        })
    }

    fn keep_backup(&self, text: &[u8], backup: &Backup, actor: &str) -> Result<u64, HistoryError> {
        let _lock = self.state.lock(LOCK, &[])?;
        let names = self.names()?;
        let kept = sha256(text);
        for name in names.iter().filter(|name| name.kind == Kind::Backup) {
            if self.open(&name.path()).is_ok_and(|(header, _)| header.sha256 == kept) {
                return Ok(name.number);
            }
        }
        let at_ms = u64::try_from(backup.stat.st_mtime).unwrap_or(0).saturating_mul(1000);
        let command = format!("backup {}", backup.name);
        self.add(&names, Kind::Backup, text, &Change { at_ms, actor, command: &command })
    }
}

impl Backup {
    fn open(folder: &Folder, name: String) -> Result<Self, (PathBuf, FileError)> {
        let path = folder.path().join(&name);
        let fd = folder.open(&name, OFlags::RDONLY, Mode::empty());
        let opened = fd.and_then(|fd| require_file(fd, &path));
        let (fd, stat) = opened.map_err(|error| (path.clone(), error))?;
        let user = rustix::process::geteuid().as_raw();
        if stat.st_uid != user {
            let error = FileError::Foreign { path: path.clone(), owner: stat.st_uid, user };
            return Err((path, error));
        }
        Ok(Self { name, path, fd, stat })
    }

    /// Writes zeros over the text, on disk when this returns.
    fn overwrite(&self, folder: &Folder) -> Result<(), FileError> {
        let error = |errno| FileError::of(errno, "overwrite", &self.path);
        // It may be closed to writing even for its owner.
        rustix::fs::fchmod(&self.fd, FILE).map_err(error)?;
        let fd = folder.open(&self.name, OFlags::WRONLY, Mode::empty())?;
        let (fd, stat) = require_file(fd, &self.path)?;
        if (stat.st_dev, stat.st_ino) != (self.stat.st_dev, self.stat.st_ino) {
            // Another file has the name now, which is not ours to destroy.
            return Err(FileError::Missing { path: self.path.clone() });
        }
        let mut left = usize::try_from(stat.st_size).unwrap_or(0);
        while let Some(zeros) = ZEROS.get(..left.min(ZEROS.len())).filter(|zeros| !zeros.is_empty()) {
            write_all(&fd, zeros, &self.path)?;
            left = left.saturating_sub(zeros.len());
        }
        sync(&fd, &self.path)
    }
}

/// Overwrites a file and removes it. One that has another name as well is removed and not overwritten: whoever gave it that name may
/// need it.
pub(crate) fn shred(folder: &Folder, name: &str) -> Result<(), FileError> {
    let backup = Backup::open(folder, name.to_owned()).map_err(|(_, error)| error)?;
    if backup.stat.st_nlink <= 1 {
        backup.overwrite(folder)?;
    }
    folder.remove(&backup.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backups_are_known_by_their_names() {
        for (name, config, expected) in [
            ("moltbot.json.bak", "moltbot.json", true),
            ("moltbot.json.bak.4", "moltbot.json", true),
            ("moltbot.json.backup", "moltbot.json", true),
            ("clawdbot.json.bak", "moltbot.json", true),
            ("mine.json5.bak.1", "mine.json5", true),
            ("moltbot.json", "moltbot.json", false),
            ("other.json.bak", "moltbot.json", false),
            ("moltbot.json.5", "moltbot.json", false),
        ] {
            assert_eq!(is_backup_of(OsStr::new(name), OsStr::new(config)), expected, "{name}");
        }
    }
}
