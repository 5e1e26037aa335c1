//! The commands of `hooks`.

use clap::Subcommand;

use super::Facts;

/// Commands of `hooks`.
#[derive(Debug, Subcommand)]
pub(crate) enum Hooks {
    /// List the hooks of the config: path, key, agent, session, tools; no secret
    #[command(after_help = "\
Example:
  moltbot hooks list --json

Exit codes: 0, 78 the gateway would not start with them")]
    List(Facts),
    /// Have the gateway answer the hooks of the config as it is now: an old secret is refused at once
    #[command(after_help = "\
Example:
  moltbot secrets set hooks.token && moltbot hooks reload

Exit codes: 0, 1 the gateway would not start with them, 69 no gateway, 77 refused")]
    Reload(Facts),
}
