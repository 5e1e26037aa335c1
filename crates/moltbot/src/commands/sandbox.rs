//! `moltbot sandbox …`: the walls around sessions, and the folders of those that are shut off.

use moltbot_config::Config;
use moltbot_config::settings::{HostPattern, OutboundHost, SandboxBackend, SandboxNetwork};
use moltbot_policy::cause::Cause;
use moltbot_policy::profile::{Profile, WorkspaceAccess, missing_walls};
use moltbot_policy::surroundings::{FolderPermit, Place, Surroundings, surroundings};
use moltbot_posture::{self as posture, Check};
use moltbot_protocol::ids::{AgentId, RunId, SessionKey};
use moltbot_protocol::principal::Principal;
use moltbot_vault::{SessionFolder, remove_session_folder, session_folder_name, session_folders};
use serde_json::{Value, json};

use crate::arguments::{Explain, Facts, Recreate, Sandbox};
use crate::book::{CommandBook, OWNER};
use crate::commands::{doctor, image};
use crate::exit::Exit;
use crate::home::{self, Home};
use crate::serve::block_on;
use crate::{clock, output};

/// Does what the command says.
pub(crate) fn run(home: &Home, command: &Sandbox) -> anyhow::Result<Exit> {
    match command {
        Sandbox::Containers(options) => image::containers(home, options),
        Sandbox::Doctor(facts) => doctor::sandbox(home, *facts),
        Sandbox::Explain(asked) => explain(home, asked),
        Sandbox::Image(command) => image::run(home, command),
        Sandbox::List(facts) => list(home, *facts),
        Sandbox::Prune(facts) => {
            let config = home.load_text(&home.text()?)?.config;
            let days = u64::from(config.agents.defaults.sandbox.prune.max_age_days);
            let before = clock::now_ms().saturating_sub(days.saturating_mul(86_400_000));
            remove(home, |folder| folder.used_ms < before, facts.json)
        }
        Sandbox::Recreate(Recreate { folder: Some(name), json: as_json, .. }) => {
            if !session_folders(&home.state)
                .map_err(|error| home::failed(&error))?
                .iter()
                .any(|one| one.name == *name)
            {
                let message =
                    format!("there is no folder {name}; `moltbot sandbox list` shows those that there are");
                return Err(Exit::Failed.because(std::io::Error::other(message)));
            }
            remove(home, |folder| folder.name == *name, *as_json)
        }
        Sandbox::Recreate(Recreate { json: as_json, .. }) => remove(home, |_| true, *as_json),
    }
}

fn list(home: &Home, facts: Facts) -> anyhow::Result<Exit> {
    let folders = session_folders(&home.state).map_err(|error| home::failed(&error))?;
    if facts.json {
        let rows: Vec<Value> =
            folders.iter().map(|folder| json!({"name": folder.name, "usedMs": folder.used_ms})).collect();
        output::json(&json!({"folders": rows}))?;
        return Ok(Exit::Done);
    }
    if folders.is_empty() {
        output::line("no session has a folder of its own yet")?;
    }
    for folder in folders {
        output::line(&format!("{}  used {}", folder.name, clock::readable(folder.used_ms)))?;
    }
    Ok(Exit::Done)
}

fn remove(home: &Home, is_meant: impl Fn(&SessionFolder) -> bool, as_json: bool) -> anyhow::Result<Exit> {
    let folders = session_folders(&home.state).map_err(|error| home::failed(&error))?;
    let names: Vec<String> = folders.into_iter().filter(is_meant).map(|folder| folder.name).collect();
    if !names.is_empty() {
        let book = CommandBook::open(home)?;
        for name in &names {
            let permit = book.record(FolderPermit::for_owner(name.as_str(), OWNER))?;
            remove_session_folder(&home.state, permit).map_err(|error| home::failed(&error))?;
        }
        book.close();
    }
    if as_json {
        output::json(&json!({"removed": names}))?;
    } else {
        output::line(&format!("folders removed: {}", names.len()))?;
    }
    Ok(Exit::Done)
}

/// Everything that is said of a session's walls.
struct Explained {
    session: SessionKey,
    place: String,
    access: &'static str,
    because: &'static str,
    tools: Vec<&'static str>,
    network: String,
    profile: Profile,
    missing: &'static [&'static str],
    /// What is known of the container engine, where commands run in its containers.
    engine: Vec<Check>,
}

fn explain(home: &Home, asked: &Explain) -> anyhow::Result<Exit> {
    let config = home.load_text(&home.text()?)?.config;
    let agents = &config.agents.list;
    let default = agents.iter().find(|agent| agent.default).or(agents.first());
    let default = default.map_or_else(AgentId::main, |agent| agent.id.clone());
    let session = SessionKey::parse(&asked.session, &default).map_err(|error| Exit::Failed.because(error))?;
    let engine = engine(home, &config, &session);
    let told = look(&config, session, engine)?;
    if asked.json {
        output::json(&in_json(&config, &told))?
    } else {
        print(&config, &told)?
    }
    Ok(Exit::Done)
}

/// Asks the engine that a session's commands run in containers of: an old one has known ways out.
fn engine(home: &Home, config: &Config, session: &SessionKey) -> Vec<Check> {
    let sandbox = config.agents.sandbox_of(&session.agent());
    if sandbox.backend != SandboxBackend::Docker {
        return Vec::new();
    }
    let versions = block_on(async { Ok(image::engine(home, &sandbox.docker).await?.versions().await?) });
    match versions {
        Ok(versions) => posture::engine(&versions.engine, versions.runc.as_deref()),
        Err(error) => vec![image::no_engine(&error)],
    }
}

fn look(config: &Config, session: SessionKey, engine: Vec<Check>) -> anyhow::Result<Explained> {
    let Surroundings { place, access, because } = surroundings(&config.agents, &session);
    let place = match place {
        Place::Agent => "the agent's workspace".to_owned(),
        Place::Own(shared_by) => format!("sandboxes/{} in the state folder", session_folder_name(&shared_by)),
    };
    let cause = Cause::of(config, session.clone(), RunId::parse("explain")?, Principal::Owner);
    let tools = cause.tools().iter().map(|tool| tool.name()).collect();
    let network = match config.agents.sandbox_of(&session.agent()).network {
        SandboxNetwork::None => "none".to_owned(),
        SandboxNetwork::Proxy => reached(&config.agents.outbound_of(&session.agent()).allow),
    };
    let access = match access {
        WorkspaceAccess::None => "none",
        WorkspaceAccess::ReadOnly => "read",
        WorkspaceAccess::ReadWrite => "read and write",
    };
    let profile = Profile::for_exec(config, None);
    let missing = missing_walls(config.agents.sandbox_of(&session.agent()).backend);
    Ok(Explained { session, place, access, because, tools, network, profile, missing, engine })
}

fn reached(hosts: &[OutboundHost]) -> String {
    if hosts.is_empty() {
        return "a proxy, and no host that it may reach".into();
    }
    let named = hosts.iter().map(|OutboundHost { pattern, port }| match pattern {
        HostPattern::Address(address) => format!("{address} port {port}"),
        HostPattern::Below(name) => format!("*.{name}:{port}"),
        HostPattern::Name(name) => format!("{name}:{port}"),
    });
    format!("by a proxy to {}", named.collect::<Vec<_>>().join(", "))
}

fn in_json(config: &Config, told: &Explained) -> Value {
    let Explained { session, place, access, because, tools, network, profile, missing, engine } = told;
    json!({
        "session": session.as_str(),
        "main": session.is_main(),
        "backend": backend(config, session),
        "missing": missing,
        "engine": engine,
        "folder": place,
        "access": access,
        "because": because,
        "toolsOfOwner": tools,
        "network": network,
        "limits": {
            "processes": profile.processes,
            "memoryBytes": profile.memory,
            "timeoutSeconds": profile.timeout.as_secs(),
        },
    })
}

fn backend(config: &Config, session: &SessionKey) -> &'static str {
    config.agents.sandbox_of(&session.agent()).backend.name()
}

fn print(config: &Config, told: &Explained) -> anyhow::Result<()> {
    let Explained { session, place, access, because, tools, network, profile, missing, engine } = told;
    let mebibytes = profile.memory / (1024 * 1024);
    let limits = format!(
        "{} processes, {mebibytes} MiB of memory, {} s",
        profile.processes,
        profile.timeout.as_secs()
    );
    for (name, value) in [
        ("session", session.as_str()),
        ("walls", backend(config, session)),
        ("folder", place.as_str()),
        ("access", access),
        ("why", because),
        ("tools", &format!("{} (for the owner; others have fewer)", tools.join(" "))),
        ("network", network.as_str()),
        ("limits", limits.as_str()),
        (
            "change",
            "agents.defaults.sandbox, or sandbox of the agent in agents.list; docs/reference/sandbox.md",
        ),
    ] {
        output::line(&format!("{name:8} {value}"))?;
    }
    for wall in *missing {
        output::line(&format!("{:8} {wall}", "missing"))?;
    }
    for Check { what, fix, .. } in engine {
        let fix = fix.as_ref().map(|fix| format!("; {fix}")).unwrap_or_default();
        output::line(&format!("{:8} {what}{fix}", "engine"))?;
    }
    Ok(())
}
