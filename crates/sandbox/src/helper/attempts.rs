//! What the first process is told of calls that lead out, and what it answers.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use moltbot_policy::command::Severity;
use rustix::event::{PollFd, PollFlags};

use super::modes::Modes;
use crate::filter;
use crate::sys;
use crate::wire::{self, Report};

/// Characters of a program's name, as the kernel keeps it.
const NAME_CHARS: usize = 15;

/// Listens for calls that lead out.
pub(super) struct Watch {
    listener: Option<OwnedFd>,
    /// Where new processes are asked about.
    births: Option<Births>,
    /// Where modes of files are asked about.
    modes: Option<Modes>,
    /// The numbers that the gateway was told: a program that goes on trying is told of once.
    told: Vec<i64>,
}

/// Where the gateway is told.
pub(super) trait Tell {
    /// Tells it.
    fn tell(&self, report: &Report) -> std::io::Result<()>;
}

impl Tell for BorrowedFd<'_> {
    fn tell(&self, report: &Report) -> std::io::Result<()> {
        wire::send_report(*self, report, None)
    }
}

/// Whether the command may go on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Verdict {
    End,
    GoOn,
}

impl Watch {
    pub(super) const fn new(listener: Option<OwnedFd>) -> Self {
        Self { listener, births: None, modes: None, told: Vec::new() }
    }

    /// The same where new processes and modes of files are asked about, too: there may be so many processes at once.
    pub(super) fn of_all(listener: Option<OwnedFd>, most: u64, count: fn() -> u64, modes: Modes) -> Self {
        let births = Some(Births { most, count, upper: 1 });
        Self { listener, births, modes: Some(modes), told: Vec::new() }
    }

    /// What to wait for.
    pub(super) fn polled(&self) -> Option<PollFd<'_>> {
        self.listener.as_ref().map(|listener| PollFd::new(listener, PollFlags::IN))
    }

    /// Takes what `events` announce. The call of a high attempt is never answered: the process that made it waits in
    /// the kernel until it is killed with all others.
    pub(super) fn take(&mut self, events: PollFlags, gateway: &impl Tell) -> Verdict {
        if events.contains(PollFlags::IN) {
            return self.next(gateway);
        }
        if events.intersects(PollFlags::HUP | PollFlags::ERR) {
            self.listener = None; // nobody is left who could ask
        }
        Verdict::GoOn
    }

    fn next(&mut self, gateway: &impl Tell) -> Verdict {
        let Some(listener) = &self.listener else { return Verdict::GoOn };
        // A process that ended meanwhile asks nothing any more.
        let Ok(question) = sys::next_question(listener.as_fd()) else { return Verdict::GoOn };
        if filter::is_mode(question.call) {
            let modes = self.modes.as_ref().ok_or(rustix::io::Errno::PERM);
            return after(match modes.and_then(|modes| modes.change(&question)) {
                Ok(()) => sys::done(listener.as_fd(), question.id),
                Err(errno) => sys::refuse(listener.as_fd(), question.id, errno.raw_os_error()),
            });
        }
        let [first, ..] = question.arguments;
        if filter::is_birth(question.call, first) {
            return after(match self.births.as_mut().is_some_and(Births::may_be) {
                true => sys::let_be(listener.as_fd(), question.id),
                false => sys::refuse(listener.as_fd(), question.id, libc::EAGAIN),
            });
        }
        let program = name_of(question.process);
        let severity = filter::attempt(question.call, String::new()).map(|attempt| attempt.severity);
        if !self.told.contains(&question.call) {
            self.told.push(question.call);
            let report = Report::Attempt { call: question.call, program };
            if gateway.tell(&report).is_err() {
                return Verdict::End; // what cannot be told is not gone on with
            }
        }
        if severity != Some(Severity::Medium) {
            return Verdict::End;
        }
        after(sys::refuse(listener.as_fd(), question.id, libc::EPERM))
    }
}

/// How many processes and threads there are, and may be.
struct Births {
    most: u64,
    /// Counts them, which takes a while.
    count: fn() -> u64,
    /// There are not more than so many: those that were counted, and all that were let be since.
    upper: u64,
}

impl Births {
    /// Whether there is room for one more. Counted only when so many were born that it matters.
    fn may_be(&mut self) -> bool {
        if self.upper >= self.most {
            self.upper = (self.count)();
        }
        if self.upper >= self.most {
            return false;
        }
        self.upper = self.upper.saturating_add(1);
        true
    }
}

/// The process may have been killed meanwhile, and needs no answer then.
fn after(answered: std::io::Result<()>) -> Verdict {
    match answered {
        Ok(()) => Verdict::GoOn,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Verdict::GoOn,
        Err(_) => Verdict::End,
    }
}

/// The name of a program; it chose it itself.
fn name_of(process: u32) -> String {
    let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::CLOEXEC;
    let mut bytes = [0; 64];
    let path = format!("/proc/{process}/comm");
    let read = rustix::fs::open(path, flags, rustix::fs::Mode::empty())
        .and_then(|file| rustix::io::read(&file, &mut bytes));
    let name = String::from_utf8_lossy(bytes.get(..read.unwrap_or(0)).unwrap_or_default()).into_owned();
    name.trim_end().chars().filter(|c| !c.is_control()).take(NAME_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    static THERE: AtomicU64 = AtomicU64::new(0);

    #[test]
    fn a_birth_is_let_be_while_there_is_room() {
        let mut births = Births { most: 3, count: || THERE.load(Ordering::Relaxed), upper: 0 };
        assert_eq!([1, 2, 3].map(|_| births.may_be()), [true, true, true]);
        THERE.store(3, Ordering::Relaxed);
        assert!(!births.may_be(), "all three are there");
        THERE.store(1, Ordering::Relaxed);
        assert_eq!([1, 2].map(|_| births.may_be()), [true, true], "two have ended");
        THERE.store(3, Ordering::Relaxed);
        assert!(!births.may_be());
    }
}
