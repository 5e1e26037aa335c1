//! The process of a local model: within walls, on a socket that is handed to it, for as long as somebody may ask it.
//!
//! Its program lies beside ours and is copied into memory, where nobody changes it any more; the copy is what runs, and the
//! book has its digest. It finds no network, none of the owner's folders, and no file that it could write. Its standard input
//! is one end of a pair of sockets: over it come the model's file, opened for reading, and one connection after another.

use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use moltbot_config::limits;
use moltbot_policy::command::Ended;
use moltbot_policy::local_model::LocalModelPermit;
use moltbot_policy::{Book as _, Recorded, Unrecorded};
use rustix::fs::{Mode, OFlags};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use serde::Deserialize;
use serde_json::json;
use thiserror::Error;
use tokio::io::unix::AsyncFd;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::outcome::{Exit, RunError};
use crate::program::open_own;
use crate::running::{Kept, Running, await_readable};
use crate::sandbox::Sandbox;
use crate::sealed;
use crate::spawner::Given;
use crate::wire::{self, ModelEnds, Request};

/// The program, in the folder of ours.
const PROGRAM: &str = "moltbot-model";
/// The longest answer of the process, in bytes: a sentence.
const ANSWER_BYTES: usize = 4096;

/// Why a local model cannot be asked.
#[derive(Debug, Error)]
#[expect(missing_docs, reason = "each message names its fields")]
#[non_exhaustive]
pub enum LocalModelError {
    /// Its process has ended.
    #[error("the process of the local model has ended ({how}); the next question starts it again")]
    Ended { how: String },
    /// It does not take its file.
    #[error("the local model {name} is not run: {message} ({code})")]
    File { name: String, code: String, message: String },
    /// There is no program.
    #[error(
        "{path} is not there; it runs local models: build it with `cargo build --release -p moltbot-model` and put it beside moltbot"
    )]
    Missing { path: PathBuf },
    /// The program could be changed by others, or is none.
    #[error("the program of local models is not run")]
    Program { source: Box<dyn std::error::Error + Send + Sync> },
    /// The file was not read in time.
    #[error("the local model {name} was not ready within {} s", limits::LOCAL_MODEL_LOAD.as_secs())]
    Slow { name: String },
    /// The system refused.
    #[error("the local model cannot be started")]
    Start { source: io::Error },
    /// There are no walls for it here.
    #[error("the local model is not run without its walls")]
    Walls { source: RunError },
}

/// What the process says of itself.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Answer {
    Failed { code: String, message: String },
    Ready(Ready),
}

/// What a model says of itself once it can be asked.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
pub struct Ready {
    /// The architecture in its file.
    pub architecture: String,
    /// Tokens of question and answer together.
    pub context: u32,
    /// How many numbers it has.
    pub parameters: u64,
}

/// A local model that can be asked. Its process ends when this is dropped.
#[derive(Debug)]
pub struct LocalModelProcess {
    control: AsyncFd<OwnedFd>,
    ready: Ready,
    end: Arc<End>,
    _life: DropGuard,
}

/// How the process has ended, once it has.
#[derive(Debug, Default)]
struct End {
    over: CancellationToken,
    how: Mutex<String>,
}

impl End {
    fn tell(&self, how: String) {
        *self.how.lock().unwrap_or_else(PoisonError::into_inner) = how;
        self.over.cancel();
    }

    fn error(&self) -> LocalModelError {
        LocalModelError::Ended { how: self.how.lock().unwrap_or_else(PoisonError::into_inner).clone() }
    }
}

impl LocalModelProcess {
    /// What the model says of itself.
    pub const fn ready(&self) -> &Ready {
        &self.ready
    }

    /// Whether its process has ended.
    pub fn has_ended(&self) -> bool {
        self.end.over.is_cancelled()
    }

    /// A connection to it, on which it speaks HTTP.
    ///
    /// # Errors
    /// When its process has ended.
    pub fn connect(&self) -> Result<OwnedFd, LocalModelError> {
        if self.has_ended() {
            return Err(self.end.error());
        }
        let (near, far) = socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)
            .map_err(|errno| LocalModelError::Start { source: errno.into() })?;
        let packet = json!({"connection": {}}).to_string();
        let sent = wire::send_bytes(self.control.get_ref().as_fd(), packet.as_bytes(), Some(far.as_fd()));
        sent.map_err(|error| LocalModelError::Ended { how: error.to_string() })?;
        rustix::io::ioctl_fionbio(&near, true)
            .map_err(|errno| LocalModelError::Start { source: errno.into() })?;
        Ok(near)
    }

    /// Waits for the end of its process.
    pub async fn ended(&self) {
        self.end.over.cancelled().await;
    }
}

impl Sandbox {
    /// Starts the process of a local model and waits until it can be asked. `file` is the model's, opened for reading by
    /// the vault. Its end is entered into the book.
    ///
    /// # Errors
    /// When there is no program for it or no walls, or its file is not what it should be.
    pub async fn local_model(
        &self,
        permit: Recorded<LocalModelPermit>,
        file: OwnedFd,
    ) -> Result<LocalModelProcess, LocalModelError> {
        let start = |source: io::Error| LocalModelError::Start { source };
        let beside = self.helper().to_owned();
        let copied = tokio::task::spawn_blocking(move || copied(&beside)).await;
        let (program, digest) = copied.map_err(|error| start(io::Error::other(error)))??;
        let kind = SocketType::SEQPACKET;
        let (control, input) = socketpair(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None)
            .map_err(|errno| start(errno.into()))?;
        let given = Given { workspace: None, model: Some(ModelEnds { input, program }) };
        let running = self.model_running(permit.permit(), given).await?;
        rustix::io::ioctl_fionbio(&control, true).map_err(|errno| start(errno.into()))?;
        let control = await_readable(control).map_err(start)?;
        let (life, end) = (CancellationToken::new(), Arc::new(End::default()));
        let load = load_packet(permit.permit());
        let name = permit.permit().model().name.clone();
        tokio::spawn(attend(self.clone(), permit, running, digest, (life.clone(), Arc::clone(&end))));
        let life = life.drop_guard();
        let ready = loaded(&control, &load, file.as_fd(), (&name, &end)).await?;
        Ok(LocalModelProcess { control, ready, end, _life: life })
    }

    async fn model_running(
        &self,
        permit: &LocalModelPermit,
        given: Given,
    ) -> Result<Running, LocalModelError> {
        let start = |source: io::Error| LocalModelError::Start { source };
        let profile = permit.profile();
        let spawner = self.spawner().map_err(start)?;
        let started = spawner.spawn(Request::for_model(profile), given).await.map_err(start)?;
        let kept = Kept::new(profile.output_bytes, None);
        Running::new(started, spawner, self.stopper(), kept, None).map_err(start)
    }
}

fn load_packet(permit: &LocalModelPermit) -> String {
    let model = permit.model();
    let load = json!({
        "name": model.name,
        "sha256": model.sha256,
        "context": model.context,
        "threads": model.threads,
    });
    json!({"load": load}).to_string()
}

/// Sees the process to its end, and enters that into the book.
async fn attend(
    sandbox: Sandbox,
    permit: Recorded<LocalModelPermit>,
    mut running: Running,
    digest: String,
    (life, end): (CancellationToken, Arc<End>),
) {
    let began = Instant::now();
    let (start, permit) = (permit.sequence(), permit.into_permit());
    let finished = running.finish(permit.profile().timeout, &life).await;
    let how = match &finished {
        Ok(finished) => finished.exit.to_string(),
        Err(error) => error.to_string(),
    };
    for attempt in running.attempts() {
        tracing::error!(call = attempt.call, "the process of the local model tried to leave its walls");
    }
    if let Ok(finished) = &finished
        && finished.exit != Exit::Aborted
    {
        let said = String::from_utf8_lossy(&finished.kept.bytes).into_owned();
        tracing::warn!(%how, ?said, "the process of the local model has ended");
    }
    let exit = finished.as_ref().ok().and_then(|finished| finished.exit.code());
    let ended = Ended { outcome: how.clone(), exit, duration: began.elapsed() };
    end.tell(how);
    let entered: Result<_, Unrecorded> =
        sandbox.ledger().enter_soon(vec![permit.end_entry(start, &ended, Some(digest))]).await;
    if let Err(error) = entered {
        tracing::error!(%error, "the end of the local model's process is not in the book");
    }
}

/// Hands the process its file, and waits for what it says of it.
async fn loaded(
    control: &AsyncFd<OwnedFd>,
    load: &str,
    file: BorrowedFd<'_>,
    (name, end): (&str, &End),
) -> Result<Ready, LocalModelError> {
    wire::send_bytes(control.get_ref().as_fd(), load.as_bytes(), Some(file))
        .map_err(|source| LocalModelError::Start { source })?;
    let answer = tokio::select! {
        answer = tokio::time::timeout(limits::LOCAL_MODEL_LOAD, next_answer(control)) => answer,
        () = end.over.cancelled() => match next_answer_now(control) {
            // What it said before it ended says more than its end.
            Some(answer) => Ok(Ok(answer)),
            None => return Err(end.error()),
        },
    };
    let answer = answer.map_err(|_| LocalModelError::Slow { name: name.into() })?;
    match answer {
        Ok(Answer::Ready(ready)) => Ok(ready),
        Ok(Answer::Failed { code, message }) => {
            Err(LocalModelError::File { name: name.into(), code: plain(&code), message: plain(&message) })
        }
        Err(_closed) => {
            end.over.cancelled().await;
            Err(end.error())
        }
    }
}

async fn next_answer(control: &AsyncFd<OwnedFd>) -> io::Result<Answer> {
    loop {
        let mut ready = control.readable().await?;
        if let Ok(answer) = ready.try_io(|control| receive(control.get_ref().as_fd())) {
            return answer;
        }
    }
}

fn next_answer_now(control: &AsyncFd<OwnedFd>) -> Option<Answer> {
    receive(control.get_ref().as_fd()).ok()
}

fn receive(control: BorrowedFd<'_>) -> io::Result<Answer> {
    let mut bytes = [0; ANSWER_BYTES];
    let length = wire::receive_packet(control, &mut bytes)?;
    let text = bytes.get(..length).filter(|text| !text.is_empty()).ok_or(io::ErrorKind::UnexpectedEof)?;
    Ok(serde_json::from_slice(text)?)
}

/// What a process that reads a stranger's file says, as it may be shown: without control characters, and not long.
fn plain(text: &str) -> String {
    const CHARACTERS: usize = 300;
    text.chars().filter(|character| !character.is_control()).take(CHARACTERS).collect()
}

/// A sealed copy of the program beside `own`, and its digest. May block.
fn copied(own: &Path) -> Result<(OwnedFd, String), LocalModelError> {
    let start = |source: io::Error| LocalModelError::Start { source };
    let own = own.canonicalize().map_err(start)?;
    let path = own.with_file_name(PROGRAM);
    match rustix::fs::stat(&path) {
        Err(rustix::io::Errno::NOENT) => return Err(LocalModelError::Missing { path }),
        Err(errno) => return Err(start(errno.into())),
        Ok(_) => {}
    }
    let file = open_own(&path).map_err(|error| LocalModelError::Program { source: error.into() })?;
    // Whoever runs it within the walls is another user.
    let mode = Mode::RUSR | Mode::XUSR | Mode::RGRP | Mode::XGRP | Mode::ROTH | Mode::XOTH;
    let copy = sealed::copy(&file, PROGRAM, mode, |_| {}).map_err(start)?;
    if copy.bytes > limits::LOCAL_MODEL_PROGRAM_BYTES {
        return Err(start(io::ErrorKind::FileTooLarge.into()));
    }
    // A file that is open for writing cannot be run.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let program = rustix::fs::open(format!("/proc/self/fd/{}", copy.file.as_raw_fd()), flags, Mode::empty())
        .map_err(|errno| start(errno.into()))?;
    Ok((program, copy.digest.iter().map(|byte| format!("{byte:02x}")).collect()))
}
