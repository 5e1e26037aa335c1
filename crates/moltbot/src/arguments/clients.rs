//! The arguments of `moltbot clients`.

use clap::{Args, Subcommand};

use super::Facts;

/// Commands of `clients`.
#[derive(Debug, Subcommand)]
pub(crate) enum Clients {
    /// List who is signed in: since when, by which credential, and from where
    #[command(after_help = "\
Example:
  moltbot clients list --json

Exit codes: 0, 69 no gateway, 77 refused")]
    List(Facts),
    /// End a client's session; its device stays paired, and may sign in again
    #[command(after_help = "\
Example:
  moltbot clients kill 3f1c2a77-0d52-4a55-9a0e-6c0b0f8f9c11
  moltbot clients kill --all

Exit codes: 0, 1 there is no such session, 69 no gateway, 77 refused")]
    Kill(Kill),
}

/// Which sessions.
#[derive(Args, Debug)]
pub(crate) struct Kill {
    /// The session's id, from `moltbot clients list`
    #[arg(value_name = "ID", required_unless_present = "all")]
    pub(crate) id: Option<String>,
    /// All of them
    #[arg(long, conflicts_with = "id")]
    pub(crate) all: bool,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}
