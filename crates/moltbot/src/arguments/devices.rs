//! The arguments of `moltbot devices`.

use clap::{Args, Subcommand};

use super::Facts;

/// Commands of `devices`.
#[derive(Debug, Subcommand)]
pub(crate) enum Devices {
    /// List devices that wait for approval, and devices that are known
    #[command(after_help = "\
Example:
  moltbot devices list --json

Exit codes: 0, 77 refused")]
    List(Facts),
    /// Approve what a device asks for
    #[command(after_help = "\
Example:
  moltbot devices approve 3f1c2a77-0d52-4a55-9a0e-6c0b0f8f9c11

Exit codes: 0, 1 nothing waits under that id, 77 refused")]
    Approve(Request),
    /// Refuse what a device asks for
    #[command(after_help = "\
Example:
  moltbot devices reject 3f1c2a77-0d52-4a55-9a0e-6c0b0f8f9c11

Exit codes: 0, 1 nothing waits under that id, 77 refused")]
    Reject(Request),
    /// End a device's approval, and its connections
    #[command(after_help = "\
Example:
  moltbot devices revoke --device ce7f777e…

Exit codes: 0, 1 there is no such device, 77 refused")]
    Revoke(Device),
    /// Give a device another token, and print it; the old one is refused from then on
    #[command(after_help = "\
Example:
  moltbot devices rotate --device ce7f777e… --scope operator.read

Exit codes: 0, 1 there is no such device or scope, 77 refused")]
    Rotate {
        /// Which device
        #[command(flatten)]
        device: Device,
        /// Leave it this scope alone; may be given several times
        #[arg(long, value_name = "SCOPE")]
        scope: Vec<String>,
    },
}

/// One request.
#[derive(Args, Debug)]
pub(crate) struct Request {
    /// The request's id, from `moltbot devices list`
    #[arg(value_name = "REQUEST")]
    pub(crate) id: String,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// One device in one role.
#[derive(Args, Debug)]
pub(crate) struct Device {
    /// The device's id
    #[arg(long, value_name = "ID")]
    pub(crate) device: String,
    /// Its role
    #[arg(long, value_name = "ROLE", default_value = "operator")]
    pub(crate) role: String,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}
