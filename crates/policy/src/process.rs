//! Commands in the background: whose they are, and who may do what with them.
//!
//! A command belongs to the conversation that started it. To every other it does not exist: a name that is wrong and one
//! that is somebody else's are answered in the same way.

use moltbot_protocol::ids::SessionKey;

use crate::cause::{Cause, Tool};
use crate::record::{Decision, Entry, Permit};
use crate::refusal::Refusal;

/// What is done to a command in the background.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ProcessAct {
    /// It is ended with all that came of it.
    Kill,
    /// What it wrote and how it ended is looked at.
    Look,
    /// It is forgotten, and ended when it runs.
    Remove,
}

impl ProcessAct {
    /// What the book calls it.
    pub const fn action(self) -> &'static str {
        match self {
            Self::Kill => "process.kill",
            Self::Look => "process.look",
            Self::Remove => "process.remove",
        }
    }
}

/// Proof that a turn may do one thing to one command in the background.
#[derive(Debug)]
#[must_use = "a permit that is dropped does nothing"]
pub struct ProcessPermit {
    act: ProcessAct,
    name: String,
    cause: Cause,
}

impl ProcessPermit {
    /// What may be done.
    pub const fn act(&self) -> ProcessAct {
        self.act
    }

    /// The command's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The conversation that it belongs to.
    pub const fn session(&self) -> &SessionKey {
        self.cause.session()
    }
}

impl Permit for ProcessPermit {
    fn entry(&self) -> Entry {
        let entry = Entry::new(self.cause.actor(), self.act.action(), self.name.clone(), Decision::Allowed);
        self.cause.tell(entry)
    }
}

/// Judges what a turn wants to do to a command that belongs to `owner`; to nobody when there is none of that name.
///
/// # Errors
/// When the turn has no such tool, or the command is not of its conversation.
pub fn judge(
    act: ProcessAct,
    name: &str,
    owner: Option<&SessionKey>,
    cause: &Cause,
) -> Result<ProcessPermit, Refusal> {
    cause.require(&[Tool::Process])?;
    if owner != Some(cause.session()) {
        let message =
            "this conversation has no command of that name in the background; `list` tells which it has";
        return Err(Refusal::new("process_unknown", message));
    }
    Ok(ProcessPermit { act, name: name.to_owned(), cause: cause.clone() })
}

#[cfg(test)]
mod tests {
    use moltbot_config::Config;
    use moltbot_protocol::ids::{AgentId, RunId};
    use moltbot_protocol::principal::Principal;

    use super::*;

    fn cause(session: &SessionKey, principal: &str) -> Cause {
        let principal = Principal::parse(principal).unwrap();
        Cause::of(&Config::default(), session.clone(), RunId::parse("r").unwrap(), principal)
    }

    #[test]
    fn a_command_is_its_own_conversations_alone() {
        let main = SessionKey::main_of(&AgentId::main());
        let other = SessionKey::parse("agent:main:telegram:group:7", &AgentId::main()).unwrap();
        let judged = |owner: Option<&SessionKey>, cause| {
            judge(ProcessAct::Kill, "p7", owner, &cause).map_err(|refusal| refusal.code)
        };
        let permit = judged(Some(&main), cause(&main, "owner")).unwrap();
        let entry = permit.entry();
        assert_eq!((entry.action, entry.target.as_str()), ("process.kill", "p7"));
        assert_eq!(judged(Some(&main), cause(&other, "owner")).unwrap_err(), "process_unknown");
        assert_eq!(judged(None, cause(&main, "owner")).unwrap_err(), "process_unknown");
        assert_eq!(judged(Some(&main), cause(&main, "hook:x")).unwrap_err(), "tool_not_granted");
    }
}
