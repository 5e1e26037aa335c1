//! `auth-audit.jsonl`: one line for every attempt to sign in, of every kind, whatever came of it.
//!
//! Successes go to a file of their own as well, which failures cannot push out.

use std::net::IpAddr;

use moltbot_config::limits;
use moltbot_policy::throttle::Source;

use super::flood::Flood;
use super::line::Line;
use super::rotating::Rotating;
use crate::query::Record;

pub(super) const FILE: &str = "auth-audit.jsonl";
pub(super) const SUCCESSES: &str = "auth-audit-success.jsonl";
/// What stands where an entry does not say.
const UNKNOWN: &str = "unknown";
/// The longest id or reason, in bytes: a device's id has 64.
const TEXT: usize = 256;

/// The view.
#[derive(Debug)]
pub(super) struct AuthView {
    all: Rotating,
    successes: Rotating,
    refused: Flood,
    allowed: Flood,
}

impl AuthView {
    pub(super) fn new(all: Rotating, successes: Rotating) -> Self {
        let refused = Flood::new(limits::VIEW_REPEATS, limits::VIEW_REFUSALS);
        let allowed = Flood::new(limits::VIEW_SUCCESSES_EACH, limits::VIEW_SUCCESSES);
        Self { all, successes, refused, allowed }
    }

    /// Adds an attempt.
    pub(super) fn add(&mut self, record: &Record) {
        let client =
            record.detail("client").or_else(|| record.actor.strip_prefix("source:")).unwrap_or(UNKNOWN);
        let success = !record.is_refused();
        let source = client.parse::<IpAddr>().map_or_else(|_| client.into(), source_of);
        let count = record.detail("count").and_then(|count| count.parse().ok()).unwrap_or(1).max(1);
        let (at, line) = (record.millis(), line(record, client, success));
        if success {
            let source = format!("{source} {}", record.actor);
            if let Some(line) = self.allowed.admit(&source, at, count, line) {
                self.write_success(&line);
            }
        } else if let Some(line) = self.refused.admit(&source, at, count, line) {
            self.all.write(&line);
        }
    }

    /// Lets time pass: what was counted in a minute that is over is written.
    pub(super) fn pass(&mut self, now: i64) {
        let refused = self.refused.pass(now, |at| many(at, false));
        let allowed = self.allowed.pass(now, |at| many(at, true));
        self.write(&refused, &allowed);
    }

    /// Writes what was counted so far.
    pub(super) fn close(&mut self) {
        let refused = self.refused.close(|at| many(at, false));
        let allowed = self.allowed.close(|at| many(at, true));
        self.write(&refused, &allowed);
    }

    pub(super) const fn lost(&self) -> u64 {
        self.all.lost().saturating_add(self.successes.lost())
    }

    fn write(&mut self, refused: &[String], allowed: &[String]) {
        refused.iter().for_each(|line| self.all.write(line));
        allowed.iter().for_each(|line| self.write_success(line));
    }

    fn write_success(&mut self, line: &str) {
        self.successes.write(line);
        self.all.write(line);
    }
}

/// What attempts are counted for, as the throttle sees it.
fn source_of(address: IpAddr) -> String {
    Source::of(address).address().to_string()
}

fn line(record: &Record, client: &str, success: bool) -> Line {
    let user = record.detail("user").or_else(|| record.actor.strip_prefix("device:"));
    let kind = if record.action.starts_with("pairing.") { "pairing" } else { UNKNOWN };
    let reason = record.detail("reason").or_else(|| record.detail("code"));
    Line::at(record.millis())
        .text("clientIp", client, TEXT)
        .text("method", record.detail("method").unwrap_or(kind), TEXT)
        .flag("success", success)
        .optional("reason", reason.filter(|_| !success), TEXT)
        .optional("userId", user, TEXT)
        .optional("way", record.detail("way"), TEXT)
        .optional("locality", record.detail("locality"), TEXT)
        .number("seq", i64::try_from(record.seq).ok())
}

/// The line for sources that were too many to tell apart.
fn many(at: i64, success: bool) -> Line {
    let line =
        Line::at(at).text("clientIp", "many", TEXT).text("method", "any", TEXT).flag("success", success);
    line.text("reason", "too many sources in one minute", TEXT)
}
