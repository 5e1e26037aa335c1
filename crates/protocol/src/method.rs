//! The methods of the gateway, and the scope that each needs.

use crate::scope::Scope;

/// A method that an open connection may call. `connect` is not among them: it belongs to the handshake.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Method {
    /// Runs a turn and answers twice: accepted, then the result.
    Agent,
    /// What an agent is called.
    AgentIdentityGet,
    /// Waits for a run.
    AgentWait,
    /// Lists agents.
    AgentsList,
    /// What each used today, and what he may use.
    AllowanceList,
    /// Forgets what somebody used today.
    AllowanceReset,
    /// Lets somebody use other limits than the config's.
    AllowanceSet,
    /// The chat channels and how they are.
    ChannelsStatus,
    /// Aborts runs of a session.
    ChatAbort,
    /// The messages of a session.
    ChatHistory,
    /// Adds a message to a conversation, as if the agent had said it.
    ChatInject,
    /// Sends a message to the agent.
    ChatSend,
    /// Ends sessions of clients.
    ClientsKill,
    /// Lists who is signed in.
    ClientsList,
    /// Reads the gateway's own credential from the config anew, and ends what another one opened.
    ClientsReload,
    /// The words in a message that are commands.
    CommandsList,
    /// Replaces the settings of the config's file, and tells what counts already.
    ConfigApply,
    /// The configuration, without its secrets; without [`Scope::Admin`] only that there is one.
    ConfigGet,
    /// Merges a patch into the config's file, and tells what counts already.
    ConfigPatch,
    /// The JSON Schema of a config.
    ConfigSchema,
    /// Replaces the settings of the config's file.
    ConfigSet,
    /// The jobs that run at set times.
    CronList,
    /// Whether jobs run at set times.
    CronStatus,
    /// Approves a device that waits.
    DevicePairApprove,
    /// Lists devices that wait and devices that are paired.
    DevicePairList,
    /// Refuses a device that waits.
    DevicePairReject,
    /// Ends a device's approval and its connections.
    DeviceTokenRevoke,
    /// Gives a device another token; the old one is none any more.
    DeviceTokenRotate,
    /// The commands that wait for a yes.
    ExecApprovalList,
    /// Asks about a command of a client, and waits for the answer.
    ExecApprovalRequest,
    /// Answers whether a command may run.
    ExecApprovalResolve,
    /// What the owner keeps about commands.
    ExecApprovalsGet,
    /// Replaces what the owner keeps about commands.
    ExecApprovalsSet,
    /// Whether the gateway and its parts work.
    Health,
    /// Answers the hooks of the config as it is now.
    HooksReload,
    /// The last time the agent looked around by itself.
    LastHeartbeat,
    /// Writes into the book what the owner's command line is about to do to config or secrets.
    LedgerRelay,
    /// The end of the gateway's log.
    LogsTail,
    /// Lists models.
    ModelsList,
    /// Asks providers which models they have.
    ModelsScan,
    /// Asks a model for one word, to see whether it answers.
    ModelsTest,
    /// One node.
    NodeDescribe,
    /// What happened at a node.
    NodeEvent,
    /// Has a node do one of its commands.
    NodeInvoke,
    /// What came of a command, as its node says.
    NodeInvokeResult,
    /// The nodes.
    NodeList,
    /// Approves a node that waits.
    NodePairApprove,
    /// Lists nodes that wait and nodes that are paired.
    NodePairList,
    /// Refuses a node that waits.
    NodePairReject,
    /// The request of a node that waits: a node asks by connecting.
    NodePairRequest,
    /// Whether a token is a node's.
    NodePairVerify,
    /// Gives a node another name.
    NodeRename,
    /// Lets a person in who asked on a channel.
    PairingApprove,
    /// Lists who asks to be let in, and who was decided about.
    PairingList,
    /// Says no to a person who asks on a channel.
    PairingReject,
    /// Ends a person's approval.
    PairingRevoke,
    /// Acts of plugins that wait for a person's yes.
    PluginApprovalList,
    /// Questions of the agent that wait for a person.
    QuestionList,
    /// Shuts a person out, whatever a list says.
    SendersBlock,
    /// Lists who asks to be let in, and who was decided about.
    SendersList,
    /// Ends a block.
    SendersUnblock,
    /// Shortens the transcript of a session.
    SessionsCompact,
    /// Deletes a session and its transcript.
    SessionsDelete,
    /// One session.
    SessionsDescribe,
    /// Adds a conversation that was had elsewhere.
    SessionsImport,
    /// Lists sessions.
    SessionsList,
    /// Changes what is kept of a session besides its transcript.
    SessionsPatch,
    /// The last messages of several sessions.
    SessionsPreview,
    /// Lets a session go on that is in quarantine.
    SessionsRelease,
    /// Starts a session anew under the same key.
    SessionsReset,
    /// The key of a session, by its key, id or label.
    SessionsResolve,
    /// Asks to be told when sessions change.
    SessionsSubscribe,
    /// Whether the agent looks by itself whether there is something to do.
    SetHeartbeats,
    /// The programs that skills need.
    SkillsBins,
    /// The skills and whether they can be used.
    SkillsStatus,
    /// What runs, since when, with what.
    Status,
    /// Tells the agent something when it looks around next.
    SystemEvent,
    /// The gateway and the clients that are connected.
    SystemPresence,
    /// Tasks that the agent suggests.
    TaskSuggestionsList,
    /// Whether replies are spoken.
    TtsStatus,
    /// Lets turns begin again after [`Self::TurnsStop`].
    TurnsResume,
    /// Ends every turn and every process of every sandbox, and lets none begin.
    TurnsStop,
    /// What the turns of the last days used.
    UsageCost,
    /// What providers say of the owner's allowance with them.
    UsageStatus,
    /// The words that wake a listening device.
    VoicewakeGet,
    /// Has the agent look around, now or when it would anyway.
    Wake,
}

impl Method {
    /// Every method, in the order of their names.
    pub const ALL: &[Self] = &[
        Self::Agent,
        Self::AgentIdentityGet,
        Self::AgentWait,
        Self::AgentsList,
        Self::AllowanceList,
        Self::AllowanceReset,
        Self::AllowanceSet,
        Self::ChannelsStatus,
        Self::ChatAbort,
        Self::ChatHistory,
        Self::ChatInject,
        Self::ChatSend,
        Self::ClientsKill,
        Self::ClientsList,
        Self::ClientsReload,
        Self::CommandsList,
        Self::ConfigApply,
        Self::ConfigGet,
        Self::ConfigPatch,
        Self::ConfigSchema,
        Self::ConfigSet,
        Self::CronList,
        Self::CronStatus,
        Self::DevicePairApprove,
        Self::DevicePairList,
        Self::DevicePairReject,
        Self::DeviceTokenRevoke,
        Self::DeviceTokenRotate,
        Self::ExecApprovalList,
        Self::ExecApprovalRequest,
        Self::ExecApprovalResolve,
        Self::ExecApprovalsGet,
        Self::ExecApprovalsSet,
        Self::Health,
        Self::HooksReload,
        Self::LastHeartbeat,
        Self::LedgerRelay,
        Self::LogsTail,
        Self::ModelsList,
        Self::ModelsScan,
        Self::ModelsTest,
        Self::NodeDescribe,
        Self::NodeEvent,
        Self::NodeInvoke,
        Self::NodeInvokeResult,
        Self::NodeList,
        Self::NodePairApprove,
        Self::NodePairList,
        Self::NodePairReject,
        Self::NodePairRequest,
        Self::NodePairVerify,
        Self::NodeRename,
        Self::PairingApprove,
        Self::PairingList,
        Self::PairingReject,
        Self::PairingRevoke,
        Self::PluginApprovalList,
        Self::QuestionList,
        Self::SendersBlock,
        Self::SendersList,
        Self::SendersUnblock,
        Self::SessionsCompact,
        Self::SessionsDelete,
        Self::SessionsDescribe,
        Self::SessionsImport,
        Self::SessionsList,
        Self::SessionsPatch,
        Self::SessionsPreview,
        Self::SessionsRelease,
        Self::SessionsReset,
        Self::SessionsResolve,
        Self::SessionsSubscribe,
        Self::SetHeartbeats,
        Self::SkillsBins,
        Self::SkillsStatus,
        Self::Status,
        Self::SystemEvent,
        Self::SystemPresence,
        Self::TaskSuggestionsList,
        Self::TtsStatus,
        Self::TurnsResume,
        Self::TurnsStop,
        Self::UsageCost,
        Self::UsageStatus,
        Self::VoicewakeGet,
        Self::Wake,
    ];

    /// The name on the wire.
    #[expect(clippy::too_many_lines, reason = "a table that is only a table")]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::AgentIdentityGet => "agent.identity.get",
            Self::AgentWait => "agent.wait",
            Self::AgentsList => "agents.list",
            Self::AllowanceList => "allowance.list",
            Self::AllowanceReset => "allowance.reset",
            Self::AllowanceSet => "allowance.set",
            Self::ChannelsStatus => "channels.status",
            Self::ChatAbort => "chat.abort",
            Self::ChatHistory => "chat.history",
            Self::ChatInject => "chat.inject",
            Self::ChatSend => "chat.send",
            Self::ClientsKill => "clients.kill",
            Self::ClientsList => "clients.list",
            Self::ClientsReload => "clients.reload",
            Self::CommandsList => "commands.list",
            Self::ConfigApply => "config.apply",
            Self::ConfigGet => "config.get",
            Self::ConfigPatch => "config.patch",
            Self::ConfigSchema => "config.schema",
            Self::ConfigSet => "config.set",
            Self::CronList => "cron.list",
            Self::CronStatus => "cron.status",
            Self::DevicePairApprove => "device.pair.approve",
            Self::DevicePairList => "device.pair.list",
            Self::DevicePairReject => "device.pair.reject",
            Self::DeviceTokenRevoke => "device.token.revoke",
            Self::DeviceTokenRotate => "device.token.rotate",
            Self::ExecApprovalList => "exec.approval.list",
            Self::ExecApprovalRequest => "exec.approval.request",
            Self::ExecApprovalResolve => "exec.approval.resolve",
            Self::ExecApprovalsGet => "exec.approvals.get",
            Self::ExecApprovalsSet => "exec.approvals.set",
            Self::Health => "health",
            Self::HooksReload => "hooks.reload",
            Self::LastHeartbeat => "last-heartbeat",
            Self::LedgerRelay => "ledger.relay",
            Self::LogsTail => "logs.tail",
            Self::ModelsList => "models.list",
            Self::ModelsScan => "models.scan",
            Self::ModelsTest => "models.test",
            Self::NodeDescribe => "node.describe",
            Self::NodeEvent => "node.event",
            Self::NodeInvoke => "node.invoke",
            Self::NodeInvokeResult => "node.invoke.result",
            Self::NodeList => "node.list",
            Self::NodePairApprove => "node.pair.approve",
            Self::NodePairList => "node.pair.list",
            Self::NodePairReject => "node.pair.reject",
            Self::NodePairRequest => "node.pair.request",
            Self::NodePairVerify => "node.pair.verify",
            Self::NodeRename => "node.rename",
            Self::PairingApprove => "pairing.approve",
            Self::PairingList => "pairing.list",
            Self::PairingReject => "pairing.reject",
            Self::PairingRevoke => "pairing.revoke",
            Self::PluginApprovalList => "plugin.approval.list",
            Self::QuestionList => "question.list",
            Self::SendersBlock => "senders.block",
            Self::SendersList => "senders.list",
            Self::SendersUnblock => "senders.unblock",
            Self::SessionsCompact => "sessions.compact",
            Self::SessionsDelete => "sessions.delete",
            Self::SessionsDescribe => "sessions.describe",
            Self::SessionsImport => "sessions.import",
            Self::SessionsList => "sessions.list",
            Self::SessionsPatch => "sessions.patch",
            Self::SessionsPreview => "sessions.preview",
            Self::SessionsRelease => "sessions.release",
            Self::SessionsReset => "sessions.reset",
            Self::SessionsResolve => "sessions.resolve",
            Self::SessionsSubscribe => "sessions.subscribe",
            Self::SetHeartbeats => "set-heartbeats",
            Self::SkillsBins => "skills.bins",
            Self::SkillsStatus => "skills.status",
            Self::Status => "status",
            Self::SystemEvent => "system-event",
            Self::SystemPresence => "system-presence",
            Self::TaskSuggestionsList => "taskSuggestions.list",
            Self::TtsStatus => "tts.status",
            Self::TurnsResume => "turns.resume",
            Self::TurnsStop => "turns.stop",
            Self::UsageCost => "usage.cost",
            Self::UsageStatus => "usage.status",
            Self::VoicewakeGet => "voicewake.get",
            Self::Wake => "wake",
        }
    }

    /// The method of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|method| method.name() == name)
    }

    /// The scope a client needs. A new method does not compile until someone decides who may call it.
    #[expect(clippy::too_many_lines, reason = "a table that is only a table")]
    pub const fn scope(self) -> Scope {
        match self {
            Self::AllowanceReset
            | Self::AllowanceSet
            | Self::ChatInject
            | Self::ClientsReload
            | Self::ConfigApply
            | Self::ConfigPatch
            | Self::ConfigSchema
            | Self::ConfigSet
            | Self::ExecApprovalsGet
            | Self::ExecApprovalsSet
            | Self::HooksReload
            | Self::LedgerRelay
            | Self::ModelsScan
            | Self::ModelsTest
            | Self::SessionsCompact
            | Self::SessionsDelete
            | Self::SessionsImport
            | Self::SessionsPatch
            | Self::SessionsRelease
            | Self::SessionsReset
            | Self::SetHeartbeats
            | Self::SystemEvent
            | Self::TurnsResume => Scope::Admin,
            Self::ExecApprovalList
            | Self::ExecApprovalRequest
            | Self::ExecApprovalResolve
            | Self::PluginApprovalList
            | Self::QuestionList => Scope::Approvals,
            Self::NodeEvent | Self::NodeInvokeResult | Self::SkillsBins => Scope::Node,
            Self::AllowanceList
            | Self::ClientsKill
            | Self::ClientsList
            | Self::DevicePairApprove
            | Self::DevicePairList
            | Self::DevicePairReject
            | Self::DeviceTokenRevoke
            | Self::DeviceTokenRotate
            | Self::NodePairApprove
            | Self::NodePairList
            | Self::NodePairReject
            | Self::NodePairRequest
            | Self::NodePairVerify
            | Self::NodeRename
            | Self::PairingApprove
            | Self::PairingList
            | Self::PairingReject
            | Self::PairingRevoke
            | Self::SendersBlock
            | Self::SendersList
            | Self::SendersUnblock => Scope::Pairing,
            Self::AgentIdentityGet
            | Self::AgentsList
            | Self::ChannelsStatus
            | Self::ChatHistory
            | Self::CommandsList
            | Self::ConfigGet
            | Self::CronList
            | Self::CronStatus
            | Self::Health
            | Self::LastHeartbeat
            | Self::LogsTail
            | Self::ModelsList
            | Self::NodeDescribe
            | Self::NodeList
            | Self::SessionsDescribe
            | Self::SessionsList
            | Self::SessionsPreview
            | Self::SessionsResolve
            | Self::SessionsSubscribe
            | Self::SkillsStatus
            | Self::Status
            | Self::SystemPresence
            | Self::TaskSuggestionsList
            | Self::TtsStatus
            | Self::UsageCost
            | Self::UsageStatus
            | Self::VoicewakeGet => Scope::Read,
            Self::Agent
            | Self::AgentWait
            | Self::ChatAbort
            | Self::ChatSend
            | Self::NodeInvoke
            | Self::TurnsStop
            | Self::Wake => Scope::Write,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::as_conversions, reason = "the number of a variant has no other name")]
    fn every_method_is_in_the_list_once_in_the_order_of_names() {
        let names: Vec<&str> = Method::ALL.iter().map(|method| method.name()).collect();
        assert!(names.is_sorted_by(|one, next| one < next), "{names:?}");
        // The last variant counts them: each is in the list because none is in it twice.
        let last = Method::ALL.iter().max().copied();
        assert_eq!(last, Some(Method::Wake), "a variant after it needs a place in the list");
        assert_eq!(Method::ALL.len(), Method::Wake as usize + 1);
        for method in Method::ALL {
            assert_eq!(Method::parse(method.name()), Some(*method));
        }
    }
}
