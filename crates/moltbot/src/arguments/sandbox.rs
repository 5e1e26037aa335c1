//! The arguments of `moltbot sandbox`.

use clap::{Args, Subcommand};

use super::{Containers, Facts, Image};

/// Commands of `sandbox`.
#[derive(Debug, Subcommand)]
pub(crate) enum Sandbox {
    /// List the containers of this installation, or remove some
    #[command(after_help = "\
What is removed is made anew by the next command of its scope; workspaces stay.

Example:
  moltbot sandbox containers
  moltbot sandbox containers --prune

Exit codes: 0, 1 there is no engine or no such container, 75 the book is busy")]
    Containers(Containers),
    /// Try the walls of all agents, and say what would keep their commands from running
    #[command(after_help = "\
A gateway that runs is asked what it found for its own walls; containers are looked up in their engine.

Example:
  moltbot sandbox doctor

Exit codes: 0, 1 no command could run for some agent, 78 invalid config")]
    Doctor(Facts),
    /// Say which walls stand around a session's tools, why, and what would change them
    #[command(after_help = "\
Example:
  moltbot sandbox explain main
  moltbot sandbox explain telegram:dm:7 --json

Exit codes: 0, 1 that is no session's key, 78 invalid config")]
    Explain(Explain),
    /// Make and list the images of containers
    #[command(
        subcommand,
        after_help = "\
Example:
  moltbot sandbox image build --from ./root

Exit codes: each command has its own; `moltbot --help` lists all"
    )]
    Image(Image),
    /// List the folders of sessions that are shut off from the agent's workspace
    #[command(after_help = "\
Example:
  moltbot sandbox list

Exit codes: 0")]
    List(Facts),
    /// Remove folders that no turn has worked in for `sandbox.prune.maxAgeDays`
    #[command(after_help = "\
Example:
  moltbot sandbox prune

Exit codes: 0, 1 one could not be removed, 75 the book cannot be written, 78 invalid config")]
    Prune(Facts),
    /// Remove a folder with all that is in it; its sessions begin with an empty one
    #[command(after_help = "\
Example:
  moltbot sandbox recreate agent-main-telegram-dm-7-0a1b2c3d
  moltbot sandbox recreate --all

Exit codes: 0, 1 there is no such folder, 75 the book cannot be written")]
    Recreate(Recreate),
}

/// Which session.
#[derive(Args, Debug)]
pub(crate) struct Explain {
    /// The session's key, or `main`
    #[arg(value_name = "SESSION", default_value = "main")]
    pub(crate) session: String,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Which folders.
#[derive(Args, Debug)]
pub(crate) struct Recreate {
    /// The folder's name, from `moltbot sandbox list`
    #[arg(value_name = "FOLDER", required_unless_present = "all")]
    pub(crate) folder: Option<String>,
    /// All of them
    #[arg(long, conflicts_with = "folder")]
    pub(crate) all: bool,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}
