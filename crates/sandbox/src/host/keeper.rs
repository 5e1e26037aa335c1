//! The keeper of one command outside the walls: starts it, takes in all that comes of it, and leaves nothing.
//!
//! The program run again, with one thread. It lives as long as the gateway holds the other end of its socket.

use std::io;
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Child, Command, ExitCode, ExitStatus};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags};

use super::message::{self, Order, Report};
use crate::outcome::Exit;
use crate::program::family::{Family, Left};
use crate::sys;

/// The longest cause that is told: with each character escaped it still fits in a report.
const CAUSE_CHARS: usize = 500;

/// Keeps one command. The program calls it before anything else, while it has one thread, when its first argument is
/// [`KEEPER`](super::KEEPER).
pub fn keeper_main() -> ExitCode {
    match keep() {
        Ok(()) => ExitCode::SUCCESS,
        Err(_nobody_to_tell) => ExitCode::FAILURE,
    }
}

fn keep() -> io::Result<()> {
    sys::close_all_but_standard()?;
    let socket = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)?;
    let null = rustix::fs::open("/dev/null", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    rustix::stdio::dup2_stdin(null)?;
    let report = match run(&socket) {
        Ok(report) => report,
        Err(error) => Report::Failed(error.to_string().chars().take(CAUSE_CHARS).collect()),
    };
    // Where the gateway is gone there is nobody to tell.
    message::send_report(socket.as_fd(), &report)
}

fn run(socket: &OwnedFd) -> io::Result<Report> {
    let (order, descriptors) = message::receive_order(socket.as_fd())?;
    let mut descriptors = descriptors.into_iter();
    let (Some(directory), Some(program)) = (descriptors.next(), descriptors.next()) else {
        return Err(io::ErrorKind::UnexpectedEof.into());
    };
    rustix::process::fchdir(&directory)?;
    let family = Family::begin()?;
    let mut child = start(&order, &program, descriptors.next())?;
    // From here on nothing of the output is ours: it ends when the command's own processes do.
    let null = rustix::fs::open("/dev/null", OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    rustix::stdio::dup2_stdout(&null)?;
    rustix::stdio::dup2_stderr(&null)?;
    let ended = wait(&mut child, socket);
    // Whatever happened, nothing of it goes on.
    let left = match &ended {
        Ok(Some(_)) => family.end()?,
        Ok(None) | Err(_) => family.kill()?,
    };
    if let Left::Survivors(_) = left {
        return Ok(Report::Survived);
    }
    Ok(Report::Ended(ended?.map_or(Exit::Aborted, exit_of)))
}

#[expect(
    clippy::disallowed_methods,
    reason = "the door to processes: the keeper starts the recorded command that the owner approved"
)]
fn start(order: &Order, program: &OwnedFd, operand: Option<OwnedFd>) -> io::Result<Child> {
    let mut words = order.words.clone();
    let operand = operand.map(inherited).transpose()?;
    if let (Some(operand), Some(place)) = (&operand, order.operand) {
        let word = words.get_mut(place).ok_or(io::ErrorKind::InvalidData)?;
        *word = path_of(operand);
    }
    // The interpreter of a script opens it by that name, so it has to be there in the program that it becomes.
    let script = if order.is_script { Some(inherited(program.try_clone()?)?) } else { None };
    let mut words = words.into_iter();
    let name = words.next().ok_or(io::ErrorKind::InvalidData)?;
    let mut command = Command::new(path_of(script.as_ref().unwrap_or(program)));
    command.arg0(name).args(words).env_clear().envs(order.environment.iter().cloned());
    command.process_group(0).spawn()
}

/// A descriptor that a started program has, too.
fn inherited(descriptor: OwnedFd) -> io::Result<OwnedFd> {
    Ok(rustix::io::dup(&descriptor)?)
}

fn path_of(descriptor: &OwnedFd) -> String {
    format!("/proc/self/fd/{}", descriptor.as_raw_fd())
}

/// Waits for the end of the program; nothing when the gateway does not wait any more.
fn wait(child: &mut Child, socket: &OwnedFd) -> io::Result<Option<ExitStatus>> {
    let ended = rustix::process::pidfd_open(Pid::from_child(child), PidfdFlags::empty())?;
    loop {
        let mut waited = [PollFd::new(&ended, PollFlags::IN), PollFd::new(socket, PollFlags::IN)];
        match poll(&mut waited, None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        let [program, gateway] = waited;
        if !program.revents().is_empty() {
            return child.wait().map(Some);
        }
        if !gateway.revents().is_empty() {
            return Ok(None);
        }
    }
}

fn exit_of(status: ExitStatus) -> Exit {
    match (status.code(), status.signal()) {
        (Some(code), _) => Exit::Code(code),
        (None, Some(signal)) => Exit::Signal(signal),
        (None, None) => Exit::Aborted,
    }
}
