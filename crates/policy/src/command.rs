//! Layer 5, command validation: which commands the agent may run.
//!
//! Pure: nothing here runs a command. [`review`] reads one and answers; only a [`CommandPermit`] opens the
//! sandbox, and only this module can make one. In this version every command that is well-formed may run,
//! because each runs behind the same walls; what a command says does not yet change the answer.

use std::time::Duration;

use moltbot_config::limits;

use crate::cause::{Cause, Tool};
use crate::file::relative_path;
use crate::incident::Attempt;
use crate::profile::Profile;
use crate::record::{Decision, Entry, Permit};
use crate::refusal::Refusal;

/// What the agent wants to run.
#[derive(Clone, Debug)]
pub struct CommandRequest {
    /// A line for the shell.
    pub script: String,
    /// The folder it starts in, relative to the workspace.
    pub directory: String,
    /// The turn it is for.
    pub cause: Cause,
}

/// Proof that a command passed review. The sandbox takes nothing else.
///
/// ```compile_fail
/// let forged = moltbot_policy::command::CommandPermit { script: "id".into() };
/// ```
#[derive(Debug)]
#[must_use = "a permit that is dropped runs nothing"]
pub struct CommandPermit {
    script: String,
    directory: String,
    profile: Profile,
    /// Nothing for one of the gateway's own.
    cause: Option<Cause>,
}

impl CommandPermit {
    /// The line for the shell.
    pub fn script(&self) -> &str {
        &self.script
    }

    /// The folder it starts in, relative to the workspace, without `..`.
    pub fn directory(&self) -> &str {
        &self.directory
    }

    /// The walls around it.
    pub const fn profile(&self) -> &Profile {
        &self.profile
    }

    /// What the book is told when the command has ended. `start` is the number of the entry for its start.
    pub fn end_entry(&self, start: u64, ended: &Ended) -> Entry {
        ended.complete(self.told("command.end", Decision::Done), start)
    }

    /// What the book is told of an attempt to leave the walls that the command made. `start` is the number of the
    /// entry for its start.
    pub fn attempt_entry(&self, start: u64, attempt: &Attempt) -> Entry {
        let entry = self.told("command.attempt", Decision::Refused);
        entry
            .with("start", start.to_string())
            .with("call", attempt.call)
            .with("program", attempt.program.clone())
            .with("severity", attempt.severity.name())
            .with("reason", attempt.to_string())
    }

    /// Whose turn it is for; nothing for one of the gateway's own.
    pub const fn cause(&self) -> Option<&Cause> {
        self.cause.as_ref()
    }

    fn told(&self, action: &'static str, decision: Decision) -> Entry {
        let actor = self.cause.as_ref().map_or_else(|| "gateway".to_owned(), Cause::actor);
        let entry = Entry::new(actor, action, self.script.clone(), decision);
        let entry = entry.with("directory", self.directory.clone()).with("sandbox", "embedded");
        match &self.cause {
            None => entry,
            Some(cause) => cause.tell(entry),
        }
    }
}

/// How a command ended, for the book.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Ended {
    /// In words, such as `exit 0`, `timed out`, or why it did not start.
    pub outcome: String,
    /// What the shell ended with, when it did.
    pub exit: Option<i32>,
    /// From the call to the end of its last process.
    pub duration: Duration,
}

impl Ended {
    /// The entry of an end, with how it was. `start` is the number of the entry for the start.
    pub(crate) fn complete(&self, entry: Entry, start: u64) -> Entry {
        let entry = entry
            .with("start", start.to_string())
            .with("outcome", self.outcome.clone())
            .with("duration", self.duration.as_millis().to_string());
        match self.exit {
            None => entry,
            Some(code) => entry.with("exit", code.to_string()),
        }
    }
}

impl Permit for CommandPermit {
    fn entry(&self) -> Entry {
        self.told("command.start", Decision::Allowed)
    }
}

/// Reviews a command of the agent.
///
/// # Errors
/// When the turn has no tool that runs commands, or the command is empty, longer than [`limits::COMMAND_BYTES`], has a NUL, or starts outside the workspace.
pub fn review(request: CommandRequest, profile: Profile) -> Result<CommandPermit, Refusal> {
    let CommandRequest { script, directory, cause } = request;
    cause.require(&[Tool::Exec])?;
    if script.trim().is_empty() {
        return Err(Refusal::new("command_empty", "the command is empty; give a shell command in `command`"));
    }
    if script.len() > limits::COMMAND_BYTES {
        let message =
            format!("the command has {} bytes; at most {} may run", script.len(), limits::COMMAND_BYTES);
        return Err(Refusal::new("command_too_long", message));
    }
    if script.contains('\0') {
        return Err(Refusal::new("command_malformed", "the command has a NUL character; remove it"));
    }
    let directory = relative_path(&directory)?;
    Ok(CommandPermit { script, directory, profile, cause: Some(cause) })
}

/// The permit for one of the sandbox's own checks of its walls. The script is the program's, never a peer's.
pub fn permit_probe(script: &'static str) -> CommandPermit {
    CommandPermit {
        script: script.into(),
        directory: String::new(),
        profile: Profile::for_probe(),
        cause: None,
    }
}

#[cfg(test)]
mod tests {
    use moltbot_config::Config;
    use moltbot_protocol::ids::{AgentId, RunId, SessionKey};
    use moltbot_protocol::principal::Principal;

    use super::*;

    fn judge(script: &str, directory: &str) -> Result<CommandPermit, &'static str> {
        let (session, run) = (SessionKey::main_of(&AgentId::main()), RunId::parse("r").unwrap());
        let cause = Cause::of(&Config::default(), session, run, Principal::Owner);
        let request = CommandRequest { script: script.into(), directory: directory.into(), cause };
        review(request, Profile::for_exec(&Config::default(), None)).map_err(|refusal| refusal.code)
    }

    #[test]
    fn a_command_that_is_malformed_gets_no_permit() {
        let long = "x".repeat(limits::COMMAND_BYTES + 1);
        for (script, directory, code) in [
            ("", "", "command_empty"),
            (" \n", "", "command_empty"),
            ("a\0b", "", "command_malformed"),
            (long.as_str(), "", "command_too_long"),
            ("ls", "../..", "path_outside"),
            ("ls", "/etc", "path_outside"),
        ] {
            assert_eq!(judge(script, directory).err(), Some(code), "verdict on {script:.20} in {directory}");
        }
        assert_eq!(judge("ls", "./src").unwrap().directory(), "src");
    }

    #[test]
    fn the_book_is_told_the_whole_command_before_it_runs() {
        let entry = judge("ls -la", "").unwrap().entry();
        assert_eq!(
            (entry.action, entry.target.as_str(), entry.decision),
            ("command.start", "ls -la", Decision::Allowed)
        );
    }
}
