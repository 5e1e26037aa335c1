//! Layer 5, approvals: a person's yes to one exact act.
//!
//! Pure. [`judge`] says of a command whether it runs, is asked about, or is refused. What is asked about becomes a
//! [`Question`], which is bound to everything that decides what the command does; [`decide`] turns the answer of who may
//! answer into an [`ApprovalPermit`]; and [`ApprovalPermit::open`] gives the permit of the command, once, before its time is
//! over, when nothing that it is bound to has changed. No answer is no.

mod binding;
mod deciding;
mod file;
mod host;
mod overview;
mod place;
mod prompt;
mod question;
mod rules;
mod words;

use std::sync::Arc;

use moltbot_config::settings::{ExecAsk, ExecSecurity};

use crate::command::{Approved, Command, CommandPermit};
use crate::refusal::Refusal;

pub use binding::{Binding, Facts, FileFact, Named, Place};
pub use deciding::{ApprovalId, ApprovalPermit, Approver, Asked, Choice, Standing, decide};
pub use file::{ApprovalsFile, FILE, FILE_BYTES, FileProblem, Listed};
pub use host::HostPermit;
pub use overview::{Finding, Overview, may_be_listed};
pub use place::place_of;
pub use question::{Question, Requester};
pub use rules::Rules;
pub use words::simple;

/// What becomes of a command.
#[derive(Debug)]
pub enum Judgement {
    /// The owner is asked.
    Ask(Arc<Question>),
    /// It runs.
    Run {
        /// Its permit.
        permit: Box<CommandPermit>,
        /// The entries of the owner's list that let it pass, by their ids.
        listed: Vec<String>,
    },
}

/// Judges a command that is to run within the walls.
///
/// # Errors
/// When no command may run, or it is not on the list and nobody is to be asked.
pub fn judge(command: Command, facts: &Facts, rules: &Rules) -> Result<Judgement, Refusal> {
    require_any(rules)?;
    let overview = Overview::of(command.verdict());
    let listed = overview.listed(facts, rules);
    let is_miss = match rules.security {
        ExecSecurity::Full => overview.finding == Finding::Ask && listed.is_none(),
        ExecSecurity::Allowlist | ExecSecurity::Deny => listed.is_none(),
    };
    let asks = match (rules.ask, rules.security) {
        (ExecAsk::Always, _) => true,
        (ExecAsk::OnMiss, _) => is_miss,
        (ExecAsk::Off, ExecSecurity::Full) => false,
        (ExecAsk::Off, ExecSecurity::Allowlist | ExecSecurity::Deny) if is_miss => {
            let message = "the command is not on your owner's list, and `ask` is \"off\"; the owner can add its programs with `moltbot approvals allowlist add`";
            return Err(Refusal::new("exec_not_listed", message));
        }
        (ExecAsk::Off, ExecSecurity::Allowlist | ExecSecurity::Deny) => false,
    };
    if asks {
        return Ok(Judgement::Ask(Arc::new(Question::about(
            command,
            Place::Sandbox,
            overview,
            facts.clone(),
        ))));
    }
    let permit = Box::new(command.permitted(None));
    Ok(Judgement::Run { permit, listed: listed.unwrap_or_default() })
}

/// Judges a command that is to run outside the walls: each is asked about, whatever a list says.
///
/// # Errors
/// When no command may run, or it is more than one simple command: what a shell makes of a
/// line outside the walls nobody can promise.
pub fn judge_on_host(command: Command, facts: &Facts, rules: &Rules) -> Result<Arc<Question>, Refusal> {
    require_any(rules)?;
    let overview = Overview::of(command.verdict());
    let Some(words) = simple(command.script()) else {
        let message = "outside the sandbox one simple command runs at a time: words and quotes, without pipes, variables, wildcards, redirections or several lines; put the rest into a script file and run that";
        return Err(Refusal::new("host_not_simple", message));
    };
    overview::require_bound(&words, facts)?;
    if facts.programs.first().is_none_or(|program| program.file.is_none()) {
        let message = "outside the sandbox a program runs that is in one of the system's folders or named by its path; there is none of that name";
        return Err(Refusal::new("host_no_program", message));
    }
    Ok(Arc::new(Question::about(command, Place::Host, overview, facts.clone())))
}

fn require_any(rules: &Rules) -> Result<(), Refusal> {
    if rules.security == ExecSecurity::Deny {
        let message = "no command may run: `security` is \"deny\" in the config or in exec-approvals.json; the owner can change that";
        return Err(Refusal::new("exec_denied", message));
    }
    Ok(())
}

impl ApprovalPermit {
    /// Opens the sandbox for the command that was asked about: once, in time, and when what is there now is what was
    /// approved.
    ///
    /// # Errors
    /// When the answer was no, it is too late, it was for another place, or anything that the yes is bound to has changed.
    pub fn open(self, question: &Question, now: &Facts, now_ms: u64) -> Result<CommandPermit, Refusal> {
        let (command, approved) = self.require(question, Place::Sandbox, now, now_ms)?;
        Ok(command.permitted(Some(approved)))
    }

    /// Opens the machine itself for the command that was asked about, as [`Self::open`] does the sandbox.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_on_host(self, question: &Question, now: &Facts, now_ms: u64) -> Result<HostPermit, Refusal> {
        let (command, approved) = self.require(question, Place::Host, now, now_ms)?;
        let words = simple(command.script()).ok_or_else(drift)?;
        Ok(HostPermit::new(command, words, now.clone(), approved))
    }

    fn require(
        self,
        question: &Question,
        place: Place,
        now: &Facts,
        now_ms: u64,
    ) -> Result<(Command, Approved), Refusal> {
        if self.choice == Choice::Deny {
            let message = "the owner said no to this command; do not try to have it done in another way";
            return Err(Refusal::new("approval_denied", message));
        }
        if now_ms > self.expires_ms {
            return Err(Refusal::new(
                "approval_expired",
                "the owner's yes came too late to be used; ask again",
            ));
        }
        let unchanged = question.binding_with(now).is_some_and(|binding| binding == self.binding);
        let command = question.command().filter(|_| unchanged && question.place() == place);
        let command = command.ok_or_else(drift)?.clone();
        Ok((command, Approved { id: self.id.to_string(), by: self.actor, choice: self.choice.name() }))
    }
}

fn drift() -> Refusal {
    let message = "what was approved has changed since: the command, its folder, its program or script file, its environment or its sandbox; it was not run, ask again";
    Refusal::new("approval_drift", message)
}

#[cfg(test)]
mod tests;
