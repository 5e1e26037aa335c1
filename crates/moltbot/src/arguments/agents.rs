//! The arguments of `moltbot agents`.

use clap::{Args, Subcommand};

/// Commands of `agents`.
#[derive(Debug, Subcommand)]
pub(crate) enum Agents {
    /// List the agents of the config
    #[command(after_help = "\
Example:
  moltbot agents list --bindings

Exit codes: 0, 78 the config is not valid")]
    List(AgentList),
    /// Add an agent, with a workspace and conversations of its own
    ///
    /// It is asked by conversations of its own, `agent:ID:NAME`; the gateway that runs knows it after a restart.
    #[command(after_help = "\
Example:
  moltbot agents add work --name Work --workspace ~/work --bind telegram:work

Exit codes: 0, 1 there is one, or another agent has what is bound, 78 the config would not be valid")]
    Add(NewAgent),
    /// Change the name that people see
    #[command(after_help = "\
Example:
  moltbot agents set-identity work --name \"At work\"

Exit codes: 0, 1 there is none, 78 the config would not be valid")]
    SetIdentity(AgentIdentity),
    /// Take an agent and what is bound to it out of the config; its workspace and its conversations stay
    #[command(after_help = "\
Example:
  moltbot agents delete work

Exit codes: 0, 1 there is none, or it is the default one, 78 the config would not be valid")]
    Delete(OneAgent),
}

/// What is told of agents.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct AgentList {
    /// Say also what is bound to each
    #[arg(long)]
    pub(crate) bindings: bool,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// An agent that is not there yet.
#[derive(Args, Debug)]
pub(crate) struct NewAgent {
    /// Its id: a-z, 0-9, '-' and '_'
    #[arg(value_name = "ID")]
    pub(crate) id: String,
    /// The name that people see
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// The folder that it works in; one of its own in the state folder without it
    #[arg(long, value_name = "DIR")]
    pub(crate) workspace: Option<String>,
    /// Its model, as provider/model; that of all agents without it
    #[arg(long)]
    pub(crate) model: Option<String>,
    /// What it answers: a channel, and an account on it, or * for all of them; the account "default" without one
    #[arg(long, value_name = "CHANNEL[:ACCOUNT]")]
    pub(crate) bind: Vec<String>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// What an agent is called.
#[derive(Args, Debug)]
pub(crate) struct AgentIdentity {
    /// Its id
    #[arg(value_name = "ID")]
    pub(crate) id: String,
    /// The name that people see
    #[arg(long)]
    pub(crate) name: String,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// One agent.
#[derive(Args, Debug)]
pub(crate) struct OneAgent {
    /// Its id
    #[arg(value_name = "ID")]
    pub(crate) id: String,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}
