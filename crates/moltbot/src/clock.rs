//! The clock, read at the program's edge; everything else takes the time as an argument.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use jiff::tz::TimeZone;
use moltbot_config::settings::{AgentHeartbeat, AgentsConfig, HeartbeatConfig};
use moltbot_protocol::ids::AgentId;

/// Milliseconds since the epoch; zero on a machine whose clock is before it.
#[expect(clippy::disallowed_methods, reason = "the program's edge: time is an argument everywhere below")]
pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Where the machine says which time zone it is in, and where it describes zones.
const HERE: &str = "/etc/localtime";
const ZONES: &str = "/usr/share/zoneinfo";

/// The time zone of this machine, or the one that the variable `TZ` names, as every program reads it. UTC where neither says one.
pub(crate) fn zone(named: Option<&str>) -> TimeZone {
    let named = named.map(|name| name.trim_start_matches(':'));
    match named {
        Some(name) => described(name).or_else(|| TimeZone::posix(name).ok()).unwrap_or_else(|| {
            tracing::warn!(name, "the time zone that TZ names is not known here; times of day are in UTC");
            TimeZone::UTC
        }),
        None => file(Path::new(HERE)).unwrap_or(TimeZone::UTC),
    }
}

/// The time zones in which the hours of each agent's heartbeats count.
///
/// # Errors
/// When one is not known here: in another zone the agent would wake its owner.
pub(crate) fn zones_of_hours(
    config: &AgentsConfig,
    here: &TimeZone,
) -> Result<Vec<(AgentId, TimeZone)>, String> {
    let zone = |beats: AgentHeartbeat| {
        let path = beats.path("activeHours.timezone", |own| own.active_hours.is_some(), config);
        let zone = zone_of_hours(&beats.config, &path, here)?;
        Ok((beats.agent, zone))
    };
    config.heartbeats().into_iter().map(zone).collect()
}

fn zone_of_hours(config: &HeartbeatConfig, path: &str, here: &TimeZone) -> Result<TimeZone, String> {
    let named = config.active_hours.as_ref().and_then(|hours| hours.timezone.as_deref());
    match named {
        None | Some("local" | "user") => Ok(here.clone()),
        Some(name) => described(name).ok_or_else(|| format!(
            "{path} is {name:?}, which this machine does not know; write a name such as \"Europe/Vienna\" that is in {ZONES}, or \"local\""
        )),
    }
}

/// The zone of a name such as `Europe/Vienna`.
fn described(name: &str) -> Option<TimeZone> {
    let is_word = |word: &str| !word.is_empty() && !word.starts_with('.');
    if !name.split('/').all(is_word) {
        return None;
    }
    file(&Path::new(ZONES).join(name))
}

#[expect(clippy::disallowed_methods, reason = "the program's edge: the system's description of a time zone")]
fn file(path: &Path) -> Option<TimeZone> {
    let name = path.strip_prefix(ZONES).ok().and_then(Path::to_str).unwrap_or("local");
    TimeZone::tzif(name, &std::fs::read(path).ok()?).ok()
}

/// A time as people of every zone read it: `2026-01-31 12:00:00Z`.
pub(crate) fn readable(ms: u64) -> String {
    let stamp = i64::try_from(ms).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    stamp.map_or_else(|| "unknown".into(), |stamp| stamp.strftime("%Y-%m-%d %H:%M:%SZ").to_string())
}

/// How long something lasts, in its two largest units.
pub(crate) fn duration(ms: u64) -> String {
    let seconds = ms / 1000;
    match (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60, seconds % 60) {
        (0, 0, 0, s) => format!("{s} s"),
        (0, 0, m, s) => format!("{m} min {s} s"),
        (0, h, m, _) => format!("{h} h {m} min"),
        (d, h, ..) => format!("{d} d {h} h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zone_is_a_name_or_a_rule_and_no_path() {
        for (name, known) in
            [("UTC0", true), (":CET-1CEST,M3.5.0,M10.5.0/3", true), ("../../etc/localtime", false)]
        {
            let zone = zone(Some(name));
            assert_eq!(zone != TimeZone::UTC || name == "UTC0", known, "{name}: {zone:?}");
        }
        assert_eq!(described("/etc/localtime"), None);
    }

    #[test]
    fn times_and_durations_are_readable() {
        assert_eq!(readable(1_800_000_000_000), "2027-01-15 08:00:00Z");
        for (ms, text) in
            [(999, "0 s"), (61_000, "1 min 1 s"), (3_661_000, "1 h 1 min"), (90_000_000, "1 d 1 h")]
        {
            assert_eq!(duration(ms), text);
        }
    }
}
