//! The permit of one simple command that runs outside the walls.

use super::binding::Facts;
use crate::command::{Approved, Command, Ended};
use crate::profile::Profile;
use crate::record::{Decision, Entry, Permit};

/// Proof that the owner has approved that this program runs on the machine itself, with these words, from this folder, and
/// with these files. The door takes nothing else for a command outside the walls.
///
/// ```compile_fail
/// let forged = moltbot_policy::approval::HostPermit { words: vec!["id".into()] };
/// ```
#[derive(Debug)]
#[must_use = "a permit that is dropped runs nothing"]
pub struct HostPermit {
    command: Command,
    words: Vec<String>,
    facts: Facts,
    approved: Approved,
}

impl HostPermit {
    pub(super) const fn new(command: Command, words: Vec<String>, facts: Facts, approved: Approved) -> Self {
        Self { command, words, facts, approved }
    }

    /// The program as it was named, and its arguments.
    pub fn words(&self) -> &[String] {
        &self.words
    }

    /// The folder that it starts in, relative to the workspace.
    pub fn directory(&self) -> &str {
        self.command.directory()
    }

    /// What was approved of what is around it: its folder, its program, its script file, its environment. The door demands
    /// that what it has opened is that.
    pub const fn facts(&self) -> &Facts {
        &self.facts
    }

    /// Its time, and how much of its output is kept. No wall of it stands outside.
    pub const fn profile(&self) -> &Profile {
        self.command.profile()
    }

    /// What the book is told when the command has ended. `start` is the number of the entry for its start.
    pub fn end_entry(&self, start: u64, ended: &Ended) -> Entry {
        ended.complete(self.told("command.end", Decision::Done), start)
    }

    fn told(&self, action: &'static str, decision: Decision) -> Entry {
        let cause = self.command.cause();
        let entry = Entry::new(cause.actor(), action, self.command.script().to_owned(), decision)
            .with("directory", self.command.directory().to_owned())
            .with("sandbox", "none")
            .with("elevated", "true");
        cause.tell(self.approved.tell(entry))
    }
}

impl Permit for HostPermit {
    fn entry(&self) -> Entry {
        let entry = self.told("command.start", Decision::Allowed);
        match self.facts.programs.first().and_then(|program| program.file.as_ref()) {
            None => entry,
            Some(file) => entry.with("program", file.path.clone()),
        }
    }
}
