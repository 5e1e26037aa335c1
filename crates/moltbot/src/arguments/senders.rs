//! The arguments of `moltbot pairing` and `moltbot senders`.

use clap::{Args, Subcommand};

use super::Facts;

/// Commands of `pairing`.
#[derive(Debug, Subcommand)]
pub(crate) enum Pairing {
    /// List who asks to be let in
    #[command(after_help = "\
Example:
  moltbot pairing list --json

Exit codes: 0, 69 no gateway, 77 refused")]
    List(Facts),
    /// Let in whose code it is, or the sender of that id, after you have said that you trust this person
    #[command(after_help = "\
Example:
  moltbot pairing approve irc ABCD2345
  moltbot pairing approve irc ABCD2345 --acknowledge irc:default:account:ann

Exit codes: 0, 1 nobody asks with that code, or not acknowledged, 69 no gateway, 75 too many wrong codes, 77 refused")]
    Approve {
        /// Who
        #[command(flatten)]
        request: PairingRequest,
        /// The id of the sender in full, where there is no terminal to ask at
        #[arg(long, value_name = "SENDER")]
        acknowledge: Option<String>,
    },
    /// Say no
    #[command(after_help = "\
Example:
  moltbot pairing reject irc irc:default:account:eve

Exit codes: 0, 1 nobody asks with that code or id, 69 no gateway, 75 too many wrong codes, 77 refused")]
    Reject(PairingRequest),
    /// End an approval; what the sender has running is stopped
    #[command(after_help = "\
Example:
  moltbot pairing revoke irc:default:account:ann

Exit codes: 0, 1 the sender is not approved, 69 no gateway, 77 refused")]
    Revoke(OneSender),
}

/// One request.
#[derive(Args, Debug)]
pub(crate) struct PairingRequest {
    /// The channel, such as irc
    #[arg(value_name = "CHANNEL")]
    pub(crate) channel: String,
    /// The code that the sender told you, or the sender's id
    #[arg(value_name = "CODE|SENDER")]
    pub(crate) code: String,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Commands of `senders`.
#[derive(Debug, Subcommand)]
pub(crate) enum Senders {
    /// List who was let in or blocked
    #[command(after_help = "\
Example:
  moltbot senders list --json

Exit codes: 0, 69 no gateway, 77 refused")]
    List(Facts),
    /// Answer nothing of a sender, whatever a list says
    #[command(after_help = "\
Example:
  moltbot senders block irc:default:account:eve

Exit codes: 0, 1 it cannot be kept, 69 no gateway, 77 refused")]
    Block(OneSender),
    /// End a block; the sender is a stranger again
    #[command(after_help = "\
Example:
  moltbot senders unblock irc:default:account:eve

Exit codes: 0, 1 the sender is not blocked, 69 no gateway, 77 refused")]
    Unblock(OneSender),
}

/// One sender.
#[derive(Args, Debug)]
pub(crate) struct OneSender {
    /// The sender's id in full: channel:account:kind:id
    #[arg(value_name = "SENDER")]
    pub(crate) sender: String,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}
