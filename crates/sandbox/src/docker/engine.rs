//! The engine: how it is reached, what it has, and what is removed from it.

use std::collections::HashMap;
use std::path::Path;

use bollard::Docker;
use bollard::models::ContainerSummary;
use bollard::query_parameters::{ListContainersOptionsBuilder, RemoveContainerOptionsBuilder};
use moltbot_config::limits;
use moltbot_policy::Recorded;
use moltbot_policy::container::RemovalPermit;
use thiserror::Error;

use super::recipe::{self, Image};
use crate::outcome::RunError;

/// An engine of this machine, for what the owner asks about it.
pub struct ContainerEngine {
    engine: Docker,
    installation: String,
}

/// One container of this installation.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ContainerRow {
    /// Its name.
    pub name: String,
    /// The scope as a slug.
    pub scope: String,
    /// The id of its image.
    pub image: String,
    /// In the engine's words, such as `Up 3 minutes`.
    pub status: String,
    /// Milliseconds since 1970 when it was made.
    pub created_ms: u64,
}

/// The engine and its parts, by their own word.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct EngineVersions {
    /// The engine's version.
    pub engine: String,
    /// The version of `runc`, when it is told.
    pub runc: Option<String>,
}

impl ContainerEngine {
    /// Reaches the engine at a socket. `identity` is the keyed digest of [`INSTALLATION_OF`]: only containers with it are
    /// seen.
    ///
    /// # Errors
    /// When no engine answers there, with what to do.
    pub async fn open(socket: &Path, identity: &str) -> Result<Self, EngineError> {
        Ok(Self { engine: connect(socket).await?, installation: installation_of(identity) })
    }

    /// The containers of this installation.
    ///
    /// # Errors
    /// When the engine does not say.
    pub async fn list(&self) -> Result<Vec<ContainerRow>, EngineError> {
        Ok(list(&self.engine, &self.installation).await?.into_iter().filter_map(row).collect())
    }

    /// Removes a container of this installation: with its processes, and what they kept in memory.
    ///
    /// # Errors
    /// When there is none of that name, or the engine refuses.
    pub async fn remove(&self, permit: Recorded<RemovalPermit>) -> Result<(), EngineError> {
        let permit = permit.into_permit();
        if !self.list().await?.iter().any(|row| row.name == permit.name()) {
            return Err(EngineError::said(format!(
                "there is no container {} of this installation",
                permit.name()
            )));
        }
        remove(&self.engine, permit.name()).await
    }

    /// What the engine says of itself.
    ///
    /// # Errors
    /// When it does not.
    pub async fn versions(&self) -> Result<EngineVersions, EngineError> {
        let told = self.engine.version().await?;
        let parts = told.components.unwrap_or_default();
        let runc = parts.into_iter().find(|part| part.name == "runc").map(|part| part.version);
        Ok(EngineVersions { engine: told.version.unwrap_or_default(), runc })
    }

    /// The engine itself, for the rest of this module.
    pub(super) const fn docker(&self) -> &Docker {
        &self.engine
    }
}

/// What is told of a container; nothing when it has no name.
pub(super) fn row(summary: ContainerSummary) -> Option<ContainerRow> {
    let name = summary.names?.into_iter().next()?.trim_start_matches('/').to_owned();
    let labels = summary.labels.unwrap_or_default();
    let label = |name: &str| labels.get(name).cloned().unwrap_or_default();
    Some(ContainerRow {
        name,
        scope: label(recipe::SESSION),
        image: summary.image_id.unwrap_or_default(),
        status: summary.status.unwrap_or_default(),
        // Without a time it is as old as can be, and goes.
        created_ms: label(recipe::CREATED).parse().unwrap_or(0),
    })
}

/// What an installation's containers are labelled with a keyed digest of.
pub const INSTALLATION_OF: &str = "containers of this installation";

/// The label of an installation, from the digest that its own key gives.
pub(super) fn installation_of(digest: &str) -> String {
    digest.chars().filter(char::is_ascii_alphanumeric).take(16).collect()
}

/// Talks to the engine at a socket of this machine.
pub(super) async fn connect(socket: &Path) -> Result<Docker, EngineError> {
    let path = socket.to_string_lossy();
    let timeout = limits::CONTAINER_ENGINE.as_secs();
    let engine = Docker::connect_with_unix(&path, timeout, bollard::API_DEFAULT_VERSION)
        .map_err(|error| EngineError::no_engine(&path, &error))?;
    engine.negotiate_version().await.map_err(|error| EngineError::no_engine(&path, &error))
}

/// What the engine knows of an image: looked up by its name once, and then only ever used by its id.
pub(super) async fn image(engine: &Docker, name: &str) -> Result<Image, EngineError> {
    let found = match engine.inspect_image(name).await {
        Ok(found) => found,
        Err(bollard::errors::Error::DockerResponseServerError { status_code: 404, .. }) => {
            return Err(EngineError {
                cause: format!("there is no image {name} here, and none is pulled"),
                fix: "make it with `moltbot sandbox image build`, or name another in `sandbox.docker.image`"
                    .into(),
            });
        }
        Err(error) => return Err(error.into()),
    };
    let config = found.config.unwrap_or_default();
    let id = found.id.ok_or_else(|| EngineError::said("the engine named no id of the image"))?;
    let name_of = |variable: &String| variable.split('=').next().unwrap_or_default().to_owned();
    let variables = config.env.unwrap_or_default().iter().map(name_of).collect();
    if config.volumes.is_some_and(|volumes| !volumes.is_empty()) {
        return Err(EngineError {
            cause: format!("the image {name} declares volumes, which could be written"),
            fix: "make it again without them: `moltbot sandbox image build` keeps none".into(),
        });
    }
    Ok(Image { id, variables })
}

/// Removes a container whether it runs or not, and its own volumes.
pub(super) async fn remove(engine: &Docker, name: &str) -> Result<(), EngineError> {
    let options = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
    match engine.remove_container(name, Some(options)).await {
        Ok(()) | Err(bollard::errors::Error::DockerResponseServerError { status_code: 404, .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// The containers of an installation.
pub(super) async fn list(engine: &Docker, installation: &str) -> Result<Vec<ContainerSummary>, EngineError> {
    let label = format!("{}={installation}", recipe::INSTALLATION);
    let filters = HashMap::from([("label", vec![format!("{}=1", recipe::SANDBOX), label])]);
    let options = ListContainersOptionsBuilder::default().all(true).filters(&filters).build();
    Ok(engine.list_containers(Some(options)).await?)
}

/// Milliseconds since 1970, for the label that existing tools read.
pub(super) fn now_ms() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
    u64::try_from(now.tv_sec.saturating_mul(1000).saturating_add(now.tv_nsec / 1_000_000)).unwrap_or(0)
}

/// Why there is no container, and what to do.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[error("{cause}; {fix}")]
pub struct EngineError {
    /// What failed.
    pub cause: String,
    /// What the owner can do.
    pub fix: String,
}

impl EngineError {
    /// A cause that says itself what to do.
    pub(crate) fn said(cause: impl Into<String>) -> Self {
        Self { cause: cause.into(), fix: "see the engine's log, and `moltbot doctor`".into() }
    }

    fn no_engine(socket: &str, error: &bollard::errors::Error) -> Self {
        Self {
            cause: format!("no container engine answers at {socket} ({})", moltbot_policy::with_causes(error)),
            fix: "install and start Docker, let the gateway's user use its socket, or set `sandbox.backend` to \"embedded\"; \
                  nothing runs in another way meanwhile"
                .into(),
        }
    }

    /// The refusal of a command.
    pub(crate) fn refusal(self, what: &'static str) -> RunError {
        RunError::Container { what, cause: self.cause, fix: self.fix }
    }
}

impl From<bollard::errors::Error> for EngineError {
    fn from(error: bollard::errors::Error) -> Self {
        Self::said(moltbot_policy::with_causes(&error))
    }
}

impl From<std::io::Error> for EngineError {
    fn from(error: std::io::Error) -> Self {
        Self::said(error.to_string())
    }
}

impl From<rustix::io::Errno> for EngineError {
    fn from(error: rustix::io::Errno) -> Self {
        Self::said(error.to_string())
    }
}
