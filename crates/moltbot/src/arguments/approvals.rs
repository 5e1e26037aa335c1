//! The arguments of `moltbot approvals`.

use clap::{Args, Subcommand, ValueEnum};

use super::Facts;

/// Commands of `approvals`.
#[derive(Debug, Subcommand)]
pub(crate) enum Approvals {
    /// Show what is kept about commands: how strict, and the list of programs
    #[command(after_help = "\
Example:
  moltbot approvals get --json

Exit codes: 0, 1 it cannot be read, 69 no gateway, 77 refused")]
    Get(Facts),
    /// Replace what is kept by what is on standard input; of it and the config the stricter holds
    #[command(after_help = "\
Example:
  moltbot approvals set < exec-approvals.json

Exit codes: 0, 1 it is no such file, or was changed meanwhile, 69 no gateway, 77 refused")]
    Set(Facts),
    /// List the commands that wait for your yes
    #[command(after_help = "\
Example:
  moltbot approvals list

Exit codes: 0, 69 no gateway, 77 refused")]
    List(Facts),
    /// Answer whether a command may run; asks at the terminal when no answer is given
    #[command(after_help = "\
Example:
  moltbot approvals resolve k3m9x2ab allow-once

Exit codes: 0, 1 no command waits under that id, or that answer is not possible, 69 no gateway, 77 refused")]
    Resolve {
        /// The id, as `approvals list` shows it
        #[arg(value_name = "ID")]
        id: String,
        /// The answer
        #[arg(value_enum, value_name = "ANSWER")]
        decision: Option<Decision>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// The programs that may run without a question
    #[command(
        subcommand,
        after_help = "\
Example:
  moltbot approvals allowlist add /usr/bin/rg

Exit codes: 0, 1 it is not on the list, 69 no gateway, 77 refused"
    )]
    Allowlist(Allowlist),
}

/// An answer.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Decision {
    /// Yes, this once
    AllowOnce,
    /// Yes, and for an hour for the very same command in this conversation
    AllowSession,
    /// Yes, and its programs are on the list from now on
    AllowAlways,
    /// No
    Deny,
}

impl Decision {
    /// The name on the wire.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::AllowAlways => "allow-always",
            Self::AllowOnce => "allow-once",
            Self::AllowSession => "allow-session",
            Self::Deny => "deny",
        }
    }
}

/// Commands of `approvals allowlist`.
#[derive(Debug, Subcommand)]
pub(crate) enum Allowlist {
    /// Put a program on the list, by its path; whatever its arguments are, it is not asked about
    #[command(after_help = "\
Example:
  moltbot approvals allowlist add /usr/bin/rg

Exit codes: 0, 1 it is no path, or a program that runs what it is given, 69 no gateway, 77 refused")]
    Add(OneProgram),
    /// Take a program off the list, by its path or the entry's id
    #[command(after_help = "\
Example:
  moltbot approvals allowlist remove /usr/bin/rg

Exit codes: 0, 1 it is not on the list, 69 no gateway, 77 refused")]
    Remove(OneProgram),
}

/// One program of an agent's list.
#[derive(Args, Debug)]
pub(crate) struct OneProgram {
    /// The absolute path of the program, or a pattern of paths
    #[arg(value_name = "PATH")]
    pub(crate) path: String,
    /// The agent whose list it is
    #[arg(long, default_value = "main", value_name = "AGENT")]
    pub(crate) agent: String,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}
