//! Where an agent works: its workspace for its main session, a folder of their own for all other sessions.
//!
//! The main session is the owner's. Whoever speaks in another session may be a stranger, so that session's
//! tools never see the owner's files.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use moltbot_config::settings::AgentsConfig;
use moltbot_protocol::ids::{AgentId, SessionKey};
use moltbot_vault::{FileError, OpenError, StateDir, Workspace};
use sha2::{Digest, Sha256};

use crate::agent::{AgentDescription, AgentError};

/// Characters of a session's key in the name of its folder, before the digest that tells equal names apart.
const SLUG_CHARS: usize = 32;

/// The first files of a workspace.
const SEEDS: [(&str, &str); 5] = [
    ("AGENTS.md", include_str!("workspace/AGENTS.md")),
    ("SOUL.md", include_str!("workspace/SOUL.md")),
    ("TOOLS.md", include_str!("workspace/TOOLS.md")),
    ("IDENTITY.md", include_str!("workspace/IDENTITY.md")),
    ("USER.md", include_str!("workspace/USER.md")),
];

/// The folder that the config gives to an agent, or its default in the state folder.
pub(crate) fn path_of(
    agent: &AgentDescription,
    config: &AgentsConfig,
    state: &StateDir,
    home: &Path,
) -> Result<PathBuf, AgentError> {
    let own =
        config.list.iter().find(|entry| entry.id == agent.id).and_then(|entry| entry.workspace.as_deref());
    let shared = if agent.default { config.defaults.workspace.as_deref() } else { None };
    let Some(text) = own.or(shared) else {
        let name = if agent.default { "workspace".to_owned() } else { format!("workspace-{}", agent.id) };
        return Ok(state.path().join(name));
    };
    let path = match text.strip_prefix("~/") {
        Some(rest) => home.join(rest),
        None if text == "~" => home.to_path_buf(),
        None => PathBuf::from(text),
    };
    if path.is_absolute() {
        Ok(path)
    } else {
        Err(AgentError::Relative { id: agent.id.clone(), path: text.into() })
    }
}

/// Opens or creates an agent's workspace.
pub(crate) fn open(
    agent: &AgentId,
    path: &Path,
    state: &StateDir,
    home: &Path,
) -> Result<Workspace, AgentError> {
    require_apart(agent, path, state)?;
    let workspace = Workspace::open_or_create(path, &[home, state.path()])
        .map_err(|source| AgentError::Open { id: agent.clone(), path: path.into(), source })?;
    // Again, by where it really is: a link above it may lead into the state folder.
    require_apart(agent, workspace.path(), state)?;
    Ok(workspace)
}

/// Refuses a workspace among the gateway's own files: its tools would reach the config and the book.
fn require_apart(agent: &AgentId, path: &Path, state: &StateDir) -> Result<(), AgentError> {
    let Ok(inside) = path.strip_prefix(state.path()) else { return Ok(()) };
    // The state folder itself is refused by the vault, with its own words.
    let Some(first) = inside.iter().next() else { return Ok(()) };
    let ours = |name: &str| name == "workspace" || name.starts_with("workspace-");
    if first.to_str().is_some_and(ours) {
        return Ok(());
    }
    Err(AgentError::Inside { id: agent.clone(), path: path.into() })
}

/// Writes the first files that are not there yet.
pub(crate) fn seed(workspace: &Workspace) -> Result<(), AgentError> {
    let files = SEEDS.map(|(name, text)| (name, text.as_bytes()));
    workspace.seed(&files).map_err(|source| AgentError::Seed { path: workspace.path().into(), source })
}

/// Why a session has no folder to work in.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FolderError {
    /// The folder of all such folders.
    #[error("cannot create the folder for this session; free disk space or correct the state folder's owner")]
    Create(#[source] FileError),
    /// The folder itself.
    #[error("cannot open the folder of this session; correct its owner and mode")]
    Open(#[source] OpenError),
}

/// The folder that a session's tools work in. Blocks on the disk.
pub(crate) fn of_session(
    state: &StateDir,
    session: &SessionKey,
    main: &Workspace,
) -> Result<Workspace, FolderError> {
    if session.is_main() {
        return Ok(main.clone());
    }
    let folder = state.folder(&format!("sandboxes/{}", slug(session))).map_err(FolderError::Create)?;
    Workspace::open_or_create(folder.path(), &[state.path()]).map_err(FolderError::Open)
}

/// A folder's name for a session: readable in front, and different for different keys.
fn slug(session: &SessionKey) -> String {
    let ordinary = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '_' | '-');
    let key = session.as_str().to_lowercase();
    let mut name: String = key.chars().take(SLUG_CHARS).map(|c| if ordinary(c) { c } else { '-' }).collect();
    name.push('-');
    for byte in Sha256::digest(session.as_str().as_bytes()).iter().take(4) {
        // Writing to a string cannot fail; an empty suffix would only make the name less telling.
        if write!(name, "{byte:02x}").is_err() {
            break;
        }
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> SessionKey {
        SessionKey::parse(text, &AgentId::main()).unwrap()
    }

    #[test]
    fn a_folder_of_a_session_is_readable_safe_and_its_own() {
        let name = slug(&key("telegram:dm:../../Ärger"));
        assert_eq!(name, format!("agent-main-telegram-dm-..-..--rg-{}", name.rsplit('-').next().unwrap()));
        assert_eq!(name.len(), 32 + 1 + 8);
        for (one, other) in [("a/b", "a:b"), (&"x".repeat(60), &"x".repeat(61))] {
            assert_ne!(slug(&key(one)), slug(&key(other)), "{one} and {other}");
        }
        assert!(!slug(&key("..")).starts_with('.'));
    }

    #[test]
    fn a_workspace_is_where_the_config_says() {
        let home = tempfile::tempdir().unwrap();
        let state = StateDir::open_or_create(&home.path().join("state")).unwrap();
        let agent =
            |id: &str, default| AgentDescription { id: AgentId::parse(id).unwrap(), default, name: None };
        let mut config = AgentsConfig::default();
        let place = |config: &AgentsConfig, agent: &AgentDescription| {
            path_of(agent, config, &state, home.path()).map_err(|error| error.to_string())
        };
        assert_eq!(place(&config, &agent("main", true)), Ok(state.path().join("workspace")));
        assert_eq!(place(&config, &agent("work", false)), Ok(state.path().join("workspace-work")));
        config.defaults.workspace = Some("~/desk".into());
        assert_eq!(place(&config, &agent("main", true)), Ok(home.path().join("desk")));
        assert_eq!(place(&config, &agent("work", false)), Ok(state.path().join("workspace-work")));
        for (name, allowed) in
            [("workspace", true), ("workspace-x/y", true), ("ledger", false), ("sandboxes/a", false)]
        {
            let path = state.path().join(name);
            assert_eq!(require_apart(&AgentId::main(), &path, &state).is_ok(), allowed, "workspace {name}");
        }
        config.defaults.workspace = Some("desk".into());
        assert!(place(&config, &agent("main", true)).unwrap_err().contains("is not absolute"));
    }
}
