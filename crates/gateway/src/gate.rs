//! The gate before the sign-in: which connections have a place, and which sources are punished.
//!
//! `policy::admission` and `policy::penalty` decide; here is what they decide about. A [`Seat`] is a connection's place
//! from its acceptance to its end. While nobody has signed in on it, it counts among the strangers, or among those of this
//! machine until a request's head says whom it really speaks for. What it did wrong is charged to its source once, when it
//! ends. A source that nobody knows (a silent connection from loopback) and a direct peer of this machine, which may be
//! the owner's console, are charged nothing.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use moltbot_config::limits;
use moltbot_policy::admission::{Crowded, Here, Place, Strangers};
use moltbot_policy::authentication::Locality;
use moltbot_policy::network::Caller;
use moltbot_policy::penalty::{Offence, Penalties};
use moltbot_policy::throttle::Source;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use crate::shared::lock;

/// Hands out seats and remembers penalties.
#[derive(Debug)]
pub(crate) struct Gate {
    all: Arc<Semaphore>,
    strangers: Mutex<Strangers>,
    here: Mutex<Neighbours>,
    /// Connections through the gateway's own socket, which nobody but the owner opens.
    owner: Mutex<Neighbours>,
    penalties: Mutex<Penalties>,
    began: Instant,
}

/// Connections of this machine and of trusted proxies, with what ends the ones that must make room.
#[derive(Debug, Default)]
struct Neighbours {
    places: Here,
    ends: HashMap<u64, CancellationToken>,
}

/// A connection's place, given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Seat {
    _place: OwnedSemaphorePermit,
    gate: Arc<Gate>,
    /// Nothing once somebody has signed in: the thousands that idle then need no room for it.
    stranger: Mutex<Option<Box<Stranger>>>,
}

/// A connection on which nobody has signed in.
#[derive(Debug)]
struct Stranger {
    kind: Kind,
    /// When it was accepted.
    since: Instant,
    /// What it is charged with at its end.
    blame: Option<Offence>,
}

#[derive(Debug)]
enum Kind {
    /// Counted for its source.
    Elsewhere(Source),
    /// Of this machine or a trusted proxy, and by its number still to be given up.
    Here(Whose, u64, CancellationToken),
    /// The same, while its sign-in is judged.
    Judged(Whose),
}

/// Whose places of this machine.
#[derive(Clone, Copy, Debug)]
enum Whose {
    /// Everybody's who connects from this machine, or through a trusted proxy.
    Everybody,
    /// The owner's alone.
    Owner,
}

impl Gate {
    pub(crate) fn new(began: Instant) -> Arc<Self> {
        Arc::new(Self {
            all: Arc::new(Semaphore::new(limits::CONNECTIONS)),
            strangers: Mutex::default(),
            here: Mutex::default(),
            owner: Mutex::default(),
            penalties: Mutex::default(),
            began,
        })
    }

    /// A seat for a connection that was accepted: of `source`, or of nobody yet.
    ///
    /// # Errors
    /// When there is no place for it.
    pub(crate) fn admit(self: &Arc<Self>, source: Option<Source>) -> Result<Seat, Crowded> {
        self.seat(|| match source {
            Some(source) => self.admit_stranger(source),
            None => self.admit_here(Whose::Everybody),
        })
    }

    /// A seat for a connection of the owner's own program.
    ///
    /// # Errors
    /// When there is no place for it.
    pub(crate) fn admit_owner(self: &Arc<Self>) -> Result<Seat, Crowded> {
        self.seat(|| self.admit_here(Whose::Owner))
    }

    fn seat(self: &Arc<Self>, admit: impl FnOnce() -> Result<Kind, Crowded>) -> Result<Seat, Crowded> {
        let place = Arc::clone(&self.all).try_acquire_owned().map_err(|_| Crowded)?;
        let kind = admit()?;
        // Until it does something, all that is known is that it says nothing.
        let stranger = Stranger { kind, since: Instant::now(), blame: Some(Offence::Silent) };
        Ok(Seat { _place: place, gate: Arc::clone(self), stranger: Mutex::new(Some(Box::new(stranger))) })
    }

    fn admit_stranger(&self, source: Source) -> Result<Kind, Crowded> {
        // Without random bytes it is turned away whenever any might be.
        let chance = moltbot_vault::random::<2>().map(u16::from_le_bytes).unwrap_or_default();
        lock(&self.strangers).admit(source, chance).map(|()| Kind::Elsewhere(source))
    }

    const fn places(&self, whose: Whose) -> &Mutex<Neighbours> {
        match whose {
            Whose::Everybody => &self.here,
            Whose::Owner => &self.owner,
        }
    }

    fn admit_here(&self, whose: Whose) -> Result<Kind, Crowded> {
        let mut here = lock(self.places(whose));
        let Place { number, given_up } = here.places.admit()?;
        if let Some(end) = given_up.and_then(|number| here.ends.remove(&number)) {
            end.cancel();
        }
        let end = CancellationToken::new();
        here.ends.insert(number, end.clone());
        Ok(Kind::Here(whose, number, end))
    }

    fn leave(&self, kind: &Kind) {
        match kind {
            Kind::Elsewhere(source) => lock(&self.strangers).leave(*source),
            Kind::Here(whose, number, _) => {
                let mut here = lock(self.places(*whose));
                here.places.leave(*number);
                here.ends.remove(number);
            }
            Kind::Judged(whose) => lock(self.places(*whose)).places.leave_judged(),
        }
    }

    /// Charges a source with an offence.
    pub(crate) fn punish(&self, source: Source, offence: Offence) {
        lock(&self.penalties).punish(source, offence, self.began.elapsed());
        tracing::debug!(source = %source.address(), ?offence, "a source is punished");
    }

    /// How long a source is still refused.
    pub(crate) fn penalty(&self, source: Source) -> Option<Duration> {
        lock(&self.penalties).wait(source, self.began.elapsed())
    }

    /// Whether nobody is punished.
    pub(crate) fn is_calm(&self) -> bool {
        lock(&self.penalties).is_empty()
    }

    /// Somebody of the source has signed in.
    pub(crate) fn forgive(&self, source: Source) {
        lock(&self.penalties).forgive(source);
    }

    /// Forgets penalties that have run off.
    pub(crate) fn prune(&self) {
        lock(&self.penalties).prune(self.began.elapsed());
    }
}

impl Seat {
    /// A request's head says who speaks: unless that is this machine itself, the connection takes a place of that source.
    ///
    /// # Errors
    /// When there is none for it.
    pub(crate) fn speaks_for(&self, caller: Caller) -> Result<(), Crowded> {
        let mut stranger = lock(&self.stranger);
        let Some(stranger) = stranger.as_deref_mut() else { return Ok(()) };
        if caller.locality == Locality::Local || matches!(stranger.kind, Kind::Elsewhere(_)) {
            return Ok(());
        }
        let kind = self.gate.admit_stranger(Source::of_peer(caller.client, caller.locality))?;
        self.gate.leave(&std::mem::replace(&mut stranger.kind, kind));
        Ok(())
    }

    /// What it sent is being judged: it did not fall silent, and is not given up in the middle.
    pub(crate) fn is_judged(&self) {
        let mut stranger = lock(&self.stranger);
        let Some(stranger) = stranger.as_deref_mut() else { return };
        stranger.blame = None;
        if let Kind::Here(whose, number, _) = stranger.kind {
            let mut here = lock(self.gate.places(whose));
            here.ends.remove(&number);
            if here.places.judge(number) {
                stranger.kind = Kind::Judged(whose);
            }
        }
    }

    /// It is charged with that at its end, if nobody signs in on it.
    pub(crate) fn is_to_blame(&self, offence: Offence) {
        if let Some(stranger) = lock(&self.stranger).as_deref_mut() {
            stranger.blame = Some(offence);
        }
    }

    /// It makes room for the next stranger: somebody has signed in on it, or it was answered and is being closed.
    pub(crate) fn makes_room(&self) {
        if let Some(stranger) = lock(&self.stranger).take() {
            self.gate.leave(&stranger.kind);
        }
    }

    /// How long its peer may still take to say who it is: from its acceptance when nobody has signed in, else from now.
    pub(crate) fn time_left(&self) -> Duration {
        let since = lock(&self.stranger).as_ref().map(|stranger| stranger.since);
        since.map_or(limits::HANDSHAKE_WORDS, |since| limits::HANDSHAKE_WORDS.saturating_sub(since.elapsed()))
    }

    /// Resolves when it must make room for another one.
    pub(crate) fn given_up(&self) -> impl Future<Output = ()> + use<> {
        let end = match lock(&self.stranger).as_deref().map(|it| &it.kind) {
            Some(Kind::Here(_, _, end)) => Some(end.clone()),
            Some(Kind::Elsewhere(_) | Kind::Judged(_)) | None => None,
        };
        async move {
            match end {
                Some(end) => end.cancelled_owned().await,
                None => std::future::pending().await,
            }
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let Some(stranger) = lock(&self.stranger).take() else { return };
        self.gate.leave(&stranger.kind);
        if let (Kind::Elsewhere(source), Some(offence)) = (stranger.kind, stranger.blame) {
            self.gate.punish(source, offence);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    fn gate() -> Arc<Gate> {
        Gate::new(Instant::now())
    }

    fn source(n: u32) -> Source {
        Source::of(std::net::IpAddr::V4((0xcb00_7100 + n).into()))
    }

    fn remote(n: u32) -> Caller {
        Caller { client: source(n).address(), locality: Locality::Remote }
    }

    #[test]
    fn strangers_make_room_by_signing_in_or_leaving_and_keep_nobody_of_this_machine_out() {
        let gate = gate();
        let mut seats: Vec<Seat> = (0..10_000).filter_map(|n| gate.admit(Some(source(n))).ok()).collect();
        assert!((10..=limits::UNAUTHENTICATED_CONNECTIONS).contains(&seats.len()), "{}", seats.len());
        assert!(gate.admit(None).is_ok(), "this machine has places of its own");
        seats.truncate(9);
        let four: Vec<_> = (0..5).map(|_| gate.admit(Some(source(77_777))).map_err(|_| ())).collect();
        let admitted = four.iter().flatten().count();
        assert!(admitted <= 4, "{admitted} of one source");
        drop(four);
        if let Some(seat) = seats.first() {
            seat.makes_room();
        }
        assert!(gate.admit(Some(source(88_888))).is_ok());
    }

    #[test]
    fn the_one_that_has_waited_longest_here_is_ended_and_no_sign_in_is() {
        let gate = gate();
        let seats: Vec<Seat> = (0..limits::UNAUTHENTICATED_HERE).map(|_| gate.admit(None).unwrap()).collect();
        seats[0].is_judged();
        let ends = |n: usize| seats[n].given_up().now_or_never().is_some();
        let more = gate.admit(None).unwrap();
        assert_eq!((ends(0), ends(1), ends(2)), (false, true, false));
        drop((more, seats));
        assert!(lock(&gate.here).ends.is_empty(), "nothing is kept of who has left");
        assert!(gate.is_calm(), "and nobody of this machine is punished");
    }

    #[test]
    fn the_owners_socket_has_places_that_no_other_connection_of_this_machine_takes() {
        let gate = gate();
        let own = gate.admit_owner().unwrap();
        let others: Vec<Seat> = (0..500).map(|_| gate.admit(None).unwrap()).collect();
        assert!(own.given_up().now_or_never().is_none(), "a flood of others does not end it");
        let more: Vec<Seat> =
            (0..limits::UNAUTHENTICATED_HERE).map(|_| gate.admit_owner().unwrap()).collect();
        assert!(own.given_up().now_or_never().is_some(), "among themselves the oldest makes room");
        drop((own, others, more));
        assert!(lock(&gate.owner).ends.is_empty() && lock(&gate.here).ends.is_empty());
    }

    #[test]
    fn who_speaks_for_others_takes_a_place_of_its_real_source_and_is_punished_there() {
        let gate = gate();
        let seats: Vec<Seat> = (0..5).map(|_| gate.admit(None).unwrap()).collect();
        let placed: Vec<bool> = seats.iter().map(|seat| seat.speaks_for(remote(1)).is_ok()).collect();
        assert_eq!(placed, [true, true, true, true, false]);
        assert!(seats[0].speaks_for(remote(1)).is_ok(), "it has its place");
        seats[0].is_judged();
        seats[1].is_to_blame(Offence::Malformed);
        seats[2].is_to_blame(Offence::Late);
        seats[3].makes_room();
        assert_eq!(gate.penalty(source(1)), None);
        drop(seats);
        let wait = gate.penalty(source(1)).unwrap();
        assert!(wait > Duration::from_secs(19) && wait <= Duration::from_secs(20), "{wait:?}");
        gate.forgive(source(1));
        assert_eq!(gate.penalty(source(1)), None);
    }
}
