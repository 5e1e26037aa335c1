//! What the book is told of messages that are not answered: one line for each sender, reason and minute, with a count, so
//! that whoever floods a channel does not flood the book.

use std::collections::HashMap;
use std::sync::Mutex;

use moltbot_config::limits;
use moltbot_policy::{Decision, Entry, Refusal};

use crate::shared::lock;

/// A minute, in milliseconds.
const MINUTE_MS: u64 = 60_000;
/// Those beyond [`limits::REFUSED_SENDERS`].
const OTHERS: &str = "others";

/// Who, by which way, and why.
type Key = (String, &'static str, &'static str);

/// Messages that were not answered in this minute.
#[derive(Debug, Default)]
pub(crate) struct Refusals(Mutex<Minute>);

#[derive(Debug, Default)]
struct Minute {
    began_ms: u64,
    counts: HashMap<Key, u64>,
}

impl Refusals {
    /// Counts one message that is not answered. Answers what the book is to be told: the first of its kind in a minute, and
    /// how many more there were in the minute before.
    pub(crate) fn count(&self, who: &str, way: &'static str, refusal: &Refusal, now_ms: u64) -> Vec<Entry> {
        let mut minute = lock(&self.0);
        let mut told = Vec::new();
        if now_ms.abs_diff(minute.began_ms) >= MINUTE_MS {
            let more = minute.counts.drain().filter(|(_, count)| *count > 1);
            told.extend(more.map(|(key, count)| entry(&key).with("more", (count - 1).to_string())));
            minute.began_ms = now_ms;
        }
        let mut key = (who.to_owned(), way, refusal.code);
        if minute.counts.len() >= limits::REFUSED_SENDERS && !minute.counts.contains_key(&key) {
            key = (OTHERS.into(), way, refusal.code);
        }
        let count = minute.counts.entry(key.clone()).or_default();
        *count = count.saturating_add(1);
        if *count == 1 {
            told.push(entry(&key).with("reason", refusal.message.clone()));
        }
        told
    }
}

fn entry((who, way, code): &Key) -> Entry {
    Entry::new(who, "message.refuse", *way, Decision::Refused).with("code", *code).buffered()
}

#[cfg(test)]
mod tests {
    use moltbot_protocol::sender::SenderId;

    use super::*;

    #[test]
    fn a_flood_is_a_few_lines_in_the_book() {
        let refusals = Refusals::default();
        let refusal = Refusal::new("sender_not_listed", "x");
        let mut lines = 0;
        for number in 0..10_000 {
            let sender = SenderId::new("irc", "default", "account", &format!("a{}", number % 500)).unwrap();
            lines += refusals.count(&sender.to_string(), "channel", &refusal, 100_000 + number).len();
        }
        assert_eq!(lines, limits::REFUSED_SENDERS + 1);
        let late = SenderId::new("irc", "default", "account", "late").unwrap();
        let told = refusals.count(&late.to_string(), "channel", &refusal, 100_000 + MINUTE_MS);
        let more: u64 = told.iter().filter_map(|entry| entry.details.get("more")?.parse::<u64>().ok()).sum();
        assert_eq!(more, 10_000 - u64::try_from(lines).unwrap(), "every one was counted");
    }
}
