//! Layer 5, command validation: which commands the agent may run.
//!
//! Pure: nothing here runs a command. [`review`] reads one; what is not refused is a [`Command`], of which
//! [`crate::approval`], which knows what the owner set about commands, alone makes the [`CommandPermit`] that opens the
//! sandbox. [`judge`] says what a command is: it reads the script as the shell
//! would, down to its simple commands, and of all that it finds the strictest holds. It is a signal beside the walls: a
//! command that it lets through still has them around it.

mod address;
pub mod allowlist;
mod call;
mod checks;
mod environment;
mod escape;
mod filters;
mod flow;
mod glob;
mod inline;
mod interpreters;
mod outputs;
mod parse;
mod paths;
pub mod patterns;
mod plain;
mod programs;
mod review;
mod rules;
pub mod safe_bins;
mod scan;
mod sed;
pub mod setup;
mod shell;
mod verdict;
mod word;
mod wrappers;

use std::time::Duration;

use moltbot_config::{hole, limits};

use crate::cause::{Cause, Tool};
use crate::container::Backend;
use crate::file::relative_path;
use crate::incident::Attempt;
use crate::profile::{NetworkAccess, Profile};
use crate::record::{Decision, Entry, Permit};
use crate::refusal::Refusal;

pub use rules::{Rule, Rules, RulesError};
pub use verdict::{Argument, Choice, Part, Reason, Redirect, RedirectKind, Severity, Verdict};

/// The owner's rules, in the state folder.
pub const RULES_FILE: &str = "commands.toml";

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
    verdict: Option<Verdict>,
    approved: Option<Approved>,
}

/// A command whose form is right, and which is not refused for what it says. It permits nothing.
#[derive(Clone, Debug)]
pub struct Command {
    script: String,
    directory: String,
    profile: Profile,
    cause: Cause,
    verdict: Verdict,
}

impl Command {
    /// The line for the shell.
    pub fn script(&self) -> &str {
        &self.script
    }

    /// The folder it starts in, relative to the workspace, without `..`.
    pub fn directory(&self) -> &str {
        &self.directory
    }

    /// What the review says about it.
    pub const fn verdict(&self) -> &Verdict {
        &self.verdict
    }

    /// The walls around it.
    pub(crate) const fn profile(&self) -> &Profile {
        &self.profile
    }

    /// The turn that it is for.
    pub(crate) const fn cause(&self) -> &Cause {
        &self.cause
    }

    /// The permit for it. Only [`crate::approval`] makes one.
    pub(crate) fn permitted(self, approved: Option<Approved>) -> CommandPermit {
        let Self { script, directory, profile, cause, verdict } = self;
        CommandPermit { script, directory, profile, cause: Some(cause), verdict: Some(verdict), approved }
    }
}

/// The yes that a command has, for the book.
#[derive(Clone, Debug)]
pub(crate) struct Approved {
    pub(crate) id: String,
    pub(crate) by: String,
    pub(crate) choice: &'static str,
}

impl Approved {
    /// Says in an entry whose yes it was, and to what.
    pub(crate) fn tell(&self, entry: Entry) -> Entry {
        let Self { id, by, choice } = self;
        entry.with("approval", id.clone()).with("approvedBy", by.clone()).with("choice", *choice)
    }
}

/// A command that is refused, with what the book is told about it.
#[derive(Clone, Debug)]
pub struct Refused {
    /// Why, for the peer.
    pub refusal: Refusal,
    /// What the review says about it; nothing when it was not read at all.
    pub verdict: Option<Verdict>,
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        Self { refusal, verdict: None }
    }
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

    fn told(&self, action: &'static str, decision: Decision) -> Entry {
        let actor = self.cause.as_ref().map_or_else(|| "gateway".to_owned(), Cause::actor);
        let entry = Entry::new(actor, action, self.script.clone(), decision);
        let entry =
            entry.with("directory", self.directory.clone()).with("sandbox", self.profile.backend.name());
        let entry = self.profile.backend.container().iter().fold(entry, |entry, container| {
            entry.with("container", container.name.clone()).with("image", container.image.clone())
        });
        let entry = match self.profile.network {
            NetworkAccess::None => entry,
            NetworkAccess::Proxy => entry.with("network", "proxy"),
        };
        let entry = match &self.verdict {
            None => entry,
            Some(verdict) => verdict.tell(entry),
        };
        let entry = match &self.approved {
            None => entry,
            Some(approved) => approved.tell(entry),
        };
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

/// Reviews a command of the agent: its form, and what it says.
///
/// # Errors
/// When the turn has no tool that runs commands; when it is empty, longer than [`limits::COMMAND_BYTES`], has a NUL, or
/// starts outside the workspace; or when it is refused for what it says, which no approval changes.
pub fn review(request: CommandRequest, profile: Profile, rules: &Rules) -> Result<Command, Box<Refused>> {
    let mut command = well_formed(request, profile).map_err(|refusal| Box::new(refusal.into()))?;
    let verdict = judge(&command.script, rules);
    if verdict.choice == Choice::Refuse && !hole!("denied-command") {
        let refusal = Refusal::new("command_refused", refused(&verdict));
        return Err(Box::new(Refused { refusal, verdict: Some(verdict) }));
    }
    command.verdict = verdict;
    Ok(command)
}

/// Why a command is refused, in a sentence.
fn refused(verdict: &Verdict) -> String {
    let reasons: Vec<&str> = verdict.reasons.iter().map(|reason| reason.text.as_str()).take(5).collect();
    format!("the command is refused: {}; do it in another way, or ask your owner", reasons.join("; "))
}

/// A command whose form is right, and of which nothing else is known yet.
fn well_formed(request: CommandRequest, profile: Profile) -> Result<Command, Refusal> {
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
    Ok(Command { script, directory, profile, cause, verdict: Verdict::NOTHING })
}

/// Judges what a script would do. Nothing is run, resolved or read: the answer depends on the text and the rules.
pub fn judge(script: &str, rules: &Rules) -> Verdict {
    review::review(script, rules)
}

/// The permit for one of the sandbox's own checks of its walls. The script is the program's, never a peer's.
pub fn permit_probe(script: &'static str, backend: Backend) -> CommandPermit {
    permit_own(script, Profile { backend, ..Profile::for_probe() })
}

/// The permit for a command that this program brings along. Nobody reviews it: its text is part of the program.
pub fn permit_own(script: &'static str, profile: Profile) -> CommandPermit {
    let (script, directory) = (script.into(), String::new());
    CommandPermit { script, directory, profile, cause: None, verdict: None, approved: None }
}

#[cfg(test)]
mod tests {
    use moltbot_config::Config;
    use moltbot_protocol::ids::{AgentId, RunId, SessionKey};
    use moltbot_protocol::principal::Principal;

    use super::*;

    fn reviewed(script: &str, directory: &str) -> Result<Command, Box<Refused>> {
        let (session, run) = (SessionKey::main_of(&AgentId::main()), RunId::parse("r").unwrap());
        let cause = Cause::of(&Config::default(), session, run, Principal::Owner);
        let request = CommandRequest { script: script.into(), directory: directory.into(), cause };
        review(request, Profile::for_exec(&Config::default(), None), Rules::built_in().unwrap())
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
            let refused = reviewed(script, directory).err().map(|refused| refused.refusal.code);
            assert_eq!(refused, Some(code), "verdict on {script:.20} in {directory}");
        }
        assert_eq!(reviewed("ls", "./src").unwrap().directory(), "src");
    }

    #[test]
    fn the_book_is_told_the_whole_command_before_it_runs() {
        let entry = reviewed("ls -la", "").unwrap().permitted(None).entry();
        assert_eq!(
            (entry.action, entry.target.as_str(), entry.decision),
            ("command.start", "ls -la", Decision::Allowed)
        );
        assert_eq!(entry.details["review"], "run");
    }

    #[test]
    fn d_113_the_book_is_told_what_the_review_found() {
        let asked = reviewed("chroot /tmp/escape /bin/bash", "").unwrap();
        assert_eq!(asked.verdict().severity, Some(Severity::Medium));
        let entry = asked.permitted(None).entry();
        assert_eq!(entry.details["review"], "ask");
        assert_eq!(entry.details["severity"], "medium");
        assert_eq!(entry.details["patterns"], "Chroot escape attempt");
        let refused = reviewed("un\"\"share -r", "").unwrap_err();
        assert_eq!(refused.refusal.code, "command_refused");
        assert_eq!(refused.verdict.unwrap().severity, Some(Severity::High));
    }
}
