//! `channels.status` and `commands.list`: by which ways messages come in, and which words in them are commands.

use moltbot_channels::webchat;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{Call, Outcome};
use crate::shared::Shared;

/// Parameters of `channels.status`. Nothing has to be probed: what is told here is what works at this moment.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct StatusParams {
    #[serde(default, rename = "probe")]
    _probe: Option<bool>,
    #[serde(default, rename = "timeoutMs")]
    _timeout_ms: Option<u64>,
    /// Only this channel.
    #[serde(default)]
    channel: Option<String>,
}

/// Parameters of `commands.list`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct CommandsParams {
    #[serde(default)]
    agent_id: Option<String>,
    #[serde(default, rename = "sessionKey")]
    _session_key: Option<String>,
    #[serde(default, rename = "provider")]
    _provider: Option<String>,
    /// `text`, `native` or both: only commands in texts exist.
    #[serde(default)]
    scope: Option<String>,
    #[serde(default, rename = "includeArgs")]
    _include_args: Option<bool>,
}

/// The gateway's own clients, and the chat networks of the config.
pub(super) fn status(shared: &Shared, call: &Call) -> Outcome {
    let params: StatusParams = call.params()?;
    let own = json!({
        "channel": webchat::CHANNEL, "accountId": "default", "enabled": true, "configured": true, "running": true,
        "connected": true,
    });
    let mut told = Channels::default();
    for account in std::iter::once(own).chain(shared.channels.status()) {
        let name = account.get("channel").and_then(Value::as_str).unwrap_or_default().to_owned();
        if params.channel.as_ref().is_none_or(|wanted| *wanted == name) {
            told.add(name, account);
        }
    }
    let Channels { order, labels, details, states, accounts, defaults } = told;
    Ok(json!({
        "ts": shared.now_ms(),
        "channelOrder": order,
        "channelLabels": labels,
        "channelDetailLabels": details,
        "channelSystemImages": {},
        "channelMeta": [],
        "channels": states,
        "channelAccounts": accounts,
        "channelDefaultAccountId": defaults,
    }))
}

/// What is told of channels, each table by their names.
#[derive(Default)]
struct Channels {
    order: Vec<String>,
    labels: Map<String, Value>,
    details: Map<String, Value>,
    states: Map<String, Value>,
    accounts: Map<String, Value>,
    defaults: Map<String, Value>,
}

impl Channels {
    fn add(&mut self, name: String, account: Value) {
        if let Some(Value::Array(accounts)) = self.accounts.get_mut(&name) {
            return accounts.push(account);
        }
        let (label, detail) = match name.as_str() {
            webchat::CHANNEL => ("WebChat", "the gateway's own clients"),
            other => (other, other),
        };
        self.labels.insert(name.clone(), json!(label));
        self.details.insert(name.clone(), json!(detail));
        self.states.insert(name.clone(), json!({"configured": true, "running": account.get("running")}));
        self.defaults.insert(name.clone(), account.get("accountId").cloned().unwrap_or_default());
        self.accounts.insert(name.clone(), json!([account]));
        self.order.push(name);
    }
}

/// The words that are no message for the agent.
pub(super) fn commands(shared: &Shared, call: &Call) -> Outcome {
    let params: CommandsParams = call.params()?;
    if let Some(agent) = &params.agent_id {
        super::agent_named(shared, agent)?;
    }
    let command = |name: &str, description: &str, takes_words: bool| {
        json!({
            "name": name, "textAliases": [format!("/{name}")], "description": description, "source": "native",
            "scope": "text", "acceptsArgs": takes_words,
        })
    };
    let commands = match params.scope.as_deref() {
        Some("native") => json!([]),
        Some(_) | None => json!([
            command("allowance", "Says what you used today and what you may.", false),
            command(
                "approve",
                "Answers whether a command may run: /approve <id> allow-once|allow-session|allow-always|deny.",
                true
            ),
            command("release", "Lets a session go on that is in quarantine: /release <session>.", true),
            command("stop", "Stops what the agent is doing in this session.", false),
        ]),
    };
    Ok(json!({ "commands": commands }))
}
