//! The arguments of `moltbot service`.

use clap::{Args, Subcommand};

use super::Facts;

/// `moltbot service`.
#[derive(Debug, Subcommand)]
pub(crate) enum Service {
    /// Write a unit, by which systemd starts the gateway when you sign in
    ///
    /// No program is run: what is left to be typed is said. It keeps from the gateway what neither it nor its sandbox needs.
    #[command(after_help = "\
Example:
  moltbot service install

Exit codes: 0, 1 it cannot be written, or another unit is there, 5 the root keys need a passphrase")]
    Install(ServiceInstall),
    /// Print the unit, for yourself or for the whole system
    #[command(after_help = "\
Example:
  moltbot service print --user moltbot > moltbot.service

Exit codes: 0, 1 a path that a unit cannot name, 2 there is no such user")]
    Print(ServicePrint),
    /// Say whether there is a unit, and what it lacks
    #[command(after_help = "\
Example:
  moltbot service status

Exit codes: 0, 1 there is none")]
    Status(Facts),
    /// Take the unit away
    #[command(after_help = "\
Example:
  moltbot service uninstall

Exit codes: 0, 1 there is none, or it is not of moltbot")]
    Uninstall(Facts),
}

/// Options of `service install`.
#[derive(Args, Debug)]
pub(crate) struct ServiceInstall {
    /// For a gateway whose agent runs no commands: more is kept from it, and the sandbox cannot start
    #[arg(long)]
    pub(crate) without_commands: bool,
    /// Have systemd open the socket: nobody is turned away while the gateway starts anew
    #[arg(long)]
    pub(crate) socket: bool,
    /// Replace a unit that somebody else has written
    #[arg(long)]
    pub(crate) force: bool,
    /// Print JSON: {unit, socket, next[]}
    #[arg(long)]
    pub(crate) json: bool,
}

/// Options of `service print`.
#[derive(Args, Debug)]
pub(crate) struct ServicePrint {
    /// For the system's manager, running as this user of the machine, with the state in that user's home
    #[arg(long, value_name = "NAME")]
    pub(crate) user: Option<String>,
    /// For a gateway whose agent runs no commands
    #[arg(long)]
    pub(crate) without_commands: bool,
    /// The unit of its socket, moltbot.socket, instead
    #[arg(long, conflicts_with_all = ["user", "without_commands", "launchd"])]
    pub(crate) socket: bool,
    /// What macOS has instead of a unit
    #[arg(long, conflicts_with_all = ["user", "without_commands"])]
    pub(crate) launchd: bool,
}
