//! `moltbot agents …`: who answers, as the config says it.

use moltbot_agent::AgentDescription;
use moltbot_config::Config;
use moltbot_config::settings::{Binding, BindingMatch, BindingPeer, ModelChoice, PeerKind};
use moltbot_protocol::ids::AgentId;
use serde::Serialize;
use serde_json::{Value, json};

use crate::arguments::{AgentIdentity, AgentList, Agents, NewAgent};
use crate::change;
use crate::exit::Exit;
use crate::home::Home;
use crate::output::{self, harmless};

/// Where the agents stand.
const LIST: &str = "agents.list";
/// Where it stands what they answer.
const BINDINGS: &str = "bindings";
/// What is left to do after each change.
const RESTART: &str =
    "the gateway that runs knows it after a restart: `moltbot gateway stop`, `moltbot up --detach`";

/// Does what the command says.
pub(super) fn run(home: &Home, command: Agents) -> anyhow::Result<Exit> {
    match command {
        Agents::List(how) => list(home, how),
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
    /// What is bound to it, when that is asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    bindings: Option<Vec<String>>,
}

fn list(home: &Home, how: AgentList) -> anyhow::Result<Exit> {
    let config = home.load()?.config;
    let mut agents = known(&config)?;
    for agent in agents.iter_mut().filter(|_| how.bindings) {
        let own = config.bindings.iter().filter(|binding| binding.agent_id == agent.id);
        agent.bindings = Some(own.map(|binding| bound(&binding.matches)).collect());
    }
    if how.json {
        output::json(&json!({ "agents": agents }))?;
        return Ok(Exit::Done);
    }
    for Known { id, name, default, model, workspace, bindings } in agents {
        let parts = [
            name,
            model.map(|model| format!("model {model}")),
            workspace.map(|folder| format!("workspace {folder}")),
            default.then(|| "default".to_owned()),
        ];
        let told: String = parts.into_iter().flatten().map(|part| format!("  {}", harmless(&part))).collect();
        output::line(&format!("{id}{told}"))?;
        for binding in bindings.into_iter().flatten() {
            output::line(&format!("  answers {}", harmless(&binding)))?;
        }
    }
    Ok(Exit::Done)
}

/// What a binding is for, in words: `telegram`, `telegram:work peer=dm:7`.
fn bound(matches: &BindingMatch) -> String {
    let mut told = matches.channel.clone();
    if let Some(account) = &matches.account_id {
        told.push_str(&format!(":{account}"));
    }
    if let Some(BindingPeer { id, kind }) = &matches.peer {
        let kind = match kind {
            PeerKind::Channel => "channel",
            PeerKind::Dm => "dm",
            PeerKind::Group => "group",
        };
        told.push_str(&format!(" peer={kind}:{}", id.text()));
    }
    for (name, id) in [("guild", &matches.guild_id), ("team", &matches.team_id)] {
        told.push_str(&id.as_ref().map_or_else(String::new, |id| format!(" {name}={id}")));
    }
    told
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
        Known { id, name, default, model, workspace, bindings: None }
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
    changes.extend(bind(&config, &id, &new.bind)?);
    change::settings(home, &changes, "agents add")?;
    told(new.json, "added", &id, "")
}

/// The bindings that an agent gets besides those that there are.
fn bind(config: &Config, id: &AgentId, places: &[String]) -> anyhow::Result<Vec<(String, Option<Value>)>> {
    let mut entries = Vec::new();
    let mut seen: Vec<(String, String)> = Vec::new();
    for place in places {
        let (channel, account) = match place.split_once(':') {
            None => (place.as_str(), None),
            Some((channel, account)) => (channel, Some(account)),
        };
        if channel.trim().is_empty() || account.is_some_and(|account| account.trim().is_empty()) {
            let why = format!(
                "--bind {place:?} names no channel and account; write it as telegram or telegram:work"
            );
            return Err(Exit::Usage.because(why));
        }
        let means = (channel.to_ascii_lowercase(), account.unwrap_or("default").to_owned());
        let is_same = |other: &&Binding| {
            let of = &other.matches;
            let is_whole = of.peer.is_none() && of.guild_id.is_none() && of.team_id.is_none();
            is_whole && (of.channel.to_ascii_lowercase(), of.account().to_owned()) == means
        };
        if let Some(other) = config.bindings.iter().find(is_same) {
            let agent = &other.agent_id;
            return Err(Exit::Failed.because(format!("{place} is bound to the agent {agent} already")));
        }
        if !seen.contains(&means) {
            let mut matches = json!({"channel": means.0});
            if let (Some(account), Some(members)) = (account, matches.as_object_mut()) {
                members.insert("accountId".to_owned(), json!(account));
            }
            entries.push(json!({"agentId": id.as_str(), "match": matches}));
            seen.push(means);
        }
    }
    let at = config.bindings.len();
    if at == 0 {
        let whole = (!entries.is_empty()).then(|| (BINDINGS.to_owned(), Some(json!(entries))));
        return Ok(whole.into_iter().collect());
    }
    let entries = entries.into_iter().enumerate();
    Ok(entries
        .map(|(more, entry)| (format!("{BINDINGS}[{}]", at.saturating_add(more)), Some(entry)))
        .collect())
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
    // From the last on: what goes moves those behind it.
    let config = home.load()?.config;
    let bindings = config.bindings.iter().enumerate().rev().filter(|(_, binding)| binding.agent_id == id);
    let mut changes: Vec<(String, Option<Value>)> =
        bindings.map(|(index, _)| (format!("{BINDINGS}[{index}]"), None)).collect();
    let more = match changes.len() {
        0 => "; its workspace and its conversations stay".to_owned(),
        count => format!(
            " and answers nothing any more ({count} bindings); its workspace and its conversations stay"
        ),
    };
    changes.push((format!("{LIST}[{at}]"), None));
    change::settings(home, &changes, "agents delete")?;
    told(as_json, "deleted", &id, &more)
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
