//! What the first process is told of calls that lead out, and what it answers.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use moltbot_policy::command::Severity;
use rustix::event::{PollFd, PollFlags};

use crate::filter;
use crate::sys;
use crate::wire::{self, Report};

/// Characters of a program's name, as the kernel keeps it.
const NAME_CHARS: usize = 15;

/// Listens for calls that lead out.
pub(super) struct Watch {
    listener: Option<OwnedFd>,
    /// The numbers that the gateway was told: a program that goes on trying is told of once.
    told: Vec<i64>,
}

/// Whether the command may go on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Verdict {
    End,
    GoOn,
}

impl Watch {
    pub(super) const fn new(listener: Option<OwnedFd>) -> Self {
        Self { listener, told: Vec::new() }
    }

    /// What to wait for.
    pub(super) fn polled(&self) -> Option<PollFd<'_>> {
        self.listener.as_ref().map(|listener| PollFd::new(listener, PollFlags::IN))
    }

    /// Takes what `events` announce. The call of a high attempt is never answered: the process that made it waits in
    /// the kernel until it is killed with all others.
    pub(super) fn take(&mut self, events: PollFlags, gateway: BorrowedFd<'_>) -> Verdict {
        if events.contains(PollFlags::IN) {
            return self.next(gateway);
        }
        if events.intersects(PollFlags::HUP | PollFlags::ERR) {
            self.listener = None; // nobody is left who could ask
        }
        Verdict::GoOn
    }

    fn next(&mut self, gateway: BorrowedFd<'_>) -> Verdict {
        let Some(listener) = &self.listener else { return Verdict::GoOn };
        // A process that ended meanwhile asks nothing any more.
        let Ok(question) = sys::next_question(listener.as_fd()) else { return Verdict::GoOn };
        let program = name_of(question.process);
        let severity = filter::attempt(question.call, String::new()).map(|attempt| attempt.severity);
        if !self.told.contains(&question.call) {
            self.told.push(question.call);
            let report = Report::Attempt { call: question.call, program };
            if wire::send_report(gateway, &report, None).is_err() {
                return Verdict::End; // what cannot be told is not gone on with
            }
        }
        if severity != Some(Severity::Medium) {
            return Verdict::End;
        }
        // The process may have been killed meanwhile, and needs no answer then.
        match sys::refuse(listener.as_fd(), question.id) {
            Ok(()) => Verdict::GoOn,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Verdict::GoOn,
            Err(_) => Verdict::End,
        }
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
