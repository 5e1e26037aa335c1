//! Running a program from its question to the end of its last process.

use std::io;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Instant;

use moltbot_policy::secret::program::SecretProgramPermit;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal};
use secrecy::ExposeSecret as _;
use zeroize::Zeroizing;

use super::family::{Family, Left};
use super::{AskError, ProgramSurroundings};

/// Where a program finds others: the system's folders, and no folder of anybody's choice.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// One read of what it prints.
const BUFFER: usize = 16 * 1024;

/// How a program ended.
enum End {
    /// By itself.
    Ended(ExitStatus),
    /// It printed too much.
    Long,
    /// Its time was over.
    Slow,
}

/// Runs the program behind `handle`, asks it, and gives what it printed when it ended well and left nothing.
pub(super) fn run(
    permit: &SecretProgramPermit,
    handle: &OwnedFd,
    request: &[u8],
    surroundings: ProgramSurroundings<'_>,
) -> Result<Zeroizing<Vec<u8>>, AskError> {
    let program = || permit.program().to_owned();
    let failed = |source: io::Error| AskError::Start { program: program(), source };
    let family = Family::begin().map_err(failed)?;
    let child = start(permit, handle, surroundings).map_err(failed)?;
    let mut talk = match Talk::of(child, request, permit.output_bytes()) {
        Ok(talk) => talk,
        Err(error) => {
            family.kill().map_err(failed)?;
            return Err(failed(error));
        }
    };
    let end = talk.hold(Instant::now() + permit.timeout());
    // Whatever happened, nothing of it goes on.
    let left = match end {
        Ok(End::Ended(_)) => family.end(),
        Ok(End::Long | End::Slow) | Err(_) => {
            talk.kill();
            family.kill()
        }
    };
    match left.map_err(failed)? {
        Left::Survivors(pids) => {
            let processes = pids.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
            return Err(AskError::Survived { program: program(), processes });
        }
        Left::Killed if matches!(end, Ok(End::Ended(_))) => {
            return Err(AskError::Left { program: program() });
        }
        Left::Killed | Left::Nothing => {}
    }
    // Nobody writes to the pipes any more: what is left in them is the end.
    let is_long = talk.listen().map_err(failed)?;
    match end.map_err(failed)? {
        End::Slow => Err(AskError::Slow { program: program(), after: permit.timeout() }),
        End::Ended(status) if !is_long && status.success() => Ok(std::mem::take(&mut talk.printed)),
        End::Ended(status) if !is_long => {
            Err(AskError::Failed { program: program(), exit: in_words(status), bytes: talk.complaints })
        }
        End::Ended(_) | End::Long => Err(AskError::Long { program: program(), most: permit.output_bytes() }),
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the door to processes: runs a recorded program of the owner's config"
)]
fn start(
    permit: &SecretProgramPermit,
    handle: &OwnedFd,
    surroundings: ProgramSurroundings<'_>,
) -> io::Result<Child> {
    // The program inherits its own handle: the interpreter of a script opens it by that name.
    let inherited = rustix::io::dup(handle)?;
    let mut command = Command::new(format!("/proc/self/fd/{}", inherited.as_raw_fd()));
    command.arg0(permit.program()).args(permit.arguments());
    command.env_clear().env("HOME", surroundings.home).env("PATH", PATH);
    for name in permit.variables() {
        if let Some(value) = (surroundings.variable)(name) {
            command.env(name, value.expose_secret());
        }
    }
    // Not the terminal's group: it neither reads what is typed there nor dies of an interrupt meant for moltbot.
    command.current_dir("/").process_group(0);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()
}

/// What is exchanged with a program.
struct Talk<'a> {
    child: Child,
    ended: OwnedFd,
    question: Option<OwnedFd>,
    unasked: &'a [u8],
    output: Option<OwnedFd>,
    errors: Option<OwnedFd>,
    printed: Zeroizing<Vec<u8>>,
    most: usize,
    /// Bytes on standard error.
    complaints: u64,
}

impl<'a> Talk<'a> {
    fn of(mut child: Child, request: &'a [u8], most: usize) -> io::Result<Self> {
        let pid = Pid::from_child(&child);
        let question = child.stdin.take().map(OwnedFd::from);
        let output = child.stdout.take().map(OwnedFd::from);
        let errors = child.stderr.take().map(OwnedFd::from);
        for pipe in [&question, &output, &errors].into_iter().flatten() {
            rustix::io::ioctl_fionbio(pipe, true)?;
        }
        let ended = rustix::process::pidfd_open(pid, PidfdFlags::empty())?;
        // Large enough from the start: growing would leave copies of secrets behind.
        let printed = Zeroizing::new(Vec::with_capacity(most.saturating_add(1)));
        Ok(Self { child, ended, question, unasked: request, output, errors, printed, most, complaints: 0 })
    }

    /// Asks and listens until the program ends, prints too much, or its time is over.
    fn hold(&mut self, until: Instant) -> io::Result<End> {
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(End::Slow);
            }
            self.wait(Timespec {
                tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
                tv_nsec: i64::from(left.subsec_nanos()),
            })?;
            self.ask()?;
            if self.listen()? {
                return Ok(End::Long);
            }
            if let Some(status) = self.child.try_wait()? {
                return Ok(End::Ended(status));
            }
        }
    }

    /// Waits until there is something to do.
    fn wait(&self, most: Timespec) -> io::Result<()> {
        let mut waited = vec![PollFd::new(&self.ended, PollFlags::IN)];
        waited.extend(self.question.as_ref().map(|pipe| PollFd::new(pipe, PollFlags::OUT)));
        waited.extend(
            [&self.output, &self.errors].into_iter().flatten().map(|pipe| PollFd::new(pipe, PollFlags::IN)),
        );
        match poll(&mut waited, Some(&most)) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Writes what the pipe takes of the question, and closes it behind the last byte. A program need not listen.
    fn ask(&mut self) -> io::Result<()> {
        while let Some(pipe) = self.question.as_ref().filter(|_| !self.unasked.is_empty()) {
            match rustix::io::write(pipe, self.unasked) {
                Ok(count) => self.unasked = self.unasked.get(count..).unwrap_or_default(),
                Err(Errno::AGAIN) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(Errno::PIPE) => self.unasked = &[],
                Err(errno) => return Err(errno.into()),
            }
        }
        self.question = None;
        Ok(())
    }

    /// Reads what is there; whether it is too much.
    fn listen(&mut self) -> io::Result<bool> {
        let mut buffer = Zeroizing::new([0; BUFFER]);
        while let Some(count) = next(&mut self.errors, &mut buffer)? {
            self.complaints = self.complaints.saturating_add(u64::try_from(count).unwrap_or(u64::MAX));
        }
        while let Some(count) = next(&mut self.output, &mut buffer)? {
            let bytes = buffer.get(..count).unwrap_or_default();
            if bytes.len() > self.most.saturating_sub(self.printed.len()) {
                return Ok(true);
            }
            self.printed.extend_from_slice(bytes);
        }
        Ok(false)
    }

    /// Kills the program and its group, and takes it out of the process table.
    fn kill(&mut self) {
        // Before it is waited for: afterwards its number may be another's.
        let group = rustix::process::kill_process_group(Pid::from_child(&self.child), Signal::KILL);
        let gone = matches!(group, Ok(()) | Err(Errno::SRCH | Errno::PERM));
        if !gone || self.child.kill().is_err() || self.child.wait().is_err() {
            tracing::warn!("a program that was asked for secrets cannot be waited for");
        }
    }
}

/// Reads what is there of a pipe into `buffer`; nothing when there is nothing now, or will be nothing any more.
fn next(pipe: &mut Option<OwnedFd>, buffer: &mut [u8; BUFFER]) -> io::Result<Option<usize>> {
    let Some(open) = pipe.as_ref().map(AsFd::as_fd) else { return Ok(None) };
    match read(open, buffer) {
        Ok(0) => {
            *pipe = None;
            Ok(None)
        }
        Ok(count) => Ok(Some(count)),
        Err(Errno::AGAIN) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

fn read(pipe: BorrowedFd<'_>, buffer: &mut [u8; BUFFER]) -> Result<usize, Errno> {
    rustix::io::retry_on_intr(|| rustix::io::read(pipe, &mut buffer[..]))
}

fn in_words(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "an unknown state".into(),
    }
}
