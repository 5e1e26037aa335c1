//! Sends the book to one server for as long as the gateway runs.

use std::sync::Arc;
use std::time::Duration;

use moltbot_config::limits;
use moltbot_ledger::query::{Following, Item, Reader};
use moltbot_ledger::{Head, LEDGER_FOLDER};
use moltbot_policy::{Book as _, Decision, Entry, with_causes};
use moltbot_vault::random;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};
use tokio_util::sync::CancellationToken;

use super::place::Place;
use super::server::{Connection, Server};
use super::telling::Told;
use super::{Parts, SendError};

/// Who acts.
const ACTOR: &str = "gateway";

/// One server, and how far it is.
pub(super) struct Shipping {
    server: Server,
    parts: Parts,
    news: watch::Receiver<u64>,
    stop: CancellationToken,
    told: Arc<Told>,
    /// The number of the last record that the server is known to have.
    kept: u64,
    /// The head that was sent last.
    head: Option<Head>,
}

/// Why one connection is over.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Over {
    /// It has lasted long enough.
    Used,
    /// The gateway stops.
    Stopping,
}

impl Shipping {
    pub(super) fn new(
        server: Server,
        parts: Parts,
        news: watch::Receiver<u64>,
        stop: CancellationToken,
    ) -> Self {
        let told = Arc::new(Told::new(server.name(), server.target()));
        Self { server, parts, news, stop, told, kept: 0, head: None }
    }

    pub(super) fn told(&self) -> Arc<Told> {
        Arc::clone(&self.told)
    }

    /// Sends until the gateway stops. A server that is away is tried again, after longer and longer waits.
    pub(super) async fn run(mut self) {
        if let Err(error) = self.find_place().await {
            self.told.failed(with_causes(&error));
        }
        let mut tries = 0_u32;
        while self.wait_for_news().await {
            let began = Instant::now();
            match self.use_connection().await {
                Ok(Over::Stopping) => return,
                Ok(Over::Used) => tries = 0,
                Err(error) => {
                    self.told.failed(with_causes(&error));
                    // What was sent may be lost, the head with it.
                    self.head = None;
                    // Only one that worked for long is tried again at once: each try is a record of the book.
                    let lasted = began.elapsed() >= limits::LEDGER_SENT_WAIT;
                    tries = if lasted { 1 } else { tries.saturating_add(1) };
                    if !self.pause(wait_after(tries, &error)).await {
                        return;
                    }
                }
            }
        }
    }

    /// Where to go on: behind what the server has, or with what this process wrote first. What is older is sent by
    /// `moltbot ledger export --to`.
    async fn find_place(&mut self) -> Result<(), SendError> {
        let began = self.parts.ledger.began();
        self.kept = began.saturating_sub(1);
        self.told.kept(self.kept);
        let (state, name) = (self.parts.state.clone(), self.server.name());
        let to = self.server.target();
        let installation = self.parts.origin.installation.clone();
        let found = blocking(move || -> Result<_, SendError> {
            let ours = |place: &Place| place.to == to && place.installation == installation;
            let Some(place) = Place::read(&state, name)?.filter(ours) else { return Ok(None) };
            let is_in = place.is_in(&Reader::of(state.folder(LEDGER_FOLDER)?), began)?;
            Ok(Some((place, is_in)))
        });
        match found.await?? {
            Some((place, true)) => {
                self.kept = place.sequence;
                self.told.kept(self.kept);
                return Ok(());
            }
            Some((place, false)) => self.alarm(place.sequence).await,
            None => {}
        }
        // Kept before anything is sent: a crash must not move the beginning.
        let place = self.place(self.kept, String::new());
        let (state, name) = (self.parts.state.clone(), self.server.name());
        blocking(move || place.write(&state, name)).await??;
        Ok(())
    }

    fn place(&self, sequence: u64, h: String) -> Place {
        let installation = self.parts.origin.installation.clone();
        Place { installation, to: self.server.target(), sequence, h }
    }

    /// The server was sent a record that the book does not have any more.
    async fn alarm(&self, sent: u64) {
        self.told.cut(sent);
        let entry = Entry::new(ACTOR, "alarm.cut", self.server.target(), Decision::Done)
            .with("sent", sent.to_string());
        let ledger = self.parts.ledger.clone();
        match blocking(move || ledger.enter(entry)).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => tracing::error!(%error, "an alarm could not be recorded"),
            Err(error) => tracing::error!(%error, "an alarm could not be recorded"),
        }
    }

    /// Waits until there is something that the server does not have; `false` when the gateway stops before.
    async fn wait_for_news(&mut self) -> bool {
        let kept = self.kept;
        let news = self.news.wait_for(|last| *last > kept);
        self.stop.run_until_cancelled(news).await.is_some_and(|heard| heard.is_ok())
    }

    async fn pause(&self, wait: Duration) -> bool {
        self.stop.run_until_cancelled(sleep(wait)).await.is_some()
    }

    /// Sends over one connection until it was used for long enough.
    async fn use_connection(&mut self) -> Result<Over, SendError> {
        let connecting = self.server.connect(ACTOR);
        let connected = self.stop.run_until_cancelled(connecting).await;
        let Some(connected) = connected else { return Ok(Over::Stopping) };
        // The connection borrows the server; what changes is passed along.
        let mut connection = connected?;
        self.told.connected();
        let reader = Reader::of(self.parts.state.folder(LEDGER_FOLDER)?);
        let mut ship = Ship {
            following: Some(Following::new(reader, self.kept.saturating_add(1))),
            parts: &self.parts,
            news: &mut self.news,
            stop: &self.stop,
            told: &self.told,
            name: self.server.name(),
            head: &mut self.head,
            takes_heads: self.server.takes_heads(),
            sent: self.kept,
            h: String::new(),
            kept: &mut self.kept,
            count: 0,
            until: Instant::now() + limits::LEDGER_SENT_EACH,
            next_head: Instant::now(),
        };
        let over = ship.go(&mut connection).await?;
        let sent = ship.sent;
        connection.finish().await?;
        ship.keep(sent).await;
        self.told.closed();
        Ok(over)
    }
}

/// What is sent over one connection.
struct Ship<'a> {
    /// Away while it is read from.
    following: Option<Following>,
    parts: &'a Parts,
    news: &'a mut watch::Receiver<u64>,
    stop: &'a CancellationToken,
    told: &'a Told,
    name: &'static str,
    head: &'a mut Option<Head>,
    takes_heads: bool,
    kept: &'a mut u64,
    /// The number of the last record that was handed over.
    sent: u64,
    /// That record's `h`; empty when it was not there.
    h: String,
    count: u64,
    until: Instant,
    next_head: Instant,
}

impl Ship<'_> {
    async fn go(&mut self, connection: &mut Connection<'_>) -> Result<Over, SendError> {
        loop {
            let is_behind = self.send_batch(connection).await?;
            // Also of a book that grows faster than it is sent.
            if Instant::now() >= self.next_head {
                self.send_head(connection).await?;
            }
            if is_behind && self.count < limits::LEDGER_SENT_RECORDS_EACH {
                continue;
            }
            if self.stop.is_cancelled() {
                self.send_head(connection).await?;
                return Ok(Over::Stopping);
            }
            if is_behind || Instant::now() >= self.until {
                return Ok(Over::Used);
            }
            self.wait(connection).await?;
        }
    }

    /// Waits for what is to be done next.
    async fn wait(&mut self, connection: &mut Connection<'_>) -> Result<(), SendError> {
        let sent = self.sent;
        let due = if self.takes_heads { self.until.min(self.next_head) } else { self.until };
        tokio::select! {
            () = self.stop.cancelled() => return Ok(()),
            error = connection.ended() => return Err(error),
            () = sleep_until(due) => return Ok(()),
            heard = self.news.wait_for(|last| *last > sent) => {
                heard.map_err(|_| SendError::Stopping)?;
            }
        }
        // What belongs together comes together.
        let gathered = Instant::now() + limits::LEDGER_SENT_AFTER;
        match timeout_at(gathered, self.stop.cancelled()).await {
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Sends the next records; whether there are more.
    async fn send_batch(&mut self, connection: &mut Connection<'_>) -> Result<bool, SendError> {
        let until = *self.news.borrow_and_update();
        let items = self.read(until).await?;
        let Some(last) = items.last().map(Item::last) else { return Ok(false) };
        connection.send(&items, &self.parts.origin, (self.parts.clock)()).await?;
        self.count = self.count.saturating_add(u64::try_from(items.len()).unwrap_or(u64::MAX));
        self.sent = last;
        self.h = match items.last() {
            Some(Item::Record(record)) => record.h.clone(),
            Some(Item::Gap { .. }) | None => String::new(),
        };
        self.told.sent(last);
        if connection.answers() {
            self.keep(last).await;
        }
        Ok(last < until)
    }

    async fn read(&mut self, until: u64) -> Result<Vec<Item>, SendError> {
        let Some(mut following) = self.following.take() else { return Err(SendError::Stopping) };
        let (following, items) = blocking(move || {
            let items = following.batch(until);
            (following, items)
        })
        .await?;
        self.following = Some(following);
        Ok(items?)
    }

    /// Sends the head of the book to a server that takes heads, when it is another than the last that was sent.
    async fn send_head(&mut self, connection: &mut Connection<'_>) -> Result<(), SendError> {
        self.next_head = Instant::now() + limits::LEDGER_REMEMBERED;
        let head = self.parts.ledger.head();
        if self.takes_heads && self.head.as_ref() != Some(&head) && head.sequence > 0 {
            connection.send_head(&head, &self.parts.origin, (self.parts.clock)()).await?;
            *self.head = Some(head);
        }
        Ok(())
    }

    /// Keeps that the server has everything up to here. When that cannot be kept, it is sent again after a start.
    async fn keep(&mut self, sequence: u64) {
        if sequence <= *self.kept {
            return;
        }
        *self.kept = sequence;
        self.told.kept(sequence);
        let (state, name) = (self.parts.state.clone(), self.name);
        let (installation, to) = (self.parts.origin.installation.clone(), self.told.target().to_owned());
        let place = Place { installation, to, sequence, h: self.h.clone() };
        let written = blocking(move || place.write(&state, name)).await;
        if let Err(error) = written.and_then(|written| Ok(written?)) {
            tracing::warn!(error = with_causes(&error), "up to where the book was sent could not be kept");
        }
    }
}

/// The wait after so many tries: doubling, shortened by chance to a half at most, and never shorter than the server
/// asked for.
fn wait_after(tries: u32, error: &SendError) -> Duration {
    let asked = match error {
        SendError::Status { retry_after, .. } => retry_after.unwrap_or_default(),
        _ => Duration::ZERO,
    };
    // Without randomness the wait is only less spread.
    let [chance] = random().unwrap_or([0]);
    let doubled = limits::LEDGER_SENT_BACKOFF.saturating_mul(2_u32.saturating_pow(tries.saturating_sub(1)));
    let shortened = doubled.min(limits::LEDGER_SENT_WAIT) * (256 - u32::from(chance) / 2) / 256;
    shortened.max(asked).min(limits::LEDGER_SENT_WAIT)
}

/// Does what waits for a disk on a thread of its own.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, SendError> {
    tokio::task::spawn_blocking(work).await.map_err(|_| SendError::Stopping)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_limit_and_keep_to_what_the_server_asks() {
        let status = |retry_after| SendError::Status { target: String::new(), status: 503, retry_after };
        let within = |tries, whole: Duration| {
            let wait = wait_after(tries, &status(None));
            assert!(wait >= whole / 2 && wait <= whole, "{tries}: {wait:?}");
        };
        within(1, limits::LEDGER_SENT_BACKOFF);
        within(4, limits::LEDGER_SENT_BACKOFF * 8);
        within(u32::MAX, limits::LEDGER_SENT_WAIT);
        let asked = Duration::from_secs(20);
        assert_eq!(wait_after(1, &status(Some(asked))), asked);
        assert_eq!(wait_after(1, &status(Some(asked * 1000))), limits::LEDGER_SENT_WAIT);
    }
}
