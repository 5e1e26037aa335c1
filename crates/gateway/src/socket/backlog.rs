//! What a client was sent and has not taken: who takes next to nothing of much is given up.

use std::pin::Pin;
use std::task::Context;

use moltbot_config::limits;
use tokio::time::{Instant, Sleep, sleep_until};

/// What waits below the outbox, and since when nearly nothing of it is taken.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    /// Bytes that the codec has and the kernel has not, give or take the heads of frames.
    handed: usize,
    /// Bytes that the kernel took since `since`.
    taken: usize,
    /// Since when too much waits, or was last looked at.
    since: Option<Instant>,
    /// Wakes whoever has to look. Idle connections have none.
    timer: Option<Pin<Box<Sleep>>>,
}

/// What is to be done about a client.
#[derive(Debug, Eq, PartialEq)]
enum Verdict {
    /// Nothing.
    Fine,
    /// It takes next to nothing.
    Hopeless,
    /// Look again then.
    Wait(Instant),
}

impl Backlog {
    /// The codec has so many bytes more.
    pub(super) const fn hand_over(&mut self, bytes: usize) {
        self.handed = self.handed.saturating_add(bytes);
    }

    /// The kernel took so many.
    pub(super) const fn take(&mut self, bytes: usize) {
        self.handed = self.handed.saturating_sub(bytes);
        self.taken = self.taken.saturating_add(bytes);
    }

    /// Everything was taken.
    pub(super) fn settle(&mut self) {
        *self = Self::default();
    }

    /// Whether the client is given up, with so many bytes in its outbox that it does not take. Whoever is not is looked at
    /// again in time.
    pub(super) fn is_hopeless(&mut self, waiting: usize, context: &mut Context<'_>) -> bool {
        loop {
            match self.judge(waiting, Instant::now()) {
                Verdict::Fine => {
                    self.timer = None;
                    return false;
                }
                Verdict::Hopeless => return true,
                Verdict::Wait(until) => {
                    let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(until)));
                    if timer.deadline() != until {
                        timer.as_mut().reset(until);
                    }
                    if timer.as_mut().poll(context).is_pending() {
                        return false;
                    }
                }
            }
        }
    }

    /// More than [`limits::BUFFERED_BYTES`] may wait for who takes [`limits::TAKEN_BYTES`] in [`limits::TAKEN`].
    fn judge(&mut self, waiting: usize, now: Instant) -> Verdict {
        if self.handed.saturating_add(waiting) <= limits::BUFFERED_BYTES {
            self.since = None;
            return Verdict::Fine;
        }
        let since = match self.since {
            Some(since) if now < since + limits::TAKEN => since,
            Some(_) if self.taken < limits::TAKEN_BYTES => return Verdict::Hopeless,
            Some(_) | None => {
                (self.since, self.taken) = (Some(now), 0);
                now
            }
        };
        Verdict::Wait(since + limits::TAKEN)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const FEW: usize = limits::BUFFERED_BYTES / 2;

    #[test]
    fn who_takes_next_to_nothing_of_much_is_given_up_and_nobody_else_is() {
        let (mut backlog, mut now) = (Backlog::default(), Instant::now());
        backlog.hand_over(FEW);
        for _ in 0..100 {
            assert_eq!(backlog.judge(FEW, now), Verdict::Fine, "so much may wait for as long as it likes");
            now += SECOND;
        }
        for n in 0..100 {
            let verdict = backlog.judge(10 * FEW, now);
            assert!(matches!(verdict, Verdict::Wait(until) if until > now), "it takes what it can: {n}");
            backlog.take(limits::TAKEN_BYTES / 4);
            now += SECOND;
        }
        backlog.settle();
        let began = now;
        while backlog.judge(10 * FEW, now) != Verdict::Hopeless {
            backlog.take(1);
            now += SECOND;
        }
        assert_eq!(now - began, limits::TAKEN);
    }
}
