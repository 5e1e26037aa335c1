//! The commands of `gateway`.

use clap::{Args, Subcommand};

use super::Facts;

/// Commands of `gateway`.
#[derive(Debug, Subcommand)]
pub(crate) enum Gateway {
    /// Run the gateway in the foreground
    #[command(after_help = "\
Example:
  moltbot gateway run --port 18789

Exit codes: 0 stopped by a signal, 75 the port or the lock is taken, 78 invalid config, 130 stopped at once")]
    Run(Run),
    /// Say whether the gateway runs
    #[command(after_help = "\
Example:
  moltbot gateway status --json

Exit codes: 0 it runs and answers, 69 it does not")]
    Status(Facts),
    /// Print the fingerprint of the gateway's certificate, for clients to pin
    #[command(after_help = "\
Example:
  moltbot gateway fingerprint

Exit codes: 0, 1 it does not speak TLS, 69 none runs")]
    Fingerprint,
    /// Stop the gateway; running answers are finished first
    #[command(after_help = "\
Example:
  moltbot gateway stop

Exit codes: 0 stopped, or none was running; 77 it belongs to another user, 124 it did not stop in time")]
    Stop,
    /// Stop the gateway, then start it in the background
    #[command(after_help = "\
Example:
  moltbot gateway restart

Exit codes: as `gateway stop` and `up`")]
    Restart,
    /// Draw a new token, and end what the old one has opened
    #[command(after_help = "\
Example:
  moltbot gateway rotate-token

Exit codes: 0, 1 the token is not in the config, 69 the gateway did not take it up, 75 it cannot be recorded")]
    RotateToken(Facts),
    /// Call a method of the gateway and print its result
    #[command(after_help = "\
Example:
  moltbot gateway call chat.history '{\"sessionKey\":\"main\",\"limit\":5}'

Exit codes: 0, 1 the method failed, 2 the parameters are not JSON, 69 no gateway, 75 busy, 77 refused")]
    Call {
        /// The method
        method: String,
        /// Its parameters
        #[arg(value_name = "JSON")]
        params: Option<String>,
    },
}

/// Options of `gateway run`.
#[derive(Args, Debug, Default)]
pub(crate) struct Run {
    /// The port to listen on, instead of the config's; 0 takes a free one
    #[arg(long, value_name = "N")]
    pub(crate) port: Option<u16>,
    /// Start with the config that worked last, whatever the file says now; the file stays as it is
    #[arg(long)]
    pub(crate) last_known_good: bool,
    /// Started by `up --detach`: leaves the terminal, and says on standard output when it is ready
    #[arg(long, hide = true)]
    pub(crate) detached: bool,
    /// Started by a drill: ends with the program that started it
    #[arg(long, hide = true, requires = "detached")]
    pub(crate) throwaway: bool,
}
