//! Whether the agent looks by itself whether there is something to do. It asks no model for nothing: a look costs its owner
//! money, and each is a chance for whoever wrote what it reads.

use moltbot_config::settings::{ActiveHours, HeartbeatConfig};

/// Minutes of a day.
const DAY: u16 = 24 * 60;

/// How it is when a look is due.
#[derive(Clone, Copy, Debug)]
pub struct Occasion<'a> {
    /// Whether a person asked for this look.
    pub is_asked: bool,
    /// Whether looks by itself were switched off since the start.
    pub is_off: bool,
    /// The text of `HEARTBEAT.md`, when there is one.
    pub file: Option<&'a str>,
    /// How much was said meanwhile that it is to be told.
    pub events: usize,
    /// Whether its conversation is at work, or somebody waits there.
    pub is_busy: bool,
    /// The minute of the day where the hours count, 0 to 1439.
    pub minute: u16,
}

/// Why it does not look.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Skip {
    /// Its conversation is at work; soon again.
    Busy,
    /// There is nothing to look for.
    Empty,
    /// It is switched off.
    Off,
    /// It is not the time of day.
    QuietHours,
}

impl Skip {
    /// How clients name it; upstream's words.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Busy => "requests-in-flight",
            Self::Empty => "empty-heartbeat-file",
            Self::Off => "disabled",
            Self::QuietHours => "quiet-hours",
        }
    }
}

/// Judges one occasion. What a person asks for now needs no hour, and is done when looks by itself are off.
///
/// # Errors
/// Why it does not look.
pub fn judge(config: &HeartbeatConfig, now: &Occasion<'_>) -> Result<(), Skip> {
    if !now.is_asked && (now.is_off || config.every.0.is_zero()) {
        return Err(Skip::Off);
    }
    if !now.is_asked && !config.active_hours.as_ref().is_none_or(|hours| is_within(hours, now.minute)) {
        return Err(Skip::QuietHours);
    }
    if now.events == 0 && !now.file.is_some_and(asks_for_something) {
        return Err(Skip::Empty);
    }
    if now.is_busy { Err(Skip::Busy) } else { Ok(()) }
}

/// Whether a minute is in those hours. Hours that end where they begin are a whole day.
fn is_within(hours: &ActiveHours, minute: u16) -> bool {
    let (start, end) = (hours.start.0 % DAY, hours.end.0 % DAY);
    match (start, end) {
        _ if start == end => true,
        _ if start < end => (start..end).contains(&minute),
        _ => minute >= start || minute < end,
    }
}

/// Whether a text says more than headings, items without words, and comments.
fn asks_for_something(text: &str) -> bool {
    let mut rest = text;
    let mut said = String::with_capacity(text.len());
    while let Some((before, comment)) = rest.split_once("<!--") {
        said.push_str(before);
        // A comment without an end reaches to the end.
        rest = comment.split_once("-->").map_or("", |(_, after)| after);
    }
    said.push_str(rest);
    said.lines().any(|line| {
        let line = line.trim();
        let item = line.trim_start_matches(['-', '*', '+']).trim_start();
        let item = item.strip_prefix("[ ]").or_else(|| item.strip_prefix("[x]")).unwrap_or(item);
        !line.starts_with('#') && !line.starts_with("```") && !item.trim().is_empty()
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use moltbot_config::settings::{Every, TimeOfDay};

    use super::*;

    fn occasion(file: Option<&str>) -> Occasion<'_> {
        Occasion { is_asked: false, is_off: false, file, events: 0, is_busy: false, minute: 720 }
    }

    #[test]
    fn it_looks_only_for_something() {
        for (file, looks) in [
            (None, false),
            (Some(""), false),
            (Some("# Heartbeat\n\n## Checks\n- \n* [ ]\n+\n"), false),
            (Some("<!-- nothing\n- yet -->\n"), false),
            (Some("<!-- nothing\n- water the plants"), false),
            (Some("# Heartbeat\n- water the plants"), true),
            (Some("<!-- a --> call mum <!-- b -->"), true),
            (Some("- [ ] post"), true),
        ] {
            assert_eq!(judge(&HeartbeatConfig::default(), &occasion(file)).is_ok(), looks, "{file:?}");
        }
        let told = Occasion { events: 1, ..occasion(None) };
        assert_eq!(judge(&HeartbeatConfig::default(), &told), Ok(()));
        let busy = Occasion { is_busy: true, ..told };
        assert_eq!(judge(&HeartbeatConfig::default(), &busy), Err(Skip::Busy));
    }

    #[test]
    fn it_keeps_to_its_hours_unless_somebody_asks() {
        let time = |text| TimeOfDay::parse(text).unwrap();
        for (start, end, at, looks) in [
            ("08:00", "22:00", "08:00", true),
            ("08:00", "22:00", "07:59", false),
            ("08:00", "22:00", "22:00", false),
            ("22:00", "06:00", "23:00", true),
            ("22:00", "06:00", "05:59", true),
            ("22:00", "06:00", "12:00", false),
            ("00:00", "24:00", "23:59", true),
            ("08:00", "24:00", "23:59", true),
            ("08:00", "24:00", "00:00", false),
            ("08:00", "08:00", "03:00", true),
        ] {
            let hours = ActiveHours { end: time(end), start: time(start), timezone: None };
            let config = HeartbeatConfig { active_hours: Some(hours), ..HeartbeatConfig::default() };
            let now = Occasion { minute: time(at).0, ..occasion(Some("x")) };
            let expected = if looks { Ok(()) } else { Err(Skip::QuietHours) };
            assert_eq!(judge(&config, &now), expected, "{start} {end} {at}");
            assert_eq!(judge(&config, &Occasion { is_asked: true, ..now }), Ok(()));
        }
        let never = HeartbeatConfig { every: Every(Duration::ZERO), ..HeartbeatConfig::default() };
        assert_eq!(judge(&never, &occasion(Some("x"))), Err(Skip::Off));
        let off = Occasion { is_off: true, ..occasion(Some("x")) };
        assert_eq!(judge(&HeartbeatConfig::default(), &off), Err(Skip::Off));
        assert_eq!(judge(&never, &Occasion { is_asked: true, ..off }), Ok(()));
    }
}
