//! Who caused a turn, and which tools the turn has for that.
//!
//! A turn of the owner, or of a sender that the owner paired, has every tool that the config's policies leave. A turn of a
//! hook, or of a heartbeat, has those that only read, or those that its mapping or the config names. A heartbeat that is told what
//! hooks said has what it and each of them has. Each step takes tools away and none gives any.

use moltbot_config::Config;
use moltbot_config::settings::{HeartbeatConfig, HooksConfig, ToolName};
use moltbot_protocol::ids::{AgentId, HookName, RunId, SessionKey};
use moltbot_protocol::principal::Principal;

use crate::hook;
use crate::profile::WorkspaceAccess;
use crate::record::Entry;
use crate::refusal::Refusal;
use crate::surroundings::surroundings;
use crate::tools;

/// A tool that a model may call. In alphabetical order, which is the order that the model sees.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Tool {
    /// Changes several files at once.
    ApplyPatch,
    /// Changes a part of a file.
    Edit,
    /// Runs a command.
    Exec,
    /// Looks after commands in the background.
    Process,
    /// Reads a file.
    Read,
    /// Tells what is set of the conversation, and what it used.
    SessionStatus,
    /// Writes a file.
    Write,
}

impl Tool {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::ApplyPatch,
        Self::Edit,
        Self::Exec,
        Self::Process,
        Self::Read,
        Self::SessionStatus,
        Self::Write,
    ];

    /// The name that models call.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ApplyPatch => "apply_patch",
            Self::Edit => "edit",
            Self::Exec => "exec",
            Self::Process => "process",
            Self::Read => "read",
            Self::SessionStatus => "session_status",
            Self::Write => "write",
        }
    }

    /// Whether it changes nothing: neither a file nor, by a command, anything else.
    const fn only_reads(self) -> bool {
        match self {
            Self::ApplyPatch | Self::Edit | Self::Exec | Self::Process | Self::Write => false,
            Self::Read | Self::SessionStatus => true,
        }
    }
}

impl From<ToolName> for Tool {
    fn from(name: ToolName) -> Self {
        match name {
            ToolName::ApplyPatch => Self::ApplyPatch,
            ToolName::Edit => Self::Edit,
            ToolName::Exec => Self::Exec,
            ToolName::Process => Self::Process,
            ToolName::Read => Self::Read,
            ToolName::SessionStatus => Self::SessionStatus,
            ToolName::Write => Self::Write,
        }
    }
}

/// A turn, as whoever asks for a permit has to name it: its conversation, its run, who caused it, and its tools.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Cause {
    session: SessionKey,
    run: RunId,
    principal: Principal,
    tools: Vec<Tool>,
}

impl Cause {
    /// The cause of a turn, with the tools that the config as it is now leaves it.
    pub fn of(config: &Config, session: SessionKey, run: RunId, principal: Principal) -> Self {
        let steps = tools::of_session(config, &session);
        let denied = |tool: Tool| steps.iter().any(|step| !tools::leaves(step, tool));
        let heartbeat = config.agents.heartbeat_of(&session.agent());
        let granted = |tool: Tool| match &principal {
            Principal::Heartbeat(hooks) => {
                granted_to_heartbeat(&heartbeat, tool)
                    && hooks.iter().all(|hook| granted_to_hook(&config.hooks, hook, tool))
            }
            Principal::Hook(name) => granted_to_hook(&config.hooks, name, tool),
            Principal::Owner | Principal::Sender(_) => true,
        };
        let access = surroundings(&config.agents, &session).access;
        let possible = |tool: Tool| match tool {
            Tool::ApplyPatch => config.tools.exec.apply_patch.enabled && access == WorkspaceAccess::ReadWrite,
            Tool::Edit | Tool::Write => access == WorkspaceAccess::ReadWrite,
            Tool::Exec | Tool::Read | Tool::SessionStatus => true,
            // There is nothing to look after.
            Tool::Process => !denied(Tool::Exec) && granted(Tool::Exec),
        };
        let tools = Tool::ALL
            .into_iter()
            .filter(|tool| !denied(*tool) && granted(*tool) && possible(*tool))
            .collect();
        Self { session, run, principal, tools }
    }

    /// The same where this model may be asked: with the tools that the policies for it and its provider leave. Asked for each
    /// model that a turn may come to, so that one that is asked because another failed gets no more than it may have.
    #[must_use]
    pub fn asking(mut self, config: &Config, provider: &str, model: &str) -> Self {
        let steps = tools::of_model(config, &self.session, provider, model);
        self.tools.retain(|tool| steps.iter().all(|step| tools::leaves(step, *tool)));
        if !self.tools.contains(&Tool::Exec) {
            // There is nothing to look after.
            self.tools.retain(|tool| *tool != Tool::Process);
        }
        self
    }

    /// The conversation.
    pub const fn session(&self) -> &SessionKey {
        &self.session
    }

    /// Who caused the turn.
    pub const fn principal(&self) -> &Principal {
        &self.principal
    }

    /// The agent whose turn it is.
    pub fn agent(&self) -> AgentId {
        self.session.agent()
    }

    /// The tools that the turn has.
    pub fn tools(&self) -> &[Tool] {
        &self.tools
    }

    /// Demands one of these tools.
    ///
    /// # Errors
    /// When the turn has none of them; the message names the first.
    pub fn require(&self, wanted: &[Tool]) -> Result<(), Refusal> {
        if wanted.iter().any(|tool| self.tools.contains(tool)) {
            return Ok(());
        }
        let name = wanted.first().map_or("this", |tool| tool.name());
        let message = match &self.principal {
            Principal::Heartbeat(hooks) if hooks.is_empty() => format!(
                "a heartbeat has no tool `{name}`; its owner can name it in `heartbeat.tools` of the agent, or of all agents"
            ),
            Principal::Heartbeat(hooks) => {
                let hooks = hooks.iter().map(HookName::as_str).collect::<Vec<_>>().join(", ");
                format!(
                    "a heartbeat that is told what hooks said has no tool `{name}` unless it and each of them has: {hooks}"
                )
            }
            Principal::Hook(hook) => format!(
                "a turn of the hook {hook} has no tool `{name}`; its owner can name it in `tools` of the hook's mapping"
            ),
            Principal::Owner | Principal::Sender(_) => {
                format!("this turn has no tool `{name}`: the config denies it, or its session may only read")
            }
        };
        Err(Refusal::new("tool_not_granted", message))
    }

    /// Who acts, for the book: the agent, in this run.
    pub fn actor(&self) -> String {
        format!("agent:{}", self.run)
    }

    /// Says in an entry for which conversation it is, and who caused it.
    pub fn tell(&self, entry: Entry) -> Entry {
        entry.in_session(self.session.as_str()).with("cause", self.principal.to_string())
    }
}

/// Nobody looks on when the agent looks around by itself, and what it reads then may be an attack.
fn granted_to_heartbeat(config: &HeartbeatConfig, tool: Tool) -> bool {
    match &config.tools {
        None => tool.only_reads(),
        Some(named) => named.iter().any(|one| Tool::from(*one) == tool),
    }
}

/// A hook that the config does not have any more has nothing that writes or executes.
fn granted_to_hook(config: &HooksConfig, name: &HookName, tool: Tool) -> bool {
    let mapping = config.mappings.iter().find(|mapping| hook::name_of(mapping).as_ref() == Some(name));
    match mapping.and_then(|mapping| mapping.tools.as_ref()).filter(|_| config.enabled) {
        // What a conversation costs, and within which walls it is held, is nobody's outside.
        None => tool.only_reads() && tool != Tool::SessionStatus,
        Some(named) => named.iter().any(|one| Tool::from(*one) == tool),
    }
}

#[cfg(test)]
mod tests {
    use moltbot_config::settings::HookMapping;

    use super::*;

    fn config(tools: Option<Vec<ToolName>>) -> Config {
        let mut config = Config::default();
        config.hooks.enabled = true;
        config.hooks.mappings =
            vec![HookMapping { id: Some("github".into()), tools, ..HookMapping::default() }];
        config
    }

    fn tools(config: &Config, principal: &str) -> String {
        let session = SessionKey::main_of(&AgentId::main());
        let principal = Principal::parse(principal).unwrap();
        let cause = Cause::of(config, session, RunId::parse("r").unwrap(), principal);
        cause.tools().iter().map(|tool| tool.name()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn each_step_only_takes_tools_away() {
        let plain = config(None);
        for (principal, expected) in [
            ("owner", "edit exec process read session_status write"),
            ("sender:telegram:default:user:7", "edit exec process read session_status write"),
            ("hook:github", "read"),
            ("hook:wake", "read"),
            ("hook:gone", "read"),
            ("heartbeat", "read session_status"),
            ("heartbeat+hook:github", "read"),
        ] {
            assert_eq!(tools(&plain, principal), expected, "{principal}");
        }
        let named = config(Some(vec![ToolName::Exec, ToolName::Read]));
        assert_eq!(tools(&named, "hook:github"), "exec read");
        assert_eq!(tools(&named, "hook:agent"), "read", "another hook");
        assert_eq!(tools(&config(Some(Vec::new())), "hook:github"), "");
        assert_eq!(tools(&config(Some(vec![ToolName::Process])), "hook:github"), "", "nothing to look after");
        let mut patching = config(Some(vec![ToolName::ApplyPatch]));
        assert_eq!(tools(&patching, "hook:github"), "", "it is off");
        patching.tools.exec.apply_patch.enabled = true;
        assert_eq!(tools(&patching, "hook:github"), "apply_patch");
        assert_eq!(tools(&patching, "owner"), "apply_patch edit exec process read session_status write");
        let mut granted = config(None);
        granted.agents.defaults.heartbeat.tools = Some(vec![ToolName::Exec, ToolName::Write]);
        assert_eq!(tools(&granted, "heartbeat"), "exec write");
        assert_eq!(tools(&granted, "hook:github"), "read", "what a heartbeat has no hook has");
        assert_eq!(tools(&granted, "heartbeat+hook:github"), "", "the strictest of both");
        granted.hooks.mappings = vec![HookMapping {
            id: Some("github".into()),
            tools: Some(vec![ToolName::Exec, ToolName::Read]),
            ..HookMapping::default()
        }];
        assert_eq!(tools(&granted, "heartbeat+hook:github"), "exec");
        assert_eq!(tools(&granted, "heartbeat+hook:github+hook:wake"), "", "one of them has less");
        granted.hooks.mappings.clear();
        granted.tools.deny = vec!["write".into()];
        assert_eq!(tools(&granted, "heartbeat"), "exec");
        let mut denied = named.clone();
        denied.tools.deny = vec!["exec".into()];
        assert_eq!(tools(&denied, "hook:github"), "read", "what the config denies no mapping gives");
        let mut off = named;
        off.hooks.enabled = false;
        assert_eq!(tools(&off, "hook:github"), "read");
    }

    #[test]
    fn a_tool_that_was_not_granted_is_refused_and_the_book_is_told_the_cause() {
        let session = SessionKey::main_of(&AgentId::main());
        let principal = Principal::parse("hook:github").unwrap();
        let cause = Cause::of(&config(None), session, RunId::parse("r").unwrap(), principal);
        assert_eq!(cause.require(&[Tool::Read, Tool::Edit]), Ok(()));
        assert_eq!(cause.require(&[Tool::Exec]).unwrap_err().code, "tool_not_granted");
        let entry = cause.tell(Entry::new(cause.actor(), "file.read", "a", crate::Decision::Allowed));
        assert_eq!((entry.actor.as_str(), entry.details["cause"].as_str()), ("agent:r", "hook:github"));
    }
}
