//! `moltbot agents …`: who answers, as the config says it.

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
    let agents = known(&home.load()?.config);
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

/// The agents of a config; the one that there is when it names none. The one that says so is asked first, else the first.
fn known(config: &Config) -> Vec<Known> {
    let (list, shared) = (&config.agents.list, &config.agents.defaults);
    let first = list.iter().position(|agent| agent.default).unwrap_or(0);
    let model = |own: Option<&ModelChoice>| match own.or(shared.model.as_ref())? {
        ModelChoice::One(model) => Some(model.clone()),
        ModelChoice::Ordered(models) => models.primary.clone(),
    };
    let mut known: Vec<Known> = list
        .iter()
        .enumerate()
        .map(|(at, agent)| Known {
            id: agent.id.clone(),
            name: agent.name.clone(),
            default: at == first,
            model: model(agent.model.as_ref()),
            workspace: agent.workspace.clone().or_else(|| (at == first).then(|| shared.workspace.clone())?),
        })
        .collect();
    if known.is_empty() {
        let (model, workspace) = (model(None), shared.workspace.clone());
        known.push(Known { id: AgentId::main(), name: None, default: true, model, workspace });
    }
    known
}

fn add(home: &Home, new: &NewAgent) -> anyhow::Result<Exit> {
    let id = AgentId::parse(&new.id).map_err(|error| Exit::Usage.because(error))?;
    if new.workspace.as_ref().is_some_and(|folder| !folder.starts_with(['/', '~'])) {
        return Err(Exit::Usage.because("a workspace is named by its whole path, such as ~/work"));
    }
    let config = home.load()?.config;
    if known(&config).iter().any(|agent| agent.id == id) {
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
    let (id, at) = place(home, &identity.id)?;
    let Some(at) = at else {
        let main = json!([{"id": id.as_str(), "default": true, "name": identity.name}]);
        change::settings(home, &[(LIST.to_owned(), Some(main))], "agents set-identity")?;
        return told(identity.json, "changed", &id, "");
    };
    let name = Some(Value::String(identity.name.clone()));
    change::settings(home, &[(format!("{LIST}[{at}].name"), name)], "agents set-identity")?;
    told(identity.json, "changed", &id, "")
}

fn delete(home: &Home, id: &str, as_json: bool) -> anyhow::Result<Exit> {
    let (id, at) = place(home, id)?;
    let config = home.load()?.config;
    let is_asked_first = known(&config).iter().any(|agent| agent.id == id && agent.default);
    let Some(at) = at.filter(|_| !is_asked_first) else {
        let why =
            format!("{id} is the agent that is asked when none is named; make another one the default first");
        return Err(Exit::Failed.because(why));
    };
    change::settings(home, &[(format!("{LIST}[{at}]"), None)], "agents delete")?;
    told(as_json, "deleted", &id, "; its workspace and its conversations stay")
}

/// An agent that there is, and where it stands in the list; nowhere when the config names none.
fn place(home: &Home, id: &str) -> anyhow::Result<(AgentId, Option<usize>)> {
    let id = AgentId::parse(id).map_err(|error| Exit::Usage.because(error))?;
    let config = home.load()?.config;
    let at = config.agents.list.iter().position(|agent| agent.id == id);
    if at.is_none() && !known(&config).iter().any(|agent| agent.id == id) {
        return Err(Exit::Failed.because(format!("there is no agent {id}; `moltbot agents list` has them")));
    }
    Ok((id, at))
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
