//! From a folder held open to everything in it. Links are not followed, and what is repaired is repaired by handle.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, AsRawFd as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use moltbot_config::limits;
use rustix::fs::{AtFlags, Mode, OFlags, RawDir, Stat};
use rustix::io::{Errno, retry_on_intr};

use super::judge::{self, Rule, Verdict, judge};
use super::{Opening, Outcome, PathKind, PathReport, SecureReport};
use crate::folder::{BENEATH, Folder, OPEN_FOLDER, is_temporary};
use crate::vault::KEY_FILE;

/// An access list of a folder for what is made in it.
const DEFAULT_LIST: &str = "system.posix_acl_default";
/// An access list of a file or folder itself.
const OWN_LIST: &str = "system.posix_acl_access";
/// Bytes of names that are read from a folder at once.
const NAMES: usize = 8 * 1024;
/// The folder of the sessions' sandboxes in the state folder.
const SANDBOXES: &str = "sandboxes";
/// The main agent's workspace in the state folder; another agent's has `-` and the agent's name after it.
const WORKSPACE: &[u8] = b"workspace";

/// Whether anything may be changed.
#[derive(Clone, Copy, Debug)]
pub(super) enum Act {
    /// Nothing is.
    Inspect,
    /// What is open is closed, and leftovers from well before this time go, in milliseconds since the epoch.
    Secure { started_ms: u64 },
}

/// One look at everything.
pub(super) struct Walk {
    act: Act,
    user: u32,
    config: PathBuf,
    key: PathBuf,
    left: usize,
    pub(super) report: SecureReport,
}

impl Walk {
    /// With the real paths of the state folder and of the config.
    pub(super) fn new(act: Act, state: &Path, config: PathBuf) -> Self {
        let user = rustix::process::geteuid().as_raw();
        let (key, left) = (state.join(KEY_FILE), limits::PERMISSION_PATHS);
        Self { act, user, config, key, left, report: SecureReport::default() }
    }

    pub(super) fn finish(mut self) -> SecureReport {
        self.report.paths.sort_by(|one, other| one.path.cmp(&other.path));
        self.report
    }

    pub(super) const fn user(&self) -> u32 {
        self.user
    }

    /// The state folder, whose mode may have been repaired already when it was opened.
    pub(super) fn state(&mut self, folder: &Folder, repaired_from: Option<u32>) {
        match rustix::fs::fstat(folder.fd()) {
            Err(errno) => self.unknown(folder.path(), "be looked at", errno),
            Ok(stat) => match judge(&stat, Rule::Ours, self.user) {
                Verdict::Close(_) => {
                    self.tell(folder.path(), &stat, Rule::Ours, Outcome::Open(Opening::Mode))
                }
                Verdict::Keep => match repaired_from {
                    None => self.report.kept = self.report.kept.saturating_add(1),
                    Some(found) => {
                        let mut stat = stat;
                        stat.st_mode = stat.st_mode & !judge::mode(&stat) | found;
                        self.tell(folder.path(), &stat, Rule::Ours, Outcome::Repaired(Opening::Mode));
                    }
                },
                Verdict::Tell(outcome) => self.tell(folder.path(), &stat, Rule::Ours, outcome),
            },
        }
        // A handle of our own: how far a folder has been read is a property of the handle.
        match folder.open_part(OsStr::new("."), OPEN_FOLDER, Mode::empty()) {
            Ok(fd) => self.contents(&Folder::new(fd, folder.path().to_owned()), 0, true, Rule::Ours),
            Err(error) => self.refused(folder.path(), &error),
        }
    }

    /// What could not be opened at all.
    pub(super) fn refused(&mut self, path: &Path, error: &dyn std::error::Error) {
        let outcome = Outcome::Failed {
            reason: format!("cannot be used: {error}"),
            fix: "correct it, or name another place".into(),
        };
        let (path, kind) = (path.to_owned(), PathKind::Unknown);
        self.report.paths.push(PathReport { path, kind, found: 0, wanted: 0, outcome });
    }

    /// Everything in `folder`. In the state folder itself, agents' folders are left to the agents.
    fn contents(&mut self, folder: &Folder, depth: usize, is_state: bool, rule: Rule) {
        self.close_list(folder);
        let (names, end) = names(folder);
        if let Err(errno) = end {
            self.unknown(folder.path(), "be listed", errno);
        }
        let mut folders = Vec::new();
        for name in names {
            let Some(left) = self.left.checked_sub(1) else {
                return self.unfinished(folder.path());
            };
            self.left = left;
            if self.entry(folder, &name, rule) == Some(PathKind::Folder) && !(is_state && is_an_agents(&name))
            {
                folders.push(name);
            }
        }
        for name in folders {
            self.descend(folder, &name, depth, rule);
        }
    }

    /// What is in the folder `name`.
    pub(super) fn descend(&mut self, above: &Folder, name: &OsStr, depth: usize, rule: Rule) {
        let path = above.path().join(name);
        if depth >= limits::PERMISSION_DEPTH {
            return self.unfinished(&path);
        }
        match retry_on_intr(|| rustix::fs::openat2(above.fd(), name, OPEN_FOLDER, Mode::empty(), BENEATH)) {
            Ok(fd) => self.contents(&Folder::new(fd, path), depth.saturating_add(1), false, rule),
            // Gone, or swapped for something else: its turn comes at the next start.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {}
            // It is ours and closed to others: not even its owner may list it.
            Err(Errno::ACCESS) => self.closed(&path),
            Err(errno) => self.unknown(&path, "be opened", errno),
        }
    }

    /// One name in a folder: judged, and repaired when that is asked for. Tells what it is when it is ours.
    pub(super) fn entry(&mut self, folder: &Folder, name: &OsStr, rule: Rule) -> Option<PathKind> {
        let stat = match rustix::fs::statat(folder.fd(), name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(Errno::NOENT) => return None,
            Err(errno) => {
                self.unknown(&folder.path().join(name), "be looked at", errno);
                return None;
            }
        };
        let rule = match rule {
            Rule::Ours if is_at(&self.key, folder, name) => Rule::Key,
            Rule::Ours if is_at(&self.config, folder, name) => Rule::Config,
            rule => rule,
        };
        if self.is_leftover(name, &stat) {
            self.remove(folder, name, &stat);
            return None;
        }
        match judge(&stat, rule, self.user) {
            Verdict::Keep => self.report.kept = self.report.kept.saturating_add(1),
            Verdict::Close(_) => self.close(folder, name, rule, &stat),
            Verdict::Tell(outcome) => self.tell(&folder.path().join(name), &stat, rule, outcome),
        }
        (stat.st_uid == self.user).then(|| judge::kind(&stat))
    }

    /// Takes the rights of others away, or says that it should be done.
    fn close(&mut self, folder: &Folder, name: &OsStr, rule: Rule, seen: &Stat) {
        let path = folder.path().join(name);
        if matches!(self.act, Act::Inspect) {
            return self.tell(&path, seen, rule, Outcome::Open(Opening::Mode));
        }
        match close(folder, name, rule, self.user) {
            Ok((_, None)) | Err(Errno::NOENT) => {}
            Ok((stat, Some(outcome))) => self.tell(&path, &stat, rule, outcome),
            Err(errno) => self.tell(&path, seen, rule, unclosed(&errno.to_string())),
        }
    }

    /// Removes what an access list of the folder gives to new files in it. What moltbot makes is owner-only in any
    /// case; what a library makes may not be.
    fn close_list(&mut self, folder: &Folder) {
        // A file system without access lists says so by an error.
        if !matches!(rustix::fs::fgetxattr_query(folder.fd(), DEFAULT_LIST), Ok(1..)) {
            return;
        }
        let outcome = match self.act {
            Act::Inspect => Outcome::Open(Opening::AccessList),
            Act::Secure { .. } => match rustix::fs::fremovexattr(folder.fd(), DEFAULT_LIST) {
                Ok(()) => Outcome::Repaired(Opening::AccessList),
                Err(errno) => Outcome::Skipped {
                    why: format!("has an access list for new files that cannot be removed: {errno}"),
                    fix: "run `setfacl -k` on it".into(),
                },
            },
        };
        if let Ok(stat) = rustix::fs::fstat(folder.fd()) {
            self.tell(folder.path(), &stat, Rule::Ours, outcome);
        }
    }

    /// Whether it is a temporary file of ours from well before this process began. A younger one may be another
    /// process's, which is about to give it its name.
    fn is_leftover(&self, name: &OsStr, stat: &Stat) -> bool {
        let Act::Secure { started_ms } = self.act else { return false };
        if !is_temporary(name) || judge::kind(stat) != PathKind::File || stat.st_uid != self.user {
            return false;
        }
        let written_ms = u64::try_from(stat.st_mtime).unwrap_or(0).saturating_mul(1000);
        written_ms.saturating_add(limits::LEFTOVER_AGE_MS) < started_ms
    }

    fn remove(&mut self, folder: &Folder, name: &OsStr, stat: &Stat) {
        let outcome = match rustix::fs::unlinkat(folder.fd(), name, AtFlags::empty()) {
            Ok(()) => Outcome::Removed,
            Err(Errno::NOENT) => return,
            Err(errno) => Outcome::Skipped {
                why: format!("was left by a write that was cut off, and cannot be removed: {errno}"),
                fix: "remove it".into(),
            },
        };
        self.tell(&folder.path().join(name), stat, Rule::Ours, outcome);
    }

    /// Too much or too deep. The folder above is closed to others, which keeps them from all of it.
    fn unfinished(&mut self, path: &Path) {
        let why = "holds more than is looked at when the gateway starts".to_owned();
        let fix = "move what is not moltbot's elsewhere".to_owned();
        self.untold(path, Outcome::Skipped { why, fix });
    }

    fn closed(&mut self, path: &Path) {
        let why = "is closed even to its owner, so what is in it was not looked at".to_owned();
        self.untold(path, Outcome::Skipped { why, fix: "run `chmod u+rx` on it".into() });
    }

    fn unknown(&mut self, path: &Path, act: &str, errno: Errno) {
        let reason = format!("cannot {act}, so nobody knows who may use it: {errno}");
        self.untold(path, Outcome::Failed { reason, fix: "correct its owner or its mode".into() });
    }

    fn untold(&mut self, path: &Path, outcome: Outcome) {
        let (path, kind) = (path.to_owned(), PathKind::Unknown);
        self.report.paths.push(PathReport { path, kind, found: 0, wanted: 0, outcome });
    }

    /// What is wrong with a name, when it was judged by somebody else.
    pub(super) fn told(&mut self, folder: &Folder, name: &OsStr, verdict: Verdict) {
        if let Verdict::Tell(outcome) = verdict {
            self.untold(&folder.path().join(name), outcome);
        }
    }

    pub(super) fn tell(&mut self, path: &Path, stat: &Stat, rule: Rule, outcome: Outcome) {
        let (path, kind) = (path.to_owned(), judge::kind(stat));
        let (found, wanted) = (judge::mode(stat), judge::wanted(stat, rule));
        self.report.paths.push(PathReport { path, kind, found, wanted, outcome });
    }
}

/// Judges what has the name now, and takes the rights of others away from that very file or folder. The answer is what
/// it was, and what became of it; nothing when there was nothing to do any more.
fn close(folder: &Folder, name: &OsStr, rule: Rule, user: u32) -> Result<(Stat, Option<Outcome>), Errno> {
    let path_only = OFlags::PATH | OFlags::CLOEXEC;
    // A handle that only names: nothing is opened, so that a socket, a pipe and a file that its owner may not read can
    // be had as well. A link is refused here, whatever it replaced since it was looked at.
    let fd = retry_on_intr(|| rustix::fs::openat2(folder.fd(), name, path_only, Mode::empty(), BENEATH))?;
    let stat = rustix::fs::fstat(&fd)?;
    let mode = match judge(&stat, rule, user) {
        Verdict::Close(mode) => mode,
        Verdict::Keep => return Ok((stat, None)),
        Verdict::Tell(outcome) => return Ok((stat, Some(outcome))),
    };
    // `fchmod` takes no such handle, but the kernel's own link to it leads to the very same file.
    let same = format!("/proc/self/fd/{}", fd.as_fd().as_raw_fd());
    rustix::fs::chmod(&same, Mode::from_raw_mode(mode))?;
    if judge::mode(&stat) & Mode::RWXG.as_raw_mode() != 0 {
        // Closing the group's rights has closed the access list's too; it is removed so that it never comes back.
        match rustix::fs::removexattr(&same, OWN_LIST) {
            Ok(()) | Err(Errno::NODATA | Errno::OPNOTSUPP) => {}
            Err(errno) => tracing::debug!(%errno, "an access list without effect stays"),
        }
    }
    let now = judge::mode(&rustix::fs::fstat(&fd)?);
    let outcome = if now & !mode == 0 {
        Outcome::Repaired(Opening::Mode)
    } else {
        unclosed("the file system keeps no modes")
    };
    Ok((stat, Some(outcome)))
}

fn is_at(path: &Path, folder: &Folder, name: &OsStr) -> bool {
    path.file_name() == Some(name) && path.parent() == Some(folder.path())
}

fn unclosed(why: &str) -> Outcome {
    let fix = "run `chmod go-rwx` on it, or move it to a file system that keeps modes and can be written";
    Outcome::Failed { reason: format!("is open to others and cannot be closed: {why}"), fix: fix.into() }
}

/// Whether a folder in the state folder is an agent's: it holds no secret of ours, and what is in it may be anything.
fn is_an_agents(name: &OsStr) -> bool {
    let workspace = name.as_bytes().strip_prefix(WORKSPACE);
    name == SANDBOXES || workspace.is_some_and(|agent| agent.is_empty() || agent.starts_with(b"-"))
}

/// The names in a folder, and how the reading of them ended.
pub(super) fn names(folder: &Folder) -> (Vec<OsString>, Result<(), Errno>) {
    let mut names = Vec::new();
    let mut buffer = Vec::with_capacity(NAMES);
    let mut entries = RawDir::new(folder.fd(), buffer.spare_capacity_mut());
    while let Some(entry) = entries.next() {
        let name = match &entry {
            Ok(entry) => OsStr::from_bytes(entry.file_name().to_bytes()),
            Err(errno) => return (names, Err(*errno)),
        };
        if name != "." && name != ".." {
            names.push(name.to_owned());
        }
    }
    (names, Ok(()))
}
