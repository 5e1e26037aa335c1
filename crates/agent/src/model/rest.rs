//! Which keys of a provider, and which providers, are left alone for a while after they failed.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use moltbot_config::limits;
use tokio::time::Instant;

/// What rests at one provider: the provider itself, and each of its keys.
#[derive(Debug, Default)]
pub(super) struct Rest {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    provider: Pause,
    keys: Vec<Pause>,
    /// The key that answered last: it is asked first.
    current: usize,
}

/// Until when something is left alone, and after how many failures in a row.
#[derive(Clone, Copy, Debug, Default)]
struct Pause {
    until: Option<Instant>,
    failures: u32,
}

impl Pause {
    fn is_over(self, now: Instant) -> bool {
        self.until.is_none_or(|until| until <= now)
    }

    /// Begins a pause: each in a row four times as long as the one before, and as long as the provider asks for at least.
    fn begin(&mut self, first: Duration, asked: Option<Duration>, now: Instant) {
        let grown = first.saturating_mul(4_u32.saturating_pow(self.failures.min(8)));
        let wait = grown.max(asked.unwrap_or_default()).min(limits::PROVIDER_REST_MAX);
        self.failures = self.failures.saturating_add(1);
        self.until = now.checked_add(wait);
    }
}

impl Rest {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the provider may be asked, for its part.
    pub(super) fn may_ask(&self, now: Instant) -> bool {
        self.state().provider.is_over(now)
    }

    /// The keys of `count` that may be used, in the order in which they are tried: the one that answered last first.
    pub(super) fn keys(&self, count: usize, now: Instant) -> Vec<usize> {
        let state = self.state();
        let order =
            (0..count).map(|place| (state.current.wrapping_add(place)).checked_rem(count).unwrap_or(0));
        let free = |place: &usize| state.keys.get(*place).is_none_or(|pause| pause.is_over(now));
        order.filter(free).collect()
    }

    /// Leaves the provider alone for a while.
    pub(super) fn rest_provider(&self, asked: Option<Duration>, now: Instant) {
        self.state().provider.begin(limits::PROVIDER_REST, asked, now);
    }

    /// Leaves one key alone for a while; `spent` when it is refused or has no money, which takes a person to change.
    pub(super) fn rest_key(&self, place: usize, spent: bool, asked: Option<Duration>, now: Instant) {
        let mut state = self.state();
        if state.keys.len() <= place {
            state.keys.resize(place.saturating_add(1), Pause::default());
        }
        let first = if spent { limits::PROVIDER_REST_SPENT } else { limits::PROVIDER_REST };
        if let Some(pause) = state.keys.get_mut(place) {
            pause.begin(first, asked, now);
        }
    }

    /// Notes that an answer came with that key.
    pub(super) fn answered(&self, place: usize) {
        let mut state = self.state();
        state.provider = Pause::default();
        state.current = place;
        if let Some(pause) = state.keys.get_mut(place) {
            *pause = Pause::default();
        }
    }

    /// How long the provider, or all of its `count` keys, still rest; nothing when it may be asked.
    pub(super) fn left(&self, count: usize, now: Instant) -> Option<Duration> {
        let state = self.state();
        let left = |pause: &Pause| pause.until.map(|until| until.saturating_duration_since(now));
        let of_keys = match count {
            0 => None,
            count if state.keys.len() < count => None,
            _ => state.keys.iter().take(count).filter_map(left).min(),
        };
        let longest = left(&state.provider).into_iter().chain(of_keys).max()?;
        (!longest.is_zero()).then_some(longest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_take_turns_and_pauses_grow_and_end() {
        let (rest, now) = (Rest::default(), Instant::now());
        assert_eq!(rest.keys(3, now), [0, 1, 2]);
        rest.rest_key(0, false, None, now);
        assert_eq!(rest.keys(3, now), [1, 2]);
        rest.answered(2);
        assert_eq!(rest.keys(3, now), [2, 1], "the one that answered is first");
        assert_eq!(rest.keys(3, now + limits::PROVIDER_REST), [2, 0, 1]);
        rest.rest_key(0, false, None, now);
        assert_eq!(rest.keys(3, now + limits::PROVIDER_REST), [2, 1], "the second pause is longer");
        rest.rest_key(1, true, None, now);
        assert_eq!(rest.keys(3, now + limits::PROVIDER_REST_SPENT / 2), [2, 0]);
        let asked = Duration::from_secs(240);
        rest.rest_provider(Some(asked), now);
        assert!(!rest.may_ask(now + asked / 2) && rest.may_ask(now + asked));
        assert_eq!(rest.left(3, now), Some(asked));
        rest.rest_provider(Some(Duration::MAX), now);
        assert!(rest.may_ask(now + limits::PROVIDER_REST_MAX), "nobody is left alone for ever");
        rest.answered(0);
        assert!(rest.may_ask(now) && rest.left(3, now).is_none());
    }
}
