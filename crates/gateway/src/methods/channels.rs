//! `channels.status` and `commands.list`: by which ways messages come in, and which words in them are commands.

use moltbot_channels::webchat;
use serde::Deserialize;
use serde_json::{Value, json};

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

/// The one channel that there is: the gateway's own clients.
pub(super) fn status(shared: &Shared, call: &Call) -> Outcome {
    let params: StatusParams = call.params()?;
    let name = webchat::CHANNEL;
    let wanted = params.channel.as_deref().is_none_or(|channel| channel == name);
    let of = |value: Value| if wanted { json!({ name: value }) } else { json!({}) };
    let state = json!({"configured": true, "running": true});
    let account = json!([{
        "accountId": "default", "enabled": true, "configured": true, "running": true, "connected": true,
    }]);
    let order: &[&str] = if wanted { &[name] } else { &[] };
    Ok(json!({
        "ts": shared.now_ms(),
        "channelOrder": order,
        "channelLabels": of(json!("WebChat")),
        "channelDetailLabels": of(json!("the gateway's own clients")),
        "channelSystemImages": {},
        "channelMeta": [],
        "channels": of(state),
        "channelAccounts": of(account),
        "channelDefaultAccountId": of(json!("default")),
    }))
}

/// The words that are no message for the agent.
pub(super) fn commands(shared: &Shared, call: &Call) -> Outcome {
    let params: CommandsParams = call.params()?;
    if let Some(agent) = &params.agent_id {
        super::agent_named(shared, agent)?;
    }
    let stop = json!({
        "name": "stop",
        "textAliases": ["/stop"],
        "description": "Stops what the agent is doing in this session.",
        "source": "native",
        "scope": "text",
        "acceptsArgs": false,
    });
    let commands = if params.scope.as_deref() == Some("native") { json!([]) } else { json!([stop]) };
    Ok(json!({ "commands": commands }))
}
