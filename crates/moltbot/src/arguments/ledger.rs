//! `moltbot ledger …`: its options.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

/// Commands of `ledger`.
#[derive(Debug, Subcommand)]
pub(crate) enum Ledger {
    /// Check that nothing in the book was changed, removed or added
    #[command(after_help = "\
Example:
  moltbot ledger verify --from-key 8f0c… --json

Exit codes: 0 intact, 3 its end was torn off by a crash, 4 tampered with, 5 cut off, 6 cannot be told")]
    Verify(Verify),
    /// Show the last records
    #[command(after_help = "\
Example:
  moltbot ledger tail --lines 20

Exit codes: 0, 1 the book cannot be read")]
    Tail {
        /// How many
        #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
        lines: u32,
        /// Print JSON lines
        #[arg(long)]
        json: bool,
    },
    /// Show one record
    #[command(after_help = "\
Example:
  moltbot ledger show 42

Exit codes: 0, 1 there is no such record")]
    Show {
        /// Its number
        sequence: u64,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Find records
    #[command(after_help = "\
Example:
  moltbot ledger search --action command --since 2026-01-31T00:00:00Z

Exit codes: 0, 1 the book cannot be read, 2 a time is none")]
    Search(Search),
    /// Show everything that one message caused, as a tree
    #[command(after_help = "\
Example:
  moltbot ledger explain 6f1c0a52-…

Exit codes: 0, 1 nothing is recorded of that run")]
    Explain {
        /// The run's id
        run: String,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Write records in another program's form, or send them to a server once
    #[command(after_help = "\
Example:
  moltbot ledger export --format ocsf --output events.json
  moltbot ledger export --format syslog --to tls://logs.example.org --ca ca.pem

Exit codes: 0, 1 the book, the file or the server cannot be used, 2 the server does not fit the form,
75 it cannot be recorded, 78 the config is invalid")]
    Export(Export),
    /// Print the head of the book, to keep it elsewhere
    #[command(after_help = "\
Example:
  moltbot ledger checkpoint > /mnt/other/moltbot.head

Exit codes: 0, 1 the book cannot be read")]
    Checkpoint,
    /// Let a file on another volume remember the head: a smaller book is refused from then on
    #[command(after_help = "\
Example:
  moltbot ledger anchor /mnt/other/moltbot.anchor

Exit codes: 0, 1 the file cannot be used, or the book is behind it, 75 it cannot be recorded")]
    Anchor {
        /// The file
        file: PathBuf,
    },
    /// Go on after tampering was found: the gateway is not locked down any more; the evidence stays
    #[command(after_help = "\
Example:
  moltbot ledger accept

Exit codes: 0, 1 there is nothing to accept or nobody said yes, 75 a gateway runs: stop it first")]
    Accept {
        /// Do not ask; for scripts, after somebody has looked
        #[arg(long)]
        yes: bool,
    },
    /// Write the two logs of sign-ins and commands again from the book
    #[command(after_help = "\
Example:
  moltbot ledger rebuild-logs

Exit codes: 0, 1 a gateway writes them, or the book cannot be read")]
    RebuildLogs,
    /// Print how a secret value appears in the book; the value is asked for or read from standard input
    #[command(after_help = "\
Example:
  moltbot ledger hash < token.txt

Exit codes: 0, 1 nothing was given, 78 the key file cannot be used")]
    Hash,
}

/// Options of `ledger verify`.
#[derive(Args, Debug)]
pub(crate) struct Verify {
    /// The first public key, kept elsewhere, in hex; without it the book's own first key is believed
    #[arg(long, value_name = "HEX")]
    pub(crate) from_key: Option<String>,
    /// A file with a head that was kept elsewhere: a book behind it is cut off
    #[arg(long, value_name = "FILE")]
    pub(crate) expect_head: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Options of `ledger search`.
#[derive(Args, Debug)]
pub(crate) struct Search {
    /// Only actions that begin so, such as `command`
    #[arg(long)]
    pub(crate) action: Option<String>,
    /// Only what this one did
    #[arg(long)]
    pub(crate) actor: Option<String>,
    /// Only what belongs to this conversation
    #[arg(long)]
    pub(crate) session: Option<String>,
    /// Only what was decided so: allowed, refused or done
    #[arg(long)]
    pub(crate) decision: Option<String>,
    /// Only from this time on, in RFC 3339
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<String>,
    /// Only before this time, in RFC 3339
    #[arg(long, value_name = "TIME")]
    pub(crate) until: Option<String>,
    /// Only records with this text in them
    #[arg(long)]
    pub(crate) text: Option<String>,
    /// How many at most
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub(crate) limit: u32,
    /// Print JSON lines
    #[arg(long)]
    pub(crate) json: bool,
}

/// Options of `ledger export`.
#[derive(Args, Debug)]
pub(crate) struct Export {
    /// The form
    #[arg(long, value_enum)]
    pub(crate) format: ExportFormat,
    /// The file, which must not exist yet; standard output when absent
    #[arg(long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// A server that is sent the records instead: tls://host[:port] for syslog, https://… for otlp
    #[arg(long = "to", value_name = "URL", conflicts_with = "output")]
    pub(crate) server: Option<String>,
    /// A file with the certificates (PEM) of the authorities that may vouch for the server, and of no others
    #[arg(long, value_name = "FILE", requires = "server")]
    pub(crate) ca: Option<PathBuf>,
    /// The first record
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) from: u64,
    /// The last record
    #[arg(long, value_name = "N")]
    pub(crate) until: Option<u64>,
}

/// The forms of an export.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum ExportFormat {
    /// The records as they are
    Jsonl,
    /// Open Cybersecurity Schema Framework
    Ocsf,
    /// OpenTelemetry logs
    Otlp,
    /// RFC 5424
    Syslog,
}
