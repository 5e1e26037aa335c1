//! What of an installation has an age or an end, as far as it can be known without changing anything.

use std::path::Path;

use jiff::Timestamp;
use moltbot_config::settings::Config;
use moltbot_ledger::LEDGER_FOLDER;
use moltbot_ledger::query::{Filter, Reader, search};
use moltbot_policy::secret::SecretAct;
use moltbot_policy::with_causes;
use moltbot_posture::audit::{AgeFacts, missing_in_unit};
use moltbot_protocol::method::Method;
use moltbot_protocol::scope::Scope;
use moltbot_vault::{StateDir, read_public};
use serde_json::{Value, json};

use crate::client::Connection;
use crate::environment::Environment;
use crate::home::{Home, LOCK, PASSWORD, TOKEN};
use crate::{certificate, serve};

/// Credentials of the config that let somebody in.
const CREDENTIALS: [&str; 3] = [TOKEN, PASSWORD, "hooks.token"];
/// The largest book that is searched without `--deep`.
const BOOK_BYTES: u64 = 4 * 1024 * 1024;
/// The largest unit that is read.
const UNIT_BYTES: u64 = 64 * 1024;
/// Where units of services are, below the home when they do not begin with a slash, and what those of the gateway are called.
const UNITS: [&str; 2] = [".config/systemd/user", "/etc/systemd/system"];
const NAMES: [&str; 2] = ["moltbot.service", "moltbot-gateway.service"];

/// Looks. `devices` is what a gateway that is this very program knows of them.
pub(super) fn gather(
    environment: &Environment,
    state: Option<&StateDir>,
    settings: Option<&Config>,
    deep: bool,
    devices: Option<&Value>,
) -> AgeFacts {
    let has_config = state.zip(settings);
    AgeFacts {
        credentials: match state {
            None => Ok(Vec::new()),
            Some(state) => credentials(state, deep),
        },
        certificate_ends_ms: has_config
            .and_then(|(state, config)| certificate::end(&config.gateway.tls, state)),
        pairings: match (has_config, devices) {
            (None, _) => Err("there is no valid config".into()),
            (Some(_), Some(devices)) => Ok(never_used(devices)),
            (Some((state, _)), None) => pairings(environment, state),
        },
        units: units(&environment.home),
    }
}

/// Since when credentials are what they are: when the book was told last that one is sealed.
fn credentials(state: &StateDir, deep: bool) -> Result<Vec<(String, u64)>, String> {
    let folder = state.find_folder(LEDGER_FOLDER).map_err(|error| with_causes(&error))?;
    let Some(folder) = folder else { return Ok(Vec::new()) };
    let names = folder.list().map_err(|error| with_causes(&error))?;
    let size = |name: &String| folder.path().join(name).symlink_metadata().map_or(0, |stat| stat.len());
    if !deep && names.iter().map(size).sum::<u64>() > BOOK_BYTES {
        return Err("`--deep` reads the whole book".into());
    }
    let filter = Filter { action: Some(SecretAct::Seal.name().to_owned()), ..Filter::default() };
    let sealed = search(&Reader::of(folder), &filter).map_err(|error| with_causes(&error))?;
    let last = |place: &str| {
        let of_it = |target: &str| target.split_whitespace().any(|one| one == place);
        let record = sealed.records.iter().rev().find(|record| of_it(&record.target))?;
        let at: Timestamp = record.ts.parse().ok()?;
        Some((place.to_owned(), u64::try_from(at.as_millisecond()).ok()?))
    };
    Ok(CREDENTIALS.into_iter().filter_map(last).collect())
}

/// Devices that were approved and never used. Only the gateway knows.
fn pairings(environment: &Environment, state: &StateDir) -> Result<Vec<(String, u64)>, String> {
    if !state.peek_lock(LOCK).is_ok_and(|found| found.is_some()) {
        return Err("no gateway runs that could be asked".into());
    }
    let asked = Home::ensure(environment.clone()).and_then(|home| {
        serve::block_on(async {
            let mut connection = Connection::open(&home, &[Scope::Pairing]).await?;
            let devices = connection.ask(Method::DevicePairList.name(), json!({})).await?;
            connection.close().await;
            Ok(devices)
        })
    });
    asked.map(|devices| never_used(&devices)).map_err(|error| format!("{error:#}"))
}

fn never_used(devices: &Value) -> Vec<(String, u64)> {
    let paired = devices.get("paired").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    paired.iter().flat_map(unused).collect()
}

fn unused(device: &Value) -> Vec<(String, u64)> {
    let id: String =
        device.get("deviceId").and_then(Value::as_str).unwrap_or_default().chars().take(16).collect();
    let tokens = device.get("tokens").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let number = |token: &Value, name: &str| token.get(name).and_then(Value::as_u64);
    let idle = tokens
        .iter()
        .filter(|token| number(token, "lastUsedAtMs").is_none() && number(token, "revokedAtMs").is_none());
    idle.filter_map(|token| Some((format!("device {id}"), number(token, "createdAtMs")?))).collect()
}

/// The units that there are, with what each does without.
fn units(home: &Path) -> Vec<(String, Vec<&'static str>)> {
    let paths = UNITS.into_iter().flat_map(|folder| NAMES.map(|name| home.join(folder).join(name)));
    let there = paths.filter(|path| path.symlink_metadata().is_ok());
    there
        .map(|path| {
            let missing = match read_public(&path, UNIT_BYTES) {
                Ok(bytes) => missing_in_unit(&String::from_utf8_lossy(&bytes)),
                Err(_) => vec!["a file that can be read and that nobody else can change"],
            };
            (path.display().to_string(), missing)
        })
        .collect()
}
