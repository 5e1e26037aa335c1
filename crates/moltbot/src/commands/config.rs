//! `moltbot config …`: check, read, change. A secret is never printed, an invalid config never written.

use moltbot_config::Loaded;
use serde_json::json;

use crate::arguments::{Config, Facts};
use crate::environment::{self, Environment};
use crate::exit::Exit;
use crate::home::{self, Home};
use crate::output::{self, Paint};

/// Does what the command says.
pub(crate) fn run(environment: Environment, command: Config) -> anyhow::Result<Exit> {
    if matches!(command, Config::Schema) {
        output::json(&moltbot_config::schema())?;
        return Ok(Exit::Done);
    }
    let home = Home::ensure(environment)?;
    match command {
        Config::Get { path } => get(&home, path.as_deref()),
        Config::Path => {
            output::line(&home.config_path.display().to_string())?;
            Ok(Exit::Done)
        }
        Config::Schema => Ok(Exit::Done),
        Config::Set { path, value } => set(&home, &path, &value),
        Config::Validate(facts) => validate(&home, facts),
    }
}

fn validate(home: &Home, facts: Facts) -> anyhow::Result<Exit> {
    let path = home.config_path.display().to_string();
    let loaded = match moltbot_config::load(&home.text()?, &path, &environment::secret) {
        Ok(loaded) => loaded,
        Err(errors) if facts.json => {
            output::json(&json!({"valid": false, "path": path, "errors": errors.errors()}))?;
            return Ok(Exit::Config);
        }
        Err(errors) => return Err(Exit::Config.because(errors)),
    };
    if facts.json {
        output::json(&json!({"valid": true, "path": path, "unsupported": loaded.unsupported}))?;
        return Ok(Exit::Done);
    }
    output::line(&format!("{} {path} is valid", output::paint("ok", Paint::Good)))?;
    for entry in &loaded.unsupported {
        output::line(&format!("{path}:{}:{}: {entry}", entry.line, entry.column))?;
    }
    Ok(Exit::Done)
}

fn get(home: &Home, path: Option<&str>) -> anyhow::Result<Exit> {
    let Loaded { value, .. } = home::load(&home.text()?, &home.config_path)?;
    // Hidden first and looked up after: a secret is known by its place in the whole.
    let shown = moltbot_config::redact(&value);
    let found = match path {
        None => shown,
        Some(path) => moltbot_config::get(&shown.to_string(), path).map_err(|error| home::failed(&error))?,
    };
    output::json(&found)?;
    Ok(Exit::Done)
}

fn set(home: &Home, path: &str, value: &str) -> anyhow::Result<Exit> {
    let text =
        String::from_utf8(home.text()?).map_err(|_| Exit::Config.because("the config is not UTF-8"))?;
    let changed = moltbot_config::set(&text, path, value).map_err(|error| home::failed(&error))?;
    home::load(changed.as_bytes(), &home.config_path)?;
    home.write(&changed)?;
    output::line(&format!("{path} is set in {}", home.config_path.display()))?;
    if home.running()?.is_some() {
        output::note("the gateway that runs does not see it yet: `moltbot gateway restart`");
    }
    Ok(Exit::Done)
}
