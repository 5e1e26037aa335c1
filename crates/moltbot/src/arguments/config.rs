//! The commands of `config`.

use clap::Subcommand;

use super::Facts;

/// Commands of `config`.
#[derive(Debug, Subcommand)]
pub(crate) enum Config {
    /// Check the config; list every error, and what is not supported yet
    #[command(after_help = "\
Example:
  moltbot config validate

Exit codes: 0 valid, 78 not")]
    Validate(Facts),
    /// Print a value, or all; secrets are shown as ***
    #[command(after_help = "\
Example:
  moltbot config get gateway.port

Exit codes: 0, 1 there is no such value, 78 invalid config")]
    Get {
        /// Where, such as gateway.port
        path: Option<String>,
    },
    /// Change a value; comments stay, and a change that makes the config invalid is not written
    #[command(after_help = "\
Example:
  moltbot config set agents.defaults.model '\"anthropic/claude-opus-4-5\"'

Exit codes: 0, 1 the value cannot be set there, 2 it is secret: use `moltbot secrets set`, 78 the config would not be \
valid")]
    Set {
        /// Where, such as gateway.port
        path: String,
        /// The value, in JSON5
        #[arg(value_name = "JSON5", allow_hyphen_values = true)]
        value: String,
    },
    /// Edit the config in your editor (VISUAL, else EDITOR); what is not valid is not written
    #[command(after_help = "\
Example:
  EDITOR=nano moltbot config edit

Exit codes: 0, 1 the editor failed, 2 no editor is named, 75 it cannot be recorded or somebody else changed it, 78 not valid")]
    Edit,
    /// Take a value out, so that its default counts again; comments stay
    #[command(after_help = "\
Example:
  moltbot config unset agents.defaults.timeoutSeconds

Exit codes: 0, 1 it is not set, 75 it cannot be recorded, 78 the config would not be valid")]
    Unset {
        /// Where, such as gateway.port
        path: String,
    },
    /// List the versions of the config that are kept, newest first
    #[command(after_help = "\
Example:
  moltbot config history --json

Exit codes: 0, 78 the history does not open")]
    History(Facts),
    /// Show what changed between an earlier version and now; secrets are shown as ***
    #[command(after_help = "\
Example:
  moltbot config diff 4

Exit codes: 0, 1 there is no such version, 78 one of the two is no config")]
    Diff {
        /// The version, as `history` numbers it; the last one when absent
        version: Option<u64>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Write keys of older generations where they belong now; comments stay
    #[command(after_help = "\
Example:
  moltbot config migrate --dry-run

Exit codes: 0, 75 it cannot be recorded, 78 the config is not valid")]
    Migrate {
        /// Tell what would be moved, and change nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// Put back the config as it was before the last change; what is replaced is kept as well
    #[command(after_help = "\
Example:
  moltbot config undo

Exit codes: 0, 1 there is no such version, 75 it cannot be recorded, 78 that version is not valid")]
    Undo {
        /// The version, as `history` numbers it; the last one when absent
        version: Option<u64>,
    },
    /// Print where the config is
    #[command(after_help = "\
Example:
  ${EDITOR:-vi} \"$(moltbot config path)\"

Exit codes: 0")]
    Path,
    /// Print the JSON Schema of the config
    #[command(after_help = "\
Example:
  moltbot config schema > moltbot.schema.json

Exit codes: 0")]
    Schema,
}
