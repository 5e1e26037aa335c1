//! `moltbot hooks …`: which programs may cause a turn, by the config as it is now.

use moltbot_gateway::hooks::{self, HookFacts};
use serde_json::json;

use crate::arguments::Hooks;
use crate::exit::Exit;
use crate::home::{self, Home};
use crate::output;

/// Does what the command says.
pub(crate) fn run(home: &Home, command: &Hooks) -> anyhow::Result<Exit> {
    let Hooks::List(facts) = command;
    let config = home.load_text(&home.text()?)?.config;
    let list = hooks::list(&config).map_err(|error| Exit::Config.because(home::chain(&error)))?;
    if facts.json {
        output::json(&json!({"enabled": config.hooks.enabled, "hooks": list}))?;
        return Ok(Exit::Done);
    }
    if list.is_empty() {
        output::line("hooks are off; `hooks.enabled` in the config turns them on")?;
    }
    for hook in &list {
        output::line(&described(hook))?;
    }
    Ok(Exit::Done)
}

fn described(hook: &HookFacts) -> String {
    let HookFacts { name, path, source, action, key, agents, session, tools } = hook;
    let source = source.as_ref().map(|source| format!(" of source {source:?}")).unwrap_or_default();
    let tools = if tools.is_empty() { "no tools".to_owned() } else { format!("tools {}", tools.join(" ")) };
    let (agents, action) = (agents.join(" "), *action);
    format!("{name}  POST {path}{source}  {action} by {key}; agent {agents}, session {session}, {tools}")
}
