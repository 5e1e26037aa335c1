//! Layer 7, response: what follows when a command tries to leave its walls, or is refused for what it is.
//!
//! The sandbox sees an attempt; a high one ends its turn, because whatever led the agent there may be in what was said.

use std::fmt;

use crate::command::Severity;

/// A system call of a command that leads out of the walls. It was not carried out.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Attempt {
    /// The call's name, such as `setns`.
    pub call: &'static str,
    /// How bad it is. High: no ordinary program makes the call, and the command and its turn end. Medium: ordinary
    /// programs try it too, and go on when it fails.
    pub severity: Severity,
    /// What the program that made it called itself; any program may call itself anything.
    pub program: String,
}

impl fmt::Display for Attempt {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "the system call {} by the program {:?}", self.call, self.program)
    }
}

/// What happened in a turn that its owner must know.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Incident {
    /// How bad it is.
    pub severity: Severity,
    /// What happened, in a clause: `a command made the system call setns`.
    pub what: String,
}
