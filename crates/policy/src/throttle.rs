//! Layer 2, authentication: how often somebody may try.
//!
//! Five failed tries of one source within five minutes, then none for five minutes from the fifth. Beyond that, what
//! all sources together may guess at one credential, and at all, in a minute: guessing from a thousand addresses is
//! no faster than that. A try is counted before anything is compared, and taken back when it succeeds: hanging up
//! early still costs a try. Time is an argument, and monotonic.
//!
//! This machine is not exempt: a page in a browser here speaks from loopback too. But strangers cannot keep its owner
//! out. What this machine may try is set aside for it, and a device that has signed in before and signs again is
//! counted by itself, whatever was tried where it speaks from.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use moltbot_config::settings::SecurityProfile;
use moltbot_config::{hole, limits};

use crate::authentication::{Locality, Signed};
use crate::hook::CREDENTIAL as HOOK;
use crate::strictness::{Overflow, Strictness};

mod tries;

use tries::{Budget, Tries};
pub use tries::{Subject, Try};

/// The address that tries are counted for: IPv4 as it is, also when mapped; IPv6 by its /64. This machine is one
/// source: anybody on it may speak from any of its 16 million loopback addresses. What comes through a proxy or from
/// a page on this machine is another one: it may be anybody, and must not use up what the owner may try.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Source {
    address: IpAddr,
    relayed: bool,
}

impl Source {
    /// The source that an address belongs to, for telling it; whether it was relayed is not told apart.
    pub fn of(address: IpAddr) -> Self {
        let address = match address.to_canonical() {
            here if here.is_loopback() => IpAddr::V6(Ipv6Addr::LOCALHOST),
            IpAddr::V6(v6) => {
                let [a, b, c, d, ..] = v6.segments();
                IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
            }
            v4 @ IpAddr::V4(_) => v4,
        };
        Self { address, relayed: false }
    }

    /// The source that tries of a peer are counted for.
    pub fn of_peer(address: IpAddr, locality: Locality) -> Self {
        let source = Self::of(address);
        Self { relayed: source.address.is_loopback() && locality == Locality::Remote, ..source }
    }

    /// The address that stands for the source.
    pub const fn address(&self) -> IpAddr {
        self.address
    }

    /// Whether what came from this machine was relayed: by a proxy, or a page.
    pub const fn is_relayed(&self) -> bool {
        self.relayed
    }

    /// Whether it is this machine, by a proxy or not.
    const fn is_here(&self) -> bool {
        match self.address {
            IpAddr::V4(v4) => v4.is_loopback(),
            IpAddr::V6(v6) => v6.is_loopback(),
        }
    }

    /// The first 48 bits of an IPv6 address, which one customer of a provider has.
    pub(crate) fn network_48(&self) -> Option<u128> {
        match self.address {
            IpAddr::V6(v6) if !v6.is_loopback() => Some(v6.to_bits() >> 80),
            IpAddr::V4(_) | IpAddr::V6(_) => None,
        }
    }
}

/// Permission for one comparison of a credential. [`crate::authentication::verify`] takes nothing else.
#[derive(Debug, Eq, PartialEq)]
#[must_use = "an attempt that is dropped is a failed one"]
pub struct Attempt {
    client: IpAddr,
    number: u64,
}

impl Attempt {
    /// Who tries: the address that the try is counted for, so that the book never names another one.
    pub const fn client(&self) -> IpAddr {
        self.client
    }
}

/// The tries are used up: those of the source, or those of all strangers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RateLimited {
    /// When it may try again: five minutes at most, and fifteen in the strict profiles.
    pub retry_after: Duration,
}

/// Who wants to try what.
#[derive(Clone, Copy, Debug)]
pub struct Asking {
    /// The client's address.
    pub client: IpAddr,
    /// Whether it is on this machine.
    pub locality: Locality,
    /// The credential that it would be compared with: `token`, `password`, or that of hooks.
    pub credential: &'static str,
}

/// Counts tries. Bounded: what all may try in a minute bounds how many there are to remember.
#[derive(Debug)]
pub struct Throttle {
    /// How many failures of one source in which time, and what becomes of devices that are too many.
    strictness: Strictness,
    tries: Tries,
    /// Devices that have signed in, the latest last.
    known: VecDeque<String>,
    closed_until: Option<Duration>,
}

impl Default for Throttle {
    fn default() -> Self {
        Self::of(Strictness::of(SecurityProfile::default()))
    }
}

impl Throttle {
    /// A throttle that has seen nobody yet.
    pub fn of(strictness: Strictness) -> Self {
        Self { strictness, tries: Tries::default(), known: VecDeque::new(), closed_until: None }
    }

    /// Admits one try, or says when the next may be made.
    ///
    /// # Errors
    /// [`RateLimited`] after five failures of the source, for five minutes from the fifth (three, for fifteen, in the strict
    /// profiles); after eight times as many of its IPv6 /48, likewise; and, unless it speaks from this machine, while strangers have used up their guesses.
    pub fn admit(&mut self, asking: Asking, now: Duration) -> Result<Attempt, RateLimited> {
        self.look(asking, now)?;
        let source = Source::of_peer(asking.client, asking.locality);
        self.count(Subject::Source(source), asking, now)
    }

    /// Whether a try would be admitted, without counting one: for who has to be heard first, as a body that is signed has.
    ///
    /// # Errors
    /// As [`Throttle::admit`].
    pub fn look(&mut self, asking: Asking, now: Duration) -> Result<(), RateLimited> {
        self.prune(now);
        if hole!("bad-sign-ins") {
            return Ok(());
        }
        let source = Source::of_peer(asking.client, asking.locality);
        if let Some(retry_after) = self.wait_of_source(source, asking.credential, now) {
            return Err(RateLimited { retry_after });
        }
        if !source.is_here()
            && let Some(retry_after) = self.wait_of_strangers(asking.credential, now)
        {
            return Err(RateLimited { retry_after });
        }
        Ok(())
    }

    /// Admits one try of a device that has proved its key and has signed in before. Strangers cannot use up its
    /// tries. Nothing is returned when the device is not known: then it is a stranger.
    ///
    /// # Errors
    /// [`RateLimited`] after five failures of the device, for five minutes from the fifth.
    pub fn admit_device(
        &mut self,
        device: &Signed,
        asking: Asking,
        now: Duration,
    ) -> Option<Result<Attempt, RateLimited>> {
        if !self.knows(device.id()) {
            return None;
        }
        self.prune(now);
        let subject = Subject::Device(device.id().to_owned());
        let budget = self.lock();
        let wait = self.tries.wait(budget, now, |one| !one.forgiven && one.subject == subject);
        Some(match wait {
            Some(retry_after) => Err(RateLimited { retry_after }),
            None => self.count(subject, asking, now),
        })
    }

    /// The try succeeded: its source, or its device, starts anew at this credential. Others are not touched, nor is
    /// what all together have guessed. Whether a failure was forgiven.
    pub fn succeeded(&mut self, attempt: &Attempt) -> bool {
        self.tries.succeeded(attempt.number)
    }

    /// Whether anything would refuse or be counted against somebody: if not, a device need not be told apart.
    pub fn is_calm(&self) -> bool {
        self.tries.is_empty() && self.closed_until.is_none()
    }

    /// Whether the device has signed in before.
    pub fn knows(&self, device: &str) -> bool {
        self.known.iter().any(|known| known == device)
    }

    /// Remembers a device that has signed in. Whether it is known only now. When there are too many, the one that signed
    /// in longest ago is forgotten, or in the strict profiles the new one is not remembered.
    pub fn learn(&mut self, device: &str) -> bool {
        let new = match self.known.iter().position(|known| known == device) {
            Some(index) => self.known.remove(index).is_none(),
            None => true,
        };
        if self.known.len() >= limits::KNOWN_DEVICES {
            match self.strictness.overflow {
                Overflow::ForgetOldest => drop(self.known.pop_front()),
                // It goes on as a stranger: nobody who is known is pushed out.
                Overflow::RefuseNew => return false,
            }
        }
        self.known.push_back(device.to_owned());
        new
    }

    /// Forgets a device: it is a stranger from now on.
    pub fn forget(&mut self, device: &str) {
        self.known.retain(|known| known != device);
    }

    /// Refuses strangers until then, because what they have tried before is not known.
    pub const fn close_until(&mut self, until: Duration) {
        self.closed_until = Some(until);
    }

    /// Until when strangers are refused, whatever they have tried.
    pub const fn closed_until(&self) -> Option<Duration> {
        self.closed_until
    }

    /// The tries that still count, oldest first, to be kept over a restart.
    pub fn tries(&self) -> impl Iterator<Item = &Try> {
        self.tries.iter()
    }

    /// The devices that have signed in, the latest last, to be kept over a restart.
    pub fn known(&self) -> impl Iterator<Item = &str> {
        self.known.iter().map(String::as_str)
    }

    /// Takes up tries of before a restart, oldest first, and devices.
    pub fn restore(&mut self, tries: Vec<Try>, known: Vec<String>) {
        let more = tries.len().saturating_sub(limits::THROTTLE_TRIES);
        tries.into_iter().skip(more).for_each(|one| {
            self.tries.push(one);
        });
        known.iter().for_each(|device| {
            self.learn(device);
        });
    }

    /// What one source, or one device, may fail.
    const fn lock(&self) -> Budget {
        Budget::Lock(self.strictness.failed_sign_ins, self.strictness.sign_in_window)
    }

    fn prune(&mut self, now: Duration) {
        self.tries.prune(now, self.strictness.sign_in_window);
    }

    /// Tries at hooks and at the gateway are counted apart: a program with a wrong key does not keep its owner out.
    fn wait_of_source(&self, source: Source, credential: &'static str, now: Duration) -> Option<Duration> {
        let subject = Subject::Source(source);
        let is_at = |one: &Try| (one.credential == HOOK) == (credential == HOOK);
        let own =
            self.tries.wait(self.lock(), now, |one| !one.forgiven && one.subject == subject && is_at(one));
        let wide = source.network_48().and_then(|network| {
            let failures = self.strictness.failed_sign_ins.saturating_mul(limits::SOURCES_48);
            let budget = Budget::Lock(failures, self.strictness.sign_in_window);
            let in_same = tries::in_same_48(network);
            self.tries.wait(budget, now, |one| in_same(one) && is_at(one))
        });
        own.max(wide)
    }

    /// What all strangers together may guess. What this machine may try in the same time is set aside, so that both
    /// together stay within the budget.
    fn wait_of_strangers(&mut self, credential: &'static str, now: Duration) -> Option<Duration> {
        let closed =
            self.closed_until.and_then(|until| until.checked_sub(now)).filter(|wait| !wait.is_zero());
        if closed.is_none() {
            self.closed_until = None;
        }
        let is_stranger = |one: &Try| matches!(&one.subject, Subject::Source(source) if !source.is_here());
        let minute = limits::GUESSES_WINDOW;
        let left = |guesses: usize| Budget::Sliding(guesses.saturating_sub(limits::GUESSES_HERE), minute);
        let each = self
            .tries
            .wait(left(limits::GUESSES_AT_ONE), now, |one| is_stranger(one) && one.credential == credential);
        let all = self.tries.wait(left(limits::GUESSES_IN_ALL), now, is_stranger);
        let full = self.tries.is_full().then_some(limits::SIGN_IN_WINDOW);
        closed.max(each).max(all).max(full)
    }

    fn count(&mut self, subject: Subject, asking: Asking, now: Duration) -> Result<Attempt, RateLimited> {
        if self.tries.is_full() {
            return Err(RateLimited { retry_after: limits::SIGN_IN_WINDOW });
        }
        let one = Try { subject, credential: asking.credential, at: now, forgiven: false };
        Ok(Attempt { client: asking.client, number: self.tries.push(one) })
    }
}

#[cfg(test)]
mod tests;
