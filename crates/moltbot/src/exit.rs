//! How the program ends: the documented exit codes, and errors that carry one.

use std::fmt;

/// An exit code, with the meaning that `moltbot --help` gives it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Exit {
    /// Try again later: another process holds the lock, or the gateway is busy.
    Busy,
    /// The config is not valid.
    Config,
    /// It worked.
    Done,
    /// It did not work.
    Failed,
    /// A person interrupted it.
    Interrupted,
    /// Sign-in or permission was refused.
    Refused,
    /// It took longer than it may.
    Timeout,
    /// No gateway can be reached.
    Unreachable,
    /// The command line is not understood.
    Usage,
    /// What a verification says: a code of its own.
    Verdict(u8),
}

impl Exit {
    /// The number that the shell sees.
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Unreachable => 69,
            Self::Busy => 75,
            Self::Refused => 77,
            Self::Config => 78,
            Self::Timeout => 124,
            Self::Interrupted => 130,
            Self::Verdict(code) => code,
        }
    }

    /// An error that ends the program with this code.
    pub(crate) fn because(self, message: impl fmt::Display) -> anyhow::Error {
        anyhow::Error::new(Ended { exit: self, message: message.to_string() })
    }
}

/// An error that knows its exit code.
#[derive(Debug)]
struct Ended {
    exit: Exit,
    message: String,
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Ended {}

/// The exit code of an error: its own, or that of a failure. A reader that went away is not one.
pub(crate) fn of(error: &anyhow::Error) -> Exit {
    if let Some(ended) = error.downcast_ref::<Ended>() {
        return ended.exit;
    }
    if is_closed_pipe(error) { Exit::Done } else { Exit::Failed }
}

/// Whether the error is that nobody reads the output any more, as in `moltbot logs | head`.
pub(crate) fn is_closed_pipe(error: &anyhow::Error) -> bool {
    let io = error.downcast_ref::<std::io::Error>();
    io.is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}
