//! Where an agent works: its workspace, and folders of their own for sessions that policy shuts off from it.

use std::path::{Path, PathBuf};

use moltbot_config::settings::AgentsConfig;
use moltbot_policy::surroundings::Place;
use moltbot_protocol::ids::AgentId;
use moltbot_vault::{SessionFolderError, StateDir, Workspace, session_folder};

use crate::agent::{AgentDescription, AgentError};

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

/// The folder that a session's tools work in. Blocks on the disk.
pub(crate) fn of_session(
    state: &StateDir,
    place: Place,
    main: &Workspace,
) -> Result<Workspace, SessionFolderError> {
    match place {
        Place::Agent => Ok(main.clone()),
        Place::Own(shared_by) => session_folder(state, &shared_by),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
