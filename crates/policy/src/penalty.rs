//! Penalties of sources that waste the gateway's time: OpenSSH's `PerSourcePenalties`.
//!
//! Each offence adds seconds; they run off by themselves. From fifteen on they are enforced until they have run off: the
//! source is refused before anything of it is compared or read further than its first frame. Ten minutes are the most.
//! Failed sign-ins add to what others enforce and never enforce by themselves: how often somebody may try is
//! [`crate::throttle`]'s to say, and five are promised.
//!
//! What stays let in: devices that have signed in before and sign again, whatever others did where they speak from; and
//! direct connections of this machine, which the caller never counts here, because they may be the owner's console.
//!
//! The tables are bounded. When one is full, the penalty that would end first is forgotten: a flood from ever new sources
//! frees nobody who has earned more than it. Time is an argument, and monotonic; penalties do not outlive the process.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use moltbot_config::limits;

use crate::throttle::Source;

/// What a source is punished for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Offence {
    /// A sign-in that failed.
    Failed,
    /// A `Host` or `Origin` that is not ours.
    Foreign,
    /// Nobody had signed in by the deadline.
    Late,
    /// Something that no honest client sends.
    Malformed,
    /// The connection ended before anybody tried to sign in.
    Silent,
}

impl Offence {
    const fn penalty(self) -> Duration {
        match self {
            Self::Failed => limits::PENALTY_FAILED,
            Self::Foreign => limits::PENALTY_FOREIGN,
            Self::Late => limits::PENALTY_LATE,
            Self::Malformed => limits::PENALTY_MALFORMED,
            Self::Silent => limits::PENALTY_SILENT,
        }
    }

    /// Whether it may have its source refused. A failed sign-in may not.
    const fn enforces(self) -> bool {
        match self {
            Self::Failed => false,
            Self::Foreign | Self::Late | Self::Malformed | Self::Silent => true,
        }
    }
}

/// Who is punished: a source, and the /48 that it is in.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
enum Offender {
    Network48(u128),
    Source(Source),
}

#[derive(Clone, Copy, Debug)]
struct Penalty {
    until: Duration,
    enforced: bool,
}

/// The penalties of all sources.
#[derive(Debug, Default)]
pub struct Penalties {
    v4: Table,
    v6: Table,
}

impl Penalties {
    /// Adds what `offence` costs to the penalty of `source`, and to that of its IPv6 /48.
    pub fn punish(&mut self, source: Source, offence: Offence, now: Duration) {
        let table = if source.address().is_ipv4() { &mut self.v4 } else { &mut self.v6 };
        table.add(Offender::Source(source), offence, limits::PENALTY_LEAST, now);
        if let Some(network) = source.network_48() {
            let least = limits::PENALTY_LEAST.saturating_mul(limits::PENALTY_SHARE_48);
            table.add(Offender::Network48(network), offence, least, now);
        }
    }

    /// How long `source` is still refused.
    pub fn wait(&self, source: Source, now: Duration) -> Option<Duration> {
        let table = if source.address().is_ipv4() { &self.v4 } else { &self.v6 };
        let own = table.wait(Offender::Source(source), now);
        let wide = source.network_48().and_then(|network| table.wait(Offender::Network48(network), now));
        own.max(wide)
    }

    /// Somebody of `source` has signed in: it starts anew. Its neighbours did not.
    pub fn forgive(&mut self, source: Source) {
        let table = if source.address().is_ipv4() { &mut self.v4 } else { &mut self.v6 };
        table.remove(Offender::Source(source));
    }

    /// Whether nobody is remembered.
    pub fn is_empty(&self) -> bool {
        self.v4.penalties.is_empty() && self.v6.penalties.is_empty()
    }

    /// Forgets what has run off.
    pub fn prune(&mut self, now: Duration) {
        self.v4.prune(now);
        self.v6.prune(now);
    }
}

/// The penalties of one family of addresses, also in the order of their ends.
#[derive(Debug, Default)]
struct Table {
    penalties: HashMap<Offender, Penalty>,
    ends: BTreeSet<(Duration, Offender)>,
}

impl Table {
    fn add(&mut self, offender: Offender, offence: Offence, least: Duration, now: Duration) {
        let before = self.remove(offender).filter(|penalty| penalty.until > now);
        let start = before.map_or(now, |penalty| penalty.until);
        let until = start.saturating_add(offence.penalty()).min(now.saturating_add(limits::PENALTY_MOST));
        let enough = offence.enforces() && until.saturating_sub(now) >= least;
        let enforced = enough || before.is_some_and(|penalty| penalty.enforced);
        if self.penalties.len() >= limits::PENALTIES {
            self.prune(now);
        }
        if self.penalties.len() >= limits::PENALTIES
            && let Some((_, first)) = self.ends.first().copied()
        {
            self.remove(first);
        }
        self.penalties.insert(offender, Penalty { until, enforced });
        self.ends.insert((until, offender));
    }

    fn wait(&self, offender: Offender, now: Duration) -> Option<Duration> {
        let penalty = self.penalties.get(&offender).filter(|penalty| penalty.enforced)?;
        penalty.until.checked_sub(now).filter(|wait| !wait.is_zero())
    }

    fn remove(&mut self, offender: Offender) -> Option<Penalty> {
        let penalty = self.penalties.remove(&offender)?;
        self.ends.remove(&(penalty.until, offender));
        Some(penalty)
    }

    fn prune(&mut self, now: Duration) {
        while let Some((until, offender)) = self.ends.first().copied()
            && until <= now
        {
            self.remove(offender);
        }
        if self.penalties.is_empty() {
            *self = Self::default(); // a flood that is over keeps no room
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use proptest::prelude::*;

    use super::*;
    use crate::authentication::Locality;

    const SECOND: Duration = Duration::from_secs(1);

    fn source(text: &str) -> Source {
        Source::of(text.parse().unwrap())
    }

    fn nth(n: u32) -> Source {
        Source::of(IpAddr::V4((0xcb00_0000 + n).into()))
    }

    fn seconds(penalties: &Penalties, source: Source, now: u64) -> u64 {
        penalties.wait(source, SECOND * u32::try_from(now).unwrap()).map_or(0, |wait| wait.as_secs())
    }

    #[test]
    fn one_offence_is_forgiven_by_time_and_two_are_enforced_until_they_have_run_off() {
        for (offence, enforcing) in [
            (Offence::Foreign, Some(2)),
            (Offence::Late, Some(2)),
            (Offence::Malformed, Some(2)),
            (Offence::Silent, Some(15)),
            (Offence::Failed, None),
        ] {
            let mut penalties = Penalties::default();
            let count = (1..=200).find(|_| {
                penalties.punish(nth(1), offence, SECOND);
                penalties.wait(nth(1), SECOND).is_some()
            });
            assert_eq!(count, enforcing, "{offence:?}");
        }
        let mut penalties = Penalties::default();
        penalties.punish(nth(1), Offence::Malformed, SECOND);
        penalties.punish(nth(1), Offence::Malformed, SECOND * 6);
        assert_eq!(seconds(&penalties, nth(1), 6), 15);
        assert_eq!(seconds(&penalties, nth(1), 20), 1, "enforced below fifteen, too, until it has run off");
        assert_eq!(seconds(&penalties, nth(1), 21), 0);
        assert_eq!(seconds(&penalties, nth(2), 6), 0, "another source is not affected");
        penalties.punish(nth(1), Offence::Malformed, SECOND * 21);
        assert_eq!(seconds(&penalties, nth(1), 21), 0, "it starts anew");
    }

    #[test]
    fn failed_sign_ins_add_to_a_penalty_and_are_none_by_themselves() {
        let mut penalties = Penalties::default();
        for _ in 0..5 {
            penalties.punish(nth(1), Offence::Failed, SECOND);
        }
        assert_eq!(seconds(&penalties, nth(1), 1), 0, "the five that are promised");
        penalties.punish(nth(1), Offence::Silent, SECOND);
        assert_eq!(seconds(&penalties, nth(1), 1), 26);
        penalties.forgive(nth(1));
        assert_eq!(seconds(&penalties, nth(1), 1), 0);
        assert!(penalties.is_empty());
    }

    #[test]
    fn ten_minutes_are_the_most() {
        let mut penalties = Penalties::default();
        for _ in 0..1000 {
            penalties.punish(nth(1), Offence::Late, SECOND);
        }
        assert_eq!(seconds(&penalties, nth(1), 1), 600);
    }

    #[test]
    fn d_33_one_peer_is_one_source_however_its_address_is_written() {
        let mut penalties = Penalties::default();
        penalties.punish(source("203.0.113.9"), Offence::Late, SECOND);
        penalties.punish(source("::ffff:203.0.113.9"), Offence::Late, SECOND);
        assert_eq!(seconds(&penalties, source("203.0.113.9"), 1), 20);
        penalties.punish(source("2001:db8:1:2::a"), Offence::Late, SECOND);
        penalties.punish(source("2001:db8:1:2:ffff::b"), Offence::Late, SECOND);
        assert_eq!(seconds(&penalties, source("2001:db8:1:2::c"), 1), 20);
        assert_eq!(seconds(&penalties, source("2001:db8:1:3::c"), 1), 0);
        for n in 0..10 {
            let rotated = source(&format!("2001:db8:1:{n:x}::1"));
            penalties.punish(rotated, Offence::Late, SECOND);
        }
        assert_eq!(seconds(&penalties, source("2001:db8:1:ffff::1"), 1), 120, "the whole /48");
        assert_eq!(seconds(&penalties, source("2001:db8:2::1"), 1), 0);
        let relayed = Source::of_peer("127.0.0.1".parse().unwrap(), Locality::Remote);
        penalties.punish(relayed, Offence::Late, SECOND);
        penalties.punish(relayed, Offence::Late, SECOND);
        let console = Source::of_peer("127.0.0.1".parse().unwrap(), Locality::Local);
        assert_eq!((seconds(&penalties, relayed, 1), seconds(&penalties, console, 1)), (20, 0));
    }

    #[test]
    fn a_flood_of_sources_is_bounded_and_frees_nobody_who_earned_more() {
        let mut penalties = Penalties::default();
        for _ in 0..10 {
            penalties.punish(nth(0), Offence::Late, SECOND);
        }
        for n in 1..20_000 {
            penalties.punish(nth(n), Offence::Silent, SECOND);
        }
        assert_eq!((penalties.v4.penalties.len(), penalties.v4.ends.len()), (4096, 4096));
        assert_eq!(seconds(&penalties, nth(0), 1), 100);
        penalties.punish(source("2001:db8::1"), Offence::Silent, SECOND);
        assert_eq!(penalties.v6.penalties.len(), 2, "one family does not push the other out");
        penalties.prune(SECOND * 102);
        assert!(penalties.is_empty());
    }

    proptest! {
        /// Whatever happens in whatever order, nobody is refused for longer than the most, and both sides of a table agree.
        #[test]
        fn no_order_of_offences_breaks_a_bound(
            events in prop::collection::vec((0_u32..8, 0_u32..30, 0_usize..5), 0..200)
        ) {
            let all = [Offence::Failed, Offence::Foreign, Offence::Late, Offence::Malformed, Offence::Silent];
            let (mut penalties, mut now) = (Penalties::default(), SECOND);
            for (who, later, what) in events {
                now += SECOND * later;
                penalties.punish(nth(who), all[what], now);
                let wait = penalties.wait(nth(who), now);
                prop_assert!(wait.is_none_or(|wait| wait <= limits::PENALTY_MOST));
                prop_assert_eq!(penalties.v4.penalties.len(), penalties.v4.ends.len());
            }
            prop_assert!(penalties.wait(nth(0), now + limits::PENALTY_MOST).is_none());
        }
    }
}
