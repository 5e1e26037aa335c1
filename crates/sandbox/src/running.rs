//! A command that runs: its output, its reports, its time, and its end.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::process::Child;
use std::time::Duration;

use moltbot_config::limits;
use moltbot_policy::incident::Attempt;
use rustix::net::Shutdown;
use rustix::process::Signal;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::oneshot;
use tokio::time::{Instant, Interval, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use crate::feed::Feed;
use crate::filter;
use crate::groups::Group;
use crate::outcome::{Exit, RunError, Step};
use crate::spawner::{Spawner, Started};
use crate::stopper::{Known, Stopper};
use crate::wire::{self, Report, Walls};
use crate::written::Written;

/// A helper and what came of it so far. Dropped before its end, it kills everything.
pub(crate) struct Running {
    spawner: Spawner,
    child: Option<Child>,
    ended: AsyncFd<OwnedFd>,
    reports: AsyncFd<OwnedFd>,
    reports_open: bool,
    output: Written,
    output_open: bool,
    /// The first process of the namespace: it has ended when the namespace is empty.
    first: Option<AsyncFd<OwnedFd>>,
    /// Who waits for the socket that listens within the namespace.
    way_out: Option<oneshot::Sender<OwnedFd>>,
    walls: Option<Walls>,
    end: Option<Result<Exit, RunError>>,
    kept: Kept,
    attempts: Vec<Attempt>,
    stopper: Stopper,
    /// Whether the helper keeps the command's processes, and is let go of instead of killed.
    keeps: bool,
    /// What the kernel counts of it.
    group: Option<Group>,
    /// That a stop finds the helper, and the first process once it is there.
    known: Vec<Known>,
}

/// What came of it.
pub(crate) struct Finished {
    pub(crate) exit: Exit,
    pub(crate) kept: Kept,
    pub(crate) walls: Option<Walls>,
    /// The container that it ran in.
    pub(crate) container: Option<String>,
}

impl Finished {
    /// The end of a command that was stopped before it was started.
    pub(crate) fn before_start(exit: Exit) -> Self {
        Self { exit, kept: Kept::default(), walls: None, container: None }
    }
}

impl Running {
    /// Watches over a helper that was started.
    pub(crate) fn new(
        started: Started,
        spawner: Spawner,
        stopper: Stopper,
        kept: Kept,
        way_out: Option<oneshot::Sender<OwnedFd>>,
    ) -> io::Result<Self> {
        let Started { child, ended, output, reports, known, keeps, is_terminal, group } = started;
        Ok(Self {
            spawner,
            child: Some(child),
            ended: await_readable(ended)?,
            reports: await_readable(reports)?,
            reports_open: true,
            output: Written::of(output, is_terminal)?,
            output_open: true,
            first: None,
            way_out,
            walls: None,
            end: None,
            kept,
            attempts: Vec::new(),
            stopper,
            keeps,
            group,
            known: vec![known],
        })
    }

    /// Waits until no process of the command is left.
    pub(crate) async fn finish(
        &mut self,
        timeout: Duration,
        abort: &CancellationToken,
    ) -> Result<Finished, RunError> {
        let deadline = Instant::now() + timeout;
        let mut buffer = vec![0; BUFFER];
        let mut looks = tokio::time::interval_at(Instant::now() + limits::MEMORY_WATCH, limits::MEMORY_WATCH);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while self.reports_open {
            tokio::select! {
                biased;
                () = abort.cancelled(), if self.end.is_none() => self.stop(Exit::Aborted),
                () = tokio::time::sleep_until(deadline), if self.end.is_none() => self.stop(Exit::TimedOut),
                report = next_report(&self.reports) => self.note(report),
                () = run_out(self.group.as_ref(), &mut looks), if self.end.is_none() => self.stop(Exit::OutOfMemory),
                read = self.output.read(&mut buffer), if self.output_open => self.keep(&buffer, read),
            }
            if self.end.is_some() {
                // Whatever the end was, nothing of it may go on.
                self.kill();
                break;
            }
        }
        if self.end.is_none() {
            self.kill();
        }
        tokio::time::timeout(limits::COMMAND_END, self.run_dry(&mut buffer))
            .await
            .map_err(|_| RunError::Survived)?;
        let has_run_out = self.group.as_ref().is_some_and(Group::has_run_out);
        self.bury().await;
        let walls = self.walls;
        // Killed by a stop before we were told of it.
        let lost = || if abort.is_cancelled() { Ok(Exit::Aborted) } else { Err(lost(walls)) };
        let exit = match self.end.take() {
            // However the shell took it that one of its processes was killed.
            None | Some(Ok(Exit::Code(_) | Exit::Signal(_))) if has_run_out => Exit::OutOfMemory,
            end => end.unwrap_or_else(lost)?,
        };
        Ok(Finished { exit, kept: std::mem::take(&mut self.kept), walls, container: None })
    }

    /// Reads what is left of the reports and the output until every process is gone.
    async fn run_dry(&mut self, buffer: &mut [u8]) {
        while self.output_open {
            tokio::select! {
                report = next_report(&self.reports), if self.reports_open => self.note(report),
                read = self.output.read(buffer) => self.keep(buffer, read),
            }
        }
        while self.reports_open {
            let report = next_report(&self.reports).await;
            self.note(report);
        }
        if let Some(first) = &self.first
            && let Err(error) = first.readable().await
        {
            tracing::warn!(%error, "cannot wait for the last process of a command");
        }
    }

    /// Has the outer process taken out of the process table. Where there was a namespace it is empty by now, and what
    /// the outer process still does, unmounting, need not be waited for.
    async fn bury(&mut self) {
        if self.first.is_none()
            && let Err(error) = self.ended.readable().await
        {
            tracing::warn!(%error, "cannot wait for a helper");
        }
        if let Some(child) = self.child.take() {
            self.spawner.bury(child, self.group.take());
        }
    }

    /// What was seen of attempts to leave the walls.
    pub(crate) fn attempts(&mut self) -> Vec<Attempt> {
        std::mem::take(&mut self.attempts)
    }

    fn note(&mut self, report: io::Result<Option<(Report, Option<OwnedFd>)>>) {
        match report {
            Ok(Some((Report::Born, handle))) => {
                let copy = handle.as_ref().and_then(|handle| handle.try_clone().ok());
                self.known.extend(copy.map(|copy| self.stopper.know(copy)));
                self.first = handle.and_then(|handle| await_readable(handle).ok());
                if self.end.is_some() {
                    self.kill();
                }
            }
            Ok(Some((Report::Attempt { call, program }, _))) => {
                self.attempts.extend(filter::attempt(call, program));
            }
            Ok(Some((Report::Listening, socket))) => self.hand_over(socket),
            Ok(Some((Report::Started(walls), _))) => self.walls = Some(walls),
            Ok(Some((Report::Ended(exit), _))) => {
                self.end.get_or_insert(Ok(exit));
            }
            Ok(Some((Report::Failed { step, cause }, _))) => {
                self.end.get_or_insert(Err(RunError::setup(step, cause)));
            }
            Ok(None) => self.reports_open = false,
            Err(error) => {
                tracing::warn!(%error, "a report of the sandbox's helper cannot be read");
                self.reports_open = false;
            }
        }
    }

    /// A command without its proxy would fail in ways that nobody understands: it does not run.
    fn hand_over(&mut self, socket: Option<OwnedFd>) {
        let taken = self.way_out.take().zip(socket).is_some_and(|(proxy, socket)| proxy.send(socket).is_ok());
        // The helper waits for this word: nothing begins before.
        if !taken || wire::send_served(self.reports.get_ref().as_fd()).is_err() {
            self.end.get_or_insert(Err(RunError::setup(Step::Network, "nobody serves its proxy".into())));
        }
    }

    fn keep(&mut self, buffer: &[u8], read: io::Result<usize>) {
        match read {
            Ok(0) => self.output_open = false,
            Ok(length) => self.kept.add(buffer.get(..length).unwrap_or_default()),
            Err(error) => {
                tracing::warn!(%error, "the output of a command cannot be read");
                self.output_open = false;
            }
        }
    }

    fn stop(&mut self, exit: Exit) {
        self.end = Some(Ok(exit));
    }

    /// Kills the first process, whose end kills the rest. The outer one, its parent, then ends by itself and buries it:
    /// were it dead before, a gateway that is the first process of a container would have a zombie of each command.
    fn kill(&mut self) {
        match &self.first {
            _ if self.keeps => self.let_go(),
            Some(first) => kill_first(first),
            None => self.kill_outer(),
        }
    }

    /// Has the helper kill all that it keeps, and end.
    fn let_go(&self) {
        if let Err(error) = rustix::net::shutdown(self.reports.get_ref(), Shutdown::Write)
            && error != rustix::io::Errno::NOTCONN
        {
            tracing::warn!(%error, "a helper cannot be told to end its command");
        }
    }

    fn kill_outer(&mut self) {
        if let Some(child) = &mut self.child
            && let Err(error) = child.kill()
        {
            tracing::warn!(%error, "cannot kill a helper");
        }
    }
}

fn kill_first(first: &AsyncFd<OwnedFd>) {
    if let Err(error) = rustix::process::pidfd_send_signal(first.get_ref().as_fd(), Signal::KILL)
        && error != rustix::io::Errno::SRCH
    {
        tracing::warn!(%error, "cannot kill the first process of a command");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
        // Nobody waits for the first any more, and who buries must not be held up by a disk that hangs. Who keeps
        // processes gives up by itself.
        if !self.keeps {
            self.kill_outer();
        }
        if let Some(child) = self.child.take() {
            self.spawner.bury(child, self.group.take());
        }
    }
}

/// Waits until the kernel has killed a process of the group for memory. Control groups of version 1 lose one process at a
/// time, and what is left of the command would go on without it; where there is no group this waits for ever.
async fn run_out(group: Option<&Group>, looks: &mut Interval) {
    let Some(group) = group else { return std::future::pending().await };
    loop {
        looks.tick().await;
        if group.has_run_out() {
            return;
        }
    }
}

/// One read of the output: what a pipe holds.
const BUFFER: usize = 64 * 1024;

/// Why there is no end: the helper went away.
fn lost(walls: Option<Walls>) -> RunError {
    match walls {
        None => RunError::setup(Step::Start, "the helper ended without a word".into()),
        Some(_) => RunError::Lost,
    }
}

/// Lets the runtime tell when there is something to read.
#[expect(
    deprecated,
    reason = "what replaces it is unsafe; an owned descriptor stays open as long as it is registered"
)]
pub(crate) fn await_readable(descriptor: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(descriptor, Interest::READABLE)
}

async fn next_report(socket: &AsyncFd<OwnedFd>) -> io::Result<Option<(Report, Option<OwnedFd>)>> {
    loop {
        let mut ready = socket.readable().await?;
        if let Ok(report) = ready.try_io(|socket| wire::receive_report(socket.get_ref().as_fd())) {
            return report;
        }
    }
}

/// Output up to a limit, and the count of the rest.
#[derive(Default)]
pub(crate) struct Kept {
    most: usize,
    /// Who looks at it while it comes.
    feed: Option<Feed>,
    pub(crate) bytes: Vec<u8>,
    pub(crate) dropped: u64,
}

impl Kept {
    /// Nothing yet, and room for `most` bytes.
    pub(crate) fn new(most: usize, feed: Option<Feed>) -> Self {
        Self { most, feed, bytes: Vec::new(), dropped: 0 }
    }

    /// Keeps what there is room for.
    pub(crate) fn add(&mut self, bytes: &[u8]) {
        if let Some(feed) = &self.feed {
            feed.add(bytes);
        }
        let room = self.most.saturating_sub(self.bytes.len()).min(bytes.len());
        let (kept, rest) = bytes.split_at_checked(room).unwrap_or((bytes, &[]));
        self.bytes.extend_from_slice(kept);
        self.dropped = self.dropped.saturating_add(u64::try_from(rest.len()).unwrap_or(u64::MAX));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_beyond_the_limit_is_counted_and_not_kept() {
        let mut kept = Kept::new(5, None);
        for part in [b"abc", b"def", b"ghi"] {
            kept.add(part);
        }
        assert_eq!((kept.bytes.as_slice(), kept.dropped), (b"abcde".as_slice(), 4));
    }
}
