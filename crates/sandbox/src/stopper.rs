//! The end of everything that runs, at once: from any thread, and without the runtime, which may be busy.
//!
//! Every helper is known here from before it can do anything. While commands are stopped none is started, and one that
//! was being started is killed.

use std::collections::HashMap;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::Shutdown;
use rustix::process::{Signal, pidfd_send_signal};

/// Stops the commands of the sandboxes that were made with it. Clones stop the same ones.
#[derive(Clone, Debug, Default)]
pub struct Stopper(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    stopped: bool,
    next: u64,
    /// Handles of processes whose end is the end of a command.
    living: HashMap<u64, Arc<Living>>,
}

/// A process whose end is the end of a command.
#[derive(Debug)]
struct Living {
    process: OwnedFd,
    /// Whether it has a command.
    runs: AtomicBool,
    /// Where it keeps a family that would outlive it when it were killed: the socket that says so. It kills them all when
    /// nobody holds, or writes to, the other end any more.
    keeps_by: Option<OwnedFd>,
}

/// Processes that were killed.
#[derive(Debug)]
#[must_use = "that they were killed does not say that they have ended"]
pub struct Dying(Vec<Arc<Living>>);

impl Dying {
    /// Waits for their end, `patience` at most.
    pub fn wait(self, patience: Duration) -> Killed {
        let killed = self.0.iter().filter(|living| living.runs.load(Ordering::Relaxed)).count();
        Killed { killed, left: wait(&self.0, patience) }
    }
}

/// What a stop found.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Killed {
    /// Processes that were killed, each with all that came of it. Walls that stood empty do not count.
    pub killed: usize,
    /// Those of them that had not ended when the time was over.
    pub left: usize,
}

/// A process that is known. Forgotten when this is dropped.
#[derive(Debug)]
pub(crate) struct Known {
    stopper: Stopper,
    number: u64,
}

impl Stopper {
    /// Whether commands are stopped.
    pub fn is_stopped(&self) -> bool {
        self.lock().stopped
    }

    /// Kills every command and has none started, until [`Self::resume`]. Waits for nothing.
    pub fn stop(&self) -> Dying {
        let living: Vec<Arc<Living>> = {
            let mut state = self.lock();
            state.stopped = true;
            state.living.values().map(Arc::clone).collect()
        };
        living.iter().for_each(|process| process.end());
        Dying(living)
    }

    /// Lets commands be started again.
    pub fn resume(&self) {
        self.lock().stopped = false;
    }

    /// Makes a process known, before it can do anything. While commands are stopped it is killed.
    pub(crate) fn know(&self, process: OwnedFd) -> Known {
        self.enlist(Living { process, runs: true.into(), keeps_by: None })
    }

    /// The same for walls that have no command yet.
    pub(crate) fn know_empty(&self, process: OwnedFd) -> Known {
        self.enlist(Living { process, runs: false.into(), keeps_by: None })
    }

    /// The same for a keeper, which is not killed but let go of: it then kills all that it keeps, and ends.
    pub(crate) fn know_keeper(&self, process: OwnedFd, socket: OwnedFd) -> Known {
        self.enlist(Living { process, runs: true.into(), keeps_by: Some(socket) })
    }

    fn enlist(&self, process: Living) -> Known {
        let process = Arc::new(process);
        let mut state = self.lock();
        let number = state.next;
        state.next = state.next.saturating_add(1);
        state.living.insert(number, Arc::clone(&process));
        let stopped = state.stopped;
        drop(state);
        if stopped {
            process.end();
        }
        Known { stopper: self.clone(), number }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    /// Walls that stood empty have a command now.
    pub(crate) fn begin(&self) {
        if let Some(living) = self.stopper.lock().living.get(&self.number) {
            living.runs.store(true, Ordering::Relaxed);
        }
    }
}

impl Drop for Known {
    fn drop(&mut self) {
        self.stopper.lock().living.remove(&self.number);
    }
}

impl Living {
    fn end(&self) {
        let Some(socket) = &self.keeps_by else { return kill(self.process.as_fd()) };
        if let Err(error) = rustix::net::shutdown(socket, Shutdown::Write)
            && error != Errno::NOTCONN
        {
            tracing::error!(%error, "the keeper of a command cannot be told to end it");
        }
    }
}

fn kill(process: BorrowedFd<'_>) {
    match pidfd_send_signal(process, Signal::KILL) {
        Ok(()) | Err(Errno::SRCH) => {}
        Err(error) => tracing::error!(%error, "a process of a command cannot be killed"),
    }
}

/// Waits until all have ended, or the time is over. How many have not.
fn wait(living: &[Arc<Living>], patience: Duration) -> usize {
    let until = Instant::now() + patience;
    let mut left: Vec<&Arc<Living>> = living.iter().collect();
    while !left.is_empty() {
        let now = until.saturating_duration_since(Instant::now());
        let time = Timespec::try_from(now).unwrap_or_default();
        let mut polled: Vec<PollFd<'_>> =
            left.iter().map(|process| PollFd::new(&process.process, PollFlags::IN)).collect();
        match poll(&mut polled, Some(&time)) {
            Ok(0) => break,
            Ok(_) => {
                let ended: Vec<bool> = polled.iter().map(|one| !one.revents().is_empty()).collect();
                let mut ended = ended.into_iter();
                left.retain(|_| !ended.next().unwrap_or(false));
            }
            Err(Errno::INTR) => {}
            Err(error) => {
                tracing::error!(%error, "cannot wait for the end of commands");
                break;
            }
        }
    }
    left.len()
}
