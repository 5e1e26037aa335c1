//! Who is connected, for whoever may read: what each client says of itself, and what it was let in as.

use std::net::IpAddr;

use moltbot_policy::authorization::Grant;
use moltbot_protocol::connect::ClientDescription;
use serde_json::{Value, json};

use crate::shared::Shared;

/// Characters of what a client says of itself: more is no description.
const CHARS: usize = 80;

/// One connected client, as text: it is kept for as long as the connection is open.
#[derive(Debug)]
pub(crate) struct Presence(Box<str>);

impl Presence {
    /// The entry of a client that signs in at this moment.
    pub(crate) fn of(client: &ClientDescription, grant: &Grant, now_ms: u64) -> Self {
        let named = client.display_name.as_deref().unwrap_or(&client.id);
        let mut entry = json!({
            "host": shown(named),
            "ip": address(grant.client()),
            "version": shown(&client.version),
            "platform": shown(&client.platform),
            "mode": shown(&client.mode),
            "reason": "connect",
            "roles": [grant.role().name()],
            "scopes": grant.scopes().iter().map(|scope| scope.name()).collect::<Vec<_>>(),
            "ts": now_ms,
        });
        let optional = [
            ("deviceFamily", client.device_family.as_deref()),
            ("deviceId", grant.device()),
            ("instanceId", client.instance_id.as_deref()),
            ("modelIdentifier", client.model_identifier.as_deref()),
        ];
        if let Some(members) = entry.as_object_mut() {
            for (name, value) in optional {
                if let Some(value) = value {
                    members.insert(name.into(), json!(shown(value)));
                }
            }
        }
        Self(entry.to_string().into())
    }

    #[cfg(test)]
    pub(crate) fn nobody() -> Self {
        Self("{}".into())
    }

    /// The entry as a value.
    pub(crate) fn value(&self) -> Value {
        serde_json::from_str(&self.0).unwrap_or_default()
    }
}

/// The gateway's own entry, which stands first.
pub(crate) fn own(shared: &Shared) -> Value {
    let version = env!("CARGO_PKG_VERSION");
    json!({
        "host": shown(&shared.host),
        "version": version,
        "platform": std::env::consts::OS,
        "mode": "gateway",
        "reason": "self",
        "text": format!("Gateway: moltbot {version}"),
        "ts": shared.now_ms(),
    })
}

/// A client's words without what moves a terminal's cursor, and no longer than a line.
fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(CHARS).collect()
}

fn address(client: IpAddr) -> String {
    client.to_canonical().to_string()
}
