//! `moltbot sandbox image …`, and the containers of this installation for other commands.

use std::time::Duration;

use moltbot_config::settings::DockerConfig;
use moltbot_policy::container::{RemovalReason, RootPackages, due, permit_image, permit_removal};
use moltbot_posture::{self as posture, Check, SandboxTrial};
use moltbot_sandbox::{ContainerEngine, ContainerRow, EngineError, INSTALLATION_OF, RootSource};
use serde_json::json;

use crate::arguments::{BuildImage, Containers, Image};
use crate::book::{CommandBook, OWNER};
use crate::exit::Exit;
use crate::home::{self, Home};
use crate::serve::block_on;
use crate::{clock, output};

/// That there is no engine to ask, and what to do.
pub(crate) fn no_engine(error: &anyhow::Error) -> Check {
    let fix =
        "start Docker and let this user use its socket, or set `sandbox.backend` to \"embedded\"".into();
    posture::sandbox(SandboxTrial::Unavailable { reason: format!("{error:#}"), fix })
}

/// Does what a command of `sandbox image` says.
pub(crate) fn run(home: &Home, command: &Image) -> anyhow::Result<Exit> {
    match command {
        Image::Build(options) => build(home, options),
        Image::List(facts) => list(home, facts.json),
    }
}

fn build(home: &Home, options: &BuildImage) -> anyhow::Result<Exit> {
    let docker = home.load()?.config.agents.defaults.sandbox.docker;
    let tag = options.tag.clone().unwrap_or_else(|| docker.image.clone());
    let (source, named) = source_of(options)?;
    let book = CommandBook::open(home)?;
    let permit = book.record(permit_image(&tag, &named, OWNER))?;
    let id = block_on(async {
        let engine = engine(home, &docker).await?;
        engine.import(permit, source).await.map_err(refused)
    })?;
    book.close();
    if options.json {
        output::json(&json!({ "tag": tag, "id": id }))?;
    } else {
        output::line(&format!("made {tag} ({id})"))?;
    }
    Ok(Exit::Done)
}

/// What the image is made of, and what the book calls it.
fn source_of(options: &BuildImage) -> anyhow::Result<(RootSource, String)> {
    let failed = |message: String| Exit::Failed.because(anyhow::anyhow!(message));
    let from = match (&options.from, &options.suite) {
        (Some(from), _) => from,
        (None, Some(suite)) => {
            let packages = RootPackages::of(suite, &options.include, options.mirror.as_deref());
            let packages = packages.map_err(|refusal| failed(refusal.message))?;
            let named = packages.source();
            return Ok((RootSource::Packages(packages), named));
        }
        (None, None) => return Err(failed("name a root with --from, or packages with --suite".into())),
    };
    let named = from.display().to_string();
    if !from.is_dir() {
        return Ok((RootSource::Archive(from.clone()), named));
    }
    // A system has these; a folder that has neither is somebody's own, and goes into no image.
    if !(from.join("bin").exists() || from.join("usr").exists()) {
        return Err(failed(format!("{named} has neither bin nor usr, so it is no root of a system")));
    }
    if from.canonicalize().is_ok_and(|real| real == std::path::Path::new("/")) {
        let message =
            "this machine's own root has its keys in it; make another, or name packages with --suite";
        return Err(failed(message.into()));
    }
    Ok((RootSource::Folder(from.clone()), named))
}

fn list(home: &Home, as_json: bool) -> anyhow::Result<Exit> {
    let docker = home.load()?.config.agents.defaults.sandbox.docker;
    let images = block_on(async { engine(home, &docker).await?.images().await.map_err(refused) })?;
    if as_json {
        let rows: Vec<_> = images
            .iter()
            .map(|row| {
                let is_used = row.id == docker.image || row.names.contains(&docker.image);
                json!({ "id": row.id, "names": row.names, "bytes": row.bytes, "used": is_used })
            })
            .collect();
        output::json(&json!({ "images": rows }))?;
        return Ok(Exit::Done);
    }
    for row in &images {
        let is_used = row.id == docker.image || row.names.contains(&docker.image);
        let used = if is_used { "  (sandbox.docker.image)" } else { "" };
        let names = output::harmless(&row.names.join(" "));
        output::line(&format!("{}  {} MB  {names}{used}", row.id, row.bytes / 1_000_000))?;
    }
    if images.is_empty() {
        output::line("the engine has no image; make one with `moltbot sandbox image build --suite NAME`")?;
    }
    Ok(Exit::Done)
}

/// Lists the containers of this installation, and removes those that are asked for.
pub(crate) fn containers(home: &Home, options: &Containers) -> anyhow::Result<Exit> {
    let sandbox = home.load()?.config.agents.defaults.sandbox;
    let days = |days: u32| Duration::from_secs(u64::from(days) * 24 * 3600);
    let age = days(sandbox.prune.max_age_days);
    let old = |row: &ContainerRow| {
        let made = Duration::from_millis(clock::now_ms().saturating_sub(row.created_ms));
        options.prune && due(made, Duration::ZERO, Duration::MAX, age).is_some()
    };
    let rows = block_on(async { engine(home, &sandbox.docker).await?.list().await.map_err(refused) })?;
    let mut going: Vec<String> = rows.iter().filter(|row| old(row)).map(|row| row.name.clone()).collect();
    going.extend(options.remove.clone());
    remove(home, &sandbox.docker, &going)?;
    let left = rows.iter().filter(|row| !going.contains(&row.name));
    if options.json {
        let row = |row: &ContainerRow| {
            json!({ "name": row.name, "scope": row.scope, "image": row.image, "status": row.status,
                "createdAtMs": row.created_ms })
        };
        output::json(&json!({ "containers": left.map(row).collect::<Vec<_>>(), "removed": going }))?;
        return Ok(Exit::Done);
    }
    for name in &going {
        output::line(&format!("removed {}", output::harmless(name)))?;
    }
    for row in left {
        output::line(&format!("{}  {}  {}", row.name, output::harmless(&row.status), row.image))?;
    }
    if rows.is_empty() {
        output::line("there is no container; the first command of a scope makes its own")?;
    }
    Ok(Exit::Done)
}

fn remove(home: &Home, docker: &DockerConfig, names: &[String]) -> anyhow::Result<()> {
    if names.is_empty() {
        return Ok(());
    }
    let book = CommandBook::open(home)?;
    for name in names {
        let permit = book.record(permit_removal(name, RemovalReason::Asked, OWNER))?;
        block_on(async { engine(home, docker).await?.remove(permit).await.map_err(refused) })?;
    }
    book.close();
    Ok(())
}

/// The engine of the config, which shows the containers of this installation and no others.
pub(crate) async fn engine(home: &Home, docker: &DockerConfig) -> anyhow::Result<ContainerEngine> {
    let identity = moltbot_ledger::hash_of(home.vault()?, INSTALLATION_OF);
    ContainerEngine::open(std::path::Path::new(&docker.socket), &identity).await.map_err(refused)
}

fn refused(error: EngineError) -> anyhow::Error {
    home::failed(&error)
}
