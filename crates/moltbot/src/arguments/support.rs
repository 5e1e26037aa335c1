//! The arguments of `moltbot support` and `moltbot doctor`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// `moltbot support`.
#[derive(Debug, Subcommand)]
pub(crate) enum Support {
    /// Write what somebody who helps needs to know into one file, without secrets, names and what was said
    ///
    /// Nothing is sent. Look through the file before you give it to anybody.
    #[command(after_help = "\
Example:
  moltbot support bundle --out support.json

Exit codes: 0, 1 the file is there already or cannot be written")]
    Bundle(Bundle),
}

/// Options of `support bundle`.
#[derive(Args, Debug)]
pub(crate) struct Bundle {
    /// The file (mode 0600), which must not exist yet; `moltbot-support-DATE.json` here when it is not named
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    /// How many of the last lines of the log
    #[arg(long, value_name = "N", default_value_t = 300, value_parser = clap::value_parser!(u32).range(0..=5_000))]
    pub(crate) lines: u32,
    /// Print JSON: {file, bytes}
    #[arg(long)]
    pub(crate) json: bool,
}

/// Options of `doctor`.
#[derive(Args, Debug)]
pub(crate) struct DoctorOptions {
    /// Put right what stands in the way or lets others at what is kept: close files, draw a token where it is weak or missing,
    /// seal what stands in plaintext. No setting that you chose is changed
    #[arg(long)]
    pub(crate) fix: bool,
    /// Print JSON: {ok, checks[]}, and with --fix {fix}
    #[arg(long)]
    pub(crate) json: bool,
}
