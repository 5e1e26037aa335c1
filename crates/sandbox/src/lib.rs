//! The door to processes: runs a recorded command inside walls.
//!
//! The program runs itself again as its own helper ([`helper_main`]), which builds the walls and becomes the
//! command; nothing is set up in the gateway's own process. Where the walls cannot be built the command does
//! not run: it does not run outside them instead.
//!
//! | wall | what it stops |
//! | --- | --- |
//! | own user | reading what belongs to the owner, even when the gateway is root |
//! | namespaces | other processes, the network, the host's mounts, shared memory |
//! | private root | every file but `/usr`, nine files of `/etc`, and the workspace |
//! | resource limits, memory watch | fork bombs, memory hogs, endless output |
//! | no capabilities, no new privileges | set-uid programs, mounts, devices |
//! | Landlock | writing anywhere but the workspace and `/tmp`; TCP; signals outward |
//! | seccomp | every system call that ordinary programs do not need |
//!
//! Two kinds of program run outside the walls. Those that the owner's config names to be asked for secrets
//! ([`ask_program`]) are no commands. And a command that the owner has approved, one by one, runs on the machine itself
//! ([`Sandbox::run_on_host`]) when his config lets the agent ask for that. The three have nothing in common but this door. The process of a local model
//! ([`Sandbox::local_model`]) has the walls of a command, and less than one: no folder, and no file to write.
//! And `mmdebstrap` runs when the owner himself has it make an image of packages ([`RootSource::Packages`]).
#![deny(unsafe_code)]

mod docker;
mod examine;
mod feed;
mod filter;
mod groups;
mod helper;
mod host;
mod local_model;
mod memory;
#[cfg(feature = "drill-holes")]
mod no_walls;
mod outcome;
mod posture;
mod program;
mod protected;
mod running;
mod sandbox;
mod sealed;
mod spare;
mod spawner;
mod stopper;
#[expect(unsafe_code, reason = "calls without a safe wrapper, but for two for the single-threaded helper")]
mod sys;
mod wire;
mod written;

pub use docker::{
    ContainerEngine, ContainerRow, EngineError, EngineVersions, INSTALLATION_OF, ImageRow, RootSource,
};
pub use examine::{ExamineError, Examined, examine};
pub use feed::{Feed, Part};
pub use helper::helper_main;
pub use host::{HostError, KEEPER, keeper_main};
pub use local_model::{LocalModelError, LocalModelProcess, Ready};
pub use memory::{give_free_memory_back, share_one_heap};
pub use outcome::{Exit, Outcome, RunError, Step};
pub use posture::{Posture, Unavailable};
pub use program::{Answers, AskError, ProgramSurroundings, ask_program};
pub use sandbox::{Beside, Sandbox};
pub use stopper::{Dying, Killed, Stopper};

/// The first argument with which the program runs itself as the sandbox's helper.
pub const HELPER: &str = "__sandbox-init";
