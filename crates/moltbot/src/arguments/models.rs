//! The arguments of `moltbot models` and `moltbot usage`.

use clap::{Args, Subcommand, ValueEnum};

use super::Facts;

/// Commands of `models`.
#[derive(Debug, Subcommand)]
pub(crate) enum Models {
    /// List the models that can be used
    #[command(after_help = "\
Example:
  moltbot models list --json

Exit codes: 0, 69 no gateway, 77 refused")]
    List(Facts),
    /// Say which model will answer, why that one, and which are tried after it
    #[command(after_help = "\
Example:
  moltbot models status

Exit codes: 0, 78 invalid config")]
    Status(Facts),
    /// Ask the providers which models they have
    #[command(after_help = "\
Example:
  moltbot models scan openrouter

Exit codes: 0, 69 no gateway, 77 refused")]
    Scan {
        /// The provider; all that can be asked when absent
        provider: Option<String>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Ask a model for one word, to see whether it answers
    #[command(after_help = "\
Example:
  moltbot models test anthropic/claude-opus-4-5

Exit codes: 0 it answers, 1 it does not, 69 no gateway, 77 refused")]
    Test {
        /// The model, as provider/model; the chosen one when absent
        model: Option<String>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Fetch a small model that moltbot runs itself, without a network
    #[command(after_help = "\
Example:
  moltbot models pull smollm2-135m

Exit codes: 0, 1 nothing was fetched, 2 no such model, 78 no index of packages is named")]
    Pull(PullOptions),
    /// Have another model answer
    #[command(after_help = "\
Example:
  moltbot models set anthropic/claude-opus-4-5

Exit codes: 0, 2 no model has that name, 78 invalid config")]
    Set {
        /// The model, as provider/model or its short name
        model: String,
    },
    /// See and change the short names of models
    #[command(
        subcommand,
        visible_alias = "alias",
        after_help = "\
Example:
  moltbot models aliases list

Exit codes: each command has its own; `moltbot --help` lists all"
    )]
    Aliases(Aliases),
    /// See and change the models that are tried when the first does not answer
    #[command(
        subcommand,
        after_help = "\
Example:
  moltbot models fallbacks list

Exit codes: each command has its own; `moltbot --help` lists all"
    )]
    Fallbacks(Fallbacks),
}

/// Options of `models pull`.
#[derive(Args, Debug)]
pub(crate) struct PullOptions {
    /// The model; smollm2-135m when absent
    pub(crate) model: Option<String>,
    /// Fetch without asking
    #[arg(long)]
    pub(crate) yes: bool,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Commands of `models aliases`.
#[derive(Debug, Subcommand)]
pub(crate) enum Aliases {
    /// List the short names
    #[command(after_help = "\
Example:
  moltbot models aliases list

Exit codes: 0, 78 invalid config")]
    List(Facts),
    /// Give a model a short name
    #[command(after_help = "\
Example:
  moltbot models aliases add fast openrouter/qwen/qwen3-coder

Exit codes: 0, 2 no model has that name, 78 invalid config")]
    Add {
        /// The short name
        alias: String,
        /// The model, as provider/model
        model: String,
    },
    /// Take a short name away
    #[command(after_help = "\
Example:
  moltbot models aliases remove fast

Exit codes: 0, 1 nothing has that name, 78 invalid config")]
    Remove {
        /// The short name
        alias: String,
    },
}

/// Commands of `models fallbacks`.
#[derive(Debug, Subcommand)]
pub(crate) enum Fallbacks {
    /// List them, in the order in which they are tried
    #[command(after_help = "\
Example:
  moltbot models fallbacks list

Exit codes: 0, 78 invalid config")]
    List(Facts),
    /// Have a model tried after all others
    #[command(after_help = "\
Example:
  moltbot models fallbacks add openai/gpt-5.2

Exit codes: 0, 2 no model has that name, 78 invalid config")]
    Add {
        /// The model, as provider/model or its short name
        model: String,
    },
    /// Have a model tried no more
    #[command(after_help = "\
Example:
  moltbot models fallbacks remove openai/gpt-5.2

Exit codes: 0, 1 it was not tried, 78 invalid config")]
    Remove {
        /// The model, as it stands in the config
        model: String,
    },
    /// Have none tried
    #[command(after_help = "\
Example:
  moltbot models fallbacks clear

Exit codes: 0, 78 invalid config")]
    Clear,
}

/// Options of `usage`.
#[derive(Args, Debug)]
pub(crate) struct Usage {
    /// How many days, today among them
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=366))]
    pub(crate) days: u64,
    /// What the use is told by besides the day
    #[arg(long, value_name = "WHAT")]
    pub(crate) by: Option<UsageBy>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// What a use is told by besides the day.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum UsageBy {
    /// The newest runs
    Run,
    /// Who caused it
    Sender,
    /// The conversation
    Session,
}
