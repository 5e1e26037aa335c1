//! The thread that writes the book.
//!
//! Records that arrive while the disk flushes share the next flush. Alone, a record is written at once; under
//! load the writer waits for as many as it had the last time, but no longer than a flush takes. Buffered records ride
//! along. A second after something was written a checkpoint is signed for it; an idle book has one each minute.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use moltbot_config::limits;
use moltbot_vault::Vault;
use tokio::sync::oneshot;

use crate::disk::Disk;
use crate::error::LedgerError;
use crate::head::Head;
use crate::journal::{Journal, Sign};
use crate::ledger::FOLDER;
use crate::own;
use crate::record::Body;
use crate::view::Views;

/// Hears the number of the last record that is on disk.
pub(crate) type Watcher = Box<dyn Fn(u64) + Send + Sync>;

/// What the thread and the handles share.
pub(crate) struct State {
    /// Records that somebody waits for.
    pub(crate) waiting: AtomicUsize,
    /// Records that nobody waits for, not on disk yet.
    pub(crate) buffered: AtomicUsize,
    /// Acts that were done unrecorded, not on disk yet.
    pub(crate) deferred: AtomicUsize,
    /// Buffered records that were lost.
    pub(crate) dropped: Arc<AtomicU64>,
    pub(crate) flushes: Arc<AtomicU64>,
    /// Whether the disk was full when it was last looked at.
    pub(crate) full: AtomicBool,
    /// The head at the last checkpoint.
    pub(crate) head: Mutex<Head>,
    /// The number of the last record that is on disk.
    pub(crate) last: AtomicU64,
    /// Who hears of it.
    pub(crate) watcher: OnceLock<Watcher>,
}

impl State {
    pub(crate) fn of<D: Disk>(journal: &Journal<D>) -> Self {
        Self {
            waiting: AtomicUsize::new(0),
            buffered: AtomicUsize::new(0),
            deferred: AtomicUsize::new(0),
            dropped: Arc::clone(&journal.dropped),
            flushes: journal.flushes(),
            full: AtomicBool::new(false),
            head: Mutex::new(journal.head()),
            last: AtomicU64::new(journal.head().sequence),
            watcher: OnceLock::new(),
        }
    }

    /// Tells who watches that records up to `last` are on disk.
    fn tell(&self, last: u64) {
        if self.last.swap(last, Ordering::AcqRel) != last
            && let Some(watcher) = self.watcher.get()
        {
            watcher(last);
        }
    }
}

pub(crate) enum Order {
    Buffer(Body),
    Defer(Body),
    Enter(Waiting),
    Reseal(Vault, SyncSender<Result<(), LedgerError>>),
    Stop,
}

/// A record that somebody waits for.
pub(crate) struct Waiting {
    pub(crate) body: Body,
    /// When he gives up. After it the act will not happen, so the record must not be written.
    pub(crate) until: Instant,
    pub(crate) reply: Reply,
}

/// The number of a record, or why it is not on disk.
pub(crate) type Answer = Result<u64, String>;

/// Where the one who waits is answered: a thread, or a task, which holds up none.
pub(crate) enum Reply {
    Thread(SyncSender<Answer>),
    Task(oneshot::Sender<Answer>),
}

impl Reply {
    fn answer(self, answer: Answer) {
        let is_heard = match self {
            Self::Thread(reply) => reply.send(answer).is_ok(),
            Self::Task(reply) => reply.send(answer).is_ok(),
        };
        if !is_heard {
            tracing::debug!("a record came too late for the one who waited for it");
        }
    }
}

/// A record on its way, and who wants to know.
struct Item {
    body: Body,
    to: Interest,
}

enum Interest {
    /// Nobody: it may wait, and is dropped when too many do.
    Buffered,
    /// Nobody, but it must not be lost.
    Deferred,
    Waiting(Reply),
}

/// What the thread owns.
pub(crate) struct Writer<D: Disk> {
    journal: Journal<D>,
    queue: Receiver<Order>,
    state: Arc<State>,
    views: Option<Views>,
    /// Records that nobody waits for and that are not on disk yet.
    kept: Vec<Item>,
    /// When they are tried again, after the disk did not take them.
    again: Option<Instant>,
    /// When they and what was written are to be under a checkpoint.
    due: Option<Instant>,
    /// When an idle book shows that it lives.
    heartbeat: Instant,
    /// Records of the last flush: as many may come again.
    usual: usize,
    /// How long the last flush took: waiting longer would cost more than it saves.
    flush: Duration,
    stopping: bool,
}

/// Records that are written together.
#[derive(Default)]
struct Batch {
    items: Vec<Item>,
    bytes: usize,
    /// Whether somebody waits for one of them.
    is_awaited: bool,
}

impl Batch {
    fn push(&mut self, item: Item) {
        self.bytes = self.bytes.saturating_add(item.body.length());
        self.is_awaited |= matches!(item.to, Interest::Waiting(_));
        self.items.push(item);
    }

    const fn is_full(&self) -> bool {
        self.items.len() >= limits::LEDGER_BATCH || self.bytes >= limits::LEDGER_BATCH_BYTES
    }
}

impl<D: Disk> Writer<D> {
    pub(crate) fn new(
        journal: Journal<D>,
        queue: Receiver<Order>,
        state: Arc<State>,
        views: Option<Views>,
    ) -> Self {
        let now = Instant::now();
        let (after, heartbeat) = (journal.options.checkpoint_after, journal.options.heartbeat);
        Self {
            journal,
            queue,
            state,
            views,
            kept: Vec::new(),
            again: None,
            due: now.checked_add(after),
            heartbeat: now + heartbeat,
            usual: 1,
            flush: Duration::ZERO,
            stopping: false,
        }
    }

    pub(crate) fn run(mut self) {
        if let Err(error) = self.journal.space.keep(&self.journal.disk) {
            tracing::warn!(%error, "no space could be set aside for a full disk");
        }
        while !self.stopping {
            let batch = self.gather();
            if !batch.items.is_empty() {
                self.write(batch);
            }
            self.mirror();
            if !self.stopping && Instant::now() >= self.deadline() {
                self.look_after();
                self.mirror();
            }
            self.state.tell(self.journal.last());
        }
        self.end();
        self.mirror();
        self.state.tell(self.journal.last());
    }

    /// Tells whether the disk is full. Before any answer: who has one may ask at once, and is not to be told what was
    /// before.
    fn tell_space(&self) {
        self.state.full.store(self.journal.space.is_full(), Ordering::Relaxed);
    }

    /// Adds to the views what was written last. After the answers: nobody waits for it.
    fn mirror(&mut self) {
        self.tell_space();
        let lines = self.journal.take_written();
        if let Some(views) = &mut self.views {
            views.mirror(&lines);
        }
    }

    /// When something is to be done even if no record comes.
    fn deadline(&self) -> Instant {
        self.due.unwrap_or(self.heartbeat)
    }

    /// Waits for a record that somebody waits for, and takes those that come with it.
    fn gather(&mut self) -> Batch {
        let mut batch = Batch::default();
        if self.again.is_none_or(|again| Instant::now() >= again) {
            for item in self.kept.drain(..self.kept.len().min(limits::LEDGER_BATCH)) {
                batch.push(item);
            }
        }
        while !self.stopping && !batch.is_awaited && !batch.is_full() {
            match self.queue.recv_timeout(self.deadline().saturating_duration_since(Instant::now())) {
                Ok(order) => self.take(order, &mut batch),
                Err(RecvTimeoutError::Timeout) => return batch,
                Err(RecvTimeoutError::Disconnected) => self.stopping = true,
            }
        }
        let until = Instant::now() + self.flush.min(limits::LEDGER_GATHER);
        while !self.stopping && !batch.is_full() {
            match self.queue.try_recv() {
                Ok(order) => self.take(order, &mut batch),
                Err(TryRecvError::Disconnected) => self.stopping = true,
                Err(TryRecvError::Empty) if batch.items.len() >= self.usual => break,
                Err(TryRecvError::Empty) => {
                    match self.queue.recv_timeout(until.saturating_duration_since(Instant::now())) {
                        Ok(order) => self.take(order, &mut batch),
                        Err(RecvTimeoutError::Disconnected) => self.stopping = true,
                        Err(RecvTimeoutError::Timeout) => break,
                    }
                }
            }
        }
        batch
    }

    fn take(&mut self, order: Order, batch: &mut Batch) {
        match order {
            Order::Stop => self.stopping = true,
            Order::Reseal(vault, reply) => {
                if reply.send(self.journal.reseal(vault)).is_err() {
                    tracing::debug!("nobody waited for the signing key to be sealed");
                }
            }
            Order::Buffer(body) => {
                self.expect_checkpoint();
                batch.push(Item { body, to: Interest::Buffered });
            }
            Order::Defer(body) => {
                self.expect_checkpoint();
                batch.push(Item { body, to: Interest::Deferred });
            }
            Order::Enter(Waiting { body, until, reply }) => {
                self.state.waiting.fetch_sub(1, Ordering::Relaxed);
                if until > Instant::now() {
                    batch.push(Item { body, to: Interest::Waiting(reply) });
                }
            }
        }
    }

    fn expect_checkpoint(&mut self) {
        let after = self.journal.options.checkpoint_after;
        self.due = self.due.or_else(|| Instant::now().checked_add(after));
    }

    fn write(&mut self, batch: Batch) {
        let start = Instant::now();
        self.usual = batch.items.len();
        self.journal.look_at_space();
        let payable = self.refuse_unpayable(batch.items);
        if payable.is_empty() {
            self.alarm();
            return;
        }
        let bodies: Vec<Body> = payable.iter().map(|item| item.body.clone()).collect();
        let written = self.journal.append(&bodies, Sign::WhenDue);
        self.flush = start.elapsed();
        match written {
            Ok(first) => self.acknowledge(payable, first),
            Err(error) => {
                let told = error.told();
                if error.is_full() {
                    self.write_from_reserve(payable, &told);
                } else {
                    self.refuse(payable, &told);
                }
            }
        }
        if self.journal.is_dirty() {
            self.expect_checkpoint();
        }
    }

    /// After the disk took nothing and what was set aside was given back: the alarm, and what it may pay for.
    fn write_from_reserve(&mut self, items: Vec<Item>, told: &str) {
        let (payable, rest): (Vec<Item>, Vec<Item>) = items.into_iter().partition(|item| item.body.reserved);
        self.refuse(rest, told);
        if payable.is_empty() {
            self.alarm();
            return;
        }
        let bodies: Vec<Body> = payable.iter().map(|item| item.body.clone()).collect();
        match self.journal.append(&bodies, Sign::WhenDue) {
            Ok(first) => self.acknowledge(payable, first),
            Err(error) => self.refuse(payable, &error.told()),
        }
    }

    /// On a full disk, what the reserve does not pay for is refused.
    fn refuse_unpayable(&mut self, items: Vec<Item>) -> Vec<Item> {
        if !self.journal.space.is_full() {
            return items;
        }
        let (payable, rest): (Vec<Item>, Vec<Item>) = items.into_iter().partition(|item| item.body.reserved);
        self.refuse(rest, "no space left for the book; free some disk space");
        payable
    }

    /// Writes the alarm for a full disk, when there is one to write.
    fn alarm(&mut self) {
        if self.journal.is_alarmed
            && let Err(error) = self.journal.append(&[], Sign::WhenDue)
        {
            tracing::error!(error = error.told(), "not even the alarm for a full disk could be written");
        }
    }

    fn acknowledge(&mut self, items: Vec<Item>, first: u64) {
        self.tell_space();
        self.again = None;
        for (item, sequence) in items.into_iter().zip(first..) {
            match item.to {
                Interest::Buffered => drop(self.state.buffered.fetch_sub(1, Ordering::Relaxed)),
                Interest::Deferred => drop(self.state.deferred.fetch_sub(1, Ordering::Relaxed)),
                Interest::Waiting(reply) => reply.answer(Ok(sequence)),
            }
        }
    }

    /// Tells those who wait, and keeps what nobody waits for.
    fn refuse(&mut self, items: Vec<Item>, told: &str) {
        self.tell_space();
        for item in items {
            match item.to {
                Interest::Waiting(reply) => {
                    self.journal.refuse(1);
                    reply.answer(Err(told.to_owned()));
                }
                Interest::Buffered | Interest::Deferred => self.kept.push(item),
            }
        }
        if !self.kept.is_empty() {
            self.again = Instant::now().checked_add(self.journal.options.checkpoint_after);
            self.expect_checkpoint();
        }
    }

    /// What is done between records: a checkpoint, old segments, space set aside.
    fn look_after(&mut self) {
        self.journal.look_at_space();
        self.alarm();
        let now = Instant::now();
        self.heartbeat = now + self.journal.options.heartbeat;
        self.due = None;
        // A sign of life is not worth the last space.
        if self.journal.is_dirty() || !self.journal.space.is_full() {
            match self.journal.checkpoint() {
                Ok(()) => {
                    *self.state.head.lock().unwrap_or_else(PoisonError::into_inner) = self.journal.head()
                }
                Err(error) => {
                    tracing::warn!(error = error.told(), "the book could not be signed; it is tried again");
                    self.expect_checkpoint();
                }
            }
        }
        if let Err(error) = self.journal.space.keep(&self.journal.disk) {
            tracing::warn!(%error, "no space could be set aside for a full disk");
        }
        if self.journal.is_pruning_due
            && let Err(error) = self.journal.prune()
        {
            tracing::warn!(error = error.told(), "old segments of the book could not be removed");
        }
        if !self.kept.is_empty() {
            self.expect_checkpoint();
        }
    }

    /// Writes what waits, the end, and a signature for all of it.
    fn end(&mut self) {
        let stop = own::stopped(FOLDER);
        self.journal.look_at_space();
        let mut bodies: Vec<Body> = self.kept.drain(..).map(|item| item.body).collect();
        bodies.push(stop.clone());
        let mut written = self.journal.append(&bodies, Sign::Now);
        if written.is_err() && bodies.len() > 1 || written.as_ref().is_err_and(LedgerError::is_full) {
            written = self.journal.append(&[stop], Sign::Now);
        }
        match written {
            Ok(_) => {
                *self.state.head.lock().unwrap_or_else(PoisonError::into_inner) = self.journal.head();
                self.journal.remember();
            }
            Err(error) => tracing::error!(error = error.told(), "the end of the book could not be recorded"),
        }
    }
}

#[cfg(test)]
mod tests {
    use moltbot_policy::{Book as _, Decision, Entry};
    use moltbot_vault::StateDir;

    use super::*;

    use crate::disk::Fault;
    use crate::journal::tests::Bench;
    use crate::ledger::Ledger;
    use crate::options::LedgerOptions;
    use crate::segments::segment_name;

    fn entry(target: &str) -> Entry {
        Entry::new("gateway", "test.act", target, Decision::Allowed)
    }

    #[test]
    fn a_disk_that_hangs_refuses_after_the_limit_and_what_was_refused_is_not_written_later() {
        let bench = Bench::new();
        let (folder, disk) = (bench.folder.clone(), bench.disk.clone());
        let ledger = Ledger::write(bench.journal, zeroize::Zeroizing::new([0; 32]), (), None).unwrap();
        assert_eq!(ledger.enter(entry("before")).unwrap(), 2);
        disk.set(Fault::Hang);
        std::thread::scope(|scope| {
            // The first is with the disk when it hangs; the others wait behind it.
            let first = scope.spawn(|| ledger.enter(entry("a")));
            disk.await_hang();
            let others = ["b", "c"].map(|target| scope.spawn(|| ledger.enter(entry(target))));
            for refused in [first].into_iter().chain(others) {
                let cause = refused.join().unwrap().unwrap_err().cause;
                assert_eq!(cause, "the disk did not answer within 2 s");
            }
        });
        disk.set(Fault::None);
        ledger.enter(entry("after")).unwrap();
        ledger.shutdown();
        assert_eq!(ledger.enter(entry("late")).unwrap_err().cause, "the book is closed");
        let text = String::from_utf8(folder.read(&segment_name(1), 1 << 20).unwrap().unwrap()).unwrap();
        let written = ["a", "b", "c"].map(|target| text.matches(&format!(r#""target":"{target}""#)).count());
        assert_eq!(written, [1, 0, 0], "only what the disk had already is written: {text}");
        assert!(text.contains(r#""target":"after""#) && text.contains("ledger.stop"), "{text}");
    }

    /// Action, target and some details of every record behind the start of the bench.
    fn records(bench: &StateDir) -> Vec<serde_json::Value> {
        let text = String::from_utf8(bench.read(&segment_name(1), 1 << 26).unwrap().unwrap()).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn of<'a>(records: &'a [serde_json::Value], action: &str) -> Vec<&'a serde_json::Value> {
        records.iter().filter(|record| record["action"] == action).collect()
    }

    #[test]
    fn buffered_records_ride_along_in_order_and_those_that_are_too_many_are_counted() {
        let bench = Bench::new();
        let (folder, disk) = (bench.folder.clone(), bench.disk.clone());
        let ledger = Ledger::write(bench.journal, zeroize::Zeroizing::new([0; 32]), (), None).unwrap();
        let buffered = |n: usize| {
            let entry = Entry::new("gateway", "test.traffic", n.to_string(), Decision::Done);
            ledger.enter(entry.buffered()).unwrap()
        };
        assert_eq!(buffered(0), 0, "it has no number yet");
        ledger.enter(entry("with it")).unwrap();
        disk.set(Fault::Hang);
        std::thread::scope(|scope| {
            let hanging = scope.spawn(|| ledger.enter(entry("hangs")));
            disk.await_hang();
            for n in 1..limits::LEDGER_BUFFERED + 6 {
                buffered(n);
            }
            disk.set(Fault::None);
            hanging.join().unwrap().unwrap();
        });
        ledger.shutdown();
        let records = records(&folder);
        let traffic = of(&records, "test.traffic");
        let targets: Vec<usize> =
            traffic.iter().map(|record| record["target"].as_str().unwrap().parse().unwrap()).collect();
        assert_eq!(targets, (0..=limits::LEDGER_BUFFERED).collect::<Vec<_>>());
        assert_eq!(records[1]["action"], "test.traffic", "it went with the one that was waited for");
        let dropped: u64 = of(&records, "ledger.dropped")
            .iter()
            .map(|record| record["details"]["count"].as_str().unwrap().parse::<u64>().unwrap())
            .sum();
        assert_eq!(dropped, 5);
    }

    #[test]
    fn buffered_records_that_nobody_follows_are_on_disk_after_a_second_of_the_checkpoint() {
        let mut options = LedgerOptions { heartbeat: Duration::from_secs(3600), ..LedgerOptions::default() };
        options.checkpoint_after = Duration::from_millis(5);
        let bench = Bench::with(options);
        let folder = bench.folder.clone();
        let ledger = Ledger::write(bench.journal, zeroize::Zeroizing::new([0; 32]), (), None).unwrap();
        ledger.enter(entry("x").buffered()).unwrap();
        // No stop: only the thread's own clock brings it there.
        let is_signed = || {
            let records = records(&folder);
            let at = records.iter().position(|record| record["action"] == "test.act");
            at.is_some_and(|at| records[at..].iter().any(|record| record["action"] == "ledger.checkpoint"))
        };
        while folder.read(&segment_name(1), 1 << 20).unwrap().is_none_or(|bytes| bytes.is_empty())
            || !is_signed()
        {
            std::thread::yield_now();
        }
    }

    #[test]
    fn an_act_that_could_not_be_recorded_is_recorded_as_soon_as_the_disk_takes_it() {
        let bench = Bench::new();
        let (folder, disk) = (bench.folder.clone(), bench.disk.clone());
        let ledger = Ledger::write(bench.journal, zeroize::Zeroizing::new([0; 32]), (), None).unwrap();
        ledger.enter(entry("before")).unwrap();
        disk.set(Fault::Full);
        assert!(ledger.enter(entry("refused")).is_err());
        assert_eq!(ledger.enter_when_possible(entry("stop")), None);
        disk.set(Fault::None);
        ledger.shutdown();
        let records = records(&folder);
        let acts: Vec<_> = of(&records, "test.act")
            .iter()
            .map(|record| (record["target"].as_str().unwrap(), record["details"]["recorded"].as_str()))
            .collect();
        assert_eq!(acts, [("before", None), ("stop", Some("late"))]);
        assert_eq!(of(&records, "ledger.stop").len(), 1);
    }

    #[test]
    fn a_clock_that_is_set_back_is_noted() {
        static NOW: std::sync::atomic::AtomicI64 = std::sync::atomic::AtomicI64::new(2_000_000_000);
        let clock = || jiff::Timestamp::from_second(NOW.load(Ordering::Relaxed)).unwrap();
        let bench = Bench::with(LedgerOptions { clock, ..LedgerOptions::default() });
        let folder = bench.folder.clone();
        let ledger = Ledger::write(bench.journal, zeroize::Zeroizing::new([0; 32]), (), None).unwrap();
        ledger.enter(entry("one")).unwrap();
        NOW.fetch_sub(2, Ordering::Relaxed);
        ledger.enter(entry("two")).unwrap();
        NOW.fetch_sub(3, Ordering::Relaxed);
        ledger.enter(entry("three")).unwrap();
        ledger.shutdown();
        let records = records(&folder);
        let actions: Vec<&str> = records.iter().map(|record| record["action"].as_str().unwrap()).collect();
        let expected = ["ledger.genesis", "test.act", "test.act", "ledger.clock_step", "test.act"];
        assert_eq!(actions[..5], expected);
        assert_eq!(records[3]["details"]["from"], "2033-05-18T03:33:18.000000000Z");
        assert_eq!(records[3]["details"]["to"], "2033-05-18T03:33:15.000000000Z");
    }
}
