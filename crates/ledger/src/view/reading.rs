//! The last lines of a view, read from the end through every file that was turned over.

use moltbot_config::limits;
use moltbot_vault::{FileError, StateDir};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{FOLDER, auth, command, rotating};
use crate::query::Backward;

/// An attempt to sign in, as `auth-audit.jsonl` has it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AuthLine {
    /// Milliseconds since the epoch.
    pub timestamp: i64,
    /// The client's address.
    pub client_ip: String,
    /// How it tried: `token`, `password`, `device-token`, ….
    pub method: String,
    /// Whether it was let in.
    pub success: bool,
    /// Why not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The device, or the one that was claimed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_id: Option<String>,
    /// How many attempts the line stands for, when more than one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    /// The first of them, in milliseconds since the epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<i64>,
    /// The record in the book.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seq: Option<u64>,
}

/// A command, as `command-audit.jsonl` has it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CommandLine {
    /// Milliseconds since the epoch.
    pub timestamp: i64,
    /// The conversation.
    pub session_key: String,
    /// Who asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_id: Option<String>,
    /// The command without what may be secret in it.
    pub command: String,
    /// Whether it ran in a sandbox.
    pub sandbox: bool,
    /// Whether it ran outside by a person's leave.
    pub elevated: bool,
    /// Whether it was allowed to run.
    pub approved: bool,
    /// What the shell ended with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i64>,
    /// Milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration: Option<u64>,
    /// How it ended, when not by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<String>,
    /// The folder that it started in, relative to the workspace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cwd: Option<String>,
    /// The agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_id: Option<String>,
    /// The run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_id: Option<String>,
    /// Why it was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// How many refusals the line stands for, when more than one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    /// The record in the book.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seq: Option<u64>,
}

/// What was found in a view.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Found<T> {
    /// The lines.
    pub lines: Vec<T>,
    /// Lines that could not be read and were passed over.
    pub skipped: u64,
}

/// The last `count` attempts to sign in, the newest first; [`limits::VIEW_READ`] at most.
///
/// # Errors
/// When a file cannot be read. A line that is damaged hides no other.
pub fn auth_lines(state: &StateDir, count: usize) -> Result<Found<AuthLine>, FileError> {
    last(state, auth::FILE, count)
}

/// The last `count` successful ones, the newest first: no flood of failures pushes them out.
///
/// # Errors
/// As [`auth_lines`].
pub fn auth_successes(state: &StateDir, count: usize) -> Result<Found<AuthLine>, FileError> {
    last(state, auth::SUCCESSES, count)
}

/// The last `count` commands, the oldest first.
///
/// # Errors
/// As [`auth_lines`].
pub fn command_lines(state: &StateDir, count: usize) -> Result<Found<CommandLine>, FileError> {
    let mut found = last(state, command::FILE, count)?;
    found.lines.reverse();
    Ok(found)
}

/// The last lines of a view, the newest first.
fn last<T: DeserializeOwned>(state: &StateDir, name: &str, count: usize) -> Result<Found<T>, FileError> {
    let count = count.min(limits::VIEW_READ);
    let mut found = Found { lines: Vec::new(), skipped: 0 };
    let mut newest: Vec<Vec<u8>> = Vec::new();
    for place in 0..=limits::VIEW_FILES {
        let name = if place == 0 { name.to_owned() } else { rotating::old(name, place) };
        let file = match state.open_file(&format!("{FOLDER}/{name}")) {
            Err(FileError::Missing { .. }) => continue,
            opened => opened?,
        };
        let length = file.len()?;
        let mut lines = Backward::new(file, length, limits::LEDGER_LINE_BYTES);
        let mut first = true;
        while found.lines.len() < count {
            let Some(line) = lines.next()? else { break };
            if std::mem::take(&mut first) {
                // The log was turned over while it was read: this file was read under its old name.
                if newest.contains(&line) {
                    break;
                }
                newest.push(line.clone());
            }
            match serde_json::from_slice(&line) {
                Ok(line) => found.lines.push(line),
                Err(_) => found.skipped = found.skipped.saturating_add(1),
            }
        }
        found.skipped = found.skipped.saturating_add(lines.skipped());
    }
    Ok(found)
}
