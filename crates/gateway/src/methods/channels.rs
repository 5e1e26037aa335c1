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

/// A command of the web chat: its names, what it does, and how it is said where words follow.
type Command = (&'static [&'static str], &'static str, Option<&'static str>);

const COMMANDS: [Command; 12] = [
    (&["allowance"], "Says what you used today and what you may.", None),
    (
        &["approve"],
        "Answers whether a command may run.",
        Some("<id> allow-once|allow-session|allow-always|deny"),
    ),
    (&["compact"], "Has older messages summarised.", Some("<what matters>")),
    (&["help", "commands"], "Tells these commands.", None),
    (&["model"], "Tells or chooses the model of this session.", Some("<provider/model>|default")),
    (&["models"], "Tells the models that may be chosen.", None),
    (
        &["queue"],
        "Sets how messages wait.",
        Some("collect|followup|steer|interrupt|default debounce:<ms> cap:<n> drop:<which>"),
    ),
    (&["release"], "Lets a session go on that is in quarantine.", Some("<session>")),
    (&["status"], "Tells what is set of this session, and what it used.", None),
    (&["stop"], "Stops what the agent is doing in this session.", None),
    (
        &["think", "thinking", "t"],
        "Tells or sets how much is thought in this session.",
        Some("off|minimal|low|medium|high|xhigh|default"),
    ),
    (
        &["verbose", "v"],
        "Tells or sets how much is told of tools in this session.",
        Some("off|on|full|default"),
    ),
];

/// The words that are no message for the agent.
pub(super) fn commands(shared: &Shared, call: &Call) -> Outcome {
    let params: CommandsParams = call.params()?;
    if let Some(agent) = &params.agent_id {
        super::agent_named(shared, agent)?;
    }
    if params.scope.as_deref() == Some("native") {
        return Ok(json!({"commands": []}));
    }
    let command = |(names, what, words): &Command| {
        let aliases: Vec<String> = names.iter().map(|name| format!("/{name}")).collect();
        let description = match words {
            Some(words) => {
                format!(
                    "{}: {} {words}.",
                    what.trim_end_matches('.'),
                    aliases.first().cloned().unwrap_or_default()
                )
            }
            None => (*what).to_owned(),
        };
        json!({
            "name": names.first(), "textAliases": aliases, "description": description, "source": "native",
            "scope": "text", "acceptsArgs": words.is_some(),
        })
    };
    let commands: Vec<Value> = COMMANDS.iter().map(command).collect();
    Ok(json!({ "commands": commands }))
}

/// The commands, for a message that asks for them.
pub(super) fn help_by_text(message: &str) -> Option<String> {
    let word = message.trim().to_ascii_lowercase();
    if !matches!(word.as_str(), "/help" | "/commands") {
        return None;
    }
    let line = |(names, what, words): &Command| {
        let names: Vec<String> = names.iter().map(|name| format!("/{name}")).collect();
        let words = words.map_or_else(String::new, |words| format!(" {words}"));
        format!("{}{words}: {what}", names.join(", "))
    };
    Some(COMMANDS.iter().map(line).collect::<Vec<_>>().join("\n"))
}
