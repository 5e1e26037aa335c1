//! The agents of an installation: who they are, where they work, and which models they may ask.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use moltbot_config::settings::{AgentConfig, AgentDefaults};
use moltbot_config::{Config, limits};
use moltbot_ledger::Ledger;
use moltbot_policy::cause::Cause;
use moltbot_policy::incident::Incident;
use moltbot_policy::redact::Redactor;
use moltbot_protocol::ids::{AgentId, RunId, SessionKey};
use moltbot_protocol::message::{Message, Part};
use moltbot_protocol::principal::Principal;
use moltbot_sandbox::Sandbox;
use moltbot_store::{PendingTurn, Store, StoreError};
use moltbot_vault::{FileError, OpenError, StateDir, Workspace};
use thiserror::Error;
use tokio_util::sync::CancellationToken;

use crate::approvals::Approvals;
use crate::control::{Control, PassedOver};
use crate::model::{Answer, ModelError, Models, Prompt};
use crate::processes::{Processes, Whose};
use crate::report::{NotAllowed, Responding, TurnEvent, TurnReport};
use crate::status::StatusSource;
use crate::tools::RulesSource;
use crate::{turn, workspace};

/// Everything that takes turns. Cheap to clone.
#[derive(Clone)]
pub struct Agent {
    parts: Arc<Inside>,
}

/// What an [`Agent`] is made of.
pub struct Parts {
    /// The settings.
    pub config: Arc<Config>,
    /// The models that may be asked.
    pub models: Models,
    /// Where transcripts are.
    pub store: Store,
    /// The book.
    pub ledger: Ledger,
    /// Where commands run.
    pub sandbox: Sandbox,
    /// The state folder, in which sessions other than the main ones get folders of their own.
    pub state: StateDir,
    /// Who asks the owner about commands; without it there is nobody to ask.
    pub approvals: Option<Arc<dyn Approvals>>,
    /// The owner's home, which `~` in a workspace stands for and which may not itself be a workspace.
    pub home: PathBuf,
    /// What knows the secrets that must not leave for a chat.
    pub redactor: Redactor,
}

/// One agent, as `agents.list` shows it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AgentDescription {
    /// Its id.
    pub id: AgentId,
    /// Whether messages that name no agent go to it.
    pub default: bool,
    /// The name that people see.
    pub name: Option<String>,
}

/// Why the agents could not be set up.
#[derive(Debug, Error)]
#[expect(missing_docs, reason = "each message names its fields")]
#[non_exhaustive]
pub enum AgentError {
    /// Two entries of `agents.list` have the same id.
    #[error("agents.list has two agents with the id {id}; give each an id of its own")]
    Duplicate { id: AgentId },
    /// A workspace's folder is among the gateway's own files.
    #[error(
        "the workspace {path} of agent {id} is among the gateway's own files; use `workspace`, a name that begins with `workspace-`, or a folder elsewhere"
    )]
    Inside { id: AgentId, path: PathBuf },
    /// A workspace's folder cannot be opened.
    #[error("cannot open the workspace {path} of agent {id}; name another folder in the config")]
    Open { id: AgentId, path: PathBuf, source: OpenError },
    /// A workspace's path is not absolute.
    #[error("the workspace {path:?} of agent {id} is not absolute; begin it with `/` or `~/`")]
    Relative { id: AgentId, path: String },
    /// A first file could not be written.
    #[error("cannot write the first files of the workspace {path}; free disk space or correct its owner")]
    Seed { path: PathBuf, source: FileError },
}

/// What all clones share.
pub(crate) struct Inside {
    pub(crate) config: Arc<Config>,
    pub(crate) models: Models,
    pub(crate) store: Store,
    pub(crate) ledger: Ledger,
    pub(crate) sandbox: Sandbox,
    pub(crate) state: StateDir,
    pub(crate) approvals: Option<Arc<dyn Approvals>>,
    pub(crate) home: PathBuf,
    pub(crate) redactor: Redactor,
    pub(crate) rules: RulesSource,
    pub(crate) processes: Processes,
    agents: Vec<AgentDescription>,
    workspaces: BTreeMap<AgentId, Workspace>,
}

impl Agent {
    /// Opens each agent's workspace, creating and seeding it when it is new. Reaches no network and probes
    /// nothing.
    ///
    /// # Errors
    /// When two agents share an id, or a workspace cannot be opened or seeded.
    pub fn new(parts: Parts) -> Result<Self, AgentError> {
        let Parts { config, models, store, ledger, sandbox, state, approvals, home, redactor } = parts;
        let agents = describe(&config.agents.list)?;
        let mut workspaces = BTreeMap::new();
        for agent in &agents {
            let path = workspace::path_of(agent, &config.agents, &state, &home)?;
            let folder = workspace::open(&agent.id, &path, &state, &home)?;
            if !config.agents.defaults.skip_bootstrap {
                workspace::seed(&folder)?;
            }
            workspaces.insert(agent.id.clone(), folder);
        }
        let rules = RulesSource::of(state.clone());
        let inside = Inside {
            config,
            models,
            store,
            ledger,
            sandbox,
            state,
            approvals,
            home,
            redactor,
            rules,
            processes: Processes::default(),
            agents,
            workspaces,
        };
        Ok(Self { parts: Arc::new(inside) })
    }

    pub(crate) fn inside(&self) -> Arc<Inside> {
        Arc::clone(&self.parts)
    }

    /// The agents, in the order of the config.
    pub fn agents(&self) -> Vec<AgentDescription> {
        self.parts.agents.clone()
    }

    /// The models that may be asked.
    pub fn models(&self) -> &Models {
        &self.parts.models
    }

    /// What holds for every agent that does not say otherwise.
    pub fn defaults(&self) -> &AgentDefaults {
        &self.parts.config.agents.defaults
    }

    /// What the agent is to look for by itself: its `HEARTBEAT.md`, when there is one. Blocks on the disk.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn heartbeat_file(&self, agent: &AgentId) -> Result<Option<String>, FileError> {
        let Some(workspace) = self.parts.workspace_of(agent) else { return Ok(None) };
        workspace.read_text("HEARTBEAT.md", limits::TOOL_FILE_BYTES)
    }

    /// A cause of its owner's in a conversation, with the tools that the config leaves him there.
    pub fn cause_of_owner(&self, session: SessionKey, run: RunId) -> Cause {
        Cause::of(&self.parts.config, session, run, Principal::Owner)
    }

    /// What is set of a session, what it used, and the walls around it: a line for each.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn session_status(&self, session: &SessionKey) -> Result<String, StoreError> {
        self.parts.status().tell(session, None).await
    }

    /// Takes one accepted message to its reply, or to the sentence that says why there is none; either end
    /// is in the store before this returns. `watcher` sees what happens as it happens and must not block.
    /// `allowance` is asked before each question to a model, with the tokens and the millionths of a dollar that the turn
    /// used so far. `responder` is told of an incident that puts the session into quarantine, and waited for before the turn
    /// ends. `control` is how the turn is stopped, and how it hears of messages that it is to take in before its next step.
    /// `clock` gives milliseconds since the epoch.
    pub async fn take_turn(
        &self,
        turn: PendingTurn,
        watcher: &(dyn Fn(TurnEvent<'_>) + Send + Sync),
        allowance: &(dyn Fn(u64, u64) -> Result<(), NotAllowed> + Send + Sync),
        responder: &(dyn Fn(Incident) -> Responding + Send + Sync),
        control: impl Into<Control>,
        clock: &(dyn Fn() -> u64 + Send + Sync),
    ) -> TurnReport {
        turn::take(&self.parts, turn, watcher, allowance, responder, control.into(), clock).await
    }

    /// Ends the commands that turns of a session left in the background. Waits for nothing.
    pub fn end_commands_of(&self, session: &SessionKey) {
        self.parts.processes.end(Whose::Session(session));
    }

    /// The same for those that a person caused.
    pub fn end_commands_by(&self, principal: &Principal) {
        self.parts.processes.end(Whose::Principal(principal));
    }

    /// The same for all.
    pub fn end_commands(&self) {
        self.parts.processes.end(Whose::Everybody);
    }

    /// Ends all commands and waits until that is in the book.
    pub async fn close(&self) {
        self.parts.processes.close().await;
    }

    /// Ends a turn that gets no answer of its own. What it says stays in the transcript.
    pub async fn pass_over(&self, turn: PendingTurn, why: PassedOver, now_ms: u64) -> TurnReport {
        turn::pass_over(&self.parts, turn, why, now_ms).await
    }

    /// Asks a model for one word, to see that it answers. `name` is `provider/model`; the default agent's
    /// model when absent, and those to try after it.
    ///
    /// # Errors
    /// When no model is configured, or it does not answer.
    pub async fn test_model(&self, name: Option<&str>) -> Result<Answer, ModelError> {
        let conversation = match name {
            Some(name) => self.parts.models.named(name)?.open("owner").await?,
            None => self.parts.models.route(&self.parts.default_agent(), None)?.open("owner").await?,
        };
        let content = vec![Part::text("Answer with the word: ready")];
        let question = Message::User { content, timestamp: 0, principal: Principal::Owner };
        let prompt = Prompt {
            system: "This is a test of the connection. Answer in one word.".into(),
            messages: vec![question],
            max_tokens: Some(64),
            ..Prompt::default()
        };
        conversation.ask(&prompt, &mut |_| {}, &CancellationToken::new()).await
    }
}

impl Inside {
    /// What is known of sessions.
    pub(crate) fn status(&self) -> StatusSource {
        StatusSource { config: self.config.clone(), models: self.models.clone(), store: self.store.clone() }
    }

    /// The workspace of an agent; `None` when there is no such agent.
    pub(crate) fn workspace_of(&self, agent: &AgentId) -> Option<&Workspace> {
        self.workspaces.get(agent)
    }

    /// The agent that messages without one go to.
    fn default_agent(&self) -> AgentId {
        let default = self.agents.iter().find(|agent| agent.default);
        default.map_or_else(AgentId::main, |agent| agent.id.clone())
    }

    /// The name that people see of an agent, when it has one.
    pub(crate) fn name_of(&self, agent: &AgentId) -> Option<&str> {
        self.agents.iter().find(|entry| entry.id == *agent).and_then(|entry| entry.name.as_deref())
    }

    /// The agents' ids for a sentence.
    pub(crate) fn agent_names(&self) -> String {
        self.agents.iter().map(|agent| agent.id.as_str()).collect::<Vec<_>>().join(", ")
    }
}

/// The agents of the config: one named `main` when it lists none; exactly one is the default, the first
/// that says so, else the first.
///
/// # Errors
/// When two share an id.
pub fn describe(list: &[AgentConfig]) -> Result<Vec<AgentDescription>, AgentError> {
    if list.is_empty() {
        return Ok(vec![AgentDescription { id: AgentId::main(), default: true, name: None }]);
    }
    let default = list.iter().position(|agent| agent.default).unwrap_or(0);
    let mut agents: Vec<AgentDescription> = Vec::with_capacity(list.len());
    for (index, agent) in list.iter().enumerate() {
        if agents.iter().any(|earlier| earlier.id == agent.id) {
            return Err(AgentError::Duplicate { id: agent.id.clone() });
        }
        let (id, name) = (agent.id.clone(), agent.name.clone());
        agents.push(AgentDescription { id, default: index == default, name });
    }
    Ok(agents)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agent(id: &str, default: bool) -> AgentConfig {
        AgentConfig {
            id: AgentId::parse(id).unwrap(),
            default,
            name: None,
            workspace: None,
            model: None,
            heartbeat: None,
            outbound: None,
            sandbox: None,
            tools: moltbot_config::settings::AgentToolsConfig::default(),
        }
    }

    #[test]
    fn exactly_one_agent_is_the_default() {
        for (list, expected) in [
            (vec![], "main*"),
            (vec![agent("a", false), agent("b", false)], "a* b"),
            (vec![agent("a", false), agent("b", true), agent("c", true)], "a b* c"),
        ] {
            let agents = describe(&list).unwrap();
            let shown: Vec<String> =
                agents.iter().map(|a| format!("{}{}", a.id, if a.default { "*" } else { "" })).collect();
            assert_eq!(shown.join(" "), expected);
        }
    }

    #[test]
    fn two_agents_with_one_id_are_refused() {
        assert!(matches!(
            describe(&[agent("a", false), agent("a", true)]),
            Err(AgentError::Duplicate { .. })
        ));
    }
}
