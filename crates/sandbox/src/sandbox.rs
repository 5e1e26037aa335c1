//! The sandbox as the program sees it.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use moltbot_config::limits;
use moltbot_ledger::Ledger;
use moltbot_policy::command::{CommandPermit, Ended};
use moltbot_policy::container::Backend;
use moltbot_policy::incident::Attempt;
use moltbot_policy::{Book as _, Entry, Recorded, Unrecorded};
use tokio::sync::{OnceCell, Semaphore, SemaphorePermit, oneshot};
use tokio_util::sync::CancellationToken;

use crate::docker::Containers;
use crate::feed::Feed;
use crate::outcome::{Exit, Outcome, RunError, Step};
use crate::posture::{self, Posture, Unavailable};
use crate::protected;
use crate::running::{Finished, Kept, Running};
use crate::spawner::{self, Spawner};
use crate::stopper::Stopper;
use crate::wire::{Request, Walls};

/// Runs commands. Clones share one spawner, which is started by the first command and lives as long as they do.
#[derive(Clone)]
pub struct Sandbox {
    inner: Arc<Inner>,
}

struct Inner {
    helper: PathBuf,
    ledger: Ledger,
    containers: Containers,
    spawner: OnceLock<Spawner>,
    postures: Postures,
    places: Semaphore,
    stopper: Stopper,
}

/// What was found out of each backend.
#[derive(Default)]
struct Postures {
    bwrap: OnceCell<Posture>,
    embedded: OnceCell<Posture>,
    weak: OnceCell<Posture>,
}

/// What a command is given besides its permit.
#[derive(Default)]
pub(crate) struct Given {
    /// The folder that it sees.
    pub(crate) workspace: Option<OwnedFd>,
    pub(crate) beside: Beside,
}

/// What somebody has of a command while it runs.
#[derive(Debug, Default)]
pub struct Beside {
    /// What it writes, as it comes.
    pub feed: Option<Feed>,
    /// For a profile with a proxy: who is sent a socket that listens within the sandbox, before the command starts. When
    /// nobody waits for it, the command does not run.
    pub way_out: Option<oneshot::Sender<OwnedFd>>,
}

impl Sandbox {
    /// A sandbox whose helper is this program itself. Costs nothing until the first command.
    pub fn new(ledger: Ledger) -> Self {
        Self::with_helper(PathBuf::from("/proc/self/exe"), ledger)
    }

    /// A sandbox with a helper of its own: a program that calls [`crate::helper_main`].
    pub fn with_helper(helper: PathBuf, ledger: Ledger) -> Self {
        Self::with_stopper(helper, ledger, Stopper::default())
    }

    /// The same, whose commands `stopper` stops with those of others.
    pub fn with_stopper(helper: PathBuf, ledger: Ledger, stopper: Stopper) -> Self {
        let places = Semaphore::new(limits::COMMANDS);
        let (spawner, postures) = (OnceLock::new(), Postures::default());
        let containers = Containers::new(helper.clone(), ledger.clone());
        Self { inner: Arc::new(Inner { helper, ledger, containers, spawner, postures, places, stopper }) }
    }

    /// What stops its commands.
    pub fn stopper(&self) -> Stopper {
        self.inner.stopper.clone()
    }

    /// What the sandbox is here, found out by running a command in it. Success is remembered; after a failure the
    /// next call tries again, because the owner may have followed the advice.
    ///
    /// # Errors
    /// When no command can run on this machine: the reason, and what the owner can do.
    pub async fn posture(&self) -> Result<Posture, Unavailable> {
        self.posture_of(&Backend::Embedded).await
    }

    /// The same for a backend. Each is tried for itself, and none stands in for another. Containers are not tried here:
    /// see [`Sandbox::available`].
    ///
    /// # Errors
    /// As [`Sandbox::posture`].
    pub async fn posture_of(&self, backend: &Backend) -> Result<Posture, Unavailable> {
        let postures = &self.inner.postures;
        let tried = match backend {
            Backend::Bwrap => &postures.bwrap,
            Backend::Embedded => &postures.embedded,
            Backend::EmbeddedWeak => &postures.weak,
            Backend::Docker(_) => {
                return Err(Unavailable::new("containers are looked at one by one", "see `moltbot doctor`"));
            }
        };
        tried.get_or_try_init(|| posture::probe(self, backend)).await.cloned()
    }

    /// Whether a backend can run commands here. For a container this asks the engine and looks up the image; the
    /// container itself is looked at from inside, before each command.
    ///
    /// # Errors
    /// When it cannot: the reason, and what the owner can do.
    pub async fn available(&self, backend: &Backend) -> Result<(), Unavailable> {
        match backend {
            Backend::Docker(container) => self.inner.containers.available(container).await,
            Backend::Bwrap | Backend::Embedded | Backend::EmbeddedWeak => {
                self.posture_of(backend).await.map(|_| ())
            }
        }
    }

    /// Runs a command and waits until none of its processes is left. Its end is entered into the book.
    ///
    /// `workspace` is the folder that the command sees as `/workspace`, opened by the vault. `abort` kills
    /// everything within a second, and so does dropping the future. A command whose turn has not come because
    /// [`limits::COMMANDS`] others run waits.
    ///
    /// # Errors
    /// When the walls could not be built (the command did not run), or its end could not be recorded.
    pub async fn run(
        &self,
        permit: Recorded<CommandPermit>,
        workspace: Option<OwnedFd>,
        abort: CancellationToken,
    ) -> Result<Outcome, RunError> {
        #[cfg(feature = "drill-holes")]
        if crate::no_walls::are_taken_away() {
            return crate::no_walls::run(permit).map_err(|_| RunError::Lost);
        }
        self.run_beside(permit, workspace, Beside::default(), abort).await
    }

    /// As [`Sandbox::run`], for whoever has something of the command while it runs.
    ///
    /// # Errors
    /// As [`Sandbox::run`].
    pub async fn run_beside(
        &self,
        permit: Recorded<CommandPermit>,
        workspace: Option<OwnedFd>,
        beside: Beside,
        abort: CancellationToken,
    ) -> Result<Outcome, RunError> {
        self.execute(permit, Given { workspace, beside }, &abort).await.map(|(outcome, _)| outcome)
    }

    /// As [`Sandbox::run`], with what the helper found out about the walls.
    pub(crate) async fn execute(
        &self,
        permit: Recorded<CommandPermit>,
        given: Given,
        abort: &CancellationToken,
    ) -> Result<(Outcome, Option<Walls>), RunError> {
        let began = Instant::now();
        let (start, permit) = (permit.sequence(), permit.into_permit());
        let folder = given.workspace.as_ref().and_then(|folder| folder.try_clone().ok());
        let absent = folder.as_ref().map(|folder| protected::missing(folder.as_fd())).unwrap_or_default();
        let mut attempts = Vec::new();
        let result = self.supervise(&permit, given, abort, &mut attempts).await;
        let said = result.as_ref().map_or_else(ToString::to_string, |finished| finished.exit.to_string());
        let exit = result.as_ref().ok().and_then(|finished| finished.exit.code());
        let ended = Ended { outcome: said.clone(), exit, duration: began.elapsed() };
        let container = result.as_ref().ok().and_then(|finished| finished.container.clone());
        let entry = permit.end_entry(start, &ended);
        let entry = container.into_iter().fold(entry, |entry, id| entry.with("containerId", id));
        let entry = folder.iter().fold(entry, |entry, folder| look_after(folder, &absent, entry));
        let tried = attempts.iter().map(|attempt| permit.attempt_entry(start, attempt));
        let entries = tried.chain([entry]).collect();
        self.enter(entries).await.map_err(|source| RunError::Unrecorded { exit: said, source })?;
        let Finished { exit, kept, walls, .. } = result?;
        let (truncated, dropped_bytes) = (kept.dropped > 0, kept.dropped);
        let outcome = Outcome {
            exit,
            output: kept.bytes,
            truncated,
            dropped_bytes,
            attempts,
            duration: began.elapsed(),
        };
        Ok((outcome, walls))
    }

    async fn supervise(
        &self,
        permit: &CommandPermit,
        given: Given,
        abort: &CancellationToken,
        attempts: &mut Vec<Attempt>,
    ) -> Result<Finished, RunError> {
        let start = |error: std::io::Error| RunError::setup(Step::Start, error.to_string());
        let place = tokio::select! {
            // The stop first: what is stopped already starts nothing, even where there is a place.
            biased;
            () = abort.cancelled() => return Ok(Finished::before_start(Exit::Aborted)),
            place = self.inner.places.acquire() => place.map_err(std::io::Error::other).map_err(start)?,
        };
        let profile = permit.profile();
        let Given { workspace, beside: Beside { feed, way_out } } = given;
        feed.iter().for_each(Feed::begin);
        let kept = Kept::new(profile.output_bytes, feed);
        match &profile.backend {
            Backend::Docker(container) => {
                let (containers, stopper) = (&self.inner.containers, self.stopper());
                let finished =
                    containers.run(permit, container, workspace, (kept, attempts), abort, &stopper).await;
                drop(place);
                return finished;
            }
            Backend::Bwrap | Backend::Embedded | Backend::EmbeddedWeak => {}
        }
        let request = Request::new(permit.script(), permit.directory(), profile);
        let spawner = self.spawner().map_err(start)?;
        let given = spawner::Given { workspace, model: None };
        let started = spawner.spawn(request, given).await.map_err(start)?;
        let mut running = Running::new(started, spawner, self.stopper(), kept, way_out).map_err(start)?;
        let finished = running.finish(profile.timeout, abort).await;
        *attempts = running.attempts();
        drop(place);
        finished
    }

    /// What starts helpers.
    pub(crate) fn spawner(&self) -> std::io::Result<Spawner> {
        if let Some(spawner) = self.inner.spawner.get() {
            return Ok(spawner.clone());
        }
        // Of two that start at once one is kept; the other thread ends before it has started anything.
        let spawner = Spawner::start(self.inner.helper.clone(), self.stopper())?;
        Ok(self.inner.spawner.get_or_init(|| spawner).clone())
    }

    /// What holds the memory of all processes of a command together. Known once a command was started.
    pub(crate) fn limiter(&self) -> &'static str {
        self.inner.spawner.get().map_or("watchdog", Spawner::limiter)
    }

    /// Writes into the book without holding up the runtime.
    async fn enter(&self, entries: Vec<Entry>) -> Result<Vec<u64>, Unrecorded> {
        self.inner.ledger.enter_soon(entries).await
    }

    /// A place among the commands that run at once.
    pub(crate) async fn place(&self) -> std::io::Result<SemaphorePermit<'_>> {
        self.inner.places.acquire().await.map_err(std::io::Error::other)
    }

    /// The program that is run again as helper and keeper.
    pub(crate) fn helper(&self) -> &Path {
        &self.inner.helper
    }

    /// The book.
    pub(crate) fn ledger(&self) -> &Ledger {
        &self.inner.ledger
    }
}

/// Names in the entry what a command has made that programs of this machine obey.
fn look_after(folder: &OwnedFd, absent: &[&'static str], entry: Entry) -> Entry {
    let appeared = protected::appeared(folder.as_fd(), absent);
    if appeared.is_empty() {
        return entry;
    }
    let names = appeared.join(", ");
    tracing::warn!(%names, "a command made files that programs of this machine obey; look before you use them");
    let entry = entry.with("appeared", names);
    match protected::take_away(folder.as_fd(), absent, &appeared) {
        Ok(true) => entry.with("removed", ".git/commondir"),
        Ok(false) => entry,
        Err(error) => {
            tracing::warn!(%error, "`.git/commondir` leads git elsewhere and cannot be removed; remove it");
            entry
        }
    }
}
