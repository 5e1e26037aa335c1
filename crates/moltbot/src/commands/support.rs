//! `moltbot support bundle`: what somebody who helps needs to know, in one file that its owner looks through before he gives it away.

mod mask;

use std::path::PathBuf;

use moltbot_config::limits;
use moltbot_vault::{OwnerFile, StateDir};
use serde_json::{Value, json};

use self::mask::Mask;
use super::doctor::Beyond;
use super::{doctor, logs, security};
use crate::arguments::{Bundle, Support};
use crate::commands::files::new_file;
use crate::environment::Environment;
use crate::exit::Exit;
use crate::home::{self, CONFIG};
use crate::{clock, output};

/// The form of the file.
const FORM: u32 = 1;
/// Names of the state folder that are told.
const NAMES: usize = 200;

/// Does what the command says.
pub(crate) fn run(environment: &Environment, command: &Support) -> anyhow::Result<Exit> {
    let Support::Bundle(options) = command;
    bundle(environment, options)
}

fn bundle(environment: &Environment, options: &Bundle) -> anyhow::Result<Exit> {
    // Looked at before anything opens it, because opening repairs it.
    let files = names(environment);
    let mut mask = Mask::of(&moltbot_config::schema(), &environment.home.display().to_string());
    let config = config(environment, &mut mask);
    let audit = security::report(environment)?;
    let checks = doctor::checks(environment.clone(), Beyond::LeftAlone)?;
    let log = lines(environment, options.lines)?;
    let told = json!({
        "form": FORM,
        "made": clock::readable(clock::now_ms()),
        "program": {
            "version": env!("CARGO_PKG_VERSION"), "system": std::env::consts::OS, "processor": std::env::consts::ARCH,
        },
        "config": config,
        "doctor": mask.report(&serde_json::to_value(checks)?),
        "audit": mask.report(&audit),
        "files": mask.report(&json!(files)),
        "log": log.iter().map(|line| mask.text(line)).collect::<Vec<_>>(),
    });
    let bytes = serde_json::to_vec_pretty(&told)?;
    let path = options.out.clone().unwrap_or_else(|| {
        let day: String = clock::readable(clock::now_ms()).chars().take_while(|c| *c != ' ').collect();
        PathBuf::from(format!("moltbot-support-{day}.json"))
    });
    new_file(&path, &bytes)?;
    if options.json {
        output::json(&json!({"file": path.display().to_string(), "bytes": bytes.len()}))?;
    } else {
        output::line(&format!(
            "{} has {} bytes; look through it before you give it to anybody",
            path.display(),
            bytes.len()
        ))?;
    }
    Ok(Exit::Done)
}

/// The settings, as far as they can be read, with what a person has chosen hidden.
fn config(environment: &Environment, mask: &mut Mask) -> Value {
    let path = environment.config_path.clone().unwrap_or_else(|| environment.state_dir.join(CONFIG));
    let text = match OwnerFile::at(path).look(limits::CONFIG_BYTES) {
        Ok(Some(bytes)) => String::from_utf8(bytes),
        Ok(None) => return json!({"problem": "there is none"}),
        Err(error) => return json!({"problem": mask.text(&home::chain(&error))}),
    };
    let Ok(text) = text else { return json!({"problem": "it is not UTF-8"}) };
    match moltbot_config::shown(&text) {
        Ok(value) => mask.settings(&value),
        // What stands there may be a secret: not its words.
        Err(_) => json!({"problem": "it is not JSON5"}),
    }
}

/// The names in the state folder and in its folders.
fn names(environment: &Environment) -> Vec<String> {
    let Ok(Some(state)) = StateDir::find(&environment.state_dir) else { return Vec::new() };
    let mut found = Vec::new();
    for name in state.list().unwrap_or_default() {
        let below = state.find_folder(&name).ok().flatten().and_then(|folder| folder.list().ok());
        match below {
            Some(below) => found.push(format!("{name}/ ({} entries)", below.len())),
            None => found.push(name),
        }
    }
    found.truncate(NAMES);
    found
}

/// The last lines of the log.
fn lines(environment: &Environment, count: u32) -> anyhow::Result<Vec<String>> {
    let Ok(Some(state)) = StateDir::find(&environment.state_dir) else { return Ok(Vec::new()) };
    logs::last(&state, usize::try_from(count)?)
}
