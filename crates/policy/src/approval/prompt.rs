//! What a person reads before he decides: made here from the command and from what was found out about it, never from what
//! the model or a message says about it.

use super::binding::Place;
use super::deciding::{Asked, Choice};
use super::question::{Question, Requester};
use crate::shown::in_one_line;

/// Lines of a command that are shown in a prompt; the rest is told by its number.
const LINES: usize = 20;
/// Characters of a line that are shown.
const CHARS: usize = 300;

impl Question {
    /// The text for the person who decides. Everything that is not ours is in lines of its own behind a bar, with
    /// whatever acts on a screen written out.
    pub fn prompt(&self, asked: &Asked) -> String {
        let mut text = format!("Approval {}: may this command run?\n", asked.id);
        self.push_script(&mut text);
        let mut line = |name: &str, value: &str| {
            text.push_str(&format!("{name:<9} {}\n", cut(&in_one_line(value)).0));
        };
        match self.place {
            Place::Sandbox => line("where", "in the sandbox: no network, no file of yours but the workspace"),
            Place::Host if self.command().is_some() => {
                line("where", "ON THIS MACHINE, outside the sandbox: it may do whatever you may");
            }
            Place::Host => line("where", "not here: at the client that asks"),
        }
        line("folder", if self.directory.is_empty() { "the workspace" } else { &self.directory });
        for program in self.facts.programs.iter().chain(&self.facts.operands) {
            let Some(file) = &program.file else { continue };
            let digest: String = file.digest.iter().take(6).map(|byte| format!("{byte:02x}")).collect();
            line("file", &format!("{} (sha256 {digest}…)", file.path));
        }
        match &self.requester {
            Requester::Client(_) => line("asked by", "a client that is signed in"),
            Requester::Turn(principal) => line("asked by", &format!("the agent, for {principal}")),
        }
        if let Some(session) = &self.session {
            line("session", session.as_str());
        }
        for reason in &self.reasons {
            line("why", reason);
        }
        let names: Vec<&str> = self.choices().into_iter().map(Choice::name).collect();
        line("answer", &names.join(", "));
        if !self.always.is_empty() {
            line(
                "always",
                &format!("puts {} on the list, whatever its arguments are", self.always.join(", ")),
            );
        }
        text
    }

    fn push_script(&self, text: &mut String) {
        let lines: Vec<&str> = self.script.split('\n').collect();
        for line in lines.iter().take(LINES) {
            let line = in_one_line(line);
            let (shown, left) = cut(&line);
            text.push_str("  | ");
            text.push_str(shown);
            if left > 0 {
                text.push_str(&format!(" … ({left} more characters)"));
            }
            text.push('\n');
        }
        let more = lines.len().saturating_sub(LINES);
        if more > 0 {
            text.push_str(&format!(
                "  … {more} more lines: read them with `moltbot approvals list --json` before you say yes\n"
            ));
        }
    }
}

/// The beginning of a line, and how many characters are left.
fn cut(line: &str) -> (&str, usize) {
    match line.char_indices().nth(CHARS) {
        None => (line, 0),
        Some((end, _)) => {
            let (shown, rest) = line.split_at_checked(end).unwrap_or((line, ""));
            (shown, rest.chars().count())
        }
    }
}
