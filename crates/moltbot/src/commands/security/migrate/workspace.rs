//! The folder in which the agent of an earlier generation worked: what it wrote down about its owner and itself is there.

use std::path::{Path, PathBuf};

use moltbot_vault::{StateDir, Workspace};
use serde_json::Value;

use super::super::fix::Done;
use super::{Line, Source, data};
use crate::change;
use crate::environment::Environment;
use crate::home::{self, Home};

/// Where the first two generations had it, below the home.
const OLDER: &str = "clawd";
/// Where the third had it, in its folder of state; as here.
const FOLDER: &str = "workspace";
/// Where it writes down what it is to remember, in that.
const MEMORY: &str = "memory";
/// Files by which a workspace is known.
const MARKS: [&str; 5] = ["AGENTS.md", "IDENTITY.md", "MEMORY.md", "SOUL.md", "USER.md"];
/// The setting that names it.
const SETTING: &str = "agents.defaults.workspace";
/// The most files that are brought.
const MOST: usize = 10_000;

/// Texts of the workspace in a folder of state, by their paths in that, as the agent reads them.
pub(super) fn texts(state: &StateDir) -> anyhow::Result<Vec<String>> {
    let mut found = Vec::new();
    for path in [FOLDER.to_owned(), format!("{FOLDER}/{MEMORY}")] {
        let names = data::names(data::folder(state, &path)?.as_ref())?.into_iter();
        let texts = names.filter(|name| name.ends_with(".md"));
        found.extend(texts.map(|name| format!("{path}/{name}")));
    }
    found.truncate(MOST);
    Ok(found)
}

/// Whether a file that a migration brought is of the workspace: it is the owner's from then on.
pub(super) fn is_text(name: &str) -> bool {
    name.strip_prefix(FOLDER).is_some_and(|rest| rest.starts_with('/'))
}

/// What is told of a foreign folder's workspace. `done` is what came of what is brought.
pub(super) fn brought(source: &Source, done: &Done) -> anyhow::Result<Vec<Line>> {
    if !source.is_foreign {
        return Ok(Vec::new());
    }
    let texts = texts(&source.state)?.len();
    let names = data::names(data::folder(&source.state, FOLDER)?.as_ref())?.into_iter();
    let others = names.filter(|name| !name.ends_with(".md") && name != MEMORY).count();
    let mut lines = Vec::new();
    if texts > 0 {
        lines.push(Line::of_data(format!("{texts} texts of {FOLDER}/"), done.clone()));
    }
    if others > 0 {
        let because = "copy what you want of it into the new workspace";
        let skipped = Done::Skipped { because: because.into() };
        lines.push(Line::of_data(format!("{others} other entries of {FOLDER}/"), skipped));
    }
    Ok(lines)
}

/// The workspace of an older generation that is there and that no config names.
fn unnamed(environment: &Environment, source: &Source) -> anyhow::Result<Option<PathBuf>> {
    let text = source.config()?;
    let config = std::str::from_utf8(&text).ok().and_then(|text| moltbot_config::value(text).ok());
    let config = config.unwrap_or_default();
    let of_agents = config.pointer("/agents/list").and_then(Value::as_array).into_iter().flatten();
    let named = of_agents.chain(config.pointer("/agents/defaults")).chain(config.get("agent"));
    let is_workspace = |path: &Path| MARKS.iter().any(|mark| path.join(mark).is_file());
    let path = environment.home.join(OLDER);
    let has_own = is_workspace(&source.state.path().join(FOLDER));
    let is_named = named.into_iter().any(|agent| agent.get("workspace").is_some());
    Ok(Some(path).filter(|path| !is_named && !has_own && is_workspace(path)))
}

/// What came of having the config name it.
fn told(outcome: Done) -> Line {
    Line::of_data(format!("set {SETTING} to \"~/{OLDER}\""), outcome)
}

/// That the config is to name it.
pub(super) fn planned(environment: &Environment, source: &Source) -> anyhow::Result<Option<Line>> {
    Ok(unnamed(environment, source)?.map(|_| told(Done::Planned)))
}

/// Has the config name it, where it can be one here.
pub(super) fn name(home: &Home, source: &Source) -> anyhow::Result<Option<Line>> {
    let Some(path) = unnamed(&home.environment, source)? else { return Ok(None) };
    if let Err(error) = Workspace::open_or_create(&path, &[&home.environment.home, home.state.path()]) {
        return Ok(Some(told(Done::Skipped { because: home::chain(&error) })));
    }
    let folder = Some(Value::String(format!("~/{OLDER}")));
    let written = change::settings(home, &[(SETTING.to_owned(), folder)], "security migrate");
    Ok(Some(told(match written {
        Ok(()) => Done::Ok,
        Err(error) => Done::Failed { because: format!("{error:#}") },
    })))
}
