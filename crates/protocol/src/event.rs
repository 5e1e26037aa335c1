//! The names of events.

/// A run's progress in detail.
pub const AGENT: &str = "agent";
/// A run's progress as chat.
pub const CHAT: &str = "chat";
/// The config's file was changed: what counts now and what does not yet, or that it is not valid. For who may read.
pub const CONFIG_CHANGED: &str = "config.changed";
/// The first frame of every connection.
pub const CONNECT_CHALLENGE: &str = "connect.challenge";
/// A device waits for approval. For who may approve.
pub const DEVICE_PAIR_REQUESTED: &str = "device.pair.requested";
/// A device that waited was approved or refused. For who may approve.
pub const DEVICE_PAIR_RESOLVED: &str = "device.pair.resolved";
/// A command waits for a yes. For who may decide about commands.
pub const EXEC_APPROVAL_REQUESTED: &str = "exec.approval.requested";
/// A command that waited was decided about, or is not asked about any more. For who may decide about commands.
pub const EXEC_APPROVAL_RESOLVED: &str = "exec.approval.resolved";
/// The gateway's health.
pub const HEALTH: &str = "health";
/// The agent looked by itself whether there is something to do, or did not. For who may read.
pub const HEARTBEAT: &str = "heartbeat";
/// A session is in quarantine, or goes on. For who may read.
pub const SESSION_QUARANTINE: &str = "session.quarantine";
/// A session was changed by a person, or a turn of it is at its end on disk. For who asked for it with `sessions.subscribe`.
pub const SESSIONS_CHANGED: &str = "sessions.changed";
/// A command for a node. For that node alone.
pub const NODE_INVOKE_REQUEST: &str = "node.invoke.request";
/// A node waits for approval. For who may approve.
pub const NODE_PAIR_REQUESTED: &str = "node.pair.requested";
/// A node that waited was approved or refused. For who may approve.
pub const NODE_PAIR_RESOLVED: &str = "node.pair.resolved";
/// A person on a channel asks to be let in. For who may approve.
pub const PAIRING_REQUESTED: &str = "pairing.requested";
/// It was decided about a person on a channel. For who may approve.
pub const PAIRING_RESOLVED: &str = "pairing.resolved";
/// The gateway is about to stop.
pub const SHUTDOWN: &str = "shutdown";
/// Sent at a fixed interval, so that a client sees a dead connection.
pub const TICK: &str = "tick";

/// The events that a client may be sent after `hello-ok`.
pub const ALL: &[&str] = &[
    AGENT,
    CHAT,
    CONFIG_CHANGED,
    DEVICE_PAIR_REQUESTED,
    DEVICE_PAIR_RESOLVED,
    EXEC_APPROVAL_REQUESTED,
    EXEC_APPROVAL_RESOLVED,
    HEALTH,
    HEARTBEAT,
    NODE_INVOKE_REQUEST,
    NODE_PAIR_REQUESTED,
    NODE_PAIR_RESOLVED,
    PAIRING_REQUESTED,
    PAIRING_RESOLVED,
    SESSION_QUARANTINE,
    SESSIONS_CHANGED,
    SHUTDOWN,
    TICK,
];
