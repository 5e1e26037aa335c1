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
    /// Look at everything that makes this installation safe or unsafe, and say how safe it is
    #[command(after_help = "\
Example:
  moltbot security audit
  moltbot security audit --fix
  moltbot security audit --json --baseline before.json --fail-on new

Exit codes: 0 no finding as bad as --fail-on says, 1 there is one, 2 the command line is not understood")]
    Audit(Audit),
    /// Put right what can be put right without asking: as `security audit --fix`
    #[command(after_help = "\
Example:
  moltbot security fix --dry-run

Exit codes: 0 nothing critical or high is left, 1 something is, or could not be put right")]
    Fix(Fix),
    /// Make an installation of an earlier generation one of moltbot: its config safe and sealed, its conversations in the state db
    ///
    /// Without --from it is the installation in the state folder, and it is changed in place. With it the folder of another program
    /// is read and left as it is, and the state folder is to have no config yet. What is changed is kept first, sealed, and
    /// --rollback brings it back as it was. No gateway may run meanwhile.
    #[command(after_help = "\
Example:
  moltbot security migrate --dry-run
  moltbot security migrate --from ~/.clawdbot
  moltbot security migrate --rollback

Exit codes: 0 nothing critical or high is left, 1 something is or could not be done, 75 a gateway runs, 78 the config cannot be read")]
    Migrate(Migrate),
    /// Attack this installation to see whether its controls hold; each attack ends by itself and is told to the book
    #[command(after_help = "\
What would keep you out, stop your work or leave something behind is tried on a gateway of this very program that is thrown
away; the others on the gateway that runs, when one does.

Example:
  moltbot security drill --list
  moltbot security drill
  moltbot security drill bad-sign-ins sandbox-escape --json

Exit codes: 0 every attack failed, 1 one got through, 2 there is no such drill, 3 none got through and some could not be tried, 75 it cannot be recorded")]
    Drill(Drills),
    /// List what is promised of moltbot, and the tests that show it
    #[command(after_help = "\
Example:
  moltbot security compliance
  moltbot security compliance --format csv

Exit codes: 0")]
    Compliance(Compliance),
    /// Say how safe this installation is, as a number of 100 and why it is no higher
    #[command(after_help = "\
Example:
  moltbot security score --json
  moltbot security score --history

Exit codes: 0, 1 the config cannot be read")]
    Score(ScoreOptions),
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

/// How the promises are printed.
#[derive(Args, Debug)]
pub(crate) struct Compliance {
    /// In which form
    #[arg(long, value_name = "FORM", default_value = "table")]
    pub(crate) format: ComplianceForm,
    /// Print JSON: as --format json
    #[arg(long, conflicts_with = "format")]
    pub(crate) json: bool,
}

/// In which form.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum ComplianceForm {
    /// Comma-separated values (RFC 4180)
    Csv,
    /// JSON
    Json,
    /// A component definition of OSCAL 1.1.2, as JSON
    Oscal,
    /// Lines for people
    Table,
}

/// How to look, and what to print.
#[derive(Args, Debug)]
pub(crate) struct Audit {
    /// Also try what otherwise is only read: every drill, the sandbox, the container engine, the whole book. The book is told
    #[arg(long)]
    pub(crate) deep: bool,
    /// Put right what can be, then look again
    #[arg(long)]
    pub(crate) fix: bool,
    /// With --fix: say what would be changed, and change nothing
    #[arg(long, requires = "fix")]
    pub(crate) dry_run: bool,
    /// Print the report as JSON
    #[arg(long, group = "form")]
    pub(crate) json: bool,
    /// Print the report as SARIF 2.1.0, for code hosts
    #[arg(long, group = "form")]
    pub(crate) sarif: bool,
    /// Print the report as JUnit XML, for builds
    #[arg(long, group = "form")]
    pub(crate) junit: bool,
    /// Write the report as a page into a new file
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
    /// The mildest finding that makes the exit code 1
    #[arg(long, value_name = "LEVEL", default_value = "critical")]
    pub(crate) fail_on: FailOn,
    /// An earlier report (--json): what it has found is not new
    #[arg(long, value_name = "FILE")]
    pub(crate) baseline: Option<PathBuf>,
    /// Say what each finding costs, and which requirements of norms it bears on
    #[arg(long)]
    pub(crate) explain: bool,
}

/// The mildest finding that makes the exit code 1.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum FailOn {
    /// Critical ones
    Critical,
    /// High ones too
    High,
    /// Warnings too
    Warn,
    /// Any that --baseline does not have
    New,
}

/// Which scores.
#[derive(Args, Debug)]
pub(crate) struct ScoreOptions {
    /// Those that were kept by `audit --deep`, `audit --fix` and `fix`, instead of looking now
    #[arg(long)]
    pub(crate) history: bool,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Which attacks.
#[derive(Args, Debug)]
pub(crate) struct Drills {
    /// Their names; all without one
    #[arg(value_name = "NAME")]
    pub(crate) names: Vec<String>,
    /// Say which there are, and try none
    #[arg(long)]
    pub(crate) list: bool,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Options of `security migrate`.
#[derive(Args, Debug)]
pub(crate) struct Migrate {
    /// Say what would be done, and change nothing
    #[arg(long, conflicts_with = "rollback")]
    pub(crate) dry_run: bool,
    /// The state folder of another program, which is read alone
    #[arg(long, value_name = "DIR", conflicts_with = "rollback")]
    pub(crate) from: Option<PathBuf>,
    /// Destroy the plaintext of each conversation that was brought over; it cannot be brought back from then on
    #[arg(long, conflicts_with_all = ["dry_run", "from", "rollback"])]
    pub(crate) shred: bool,
    /// Bring back what the last migration changed
    #[arg(long)]
    pub(crate) rollback: bool,
    /// Print what came of it as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// What to put right.
#[derive(Args, Debug)]
pub(crate) struct Fix {
    /// Say what would be changed, and change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Print what came of it as JSON
    #[arg(long)]
    pub(crate) json: bool,
}
