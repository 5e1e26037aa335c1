//! `moltbot sandbox image …` and `moltbot sandbox containers`: their options.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::Facts;

/// What `sandbox containers` is told.
#[derive(Args, Debug)]
pub(crate) struct Containers {
    /// Remove those that are older than `prune.maxAgeDays`
    #[arg(long, conflicts_with = "remove")]
    pub(crate) prune: bool,
    /// Remove this one
    #[arg(long, value_name = "NAME")]
    pub(crate) remove: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Commands of `sandbox image`.
#[derive(Debug, Subcommand)]
pub(crate) enum Image {
    /// Make the image of `sandbox.docker.image` from a root that is here, or from a distribution's packages
    #[command(after_help = "\
A root is a folder or a tar with bin, usr, etc and what else a system has. With --suite mmdebstrap makes one of
packages: it checks them by the keys that this machine's package manager trusts. No image is ever fetched.

Example:
  moltbot sandbox image build --suite bookworm --include git,python3
  moltbot sandbox image build --from ./root
  moltbot sandbox image build --from root.tar --tag work:1

Exit codes: 0, 1 there is no engine, no root or no such package, 75 the book is busy")]
    Build(BuildImage),
    /// List the images that the engine has
    #[command(after_help = "\
Example:
  moltbot sandbox image list --json

Exit codes: 0, 1 there is no engine")]
    List(Facts),
}

/// What `sandbox image build` is told.
#[derive(Args, Debug)]
pub(crate) struct BuildImage {
    /// A folder or a tar file with the root
    #[arg(long, value_name = "PATH", required_unless_present = "suite")]
    pub(crate) from: Option<PathBuf>,
    /// Packages of this release of a distribution, such as bookworm
    #[arg(long, value_name = "NAME", conflicts_with = "from")]
    pub(crate) suite: Option<String>,
    /// Packages besides those that every system has, with commas between them
    #[arg(long, value_name = "NAMES", value_delimiter = ',', requires = "suite")]
    pub(crate) include: Vec<String>,
    /// Where packages come from; mmdebstrap's own choice when absent
    #[arg(long, value_name = "URL", requires = "suite")]
    pub(crate) mirror: Option<String>,
    /// The image's name; that of the config when absent
    #[arg(long, value_name = "NAME:TAG")]
    pub(crate) tag: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}
