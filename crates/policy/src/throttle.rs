//! Layer 2, authentication: how often one source may try.
//!
//! Five failed tries within five minutes, then none for five minutes. A try is counted before anything is
//! compared, and taken back when it succeeds: hanging up early still costs a try. Time is an argument, and
//! monotonic. This machine is not exempt: a page in a browser here speaks from loopback too.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use moltbot_config::limits;

/// The address that tries are counted for: IPv4 as it is, also when mapped; IPv6 by its /64. This machine is one
/// source: anybody on it may speak from any of its 16 million loopback addresses.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Source(IpAddr);

impl Source {
    /// The source that an address belongs to.
    pub fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            here if here.is_loopback() => Self(IpAddr::V6(Ipv6Addr::LOCALHOST)),
            IpAddr::V6(v6) => {
                let [a, b, c, d, ..] = v6.segments();
                Self(IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0)))
            }
            v4 @ IpAddr::V4(_) => Self(v4),
        }
    }

    /// The address that stands for the source.
    pub const fn address(&self) -> IpAddr {
        self.0
    }
}

/// Permission for one comparison of a credential. [`crate::authentication::verify`] takes nothing else.
#[derive(Debug)]
#[must_use = "an attempt that is dropped is a failed one"]
pub struct Attempt {
    client: IpAddr,
}

impl Attempt {
    /// Who tries: the address that the try is counted for, so that the book never names another one.
    pub const fn client(&self) -> IpAddr {
        self.client
    }
}

/// The source has used up its tries.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RateLimited {
    /// When it may try again, at most five minutes.
    pub retry_after: Duration,
}

#[derive(Debug)]
struct Window {
    failures: u32,
    began: Duration,
}

/// Counts tries by source. Bounded: when it is full, sources never seen before are refused until a window
/// has passed, because forgetting one would give it new tries.
#[derive(Debug, Default)]
pub struct Throttle {
    windows: HashMap<Source, Window>,
}

impl Throttle {
    /// Admits one try of the client at that address, or says when the next may be made.
    ///
    /// # Errors
    /// [`RateLimited`] after five failures, for five minutes from the fifth.
    pub fn admit(&mut self, client: IpAddr, now: Duration) -> Result<Attempt, RateLimited> {
        let source = Source::of(client);
        if self.windows.len() >= limits::THROTTLE_ENTRIES && !self.windows.contains_key(&source) {
            self.windows.retain(|_, window| now < window.began.saturating_add(limits::SIGN_IN_WINDOW));
            if self.windows.len() >= limits::THROTTLE_ENTRIES {
                return Err(RateLimited { retry_after: limits::SIGN_IN_WINDOW });
            }
        }
        let window = self.windows.entry(source).or_insert(Window { failures: 0, began: now });
        let end = window.began.saturating_add(limits::SIGN_IN_WINDOW);
        if now >= end {
            *window = Window { failures: 0, began: now };
        } else if window.failures >= limits::FAILED_SIGN_INS {
            return Err(RateLimited { retry_after: end.saturating_sub(now) });
        }
        window.failures += 1;
        if window.failures == limits::FAILED_SIGN_INS {
            window.began = now; // the refusal lasts five minutes from the last try
        }
        Ok(Attempt { client })
    }

    /// The try succeeded: its source starts anew. Other sources are not touched.
    pub fn succeeded(&mut self, client: IpAddr) {
        self.windows.remove(&Source::of(client));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn client(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn source(text: &str) -> Source {
        Source::of(client(text))
    }

    #[test]
    fn five_tries_then_none_for_five_minutes() {
        let mut throttle = Throttle::default();
        for n in 0..5 {
            assert!(throttle.admit(client("203.0.113.9"), SECOND * n).is_ok(), "try {n}");
        }
        let refused = throttle.admit(client("203.0.113.9"), SECOND * 10).unwrap_err();
        assert_eq!(refused.retry_after, SECOND * 294);
        assert!(
            throttle.admit(client("203.0.113.10"), SECOND * 10).is_ok(),
            "another source is not affected"
        );
        assert!(
            throttle.admit(client("203.0.113.9"), SECOND * 304).is_ok(),
            "allowed again after the window"
        );
    }

    #[test]
    fn a_success_resets_its_source_only() {
        let mut throttle = Throttle::default();
        for _ in 0..4 {
            assert!(throttle.admit(client("127.0.0.1"), SECOND).is_ok());
            assert!(throttle.admit(client("203.0.113.9"), SECOND).is_ok());
        }
        throttle.succeeded(client("127.0.0.1"));
        assert!(throttle.admit(client("203.0.113.9"), SECOND).is_ok());
        assert!(throttle.admit(client("203.0.113.9"), SECOND).is_err());
        assert!(throttle.admit(client("127.0.0.1"), SECOND).is_ok());
    }

    #[test]
    fn mapped_addresses_and_neighbours_in_a_64_are_one_source() {
        assert_eq!(source("::ffff:203.0.113.9"), source("203.0.113.9"));
        assert_eq!(source("2001:db8:1:2::1"), source("2001:db8:1:2:ffff::9"));
        assert_ne!(source("2001:db8:1:2::1"), source("2001:db8:1:3::1"));
        for here in ["127.0.0.1", "127.9.8.7", "::ffff:127.0.0.2"] {
            assert_eq!(source(here), source("::1"), "{here}");
        }
    }

    #[test]
    fn memory_is_bounded_and_overflow_refuses() {
        let mut throttle = Throttle::default();
        for n in 0..u32::try_from(limits::THROTTLE_ENTRIES).unwrap() {
            assert!(throttle.admit(IpAddr::V4(n.into()), SECOND).is_ok());
        }
        assert!(throttle.admit(client("203.0.113.9"), SECOND).is_err());
        assert!(throttle.admit(client("203.0.113.9"), SECOND * 400).is_ok(), "old windows make room");
    }
}
