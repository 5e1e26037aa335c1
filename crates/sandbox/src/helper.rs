//! The helper: the program run again, which builds the walls and becomes the command.
//!
//! Three processes. The *outer* one ([`identity`]) becomes the sandbox's user, leaves the host's namespaces and
//! waits. The *first* of the new process namespace ([`first`]) builds the private root ([`root`]), watches memory,
//! and takes the namespace with it when it ends. The *command* ([`command`]) locks itself in and starts the shell.
//! Killing the outer process kills the first by its death signal, and the kernel kills the rest.
//!
//! Where `bwrap` makes the namespaces, [`bubblewrap`] stands in the outer one's place; where there are none, [`weak`] does,
//! and there is no first process.
//!
//! Walls may be built ahead: the first process then waits, before it takes the workspace, until the gateway says what is run.
//!
//! Each step fails with its name, over the socket that came as standard input; nothing is skipped.

mod attempts;
mod bubblewrap;
mod command;
mod disk;
mod first;
pub(crate) mod identity;
pub(crate) mod inside;
mod modes;
mod network;
mod root;
mod weak;

pub(crate) use command::ENVIRONMENT;

use std::fmt::Display;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::process::ExitCode;

use rustix::fs::{Mode, OFlags};
use rustix::process::{Signal, WaitOptions};

use crate::groups;
use crate::outcome::Step;
use crate::sys::{self, Fork};
use crate::wire::{self, Builder, Handed, ModelEnds, Report, Request};

/// Runs the sandbox's helper. The program calls it before anything else, while it has one thread, when its first
/// argument is [`HELPER`](crate::HELPER). It returns only when the command could not be started or has ended.
pub fn helper_main() -> ExitCode {
    let duty = std::env::args().nth(2);
    let done = match duty.as_deref() {
        None => outer(),
        Some(ENCLOSED) => bubblewrap::enclosed(),
        Some(KEEP) => inside::keep(),
        Some(LEAD) => inside::lead(),
        Some(_) => Err(io::ErrorKind::InvalidInput.into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(_nobody_to_tell) => ExitCode::from(NOT_STARTED),
    }
}

/// The second argument with which the helper is the first process of what `bwrap` has built.
const ENCLOSED: &str = "enclosed";
/// The second argument with which the helper is a container's first process.
pub(crate) const KEEP: &str = "keep";
/// The second argument with which the helper starts a command in a container.
pub(crate) const LEAD: &str = "lead";

/// The exit code of a helper that ran no command, as container runtimes have it.
const NOT_STARTED: u8 = 125;

/// A step that failed.
#[derive(Debug)]
struct Failure {
    step: Step,
    cause: String,
}

/// Names the step that a failure belongs to.
trait At<T> {
    /// The step, with the error's own words as the cause.
    fn at(self, step: Step) -> Result<T, Failure>;
    /// The step, with what was being done in front.
    fn doing(self, step: Step, what: impl Display) -> Result<T, Failure>;
}

impl<T, E: Display> At<T> for Result<T, E> {
    fn at(self, step: Step) -> Result<T, Failure> {
        self.map_err(|error| Failure { step, cause: error.to_string() })
    }

    fn doing(self, step: Step, what: impl Display) -> Result<T, Failure> {
        self.map_err(|error| Failure { step, cause: format!("{what}: {error}") })
    }
}

/// What every process of the helper works with.
struct Job {
    request: Request,
    filter: Vec<u8>,
    socket: OwnedFd,
    /// What the process of a local model begins with.
    model: Option<ModelEnds>,
}

/// Takes the request, and tells the gateway when something fails. Every process of the helper returns through
/// here but the command, which is replaced by the shell.
fn outer() -> io::Result<()> {
    sys::close_all_but_standard()?;
    let socket = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)?;
    rustix::stdio::dup2_stdin(rustix::fs::open(
        "/dev/null",
        OFlags::RDONLY | OFlags::CLOEXEC,
        Mode::empty(),
    )?)?;
    let Handed { request, filter, entrances, model, workspace } = wire::receive_request(socket.as_fd())?;
    let mut job = Job { request, filter, socket, model };
    // Before there is anything that they would have to count.
    let entered = entrances.iter().try_for_each(groups::enter).at(Step::Group);
    drop(entrances);
    let done = entered.and_then(|()| match job.request.builder {
        // Its walls are these or none.
        Builder::Bubblewrap | Builder::Weak if job.model.is_some() => {
            Err("a local model runs in the embedded sandbox alone").at(Step::Start)
        }
        Builder::Bubblewrap => bubblewrap::enclose(&job, workspace),
        Builder::Helper => enclose(&mut job, workspace),
        Builder::Weak => weak::enclose(&job, workspace),
    });
    tell(&job, done)
}

/// Tells the gateway of a step that failed.
fn tell(job: &Job, done: Result<(), Failure>) -> io::Result<()> {
    match done {
        Ok(()) => Ok(()),
        Err(Failure { step, cause }) => {
            let cause = cause.chars().take(CAUSE_CHARS).collect();
            wire::send_report(job.socket.as_fd(), &Report::Failed { step, cause }, None)?;
            Err(io::Error::other("told the gateway"))
        }
    }
}

/// The longest cause: with each character escaped it still fits in a report.
const CAUSE_CHARS: usize = 500;

/// The steps of the outer process.
fn enclose(job: &mut Job, workspace: Option<OwnedFd>) -> Result<(), Failure> {
    rustix::process::umask(Mode::from_raw_mode(0o022));
    identity::die_with_gateway(job.request.gateway)?;
    let workspace = identity::own_workspace(workspace, job.request.access)?;
    let uid = identity::become_own_user()?;
    identity::die_with_gateway(job.request.gateway)?;
    identity::leave_namespaces()?;
    let (life, word) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).at(Step::Init)?;
    match sys::fork().at(Step::Init)? {
        Fork::Child => {
            drop(word);
            first::run(job, workspace, uid, &life)
        }
        Fork::Parent(first) => {
            drop((life, workspace, job.model.take()));
            let handle =
                rustix::process::pidfd_open(first, rustix::process::PidfdFlags::empty()).at(Step::Init)?;
            wire::send_report(job.socket.as_fd(), &Report::Born, Some(handle.as_fd())).at(Step::Init)?;
            // The first process reports from now on. The gateway need not wait for the end of this one.
            job.socket = rustix::fs::open("/dev/null", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
                .at(Step::Init)?;
            rustix::io::write(&word, b".").at(Step::Init)?;
            release_output().at(Step::Init)?;
            rustix::process::waitpid(Some(first), WaitOptions::empty()).at(Step::Init)?;
            Ok(())
        }
    }
}

/// Lets go of the command's output, so that it ends when the command's own processes do.
fn release_output() -> io::Result<()> {
    let null = rustix::fs::open("/dev/null", OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    rustix::stdio::dup2_stdout(&null)?;
    rustix::stdio::dup2_stderr(&null)?;
    Ok(())
}

/// Asks the kernel to kill this process when its parent ends.
fn die_with_parent() -> rustix::io::Result<()> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
}

/// Writes to a file of `/proc` that is there already.
fn write_control(path: &str, text: &str) -> io::Result<()> {
    let file = rustix::fs::open(path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    let written = rustix::io::write(&file, text.as_bytes())?;
    if written == text.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
}
