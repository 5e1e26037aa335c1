//! Layer 4, sandbox isolation: which walls stand around a command.
//!
//! Pure: the sandbox builds the walls, this module says how high.

use std::time::Duration;

use moltbot_config::settings::{SandboxBackend, SandboxNetwork};
use moltbot_config::{Config, hole, limits};

use crate::container::Backend;

/// The walls of a sandbox.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Profile {
    /// What builds the walls.
    pub backend: Backend,
    /// How the command sees the workspace.
    pub workspace: WorkspaceAccess,
    /// What the command reaches of the network.
    pub network: NetworkAccess,
    /// The largest address space of one process, in bytes.
    pub address_space: u64,
    /// Resident memory of all its processes together, in bytes.
    pub memory: u64,
    /// Processes and threads at once.
    pub processes: u64,
    /// Open files of one process.
    pub open_files: u64,
    /// The largest file, in bytes.
    pub file_size: u64,
    /// Processor time of one process, in seconds.
    pub cpu_seconds: u64,
    /// Size of the private `/tmp`, in bytes.
    pub temporary_bytes: u64,
    /// By how many bytes the workspace's disk may fill up while the command runs.
    pub disk: u64,
    /// Output that is kept, in bytes; the rest is read and thrown away.
    pub output_bytes: usize,
    /// Whether it writes to a terminal, which nobody types at.
    pub terminal: bool,
    /// How long the command may take.
    pub timeout: Duration,
}

/// The walls that a backend does not have, compared with the embedded one: each what is missing, and what follows.
pub const fn missing_walls(backend: SandboxBackend) -> &'static [&'static str] {
    match backend {
        SandboxBackend::Bwrap | SandboxBackend::Embedded => &[],
        SandboxBackend::Docker => &["attempts: system calls that lead out fail and are not seen"],
        SandboxBackend::EmbeddedWeak => &[
            "own user: a gateway that is an ordinary user runs commands as itself, and Landlock alone keeps them from its files",
            "private root: names, sizes and times of all files of the machine can be seen, though not what is in them",
            "process namespace: which processes there are can be found out, though they cannot be looked into or signalled",
            "network namespace: the filter of system calls alone keeps commands from the network",
            "held paths: what the owner's programs obey in a workspace, such as .git/config, can be changed",
            "scratch folder: what a command writes there can be loaded by the dynamic linker, and only its disk limits it",
            "memory in sockets: it is not counted",
            "owners and times: chown, touch and their kin fail for files that are named, because Landlock has no rules for them",
        ],
    }
}

/// What a command reaches of the network.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum NetworkAccess {
    /// Nothing: it can make no socket.
    None,
    /// The gateway's proxy, and nothing else.
    Proxy,
}

/// How a command sees the workspace.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum WorkspaceAccess {
    /// An empty folder that is gone afterwards.
    None,
    /// Its files, which it cannot change.
    ReadOnly,
    /// Its files, which it can change.
    ReadWrite,
}

impl Profile {
    /// The walls for a command of the agent's `exec` tool. `asked` is the timeout that the model asks for; the
    /// config's limit holds when it asks for more.
    pub fn for_exec(config: &Config, asked: Option<Duration>) -> Self {
        let longest = Duration::from_secs(u64::from(config.tools.exec.timeout_sec));
        Self { timeout: asked.map_or(longest, |asked| asked.min(longest)), ..Self::strict() }
    }

    /// The same walls, around a workspace that its session may do this with.
    #[must_use]
    pub fn seeing(self, workspace: WorkspaceAccess) -> Self {
        Self { workspace, ..self }
    }

    /// The same walls, with the network that the config gives an agent's commands.
    #[must_use]
    pub fn reaching(self, network: SandboxNetwork) -> Self {
        let network = match network {
            SandboxNetwork::None => NetworkAccess::None,
            SandboxNetwork::Proxy => NetworkAccess::Proxy,
        };
        Self { network, ..self }
    }

    /// The walls for the probe at start: as for a command, with little time and no workspace.
    pub fn for_probe() -> Self {
        Self { workspace: WorkspaceAccess::None, timeout: Duration::from_secs(20), ..Self::strict() }
    }

    /// The figures of the sandbox design: enough for a compiler, not for a fork bomb.
    fn strict() -> Self {
        const MIB: u64 = 1024 * 1024;
        Self {
            backend: Backend::Embedded,
            workspace: WorkspaceAccess::ReadWrite,
            network: NetworkAccess::None,
            address_space: 4096 * MIB,
            memory: 2048 * MIB,
            processes: if hole!("sandbox-fork-bomb") { 4096 } else { 128 },
            open_files: 1024,
            file_size: 256 * MIB,
            cpu_seconds: 120,
            temporary_bytes: 64 * MIB,
            disk: 4096 * MIB,
            output_bytes: limits::COMMAND_OUTPUT_BYTES,
            terminal: false,
            timeout: Duration::from_secs(60),
        }
    }
}
