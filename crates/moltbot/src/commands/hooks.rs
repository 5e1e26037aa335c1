//! `moltbot hooks …`: which programs may cause a turn, by the config as it is now.

use moltbot_gateway::hooks::{self, HookFacts};
use moltbot_protocol::method::Method;
use moltbot_protocol::scope::Scope;
use serde_json::{Value, json};

use crate::arguments::{Facts, Hooks};
use crate::client::Connection;
use crate::exit::Exit;
use crate::home::{self, Home};
use crate::{output, serve};

/// Does what the command says.
pub(crate) fn run(home: &Home, command: &Hooks) -> anyhow::Result<Exit> {
    match command {
        Hooks::List(facts) => list(home, *facts),
        Hooks::Reload(facts) => reload(home, *facts),
    }
}

/// Has the gateway that runs answer the hooks of the config as it is now.
pub(crate) fn take_up(home: &Home) -> anyhow::Result<Value> {
    serve::block_on(async {
        let mut connection = Connection::open(home, &[Scope::Admin]).await?;
        let answer = connection.ask(Method::HooksReload.name(), json!({})).await?;
        connection.close().await;
        Ok(answer)
    })
}

fn reload(home: &Home, facts: Facts) -> anyhow::Result<Exit> {
    let answer = take_up(home)?;
    if facts.json {
        output::json(&answer)?;
    } else if answer.get("enabled") == Some(&json!(true)) {
        output::line("the gateway answers the hooks of the config; what another secret let in is refused")?;
    } else {
        output::line("hooks are off; the gateway answers none")?;
    }
    Ok(Exit::Done)
}

fn list(home: &Home, facts: Facts) -> anyhow::Result<Exit> {
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
