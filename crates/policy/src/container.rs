//! Layer 4, sandbox isolation in a container engine: which container a command runs in, and what may be done to it.
//!
//! Pure: the sandbox talks to the engine. What holds for every container (no network, no capability, a read-only root)
//! is not here, because nothing can choose it.

mod packages;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use moltbot_config::settings::{
    Bind, ContainerUser, DockerConfig, SandboxBackend, SandboxConfig, SandboxNetwork, SandboxScope,
};
use moltbot_protocol::ids::SessionKey;
use sha1::{Digest as _, Sha1};

pub use packages::RootPackages;

use crate::command::setup::{self, SetupCommand};
use crate::record::{Decision, Entry, Permit};
use crate::refusal::Refusal;

/// What builds the walls around a command.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Backend {
    /// moltbot within what `bwrap` builds.
    Bwrap,
    /// A container of an engine.
    Docker(Arc<Container>),
    /// moltbot itself.
    Embedded,
    /// moltbot itself, without namespaces.
    EmbeddedWeak,
}

impl Backend {
    /// What builds the walls for a conversation. For a container this decides what it is made with; a config that would
    /// weaken it, or a setup that may not run, gives none.
    ///
    /// # Errors
    /// `container_weakened`, or why the setup may not run.
    pub fn of(sandbox: &SandboxConfig, session: &SessionKey) -> Result<Self, Refusal> {
        match sandbox.backend {
            SandboxBackend::Docker if sandbox.network != SandboxNetwork::None => {
                let message = "containers have no way out through the proxy yet; set `sandbox.network` to \"none\", or \
                    `sandbox.backend` to \"embedded\"";
                Err(Refusal::new("container_network", message))
            }
            SandboxBackend::Docker => {
                let setup = setup_of(&sandbox.docker, "sandbox.docker")?;
                let container = Container::of(&sandbox.docker, &scope_of(sandbox.scope, session), setup);
                let hours = |hours: u32| HOUR.saturating_mul(hours);
                Ok(Self::Docker(Arc::new(Container {
                    idle: hours(sandbox.prune.idle_hours),
                    age: hours(sandbox.prune.max_age_days.saturating_mul(24)),
                    ..container
                })))
            }
            SandboxBackend::EmbeddedWeak if sandbox.network != SandboxNetwork::None => {
                let message = "without namespaces a command that may reach a proxy would reach the whole network at that \
                    port; set `sandbox.network` to \"none\", or `sandbox.backend` to \"embedded\"";
                Err(Refusal::new("weak_network", message))
            }
            SandboxBackend::Bwrap => Ok(Self::Bwrap),
            SandboxBackend::Embedded => Ok(Self::Embedded),
            SandboxBackend::EmbeddedWeak => Ok(Self::EmbeddedWeak),
        }
    }

    /// The name in the config and the book.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Bwrap => SandboxBackend::Bwrap.name(),
            Self::Docker(_) => SandboxBackend::Docker.name(),
            Self::Embedded => SandboxBackend::Embedded.name(),
            Self::EmbeddedWeak => SandboxBackend::EmbeddedWeak.name(),
        }
    }

    /// The container, when there is one.
    pub fn container(&self) -> Option<&Arc<Container>> {
        match self {
            Self::Docker(container) => Some(container),
            Self::Bwrap | Self::Embedded | Self::EmbeddedWeak => None,
        }
    }
}

/// The key of the scope that a conversation's commands share a container with.
fn scope_of(scope: SandboxScope, session: &SessionKey) -> String {
    match scope {
        SandboxScope::Agent => format!("agent:{}", session.agent()),
        SandboxScope::Session => session.as_str().to_owned(),
        SandboxScope::Shared => "shared".to_owned(),
    }
}

/// The commands that prepare a container, judged: when the config is read, and before each container.
///
/// `place` is where the settings stand, for whoever has to correct them.
///
/// # Errors
/// When the config would take a wall away that the judge of configs should have refused, or a command may not run.
pub fn setup_of(docker: &DockerConfig, place: &str) -> Result<Vec<Vec<String>>, Refusal> {
    let drops_all = docker.cap_drop.iter().any(|name| name.trim().eq_ignore_ascii_case("all"));
    if !drops_all || docker.network != "none" || !docker.read_only_root {
        let message = "the config takes walls away from containers; run `moltbot config validate`";
        return Err(Refusal::new("container_weakened", message));
    }
    let refused = |setting: &str, refusal: Refusal| {
        let message = format!("{place}.{setting}: {refusal}; correct it, or remove it");
        Refusal::new(refusal.code, message)
    };
    let mut commands = match &docker.setup_command {
        None => Vec::new(),
        Some(line) => {
            setup::judge(&SetupCommand::Line(line.clone())).map_err(|why| refused("setupCommand", why))?
        }
    };
    let list = SetupCommand::List(docker.setup.clone());
    commands.extend(setup::judge(&list).map_err(|why| refused("setup", why))?);
    Ok(commands)
}

/// The container that the commands of one scope run in.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Container {
    /// Its name: the prefix, and the scope as a slug.
    pub name: String,
    /// The scope as a slug. The scope's key itself may hold what a stranger wrote.
    pub slug: String,
    /// The engine's socket.
    pub socket: PathBuf,
    /// The image as the config names it.
    pub image: String,
    /// Who commands are; who owns the workspace when absent.
    pub user: Option<ContainerUser>,
    /// The engine's runtime.
    pub runtime: Option<String>,
    /// The AppArmor profile.
    pub apparmor: Option<String>,
    /// Memory of everything in it, in bytes.
    pub memory: u64,
    /// Processes and threads in it.
    pub pids: u32,
    /// Processors in thousandths.
    pub cpus: u32,
    /// Folders of this machine besides the workspace.
    pub binds: Vec<Bind>,
    /// What prepares it, each a program and its arguments.
    pub setup: Vec<Vec<String>>,
    /// How long it may be kept without use.
    pub idle: Duration,
    /// How long it may be kept at all.
    pub age: Duration,
}

impl Container {
    /// The container of a scope: a session's key, `agent:NAME` or `shared`. `setup` was judged. It is kept for a day
    /// without use and for a week at most.
    pub fn of(docker: &DockerConfig, scope: &str, setup: Vec<Vec<String>>) -> Self {
        let slug = slug(scope);
        let mut name = format!("{}{slug}", docker.container_prefix);
        name.truncate(NAME_BYTES);
        Self {
            name,
            slug,
            socket: PathBuf::from(&docker.socket),
            image: docker.image.clone(),
            user: docker.user,
            runtime: docker.runtime.clone(),
            apparmor: docker.apparmor_profile.clone(),
            memory: docker.memory.0,
            pids: docker.pids_limit,
            cpus: docker.cpus.thousandths,
            binds: docker.binds.clone(),
            setup,
            idle: 24 * HOUR,
            age: 7 * 24 * HOUR,
        }
    }
}

const HOUR: Duration = Duration::from_secs(3600);

/// The longest name that existing tools make.
const NAME_BYTES: usize = 63;

/// A scope's key as a part of a name: lower case, other characters as `-`, its first 32, and a digest of the whole, so
/// that no two keys give one name.
pub fn slug(scope: &str) -> String {
    use std::fmt::Write as _;
    let plain = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-') { c } else { '-' };
    let begins: String = scope.trim().to_lowercase().chars().map(plain).take(32).collect();
    let begins = begins.trim_matches('-');
    let mut slug = if begins.is_empty() { "session".to_owned() } else { begins.to_owned() };
    slug.push('-');
    for byte in Sha1::digest(scope.trim().as_bytes()).iter().take(4) {
        // Writing to a text cannot fail.
        if write!(slug, "{byte:02x}").is_err() {
            break;
        }
    }
    slug
}

/// Proof that a container may be removed.
#[derive(Debug)]
#[must_use = "a permit that is dropped removes nothing"]
pub struct RemovalPermit {
    name: String,
    why: RemovalReason,
    actor: String,
}

/// Why a container is removed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RemovalReason {
    /// It is older than `prune.maxAgeDays`.
    Age,
    /// The owner asked for it.
    Asked,
    /// Nothing ran in it for `prune.idleHours`.
    Idle,
}

impl RemovalReason {
    const fn name(self) -> &'static str {
        match self {
            Self::Age => "age",
            Self::Asked => "asked",
            Self::Idle => "idle",
        }
    }
}

impl RemovalPermit {
    /// The container's name.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl Permit for RemovalPermit {
    fn entry(&self) -> Entry {
        Entry::new(self.actor.clone(), REMOVE, self.name.clone(), Decision::Allowed)
            .with("reason", self.why.name())
    }
}

/// Why a container is to go, if it is. Both are times since: since it was made, since it was used last.
pub fn due(made: Duration, used: Duration, idle: Duration, age: Duration) -> Option<RemovalReason> {
    if made > age {
        Some(RemovalReason::Age)
    } else if used > idle {
        Some(RemovalReason::Idle)
    } else {
        None
    }
}

/// Permits to remove a container of ours: what was in it is gone, the workspace is not.
pub fn permit_removal(name: &str, why: RemovalReason, actor: &str) -> RemovalPermit {
    RemovalPermit { name: name.into(), why, actor: actor.into() }
}

/// Proof that an image may be made.
#[derive(Debug)]
#[must_use = "a permit that is dropped makes nothing"]
pub struct ImagePermit {
    tag: String,
    source: String,
    actor: String,
}

impl ImagePermit {
    /// The image's name.
    pub fn tag(&self) -> &str {
        &self.tag
    }
}

impl Permit for ImagePermit {
    fn entry(&self) -> Entry {
        Entry::new(self.actor.clone(), IMPORT, self.tag.clone(), Decision::Allowed)
            .with("source", self.source.clone())
    }
}

/// The entry that the owner's command line asks a gateway to write before it removes a container or makes an image.
pub(crate) fn relayed(
    action: &str,
    target: &str,
    details: &BTreeMap<String, String>,
    actor: &str,
) -> Option<Entry> {
    let action = [REMOVE, IMPORT].into_iter().find(|known| *known == action)?;
    let entry = Entry::new(actor, action, target, Decision::Allowed).with("relayed", "yes");
    Some(["reason", "source"].into_iter().fold(entry, |entry, name| match details.get(name) {
        None => entry,
        Some(value) => entry.with(name, value.clone()),
    }))
}

const REMOVE: &str = "container.remove";
const IMPORT: &str = "image.import";

/// Permits the owner to make an image from a root that he names.
pub fn permit_image(tag: &str, source: &str, actor: &str) -> ImagePermit {
    ImagePermit { tag: tag.into(), source: source.into(), actor: actor.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_containers_name_is_the_prefix_and_a_slug_as_existing_tools_make_it() {
        for (scope, expected) in [
            ("agent:main:main", "moltbot-sbx-agent-main-main-20ceb99b"),
            ("shared", "moltbot-sbx-shared-d18aac96"),
            ("", "moltbot-sbx-session-da39a3ee"),
        ] {
            assert_eq!(Container::of(&DockerConfig::default(), scope, Vec::new()).name, expected);
        }
    }

    #[test]
    fn a_container_goes_when_it_is_idle_or_old() {
        let (day, hour) = (24 * HOUR, HOUR);
        for (made, used, expected) in [
            (hour, hour, None),
            (day, day, None),
            (2 * day, day + hour, Some(RemovalReason::Idle)),
            (8 * day, hour, Some(RemovalReason::Age)),
        ] {
            assert_eq!(due(made, used, day, 7 * day), expected, "made {made:?} ago, used {used:?} ago");
        }
    }

    #[test]
    fn d_90_d_91_a_setup_is_judged_before_there_is_a_container() {
        let mut sandbox = SandboxConfig { backend: SandboxBackend::Docker, ..SandboxConfig::default() };
        let session = SessionKey::main_of(&moltbot_protocol::ids::AgentId::main());
        for (line, expected) in [
            ("", Ok(0)),
            ("mkdir -p /tmp/data", Ok(1)),
            ("mkdir -p /tmp/data && chmod 755 /tmp/data", Ok(2)),
            ("curl https://example.org", Err("setup_network")),
            ("mkdir /tmp/x; rm -rf /", Err("setup_rejected")),
            ("echo $(id)", Err("setup_rejected")),
        ] {
            sandbox.docker.setup_command = Some(line.to_owned());
            let made = Backend::of(&sandbox, &session);
            let setup = made.map(|backend| backend.container().map_or(99, |container| container.setup.len()));
            assert_eq!(setup.map_err(|refusal| refusal.code), expected, "{line}");
        }
        sandbox.docker.setup_command = Some("wget x".into());
        let refusal = Backend::of(&sandbox, &session).unwrap_err().to_string();
        assert!(refusal.contains("Docker setup command cannot include network tools: wget"), "{refusal}");
        assert!(refusal.starts_with("sandbox.docker.setupCommand: "), "{refusal}");
        sandbox.docker.setup_command = None;
        sandbox.docker.setup = vec![vec!["pip3".into(), "install".into(), "x".into()]];
        assert_eq!(Backend::of(&sandbox, &session).unwrap_err().code, "setup_network");
    }

    #[test]
    fn d_96_a_config_that_got_past_its_judge_still_makes_no_weak_container() {
        let session = SessionKey::main_of(&moltbot_protocol::ids::AgentId::main());
        let weak: [fn(&mut DockerConfig); 3] = [
            |docker| docker.cap_drop = Vec::new(),
            |docker| docker.network = "host".into(),
            |docker| docker.read_only_root = false,
        ];
        for weaken in weak {
            let mut sandbox = SandboxConfig { backend: SandboxBackend::Docker, ..SandboxConfig::default() };
            weaken(&mut sandbox.docker);
            assert_eq!(Backend::of(&sandbox, &session).unwrap_err().code, "container_weakened");
        }
    }

    #[test]
    fn a_backend_is_the_one_that_is_named_and_without_namespaces_there_is_no_proxy() {
        let session = SessionKey::main_of(&moltbot_protocol::ids::AgentId::main());
        for (backend, network, expected) in [
            (SandboxBackend::Bwrap, SandboxNetwork::None, Ok("bwrap")),
            (SandboxBackend::Bwrap, SandboxNetwork::Proxy, Ok("bwrap")),
            (SandboxBackend::Embedded, SandboxNetwork::Proxy, Ok("embedded")),
            (SandboxBackend::EmbeddedWeak, SandboxNetwork::None, Ok("embedded-weak")),
            (SandboxBackend::EmbeddedWeak, SandboxNetwork::Proxy, Err("weak_network")),
            (SandboxBackend::Docker, SandboxNetwork::Proxy, Err("container_network")),
        ] {
            let sandbox = SandboxConfig { backend, network, ..SandboxConfig::default() };
            let made = Backend::of(&sandbox, &session);
            assert_eq!(made.map(|made| made.name()).map_err(|refusal| refusal.code), expected, "{backend:?}");
        }
    }

    #[test]
    fn a_scope_has_one_container() {
        let session = SessionKey::main_of(&moltbot_protocol::ids::AgentId::main());
        for (scope, expected) in [
            (SandboxScope::Session, "agent:main:main"),
            (SandboxScope::Agent, "agent:main"),
            (SandboxScope::Shared, "shared"),
        ] {
            assert_eq!(scope_of(scope, &session), expected);
        }
    }

    #[test]
    fn d_100_no_text_of_a_stranger_is_in_a_name() {
        let hostile = "agent:main:dm:$(reboot)\n--privileged /../../etc 🦀".repeat(20);
        let container = Container::of(&DockerConfig::default(), &hostile, Vec::new());
        let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        assert!(
            container.name.chars().all(is_plain) && container.name.len() <= NAME_BYTES,
            "{}",
            container.name
        );
        let other = Container::of(&DockerConfig::default(), &format!("{hostile}x"), Vec::new());
        assert!(other.name != container.name, "two scopes in one container");
    }
}
