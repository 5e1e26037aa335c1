//! The arguments of `moltbot allowance`.

use clap::{Args, Subcommand};

use super::Facts;

/// Commands of `allowance`.
#[derive(Debug, Subcommand)]
pub(crate) enum Allowance {
    /// List what each used today, and what he may
    #[command(after_help = "\
Example:
  moltbot allowance list --json

Exit codes: 0, 69 no gateway, 77 refused")]
    List(Facts),
    /// Show what one used today, and what he may
    #[command(after_help = "\
Example:
  moltbot allowance show owner

Exit codes: 0, 1 nobody has that name, 69 no gateway, 77 refused")]
    Show(OneHolder),
    /// Let one use other limits than the config's, from now on
    #[command(after_help = "\
Example:
  moltbot allowance set irc:default:account:ann --turns 1000 --cost 20
  moltbot allowance set together --tokens unlimited
  moltbot allowance set irc:default:account:ann --default

Exit codes: 0, 1 nobody has that name, 69 no gateway, 77 refused")]
    Set {
        /// Who
        #[command(flatten)]
        holder: OneHolder,
        /// What he may
        #[command(flatten)]
        limits: Limiting,
    },
    /// Forget what one used today
    #[command(after_help = "\
Example:
  moltbot allowance reset irc:default:account:ann

Exit codes: 0, 1 nobody has that name, 69 no gateway, 77 refused")]
    Reset(OneHolder),
}

/// One holder of an allowance.
#[derive(Args, Debug)]
pub(crate) struct OneHolder {
    /// owner, together, hook:NAME, or a sender's id in full: channel:account:kind:id
    #[arg(value_name = "WHO")]
    pub(crate) who: String,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Limits of a day; what is not named stays.
#[derive(Args, Debug)]
#[group(id = "limits", required = true, multiple = true)]
pub(crate) struct Limiting {
    /// Dollars, or unlimited
    #[arg(long, value_name = "DOLLARS")]
    pub(crate) cost: Option<String>,
    /// Messages, or unlimited
    #[arg(long, value_name = "NUMBER")]
    pub(crate) messages: Option<String>,
    /// Tokens, or unlimited
    #[arg(long, value_name = "NUMBER")]
    pub(crate) tokens: Option<String>,
    /// Messages for which a model is asked, or unlimited
    #[arg(long, value_name = "NUMBER")]
    pub(crate) turns: Option<String>,
    /// Those of the config again
    #[arg(long, conflicts_with_all = ["cost", "messages", "tokens", "turns"])]
    pub(crate) default: bool,
}
