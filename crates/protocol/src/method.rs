//! The methods of the gateway, and the scope that each needs.

use crate::scope::Scope;

/// A method that an open connection may call. `connect` is not among them: it belongs to the handshake.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Method {
    /// Runs a turn and answers twice: accepted, then the result.
    Agent,
    /// Waits for a run.
    AgentWait,
    /// Lists agents.
    AgentsList,
    /// Aborts runs of a session.
    ChatAbort,
    /// The messages of a session.
    ChatHistory,
    /// Sends a message to the agent.
    ChatSend,
    /// Ends sessions of clients.
    ClientsKill,
    /// Lists who is signed in.
    ClientsList,
    /// Reads the gateway's own credential from the config anew, and ends what another one opened.
    ClientsReload,
    /// The configuration, without its secrets.
    ConfigGet,
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
    /// Whether the gateway and its parts work.
    Health,
    /// Writes into the book what the owner's command line is about to do to config or secrets.
    LedgerRelay,
    /// Lists models.
    ModelsList,
    /// Asks a model for one word, to see whether it answers.
    ModelsTest,
    /// Deletes a session and its transcript.
    SessionsDelete,
    /// Lists sessions.
    SessionsList,
    /// The last messages of several sessions.
    SessionsPreview,
    /// Starts a session anew under the same key.
    SessionsReset,
    /// What runs, since when, with what.
    Status,
}

impl Method {
    /// Every method, in the order of their names.
    pub const ALL: [Self; 24] = [
        Self::Agent,
        Self::AgentWait,
        Self::AgentsList,
        Self::ChatAbort,
        Self::ChatHistory,
        Self::ChatSend,
        Self::ClientsKill,
        Self::ClientsList,
        Self::ClientsReload,
        Self::ConfigGet,
        Self::DevicePairApprove,
        Self::DevicePairList,
        Self::DevicePairReject,
        Self::DeviceTokenRevoke,
        Self::DeviceTokenRotate,
        Self::Health,
        Self::LedgerRelay,
        Self::ModelsList,
        Self::ModelsTest,
        Self::SessionsDelete,
        Self::SessionsList,
        Self::SessionsPreview,
        Self::SessionsReset,
        Self::Status,
    ];

    /// The name on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::AgentWait => "agent.wait",
            Self::AgentsList => "agents.list",
            Self::ChatAbort => "chat.abort",
            Self::ChatHistory => "chat.history",
            Self::ChatSend => "chat.send",
            Self::ClientsKill => "clients.kill",
            Self::ClientsList => "clients.list",
            Self::ClientsReload => "clients.reload",
            Self::ConfigGet => "config.get",
            Self::DevicePairApprove => "device.pair.approve",
            Self::DevicePairList => "device.pair.list",
            Self::DevicePairReject => "device.pair.reject",
            Self::DeviceTokenRevoke => "device.token.revoke",
            Self::DeviceTokenRotate => "device.token.rotate",
            Self::Health => "health",
            Self::LedgerRelay => "ledger.relay",
            Self::ModelsList => "models.list",
            Self::ModelsTest => "models.test",
            Self::SessionsDelete => "sessions.delete",
            Self::SessionsList => "sessions.list",
            Self::SessionsPreview => "sessions.preview",
            Self::SessionsReset => "sessions.reset",
            Self::Status => "status",
        }
    }

    /// The method of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|method| method.name() == name)
    }

    /// The scope a client needs. A new method does not compile until someone decides who may call it.
    pub const fn scope(self) -> Scope {
        match self {
            Self::AgentsList
            | Self::ChatHistory
            | Self::Health
            | Self::ModelsList
            | Self::SessionsList
            | Self::SessionsPreview
            | Self::Status => Scope::Read,
            Self::Agent | Self::AgentWait | Self::ChatAbort | Self::ChatSend => Scope::Write,
            Self::ClientsKill
            | Self::ClientsList
            | Self::DevicePairApprove
            | Self::DevicePairList
            | Self::DevicePairReject
            | Self::DeviceTokenRevoke
            | Self::DeviceTokenRotate => Scope::Pairing,
            Self::ClientsReload
            | Self::ConfigGet
            | Self::LedgerRelay
            | Self::ModelsTest
            | Self::SessionsDelete
            | Self::SessionsReset => Scope::Admin,
        }
    }
}
