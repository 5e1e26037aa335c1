//! Which sessions are shut off from the owner's files, what they see instead, and what builds the walls.

use moltbot_protocol::ids::AgentId;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{AgentDockerConfig, AgentsConfig, DockerConfig};

/// The walls around what an agent's tools do. No setting runs a command without any.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct SandboxConfig {
    /// What builds the walls. `embedded`: it is the program itself, and needs neither root nor a daemon. Where the one
    /// that is named cannot be had, no command runs: no other takes its place.
    pub backend: SandboxBackend,
    /// The containers of `backend` `docker`.
    pub docker: DockerConfig,
    /// Which sessions are shut off from the agent's workspace. `non-main`: the main session is the owner's alone.
    pub mode: SandboxMode,
    /// What commands reach of the network. `proxy`: the hosts of `outbound`, and nothing else.
    pub network: SandboxNetwork,
    /// When folders of sessions that are shut off are removed.
    pub prune: PruneConfig,
    /// Which sessions that are shut off share a folder. `session`: none do.
    pub scope: SandboxScope,
    /// What sessions that are shut off see of the agent's workspace. `none`: a folder of their own instead.
    pub workspace_access: SandboxWorkspace,
}

/// One agent's own walls; what is absent is as in `agents.defaults.sandbox`.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct AgentSandboxConfig {
    /// What builds the walls.
    pub backend: Option<SandboxBackend>,
    /// What is otherwise in its containers. Nothing where all agents share one: then they are as for all.
    pub docker: Option<AgentDockerConfig>,
    /// Which sessions are shut off from the agent's workspace.
    pub mode: Option<SandboxMode>,
    /// What commands reach of the network.
    pub network: Option<SandboxNetwork>,
    /// When folders of sessions that are shut off are removed.
    pub prune: Option<PruneConfig>,
    /// Which sessions that are shut off share a folder.
    pub scope: Option<SandboxScope>,
    /// What sessions that are shut off see of the agent's workspace.
    pub workspace_access: Option<SandboxWorkspace>,
}

/// What builds the walls.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum SandboxBackend {
    /// The program `bwrap` of the system makes namespaces and mounts; moltbot itself sets the rest within.
    Bwrap,
    /// Containers of Docker, one for each scope.
    Docker,
    /// The program itself: namespaces, a private root, Landlock, a filter of system calls.
    #[default]
    Embedded,
    /// The program itself where there are no namespaces: Landlock, a filter of system calls, limits. Several walls are
    /// missing, which start and `doctor` name.
    EmbeddedWeak,
}

impl SandboxBackend {
    /// The name in the config.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bwrap => "bwrap",
            Self::Docker => "docker",
            Self::Embedded => "embedded",
            Self::EmbeddedWeak => "embedded-weak",
        }
    }
}

/// Which sessions are shut off from the agent's workspace.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum SandboxMode {
    /// All of them, the main session too.
    All,
    /// All but the agent's main session.
    #[default]
    NonMain,
    /// None: whoever speaks in any session has the agent's workspace. Commands stay within walls all the same.
    Off,
}

/// What commands reach of the network.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum SandboxNetwork {
    /// Nothing.
    #[default]
    None,
    /// Hosts that the owner named, through the gateway, which decides on each connection and records it.
    Proxy,
}

/// Which sessions that are shut off share a folder.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum SandboxScope {
    /// Those of one agent.
    Agent,
    /// None: each has its own.
    #[default]
    Session,
    /// All of all agents.
    Shared,
}

/// What sessions that are shut off see of the agent's workspace.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum SandboxWorkspace {
    /// Nothing: they have a folder of their own.
    #[default]
    None,
    /// Its files, which neither commands nor tools can change.
    Ro,
    /// Its files, which they can change.
    Rw,
}

/// When folders of sessions that are shut off are removed by `moltbot sandbox prune`.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct PruneConfig {
    /// Hours without use after which what a backend keeps running is ended, 1 to 87 600. The embedded one keeps
    /// nothing running between commands.
    #[schemars(range(min = 1, max = 87_600))]
    pub idle_hours: u32,
    /// Days without use after which a folder is removed, 1 to 36 500.
    #[schemars(range(min = 1, max = 36_500))]
    pub max_age_days: u32,
}

impl Default for PruneConfig {
    fn default() -> Self {
        Self { idle_hours: 24, max_age_days: 7 }
    }
}

impl AgentsConfig {
    /// The walls of an agent: what it says itself, and else what holds for all.
    pub fn sandbox_of(&self, agent: &AgentId) -> SandboxConfig {
        let all = self.defaults.sandbox.clone();
        let entry = self.list.iter().find(|entry| entry.id == *agent);
        let own = entry.and_then(|entry| entry.sandbox.clone()).unwrap_or_default();
        let scope = own.scope.unwrap_or(all.scope);
        let containers = own.docker.filter(|_| scope != SandboxScope::Shared);
        SandboxConfig {
            backend: own.backend.unwrap_or(all.backend),
            docker: match containers {
                Some(own) => all.docker.with(&own),
                None => all.docker,
            },
            mode: own.mode.unwrap_or(all.mode),
            network: own.network.unwrap_or(all.network),
            prune: own.prune.unwrap_or(all.prune),
            scope,
            workspace_access: own.workspace_access.unwrap_or(all.workspace_access),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backend_is_written_as_it_is_named() {
        use SandboxBackend::{Bwrap, Docker, Embedded, EmbeddedWeak};
        for backend in [Bwrap, Docker, Embedded, EmbeddedWeak] {
            assert_eq!(serde_json::to_value(backend).unwrap(), backend.name());
        }
    }

    #[test]
    fn what_an_agent_does_not_say_is_as_for_all() {
        let mut agents = AgentsConfig::default();
        assert_eq!(
            (agents.defaults.sandbox.mode, agents.defaults.sandbox.workspace_access),
            (SandboxMode::NonMain, SandboxWorkspace::None)
        );
        agents.defaults.sandbox.mode = SandboxMode::All;
        agents.defaults.sandbox.scope = SandboxScope::Agent;
        let work: crate::settings::AgentConfig = serde_json::from_value(serde_json::json!({
            "id": "work", "sandbox": { "scope": "shared", "workspaceAccess": "ro" }
        }))
        .unwrap();
        let id = work.id.clone();
        agents.list = vec![work];
        let merged = agents.sandbox_of(&id);
        assert_eq!(
            (merged.mode, merged.scope, merged.workspace_access),
            (SandboxMode::All, SandboxScope::Shared, SandboxWorkspace::Ro)
        );
        assert_eq!(agents.sandbox_of(&AgentId::main()), agents.defaults.sandbox);
    }

    #[test]
    fn containers_of_an_agent_have_what_it_says_and_shared_ones_what_all_say() {
        let of = |scope: &str| {
            let all = serde_json::json!({ "image": "all", "binds": ["/srv/a:/a"], "setupCommand": "mkdir -p /tmp/a", "pidsLimit": 99 });
            let own = serde_json::json!({ "image": "own", "binds": ["/srv/b:/b"], "setup": [["mkdir", "/tmp/b"]], "memory": "64m" });
            let agents: AgentsConfig = serde_json::from_value(serde_json::json!({
                "defaults": { "sandbox": { "backend": "docker", "docker": all } },
                "list": [{ "id": "work", "sandbox": { "scope": scope, "docker": own } }],
            }))
            .unwrap();
            let work = agents.list[0].id.clone();
            assert_eq!(agents.sandbox_of(&AgentId::main()).docker, agents.defaults.sandbox.docker);
            agents.sandbox_of(&work).docker
        };
        let own = of("agent");
        let targets: Vec<_> = own.binds.iter().map(|bind| bind.target.to_str().unwrap()).collect();
        assert_eq!((own.image.as_str(), targets, own.pids_limit), ("own", vec!["/a", "/b"], 99));
        assert_eq!((own.setup.len(), own.setup_command, own.memory.0), (1, None, 64 << 20));
        let shared = of("shared");
        assert_eq!((shared.image.as_str(), shared.binds.len(), shared.setup.len()), ("all", 1, 0));
    }
}
