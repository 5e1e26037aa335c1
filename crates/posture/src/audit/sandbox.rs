//! Checks of the walls around commands.

use std::path::Path;

use moltbot_config::settings::forbidden_source;
use serde_json::Value;

use super::facts::{EngineFact, Facts, SandboxFact};
use super::raw::{at, fold, items, text};
use super::{Check, Evidence, Outcome};
use crate::check::Level;
use crate::engine::engine;

pub(super) const CHECKS: &[(&str, Check)] = &[
    ("sandbox.mode_off", mode_off),
    ("sandbox.probe_failed", probe_failed),
    ("sandbox.docker_config_mode_off", docker_without_effect),
    ("sandbox.bind_mount_non_absolute", |facts| binds(facts, |source| !Path::new(source).is_absolute())),
    ("sandbox.dangerous_bind_mount", |facts| {
        binds(facts, |source| {
            let source = Path::new(source);
            source.is_absolute() && forbidden_source(source, Some(facts.home), Some(facts.state)).is_some()
        })
    }),
    ("sandbox.dangerous_network_mode", |facts| {
        docker_text(facts, "network", |mode| fold(mode) == "host" || mode.starts_with("container:"))
    }),
    ("sandbox.dangerous_seccomp_profile", |facts| {
        docker_text(facts, "seccompProfile", |profile| fold(profile) == "unconfined")
    }),
    ("sandbox.dangerous_apparmor_profile", |facts| {
        docker_text(facts, "apparmorProfile", |profile| fold(profile) == "unconfined")
    }),
    ("sandbox.cap_drop_missing", cap_drop),
    ("sandbox.container_root", |facts| {
        docker_text(facts, "user", |user| matches!(user.split(':').next(), Some("0" | "root")))
    }),
    ("sandbox.root_writable", root_writable),
    ("sandbox.engine_vulnerable", vulnerable),
    ("sandbox.backend_weak", backend_weak),
];

/// The sandboxes of a config: the one of all agents and those of single ones, each with its path.
fn sandboxes(value: &Value) -> Vec<(String, &Value)> {
    let of_all =
        at(value, "agents.defaults.sandbox").map(|found| ("agents.defaults.sandbox".to_owned(), found));
    let agents = items(value, "agents.list").iter().enumerate();
    let own = agents
        .filter_map(|(index, agent)| Some((format!("agents.list[{index}].sandbox"), agent.get("sandbox")?)));
    of_all.into_iter().chain(own).collect()
}

fn dockers(value: &Value) -> Vec<(String, &Value)> {
    let found = sandboxes(value).into_iter();
    found.filter_map(|(path, sandbox)| Some((format!("{path}.docker"), sandbox.get("docker")?))).collect()
}

fn is_off(sandbox: &Value) -> bool {
    text(sandbox, "mode").is_some_and(|mode| fold(mode) == "off")
}

fn mode_off(facts: &Facts<'_>) -> Outcome {
    facts.of_config(|value| {
        let off = sandboxes(value).into_iter().filter(|(_, sandbox)| is_off(sandbox));
        Outcome::from(off.map(|(path, _)| Evidence::new(format!("{path}.mode"), "\"off\"")).collect())
    })
}

fn probe_failed(facts: &Facts<'_>) -> Outcome {
    match &facts.sandbox {
        SandboxFact::Unavailable { reason } => Outcome::when(true, "sandbox", reason.clone()),
        SandboxFact::Untried(why) => Outcome::NotRun(why.clone()),
        SandboxFact::Works(_) => Outcome::Passed,
    }
}

fn docker_without_effect(facts: &Facts<'_>) -> Outcome {
    facts.of_config(|value| {
        let idle = sandboxes(value).into_iter().filter(|(_, one)| is_off(one) && one.get("docker").is_some());
        Outcome::from(
            idle.map(|(path, _)| Evidence::new(format!("{path}.docker"), "mode is \"off\"")).collect(),
        )
    })
}

/// Binds whose source is bad, in the engine's own form `source:target[:options]`.
fn binds(facts: &Facts<'_>, is_bad: impl Fn(&str) -> bool) -> Outcome {
    facts.of_config(|value| {
        let mut found = Vec::new();
        for (path, docker) in dockers(value) {
            let sources = items(docker, "binds").iter().filter_map(Value::as_str);
            let sources = sources.filter_map(|bind| bind.split(':').next()).filter(|source| is_bad(source));
            found.extend(sources.map(|source| Evidence::new(format!("{path}.binds"), source)));
        }
        Outcome::from(found)
    })
}

fn docker_text(facts: &Facts<'_>, name: &str, is_bad: fn(&str) -> bool) -> Outcome {
    facts.of_config(|value| {
        let texts = dockers(value).into_iter();
        let bad = texts.filter_map(|(path, docker)| {
            let found = text(docker, name).filter(|found| is_bad(found))?;
            Some(Evidence::new(format!("{path}.{name}"), format!("\"{found}\"")))
        });
        Outcome::from(bad.collect())
    })
}

fn cap_drop(facts: &Facts<'_>) -> Outcome {
    facts.of_config(|value| {
        let bad = dockers(value).into_iter().filter(|(_, docker)| {
            let list = docker.get("capDrop").and_then(Value::as_array);
            let is_all = |list: &Vec<Value>| {
                list.iter().any(|name| name.as_str().is_some_and(|name| fold(name) == "all"))
            };
            list.is_some_and(|list| !is_all(list))
        });
        Outcome::from(
            bad.map(|(path, _)| Evidence::new(format!("{path}.capDrop"), "\"ALL\" is not in it")).collect(),
        )
    })
}

fn root_writable(facts: &Facts<'_>) -> Outcome {
    facts.of_config(|value| {
        let bad = dockers(value)
            .into_iter()
            .filter(|(_, docker)| docker.get("readOnlyRoot").and_then(Value::as_bool) == Some(false));
        Outcome::from(bad.map(|(path, _)| Evidence::new(format!("{path}.readOnlyRoot"), "false")).collect())
    })
}

fn vulnerable(facts: &Facts<'_>) -> Outcome {
    match &facts.engine {
        None => Outcome::Passed,
        Some(EngineFact::Silent(why)) => Outcome::NotRun(why.clone()),
        Some(EngineFact::Versions { engine: version, runc }) => {
            let bad = engine(version, runc.as_deref()).into_iter().filter(|check| check.level != Level::Ok);
            Outcome::from(bad.map(|check| Evidence::new("engine", check.what)).collect())
        }
    }
}

fn backend_weak(facts: &Facts<'_>) -> Outcome {
    facts.of_config(|value| {
        let weak =
            sandboxes(value).into_iter().filter(|(_, one)| text(one, "backend") == Some("embedded-weak"));
        Outcome::from(
            weak.map(|(path, _)| Evidence::new(format!("{path}.backend"), "\"embedded-weak\"")).collect(),
        )
    })
}
