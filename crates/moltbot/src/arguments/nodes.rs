//! The arguments of `moltbot nodes`.

use clap::{Args, Subcommand};

use super::{Facts, Request};

/// Commands of `nodes`.
#[derive(Debug, Subcommand)]
pub(crate) enum Nodes {
    /// List nodes that wait for approval, and nodes that are approved
    #[command(after_help = "\
Example:
  moltbot nodes list --json

Exit codes: 0, 69 no gateway, 77 refused")]
    List(Facts),
    /// Show one node, and the commands that may be asked of it
    #[command(after_help = "\
Example:
  moltbot nodes describe ce7f777e…

Exit codes: 0, 1 there is no such node, 69 no gateway, 77 refused")]
    Describe(OneNode),
    /// Approve a node for the commands that `moltbot nodes list` shows with its request
    #[command(after_help = "\
Example:
  moltbot nodes approve 3f1c2a77-0d52-4a55-9a0e-6c0b0f8f9c11

Exit codes: 0, 1 nothing waits under that id, 69 no gateway, 77 refused")]
    Approve(Request),
    /// Refuse what a node asks for
    #[command(after_help = "\
Example:
  moltbot nodes reject 3f1c2a77-0d52-4a55-9a0e-6c0b0f8f9c11

Exit codes: 0, 1 nothing waits under that id, 69 no gateway, 77 refused")]
    Reject(Request),
    /// Give a node another name
    #[command(after_help = "\
Example:
  moltbot nodes rename ce7f777e… kitchen

Exit codes: 0, 1 there is no such node, 69 no gateway, 77 refused")]
    Rename {
        /// Which node
        #[command(flatten)]
        node: OneNode,
        /// Its name from now on
        #[arg(value_name = "NAME")]
        name: String,
    },
    /// Have a node do one of its commands, and print what came of it
    #[command(after_help = "\
Example:
  moltbot nodes invoke ce7f777e… system.notify --params '{\"title\":\"hello\"}'

Exit codes: 0, 1 it was refused or failed, 69 no gateway, 77 refused, 124 timeout")]
    Invoke(Invoke),
}

/// One node.
#[derive(Args, Debug)]
pub(crate) struct OneNode {
    /// The node's id, from `moltbot nodes list`
    #[arg(value_name = "NODE")]
    pub(crate) id: String,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// A command for a node.
#[derive(Args, Debug)]
pub(crate) struct Invoke {
    /// Which node
    #[command(flatten)]
    pub(crate) node: OneNode,
    /// The command
    #[arg(value_name = "COMMAND")]
    pub(crate) command: String,
    /// Its parameters, as JSON
    #[arg(long, value_name = "JSON")]
    pub(crate) params: Option<String>,
    /// How long it may take, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u16).range(1..=600))]
    pub(crate) timeout: u16,
}
