//! The Docker backend: one warm container for each scope, and each command in it through our own helper.
//!
//! The engine is asked over its Unix socket and never by a command line. What cannot be had is refused with the reason;
//! no other backend takes over. A container is used only when it was made from exactly the recipe of now.

mod engine;
mod exec;
mod folders;
mod image;
mod packages;
mod parts;
mod prune;
mod recipe;
mod seccomp;

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bollard::Docker;
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, InspectContainerOptions, StartContainerOptions,
};
use moltbot_config::limits;
use moltbot_config::settings::ContainerUser;
use moltbot_ledger::Ledger;
use moltbot_policy::command::CommandPermit;
use moltbot_policy::container::Container;
use moltbot_policy::incident::Attempt;
use moltbot_policy::{Book as _, Decision, Entry};
use tokio_util::sync::CancellationToken;

use crate::helper::LEAD;
use crate::helper::inside::Order;
use crate::outcome::{Exit, RunError};
use crate::posture::Unavailable;
use crate::running::{Finished, Kept};
use crate::stopper::Stopper;
use crate::wire::Request;
use engine::{connect, image, installation_of, now_ms, remove};
use exec::Bounds;
use folders::Folders;
use parts::Parts;
use prune::Uses;
use recipe::{Image, Recipe};

pub use engine::{ContainerEngine, ContainerRow, EngineError, EngineVersions, INSTALLATION_OF};
pub use image::{ImageRow, RootSource};

/// The engines and containers that commands run in.
pub(crate) struct Containers {
    helper: PathBuf,
    ledger: Ledger,
    engines: Mutex<HashMap<PathBuf, Docker>>,
    /// One command at a time looks whether a container is as it should be, and makes it.
    building: Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
    uses: Arc<Uses>,
}

/// A container that a command can run in.
struct Warm {
    engine: Docker,
    id: String,
    /// The process id of its first process on this machine, when the engine is on it.
    first: Option<i64>,
    parts: Parts,
    folders: Folders,
}

impl Containers {
    /// None yet; nothing is asked of any engine.
    pub(crate) fn new(helper: PathBuf, ledger: Ledger) -> Self {
        let uses = Arc::default();
        Self { helper, ledger, engines: Mutex::default(), building: Mutex::default(), uses }
    }

    /// Runs a command in its scope's container and waits until none of its processes is left.
    pub(crate) async fn run(
        &self,
        permit: &CommandPermit,
        container: &Container,
        workspace: Option<OwnedFd>,
        (kept, attempts): (Kept, &mut Vec<Attempt>),
        abort: &CancellationToken,
        stopper: &Stopper,
    ) -> Result<Finished, RunError> {
        let _in_use = self.uses.begin(container);
        let warm = tokio::select! {
            biased;
            () = abort.cancelled() => return Ok(Finished::before_start(Exit::Aborted)),
            warm = self.ready(permit, container, workspace.as_ref(), attempts) => {
                warm.map_err(|error| error.refusal("there is no container"))?
            }
        };
        let profile = permit.profile();
        let timeout = profile.timeout;
        let request = Request::new(permit.script(), permit.directory(), profile);
        let order = warm.order(container, request, None, timeout);
        let words = warm.parts.call(LEAD);
        // A stop kills the container's first process, and the kernel the rest, also while this program is busy.
        let _known = warm.first.and_then(handle_of).map(|first| stopper.know(first));
        match exec::run(&warm.engine, &warm.id, words, &order, Bounds { timeout, kept, attempts }, abort)
            .await
        {
            Err(_) if stopper.is_stopped() => Ok(Finished::before_start(Exit::Aborted)),
            finished => Ok(Finished { container: Some(warm.id), ..finished? }),
        }
    }

    /// Whether there is an engine that has the image.
    pub(crate) async fn available(&self, container: &Container) -> Result<(), Unavailable> {
        let found = async { image(&self.engine(&container.socket).await?, &container.image).await };
        found.await.map(|_| ()).map_err(|EngineError { cause, fix }| Unavailable::new(cause, fix))
    }

    /// The scope's container, made from the recipe of now: taken when it is there, else made anew.
    async fn ready(
        &self,
        permit: &CommandPermit,
        container: &Container,
        workspace: Option<&OwnedFd>,
        attempts: &mut Vec<Attempt>,
    ) -> Result<Warm, EngineError> {
        let turn = self.turn(&container.name);
        let building = turn.lock().await;
        let engine = self.engine(&container.socket).await?;
        let parts = Parts::of(&self.helper)?;
        let image = image(&engine, &container.image).await?;
        let folders = Folders::of(permit.profile(), &container.binds, workspace)?;
        let user: ContainerUser = container.user.unwrap_or_else(|| folders.user());
        let recipe = Recipe::of(container, permit.profile(), &image, user, &folders, &parts)?;
        let warm = |(id, first)| Warm { engine: engine.clone(), id, first, parts, folders };
        if let Some(found) = self.usable(&engine, container, &recipe.digest).await? {
            return Ok(warm(found));
        }
        let id = self.make(&engine, container, &image, recipe).await?;
        let made = engine.inspect_container(&id, None::<InspectContainerOptions>).await?;
        let warm = warm((id, made.state.and_then(|state| state.pid)));
        if let Err(error) = self.set_up(&warm, container, permit, attempts).await {
            self.remove(&engine, &container.name, "setup failed").await?;
            return Err(error);
        }
        drop(building);
        Ok(warm)
    }

    /// The id of the container, when it is there, is ours, and was made from this recipe. Any other of ours is removed at
    /// once, also while commands run in it: its walls are not those that the config asks for.
    async fn usable(
        &self,
        engine: &Docker,
        container: &Container,
        digest: &str,
    ) -> Result<Option<(String, Option<i64>)>, EngineError> {
        let found = match engine.inspect_container(&container.name, None::<InspectContainerOptions>).await {
            Ok(found) => found,
            Err(bollard::errors::Error::DockerResponseServerError { status_code: 404, .. }) => {
                return Ok(None);
            }
            Err(error) => return Err(error.into()),
        };
        let labels = found.config.and_then(|config| config.labels).unwrap_or_default();
        let label = |name: &str| labels.get(name).map(String::as_str);
        if label(recipe::INSTALLATION) != Some(self.installation().as_str()) {
            return Err(EngineError::said(format!(
                "the container {} belongs to somebody else; choose another `containerPrefix`",
                container.name
            )));
        }
        let made = label(recipe::CREATED).and_then(|made| made.parse().ok()).unwrap_or(0);
        let is_old = Duration::from_millis(now_ms().saturating_sub(made)) > container.age;
        let state = found.state.unwrap_or_default();
        let (runs, first) = (state.running.unwrap_or(false), state.pid);
        match found.id {
            Some(id) if runs && !is_old && label(recipe::DIGEST) == Some(digest) => Ok(Some((id, first))),
            _ => {
                self.remove(engine, &container.name, "it is not as it should be").await?;
                Ok(None)
            }
        }
    }

    async fn make(
        &self,
        engine: &Docker,
        container: &Container,
        image: &Image,
        recipe: Recipe,
    ) -> Result<String, EngineError> {
        let entry = Entry::new("gateway", "container.create", container.name.clone(), Decision::Allowed)
            .with("image", container.image.clone())
            .with("imageId", image.id.clone())
            .with("config", recipe.digest.clone());
        self.enter(entry).await?;
        let mut body = recipe.body;
        let labels = body.labels.get_or_insert_default();
        labels.insert(recipe::INSTALLATION.into(), self.installation());
        labels.insert(recipe::CREATED.into(), now_ms().to_string());
        let options = CreateContainerOptionsBuilder::default().name(&container.name).build();
        let made = engine.create_container(Some(options), body).await?;
        if let Err(error) = engine.start_container(&made.id, None::<StartContainerOptions>).await {
            self.remove(engine, &container.name, "it did not start").await?;
            return Err(error.into());
        }
        Ok(made.id)
    }

    /// Runs what prepares a new container.
    async fn set_up(
        &self,
        warm: &Warm,
        container: &Container,
        permit: &CommandPermit,
        attempts: &mut Vec<Attempt>,
    ) -> Result<(), EngineError> {
        let profile = permit.profile();
        for program in &container.setup {
            let shown = program.join(" ");
            let request = Request::new("", "", profile);
            let kept = Kept::new(4096, None);
            let bounds = Bounds { timeout: limits::CONTAINER_SETUP, kept, attempts };
            let order = warm.order(container, request, Some(program.clone()), bounds.timeout);
            let words = warm.parts.call(LEAD);
            let never = CancellationToken::new();
            let finished = exec::run(&warm.engine, &warm.id, words, &order, bounds, &never)
                .await
                .map_err(|error| EngineError::said(format!("the setup `{shown}` failed: {error}")))?;
            if finished.exit != Exit::Code(0) {
                let said = String::from_utf8_lossy(&finished.kept.bytes).trim().to_owned();
                return Err(EngineError::said(format!(
                    "the setup `{shown}` ended with {}: {said}",
                    finished.exit
                )));
            }
        }
        Ok(())
    }

    /// Removes a container of ours and everything that it made for itself.
    async fn remove(&self, engine: &Docker, name: &str, why: &str) -> Result<(), EngineError> {
        let entry = Entry::new("gateway", "container.remove", name, Decision::Allowed).with("reason", why);
        self.enter(entry).await?;
        remove(engine, name).await
    }

    /// The engine at a socket, asked for its version once.
    async fn engine(&self, socket: &Path) -> Result<Docker, EngineError> {
        let known = self.engines.lock().unwrap_or_else(PoisonError::into_inner).get(socket).cloned();
        if let Some(engine) = known {
            return Ok(engine);
        }
        let engine = connect(socket).await?;
        prune::keep_pruning(engine.clone(), &self.uses, self.ledger.clone(), self.installation());
        self.engines.lock().unwrap_or_else(PoisonError::into_inner).insert(socket.to_owned(), engine.clone());
        Ok(engine)
    }

    fn turn(&self, name: &str) -> Arc<tokio::sync::Mutex<()>> {
        Arc::clone(
            self.building.lock().unwrap_or_else(PoisonError::into_inner).entry(name.to_owned()).or_default(),
        )
    }

    /// Tells the containers of this installation from those of others on the same engine.
    fn installation(&self) -> String {
        installation_of(&self.ledger.hash_of(INSTALLATION_OF))
    }

    async fn enter(&self, entry: Entry) -> Result<Vec<u64>, EngineError> {
        self.ledger.enter_soon(vec![entry]).await.map_err(|error| EngineError::said(error.to_string()))
    }
}

impl Warm {
    fn order(
        &self,
        container: &Container,
        request: Request,
        program: Option<Vec<String>>,
        timeout: Duration,
    ) -> Order {
        let longest = timeout.saturating_add(limits::COMMAND_END);
        Order {
            deadline_ms: u64::try_from(longest.as_millis()).unwrap_or(u64::MAX),
            // The engine counts them: this machine counts a user's processes in all containers together.
            request: Request { processes: u64::MAX, ..request },
            program,
            folders: self.folders.identities(),
            writable: self.folders.writable(),
            own_kernel: container.runtime.as_deref().is_some_and(|runtime| runtime != "runc"),
        }
    }
}

/// A handle of a process by its number. Nothing when it is gone: the engine then says so.
fn handle_of(number: i64) -> Option<OwnedFd> {
    let pid = i32::try_from(number).ok().and_then(rustix::process::Pid::from_raw)?;
    rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).ok()
}
