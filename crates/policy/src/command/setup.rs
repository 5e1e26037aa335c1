//! Which commands may prepare a container. Judged before any container or image exists.

use crate::refusal::Refusal;

/// The commands that prepare a container, as the config has them.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum SetupCommand {
    /// A line of plain words, joined by `&&` only.
    Line(String),
    /// A list of programs with their words.
    List(Vec<Vec<String>>),
}

/// The commands to run, in order and each without a shell; none for an empty line.
///
/// # Errors
/// When the line is not plain words joined by `&&`, or a command is a network tool, a package manager, an interpreter
/// with inline code, or destroys the container.
pub fn judge(_command: &SetupCommand) -> Result<Vec<Vec<String>>, Refusal> {
    Err(Refusal::new("setup_rejected", "Dangerous Docker setup command rejected: it cannot be judged yet"))
}
