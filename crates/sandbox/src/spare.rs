//! Walls that stand ready before there is a command for them.
//!
//! Most of what a command costs is the same for each: the program is loaded, namespaces are made, the private root is
//! filled. After a command this is done once more, for a next one with the same limits and the same workspace, while the
//! model reads what the first has said. Whatever may differ is done when the next one comes, by the process that waits: what
//! in the workspace must be protected, resource limits, Landlock, the filter, and the look whether all of it holds.
//!
//! They stand for [`LIFE`] at most, so that they never show an old state of this machine's mounts for long, and take no memory
//! of a gateway at rest. No command ever runs in walls that another one ran in.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::CWD;

use crate::spawner::Started;
use crate::wire::{self, Builder, Request, Task};

/// How long walls stand empty.
const LIFE: Duration = Duration::from_secs(60);
/// How long their processes may take to end by themselves.
const END: Duration = Duration::from_secs(1);

/// Two commands of which this is equal can have the same walls.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Shape {
    request: Request,
    workspace: Place,
}

/// A folder, and where it was found. One that was moved since, or replaced, is another one.
#[derive(Debug, Eq, PartialEq)]
struct Place {
    device: u64,
    inode: u64,
    path: CString,
}

impl Shape {
    /// What a request needs; nothing where it cannot be built ahead.
    pub(crate) fn of(request: &Request, workspace: Option<BorrowedFd<'_>>) -> Option<Self> {
        // A terminal is one command's own, the other builders do not wait, and what sees no workspace is no command of the
        // agent but one that tries the walls.
        if request.builder != Builder::Helper || request.terminal {
            return None;
        }
        let workspace = workspace.map(Place::of)?.ok()?;
        Some(Self { request: request.ahead(), workspace })
    }

    /// The request for such walls.
    pub(crate) const fn request(&self) -> &Request {
        &self.request
    }
}

impl Place {
    fn of(folder: BorrowedFd<'_>) -> io::Result<Self> {
        let stat = rustix::fs::fstat(folder)?;
        let path = rustix::fs::readlinkat(CWD, format!("/proc/self/fd/{}", folder.as_raw_fd()), Vec::new())?;
        Ok(Self { device: stat.st_dev, inode: stat.st_ino, path })
    }
}

/// A helper that waits for its command.
#[derive(Debug)]
pub(crate) struct Spare {
    shape: Shape,
    started: Started,
    until: Instant,
}

impl Spare {
    /// What was started for this shape.
    pub(crate) fn new(shape: Shape, started: Started) -> Self {
        Self::until(shape, started, Instant::now() + LIFE)
    }

    /// The same, up to a moment.
    pub(crate) const fn until(shape: Shape, started: Started, until: Instant) -> Self {
        Self { shape, started, until }
    }

    /// How long it may still stand.
    pub(crate) fn left(&self) -> Duration {
        self.until.saturating_duration_since(Instant::now())
    }

    /// Gives it a command, when it stands and is what the command needs. Otherwise it comes back.
    pub(crate) fn give(self, shape: &Shape, request: &Request) -> Result<Started, Box<Self>> {
        if self.shape != *shape || self.left().is_zero() || has_ended(&self.started.ended, Duration::ZERO) {
            return Err(Box::new(self));
        }
        let task = Task { script: request.script.clone(), directory: request.directory.clone() };
        // From here on a stop counts it.
        self.started.known.begin();
        match wire::send_task(self.started.reports.as_fd(), &task) {
            Ok(()) => Ok(self.started),
            Err(_it_is_gone) => Err(Box::new(self)),
        }
    }

    /// Lets go of it: its first process finds nobody who could still send a command, and ends.
    pub(crate) fn end(self) -> io::Result<()> {
        let Started { mut child, ended, reports, known, group, .. } = self.started;
        drop(reports);
        if !has_ended(&ended, END) {
            child.kill()?;
        }
        let buried = child.wait().map(|_| ());
        drop((known, group));
        buried
    }
}

/// Whether a process has ended, or does so in time.
fn has_ended(process: &OwnedFd, patience: Duration) -> bool {
    let patience = Timespec::try_from(patience).unwrap_or_default();
    let mut polled = [PollFd::new(process, PollFlags::IN)];
    // A wait that was interrupted is no end.
    rustix::event::poll(&mut polled, Some(&patience)).is_ok_and(|ready| ready > 0)
}

#[cfg(test)]
mod tests {
    use moltbot_policy::profile::Profile;

    use super::*;

    fn open(path: &std::path::Path) -> OwnedFd {
        rustix::fs::open(path, rustix::fs::OFlags::PATH, rustix::fs::Mode::empty()).unwrap()
    }

    #[test]
    fn walls_fit_the_same_limits_and_the_same_folder_alone() {
        let home = tempfile::tempdir().unwrap();
        let (first, second) = (home.path().join("a"), home.path().join("b"));
        rustix::fs::mkdir(&first, rustix::fs::Mode::RWXU).unwrap();
        let folder = open(&first);
        let profile = Profile::for_probe();
        let shape = |script: &str, directory: &str, profile: &Profile, folder: &OwnedFd| {
            Shape::of(&Request::new(script, directory, profile), Some(folder.as_fd())).unwrap()
        };
        let one = shape("a", "b", &profile, &folder);
        assert!(one == shape("b", "c", &profile, &open(&first)), "whatever the command is");
        let more = Profile { memory: profile.memory + 1, ..profile.clone() };
        assert!(one != shape("a", "b", &more, &folder));
        assert!(Shape::of(&Request::new("a", "b", &profile), None).is_none());
        rustix::fs::rename(&first, &second).unwrap();
        assert!(one != shape("a", "b", &profile, &folder), "it was moved");
        rustix::fs::mkdir(&first, rustix::fs::Mode::RWXU).unwrap();
        assert!(one != shape("a", "b", &profile, &open(&first)), "it was replaced");
        let terminal = Profile { terminal: true, ..profile };
        assert!(Shape::of(&Request::new("a", "b", &terminal), Some(folder.as_fd())).is_none());
    }
}
