//! Every process that comes of a program: those whose parents have ended become children of this process, so that none
//! can slip away, and all are killed when the program has ended or may not go on.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::time::{Duration, Instant};

use moltbot_config::limits;
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions};

/// How often it is looked whether they are gone.
const LOOK: Duration = Duration::from_millis(5);

/// Takes in whatever loses its parent below this process, for as long as it lives.
pub(crate) struct Family {
    /// Children of before, which are none of it.
    others: BTreeSet<i32>,
}

/// What is left of a family.
#[derive(Debug, Eq, PartialEq)]
pub(crate) enum Left {
    /// Processes that had to be killed.
    Killed,
    /// None.
    Nothing,
    /// These cannot be killed.
    Survivors(Vec<i32>),
}

impl Family {
    /// Begins before the program does.
    pub(crate) fn begin() -> io::Result<Self> {
        rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
        let others = living()?.into_iter().collect();
        Ok(Self { others })
    }

    /// Ends what is left when the program itself has ended: first by waiting a moment, then by killing.
    pub(crate) fn end(&self) -> io::Result<Left> {
        let grace = Instant::now() + limits::SECRET_PROGRAM_GRACE;
        while Instant::now() < grace {
            if self.left()?.is_none() {
                return Ok(Left::Nothing);
            }
            std::thread::sleep(LOOK);
        }
        self.kill()
    }

    /// Kills all of it, until nothing is left.
    pub(crate) fn kill(&self) -> io::Result<Left> {
        let until = Instant::now() + limits::SECRET_PROGRAM_END;
        while let Some(left) = self.left()? {
            if Instant::now() >= until {
                return Ok(Left::Survivors(left));
            }
            for pid in &left {
                // One that has just ended, or that is not ours to kill: the next look tells which.
                match Pid::from_raw(*pid).map(|pid| rustix::process::kill_process(pid, Signal::KILL)) {
                    None | Some(Ok(()) | Err(Errno::SRCH | Errno::PERM)) => {}
                    Some(Err(errno)) => return Err(errno.into()),
                }
            }
            std::thread::sleep(LOOK);
        }
        Ok(Left::Killed)
    }

    /// The processes of it that live, or nothing when there is none. Those that ended are taken out of the process table.
    fn left(&self) -> io::Result<Option<Vec<i32>>> {
        // What the quick look may have missed is there at the second one.
        let quick = listed();
        let seen = if quick.is_empty() { living()? } else { quick };
        Ok(self.left_of(seen))
    }

    /// Those that were seen and live still. Who has ended since may have left a child that was born behind the look: only a
    /// look that saw nobody shows that nobody is left.
    fn left_of(&self, mut seen: Vec<i32>) -> Option<Vec<i32>> {
        seen.retain(|pid| !self.others.contains(pid));
        if seen.is_empty() {
            return None;
        }
        let buried = |pid: &i32| {
            let pid = Pid::from_raw(*pid)?;
            // Only children can be waited for: the child of a child is one as soon as its parent has ended.
            matches!(rustix::process::waitpid(Some(pid), WaitOptions::NOHANG), Ok(Some(_))).then_some(())
        };
        seen.retain(|pid| buried(pid).is_none());
        Some(seen)
    }
}

impl Drop for Family {
    fn drop(&mut self) {
        if let Err(error) = rustix::process::set_child_subreaper(None) {
            tracing::warn!(%error, "this process goes on taking in what loses its parent");
        }
    }
}

/// The processes below this one by the kernel's own lists of children. Quick, but one whose sibling ends meanwhile may be
/// left out, and where the kernel keeps no lists all are.
#[expect(clippy::disallowed_methods, reason = "the kernel's account of a process, not a file on a disk")]
pub(crate) fn listed() -> Vec<i32> {
    let children = |pid: i32| {
        let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
        let lists =
            tasks.map(|task| std::fs::read_to_string(task.path().join("children")).unwrap_or_default());
        let numbers = |list: String| list.split_ascii_whitespace().flat_map(str::parse).collect::<Vec<i32>>();
        lists.flat_map(numbers).collect::<Vec<_>>()
    };
    let mut found = children(rustix::process::getpid().as_raw_nonzero().get());
    let mut next = 0;
    while let Some(pid) = found.get(next).copied() {
        // A number that was seen twice is that of a process that ended, and of another one.
        let more = children(pid).into_iter().filter(|pid| !found.contains(pid)).collect::<Vec<_>>();
        found.extend(more);
        next += 1;
    }
    found
}

/// The processes below this one, ended ones that nobody waited for included.
fn living() -> io::Result<Vec<i32>> {
    let mut children: BTreeMap<i32, Vec<i32>> = BTreeMap::new();
    for entry in std::fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
        if let Some(parent) = parent_of(pid) {
            children.entry(parent).or_default().push(pid);
        }
    }
    let mut found = Vec::new();
    let mut ahead = vec![rustix::process::getpid().as_raw_nonzero().get()];
    while let Some(below) = ahead.pop().and_then(|pid| children.remove(&pid)) {
        found.extend(&below);
        ahead.extend(below);
    }
    Ok(found)
}

/// The parent of a process; nothing when it has ended meanwhile.
#[expect(clippy::disallowed_methods, reason = "the kernel's account of a process, not a file on a disk")]
fn parent_of(pid: i32) -> Option<i32> {
    let stat = std::fs::read(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything, parentheses too; what comes behind the last one does not.
    let end = stat.iter().rposition(|byte| *byte == b')')?;
    let rest = std::str::from_utf8(stat.get(end.saturating_add(1)..)?).ok()?;
    rest.split_ascii_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "the kernel's account of a process")]
    #[expect(clippy::zombie_processes, reason = "the family buries it")]
    fn who_ends_behind_a_look_does_not_hide_the_child_that_he_leaves() {
        let family = Family::begin().unwrap();
        let mut shell = Command::new("/bin/sh");
        let mut shell = shell.args(["-c", "read go; sleep 600 &"]).stdin(Stdio::piped()).spawn().unwrap();
        let number = i32::try_from(shell.id()).unwrap();
        let seen = listed();
        assert_eq!(seen, [number]);
        shell.stdin.take().unwrap().write_all(b"\n").unwrap();
        while !std::fs::read_to_string(format!("/proc/{number}/stat")).unwrap().contains(") Z ") {
            std::thread::sleep(LOOK);
        }
        assert_eq!(
            family.left_of(seen),
            Some(Vec::new()),
            "that the shell has ended does not say that all have"
        );
        assert_eq!(family.left().unwrap().map(|left| left.len()), Some(1));
        assert_eq!(family.kill().unwrap(), Left::Killed);
        assert_eq!(family.left().unwrap(), None);
    }
}
