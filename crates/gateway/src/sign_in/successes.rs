//! HTTP requests that signed in, counted: each is a sign-in of its own, and those of one source with one credential share
//! a record for a minute. The first is recorded before it is let in; how many followed is told when the minute is over.

use std::collections::BTreeMap;
use std::time::Duration;

use moltbot_config::limits;
use moltbot_policy::{Decision, Entry};

/// How long one record stands for those that follow it.
const MINUTE: Duration = Duration::from_secs(60);

/// The minutes that are open.
#[derive(Debug, Default)]
pub(super) struct Successes {
    minutes: BTreeMap<String, Minute>,
}

#[derive(Debug)]
struct Minute {
    entry: Entry,
    began: Duration,
    /// Requests after the first.
    count: u64,
}

impl Successes {
    /// Counts a request, when the record of this minute stands for it.
    pub(super) fn counted(&mut self, entry: &Entry, now: Duration) -> bool {
        match self.minutes.get_mut(&key(entry)) {
            Some(minute) if now.saturating_sub(minute.began) < MINUTE => {
                minute.count = minute.count.saturating_add(1);
                true
            }
            Some(_) | None => false,
        }
    }

    /// A request was recorded: its record stands for others from now on, unless there are too many to tell apart.
    pub(super) fn recorded(&mut self, entry: Entry, now: Duration) {
        let key = key(&entry);
        if let Some(minute) = self.minutes.get_mut(&key) {
            minute.began = now;
        } else if self.minutes.len() < limits::SHARED_SUCCESSES {
            self.minutes.insert(key, Minute { entry, began: now, count: 0 });
        }
    }

    /// What was counted in minutes that are over.
    pub(super) fn over(&mut self, now: Duration) -> Vec<Entry> {
        let is_over = |minute: &Minute| now.saturating_sub(minute.began) >= MINUTE;
        let over: Vec<String> =
            self.minutes.iter().filter(|(_, minute)| is_over(minute)).map(|(key, _)| key.clone()).collect();
        over.iter().filter_map(|key| self.minutes.remove(key)).filter_map(Minute::told).collect()
    }

    /// All that was counted and not told.
    pub(super) fn rest(&mut self) -> Vec<Entry> {
        std::mem::take(&mut self.minutes).into_values().filter_map(Minute::told).collect()
    }
}

impl Minute {
    fn told(self) -> Option<Entry> {
        let entry = Entry { decision: Decision::Done, ..self.entry };
        (self.count > 0).then(|| entry.with("count", self.count.to_string()))
    }
}

/// Who and from where: a source is its exact address, which is no coarser than what tries are counted for.
fn key(entry: &Entry) -> String {
    let detail = |name| entry.details.get(name).map_or("", String::as_str);
    [&entry.actor, detail("client"), detail("method"), detail("scopes"), detail("locality")].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn entry(actor: &str, client: &str) -> Entry {
        Entry::new(actor, "auth.sign_in", "gateway", Decision::Allowed).with("client", client)
    }

    #[test]
    fn requests_of_one_source_and_credential_share_a_record_for_a_minute() {
        let mut successes = Successes::default();
        let (one, other) = (entry("credential:token", "127.0.0.1"), entry("device:d", "127.0.0.1"));
        assert!(!successes.counted(&one, SECOND), "the first is recorded");
        successes.recorded(one.clone(), SECOND);
        assert!((2..60).all(|n| successes.counted(&one, SECOND * n)));
        assert!(!successes.counted(&other, SECOND * 3), "another credential has its own");
        assert!(!successes.counted(&entry("credential:token", "127.0.0.2"), SECOND), "and another source");
        assert!(!successes.counted(&one, SECOND * 61), "the next minute has the next record");
        assert_eq!(successes.over(SECOND * 60), []);
        let told = successes.over(SECOND * 61);
        assert_eq!(told, [Entry { decision: Decision::Done, ..one }.with("count", "58")]);
        assert_eq!(successes.rest(), []);
    }

    #[test]
    fn sources_that_are_too_many_are_recorded_one_by_one() {
        let mut successes = Successes::default();
        for n in 0..10_000 {
            successes.recorded(entry("credential:token", &n.to_string()), SECOND);
        }
        assert_eq!(successes.minutes.len(), limits::SHARED_SUCCESSES);
        assert!(!successes.counted(&entry("credential:token", "9999"), SECOND));
    }
}
