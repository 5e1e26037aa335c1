//! What a stranger may see of settings and texts: what the schema names, and nothing that a person has chosen.
//!
//! It is a list of what is shown, not of what is hidden: a word of which nothing is known is hidden.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use serde_json::{Map, Value};

/// What stands for a word that is hidden.
const HIDDEN: &str = "(hidden)";
/// Words shorter than this are not looked for in texts: they would be found everywhere.
const LEAST: usize = 3;
/// A run of so many digits is a number of somebody or something.
const DIGITS: usize = 5;
/// A word of letters and digits that is so long is a token or the number of a thing.
const TOKEN: usize = 20;
/// The longest text of a duration, such as `30m`.
const DURATION: usize = 6;
/// Words that a config may have and everybody knows.
const KNOWN: [&str; 9] =
    ["main", "default", "owner", "127.0.0.1", "::1", "localhost", "telegram", "irc", "moltbot"];

/// What is hidden, learned from the settings of an installation.
pub(super) struct Mask {
    names: BTreeSet<String>,
    values: BTreeSet<String>,
    /// Words that a person has chosen, the longest first when they are looked for.
    own: BTreeSet<String>,
    /// What stands for names that a person has chosen, the same for the same.
    numbered: BTreeMap<String, usize>,
    home: String,
}

impl Mask {
    /// One that knows the schema of configs.
    pub(super) fn of(schema: &Value, home: &str) -> Self {
        let mut mask = Self {
            names: BTreeSet::new(),
            values: KNOWN.map(str::to_owned).into(),
            own: BTreeSet::new(),
            numbered: BTreeMap::new(),
            home: home.to_owned(),
        };
        mask.learn(schema);
        mask
    }

    fn learn(&mut self, schema: &Value) {
        match schema {
            Value::Object(members) => {
                let properties = members.get("properties").and_then(Value::as_object);
                self.names.extend(properties.into_iter().flat_map(Map::keys).cloned());
                let choices = members.get("enum").and_then(Value::as_array).into_iter().flatten();
                let choices = choices.chain(members.get("const"));
                self.values.extend(choices.filter_map(Value::as_str).map(str::to_owned));
                members.values().for_each(|value| self.learn(value));
            }
            Value::Array(values) => values.iter().for_each(|value| self.learn(value)),
            _ => {}
        }
    }

    /// Settings with what a person has chosen hidden; its words are hidden in texts from then on.
    pub(super) fn settings(&mut self, value: &Value) -> Value {
        match value {
            Value::Object(members) => {
                let masked = members.iter().map(|(name, value)| (self.name(name), self.settings(value)));
                Value::Object(masked.collect())
            }
            Value::Array(values) => Value::Array(
                values
                    .iter()
                    .map(|value| match value {
                        // In a list a number is most often somebody's.
                        Value::Number(number) => {
                            self.own.insert(number.to_string());
                            HIDDEN.into()
                        }
                        value => self.settings(value),
                    })
                    .collect(),
            ),
            Value::String(text) => self.value(text).into(),
            Value::Bool(_) | Value::Null | Value::Number(_) => value.clone(),
        }
    }

    fn name(&mut self, name: &str) -> String {
        if self.names.contains(name) || self.values.contains(name) {
            return name.to_owned();
        }
        self.own.insert(name.to_owned());
        let next = self.numbered.len().saturating_add(1);
        format!("(name {})", self.numbered.entry(name.to_owned()).or_insert(next))
    }

    fn value(&mut self, text: &str) -> String {
        if self.values.contains(text) || is_duration(text) {
            return text.to_owned();
        }
        self.own.insert(text.to_owned());
        format!("({} characters)", text.chars().count())
    }

    /// A text with words hidden that a person has chosen, addresses, tokens and long numbers.
    pub(super) fn text(&self, text: &str) -> String {
        let mut text = text.to_owned();
        let mut own: Vec<&String> = self.own.iter().filter(|word| word.chars().count() >= LEAST).collect();
        own.sort_by_key(|word| std::cmp::Reverse(word.len()));
        for word in own {
            text = text.replace(word.as_str(), HIDDEN);
        }
        if self.home.len() >= LEAST {
            text = text.replace(&self.home, "~");
        }
        let is_of_word = |c: char| c.is_alphanumeric() || "_@.:+-".contains(c);
        let mut masked = String::with_capacity(text.len());
        let mut rest = text.as_str();
        while let Some(first) = rest.chars().next() {
            let end = rest.find(|c| is_of_word(c) != is_of_word(first)).unwrap_or(rest.len());
            let (piece, after) = rest.split_at_checked(end).unwrap_or((rest, ""));
            masked.push_str(&if is_of_word(first) { self.word(piece) } else { piece.to_owned() });
            rest = after;
        }
        masked
    }

    fn word(&self, word: &str) -> String {
        let address = word.trim_matches(|c| ".:".contains(c));
        let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
        let ip = [address, host].into_iter().find_map(|text| text.parse::<IpAddr>().ok());
        if ip.is_some_and(|ip| !ip.is_loopback() && !ip.is_unspecified()) {
            return "(address)".into();
        }
        if self.names.contains(word) || ip.is_some() {
            return word.to_owned();
        }
        if word.split_once('@').is_some_and(|(user, host)| !user.is_empty() && host.contains('.')) {
            return "(address)".into();
        }
        let is_time = word.contains('T') && word.parse::<jiff::Timestamp>().is_ok();
        let has = |what: fn(char) -> bool| word.contains(what);
        if word.len() >= TOKEN && has(|c| c.is_ascii_digit()) && has(char::is_alphabetic) && !is_time {
            return HIDDEN.into();
        }
        if is_time { word.to_owned() } else { without_numbers(word) }
    }

    /// A value of a report with every text in it masked; its names are ours.
    pub(super) fn report(&self, value: &Value) -> Value {
        match value {
            Value::Object(members) => {
                members.iter().map(|(name, value)| (self.text(name), self.report(value))).collect()
            }
            Value::Array(values) => values.iter().map(|value| self.report(value)).collect(),
            Value::String(text) => self.text(text).into(),
            Value::Bool(_) | Value::Null | Value::Number(_) => value.clone(),
        }
    }
}

fn is_duration(text: &str) -> bool {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let unit = text.get(digits..).unwrap_or_default();
    digits > 0
        && text.len() <= DURATION
        && matches!(unit, "ms" | "s" | "m" | "h" | "d" | "w" | "kb" | "mb" | "gb")
}

/// The word with its long runs of digits replaced.
fn without_numbers(word: &str) -> String {
    let mut masked = String::with_capacity(word.len());
    for run in word.as_bytes().chunk_by(|a, b| a.is_ascii_digit() == b.is_ascii_digit()) {
        let is_long = run.len() >= DIGITS && run.iter().all(u8::is_ascii_digit);
        masked.push_str(&if is_long { "#".into() } else { String::from_utf8_lossy(run) });
    }
    masked
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn mask() -> Mask {
        Mask::of(&moltbot_config::schema(), "/home/ada")
    }

    #[test]
    fn settings_show_what_the_schema_knows_and_hide_what_a_person_has_chosen() {
        let config = json!({
            "gateway": {"port": 18789, "bind": "loopback", "auth": {"mode": "token", "token": "t0k3n"}},
            "channels": {"telegram": {"allowFrom": [4711, "ada"], "groups": {"-100123": {"requireMention": true}}}},
            "agents": {"list": [{"id": "turnip"}], "defaults": {"heartbeat": {"every": "30m"}, "workspace": "/home/ada/garden"}},
        });
        let mut mask = mask();
        let shown = mask.settings(&config);
        assert_eq!(shown["gateway"]["port"], 18789);
        assert_eq!(shown["gateway"]["bind"], "loopback");
        assert_eq!(shown["agents"]["defaults"]["heartbeat"]["every"], "30m");
        assert_eq!(shown["channels"]["telegram"]["groups"]["(name 1)"]["requireMention"], true);
        let text = shown.to_string();
        for hidden in ["t0k3n", "4711", "ada", "-100123", "turnip", "garden"] {
            assert!(!text.contains(hidden), "{hidden} is in {text}");
        }
        let told = mask.text("turnip said to -100123 in /home/ada/garden: t0k3n of 4711");
        assert_eq!(told, "(hidden) said to (hidden) in (hidden): (hidden) of (hidden)");
    }

    #[test]
    fn texts_lose_addresses_tokens_and_long_numbers_and_keep_the_rest() {
        let mask = mask();
        for (text, expected) in [
            ("listening on 127.0.0.1:18789", "listening on 127.0.0.1:18789"),
            ("from 192.168.7.9:4000, [2001:db8::1]", "from (address), [(address)]"),
            ("ada@example.org wrote 12345678 times", "(address) wrote # times"),
            ("run 6f1e2d3c4b5a69788796a5b4c3d2e1f0 ended", "run (hidden) ended"),
            ("2026-01-31T12:00:00.5Z in ~/x", "2026-01-31T12:00:00.5Z in ~/x"),
            ("in /home/ada/.moltbot", "in ~/.moltbot"),
            ("gateway.auth.token took 12 ms", "gateway.auth.token took 12 ms"),
            ("äöü 1234", "äöü 1234"),
        ] {
            assert_eq!(mask.text(text), expected);
        }
    }
}
