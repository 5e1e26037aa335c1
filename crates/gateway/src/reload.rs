//! The config's file while the gateway runs: looked at, taken up when it is valid, and changed for who administers it.
//!
//! What the start would refuse is refused here as well, whoever wrote it: the config that runs then goes on, and the log,
//! an event and `status` say so. What changes is in the book before it counts.

use std::sync::{Arc, Mutex};

use moltbot_config::settings::{GatewayMode, LoggingConfig};
use moltbot_config::{Config, Effect, changed, effect_of, limits};
use moltbot_policy::authentication::Credential;
use moltbot_policy::network;
use moltbot_policy::record_soon;
use moltbot_policy::secret::ConfigPermit;
use moltbot_protocol::event;
use secrecy::zeroize::Zeroizing;
use serde_json::{Value, json};
use tokio::time::MissedTickBehavior;

use crate::hooks::Hooks;
use crate::outbox::Delivery;
use crate::shared::{Shared, lock};

/// What clients are told of a file that is not valid; why is for the log.
const INVALID: &str = "the config file is not valid, so what runs goes on; see `moltbot config validate`";

/// A config that was read, with the file as it is written: references in place, secrets that stand in it as well.
pub struct ReadAnew {
    /// The settings.
    pub config: Config,
    /// The file, with what it includes.
    pub value: Value,
}

/// The config's file. Implemented by the program, over its vault. Everything may block.
pub trait ConfigFile: Send + Sync {
    /// What the file and those that it includes look like from outside: another text when one was changed.
    fn stamp(&self) -> String;

    /// The stamp of the file that the gateway was started with.
    fn first_stamp(&self) -> String;

    /// The file's own text.
    ///
    /// # Errors
    /// Why it cannot be read.
    fn text(&self) -> Result<Zeroizing<String>, String>;

    /// Reads the file as a start would, with its secrets opened once that is in the book.
    ///
    /// # Errors
    /// Everything that is wrong with it; without secrets.
    fn read(&self) -> Result<ReadAnew, String>;

    /// Judges a text that is to become the file's.
    ///
    /// # Errors
    /// Everything that is wrong with it; without secrets.
    fn judge(&self, text: &str) -> Result<ReadAnew, String>;

    /// Writes `new` in place of `old`, sealed, once it is in the book that `actor` did it by `command`; the history keeps
    /// `old`.
    ///
    /// # Errors
    /// When it is not valid, cannot be recorded, or cannot be written; the file is then as it was.
    fn write(&self, old: &str, new: &str, command: &str, actor: &str) -> Result<(), String>;

    /// Logs what these settings say from now on.
    fn log_as(&self, logging: &LoggingConfig);
}

/// What is known of the file.
pub(crate) struct Live {
    file: Arc<dyn ConfigFile>,
    known: Mutex<Known>,
    /// Held while the file is taken up or written, so that neither sees half of the other.
    turn: tokio::sync::Mutex<()>,
}

struct Known {
    /// What the gateway was started with.
    started: Value,
    /// What was taken up last.
    value: Value,
    /// How the file looked then.
    stamp: String,
    /// Whether the file is not valid now.
    is_invalid: bool,
    /// Settings that count after a restart, or when they are asked for.
    waiting: Vec<String>,
}

/// What became of a changed file.
pub(crate) struct TakenUp {
    pub(crate) applied: Vec<String>,
    pub(crate) waiting: Vec<String>,
}

impl Live {
    pub(crate) fn new(file: Arc<dyn ConfigFile>, started: Value) -> Self {
        let stamp = file.first_stamp();
        let known = Known { value: started.clone(), started, stamp, is_invalid: false, waiting: Vec::new() };
        Self { file, known: Mutex::new(known), turn: tokio::sync::Mutex::default() }
    }

    pub(crate) fn file(&self) -> Arc<dyn ConfigFile> {
        Arc::clone(&self.file)
    }

    /// The settings that were taken up last.
    pub(crate) fn running(&self) -> Value {
        lock(&self.known).value.clone()
    }

    /// What `status` says of it.
    pub(crate) fn status(&self) -> Value {
        let known = lock(&self.known);
        let error = known.is_invalid.then_some(INVALID);
        json!({"valid": !known.is_invalid, "error": error, "restart": known.waiting})
    }
}

/// Looks at the file until the gateway stops.
pub(crate) async fn watch(shared: Arc<Shared>) {
    let mut looks = tokio::time::interval(limits::CONFIG_LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut seen: Option<String> = None;
    loop {
        looks.tick().await;
        let file = shared.live.file();
        let Ok(stamp) = tokio::task::spawn_blocking(move || file.stamp()).await else { continue };
        if stamp == lock(&shared.live.known).stamp {
            seen = None;
        } else if seen.as_ref() == Some(&stamp) {
            // Nothing has moved since the last look: whoever writes it has finished.
            seen = None;
            drop(take_up(&shared).await);
        } else {
            seen = Some(stamp);
        }
    }
}

/// Takes the file up as it is now.
///
/// # Errors
/// Why it is not taken up: what runs goes on.
pub(crate) async fn take_up(shared: &Arc<Shared>) -> Result<TakenUp, String> {
    let _turn = shared.live.turn.lock().await;
    take_up_in_turn(shared).await
}

async fn take_up_in_turn(shared: &Arc<Shared>) -> Result<TakenUp, String> {
    let file = shared.live.file();
    let read = tokio::task::spawn_blocking(move || {
        // Before it is read: what is written meanwhile is seen at the next look.
        let stamp = file.stamp();
        (stamp, file.read())
    });
    let (stamp, read) = read.await.map_err(|error| error.to_string())?;
    let started = read.and_then(|read| {
        let hooks = require_start(shared, &read.config)?;
        Ok((read, hooks))
    });
    lock(&shared.live.known).stamp = stamp;
    match started {
        Ok((read, hooks)) => count(shared, read, hooks).await,
        Err(why) => {
            lock(&shared.live.known).is_invalid = true;
            tracing::error!(why, "the config file was changed and is not valid; what runs goes on");
            shared.health.touch();
            let payload = json!({"valid": false, "error": INVALID});
            shared.hub.broadcast(event::CONFIG_CHANGED, &payload, Delivery::Must);
            Err(why)
        }
    }
}

/// Has what was changed count as far as it can now, once it is in the book.
async fn count(shared: &Arc<Shared>, read: ReadAnew, hooks: Option<Hooks>) -> Result<TakenUp, String> {
    let (before, started, was_invalid) = {
        let known = lock(&shared.live.known);
        (known.value.clone(), known.started.clone(), known.is_invalid)
    };
    let at_once = |path: &String| effect_of(path) == Effect::AtOnce;
    let new = changed(&before, &read.value);
    let waiting: Vec<String> =
        changed(&started, &read.value).into_iter().filter(|path| !at_once(path)).collect();
    let applied: Vec<String> = new.iter().filter(|path| at_once(path)).cloned().collect();
    if !new.is_empty() {
        let changes = moltbot_config::diff(&before.to_string(), &read.value.to_string());
        let changes = changes.map_err(|error| error.to_string())?;
        let file = shared.config_path.display().to_string();
        let permit = ConfigPermit::for_owner(file, "reload", changes, "gateway");
        drop(record_soon(permit, &shared.ledger).await.map_err(|error| error.to_string())?);
        shared.live.file().log_as(&read.config.logging);
        if new.iter().any(|path| path.starts_with("hooks")) {
            shared.replace_hooks(hooks);
        }
        tracing::info!(?applied, ?waiting, "the config was changed");
    }
    {
        let mut known = lock(&shared.live.known);
        known.value = read.value;
        known.is_invalid = false;
        known.waiting.clone_from(&waiting);
    }
    if !new.is_empty() || was_invalid {
        shared.health.touch();
        let payload = json!({"valid": true, "applied": applied, "restart": waiting});
        shared.hub.broadcast(event::CONFIG_CHANGED, &payload, Delivery::Must);
    }
    Ok(TakenUp { applied, waiting })
}

/// Refuses what a start would refuse; the hooks as they would be answered.
pub(crate) fn require_start(shared: &Shared, config: &Config) -> Result<Option<Hooks>, String> {
    if config.gateway.mode == GatewayMode::Remote {
        return Err("gateway.mode is \"remote\", so that no gateway would run here".into());
    }
    let credential = Credential::from_config(&config.gateway.auth).map_err(|error| error.to_string())?;
    let permit = network::bind(&config.gateway, &credential, &shared.own_addresses, shared.state.path());
    drop(permit.map_err(|refusal| refusal.message)?);
    let hooks = Hooks::of(config).map_err(|error| error.to_string())?;
    match hooks.as_ref().and_then(|hooks| shared.channels.covered_by(hooks)) {
        None => Ok(hooks),
        Some(place) => {
            Err(format!("the webhook of {place} is below hooks.path; choose another path for one of them"))
        }
    }
}

/// How the file is to be changed: from its settings without secrets to what they are to be.
pub(crate) type Wanted = Box<dyn FnOnce(Value) -> Result<Value, String> + Send>;

/// Why a change of the file was not made.
pub(crate) enum NotWritten {
    /// It was changed by somebody else, or the caller did not say what it was.
    Conflict(&'static str),
    /// The config would not be valid, or what is asked for is none.
    Invalid(String),
    /// It cannot be read, recorded or written.
    Failed(String),
}

/// Changes the file and takes it up.
pub(crate) async fn write(
    shared: &Arc<Shared>,
    base: Option<String>,
    wanted: Wanted,
    command: &'static str,
    actor: String,
) -> Result<TakenUp, NotWritten> {
    let _turn = shared.live.turn.lock().await;
    let inside = Arc::clone(shared);
    let written = tokio::task::spawn_blocking(move || {
        let file = inside.live.file();
        let old = file.text().map_err(NotWritten::Failed)?;
        let Some(base) = base else {
            return Err(NotWritten::Conflict("config base hash required; re-run config.get and retry"));
        };
        if base != hash(&old) {
            return Err(NotWritten::Conflict("config changed since last load; re-run config.get and retry"));
        }
        let invalid = |error: moltbot_config::EditError| NotWritten::Invalid(error.to_string());
        let target = wanted(moltbot_config::shown(&old).map_err(invalid)?).map_err(NotWritten::Invalid)?;
        let new = Zeroizing::new(moltbot_config::rewrite(&old, &target).map_err(invalid)?);
        let read = file.judge(&new).map_err(NotWritten::Invalid)?;
        require_start(&inside, &read.config).map_err(NotWritten::Invalid)?;
        if *new == *old {
            return Ok(());
        }
        file.write(&old, &new, command, &actor).map_err(NotWritten::Failed)
    });
    written.await.map_err(|error| NotWritten::Failed(error.to_string()))??;
    take_up_in_turn(shared).await.map_err(NotWritten::Failed)
}

/// What a client shows to prove which text it has seen: SHA-256 in hex, as upstream.
pub(crate) fn hash(text: &str) -> String {
    use sha2::{Digest as _, Sha256};
    Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}
