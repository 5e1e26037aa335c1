//! How long to wait before something that failed is tried again.

use std::time::Duration;

use moltbot_channels::driver::Broken;
use moltbot_config::limits;

/// The waits between tries, each up to twice as long as the one before. A part of each is random, so that what broke off
/// together does not come back together: half of what we chose ourselves, and up to a quarter on top of what a vendor asked.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The wait after a driver broke that had run well for `well`. `random` is any number, another one each time.
    pub(super) fn after(&mut self, broken: &Broken, well: Duration, random: u16) -> Duration {
        if well >= limits::CHANNEL_WELL {
            self.failures = 0;
        }
        let own = self.next(random);
        if broken.needs_owner {
            return spread(limits::CHANNEL_BACKOFF_MAX, random);
        }
        broken.wait.map_or(own, |asked| {
            let asked = asked.clamp(limits::CHANNEL_BACKOFF, limits::CHANNEL_BACKOFF_MAX);
            // Never sooner than the vendor asks.
            asked.saturating_add(part(asked / 4, random)).max(own)
        })
    }

    /// The wait after one more failure.
    pub(super) fn next(&mut self, random: u16) -> Duration {
        let wait = limits::CHANNEL_BACKOFF
            .saturating_mul(1_u32.checked_shl(self.failures.min(16)).unwrap_or(u32::MAX));
        self.failures = self.failures.saturating_add(1);
        spread(wait.min(limits::CHANNEL_BACKOFF_MAX), random)
    }
}

/// A random number for a wait. Without one the wait is as long as it can be.
pub(super) fn random() -> u16 {
    moltbot_vault::random().map_or(u16::MAX, u16::from_le_bytes)
}

/// Between half of a time and all of it.
fn spread(time: Duration, random: u16) -> Duration {
    let half = time / 2;
    half.saturating_add(part(time.saturating_sub(half), random))
}

/// Between nothing and all of a time.
fn part(time: Duration, random: u16) -> Duration {
    time.saturating_mul(u32::from(random)) / u32::from(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(waits: &[Duration]) -> Vec<u64> {
        waits.iter().map(Duration::as_secs).collect()
    }

    const MOST: u16 = u16::MAX;

    #[test]
    fn waits_grow_to_their_limit_and_begin_anew_after_it_was_well() {
        let mut backoff = Backoff::default();
        let broken = Broken::passing("x");
        let waits: Vec<Duration> = (0..11).map(|_| backoff.after(&broken, Duration::ZERO, MOST)).collect();
        assert_eq!(seconds(&waits), [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
        assert_eq!(backoff.after(&broken, limits::CHANNEL_WELL, MOST).as_secs(), 1);
        assert_eq!(backoff.after(&Broken::lasting("x"), Duration::ZERO, MOST).as_secs(), 300);
        let asked = |wait| Broken { wait: Some(wait), ..Broken::passing("x") };
        let after = |wait, random| Backoff::default().after(&asked(wait), Duration::ZERO, random).as_secs();
        assert_eq!((after(Duration::from_secs(40), 0), after(Duration::from_secs(40), MOST)), (40, 50));
        assert_eq!(after(Duration::MAX, 0), 300);
    }

    #[test]
    fn what_broke_off_together_does_not_come_back_together() {
        let broken = Broken::passing("x");
        let third = |random: u16| {
            let mut backoff = Backoff::default();
            (0..3).map(|_| backoff.after(&broken, Duration::ZERO, random)).last().unwrap()
        };
        assert_eq!((third(0), third(MOST)), (Duration::from_secs(2), Duration::from_secs(4)));
        let drawn: std::collections::BTreeSet<Duration> = (0..64).map(|_| third(random())).collect();
        assert!(drawn.len() > 32, "they are spread: {drawn:?}");
        assert!(drawn.iter().all(|wait| (2..=4).contains(&wait.as_secs())), "{drawn:?}");
        let owners: Vec<Duration> = [0, MOST]
            .map(|random| Backoff::default().after(&Broken::lasting("x"), Duration::ZERO, random))
            .into();
        assert_eq!(seconds(&owners), [150, 300]);
    }
}
