//! Checks of the config as a whole: whether it is there, can be read, is valid, and says what it should not.

use moltbot_config::ConfigErrorKind;

use super::facts::{ConfigFact, Facts};
use super::raw::{text, walk};
use super::{Check, Evidence, Outcome};

pub(super) const CHECKS: &[(&str, Check)] = &[
    ("config.missing", missing),
    ("config.unreadable", unreadable),
    ("config.invalid", invalid),
    ("config.insecure_or_dangerous_flags", dangerous_flags),
    ("logging.redact_off", redact_off),
    ("config.secrets.gateway_password_in_config", |facts| plain(facts, |path| path == PASSWORD)),
    ("config.secrets.gateway_token_in_config", |facts| plain(facts, |path| path == TOKEN)),
    ("config.secrets.hooks_token_in_config", |facts| plain(facts, |path| path == HOOKS)),
    ("secrets.plaintext_in_config", |facts| plain(facts, |path| ![PASSWORD, TOKEN, HOOKS].contains(&path))),
];

const PASSWORD: &str = "gateway.auth.password";
const TOKEN: &str = "gateway.auth.token";
const HOOKS: &str = "hooks.token";

/// Flags that have a finding of their own.
const TOLD_ELSEWHERE: [&str; 2] =
    ["gateway.controlUi.allowInsecureAuth", "gateway.controlUi.dangerouslyDisableDeviceAuth"];

fn missing(facts: &Facts<'_>) -> Outcome {
    let is_missing = matches!(facts.config, ConfigFact::Missing);
    Outcome::when(is_missing, &facts.config_path.display().to_string(), "it is not there")
}

fn unreadable(facts: &Facts<'_>) -> Outcome {
    match &facts.config {
        ConfigFact::Missing => Outcome::NotRun("there is no config".into()),
        ConfigFact::Unreadable(why) => {
            Outcome::when(true, &facts.config_path.display().to_string(), why.clone())
        }
        ConfigFact::Invalid { .. } | ConfigFact::Valid { .. } => Outcome::Passed,
    }
}

fn invalid(facts: &Facts<'_>) -> Outcome {
    let ConfigFact::Invalid { errors, .. } = &facts.config else {
        return facts.of_config(|_| Outcome::Passed);
    };
    // A secret that does not open is the keys' finding when they are the cause.
    let told = errors.errors().iter().map(|error| {
        let place = if error.path.is_empty() { "the file" } else { &error.path };
        let kind = if error.kind == ConfigErrorKind::Refused { "refused: " } else { "" };
        Evidence::new(place, format!("{kind}{}", error.message))
    });
    Outcome::from(told.collect())
}

fn dangerous_flags(facts: &Facts<'_>) -> Outcome {
    facts.of_config(|value| {
        let mut found = Vec::new();
        walk(value, "", "", &mut |path, name, value| {
            let is_told = TOLD_ELSEWHERE.contains(&path);
            let is_flag = name.starts_with("dangerously")
                || name.starts_with("allowunsafe")
                || name == "allowinsecuretls";
            if is_flag && !is_told && value.as_bool() == Some(true) {
                found.push(Evidence::new(path, "it is set"));
            }
        });
        Outcome::from(found)
    })
}

fn redact_off(facts: &Facts<'_>) -> Outcome {
    facts.of_config(|value| {
        let is_off = text(value, "logging.redactSensitive") == Some("off");
        Outcome::when(is_off, "logging.redactSensitive", "\"off\"")
    })
}

fn plain(facts: &Facts<'_>, is_meant: impl Fn(&str) -> bool) -> Outcome {
    facts.of_config(|_| {
        let found = facts.plain.config.iter().filter(|path| is_meant(path));
        Outcome::from(found.map(|path| Evidence::new(path, "it stands there as plaintext")).collect())
    })
}
