//! The agent's file tools: which file of the workspace may be read or written.
//!
//! The judge sees the path's text; that no link leads elsewhere is the vault's part, by opened handles.

use crate::cause::{Cause, Tool};
use crate::record::{Decision, Entry, Permit};
use crate::refusal::Refusal;

/// The longest path, in bytes, as Linux has it.
const PATH_BYTES: usize = 4096;

/// Files and folders of the workspace that programs of the owner obey or run: settings of git, of editors and of
/// shells. Neither tools nor commands may change them, or what they write would run outside the sandbox.
///
/// `.git/commondir` is among them because it tells git to take its settings and hooks from elsewhere.
pub const PROTECTED_PATHS: [&str; 8] = [
    ".envrc",
    ".git/commondir",
    ".git/config",
    ".git/config.worktree",
    ".git/hooks",
    ".gitmodules",
    ".moltbot",
    ".vscode",
];
/// The folders above them. Where one is a file instead, it leads to the real folder and is protected too.
pub const FOLDERS_ABOVE_PROTECTED: [&str; 1] = [".git"];

/// What a file tool does.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum FileAct {
    /// Reads a file.
    Read,
    /// Removes a file.
    Remove,
    /// Writes or replaces a file.
    Write,
}

impl FileAct {
    /// What the book calls it.
    pub const fn action(self) -> &'static str {
        match self {
            Self::Read => "file.read",
            Self::Remove => "file.remove",
            Self::Write => "file.write",
        }
    }
}

/// Proof that a file tool may touch one file of the workspace.
#[derive(Debug)]
#[must_use = "a permit that is dropped touches nothing"]
pub struct FilePermit {
    act: FileAct,
    path: String,
    cause: Cause,
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
        let entry = Entry::new(self.cause.actor(), self.act.action(), self.path.clone(), Decision::Allowed);
        self.cause.tell(entry)
    }
}

/// Judges a file tool's path, for a turn of this cause.
///
/// # Errors
/// When the turn has no tool that does this, the path is empty or leads out of the workspace, or when a protected file would be written: see
/// [`PROTECTED_PATHS`], which here holds in every folder, so that a repository inside the workspace is protected too.
pub fn judge(act: FileAct, path: &str, cause: &Cause) -> Result<FilePermit, Refusal> {
    cause.require(match act {
        FileAct::Read => &[Tool::Read, Tool::Edit, Tool::ApplyPatch],
        FileAct::Remove => &[Tool::ApplyPatch],
        FileAct::Write => &[Tool::Write, Tool::Edit, Tool::ApplyPatch],
    })?;
    let path = relative_path(path)?;
    if path.is_empty() {
        return Err(Refusal::new("path_empty", "the path is empty; name a file of the workspace"));
    }
    if act != FileAct::Read && is_protected(&path) {
        let message = format!(
            "{path} is obeyed by programs outside the sandbox, so no tool may change it; ask your owner to do it"
        );
        return Err(Refusal::new("path_protected", message));
    }
    Ok(FilePermit { act, path, cause: cause.clone() })
}

/// Judges that a file which a sender gave is kept for a turn of this cause, in a folder of ours under a name of ours. What
/// the sender calls it is no part of it.
///
/// # Errors
/// When the turn could not read it, or the name is not one that we make.
pub fn receive(name: &str, cause: &Cause) -> Result<FilePermit, Refusal> {
    cause.require(&[Tool::Read])?;
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let is_ours = name.split_once('.').is_some_and(|(stem, end)| {
        !stem.is_empty() && stem.bytes().all(is_plain) && !end.is_empty() && end.bytes().all(is_plain)
    });
    if !is_ours || name.len() > 80 {
        return Err(Refusal::new("name_odd", "a received file is kept under no such name"));
    }
    Ok(FilePermit { act: FileAct::Write, path: format!("{RECEIVED}/{name}"), cause: cause.clone() })
}

/// The folder of the workspace in which received files are.
const RECEIVED: &str = "received";

/// Whether a normalized path is, or is below, a protected one, in any folder.
fn is_protected(path: &str) -> bool {
    let below = path.match_indices('/').filter_map(|(place, _)| path.get(place + 1..));
    std::iter::once(path).chain(below).any(|rest| {
        let protects = |protected: &&str| {
            rest.strip_prefix(*protected).is_some_and(|after| after.is_empty() || after.starts_with('/'))
        };
        PROTECTED_PATHS.iter().any(protects) || FOLDERS_ABOVE_PROTECTED.contains(&rest)
    })
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
    use moltbot_config::Config;
    use moltbot_protocol::ids::{AgentId, RunId, SessionKey};
    use moltbot_protocol::principal::Principal;

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

    #[test]
    fn a_received_file_has_a_name_of_ours_or_none() {
        let session = SessionKey::main_of(&AgentId::main());
        let principal = Principal::Sender("telegram:default:user:1".into());
        let cause = |config: &Config| {
            Cause::of(config, session.clone(), RunId::parse("r").unwrap(), principal.clone())
        };
        let usual = cause(&Config::default());
        assert_eq!(receive("telegram-0a1b-1.png", &usual).unwrap().path(), "received/telegram-0a1b-1.png");
        for name in [
            "",
            ".",
            "..",
            "a",
            "a.",
            ".png",
            "../a.png",
            "a/b.png",
            "A.png",
            "a.b.png",
            "a .png",
            "a\0.png",
            &"a".repeat(90),
        ] {
            assert!(receive(name, &usual).is_err(), "{name:?}");
        }
        let mut blind = Config::default();
        blind.tools.deny = vec!["read".into()];
        assert_eq!(receive("a.png", &cause(&blind)).unwrap_err().code, "tool_not_granted");
    }

    #[test]
    fn what_programs_of_the_owner_obey_is_read_and_never_written() {
        let session = SessionKey::main_of(&AgentId::main());
        let run = RunId::parse("r").unwrap();
        let cause = Cause::of(&Config::default(), session, run, Principal::Owner);
        for path in [
            ".git/config",
            "./.git//config",
            ".git/hooks/pre-commit",
            ".git/commondir",
            ".git",
            ".envrc",
            ".vscode/tasks.json",
            "project/.git/config",
            "a/b/.envrc",
        ] {
            let refused = judge(FileAct::Write, path, &cause).map_err(|refusal| refusal.code);
            assert_eq!(refused.err(), Some("path_protected"), "{path}");
        }
        for path in [".gitignore", ".git/HEAD", ".envrc.example", "vscode/tasks.json", "x.git/config"] {
            assert!(judge(FileAct::Write, path, &cause).is_ok(), "{path}");
        }
        assert!(judge(FileAct::Read, ".git/config", &cause).is_ok());
    }
}
