//! The arguments of `moltbot system`.

use clap::{Args, Subcommand, ValueEnum};

use super::Facts;

/// `moltbot system`.
#[derive(Debug, Subcommand)]
pub(crate) enum System {
    /// Tell the agent something, when it looks around next or at once
    #[command(after_help = "\
Example:
  moltbot system event --text \"the parcel is here\" --mode now

Exit codes: 0, 65 too long, 69 no gateway, or too much waits, 77 refused")]
    Event(Event),
    /// See what came of the agent's looking around by itself, and switch that off and on
    #[command(
        subcommand,
        after_help = "\
Example:
  moltbot system heartbeat last

Exit codes: each command has its own"
    )]
    Heartbeat(Heartbeat),
    /// List the gateway and the clients that are connected
    #[command(after_help = "\
Example:
  moltbot system presence --json

Exit codes: 0, 69 no gateway, 77 refused")]
    Presence(Facts),
}

/// Options of `system event`.
#[derive(Args, Debug)]
pub(crate) struct Event {
    /// What it is told
    #[arg(long)]
    pub(crate) text: String,
    /// When
    #[arg(long, value_enum, default_value_t)]
    pub(crate) mode: WhenTold,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// When the agent is told something.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub(crate) enum WhenTold {
    /// When it would look anyway
    #[default]
    NextHeartbeat,
    /// At once
    Now,
}

impl WhenTold {
    /// The name in the protocol.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::NextHeartbeat => "next-heartbeat",
            Self::Now => "now",
        }
    }
}

/// `moltbot system heartbeat`.
#[derive(Debug, Subcommand)]
pub(crate) enum Heartbeat {
    /// Have it look by itself no more, until the gateway stops
    #[command(after_help = "\
Example:
  moltbot system heartbeat disable

Exit codes: 0, 69 no gateway, 77 refused")]
    Disable(Facts),
    /// Have it look by itself again
    #[command(after_help = "\
Example:
  moltbot system heartbeat enable

Exit codes: 0, 69 no gateway, 77 refused")]
    Enable(Facts),
    /// What came of the last time
    #[command(after_help = "\
Example:
  moltbot system heartbeat last --json

Exit codes: 0, 69 no gateway, 77 refused")]
    Last(Facts),
}
