//! Refusals of sources that have used up their tries, counted: the book gets one record for each source and
//! minute, and a bounded number for each minute in all, however often they ask.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use moltbot_config::limits;
use moltbot_policy::throttle::Source;

/// How long refusals of one source are counted before they are told.
const MINUTE: Duration = Duration::from_secs(60);

/// Refusals that were not told yet, by source; those of sources that are too many by none.
#[derive(Debug, Default)]
pub(super) struct Limited {
    sources: HashMap<Option<Source>, Counted>,
}

#[derive(Debug)]
struct Counted {
    /// The last address of the source.
    client: Option<IpAddr>,
    told: Duration,
    count: u64,
}

/// What the book is told.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Told {
    /// The address; nothing when there were too many to tell apart.
    pub(super) client: Option<IpAddr>,
    /// How many refusals.
    pub(super) count: u64,
}

impl Limited {
    /// Counts a refusal; the first of a source in a minute is told, with those counted before.
    pub(super) fn refused(&mut self, client: IpAddr, now: Duration) -> Option<Told> {
        let known = self.sources.contains_key(&Some(Source::of(client)));
        let client = (known || self.sources.len() < limits::LIMITED_SOURCES).then_some(client);
        let new = Counted { client, told: Duration::ZERO, count: 0 };
        let mut first = false;
        let counted = self.sources.entry(client.map(Source::of)).or_insert_with(|| {
            first = true;
            new
        });
        counted.client = client;
        counted.count = counted.count.saturating_add(1);
        (first || now.saturating_sub(counted.told) >= MINUTE).then(|| counted.tell(now))
    }

    /// What was counted of sources that were last told of a minute ago. Sources that were silent since are forgotten.
    pub(super) fn over(&mut self, now: Duration) -> Vec<Told> {
        let is_over = |counted: &Counted| now.saturating_sub(counted.told) >= MINUTE;
        self.sources.retain(|_, counted| counted.count > 0 || !is_over(counted));
        let over = self.sources.values_mut().filter(|counted| is_over(counted));
        over.map(|counted| counted.tell(now)).collect()
    }

    /// All that was counted and not told.
    pub(super) fn rest(&mut self, now: Duration) -> Vec<Told> {
        let counted = self.sources.values_mut().filter(|counted| counted.count > 0);
        counted.map(|counted| counted.tell(now)).collect()
    }
}

impl Counted {
    fn tell(&mut self, now: Duration) -> Told {
        self.told = now;
        Told { client: self.client, count: std::mem::take(&mut self.count) }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn d_25_a_refused_source_is_told_once_a_minute_with_its_count() {
        let mut limited = Limited::default();
        let client: IpAddr = "203.0.113.9".parse().unwrap();
        let told = |count| Some(Told { client: Some(client), count });
        assert_eq!(limited.refused(client, SECOND), told(1));
        for n in 2..60 {
            assert_eq!(limited.refused(client, SECOND * n), None);
        }
        assert_eq!(limited.over(SECOND * 60), [], "its minute is not over");
        assert_eq!(limited.refused(client, SECOND * 61), told(59));
        assert_eq!(limited.refused(client, SECOND * 62), None);
        assert_eq!(limited.over(SECOND * 121), [told(1).unwrap()], "told although it fell silent");
        assert_eq!(limited.over(SECOND * 181), []);
        assert!(limited.sources.is_empty(), "and forgotten");
    }

    #[test]
    fn d_25_a_flood_from_many_sources_is_bounded_and_counted() {
        let mut limited = Limited::default();
        let flood = |limited: &mut Limited, now| {
            let clients = (0..10_000_u32).map(|n| IpAddr::V4(Ipv4Addr::from(n + 0xcb00_0000)));
            clients.filter_map(|client| limited.refused(client, now)).collect::<Vec<_>>()
        };
        let first = flood(&mut limited, SECOND);
        assert_eq!(first.len(), limits::LIMITED_SOURCES + 1);
        let rest = limited.over(SECOND * 61);
        let total: u64 = first.iter().chain(&rest).map(|told| told.count).sum();
        assert_eq!((rest.len(), total), (1, 10_000), "{rest:?}");
    }
}
