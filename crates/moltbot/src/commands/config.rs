//! `moltbot config …`: check, read, change. A secret is never printed, an invalid config never written.

mod editing;

use moltbot_config::{Loaded, Migrated, PlainSecret};
use moltbot_vault::{History, Version};
use secrecy::zeroize::Zeroizing;
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
    let home = Home::ensure(environment)?;
    match command {
        Config::Edit => editing::run(&home),
        Config::Get { path } => get(&home, path.as_deref()),
        Config::Path => {
            output::line(&home.config_path.display().to_string())?;
            Ok(Exit::Done)
        }
        Config::Schema => schema(),
        Config::Set { path, value } => set(&home, &path, &value),
        Config::Unset { path } => unset(&home, &path),
        Config::Migrate { dry_run } => migrate(&home, dry_run),
        Config::Undo { version } => undo(&home, version),
        Config::Validate(facts) => validate(&home, facts),
        Config::History(facts) => history(&home, facts),
        Config::Diff { version, json } => diff(&home, version, json),
    }
}

/// Prints the schema, which is the same for every installation.
pub(super) fn schema() -> anyhow::Result<Exit> {
    output::json(&moltbot_config::schema())?;
    Ok(Exit::Done)
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
        let Loaded { unsupported, plain, migrated, .. } = loaded;
        output::json(&json!({
            "valid": true, "path": path, "unsupported": unsupported, "plain": plain, "migrated": migrated,
        }))?;
        return Ok(Exit::Done);
    }
    output::line(&format!("{} {path} is valid", output::paint("ok", Paint::Good)))?;
    for entry in &loaded.unsupported {
        let path = entry.file.as_deref().unwrap_or(&path);
        output::line(&format!("{path}:{}:{}: {entry}", entry.line, entry.column))?;
    }
    for Migrated { from, to, file, line } in &loaded.migrated {
        let file = file.as_deref().unwrap_or(&path);
        output::line(&format!(
            "{file}:{line}: {from} is read as {to}; `moltbot config migrate` writes it so"
        ))?;
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

fn unset(home: &Home, path: &str) -> anyhow::Result<Exit> {
    let text = change::text(home)?;
    let changed = moltbot_config::unset(&text, path).map_err(|error| home::failed(&error))?;
    let book = CommandBook::open(home)?;
    change::write(home, &book, &text, &changed, "config unset")?;
    book.close();
    output::line(&format!("{path} is no longer set in {}", home.config_path.display()))?;
    change::remind(home)?;
    Ok(Exit::Done)
}

/// Writes keys of older generations where they belong now.
fn migrate(home: &Home, dry_run: bool) -> anyhow::Result<Exit> {
    let text = change::text(home)?;
    let (new, moved) = moltbot_config::migrate(&text).map_err(|error| home::failed(&error))?;
    let new = Zeroizing::new(new);
    for Migrated { from, to, file, line } in home.load_text(text.as_bytes())?.migrated {
        if let Some(file) = file {
            output::note(&format!("{file}:{line}: {from} is {to} now; included files are changed by hand"));
        }
    }
    if moved.is_empty() {
        output::line("every key is where it belongs")?;
        return Ok(Exit::Done);
    }
    if dry_run {
        for (from, to) in &moved {
            output::line(&format!("{from} -> {to}"))?;
        }
        return Ok(Exit::Done);
    }
    let book = CommandBook::open(home)?;
    change::write(home, &book, &text, &new, "config migrate")?;
    book.close();
    output::line(&format!("{} keys were moved in {}", moved.len(), home.config_path.display()))?;
    change::remind(home)?;
    Ok(Exit::Done)
}

fn history(home: &Home, facts: Facts) -> anyhow::Result<Exit> {
    let versions = versions(home)?;
    if facts.json {
        let rows: Vec<_> = versions.iter().map(row).collect();
        output::json(&json!({"versions": rows}))?;
        return Ok(Exit::Done);
    }
    if versions.is_empty() {
        output::note("the config was never changed by moltbot; there is no earlier version");
    }
    for version in &versions {
        let Version { number, at_ms, actor, command, is_backup, .. } = version;
        let kind = if *is_backup { "backup, found by" } else { "replaced by" };
        let (actor, command) = (output::harmless(actor), output::harmless(command));
        output::line(&format!("{number}  {}  {kind} `{command}` of {actor}", clock::readable(*at_ms)))?;
    }
    Ok(Exit::Done)
}

fn row(version: &Version) -> serde_json::Value {
    let Version { number, at_ms, actor, command, sha256, is_backup } = version;
    json!({
        "number": number, "replacedAtMs": at_ms, "actor": actor, "command": command, "sha256": sha256, "backup": is_backup,
    })
}

fn diff(home: &Home, number: Option<u64>, json: bool) -> anyhow::Result<Exit> {
    let now = change::text(home)?;
    let version = version(home, number)?;
    let changes =
        moltbot_config::diff(&earlier(home, &version)?, &now).map_err(|error| Exit::Config.because(error))?;
    if json {
        output::json(&json!({"from": row(&version), "changes": changes}))?;
        return Ok(Exit::Done);
    }
    if changes.is_empty() {
        output::note(&format!("version {} has the same settings", version.number));
    }
    for change in &changes {
        output::line(&output::harmless(change))?;
    }
    Ok(Exit::Done)
}

fn versions(home: &Home) -> anyhow::Result<Vec<Version>> {
    History::new(&home.state, home.vault()?).list().map_err(|error| home::failed(&error))
}

/// The version of this number, or the last that was the config.
fn version(home: &Home, number: Option<u64>) -> anyhow::Result<Version> {
    let is_meant = |version: &Version| number.map_or(!version.is_backup, |number| version.number == number);
    versions(home)?.into_iter().find(is_meant).ok_or_else(|| {
        Exit::Failed.because(match number {
            None => "there is no earlier version of the config".to_owned(),
            Some(number) => {
                format!("there is no version {number} of the config; `moltbot config history` lists those that are kept")
            }
        })
    })
}

/// The text of a version.
fn earlier(home: &Home, version: &Version) -> anyhow::Result<Zeroizing<String>> {
    let text = History::new(&home.state, home.vault()?).read(version.number);
    let text = text.map_err(|error| home::failed(&error))?;
    let text = std::str::from_utf8(&text).map_err(|_| Exit::Config.because("that version is not UTF-8"))?;
    Ok(Zeroizing::new(text.to_owned()))
}

/// A version goes back, and what it replaces becomes a version.
fn undo(home: &Home, number: Option<u64>) -> anyhow::Result<Exit> {
    let text = change::text(home)?;
    let version = version(home, number)?;
    let earlier = earlier(home, &version)?;
    let book = CommandBook::open(home)?;
    change::write(home, &book, &text, &earlier, "config undo")?;
    book.close();
    let (when, how) = (clock::readable(version.at_ms), output::harmless(&version.command));
    output::line(&format!(
        "the config is again as it was before `{how}` at {when}; `moltbot config undo` takes it back"
    ))?;
    change::remind(home)?;
    Ok(Exit::Done)
}
