//! `moltbot agents …`: who answers, as the config says it.

use moltbot_agent::AgentDescription;
use moltbot_config::Config;
use moltbot_config::settings::ModelChoice;
use moltbot_protocol::ids::AgentId;
use serde::Serialize;
use serde_json::{Value, json};

use crate::arguments::{AgentIdentity, Agents, Facts, NewAgent};
use crate::change;
use crate::exit::Exit;
use crate::home::Home;
use crate::output::{self, harmless};

/// Where the agents stand.
const LIST: &str = "agents.list";
/// What is left to do after each change.
const RESTART: &str =
    "the gateway that runs knows it after a restart: `moltbot gateway stop`, `moltbot up --detach`";

/// Does what the command says.
pub(super) fn run(home: &Home, command: Agents) -> anyhow::Result<Exit> {
    match command {
        Agents::List(facts) => list(home, facts),
        Agents::Add(agent) => add(home, &agent),
        Agents::SetIdentity(identity) => set_identity(home, &identity),
        Agents::Delete(agent) => delete(home, &agent.id, agent.json),
    }
}

/// An agent, as it is told.
#[derive(Serialize)]
struct Known {
    id: AgentId,
    name: Option<String>,
    /// Whether messages that name no agent go to it.
    default: bool,
    model: Option<String>,
    workspace: Option<String>,
}

fn list(home: &Home, facts: Facts) -> anyhow::Result<Exit> {
    let agents = known(&home.load()?.config)?;
    if facts.json {
        output::json(&json!({ "agents": agents }))?;
        return Ok(Exit::Done);
    }
    for Known { id, name, default, model, workspace } in agents {
        let parts = [
            name,
            model.map(|model| format!("model {model}")),
            workspace.map(|folder| format!("workspace {folder}")),
            default.then(|| "default".to_owned()),
        ];
        let told: String = parts.into_iter().flatten().map(|part| format!("  {}", harmless(&part))).collect();
        output::line(&format!("{id}{told}"))?;
    }
    Ok(Exit::Done)
}

/// The agents of a config, as the gateway knows them.
fn known(config: &Config) -> anyhow::Result<Vec<Known>> {
    let (list, shared) = (&config.agents.list, &config.agents.defaults);
    let agents = moltbot_agent::describe(list).map_err(|error| Exit::Config.because(error))?;
    let known = agents.into_iter().map(|AgentDescription { id, default, name }| {
        let own = list.iter().find(|agent| agent.id == id);
        let model = own.and_then(|own| own.model.as_ref()).or(shared.model.as_ref());
        let model = model.and_then(ModelChoice::primary).map(str::to_owned);
        let shared = shared.workspace.as_ref().filter(|_| default);
        let workspace = own.and_then(|own| own.workspace.as_ref()).or(shared).cloned();
        Known { id, name, default, model, workspace }
    });
    Ok(known.collect())
}

fn add(home: &Home, new: &NewAgent) -> anyhow::Result<Exit> {
    let id = AgentId::parse(&new.id).map_err(|error| Exit::Usage.because(error))?;
    if new.workspace.as_ref().is_some_and(|folder| !folder.starts_with(['/', '~'])) {
        return Err(Exit::Usage.because("a workspace is named by its whole path, such as ~/work"));
    }
    let config = home.load()?.config;
    if known(&config)?.iter().any(|agent| agent.id == id) {
        return Err(Exit::Failed.because(format!("there is an agent {id} already")));
    }
    let mut changes = Vec::new();
    let mut at = config.agents.list.len();
    if at == 0 {
        // The one that was there without being named stays, and stays the one that is asked first.
        let main = json!({"id": AgentId::main().as_str(), "default": true});
        changes.push((LIST.to_owned(), Some(json!([main]))));
        at = 1;
    }
    let mut entry = json!({"id": id.as_str()});
    for (name, value) in [("name", &new.name), ("workspace", &new.workspace), ("model", &new.model)] {
        if let (Some(value), Some(members)) = (value, entry.as_object_mut()) {
            members.insert(name.to_owned(), Value::String(value.clone()));
        }
    }
    changes.push((format!("{LIST}[{at}]"), Some(entry)));
    change::settings(home, &changes, "agents add")?;
    told(new.json, "added", &id, "")
}

fn set_identity(home: &Home, identity: &AgentIdentity) -> anyhow::Result<Exit> {
    let (agent, at) = place(home, &identity.id)?;
    let (place, value) = match at {
        Some(at) => (format!("{LIST}[{at}].name"), json!(identity.name)),
        None => (LIST.to_owned(), json!([{"id": agent.id.as_str(), "default": true, "name": identity.name}])),
    };
    change::settings(home, &[(place, Some(value))], "agents set-identity")?;
    told(identity.json, "changed", &agent.id, "")
}

fn delete(home: &Home, id: &str, as_json: bool) -> anyhow::Result<Exit> {
    let (Known { id, default, .. }, at) = place(home, id)?;
    let Some(at) = at.filter(|_| !default) else {
        let why =
            format!("{id} is the agent that is asked when none is named; make another one the default first");
        return Err(Exit::Failed.because(why));
    };
    change::settings(home, &[(format!("{LIST}[{at}]"), None)], "agents delete")?;
    told(as_json, "deleted", &id, "; its workspace and its conversations stay")
}

/// An agent that there is, and where it stands in the list; nowhere when the config names none.
fn place(home: &Home, id: &str) -> anyhow::Result<(Known, Option<usize>)> {
    let id = AgentId::parse(id).map_err(|error| Exit::Usage.because(error))?;
    let config = home.load()?.config;
    let missing = || Exit::Failed.because(format!("there is no agent {id}; `moltbot agents list` has them"));
    let found = known(&config)?.into_iter().find(|agent| agent.id == id).ok_or_else(missing)?;
    Ok((found, config.agents.list.iter().position(|agent| agent.id == id)))
}

fn told(as_json: bool, what: &str, id: &AgentId, more: &str) -> anyhow::Result<Exit> {
    if as_json {
        output::json(&json!({ "ok": true, "id": id.as_str() }))?;
    } else {
        output::line(&format!("{id} is {what}{more}"))?;
        output::note(RESTART);
    }
    Ok(Exit::Done)
}
