//! `moltbot doctor`: gathers what only the program can find out, and shows the judgements of `posture`.

mod vendors;

use moltbot_config::settings::{SandboxBackend, SandboxConfig};
use moltbot_gateway::StopFact;
use moltbot_net::gateway_client::{GatewayClient, GatewayClientError};
use moltbot_policy::container::Backend;
use moltbot_posture::audit::{EngineFact, SandboxFact};
use moltbot_posture::{self as posture, Check, Level, PortUse, SandboxTrial};
use moltbot_protocol::method::Method;
use moltbot_protocol::scope::Scope;
use moltbot_sandbox::{EngineVersions, Sandbox};
use moltbot_vault::Places;
use serde_json::{Value, json};

use crate::arguments::{DoctorOptions, Facts};
use crate::client::Connection;
use crate::commands::status::sandbox_in_a_line;
use crate::commands::{image, models, security};
use crate::environment::Environment;
use crate::exit::Exit;
use crate::home::{self, CONFIG, Home};
use crate::output::{self, Paint};
use crate::{clock, serve};

/// Checks, and says what would stop moltbot here. What can be put right is put right before, when that is wanted.
pub(crate) fn run(environment: Environment, options: &DoctorOptions) -> anyhow::Result<Exit> {
    let facts = Facts { json: options.json };
    if !options.fix {
        return tell(&checks(environment, Beyond::Asked)?, facts, "moltbot");
    }
    let fixed = security::cure(&environment)?;
    let checks = checks(environment, Beyond::Asked)?;
    let ok = posture::worst(&checks) < Level::Fail && !fixed.has_failed();
    if options.json {
        output::json(&json!({"ok": ok, "fix": fixed, "checks": checks}))?;
        return Ok(if ok { Exit::Done } else { Exit::Failed });
    }
    security::audit::print_fixed(&fixed, false)?;
    let exit = tell(&checks, facts, "moltbot")?;
    Ok(if ok { exit } else { Exit::Failed })
}

/// Whether those beyond this machine are asked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Beyond {
    Asked,
    LeftAlone,
}

/// Everything that is looked at.
pub(super) fn checks(environment: Environment, beyond: Beyond) -> anyhow::Result<Vec<Check>> {
    // Looked at before it is opened, because opening repairs it.
    let mut checks = vec![posture::state_folder(&environment.state_dir), posture::clock(clock::now_ms())];
    checks.extend(files(&environment));
    checks.extend([posture::swap(), posture::memory_lock(moltbot_vault::can_lock_memory())]);
    match Home::ensure(environment) {
        Ok(home) => checks.extend(serve::block_on(examine(&home, beyond))?),
        Err(error) => checks.push(posture::state_unusable(&format!("{error:#}"))),
    }
    Ok(checks)
}

/// Tries the walls of all agents, each kind of them once.
pub(super) fn sandbox(home: &Home, facts: Facts) -> anyhow::Result<Exit> {
    let config = home.load_text(&home.text()?)?.config;
    let mut checks = vec![posture::shut_off(&config.agents), posture::walls(&config.agents)];
    let own = config.agents.list.iter().map(|agent| config.agents.sandbox_of(&agent.id));
    let mut kinds: Vec<SandboxConfig> = Vec::new();
    for kind in std::iter::once(config.agents.defaults.sandbox.clone()).chain(own) {
        let is_same = |other: &SandboxConfig| match kind.backend {
            SandboxBackend::Docker => other.backend == kind.backend && other.docker == kind.docker,
            _ => other.backend == kind.backend,
        };
        if !kinds.iter().any(is_same) {
            kinds.push(kind);
        }
    }
    let (is_running, of_all) = (home.running()?.is_some(), config.agents.defaults.sandbox.backend);
    let checks = serve::block_on(async {
        for kind in &kinds {
            // A gateway that runs knows of its own walls alone.
            checks.extend(try_walls(home, kind, is_running && kind.backend == of_all).await);
        }
        Ok(checks)
    })?;
    tell(&checks, facts, "a command")
}

/// Prints what was found, with the verdict on what would be stopped.
fn tell(checks: &[Check], facts: Facts, subject: &str) -> anyhow::Result<Exit> {
    let ok = posture::worst(checks) < Level::Fail;
    if facts.json {
        output::json(&json!({"ok": ok, "checks": checks}))?;
    } else {
        print_rows(checks)?;
        output::line(&format!("{} would stop {subject} here", if ok { "nothing" } else { "something" }))?;
    }
    Ok(if ok { Exit::Done } else { Exit::Failed })
}

/// Tries the walls that a config asks for.
async fn try_walls(home: &Home, sandbox: &SandboxConfig, is_running: bool) -> Vec<Check> {
    match tried_here(sandbox.backend) {
        None => try_engine(home, sandbox).await,
        Some(backend) => vec![posture::sandbox(try_sandbox(home, &backend, is_running).await)],
    }
}

/// Who can get at what is kept. Nothing is repaired.
fn files(environment: &Environment) -> Vec<Check> {
    let state = environment.state_dir.as_path();
    let ours = state.join(CONFIG);
    let config = environment.config_path.as_deref().unwrap_or(&ours);
    let report = moltbot_vault::inspect(state, &Places { config, extra: &environment.credentials_folders });
    let mut checks = posture::permissions(&report, state);
    checks.push(posture::synced(state));
    checks
}

async fn examine(home: &Home, beyond: Beyond) -> anyhow::Result<Vec<Check>> {
    let mut checks = vec![posture::disk_space(home.state.fd())];
    let stopped = StopFact::read(&home.state).map_err(|error| home::failed(&error))?;
    checks.push(posture::stopped(stopped.as_ref().map(|fact| fact.by.as_str())));
    let loaded = home.try_load_text(&home.text()?)?;
    checks.push(posture::config(loaded.as_ref()));
    if loaded.is_ok() {
        let config = home.load()?.config;
        checks.push(posture::credential(&config.gateway.auth));
        checks.push(posture::network(&config.gateway));
        checks.push(posture::shut_off(&config.agents));
        checks.push(posture::walls(&config.agents));
        checks.push(match models::planned(home) {
            Ok(choice) => posture::model::check(&choice),
            Err(error) => posture::credential_files_unusable(&format!("{error:#}")),
        });
        let running = home.running()?;
        let number = running.as_ref().map_or(config.gateway.port, |running| running.port);
        let found = if running.is_some() { PortUse::Ours } else { knock(number).await };
        checks.push(posture::port(number, found));
        // Before the walls are tried, after which the book is closed.
        if beyond == Beyond::Asked {
            checks.extend(vendors::ask(home, running.is_some()).await);
        }
        let sandbox = &config.agents.defaults.sandbox;
        checks.extend(try_walls(home, sandbox, running.is_some()).await);
    }
    Ok(checks)
}

/// The backend whose walls are tried by a command of ours; none where an engine has them.
const fn tried_here(backend: SandboxBackend) -> Option<Backend> {
    match backend {
        SandboxBackend::Docker => None,
        SandboxBackend::Bwrap => Some(Backend::Bwrap),
        SandboxBackend::Embedded => Some(Backend::Embedded),
        SandboxBackend::EmbeddedWeak => Some(Backend::EmbeddedWeak),
    }
}

/// The walls around commands, for an audit: a gateway that runs is asked, and only `deep` tries them or asks the engine.
pub(super) async fn walls(
    home: &Home,
    sandbox: &SandboxConfig,
    is_running: bool,
    deep: bool,
) -> anyhow::Result<(SandboxFact, Option<EngineFact>)> {
    let backend = tried_here(sandbox.backend);
    if backend.is_none() && deep {
        return Ok(match ask_engine(home, sandbox).await {
            Err(error) => {
                let reason = format!("{error:#}");
                (SandboxFact::Unavailable { reason: reason.clone() }, Some(EngineFact::Silent(reason)))
            }
            Ok((EngineVersions { engine, runc }, is_there)) => {
                let works = SandboxFact::Works(format!("the engine has the image {}", sandbox.docker.image));
                let reason = format!("the engine has no image {}", sandbox.docker.image);
                let found = if is_there { works } else { SandboxFact::Unavailable { reason } };
                (found, Some(EngineFact::Versions { engine, runc }))
            }
        });
    }
    let found = match try_sandbox(home, &backend.unwrap_or(Backend::Embedded), is_running).await {
        SandboxTrial::Unavailable { reason, .. } => SandboxFact::Unavailable { reason },
        SandboxTrial::Untried(why) => SandboxFact::Untried(why),
        SandboxTrial::Works(how) => SandboxFact::Works(how),
    };
    Ok((found, None))
}

/// Whether anything listens there.
async fn knock(port: u16) -> PortUse {
    match GatewayClient::dial(port).await {
        Err(GatewayClientError::Unreachable { .. }) => PortUse::Free,
        Ok(_) | Err(_) => PortUse::Other,
    }
}

/// A gateway that runs has tried its sandbox and is asked; otherwise a command is run in it here.
async fn try_sandbox(home: &Home, backend: &Backend, is_running: bool) -> SandboxTrial {
    if is_running {
        return ask_sandbox(home).await.unwrap_or_else(|error| SandboxTrial::Untried(format!("{error:#}")));
    }
    let ledger = match home.ledger() {
        Ok(ledger) => ledger,
        Err(error) => return SandboxTrial::Untried(format!("{error:#}")),
    };
    let trial = match Sandbox::new(ledger.clone()).posture_of(backend).await {
        Ok(posture) => SandboxTrial::Works(format!(
            "a command ran in it ({}, Landlock {}, as user {})",
            posture.backend, posture.landlock_abi, posture.uid
        )),
        Err(unavailable) => SandboxTrial::Unavailable { reason: unavailable.reason, fix: unavailable.fix },
    };
    home.close_book();
    trial
}

/// The engine's versions, and whether it has the image.
async fn ask_engine(home: &Home, sandbox: &SandboxConfig) -> anyhow::Result<(EngineVersions, bool)> {
    let engine = image::engine(home, &sandbox.docker).await?;
    let versions = engine.versions().await?;
    let images = engine.images().await?;
    let wanted = &sandbox.docker.image;
    Ok((versions, images.iter().any(|row| row.id == *wanted || row.names.contains(wanted))))
}

/// Whether there is an engine with the image, and what is known of its runtime.
async fn try_engine(home: &Home, sandbox: &SandboxConfig) -> Vec<Check> {
    match ask_engine(home, sandbox).await {
        Err(error) => vec![image::no_engine(&error)],
        Ok((versions, is_there)) => {
            let mut checks = posture::engine(&versions.engine, versions.runc.as_deref());
            let image = &sandbox.docker.image;
            checks.push(posture::sandbox(if is_there {
                SandboxTrial::Works(format!("commands run in containers of {image}"))
            } else {
                let fix = "make it with `moltbot sandbox image build`".into();
                SandboxTrial::Unavailable { reason: format!("the engine has no image {image}"), fix }
            }));
            checks
        }
    }
}

async fn ask_sandbox(home: &Home) -> anyhow::Result<SandboxTrial> {
    let mut connection = Connection::open(home, &[Scope::Read]).await?;
    let status = connection.ask(Method::Status.name(), json!({})).await?;
    connection.close().await;
    let sandbox = status.get("sandbox").cloned().unwrap_or_default();
    let text = |name: &str| sandbox.get(name).and_then(Value::as_str).map(str::to_owned);
    Ok(match (text("reason"), text("fix")) {
        (Some(reason), Some(fix)) => SandboxTrial::Unavailable { reason, fix },
        _ => SandboxTrial::Works(sandbox_in_a_line(&sandbox)),
    })
}

/// Prints a row for each check, and its fix.
pub(crate) fn print_rows(checks: &[Check]) -> anyhow::Result<()> {
    for check in checks {
        let level = match check.level {
            Level::Fail => output::paint("fail", Paint::Bad),
            Level::Ok => output::paint("ok  ", Paint::Good),
            Level::Warn => output::paint("warn", Paint::Warn),
        };
        output::line(&format!("{level}  {:17} {}", check.id, check.what))?;
        if let Some(fix) = &check.fix {
            output::line(&format!("      {:17} {fix}", "to do:"))?;
        }
    }
    Ok(())
}
