//! Refusals of sources that are not heard (their tries are used up, they are punished, there is no place for them, they ask
//! for a foreign name), counted: the book gets one record for each source, reason and minute, and a bounded number for each
//! minute in all, however often they ask.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use moltbot_config::limits;
use moltbot_policy::throttle::Source;

/// How long refusals of one source are counted before they are told.
const MINUTE: Duration = Duration::from_secs(60);

/// Refusals that were not told yet, by source and code; those of sources that are too many by none.
#[derive(Debug, Default)]
pub(crate) struct Limited {
    sources: HashMap<(Option<Source>, &'static str), Counted>,
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
pub(crate) struct Told {
    /// The address; nothing when there were too many to tell apart.
    pub(super) client: Option<IpAddr>,
    /// Why.
    pub(super) code: &'static str,
    /// How many refusals.
    pub(super) count: u64,
}

impl Limited {
    /// Counts a refusal; the first of a source in a minute is told, with those counted before.
    pub(super) fn refused(&mut self, client: IpAddr, code: &'static str, now: Duration) -> Option<Told> {
        let known = self.sources.contains_key(&(Some(Source::of(client)), code));
        let client = (known || self.sources.len() < limits::LIMITED_SOURCES).then_some(client);
        let new = Counted { client, told: Duration::ZERO, count: 0 };
        let mut first = false;
        let counted = self.sources.entry((client.map(Source::of), code)).or_insert_with(|| {
            first = true;
            new
        });
        counted.client = client;
        counted.count = counted.count.saturating_add(1);
        (first || now.saturating_sub(counted.told) >= MINUTE).then(|| counted.tell(code, now))
    }

    /// What was counted of sources that were last told of a minute ago. Sources that were silent since are forgotten.
    pub(super) fn over(&mut self, now: Duration) -> Vec<Told> {
        let is_over = |counted: &Counted| now.saturating_sub(counted.told) >= MINUTE;
        self.sources.retain(|_, counted| counted.count > 0 || !is_over(counted));
        let over = self.sources.iter_mut().filter(|(_, counted)| is_over(counted));
        over.map(|((_, code), counted)| counted.tell(code, now)).collect()
    }

    /// All that was counted and not told.
    pub(super) fn rest(&mut self, now: Duration) -> Vec<Told> {
        let counted = self.sources.iter_mut().filter(|(_, counted)| counted.count > 0);
        counted.map(|((_, code), counted)| counted.tell(code, now)).collect()
    }
}

impl Counted {
    fn tell(&mut self, code: &'static str, now: Duration) -> Told {
        self.told = now;
        Told { client: self.client, code, count: std::mem::take(&mut self.count) }
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
        let code = "rate_limited";
        let told = |count| Some(Told { client: Some(client), code, count });
        assert_eq!(limited.refused(client, code, SECOND), told(1));
        for n in 2..60 {
            assert_eq!(limited.refused(client, code, SECOND * n), None);
        }
        assert_eq!(limited.over(SECOND * 60), [], "its minute is not over");
        assert_eq!(limited.refused(client, code, SECOND * 61), told(59));
        assert_eq!(limited.refused(client, code, SECOND * 62), None);
        assert_eq!(limited.over(SECOND * 121), [told(1).unwrap()], "told although it fell silent");
        assert_eq!(limited.over(SECOND * 181), []);
        assert!(limited.sources.is_empty(), "and forgotten");
        assert_eq!(
            limited.refused(client, "penalised", SECOND * 182),
            Some(Told { client: Some(client), code: "penalised", count: 1 })
        );
        assert_eq!(limited.refused(client, code, SECOND * 182), told(1), "each reason by itself");
    }

    #[test]
    fn d_25_a_flood_from_many_sources_is_bounded_and_counted() {
        let mut limited = Limited::default();
        let flood = |limited: &mut Limited, now| {
            let clients = (0..10_000_u32).map(|n| IpAddr::V4(Ipv4Addr::from(n + 0xcb00_0000)));
            clients.filter_map(|client| limited.refused(client, "rate_limited", now)).collect::<Vec<_>>()
        };
        let first = flood(&mut limited, SECOND);
        assert_eq!(first.len(), limits::LIMITED_SOURCES + 1);
        let rest = limited.over(SECOND * 61);
        let total: u64 = first.iter().chain(&rest).map(|told| told.count).sum();
        assert_eq!((rest.len(), total), (1, 10_000), "{rest:?}");
    }
}
