//! The one thread that starts helpers.
//!
//! A helper dies when the thread that started it does, so this must not be a thread of a pool, which ends when idle.
//! It lives as long as the [`Sandbox`](crate::Sandbox) and its clones; when they are gone, so are the commands. It also
//! has the walls built that stand ready ([`Spare`]).

use std::cell::OnceCell;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;

use rustix::net::{AddressFamily, SocketFlags, SocketType};
use rustix::process::PidfdFlags;
use tokio::sync::oneshot;

use crate::HELPER;
use crate::filter::{self, Beside};
use crate::groups::{Group, Groups};
use crate::spare::{Shape, Spare};
use crate::stopper::{Known, Stopper};
use crate::wire::{self, Along, Builder, ModelEnds, Request};
use crate::written;

/// The way to the thread. Clones lead to the same one.
#[derive(Clone, Debug)]
pub(crate) struct Spawner {
    orders: mpsc::Sender<Order>,
    /// What holds the memory of all processes of a command together.
    limiter: &'static str,
}

#[derive(Debug)]
enum Order {
    Bury { child: Child, group: Option<Group> },
    Start { request: Box<Request>, along: Given, reply: oneshot::Sender<io::Result<Started>> },
}

/// What a helper is handed for its command.
#[derive(Debug, Default)]
pub(crate) struct Given {
    /// The folder that it sees.
    pub(crate) workspace: Option<OwnedFd>,
    /// For the process of a local model.
    pub(crate) model: Option<ModelEnds>,
}

impl Given {
    fn lent(&self) -> Along<'_> {
        Along { workspace: self.workspace.as_ref().map(AsFd::as_fd), model: self.model.as_ref() }
    }
}

/// A helper that was started.
#[derive(Debug)]
pub(crate) struct Started {
    /// The outer process.
    pub(crate) child: Child,
    /// Readable when the outer process has ended.
    pub(crate) ended: OwnedFd,
    /// What the command writes.
    pub(crate) output: OwnedFd,
    /// Whether that is a terminal.
    pub(crate) is_terminal: bool,
    /// Where the helper reports.
    pub(crate) reports: OwnedFd,
    /// That a stop finds it.
    pub(crate) known: Known,
    /// Whether it keeps processes that would outlive it: it is not killed but let go of, by closing the reports.
    pub(crate) keeps: bool,
    /// What the kernel counts of it.
    pub(crate) group: Option<Group>,
}

impl Started {
    /// Ends it, and waits for its end.
    fn end(self) -> io::Result<()> {
        let Self { mut child, reports, keeps, known, group, .. } = self;
        drop(known);
        if keeps {
            // Its copy that a stop would have used is gone with `known`.
            drop(reports);
        } else {
            child.kill()?;
        }
        let ended = child.wait().map(|_| ());
        drop(group);
        ended
    }
}

impl Spawner {
    /// Starts the thread.
    pub(crate) fn start(helper: PathBuf, stopper: Stopper) -> io::Result<Self> {
        let (filters, groups) = (Filters::default(), Groups::find());
        let limiter = groups.limiter();
        let (orders, received) = mpsc::channel();
        thread::Builder::new().name("sandbox-spawner".into()).stack_size(256 * 1024).spawn(move || {
            let (helper, filters) = (helper.as_path(), &filters);
            let (groups, stopper) = (&groups, &stopper);
            Server { helper, filters, groups, stopper, spare: None, next: None }.serve(&received);
        })?;
        Ok(Self { orders, limiter })
    }

    /// What holds the memory of all processes of a command together.
    pub(crate) const fn limiter(&self) -> &'static str {
        self.limiter
    }

    /// Starts a helper.
    pub(crate) async fn spawn(&self, request: Request, along: Given) -> io::Result<Started> {
        let (reply, answer) = oneshot::channel();
        let order = Order::Start { request: Box::new(request), along, reply };
        self.orders.send(order).map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }

    /// Waits for a helper that was killed, so that it does not stay as a zombie, and gives its group back.
    pub(crate) fn bury(&self, child: Child, group: Option<Group>) {
        if self.orders.send(Order::Bury { child, group }).is_err() {
            tracing::warn!(
                "the thread that starts commands has ended; a helper that was killed stays a zombie"
            );
        }
    }
}

fn gone() -> io::Error {
    io::Error::other("the thread that starts commands has ended; restart the gateway")
}

/// The filters of system calls, each compiled for its first command.
#[derive(Default)]
struct Filters {
    model: OnceCell<OwnedFd>,
    plain: OnceCell<OwnedFd>,
    proxy: OnceCell<OwnedFd>,
    weak: OnceCell<OwnedFd>,
}

impl Filters {
    fn of(&self, request: &Request) -> io::Result<BorrowedFd<'_>> {
        let (cell, beside) = match (request.builder, request.proxy) {
            (Builder::Weak, _) => (&self.weak, Beside::Weak),
            (Builder::Bubblewrap | Builder::Helper, _) if request.model => (&self.model, Beside::Model),
            (Builder::Bubblewrap | Builder::Helper, true) => (&self.proxy, Beside::Proxy),
            (Builder::Bubblewrap | Builder::Helper, false) => (&self.plain, Beside::All),
        };
        if cell.get().is_none() {
            let made = crate::sealed::of_bytes("moltbot-filter", &filter::compile(beside)?)?;
            drop(cell.set(made));
        }
        cell.get().map(AsFd::as_fd).ok_or_else(gone)
    }
}

/// What the thread has.
struct Server<'a> {
    helper: &'a Path,
    filters: &'a Filters,
    groups: &'a Groups,
    stopper: &'a Stopper,
    spare: Option<Spare>,
    /// What the next walls are built for: those of the command that began last.
    next: Option<(Shape, OwnedFd)>,
}

impl Server<'_> {
    fn serve(&mut self, orders: &mpsc::Receiver<Order>) {
        loop {
            let order = match &self.spare {
                None => orders.recv().map_err(Into::into),
                Some(spare) => orders.recv_timeout(spare.left()),
            };
            match order {
                Ok(Order::Bury { child, group }) => {
                    bury(child, group);
                    self.prepare();
                }
                Ok(Order::Start { request, along, reply }) => {
                    let started = self.start(&request, along);
                    if let Err(Ok(abandoned)) = reply.send(started)
                        && let Err(error) = abandoned.end()
                    {
                        tracing::warn!(%error, "cannot end a helper that nobody waits for");
                    }
                }
                Err(RecvTimeoutError::Timeout) => end(self.spare.take()),
                Err(RecvTimeoutError::Disconnected) => return end(self.spare.take()),
            }
        }
    }

    /// A helper for a command: the one that waits, or another.
    fn start(&mut self, request: &Request, along: Given) -> io::Result<Started> {
        if self.stopper.is_stopped() {
            return Err(io::Error::other(STOPPED));
        }
        let Some(shape) = Shape::of(request, along.workspace.as_ref().map(AsFd::as_fd)) else {
            // What stands ready is of no use to it, and will be to another.
            return self.helper(request, along.lent());
        };
        let started = match self.spare.take().map(|spare| spare.give(&shape, request)) {
            Some(Ok(started)) => Ok(started),
            other => {
                let started = self.helper(request, along.lent());
                end(other.and_then(Result::err).map(|spare| *spare));
                started
            }
        };
        self.next = along.workspace.map(|workspace| (shape, workspace));
        started
    }

    /// Has walls built for a command like the last one.
    fn prepare(&mut self) {
        if self.spare.is_some() || self.stopper.is_stopped() {
            return;
        }
        let Some((shape, workspace)) = self.next.take() else { return };
        let along = Along { workspace: Some(workspace.as_fd()), model: None };
        match self.helper(shape.request(), along) {
            Ok(started) => self.spare = Some(Spare::new(shape, started)),
            // The next command then says what is wrong.
            Err(error) => tracing::debug!(%error, "no walls are built ahead"),
        }
    }

    fn helper(&self, request: &Request, along: Along<'_>) -> io::Result<Started> {
        let group = self.groups.make(request)?;
        let filter = self.filters.of(request)?;
        start(self.helper, request, filter, group, along, self.stopper)
    }
}

fn bury(mut child: Child, group: Option<Group>) {
    if let Err(error) = child.wait() {
        tracing::warn!(%error, "cannot wait for a helper that was killed");
    }
    drop(group);
}

fn end(spare: Option<Spare>) {
    if let Some(Err(error)) = spare.map(Spare::end) {
        tracing::warn!(%error, "cannot end a helper that has no command");
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the door to processes: starts the helper for a recorded command"
)]
fn start(
    helper: &Path,
    request: &Request,
    filter: BorrowedFd<'_>,
    group: Option<Group>,
    along: Along<'_>,
    stopper: &Stopper,
) -> io::Result<Started> {
    let (near, far) =
        rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
    let (output, writer) = written::pair(request.terminal)?;
    // Before the start: the helper finds its request waiting, and a request that cannot be sent starts nothing.
    let entrances = group.as_ref().map_or(&[][..], Group::entrances);
    wire::send_request(near.as_fd(), request, filter, entrances, along)?;
    let keeps = request.builder == Builder::Weak;
    let letting_go = near.try_clone()?;
    let mut child = Command::new(helper)
        .arg(HELPER)
        .env_clear()
        .current_dir("/")
        // Not the terminal's group: an interrupt meant for the gateway would kill commands before they are drained.
        .process_group(0)
        .stdin(Stdio::from(far))
        .stdout(Stdio::from(writer.try_clone()?))
        .stderr(Stdio::from(writer))
        .spawn()?;
    let handles = pidfd_of(&child).and_then(|ended| Ok((ended.try_clone()?, ended)));
    let (handle, ended) = match handles {
        Ok(handles) => handles,
        Err(error) => {
            // No stop would find it. Who keeps processes ends when nobody holds the other end any more.
            drop((near, letting_go));
            if !keeps {
                child.kill()?;
            }
            child.wait()?;
            return Err(error);
        }
    };
    let known = match (keeps, request.ahead) {
        (true, _) => stopper.know_keeper(handle, letting_go),
        (false, true) => stopper.know_empty(handle),
        (false, false) => stopper.know(handle),
    };
    rustix::io::ioctl_fionbio(&near, true)?;
    Ok(Started { child, ended, output, is_terminal: request.terminal, reports: near, known, keeps, group })
}

/// Why no command is started.
const STOPPED: &str = "everything is stopped; the owner runs `moltbot resume` to go on";

/// A handle of a process that was started.
pub(crate) fn pidfd_of(child: &Child) -> io::Result<OwnedFd> {
    let pid = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw);
    let pid = pid.ok_or_else(|| io::Error::other("the helper has no process id"))?;
    Ok(rustix::process::pidfd_open(pid, PidfdFlags::empty())?)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use moltbot_policy::profile::Profile;

    use super::*;

    /// A process that ends when the gateway lets go of it, in a helper's place.
    fn waits() -> Started {
        let (reports, far) =
            rustix::net::socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)
                .unwrap();
        let (output, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
        #[expect(clippy::disallowed_methods, reason = "stands in for a helper")]
        let child = Command::new("cat").stdin(Stdio::from(far)).stdout(Stdio::from(writer)).spawn().unwrap();
        let ended = pidfd_of(&child).unwrap();
        let known = Stopper::default().know_empty(ended.try_clone().unwrap());
        let (is_terminal, keeps, group) = (false, false, None);
        Started { child, ended, output, is_terminal, reports, known, keeps, group }
    }

    #[test]
    fn walls_whose_time_is_over_are_let_go_of_while_nothing_is_ordered() {
        let started = waits();
        let ended = started.ended.try_clone().unwrap();
        let folder = rustix::fs::open("/", rustix::fs::OFlags::PATH, rustix::fs::Mode::empty()).unwrap();
        let shape = Shape::of(&Request::new("", "", &Profile::for_probe()), Some(folder.as_fd())).unwrap();
        let (orders, received) = mpsc::channel();
        let serving = thread::spawn(move || {
            let (filters, groups, stopper) = (Filters::default(), Groups::find(), Stopper::default());
            let spare = Some(Spare::until(shape, started, Instant::now() + Duration::from_millis(50)));
            let helper = Path::new("/nonexistent");
            let (filters, groups, stopper) = (&filters, &groups, &stopper);
            Server { helper, filters, groups, stopper, spare, next: None }.serve(&received);
        });
        // The way stays open: it is the time alone that ends it.
        let mut polled = [rustix::event::PollFd::new(&ended, rustix::event::PollFlags::IN)];
        assert_eq!(rustix::event::poll(&mut polled, None).unwrap(), 1, "it ends");
        assert!(!serving.is_finished());
        drop(orders);
        serving.join().unwrap();
    }
}
