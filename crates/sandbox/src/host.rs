//! Commands of the agent outside the walls: one simple command at a time, each approved by the owner.
//!
//! No shell reads it. Its program, and the script file that an interpreter is given, are copied into memory files that
//! nobody can change, their digests are taken from those copies and compared with what was approved, and the copies are what
//! runs: whatever happens to the files meanwhile changes nothing ([`copies`]). Its folder is entered by handle. The program run
//! again as its keeper ([`keeper`]) takes in every process that comes of it, and leaves none when it has ended, its time is
//! over, its turn is stopped, or the gateway is gone.

mod copies;
mod keeper;
mod message;

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use moltbot_config::limits;
use moltbot_policy::approval::HostPermit;
use moltbot_policy::command::Ended;
use moltbot_policy::{Book as _, Entry, Recorded, Unrecorded};
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use rustix::pipe::PipeFlags;
use thiserror::Error;
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncReadExt as _, Interest};
use tokio::net::unix::pipe;
use tokio_util::sync::CancellationToken;

use crate::Sandbox;
use crate::examine::ExamineError;
use crate::outcome::{Exit, Outcome};
use crate::stopper::{Known, Stopper};

pub use keeper::keeper_main;

/// The first argument with which the program runs itself as the keeper of a command outside the walls.
pub const KEEPER: &str = "__host-keeper";
/// One read of the output.
const BUFFER: usize = 64 * 1024;

/// Why a command outside the walls has no outcome.
#[derive(Debug, Error)]
#[expect(missing_docs, reason = "each message names its fields")]
#[non_exhaustive]
pub enum HostError {
    /// What is there is not what was approved.
    #[error("{what} is not what was approved any more, so the command did not run; ask again")]
    Drift { what: String },
    /// It cannot be looked at.
    #[error(transparent)]
    Examine(ExamineError),
    /// A script whose interpreter is not the system's.
    #[error("{path} is a script for {interpreter}, which is in none of the system's folders; it was not run")]
    Interpreter { path: String, interpreter: String },
    /// The keeper ended without a word.
    #[error(
        "the keeper of the command ended without saying how the command ended; look for what it left behind"
    )]
    Lost,
    /// It could not be started.
    #[error("the command could not be started: {cause}")]
    Start { cause: String },
    /// Killed processes are still there.
    #[error("processes of the command were killed but have not ended: a disk may hang; see `dmesg`")]
    Survived,
    /// The command ended, and that could not be recorded.
    #[error("the command ended ({exit}), but that could not be recorded")]
    Unrecorded { exit: String, source: Unrecorded },
}

impl From<io::Error> for HostError {
    fn from(error: io::Error) -> Self {
        Self::Start { cause: error.to_string() }
    }
}

impl Sandbox {
    /// Runs an approved command outside the walls and waits until none of its processes is left. Its end is entered into the
    /// book. `workspace` is opened by the vault; the command starts in the approved folder of it. `abort` kills everything,
    /// and so does dropping the future.
    ///
    /// # Errors
    /// When anything is not what was approved (the command did not run), it cannot be started, or its end cannot be recorded.
    pub async fn run_on_host(
        &self,
        permit: Recorded<HostPermit>,
        workspace: OwnedFd,
        abort: CancellationToken,
    ) -> Result<Outcome, HostError> {
        let began = Instant::now();
        let (start, permit) = (permit.sequence(), std::sync::Arc::new(permit.into_permit()));
        let result = self.keep(&permit, workspace, &abort).await;
        let said = result.as_ref().map_or_else(ToString::to_string, |(exit, _)| exit.to_string());
        let exit = result.as_ref().ok().and_then(|(exit, _)| exit.code());
        let ended = Ended { outcome: said.clone(), exit, duration: began.elapsed() };
        let entered = self.enter_end(permit.end_entry(start, &ended)).await;
        entered.map_err(|source| HostError::Unrecorded { exit: said, source })?;
        let (exit, kept) = result?;
        let Kept { bytes: output, dropped, .. } = kept;
        Ok(Outcome {
            exit,
            output,
            truncated: dropped > 0,
            dropped_bytes: dropped,
            attempts: Vec::new(),
            duration: began.elapsed(),
        })
    }

    async fn keep(
        &self,
        permit: &std::sync::Arc<HostPermit>,
        workspace: OwnedFd,
        abort: &CancellationToken,
    ) -> Result<(Exit, Kept), HostError> {
        let _place = tokio::select! {
            place = self.place() => place?,
            () = abort.cancelled() => return Ok((Exit::Aborted, Kept::default())),
        };
        if self.stopper().is_stopped() {
            return Ok((Exit::Aborted, Kept::default()));
        }
        let (program, ours) = (self.helper().to_owned(), std::sync::Arc::clone(permit));
        let stopper = self.stopper();
        let started = tokio::task::spawn_blocking(move || {
            let copies = copies::take(&ours, workspace.as_fd())?;
            start(&program, &ours, &copies, &stopper)
        });
        let started = started.await.map_err(io::Error::other)??;
        Kept::follow(started, permit.profile().output_bytes, permit.profile().timeout, abort).await
    }

    async fn enter_end(&self, entry: Entry) -> Result<Vec<u64>, Unrecorded> {
        self.ledger().enter_soon(vec![entry]).await
    }
}

/// A keeper that was started.
struct Started {
    keeper: Keeper,
    /// That a stop finds it, whatever the runtime does.
    known: Known,
    socket: OwnedFd,
    output: OwnedFd,
}

/// The keeper's process, waited for when it is dropped, so that none stays a zombie. It ends when its socket does.
struct Keeper(Option<Child>);

impl Drop for Keeper {
    fn drop(&mut self) {
        let Some(mut child) = self.0.take() else { return };
        let wait = move || {
            if let Err(error) = child.wait() {
                tracing::warn!(%error, "the keeper of a command cannot be waited for");
            }
        };
        drop(std::thread::Builder::new().name("host-keeper".into()).spawn(wait));
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the door to processes: starts the keeper of a recorded command that the owner approved"
)]
fn start(
    program: &std::path::Path,
    permit: &HostPermit,
    copies: &copies::Copies,
    stopper: &Stopper,
) -> Result<Started, HostError> {
    let (near, far) =
        rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
            .map_err(io::Error::from)?;
    let (output, writer) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC).map_err(io::Error::from)?;
    message::send_order(near.as_fd(), permit, copies)?;
    let mut child = Command::new(program)
        .arg(KEEPER)
        .env_clear()
        .current_dir("/")
        // Not the terminal's group: an interrupt meant for the gateway would kill the keeper and leave what it keeps.
        .process_group(0)
        .stdin(Stdio::from(far))
        .stdout(Stdio::from(writer.try_clone()?))
        .stderr(Stdio::from(writer))
        .spawn()?;
    let handle = crate::spawner::pidfd_of(&child).and_then(|process| Ok((process, near.try_clone()?)));
    let known = match handle {
        Ok((process, socket)) => stopper.know_keeper(process, socket),
        Err(error) => {
            // No stop would find it. It goes when its socket does, and nothing has come of it yet that would not.
            drop(near);
            child.wait()?;
            return Err(error.into());
        }
    };
    rustix::io::ioctl_fionbio(&near, true).map_err(io::Error::from)?;
    rustix::io::ioctl_fionbio(&output, true).map_err(io::Error::from)?;
    Ok(Started { keeper: Keeper(Some(child)), known, socket: near, output })
}

/// Output up to a limit, and the count of the rest.
#[derive(Default)]
struct Kept {
    most: usize,
    bytes: Vec<u8>,
    dropped: u64,
}

impl Kept {
    /// Follows a command to its end.
    async fn follow(
        started: Started,
        most: usize,
        timeout: Duration,
        abort: &CancellationToken,
    ) -> Result<(Exit, Self), HostError> {
        let Started { keeper, known, socket, output } = started;
        let mut kept = Self { most, ..Self::default() };
        let mut output = pipe::Receiver::from_owned_fd(output)?;
        let socket = readable(socket)?;
        let deadline = tokio::time::Instant::now() + timeout;
        let mut buffer = vec![0; BUFFER];
        let (mut open, mut end) = (true, None);
        while end.is_none() {
            tokio::select! {
                biased;
                () = abort.cancelled() => end = Some(Ok(Exit::Aborted)),
                () = tokio::time::sleep_until(deadline) => end = Some(Ok(Exit::TimedOut)),
                report = message::next_report(&socket) => end = Some(report?),
                read = output.read(&mut buffer), if open => open = kept.add(&buffer, read?),
            }
        }
        // Its end of the socket is what keeps the command: nothing of it goes on after this.
        message::let_go(&socket);
        let dry = async {
            while open {
                let read = output.read(&mut buffer).await?;
                open = kept.add(&buffer, read);
            }
            message::gone(&socket).await
        };
        tokio::time::timeout(limits::COMMAND_END, dry).await.map_err(|_| HostError::Survived)??;
        drop((keeper, known));
        Ok((end.unwrap_or(Err(HostError::Lost))?, kept))
    }

    /// Takes a part; whether there may be more.
    fn add(&mut self, buffer: &[u8], length: usize) -> bool {
        let bytes = buffer.get(..length).unwrap_or_default();
        let room = self.most.saturating_sub(self.bytes.len()).min(bytes.len());
        let (kept, rest) = bytes.split_at_checked(room).unwrap_or((bytes, &[]));
        self.bytes.extend_from_slice(kept);
        self.dropped = self.dropped.saturating_add(u64::try_from(rest.len()).unwrap_or(u64::MAX));
        length > 0
    }
}

#[expect(
    deprecated,
    reason = "what replaces it is unsafe; an owned descriptor stays open as long as it is registered"
)]
fn readable(descriptor: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(descriptor, Interest::READABLE)
}
