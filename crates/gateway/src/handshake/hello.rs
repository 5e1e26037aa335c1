//! `hello-ok`: what the client may call and hear, and the state at this moment.

use std::sync::Arc;

use moltbot_config::limits;
use moltbot_policy::authorization::Grant;
use moltbot_protocol::connect::{ConnectionPolicy, Features, GrantedAuth, HelloOk, ServerDescription};
use moltbot_protocol::event;
use moltbot_protocol::ids::SessionKey;
use moltbot_protocol::method::Method;
use moltbot_protocol::scope::Scope;
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};

use crate::devices::Issued;
use crate::hub::Membership;
use crate::presence;
use crate::shared::Shared;

/// What newer clients ask for before they use it: `models.list` names all models that this gateway can ask.
const CAPABILITIES: [&str; 1] = ["published-model-catalog"];

/// The payload of `hello-ok`.
pub(super) async fn payload(
    shared: &Arc<Shared>,
    protocol: u32,
    connection_id: &str,
    grant: &Grant,
    membership: &Membership,
    issued: Option<Issued>,
) -> Value {
    let hello = HelloOk {
        kind: "hello-ok",
        protocol,
        server: ServerDescription {
            version: env!("CARGO_PKG_VERSION").into(),
            conn_id: connection_id.into(),
        },
        features: Features {
            methods: Method::ALL.iter().map(|method| method.name()).collect(),
            events: event::ALL.to_vec(),
            capabilities: &CAPABILITIES,
        },
        snapshot: snapshot(shared, grant, membership).await,
        policy: ConnectionPolicy {
            max_payload: limits::MESSAGE_BYTES,
            max_buffered_bytes: limits::BUFFERED_BYTES,
            tick_interval_ms: u64::try_from(limits::TICK.as_millis()).unwrap_or(u64::MAX),
        },
        auth: GrantedAuth {
            role: grant.role().name(),
            scopes: grant.scopes().iter().map(|scope| scope.name()).collect(),
        },
    };
    let mut hello = serde_json::to_value(hello).unwrap_or_default();
    if let (Some(issued), Some(auth)) = (issued, hello.get_mut("auth").and_then(Value::as_object_mut)) {
        auth.insert("deviceToken".into(), json!(issued.token.expose_secret()));
        auth.insert("issuedAtMs".into(), json!(issued.at_ms));
    }
    hello
}

/// The state at this moment. Paths of this machine are for the owner alone, health for who may read.
async fn snapshot(shared: &Arc<Shared>, grant: &Grant, membership: &Membership) -> Value {
    let agent = shared.default_agent();
    let mut snapshot = json!({
        "presence": [],
        "health": {},
        "stateVersion": {"presence": 0, "health": 0},
        "uptimeMs": shared.uptime_ms(),
        "sessionDefaults": {
            "defaultAgentId": agent.as_str(),
            "mainKey": "main",
            "mainSessionKey": SessionKey::main_of(&agent).as_str(),
            "scope": "per-sender",
        },
    });
    let mut add = |name: &str, value: Value| {
        if let Some(members) = snapshot.as_object_mut() {
            members.insert(name.into(), value);
        }
    };
    if grant.require(Scope::Read).is_ok() {
        add("health", shared.health.current(shared).await.value().clone());
        // The gateway and this client. All clients would be a long greeting for each; `system-presence` names them.
        let own = shared.hub.presence(membership);
        add("presence", [Some(presence::own(shared)), own].into_iter().flatten().collect());
    }
    if grant.require(Scope::Admin).is_ok() {
        add("configPath", json!(shared.config_path.to_string_lossy()));
        add("stateDir", json!(shared.state.path().to_string_lossy()));
    }
    snapshot
}
