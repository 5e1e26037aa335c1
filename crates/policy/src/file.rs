//! The agent's file tools: which file of the workspace may be read or written.
//!
//! The judge sees the path's text; that no link leads elsewhere is the vault's part, by opened handles.

use moltbot_protocol::ids::{RunId, SessionKey};

use crate::record::{Decision, Entry, Permit};
use crate::refusal::Refusal;

/// The longest path, in bytes, as Linux has it.
const PATH_BYTES: usize = 4096;

/// What a file tool does.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum FileAct {
    /// Reads a file.
    Read,
    /// Writes or replaces a file.
    Write,
}

/// Proof that a file tool may touch one file of the workspace.
#[derive(Debug)]
#[must_use = "a permit that is dropped touches nothing"]
pub struct FilePermit {
    act: FileAct,
    path: String,
    session: String,
    actor: String,
}

impl FilePermit {
    /// What may be done.
    pub const fn act(&self) -> FileAct {
        self.act
    }

    /// The path, relative to the workspace, without `..`, `.` or empty parts.
    pub fn path(&self) -> &str {
        &self.path
    }
}

impl Permit for FilePermit {
    fn entry(&self) -> Entry {
        let action = match self.act {
            FileAct::Read => "file.read",
            FileAct::Write => "file.write",
        };
        Entry::new(self.actor.clone(), action, self.path.clone(), Decision::Allowed)
            .in_session(self.session.clone())
    }
}

/// Judges a file tool's path.
///
/// # Errors
/// When the path is empty or leads out of the workspace.
pub fn judge(act: FileAct, path: &str, session: &SessionKey, run: &RunId) -> Result<FilePermit, Refusal> {
    let path = relative_path(path)?;
    if path.is_empty() {
        return Err(Refusal::new("path_empty", "the path is empty; name a file of the workspace"));
    }
    Ok(FilePermit { act, path, session: session.to_string(), actor: format!("agent:{run}") })
}

/// A path relative to the workspace, normalized: `/workspace/` (where commands see it) may stand in front.
pub(crate) fn relative_path(text: &str) -> Result<String, Refusal> {
    let outside = || {
        let message =
            format!("the path {text:?} leads out of the workspace; use a path relative to it, without `..`");
        Refusal::new("path_outside", message)
    };
    let inside = match text.strip_prefix("/workspace") {
        Some("") => "",
        Some(rest) if rest.starts_with('/') => rest.trim_start_matches('/'),
        Some(_) | None => text,
    };
    if inside.starts_with('/') || inside.len() > PATH_BYTES || inside.contains('\0') {
        return Err(outside());
    }
    let mut parts = Vec::new();
    for part in inside.split('/') {
        match part {
            "" | "." => {}
            ".." => return Err(outside()),
            part => parts.push(part),
        }
    }
    Ok(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_stays_in_the_workspace_or_is_refused() {
        for (text, expected) in [
            ("a/b.txt", Some("a/b.txt")),
            ("./a//b", Some("a/b")),
            ("/workspace/a", Some("a")),
            ("/workspace", Some("")),
            ("", Some("")),
            ("/workspaces/a", None),
            ("/etc/passwd", None),
            ("a/../../b", None),
            ("..", None),
            ("/workspace/../etc", None),
            ("a\0b", None),
        ] {
            assert_eq!(relative_path(text).ok().as_deref(), expected, "path {text:?}");
        }
    }
}
