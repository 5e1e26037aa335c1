//! `moltbot secrets …` and `moltbot security …`: their options.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::Facts;

/// Commands of `secrets`.
#[derive(Debug, Subcommand)]
pub(crate) enum Secrets {
    /// Say how secrets are kept here: key, wrapping, what is sealed and what is not
    #[command(after_help = "\
Example:
  moltbot secrets status --json

Exit codes: 0, 78 the key file cannot be used")]
    Status(Facts),
    /// List the secrets by their places, never their values
    #[command(after_help = "\
Example:
  moltbot secrets list

Exit codes: 0, 78 the config or the key file cannot be used")]
    List(Facts),
    /// Seal what stands in plaintext now, in the config and in files of credentials
    #[command(after_help = "\
Example:
  moltbot secrets seal

Exit codes: 0, 75 it cannot be recorded, 78 a file cannot be used")]
    Seal,
    /// Set a secret, sealed: asked at the terminal, or read from standard input
    #[command(after_help = "\
Example:
  moltbot secrets set models.providers.openai.apiKey < key.txt

Exit codes: 0, 1 it cannot be set there, 75 it cannot be recorded, 78 the config would not be valid")]
    Set(Place),
    /// Make the hash of a password for gateway.auth.password: asked at the terminal, or read from standard input
    #[command(after_help = "\
Example:
  moltbot secrets hash-password | moltbot secrets set gateway.auth.password

Exit codes: 0, 1 the password is too weak")]
    HashPassword,
    /// Print a secret: to a terminal, or anywhere with --raw; the book is told
    #[command(after_help = "\
Example:
  moltbot secrets get gateway.auth.token

Exit codes: 0, 1 there is none or no terminal, 75 it cannot be recorded, 78 it does not open")]
    Get {
        /// Which
        #[command(flatten)]
        place: Place,
        /// Print it also where no terminal is, without a line feed
        #[arg(long)]
        raw: bool,
    },
    /// Remove a secret
    #[command(after_help = "\
Example:
  moltbot secrets unset channels.telegram.botToken

Exit codes: 0, 1 there is none, 75 it cannot be recorded, 78 the config would not be valid")]
    Unset(Place),
    /// Show a secret until a key is pressed, and leave nothing of it on the screen
    #[command(after_help = "\
Example:
  moltbot secrets reveal-once gateway.auth.token

Exit codes: 0, 1 there is none or no terminal, 75 it cannot be recorded, 78 it does not open")]
    RevealOnce(Place),
    /// Draw a new root key and seal everything again; goes on where an interrupted one stopped
    #[command(after_help = "\
Example:
  moltbot secrets rotate

Exit codes: 0, 1 something does not open, 75 a gateway runs: stop it first")]
    Rotate(Facts),
    /// Wrap the root keys in another way; what they sealed stays as it is
    #[command(after_help = "\
Example:
  moltbot secrets rekey --wrap passphrase

Exit codes: 0, 1 the wrapping key is not there, 75 it cannot be recorded")]
    Rekey {
        /// By what
        #[arg(long, value_enum)]
        wrap: WrapKind,
    },
    /// Write all secrets to a file under a passphrase, for another installation
    #[command(after_help = "\
Example:
  moltbot secrets export secrets.moltbot

Exit codes: 0, 1 the file is there already, 75 it cannot be recorded, 78 something does not open")]
    Export {
        /// The file, which must not exist yet
        file: PathBuf,
    },
    /// Take over the secrets of an exported file
    #[command(after_help = "\
Example:
  moltbot secrets import secrets.moltbot

Exit codes: 0, 1 the passphrase is wrong, 75 it cannot be recorded, 78 the config would not be valid")]
    Import {
        /// The file
        file: PathBuf,
    },
    /// Go on with a key file that is not the newest one the book knows; the book is told
    #[command(after_help = "\
Example:
  moltbot secrets accept-keys --yes

Exit codes: 0, 1 nothing has to be accepted or nobody said yes, 75 a gateway runs, 78 the key file cannot be used")]
    AcceptKeys {
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
    /// Check that every secret opens and none lies in plaintext
    #[command(after_help = "\
Example:
  moltbot secrets doctor --json

Exit codes: 0 all is well, 1 something is not, 78 the key file cannot be used")]
    Doctor(Facts),
}

/// Which secret.
#[derive(Args, Debug)]
pub(crate) struct Place {
    /// A place in the config, such as gateway.auth.token; with --store, a name
    pub(crate) place: String,
    /// A named secret, which the config refers to as {source: "store", id: NAME}
    #[arg(long)]
    pub(crate) store: bool,
}

/// What wraps the root keys.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum WrapKind {
    /// The file that MOLTBOT_KEY_FILE names: 64 hex digits
    File,
    /// The operating system's keyring
    Keyring,
    /// Nothing: the file's mode alone protects them
    None,
    /// A passphrase of at least 15 characters
    Passphrase,
    /// A credential of systemd: LoadCredentialEncrypted=moltbot-key:…
    Systemd,
}

/// Commands of `security`.
#[derive(Debug, Subcommand)]
pub(crate) enum Security {
    /// Write the config in plaintext, for going back to another program; the book is told
    #[command(after_help = "\
Example:
  moltbot security decrypt --export plain.json

Exit codes: 0, 1 the file is there already, 75 it cannot be recorded, 78 something does not open")]
    Decrypt {
        /// The file (mode 0600), which must not exist yet
        #[arg(long, value_name = "FILE")]
        export: PathBuf,
    },
}
