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
use crate::commands::service::{OWN_UNITS, UNIT};
use crate::environment::Environment;
use crate::home::{Home, LOCK};
use crate::{certificate, serve};

/// The largest book that is searched without `--deep`.
const BOOK_BYTES: u64 = 4 * 1024 * 1024;
/// The largest unit that is read.
const UNIT_BYTES: u64 = 64 * 1024;
/// Where units of services are, below the home when they do not begin with a slash, and what those of the gateway are called.
const UNITS: [&str; 2] = [OWN_UNITS, "/etc/systemd/system"];
const NAMES: [&str; 2] = [UNIT, "moltbot-gateway.service"];

/// Looks. `sealed` are the places of the config at which a secret stands sealed, and `devices` is what a gateway that is
/// this very program knows of them.
pub(super) fn gather(
    environment: &Environment,
    state: Option<&StateDir>,
    settings: Option<&Config>,
    sealed: &[String],
    deep: bool,
    devices: Option<&Value>,
) -> AgeFacts {
    let has_config = state.zip(settings);
    let asked = match (has_config, devices) {
        (None, _) => Err("there is no valid config".into()),
        (Some(_), Some(devices)) => Ok(devices.clone()),
        (Some((state, _)), None) => ask_devices(environment, state),
    };
    let credentials = match state {
        None => Ok(Vec::new()),
        Some(state) => credentials(state, sealed, deep),
    };
    AgeFacts {
        // Tokens of devices are known while a gateway runs alone; what is not known of them hides nothing of the others.
        credentials: credentials.map(|mut all| {
            all.extend(asked.iter().flat_map(|devices| of_paired(devices, in_use)));
            all
        }),
        certificate_ends_ms: has_config
            .and_then(|(state, config)| certificate::end(&config.gateway.tls, state)),
        pairings: asked.map(|devices| of_paired(&devices, unused)),
        units: units(&environment.home),
    }
}

/// Since when credentials are what they are: when the book was told last that one is sealed.
fn credentials(state: &StateDir, places: &[String], deep: bool) -> Result<Vec<(String, u64)>, String> {
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
    Ok(places.iter().filter_map(|place| last(place)).collect())
}

/// The devices that the gateway knows; only it does.
fn ask_devices(environment: &Environment, state: &StateDir) -> Result<Value, String> {
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
    asked.map_err(|error| format!("{error:#}"))
}

/// Devices with a token of which something holds, and since when.
fn of_paired(devices: &Value, since: fn(&Value) -> Option<u64>) -> Vec<(String, u64)> {
    let list =
        |value: &Value, name: &str| value.get(name).and_then(Value::as_array).cloned().unwrap_or_default();
    let mut found = Vec::new();
    for device in list(devices, "paired") {
        let id = device.get("deviceId").and_then(Value::as_str).unwrap_or_default();
        let name = format!("device {}", id.chars().take(16).collect::<String>());
        found.extend(list(&device, "tokens").iter().filter_map(since).map(|since| (name.clone(), since)));
    }
    found
}

fn number(token: &Value, name: &str) -> Option<u64> {
    token.get(name).and_then(Value::as_u64)
}

/// Since when a token waits for its first use.
fn unused(token: &Value) -> Option<u64> {
    let waits = number(token, "lastUsedAtMs").is_none() && number(token, "revokedAtMs").is_none();
    number(token, "createdAtMs").filter(|_| waits)
}

/// Since when a token is what it is.
fn in_use(token: &Value) -> Option<u64> {
    let is_issued = token.get("issued").and_then(Value::as_bool) == Some(true);
    let since = number(token, "rotatedAtMs").or_else(|| number(token, "createdAtMs"));
    since.filter(|_| is_issued && number(token, "revokedAtMs").is_none())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_as_old_as_its_last_change_and_one_that_was_taken_back_has_no_age() {
        let tokens = json!([
            {"issued": true, "createdAtMs": 1, "lastUsedAtMs": 9},
            {"issued": true, "createdAtMs": 2, "rotatedAtMs": 5},
            {"issued": true, "createdAtMs": 3, "revokedAtMs": 8},
            {"issued": false, "createdAtMs": 4},
        ]);
        let devices =
            json!({"paired": [{"deviceId": "0123456789abcdefXYZ", "tokens": tokens}], "pending": []});
        let named = |all: &[u64]| -> Vec<_> {
            all.iter().map(|since| ("device 0123456789abcdef".to_owned(), *since)).collect()
        };
        assert_eq!(of_paired(&devices, in_use), named(&[1, 5]));
        assert_eq!(of_paired(&devices, unused), named(&[2, 4]));
        assert_eq!(of_paired(&json!({}), in_use), named(&[]));
    }

    #[test]
    fn what_the_book_was_told_last_of_a_place_is_its_age_whoever_it_lets_in() {
        let home = moltbot_testkit::home::Home::empty().unwrap();
        let state = home.state();
        let ledger = moltbot_ledger::Ledger::open(
            &state,
            &moltbot_testkit::vault(&state),
            moltbot_ledger::LedgerOptions::default(),
        );
        let ledger = ledger.unwrap();
        for places in ["gateway.auth.token models.providers.own.apiKey", "gateway.auth.token"] {
            let permit = moltbot_policy::secret::SecretPermit::for_owner(SecretAct::Seal, places, "cli");
            drop(moltbot_policy::record(permit, &ledger).unwrap());
        }
        ledger.shutdown();
        let places = ["models.providers.own.apiKey", "channels.telegram.botToken"].map(str::to_owned);
        let found = credentials(&state, &places, true).unwrap();
        assert_eq!(
            found.iter().map(|(place, _)| place.as_str()).collect::<Vec<_>>(),
            ["models.providers.own.apiKey"]
        );
    }
}
