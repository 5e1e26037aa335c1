//! What a person is asked.

use moltbot_protocol::ids::SessionKey;
use moltbot_protocol::principal::Principal;

use super::binding::{Act, Binding, Facts, Place};
use super::deciding::{Choice, Standing};
use super::overview::Overview;
use super::words::simple;
use crate::command::Command;

/// Who wants it to be run.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Requester {
    /// A client, by the id of its connection. What it asks about runs elsewhere, if at all.
    Client(String),
    /// A turn of the agent, caused by somebody.
    Turn(Principal),
}

/// A command that waits for a person's yes. It permits nothing.
#[derive(Debug)]
pub struct Question {
    pub(super) place: Place,
    pub(super) script: String,
    pub(super) directory: String,
    pub(super) session: Option<SessionKey>,
    pub(super) requester: Requester,
    pub(super) reasons: Vec<String>,
    pub(super) facts: Facts,
    pub(super) always: Vec<String>,
    command: Option<Command>,
    binding: Binding,
}

impl Question {
    /// The question about a command of the agent.
    pub(super) fn about(command: Command, place: Place, overview: Overview, facts: Facts) -> Self {
        let always = match place {
            Place::Host => Vec::new(),
            Place::Sandbox => overview.listable(&facts).unwrap_or_default(),
        };
        let binding = bind(&command, place, &facts);
        let mut reasons = overview.reasons;
        match place {
            Place::Host => reasons.push("it runs outside the sandbox, with all that the owner may do".into()),
            Place::Sandbox if reasons.is_empty() => {
                reasons.push("every command is asked about, or it is on no list".into())
            }
            Place::Sandbox => {}
        }
        Self {
            place,
            script: command.script().to_owned(),
            directory: command.directory().to_owned(),
            session: Some(command.cause().session().clone()),
            requester: Requester::Turn(command.cause().principal().clone()),
            reasons,
            facts,
            always,
            command: Some(command),
            binding,
        }
    }

    /// The question of a client about a command that runs elsewhere. The answer opens nothing here.
    pub fn of_client(
        script: String,
        directory: String,
        session: Option<SessionKey>,
        connection: &str,
    ) -> Self {
        let binding = Binding::of_text(&script, &directory, connection);
        Self {
            place: Place::Host,
            script,
            directory,
            session,
            requester: Requester::Client(connection.to_owned()),
            reasons: vec!["a client asks; what it does with the answer is its own affair".into()],
            facts: Facts::default(),
            always: Vec::new(),
            command: None,
            binding,
        }
    }

    /// Where it runs.
    pub const fn place(&self) -> Place {
        self.place
    }

    /// The line for the shell, or the command of a client, as it is.
    pub fn script(&self) -> &str {
        &self.script
    }

    /// The folder that it starts in.
    pub fn directory(&self) -> &str {
        &self.directory
    }

    /// The conversation that it belongs to.
    pub const fn session(&self) -> Option<&SessionKey> {
        self.session.as_ref()
    }

    /// Who wants it.
    pub const fn requester(&self) -> &Requester {
        &self.requester
    }

    /// The program, when it is known.
    pub fn program(&self) -> Option<&str> {
        self.facts.programs.first()?.file.as_ref().map(|file| file.path.as_str())
    }

    /// What a yes is bound to; of what runs elsewhere its text alone.
    pub const fn binding(&self) -> Binding {
        self.binding
    }

    /// What a yes would be bound to with what is there now.
    pub fn binding_with(&self, facts: &Facts) -> Option<Binding> {
        Some(bind(self.command.as_ref()?, self.place, facts))
    }

    /// What may be answered.
    pub fn choices(&self) -> Vec<Choice> {
        let mut choices = vec![Choice::AllowOnce];
        if self.place == Place::Sandbox {
            choices.push(Choice::AllowForSession);
        }
        if !self.always.is_empty() {
            choices.push(Choice::AllowAlways);
        }
        choices.push(Choice::Deny);
        choices
    }

    /// The paths that "always" puts on the list: one for each program of the command, and none for what runs what it is
    /// given.
    pub fn always(&self) -> &[String] {
        &self.always
    }

    /// Whether an earlier answer for an hour speaks for this command: for the very same one, of the same conversation and
    /// requester.
    pub fn is_covered_by(&self, standing: &Standing, now_ms: u64) -> bool {
        self.place == Place::Sandbox && standing.covers(self.binding, now_ms)
    }

    pub(super) const fn command(&self) -> Option<&Command> {
        self.command.as_ref()
    }
}

fn bind(command: &Command, place: Place, facts: &Facts) -> Binding {
    let words = if place == Place::Host { simple(command.script()) } else { None };
    let act =
        Act { place, script: command.script(), words: words.as_deref(), directory: command.directory() };
    Binding::of(&act, facts, command.profile(), command.cause())
}
