//! `moltbot security migrate`: an installation of an earlier generation becomes one of moltbot.
//!
//! What is changed is kept before, sealed; each step can be taken a second time, and then does nothing. What is read of a foreign
//! folder stays as it is.

mod backup;
mod data;
mod workspace;

use std::path::Path;

use moltbot_posture::audit::{Report, Severity};
use moltbot_vault::{Lock, LockError, StateDir};
use secrecy::zeroize::Zeroizing;
use serde::Serialize;
use serde_json::{Value, json};

use super::fix::{self, Done, Item, Reach};
use super::{audit, scores};
use crate::arguments::Migrate;
use crate::book::CommandBook;
use crate::change;
use crate::environment::{self, Environment};
use crate::exit::Exit;
use crate::home::{self, CONFIG, Home, LOCK, Running};
use crate::output::{self, Paint, harmless};

/// What a migration looks after, in the order in which it is told.
const CATEGORIES: [&str; 7] =
    ["Sandbox", "DM Policy", "Gateway Auth", "Logging", "Encryption", "Permissions", "Data"];
/// The last of them.
const DATA: &str = "Data";
/// How often it is looked again after something was put right: what was wrong may have hidden something else.
const ROUNDS: usize = 4;
/// The largest file of credentials that is brought, in bytes.
const FILE_BYTES: u64 = 4 * 1024 * 1024;

/// One thing, and what came of it.
#[derive(Serialize)]
struct Line {
    category: &'static str,
    act: String,
    #[serde(flatten)]
    outcome: Done,
}

impl Line {
    fn of_data(act: impl Into<String>, outcome: Done) -> Self {
        Self { category: DATA, act: act.into(), outcome }
    }

    fn of(item: Item) -> Self {
        let category = match item.check_id.as_str() {
            id if id.starts_with("config.secrets.") || id.starts_with("secrets.") => "Encryption",
            id if id.starts_with("sandbox.") => "Sandbox",
            id if id.starts_with("channels.") || id.starts_with("tools.elevated.") => "DM Policy",
            id if id.starts_with("gateway.") || id.starts_with("hooks.") => "Gateway Auth",
            id if id.starts_with("logging.") => "Logging",
            _ => "Permissions",
        };
        Self { category, act: item.act, outcome: item.outcome }
    }

    fn has_failed(&self) -> bool {
        matches!(self.outcome, Done::Failed { .. })
    }
}

/// What is migrated.
struct Source {
    /// The environment of a program whose installation it is.
    environment: Environment,
    state: StateDir,
    is_foreign: bool,
}

impl Source {
    fn of(environment: &Environment, from: Option<&Path>) -> anyhow::Result<Self> {
        let path = from.map_or_else(|| Ok(environment.state_dir.clone()), std::path::absolute)?;
        let missing = || Exit::Config.because(format!("there is no installation in {}", path.display()));
        let state = StateDir::find(&path).map_err(|error| home::failed(&error))?.ok_or_else(missing)?;
        let is_foreign = from.is_some() && state.path() != environment.state_dir;
        let mut environment = environment.clone();
        if is_foreign {
            environment.config_path = Some(environment::config_in(state.path()).ok_or_else(missing)?);
            environment.state_dir = state.path().to_owned();
            environment.credentials_folders = Vec::new();
        }
        Ok(Self { environment, state, is_foreign })
    }

    /// The text of its config.
    fn config(&self) -> anyhow::Result<Zeroizing<Vec<u8>>> {
        let path = self.environment.config_path.as_deref().and_then(Path::file_name);
        let name = path.map_or(CONFIG.into(), |name| name.to_string_lossy());
        let text = self.state.read(&name, FILE_BYTES).map_err(|error| home::failed(&error))?;
        Ok(Zeroizing::new(text.unwrap_or_default()))
    }
}

/// Does what the command says.
pub(super) fn run(environment: &Environment, options: &Migrate) -> anyhow::Result<Exit> {
    if options.rollback {
        if !backup::is_there(environment)? {
            return Err(Exit::Failed.because("there is no migration to bring back"));
        }
        require_alone(&environment.state_dir)?;
        return backup::roll_back(&Home::ensure(environment.clone())?, options.json);
    }
    let environment = &target(environment, options.from.as_deref())?;
    let source = Source::of(environment, options.from.as_deref())?;
    let before = audit::look(&source.environment, false);
    let blind =
        before.findings.iter().find(|one| matches!(one.check, "config.missing" | "config.unreadable"));
    if let Some(blind) = blind {
        let seen = blind.evidence.first().map(|one| one.seen.clone()).unwrap_or_default();
        return Err(Exit::Config.because(format!("{}: {seen}; nothing was changed", blind.title)));
    }
    let score = json!(before.score);
    let (lines, after) = if options.dry_run {
        let fixed = fix::all(&source.environment, &before, Reach::Migration, true)?;
        let lines = fixed.items.into_iter().map(Line::of).chain(data::planned(&source)?);
        (lines.chain(workspace::planned(environment, &source)?).collect(), before)
    } else {
        apply(environment, &source, options.shred)?
    };
    tell(&source, options, (&score, &after), &lines)?;
    let is_left = !options.dry_run && after.worst() >= Some(Severity::High);
    Ok(if is_left || lines.iter().any(Line::has_failed) { Exit::Failed } else { Exit::Done })
}

/// The environment of the installation that is made. Where there is no folder of ours, that of an older generation is used as it
/// is; it is not to be read and written at once.
fn target(environment: &Environment, from: Option<&Path>) -> anyhow::Result<Environment> {
    let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let mut target = environment.clone();
    if from.is_none_or(|from| real(from) != real(&environment.state_dir)) {
        return Ok(target);
    }
    match environment.own_folder() {
        Some(own) if own != environment.state_dir => {
            target.state_dir = own;
            target.config_path = None;
            Ok(target)
        }
        _ => Err(Exit::Usage.because(
            "--from names the state folder itself; leave it out to change that in place, or name another state folder with \
             MOLTBOT_STATE_DIR",
        )),
    }
}

/// Sees that no gateway runs: it would go on with the old config, and write while this writes.
fn require_alone(state: &Path) -> anyhow::Result<()> {
    let state = StateDir::open_or_create(state).map_err(|error| home::failed(&error))?;
    alone(&state).map(drop)
}

/// The folder's lock: one program at a time has the state db open.
fn alone(state: &StateDir) -> anyhow::Result<Lock> {
    state.lock(LOCK, &serde_json::to_vec(&Running::starting())?).map_err(|error| match error {
        LockError::Held { .. } => {
            Exit::Busy.because("a gateway runs with this state folder; stop it first: `moltbot gateway stop`")
        }
        error => home::failed(&error),
    })
}

fn apply(
    environment: &Environment,
    source: &Source,
    is_shredding: bool,
) -> anyhow::Result<(Vec<Line>, Report)> {
    require_alone(&environment.state_dir)?;
    if source.is_foreign {
        require_room(environment, source)?;
    }
    let listed = data::listed(source)?;
    {
        let home = Home::ensure(environment.clone())?;
        let book = CommandBook::open(&home)?;
        let backup = backup::keep(&home, &book, source, &listed.conversations)?;
        backup::bring(&home, &book, source, backup)?;
        book.close();
    }
    output::progress("the config");
    let mut lines: Vec<Line> = put_right(environment)?.into_iter().map(Line::of).collect();
    if let Err(error) = seal(&Home::ensure(environment.clone())?) {
        let outcome = Done::Failed { because: format!("{error:#}") };
        lines.push(Line { category: "Encryption", act: "seal what stands in the config".into(), outcome });
    }
    lines.extend(workspace::name(&Home::ensure(environment.clone())?, source)?);
    lines.extend(data::import(&Home::ensure(environment.clone())?, source, listed, is_shredding)?);
    output::progress("");
    let after = audit::look(environment, false);
    scores::keep(environment, &after, false);
    Ok((lines, after))
}

/// Puts right what is found, until nothing more is.
fn put_right(environment: &Environment) -> anyhow::Result<Vec<Item>> {
    let mut items = Vec::new();
    for _ in 0..ROUNDS {
        let report = audit::look(environment, false);
        let fixed = fix::all(environment, &report, Reach::Migration, false)?;
        let is_done = fixed.items.is_empty() || fixed.has_failed();
        items.extend(fixed.items);
        if is_done {
            break;
        }
    }
    Ok(items)
}

/// Moves keys of earlier generations to where they belong, and seals what is still in plaintext.
fn seal(home: &Home) -> anyhow::Result<()> {
    let text = change::text(home)?;
    let (_, moved) = moltbot_config::migrate(&text).map_err(|error| home::failed(&error))?;
    let secrets = moltbot_config::secrets(&text).map_err(|error| Exit::Config.because(error))?;
    if moved.is_empty() && !secrets.iter().any(|entry| entry.state.is_to_be_sealed()) {
        return Ok(());
    }
    let book = CommandBook::open(home)?;
    change::write(home, &book, &text, &text, "security migrate")?;
    book.close();
    Ok(())
}

/// A foreign installation is brought to where none is, or where this one was begun; and only as one file.
fn require_room(environment: &Environment, source: &Source) -> anyhow::Result<()> {
    let there = environment.config_path.clone().unwrap_or_else(|| environment.state_dir.join(CONFIG));
    if there.exists() && !backup::is_of(environment, source)? {
        return Err(Exit::Failed.because(format!(
            "{} is a config already; move that folder away, or name another with MOLTBOT_STATE_DIR",
            there.display()
        )));
    }
    let text = source.config()?;
    let value = std::str::from_utf8(&text).ok().and_then(|text| moltbot_config::value(text).ok());
    if value.as_ref().is_none_or(includes) {
        return Err(Exit::Config.because(format!(
            "the config in {} cannot be brought: it is not valid, or it includes other files; migrate that folder in place \
             (MOLTBOT_STATE_DIR), or write it as one file",
            source.state.path().display()
        )));
    }
    Ok(())
}

fn includes(value: &Value) -> bool {
    match value {
        Value::Object(members) => members.iter().any(|(name, value)| name == "$include" || includes(value)),
        Value::Array(values) => values.iter().any(includes),
        _ => false,
    }
}

fn tell(
    source: &Source,
    options: &Migrate,
    (before, after): (&Value, &Report),
    lines: &[Line],
) -> anyhow::Result<()> {
    let path = source.state.path().display().to_string();
    if options.json {
        let told = json!({
            "source": path, "dryRun": options.dry_run, "items": lines, "before": before, "after": after.score,
            "open": after.findings.len(),
        });
        return Ok(output::json(&told)?);
    }
    let what = if options.dry_run { "what a migration would do; nothing is changed" } else { "migrated" };
    output::line(&format!("{}: {what}", harmless(&path)))?;
    for category in CATEGORIES {
        let of = || lines.iter().filter(|line| line.category == category);
        if of().next().is_none() {
            output::line(&format!("[{category}] nothing to do"))?;
        }
        for line in of() {
            tell_one(line, options.dry_run)?;
        }
    }
    output::line(&audit::headline(after))?;
    for next in
        ["moltbot security audit --deep", "moltbot up", "moltbot security migrate --rollback takes it back"]
    {
        output::line(&format!("  next: {next}"))?;
    }
    Ok(())
}

fn tell_one(line: &Line, dry_run: bool) -> anyhow::Result<()> {
    let word = match &line.outcome {
        Done::Planned if dry_run => "would",
        outcome => outcome.name(),
    };
    let word = if line.has_failed() { output::paint(word, Paint::Bad) } else { word.to_owned() };
    let because =
        line.outcome.because().map(|because| format!(" ({})", harmless(because))).unwrap_or_default();
    Ok(output::line(&format!("[{}] {word}: {}{because}", line.category, harmless(&line.act)))?)
}
