//! Checks of what has been there too long, ends soon, or is there for nobody: credentials, the certificate, pairings; and of
//! the unit that starts the gateway.

use super::facts::Facts;
use super::{Check, Evidence, Outcome};

pub(super) const CHECKS: &[(&str, Check)] = &[
    ("secrets.rotation_overdue", overdue),
    ("gateway.tls.certificate_ends", certificate),
    ("security.pairings_unused", pairings),
    ("host.unit_exposed", units),
];

const DAY_MS: u64 = 24 * 60 * 60 * 1000;
/// How long a credential is used at most.
const ROTATION_DAYS: u64 = 90;
/// How long before its end a certificate is told.
const ENDING_DAYS: u64 = 30;
/// How long a pairing may wait for its first use.
const UNUSED_DAYS: u64 = 30;

/// What has an age, or an end.
#[derive(Clone, Debug)]
pub struct AgeFacts {
    /// Since when each credential of the config is what it is: its place, and milliseconds since the epoch. Else why that is
    /// not known.
    pub credentials: Result<Vec<(String, u64)>, String>,
    /// When the gateway's certificate ends; absent when it shows none.
    pub certificate_ends_ms: Option<u64>,
    /// Pairings that were never used: who, and since when. Else why that is not known.
    pub pairings: Result<Vec<(String, u64)>, String>,
    /// Units of services that start the gateway: where, and what each does without.
    pub units: Vec<(String, Vec<&'static str>)>,
}

fn days_since(facts: &Facts<'_>, since_ms: u64) -> u64 {
    facts.now_ms.saturating_sub(since_ms) / DAY_MS
}

fn overdue(facts: &Facts<'_>) -> Outcome {
    match &facts.age.credentials {
        Err(why) => Outcome::NotRun(why.clone()),
        Ok(all) => Outcome::from(older(facts, all, ROTATION_DAYS, "it was last changed")),
    }
}

fn pairings(facts: &Facts<'_>) -> Outcome {
    match &facts.age.pairings {
        Err(why) => Outcome::NotRun(why.clone()),
        Ok(all) => Outcome::from(older(facts, all, UNUSED_DAYS, "it was approved and never used;")),
    }
}

fn older(facts: &Facts<'_>, all: &[(String, u64)], most: u64, what: &str) -> Vec<Evidence> {
    let days = all.iter().map(|(place, since)| (place, days_since(facts, *since)));
    days.filter(|(_, days)| *days > most)
        .map(|(place, days)| Evidence::new(place, format!("{what} {days} days ago")))
        .collect()
}

fn certificate(facts: &Facts<'_>) -> Outcome {
    let Some(ends) = facts.age.certificate_ends_ms else { return Outcome::Passed };
    let left = ends.saturating_sub(facts.now_ms) / DAY_MS;
    let seen = match left {
        0 => "it ends today, or has ended".to_owned(),
        left => format!("it ends in {left} days"),
    };
    Outcome::when(left < ENDING_DAYS, "gateway.tls", seen)
}

fn units(facts: &Facts<'_>) -> Outcome {
    let open = facts.age.units.iter().filter(|(_, missing)| !missing.is_empty());
    Outcome::from(
        open.map(|(path, missing)| Evidence::new(path, format!("it lacks {}", missing.join(", ")))).collect(),
    )
}

/// Settings of a unit that cost a gateway and its sandbox nothing, each with the values that do it.
///
/// Not among them: `MemoryDenyWriteExecute=`, which ends commands that compile while they run, `ProtectHostname=`, with
/// which no sandbox starts, and `RestrictSUIDSGID=`, which takes `openat2` away, so that no file is opened at all.
const WANTED: [(&str, &[&str]); 7] = [
    ("LockPersonality=yes", YES),
    ("NoNewPrivileges=yes", YES),
    ("ProtectClock=yes", YES),
    ("ProtectKernelModules=yes", YES),
    ("ProtectSystem=strict", &["strict", "full"]),
    ("RestrictRealtime=yes", YES),
    ("UMask=0077", &["0077", "077"]),
];
const YES: &[&str] = &["yes", "true", "on", "1"];

/// What the unit of a service does without that would cost it nothing. Of a setting that is there twice the last counts.
pub fn missing_in_unit(text: &str) -> Vec<&'static str> {
    let mut section = "";
    let mut settings: Vec<(&str, &str)> = Vec::new();
    for line in text.lines().map(str::trim).filter(|line| !line.starts_with(['#', ';'])) {
        if line.starts_with('[') {
            section = line;
        } else if let Some((name, value)) = line.split_once('=').filter(|_| section == "[Service]") {
            settings.push((name.trim(), value.trim()));
        }
    }
    let lacks = |(wanted, values): &&(&'static str, &[&str])| {
        let name = wanted.split('=').next().unwrap_or_default();
        let set = settings.iter().rev().find(|(one, _)| *one == name);
        !set.is_some_and(|(_, value)| values.contains(&&*value.to_lowercase()))
    };
    WANTED.iter().filter(lacks).map(|(wanted, _)| *wanted).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_is_read_as_systemd_reads_it() {
        let whole: String = WANTED.iter().map(|(wanted, _)| format!("{wanted}\n")).collect();
        let unit = format!("[Unit]\nDescription=x\n[Service]\n# a comment\n{whole}\n[Install]\n");
        assert_eq!(missing_in_unit(&unit), Vec::<&str>::new());
        assert_eq!(missing_in_unit(&unit.replace("UMask=0077", "UMask = 077")), Vec::<&str>::new());
        for (change, lacks) in [
            (unit.replace("NoNewPrivileges=yes", "#NoNewPrivileges=yes"), "NoNewPrivileges=yes"),
            (unit.replace("ProtectSystem=strict", "ProtectSystem=yes"), "ProtectSystem=strict"),
            (unit.replace("UMask=0077", "UMask=0077\nUMask=0022"), "UMask=0077"),
        ] {
            assert_eq!(missing_in_unit(&change), [lacks], "{change}");
        }
        let elsewhere = format!("[Unit]\n{whole}[Service]\n");
        assert_eq!(missing_in_unit(&elsewhere).len(), WANTED.len());
    }
}
