//! Layer 4, sandbox isolation: which folder a session's tools work in, and what they may do there.
//!
//! The main session is the owner's. Whoever speaks in another one may be a stranger, so that session is shut off from the
//! owner's files unless the config says otherwise. Pure: the agent opens the folder that is named here.

use moltbot_config::settings::{AgentsConfig, SandboxMode, SandboxScope, SandboxWorkspace};
use moltbot_protocol::ids::SessionKey;

use crate::profile::WorkspaceAccess;
use crate::record::{Decision, Entry, Permit};

/// What a session's tools see.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Surroundings {
    /// Which folder.
    pub place: Place,
    /// What they may do there.
    pub access: WorkspaceAccess,
    /// Why, for the owner: the setting that decided, and its value.
    pub because: &'static str,
}

/// Which folder a session's tools work in.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Place {
    /// The agent's workspace, with the owner's files.
    Agent,
    /// A folder of its own, which all sessions with this name share.
    Own(String),
}

/// Where a session of an agent works. A key that is not exactly the main session's is another session's.
pub fn surroundings(config: &AgentsConfig, session: &SessionKey) -> Surroundings {
    let sandbox = config.sandbox_of(&session.agent());
    let whole = |because| Surroundings { place: Place::Agent, access: WorkspaceAccess::ReadWrite, because };
    match sandbox.mode {
        SandboxMode::Off => return whole("sandbox.mode is \"off\": every session has the agent's workspace"),
        SandboxMode::NonMain if session.is_main() => {
            return whole("it is the agent's main session, and sandbox.mode is \"non-main\"");
        }
        SandboxMode::All | SandboxMode::NonMain => {}
    }
    match sandbox.workspace_access {
        SandboxWorkspace::None => Surroundings {
            place: Place::Own(shared_by(sandbox.scope, session)),
            access: WorkspaceAccess::ReadWrite,
            because: "sandbox.workspaceAccess is \"none\": it has a folder of its own",
        },
        SandboxWorkspace::Ro => Surroundings {
            place: Place::Agent,
            access: WorkspaceAccess::ReadOnly,
            because: "sandbox.workspaceAccess is \"ro\": it reads the agent's workspace",
        },
        SandboxWorkspace::Rw => whole("sandbox.workspaceAccess is \"rw\": it has the agent's workspace"),
    }
}

/// Proof that the folder of sessions that are shut off may be removed: the owner asked for it.
#[derive(Debug)]
#[must_use = "a permit that is dropped removes nothing"]
pub struct FolderPermit {
    name: String,
    actor: String,
}

/// What the removal of such a folder is called in the book.
const REMOVE: &str = "sandbox.remove";

impl FolderPermit {
    /// For the owner. `name` is the folder's in `sandboxes`.
    pub fn for_owner(name: impl Into<String>, actor: impl Into<String>) -> Self {
        Self { name: name.into(), actor: actor.into() }
    }

    /// The folder's name.
    pub fn into_name(self) -> String {
        self.name
    }
}

impl Permit for FolderPermit {
    fn entry(&self) -> Entry {
        Entry::new(self.actor.clone(), REMOVE, self.name.clone(), Decision::Allowed)
    }
}

/// The entry of such a permit on the owner's command line, which asks a gateway to write it.
pub(crate) fn relayed(action: &str, target: &str, actor: &str) -> Option<Entry> {
    let entry = || FolderPermit::for_owner(target, actor).entry().with("relayed", "yes");
    (action == REMOVE).then(entry)
}

/// The name that sessions share which share a folder.
fn shared_by(scope: SandboxScope, session: &SessionKey) -> String {
    match scope {
        SandboxScope::Agent => format!("agent:{}", session.agent()),
        SandboxScope::Session => session.as_str().to_owned(),
        SandboxScope::Shared => "shared".into(),
    }
}

#[cfg(test)]
mod tests {
    use moltbot_protocol::ids::AgentId;

    use super::*;

    fn see(
        sandbox: (SandboxMode, SandboxScope, SandboxWorkspace),
        session: &str,
    ) -> (String, WorkspaceAccess) {
        let mut config = AgentsConfig::default();
        let all = &mut config.defaults.sandbox;
        (all.mode, all.scope, all.workspace_access) = sandbox;
        let session = SessionKey::parse(session, &AgentId::main()).unwrap();
        let Surroundings { place, access, .. } = surroundings(&config, &session);
        let place = match place {
            Place::Agent => "agent".into(),
            Place::Own(name) => name,
        };
        (place, access)
    }

    #[test]
    fn d_98_only_the_main_session_has_the_owners_files_and_an_odd_key_is_none() {
        use SandboxMode::{All, NonMain, Off};
        use SandboxScope::{Agent, Session, Shared};
        use SandboxWorkspace::{None, Ro, Rw};
        use WorkspaceAccess::{ReadOnly, ReadWrite};
        for (sandbox, session, place, access) in [
            ((NonMain, Session, None), "main", "agent", ReadWrite),
            ((NonMain, Session, None), "agent:main:main", "agent", ReadWrite),
            ((NonMain, Session, None), "agent:main:main:", "agent:main:main:", ReadWrite),
            ((NonMain, Session, None), "agent:main:main2", "agent:main:main2", ReadWrite),
            ((NonMain, Session, None), "telegram:dm:7", "agent:main:telegram:dm:7", ReadWrite),
            ((NonMain, Session, None), "global", "agent:main:global", ReadWrite),
            ((NonMain, Agent, None), "telegram:dm:7", "agent:main", ReadWrite),
            ((NonMain, Shared, None), "telegram:dm:7", "shared", ReadWrite),
            ((NonMain, Session, Ro), "telegram:dm:7", "agent", ReadOnly),
            ((NonMain, Session, Rw), "telegram:dm:7", "agent", ReadWrite),
            ((NonMain, Session, Ro), "main", "agent", ReadWrite),
            ((All, Session, None), "main", "agent:main:main", ReadWrite),
            ((All, Session, Ro), "main", "agent", ReadOnly),
            ((Off, Session, None), "telegram:dm:7", "agent", ReadWrite),
        ] {
            assert_eq!(see(sandbox, session), (place.into(), access), "{sandbox:?} {session}");
        }
    }
}
