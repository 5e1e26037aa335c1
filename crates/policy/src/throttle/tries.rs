//! The failed tries of the last ten minutes, and whether a budget leaves room for one more.
//!
//! One short list answers for every budget: what may be tried in all bounds its length, whoever tries.

use std::collections::VecDeque;
use std::time::Duration;

use moltbot_config::limits;

use super::Source;

/// What a try is counted for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Subject {
    /// A device that has signed in before and signed again: its own tries, wherever it speaks from.
    Device(String),
    /// Everybody else: where they speak from.
    Source(Source),
}

/// One try that failed, or has not succeeded yet.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Try {
    /// Who tried.
    pub subject: Subject,
    /// Which credential was guessed at: `token`, `password` or `hook`.
    pub credential: &'static str,
    /// When, on the throttle's clock.
    pub at: Duration,
    /// Whether a success gave it back to its source. It stays an evaluated guess.
    pub forgiven: bool,
}

impl Try {
    const fn source(&self) -> Option<&Source> {
        match &self.subject {
            Subject::Device(_) => None,
            Subject::Source(source) => Some(source),
        }
    }
}

/// How many tries in which time, and what happens when they are used up.
#[derive(Clone, Copy, Debug)]
pub(super) enum Budget {
    /// None until the whole time has passed since the last of them.
    Lock(usize, Duration),
    /// The next when the first of them is that old.
    Sliding(usize, Duration),
}

impl Budget {
    /// How long the next try has to wait, given the times of those before it, newest first.
    fn wait(self, mut newest_first: impl Iterator<Item = Duration>, now: Duration) -> Option<Duration> {
        let (Self::Lock(tries, window) | Self::Sliding(tries, window)) = self;
        let last = newest_first.next()?;
        let first = match tries {
            0 | 1 => last,
            more => newest_first.nth(more - 2)?,
        };
        let until = match self {
            Self::Lock(..) if last.saturating_sub(first) < window => last.saturating_add(window),
            Self::Lock(..) => return None,
            Self::Sliding(..) => first.saturating_add(window),
        };
        until.checked_sub(now).filter(|wait| !wait.is_zero())
    }
}

/// Tries in the order of their times.
#[derive(Debug, Default)]
pub(super) struct Tries {
    list: VecDeque<(u64, Try)>,
    next: u64,
}

impl Tries {
    /// Forgets what no budget asks for any more: a lock is told by tries of twice its time.
    pub(super) fn prune(&mut self, now: Duration, window: Duration) {
        let old = |at: Duration| at.saturating_add(window.saturating_mul(2)) <= now;
        while self.list.front().is_some_and(|(_, one)| old(one.at)) {
            self.list.pop_front();
        }
    }

    pub(super) fn is_full(&self) -> bool {
        self.list.len() >= limits::THROTTLE_TRIES
    }

    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Counts a try, and names it.
    pub(super) fn push(&mut self, one: Try) -> u64 {
        let number = self.next;
        self.next = number.wrapping_add(1);
        self.list.push_back((number, one));
        number
    }

    /// Takes back the try that succeeded, and forgives its subject those that it made at the same credential.
    /// Whether anything was forgiven.
    pub(super) fn succeeded(&mut self, number: u64) -> bool {
        let Some(index) = self.list.iter().rposition(|(found, _)| *found == number) else { return false };
        let Some((_, good)) = self.list.remove(index) else { return false };
        let mut forgave = false;
        for (_, one) in &mut self.list {
            if !one.forgiven && one.subject == good.subject && one.credential == good.credential {
                one.forgiven = true;
                forgave = true;
            }
        }
        forgave
    }

    /// How long a budget makes the next try wait, counting those that `counts` names.
    pub(super) fn wait(
        &self,
        budget: Budget,
        now: Duration,
        counts: impl Fn(&Try) -> bool,
    ) -> Option<Duration> {
        let times = self.list.iter().rev().map(|(_, one)| one).filter(|one| counts(one)).map(|one| one.at);
        budget.wait(times, now)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Try> {
        self.list.iter().map(|(_, one)| one)
    }
}

/// Counts for the same IPv6 network of 48 bits. A success does not give these back: the neighbours did not succeed.
pub(super) fn in_same_48(network: u128) -> impl Fn(&Try) -> bool {
    move |one| one.source().and_then(Source::network_48) == Some(network)
}
