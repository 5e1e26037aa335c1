//! `hello-ok`: what the client may call and hear, and the state at this moment.

use std::borrow::Cow;
use std::sync::Arc;

use moltbot_config::limits;
use moltbot_policy::authorization::Grant;
use moltbot_protocol::connect::{ConnectionPolicy, Features, GrantedAuth, HelloOk, ServerDescription};
use moltbot_protocol::event;
use moltbot_protocol::ids::{AgentId, SessionKey};
use moltbot_protocol::method::Method;
use moltbot_protocol::scope::Scope;
use secrecy::ExposeSecret as _;
use serde::Serialize;
use serde_json::Value;

use crate::devices::Issued;
use crate::dispatch::success;
use crate::hub::Membership;
use crate::presence;
use crate::shared::Shared;

/// What newer clients ask for before they use it: `models.list` names all models that this gateway can ask.
const CAPABILITIES: [&str; 1] = ["published-model-catalog"];

/// Whom `hello-ok` greets.
pub(super) struct Greeted<'a> {
    pub(super) protocol: u32,
    pub(super) connection_id: &'a str,
    pub(super) grant: &'a Grant,
    pub(super) membership: &'a Membership,
    /// The token that the device is given.
    pub(super) issued: Option<Issued>,
}

/// The answer to the request `id`, as text. It is written for each client that comes, without a tree of values.
pub(super) async fn frame(shared: &Arc<Shared>, id: &str, greeted: Greeted<'_>) -> String {
    let Greeted { protocol, connection_id, grant, membership, issued } = greeted;
    let (health, unseen) = (shared.health.current(shared).await, Value::Object(serde_json::Map::new()));
    let health = if grant.require(Scope::Read).is_ok() { health.value() } else { &unseen };
    let hello = HelloOk {
        kind: "hello-ok",
        protocol,
        server: ServerDescription { version: env!("CARGO_PKG_VERSION"), conn_id: connection_id },
        features: Features {
            methods: Method::ALL.iter().map(|method| method.name()).collect(),
            events: event::ALL.to_vec(),
            capabilities: &CAPABILITIES,
        },
        snapshot: snapshot(shared, grant, membership, health),
        policy: ConnectionPolicy {
            max_payload: limits::MESSAGE_BYTES,
            max_buffered_bytes: limits::BUFFERED_BYTES,
            tick_interval_ms: u64::try_from(limits::TICK.as_millis()).unwrap_or(u64::MAX),
        },
        auth: GrantedAuth {
            role: grant.role().name(),
            scopes: grant.scopes().iter().map(|scope| scope.name()).collect(),
            device_token: issued.as_ref().map(|issued| issued.token.expose_secret()),
            issued_at_ms: issued.as_ref().map(|issued| issued.at_ms),
        },
    };
    success(id, &super::to_text(&hello))
}

/// The state at this moment.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Snapshot<'a> {
    presence: Vec<Value>,
    health: &'a Value,
    state_version: StateVersion,
    uptime_ms: u64,
    session_defaults: SessionDefaults,
    #[serde(skip_serializing_if = "Option::is_none")]
    config_path: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    state_dir: Option<Cow<'a, str>>,
}

/// Nothing here is numbered.
#[derive(Default, Serialize)]
struct StateVersion {
    presence: u64,
    health: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SessionDefaults {
    default_agent_id: AgentId,
    main_key: &'static str,
    main_session_key: String,
    scope: &'static str,
}

/// Paths of this machine are for the owner alone, health for who may read.
fn snapshot<'a>(
    shared: &'a Shared,
    grant: &Grant,
    membership: &Membership,
    health: &'a Value,
) -> Snapshot<'a> {
    // The gateway and this client. All clients would be a long greeting for each; `system-presence` names them.
    let presence = || [Some(presence::own(shared)), shared.hub.presence(membership)].into_iter().flatten();
    let agent = shared.default_agent();
    let own = grant.require(Scope::Admin).is_ok();
    Snapshot {
        presence: if grant.require(Scope::Read).is_ok() { presence().collect() } else { Vec::new() },
        health,
        state_version: StateVersion::default(),
        uptime_ms: shared.uptime_ms(),
        session_defaults: SessionDefaults {
            main_session_key: SessionKey::main_of(&agent).as_str().to_owned(),
            default_agent_id: agent,
            main_key: "main",
            scope: "per-sender",
        },
        config_path: own.then(|| shared.config_path.to_string_lossy()),
        state_dir: own.then(|| shared.state.path().to_string_lossy()),
    }
}
