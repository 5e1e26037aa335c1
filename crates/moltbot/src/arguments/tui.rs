//! Options of `tui`.

use clap::Args;

/// Options of `tui`.
#[derive(Args, Debug)]
pub(crate) struct Tui {
    /// The conversation
    #[arg(long, value_name = "KEY", default_value = "main")]
    pub(crate) session: String,
    /// Say this first
    #[arg(long, value_name = "TEXT")]
    pub(crate) message: Option<String>,
    /// How many earlier messages to show
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(0..=1000))]
    pub(crate) history_limit: u32,
}
