//! `command-audit.jsonl`: one line for every command that ended, and one for every command that was refused.
//!
//! A command whose end is missing, because the machine or the gateway went down, is in the book alone.

use moltbot_config::limits;

use super::flood::Flood;
use super::line::Line;
use super::rotating::Rotating;
use crate::query::Record;

pub(super) const FILE: &str = "command-audit.jsonl";
/// The longest command in the view, in bytes. The book has four times as much.
const COMMAND: usize = 1024;
/// The longest other text, in bytes: a session's key has 256.
const TEXT: usize = 256;

/// The view.
#[derive(Debug)]
pub(super) struct CommandView {
    all: Rotating,
    refused: Flood,
}

impl CommandView {
    pub(super) fn new(all: Rotating) -> Self {
        Self { all, refused: Flood::new(limits::VIEW_REPEATS, limits::VIEW_REFUSALS) }
    }

    /// Adds a command's end or refusal. Refusals are bounded, so that they cannot push out what ran.
    pub(super) fn add(&mut self, record: &Record) {
        if record.is_refused() {
            let source = record.session.as_deref().unwrap_or(&record.actor);
            if let Some(line) = self.refused.admit(source, record.millis(), 1, line(record)) {
                self.all.write(&line);
            }
        } else if record.action == "command.end" {
            self.all.write(&line(record).end());
        }
    }

    pub(super) fn pass(&mut self, now: i64) {
        let lines = self.refused.pass(now, many);
        lines.iter().for_each(|line| self.all.write(line));
    }

    pub(super) fn close(&mut self) {
        let lines = self.refused.close(many);
        lines.iter().for_each(|line| self.all.write(line));
    }

    pub(super) const fn lost(&self) -> u64 {
        self.all.lost()
    }
}

fn line(record: &Record) -> Line {
    let ran = !record.is_refused();
    let session = record.session.as_deref();
    let agent =
        session.and_then(|session| session.strip_prefix("agent:")).and_then(|rest| rest.split(':').next());
    let number = |name: &str| record.detail(name).and_then(|text| text.parse().ok());
    let says = |name: &str| record.detail(name) == Some("true");
    Line::at(record.millis())
        .text("sessionKey", session.unwrap_or(&record.actor), TEXT)
        .optional("userId", record.detail("user"), TEXT)
        .text("command", &record.target, COMMAND)
        .flag("sandbox", record.detail("sandbox").is_some_and(|sandbox| sandbox != "none"))
        .flag("elevated", says("elevated"))
        .flag("approved", ran)
        .number("exitCode", number("exit"))
        .number("duration", number("duration"))
        .optional("outcome", record.detail("outcome"), TEXT)
        .optional("cwd", record.detail("directory"), TEXT)
        .optional("agentId", agent, TEXT)
        .optional("runId", record.run(), TEXT)
        .optional("containerId", record.detail("container"), TEXT)
        .optional("approvalId", record.detail("approval"), TEXT)
        .optional("reason", record.detail("reason").or_else(|| record.detail("code")), TEXT)
        .number("start", number("start"))
        .number("seq", i64::try_from(record.seq).ok())
}

fn many(at: i64) -> Line {
    let line = Line::at(at).text("sessionKey", "many", TEXT).text("command", "", TEXT).flag("sandbox", false);
    let line = line.flag("elevated", false).flag("approved", false);
    line.text("reason", "too many refused commands in one minute", TEXT)
}
