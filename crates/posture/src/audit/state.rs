//! Checks of what lies on the disk and of the machine: files, keys, the book, the clock.

use std::path::Path;

use moltbot_vault::{Outcome as Found, PathKind, PathReport};

use super::catalog::info;
use super::facts::{ConfigFact, Facts, KeysFact, LedgerFact};
use super::{Check, Evidence, Outcome};
use crate::check::{Check as Row, Level};

pub(super) const CHECKS: &[(&str, Check)] = &[
    ("fs.state_dir.perms_world_writable", |facts| state_mode(facts, WORLD_WRITE, 0)),
    ("fs.state_dir.perms_group_writable", |facts| state_mode(facts, GROUP_WRITE, WORLD_WRITE)),
    ("fs.state_dir.perms_readable", |facts| state_mode(facts, READ, WRITE)),
    ("fs.state_dir.symlink", |facts| links(facts, Part::State)),
    ("fs.config.perms_writable", |facts| modes(facts, Part::Config, WRITE, 0)),
    ("fs.config.perms_world_readable", |facts| modes(facts, Part::Config, WORLD_READ, WRITE)),
    ("fs.config.perms_group_readable", |facts| modes(facts, Part::Config, GROUP_READ, WRITE | WORLD_READ)),
    ("fs.config.symlink", |facts| links(facts, Part::Config)),
    ("fs.auth_profiles.perms_writable", |facts| modes(facts, Part::Profiles, WRITE, 0)),
    ("fs.auth_profiles.perms_readable", |facts| modes(facts, Part::Profiles, READ, WRITE)),
    ("fs.credentials_dir.perms_writable", |facts| modes(facts, Part::Credentials, WRITE, 0)),
    ("fs.credentials_dir.perms_readable", |facts| modes(facts, Part::Credentials, READ, WRITE)),
    ("fs.sessions_store.perms_readable", |facts| modes(facts, Part::Sessions, OTHERS, 0)),
    ("fs.log_file.perms_readable", |facts| modes(facts, Part::Logs, OTHERS, 0)),
    ("fs.key_file.perms", |facts| modes(facts, Part::Keys, OTHERS, 0)),
    ("fs.other.perms", |facts| modes(facts, Part::Other, OTHERS, 0)),
    ("fs.foreign", foreign),
    ("fs.synced_dir", |facts| row(&facts.host.synced)),
    ("secrets.plaintext_in_copies", |facts| listed(&facts.plain.copies, "it is not sealed")),
    ("secrets.plaintext_in_credentials", |facts| {
        listed(&facts.plain.credentials, "it stands there as plaintext")
    }),
    ("secrets.keys_missing", keys_missing),
    ("secrets.keys_unusable", keys_unusable),
    ("ledger.missing", |facts| ledger(facts, "ledger.missing")),
    ("ledger.not_intact", |facts| ledger(facts, "ledger.not_intact")),
    ("ledger.unknown", |facts| ledger(facts, "ledger.unknown")),
    ("ledger.unanchored", |facts| ledger(facts, "ledger.unanchored")),
    ("gateway.stopped", stopped),
    ("host.running_as_root", |facts| {
        Outcome::when(facts.host.is_root, "user 0", "this program runs as root")
    }),
    ("host.swap", |facts| row(&facts.host.swap)),
    ("host.memory_lock", |facts| row(&facts.host.memory_lock)),
    ("host.clock", |facts| row(&facts.host.clock)),
    ("host.disk", |facts| facts.host.disk.as_ref().map_or_else(no_state, row)),
    ("security.audit.suppressions.active", suppressions),
    ("summary.attack_surface", surface),
];

const GROUP_READ: u32 = 0o050;
const GROUP_WRITE: u32 = 0o020;
const WORLD_READ: u32 = 0o005;
const WORLD_WRITE: u32 = 0o002;
const READ: u32 = GROUP_READ | WORLD_READ;
const WRITE: u32 = GROUP_WRITE | WORLD_WRITE;
const OTHERS: u32 = 0o077;

/// What a path belongs to.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Part {
    State,
    Config,
    Profiles,
    Credentials,
    Sessions,
    Logs,
    Keys,
    Other,
}

fn part(path: &Path, facts: &Facts<'_>) -> Part {
    let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let (state, config) = (real(facts.state), real(facts.config_path));
    if path == facts.state || path == state {
        return Part::State;
    }
    if path == facts.config_path || path == config {
        return Part::Config;
    }
    if path.file_name().is_some_and(|name| name == "auth-profiles.json") {
        return Part::Profiles;
    }
    let below = path.strip_prefix(&state).or_else(|_| path.strip_prefix(facts.state));
    let first = below.ok().and_then(|below| below.iter().next()).and_then(|name| name.to_str());
    match first {
        Some("keys") => Part::Keys,
        Some("credentials") => Part::Credentials,
        Some("logs") => Part::Logs,
        Some(name) if name.starts_with("state.db") => Part::Sessions,
        Some("agents") if path.iter().any(|name| name == "sessions") => Part::Sessions,
        _ => Part::Other,
    }
}

fn of_part<'f>(facts: &'f Facts<'_>, wanted: Part) -> impl Iterator<Item = &'f PathReport> {
    facts.files.paths.iter().filter(move |found| part(&found.path, facts) == wanted)
}

/// Paths with one of the rights `any`, and none of those `but`, which another check tells.
fn modes(facts: &Facts<'_>, wanted: Part, any: u32, but: u32) -> Outcome {
    let open = of_part(facts, wanted).filter(|found| found.kind != PathKind::Link);
    let open = open.filter(|found| found.found & any != 0 && found.found & but == 0);
    Outcome::from(
        open.map(|found| Evidence::new(found.path.display().to_string(), found.to_string())).collect(),
    )
}

fn state_mode(facts: &Facts<'_>, any: u32, but: u32) -> Outcome {
    modes(facts, Part::State, any, but)
}

fn links(facts: &Facts<'_>, wanted: Part) -> Outcome {
    let path = if wanted == Part::State { facts.state } else { facts.config_path };
    let is_link = rustix::fs::lstat(path)
        .is_ok_and(|stat| rustix::fs::FileType::from_raw_mode(stat.st_mode) == rustix::fs::FileType::Symlink);
    Outcome::when(is_link, &path.display().to_string(), "it is a symbolic link")
}

/// What the vault could not close, or will not touch, because it is not the owner's or is no plain file.
fn foreign(facts: &Facts<'_>) -> Outcome {
    let told = facts.files.paths.iter().filter_map(|found| match &found.outcome {
        Found::Failed { fix, .. } => {
            Some(Evidence::new(found.path.display().to_string(), format!("{found}: {fix}")))
        }
        Found::Open(_) | Found::Removed | Found::Repaired(_) | Found::Skipped { .. } => None,
    });
    Outcome::from(told.collect())
}

fn listed(places: &[String], seen: &str) -> Outcome {
    Outcome::from(places.iter().map(|place| Evidence::new(place, seen)).collect())
}

fn row(check: &Row) -> Outcome {
    Outcome::when(check.level != Level::Ok, check.id, check.what.clone())
}

fn no_state() -> Outcome {
    Outcome::NotRun("there is no state folder".into())
}

fn keys_missing(facts: &Facts<'_>) -> Outcome {
    Outcome::when(
        facts.keys == KeysFact::Lost,
        "keys/secrets.key",
        "it is not there, and something is sealed with it",
    )
}

fn keys_unusable(facts: &Facts<'_>) -> Outcome {
    match &facts.keys {
        KeysFact::Unusable(why) => Outcome::when(true, "keys/secrets.key", why.clone()),
        KeysFact::Passphrase => {
            Outcome::NotRun("the keys wait for a passphrase, and nobody was asked".into())
        }
        KeysFact::Lost | KeysFact::None | KeysFact::Open => Outcome::Passed,
    }
}

fn ledger(facts: &Facts<'_>, id: &str) -> Outcome {
    let (told_by, seen) = match &facts.ledger {
        LedgerFact::Changed(what) => ("ledger.not_intact", what.clone()),
        LedgerFact::Intact { is_anchored: true, .. } => return Outcome::Passed,
        LedgerFact::Intact { .. } => ("ledger.unanchored", "no anchor remembers its end".to_owned()),
        LedgerFact::Missing => ("ledger.missing", "there is none".to_owned()),
        LedgerFact::Unknown(why) => ("ledger.unknown", why.clone()),
    };
    let is_unanchored = told_by == "ledger.unanchored";
    match id {
        id if id == told_by => Outcome::when(true, "ledger", seen),
        // Of a book that cannot be read, nothing else is known.
        "ledger.missing" => Outcome::Passed,
        _ if is_unanchored => Outcome::Passed,
        _ => Outcome::NotRun(format!("`{told_by}` is found: {seen}")),
    }
}

fn stopped(facts: &Facts<'_>) -> Outcome {
    match &facts.stopped_by {
        Some(by) => Outcome::when(true, "stop", format!("everything was stopped by {by}")),
        None => Outcome::Passed,
    }
}

fn suppressions(facts: &Facts<'_>) -> Outcome {
    let Some(value) = facts.config.value() else { return Outcome::Passed };
    let count = super::raw::items(value, super::suppressions::PLACE).len();
    Outcome::when(count > 0, super::suppressions::PLACE, format!("{count} suppressions are configured"))
}

/// The one line that says what is open; it is told whatever it says.
fn surface(facts: &Facts<'_>) -> Outcome {
    let ConfigFact::Valid { value } = &facts.config else { return Outcome::Passed };
    let on = |path: &str| if super::raw::is_set(value, path) { "on" } else { "off" };
    let channels: Vec<&str> = super::channels::served(value).map(|(name, _)| name).collect();
    let channels = if channels.is_empty() { "none".to_owned() } else { channels.join(", ") };
    let bind = super::raw::text(value, "gateway.bind").unwrap_or("loopback");
    let seen = format!(
        "bind {bind}; channels: {channels}; hooks {}; commands outside the sandbox {}",
        on("hooks.enabled"),
        on("tools.elevated.enabled"),
    );
    Outcome::when(info("summary.attack_surface").is_some(), "config", seen)
}
