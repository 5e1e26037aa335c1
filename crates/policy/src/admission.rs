//! Which connections get a place while nobody has signed in on them.
//!
//! Two kinds of peers are told apart by their address, and do not compete for places:
//!
//! - Strangers from elsewhere: at most four of one source, and from ten of them on some are turned away by chance, all at
//!   a hundred (OpenSSH's `MaxStartups 10:30:100`). Whoever wants to fill every place never does so for sure.
//! - This machine, and proxies that the owner trusts. Their address does not say who speaks: loopback may be the owner's
//!   console, a page in a browser, or a proxy for the whole world. So nobody is turned away by the address; when there are
//!   too many, the one that has waited longest for its peer makes room. A console is through in milliseconds, and so
//!   cannot be kept out by connections that are held open, whoever holds them.
//!
//! As soon as the head of a request says that its connection speaks for somebody else (a forwarding header, a page), it has
//! to take a place among the strangers, under its real source: a flood that a proxy passes on is counted like any other
//! flood. Pure: chance is an argument.

use std::collections::{HashMap, VecDeque};

use moltbot_config::limits;

use crate::throttle::Source;

/// There is no place.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Crowded;

/// The places of strangers from elsewhere.
#[derive(Debug, Default)]
pub struct Strangers {
    sources: HashMap<Source, usize>,
    all: usize,
}

impl Strangers {
    /// Gives a place to a connection of `source`, to be given back by [`Strangers::leave`]. `chance` is any of its values
    /// with the same probability.
    ///
    /// # Errors
    /// When the source has its four, or chance is against it.
    pub fn admit(&mut self, source: Source, chance: u16) -> Result<(), Crowded> {
        let own = self.sources.get(&source).copied().unwrap_or_default();
        if own >= limits::UNAUTHENTICATED_EACH || is_dropped(self.all, chance) {
            return Err(Crowded);
        }
        self.sources.insert(source, own.saturating_add(1));
        self.all = self.all.saturating_add(1);
        Ok(())
    }

    /// A place of `source` is free again.
    pub fn leave(&mut self, source: Source) {
        let Some(own) = self.sources.get_mut(&source) else { return };
        *own = own.saturating_sub(1);
        if *own == 0 {
            self.sources.remove(&source);
        }
        self.all = self.all.saturating_sub(1);
    }
}

/// Whether a connection is turned away when there are `present` others. Of 65 536 chances, the first ones are: from 30 % at
/// ten, evenly to all of them at a hundred.
fn is_dropped(present: usize, chance: u16) -> bool {
    const CHANCES: usize = 1 << u16::BITS;
    if present < limits::EARLY_DROP_FROM {
        return false;
    }
    if present >= limits::UNAUTHENTICATED_CONNECTIONS {
        return true;
    }
    let steps = limits::UNAUTHENTICATED_CONNECTIONS.saturating_sub(limits::EARLY_DROP_FROM);
    let grown = (100_usize.saturating_sub(limits::EARLY_DROP_PERCENT))
        .saturating_mul(present.saturating_sub(limits::EARLY_DROP_FROM));
    let hundredths = limits::EARLY_DROP_PERCENT.saturating_mul(steps).saturating_add(grown);
    let dropped = hundredths.saturating_mul(CHANCES).checked_div(steps.saturating_mul(100));
    dropped.is_none_or(|dropped| usize::from(chance) < dropped)
}

/// The places of this machine and of trusted proxies.
#[derive(Debug, Default)]
pub struct Here {
    /// Those whose peer has to send something, the oldest first.
    waiting: VecDeque<u64>,
    /// Those whose sign-in is being judged: they have nothing to wait for, and are not given up.
    judged: usize,
    next: u64,
}

/// A place that was given.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Place {
    /// Its number.
    pub number: u64,
    /// The number of the one that had to make room for it.
    pub given_up: Option<u64>,
}

impl Here {
    /// Gives a place to one more connection. When there is none, the one that has waited longest for its peer is given up,
    /// however far it has come: so a flood that holds all places loses them before whoever comes now does.
    ///
    /// # Errors
    /// When every place belongs to a sign-in that is being judged.
    pub fn admit(&mut self) -> Result<Place, Crowded> {
        let taken = self.waiting.len().saturating_add(self.judged);
        let given_up = if taken < limits::UNAUTHENTICATED_HERE {
            None
        } else {
            Some(self.waiting.pop_front().ok_or(Crowded)?)
        };
        let number = self.next;
        self.next = number.wrapping_add(1);
        self.waiting.push_back(number);
        Ok(Place { number, given_up })
    }

    /// The sign-in of a place is being judged: it is not given up any more. Whether it was still there.
    pub fn judge(&mut self, number: u64) -> bool {
        let found = self.remove(number);
        self.judged = self.judged.saturating_add(usize::from(found));
        found
    }

    /// A place is free again that was still waiting.
    pub fn leave(&mut self, number: u64) {
        self.remove(number);
    }

    /// A place is free again whose sign-in was judged.
    pub fn leave_judged(&mut self) {
        self.judged = self.judged.saturating_sub(1);
    }

    fn remove(&mut self, number: u64) -> bool {
        let index = self.waiting.iter().position(|found| *found == number);
        index.and_then(|index| self.waiting.remove(index)).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(n: u32) -> Source {
        Source::of(std::net::IpAddr::V4((0xcb00_7100 + n).into()))
    }

    /// How many of all 65 536 chances turn a connection away among that many others, in per cent.
    fn dropped(present: usize) -> f64 {
        let dropped = (0..=u16::MAX).filter(|chance| is_dropped(present, *chance)).count();
        (f64::from(u32::try_from(dropped).unwrap()) * 100.0 / 65_536.0 * 10.0).round() / 10.0
    }

    #[test]
    fn from_ten_strangers_on_some_are_turned_away_and_all_at_a_hundred() {
        for (present, percent) in
            [(0, 0.0), (9, 0.0), (10, 30.0), (55, 65.0), (99, 99.2), (100, 100.0), (1000, 100.0)]
        {
            assert!((dropped(present) - percent).abs() < 0.11, "{present}: {}", dropped(present));
        }
    }

    #[test]
    fn a_source_has_four_places_and_gets_them_back() {
        let mut strangers = Strangers::default();
        for n in 0..4 {
            assert_eq!(strangers.admit(source(1), u16::MAX), Ok(()), "{n}");
        }
        assert_eq!(strangers.admit(source(1), u16::MAX), Err(Crowded));
        assert_eq!(strangers.admit(source(2), u16::MAX), Ok(()), "another source is not affected");
        strangers.leave(source(1));
        assert_eq!(strangers.admit(source(1), u16::MAX), Ok(()));
        for _ in 0..9 {
            strangers.leave(source(1));
        }
        strangers.leave(source(2));
        assert_eq!((strangers.sources.len(), strangers.all), (0, 0), "nothing is kept of who has left");
    }

    #[test]
    fn k02_a_flood_from_many_sources_takes_a_hundred_places_at_most() {
        let mut strangers = Strangers::default();
        let lucky = (0..10_000).filter(|n| strangers.admit(source(*n), u16::MAX).is_ok()).count();
        assert_eq!(lucky, limits::UNAUTHENTICATED_CONNECTIONS);
        let mut strangers = Strangers::default();
        let unlucky = (0..10_000).filter(|n| strangers.admit(source(*n), 0).is_ok()).count();
        assert_eq!(unlucky, limits::EARLY_DROP_FROM);
    }

    #[test]
    fn who_has_waited_longest_here_makes_room_and_the_one_that_comes_gets_in() {
        let mut here = Here::default();
        let first = here.admit().unwrap().number;
        let second = here.admit().unwrap().number;
        assert!(here.judge(second));
        for _ in 2..limits::UNAUTHENTICATED_HERE {
            assert_eq!(here.admit().unwrap().given_up, None);
        }
        assert_eq!(here.admit().unwrap().given_up, Some(first));
        assert!(!here.judge(first), "it is gone");
        assert_eq!(here.admit().unwrap().given_up, Some(second + 1), "nobody in the middle of a sign-in");
        while here.judged < limits::UNAUTHENTICATED_HERE {
            let number = *here.waiting.front().unwrap();
            assert!(here.judge(number));
        }
        assert_eq!(here.admit(), Err(Crowded), "nobody is given up in the middle of a sign-in");
        here.leave_judged();
        let place = here.admit().unwrap();
        here.leave(place.number);
        assert_eq!(here.admit().unwrap().given_up, None);
    }
}
