//! `moltbot config …`: check, read, change. A secret is never printed, an invalid config never written.

use moltbot_config::{Loaded, PlainSecret};
use moltbot_vault::History;
use serde_json::json;

use crate::arguments::{Config, Facts};
use crate::book::CommandBook;
use crate::environment::Environment;
use crate::exit::Exit;
use crate::home::{self, Home};
use crate::output::{self, Paint};
use crate::{change, clock};

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
        Config::Undo => undo(&home),
        Config::Validate(facts) => validate(&home, facts),
    }
}

fn validate(home: &Home, facts: Facts) -> anyhow::Result<Exit> {
    let path = home.config_path.display().to_string();
    let loaded = match home.try_load_text(&home.text()?)? {
        Ok(loaded) => loaded,
        Err(errors) if facts.json => {
            output::json(&json!({"valid": false, "path": path, "errors": errors.errors()}))?;
            return Ok(Exit::Config);
        }
        Err(errors) => return Err(Exit::Config.because(errors)),
    };
    if facts.json {
        let Loaded { unsupported, plain, .. } = loaded;
        output::json(&json!({"valid": true, "path": path, "unsupported": unsupported, "plain": plain}))?;
        return Ok(Exit::Done);
    }
    output::line(&format!("{} {path} is valid", output::paint("ok", Paint::Good)))?;
    for entry in &loaded.unsupported {
        output::line(&format!("{path}:{}:{}: {entry}", entry.line, entry.column))?;
    }
    for PlainSecret { path: setting, line } in &loaded.plain {
        output::line(&format!("{path}:{line}: {setting} is plaintext; the next change seals it"))?;
    }
    Ok(Exit::Done)
}

fn get(home: &Home, path: Option<&str>) -> anyhow::Result<Exit> {
    let Loaded { value, .. } = home.load_text(&home.text()?)?;
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
    let text = change::text(home)?;
    let changed = moltbot_config::set(&text, path, value).map_err(|error| home::failed(&error))?;
    require_no_secret(&text, &changed, path)?;
    let book = CommandBook::open(home)?;
    change::write(home, &book, &text, &changed, "config set")?;
    book.close();
    output::line(&format!("{path} is set in {}", home.config_path.display()))?;
    change::remind(home)?;
    Ok(Exit::Done)
}

/// What stands on a command line is public: every user of the machine can read it while the command runs, and the shell
/// keeps it. A reference and an empty text are no secrets.
fn require_no_secret(text: &str, changed: &str, path: &str) -> anyhow::Result<()> {
    let plain = |text: &str| -> anyhow::Result<Vec<String>> {
        let found = moltbot_config::secrets(text).map_err(|error| Exit::Config.because(error))?;
        Ok(found.into_iter().filter(|entry| entry.state.is_to_be_sealed()).map(|entry| entry.path).collect())
    };
    // Those that stand elsewhere were there before, and are sealed by this change.
    let elsewhere = moltbot_config::set(text, path, "null").map_err(|error| home::failed(&error))?;
    let elsewhere = plain(&elsewhere)?;
    match plain(changed)?.into_iter().find(|path| !elsewhere.contains(path)) {
        None => Ok(()),
        Some(secret) => Err(Exit::Usage.because(format!(
            "{secret} is secret, and others can read what stands on a command line; nothing was changed. \
             `moltbot secrets set {secret}` asks for it, or reads it from standard input; use another secret than the one \
             that was typed here"
        ))),
    }
}

/// The last version goes back, and what it replaces becomes a version.
fn undo(home: &Home) -> anyhow::Result<Exit> {
    let text = change::text(home)?;
    let history = History::new(&home.state, home.vault()?);
    let versions = history.list().map_err(|error| home::failed(&error))?;
    let last = versions.into_iter().find(|version| !version.is_backup);
    let last = last.ok_or_else(|| Exit::Failed.because("there is no earlier version of the config"))?;
    let earlier = history.read(last.number).map_err(|error| home::failed(&error))?;
    let earlier =
        std::str::from_utf8(&earlier).map_err(|_| Exit::Config.because("that version is not UTF-8"))?;
    let book = CommandBook::open(home)?;
    change::write(home, &book, &text, earlier, "config undo")?;
    book.close();
    let (when, how) = (clock::readable(last.at_ms), output::harmless(&last.command));
    output::line(&format!(
        "the config is again as it was before `{how}` at {when}; `moltbot config undo` takes it back"
    ))?;
    change::remind(home)?;
    Ok(Exit::Done)
}
