//! How long to wait before something that failed is tried again.

use std::time::Duration;

use moltbot_channels::driver::Broken;
use moltbot_config::limits;

/// The waits between tries, each twice as long as the one before.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The wait after a driver broke that had run well for `well`.
    pub(super) fn after(&mut self, broken: &Broken, well: Duration) -> Duration {
        if well >= limits::CHANNEL_WELL {
            self.failures = 0;
        }
        let next = self.next();
        if broken.needs_owner {
            return limits::CHANNEL_BACKOFF_MAX;
        }
        broken
            .wait
            .map_or(next, |asked| asked.clamp(limits::CHANNEL_BACKOFF, limits::CHANNEL_BACKOFF_MAX).max(next))
    }

    /// The wait after one more failure.
    pub(super) fn next(&mut self) -> Duration {
        let wait = limits::CHANNEL_BACKOFF
            .saturating_mul(1_u32.checked_shl(self.failures.min(16)).unwrap_or(u32::MAX));
        self.failures = self.failures.saturating_add(1);
        wait.min(limits::CHANNEL_BACKOFF_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(waits: &[Duration]) -> Vec<u64> {
        waits.iter().map(Duration::as_secs).collect()
    }

    #[test]
    fn k11_waits_grow_to_their_limit_and_begin_anew_after_it_was_well() {
        let mut backoff = Backoff::default();
        let broken = Broken::passing("x");
        let waits: Vec<Duration> = (0..11).map(|_| backoff.after(&broken, Duration::ZERO)).collect();
        assert_eq!(seconds(&waits), [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
        assert_eq!(backoff.after(&broken, limits::CHANNEL_WELL).as_secs(), 1);
        assert_eq!(backoff.after(&Broken::lasting("x"), Duration::ZERO).as_secs(), 300);
        let asked = Broken { wait: Some(Duration::from_secs(40)), ..Broken::passing("x") };
        assert_eq!(Backoff::default().after(&asked, Duration::ZERO).as_secs(), 40);
        let for_ever = Broken { wait: Some(Duration::MAX), ..Broken::passing("x") };
        assert_eq!(Backoff::default().after(&for_ever, Duration::ZERO).as_secs(), 300);
    }
}
