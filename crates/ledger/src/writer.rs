//! The thread that writes the book, and the handle that everybody else holds.
//!
//! Records that arrive while the disk flushes share the next flush. Alone, a record is written at once; under
//! load the writer waits for as many as it had the last time, but no longer than a flush takes.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender, SyncSender, TryRecvError};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use moltbot_config::limits;
use moltbot_policy::{Book, Decision, Entry, Unrecorded};
use moltbot_vault::{Lock, LockError, StateDir, random_id};

use crate::conceal::Conceal;
use crate::disk::Disk;
use crate::error::LedgerError;
use crate::journal::Journal;
use crate::opening::{Position, Torn, find_end};
use crate::record::{Body, Stamp};
use crate::view::Views;

/// The book's folder in the state folder.
pub(crate) const FOLDER: &str = "ledger";
/// The lock in it: two writers would fork the chain.
pub(crate) const LOCK: &str = "writer.lock";
/// The writer's stack: it holds a batch on the heap and calls nothing deep.
const STACK: usize = 256 * 1024;

/// The book, opened. Clones share it; the last one closes it.
#[derive(Clone, Debug)]
pub struct Ledger {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    orders: Sender<Order>,
    waiting: Arc<AtomicUsize>,
    flushes: Arc<AtomicU64>,
    conceal: OnceLock<Conceal>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

enum Order {
    Enter(Waiting),
    Stop,
}

/// A record that a thread waits for.
struct Waiting {
    body: Body,
    /// When that thread gives up. After it the act will not happen, so the record must not be written.
    until: Instant,
    reply: SyncSender<Result<u64, String>>,
}

impl Ledger {
    /// Opens the book in the state folder, or begins one, and writes `ledger.start`.
    ///
    /// The last segment is verified. An end torn by a crash is moved to a file beside it and recorded as
    /// `ledger.recovered`.
    ///
    /// # Errors
    /// [`LedgerError::Tampered`] when a line is not what was written, [`LedgerError::Busy`] when another
    /// process has the book open, or when the disk refuses.
    pub fn open(state: &StateDir) -> Result<Self, LedgerError> {
        let folder = state.folder(FOLDER)?;
        let lock =
            folder.lock(LOCK, std::process::id().to_string().as_bytes()).map_err(|error| match error {
                LockError::Held { .. } => LedgerError::Busy { path: folder.path().to_owned() },
                other => LedgerError::Lock(other),
            })?;
        let mut end = find_end(&folder)?;
        let torn = end.torn.take();
        Self::start(folder, lock, end, torn, Views::new(state))
    }

    /// Takes what `conceal` knows to be secret out of every entry from now on. Before, and without a call, forms of
    /// secrets are taken out. The first call counts.
    pub fn conceal(&self, conceal: Conceal) {
        if self.shared.conceal.set(conceal).is_err() {
            tracing::error!("the book was told twice what to conceal; the first time counts");
        }
    }

    /// How often the book was flushed to disk since it was opened.
    pub fn flushes(&self) -> u64 {
        self.shared.flushes.load(Ordering::Relaxed)
    }

    /// Writes what waits and `ledger.stop`, and closes the book: whatever comes later is refused. Blocks until
    /// that is done; a second call finds nothing to do.
    pub fn shutdown(&self) {
        self.shared.shutdown();
    }

    fn start(
        folder: StateDir,
        lock: Lock,
        end: Position,
        torn: Option<Torn>,
        views: Views,
    ) -> Result<Self, LedgerError> {
        let flushes = Arc::new(AtomicU64::new(0));
        let segment = end.name.clone();
        let mut journal = Journal::new(folder, end, Stamp::new(random_id()?), Arc::clone(&flushes));
        let mut first: Vec<Body> = torn.map(|torn| recovered(&segment, &torn)).into_iter().collect();
        first.push(started(&segment));
        journal.append(&first)?;
        Self::write(journal, flushes, lock, Some(views))
    }

    /// Starts the thread, which keeps `lock` until it ends.
    fn write<D>(
        journal: Journal<D>,
        flushes: Arc<AtomicU64>,
        lock: impl Send + 'static,
        views: Option<Views>,
    ) -> Result<Self, LedgerError>
    where
        D: Disk<Segment: 'static>,
    {
        let waiting = Arc::new(AtomicUsize::new(0));
        let (orders, queue) = mpsc::channel();
        let writer = Writer::new(journal, queue, Arc::clone(&waiting), views);
        let run = move || {
            writer.run();
            drop(lock);
        };
        let thread = std::thread::Builder::new().name("ledger".into()).stack_size(STACK).spawn(run);
        let thread = Mutex::new(Some(thread.map_err(|source| LedgerError::Thread { source })?));
        let conceal = OnceLock::new();
        Ok(Self { shared: Arc::new(Shared { orders, waiting, flushes, conceal, thread }) })
    }
}

impl Book for Ledger {
    /// Like the trait says. A record whose waiter gave up while the disk was writing it may stay in the book:
    /// it then tells of an act that did not happen, never the other way round.
    fn enter(&self, entry: Entry) -> Result<u64, Unrecorded> {
        self.shared.order(&entry)?.wait()
    }

    /// Like [`Book::enter`], for records that are written by one flush, or few.
    fn enter_all(&self, entries: Vec<Entry>) -> Result<Vec<u64>, Unrecorded> {
        let ordered: Result<Vec<Ordered>, Unrecorded> =
            entries.iter().map(|entry| self.shared.order(entry)).collect();
        ordered?.into_iter().map(Ordered::wait).collect()
    }
}

/// A record on its way to the disk.
struct Ordered {
    action: &'static str,
    answer: Receiver<Result<u64, String>>,
    until: Instant,
}

impl Ordered {
    fn wait(self) -> Result<u64, Unrecorded> {
        let refuse = |cause: String| Unrecorded { action: self.action, cause };
        match self.answer.recv_timeout(self.until.saturating_duration_since(Instant::now())) {
            Ok(Ok(sequence)) => Ok(sequence),
            Ok(Err(cause)) => Err(refuse(cause)),
            Err(RecvTimeoutError::Disconnected) => Err(refuse("the book is closed".into())),
            Err(RecvTimeoutError::Timeout) => {
                Err(refuse(format!("the disk did not answer within {} s", limits::RECORD.as_secs())))
            }
        }
    }
}

impl Shared {
    /// Hands a record to the writer, without what must not be seen.
    fn order(&self, entry: &Entry) -> Result<Ordered, Unrecorded> {
        let entry = &*self.conceal.get_or_init(Conceal::default).entry(entry);
        let action = entry.action;
        let refuse = |cause: String| Unrecorded { action, cause };
        if self.waiting.fetch_add(1, Ordering::Relaxed) >= limits::LEDGER_WAITING {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            return Err(refuse(format!("{} records are waiting for the disk", limits::LEDGER_WAITING)));
        }
        let (reply, answer) = mpsc::sync_channel(1);
        let until = Instant::now() + limits::RECORD;
        if self.orders.send(Order::Enter(Waiting { body: Body::of(entry), until, reply })).is_err() {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            return Err(refuse("the book is closed".into()));
        }
        Ok(Ordered { action, answer, until })
    }

    fn shutdown(&self) {
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(thread) = thread else {
            return;
        };
        if self.orders.send(Order::Stop).is_err() {
            tracing::error!("the book's writer had ended before it was told to");
        }
        if thread.join().is_err() {
            tracing::error!("the book's writer failed; the end of the book is verified at the next start");
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.shutdown();
    }
}

/// What the thread owns.
struct Writer<D: Disk> {
    journal: Journal<D>,
    queue: Receiver<Order>,
    waiting: Arc<AtomicUsize>,
    views: Option<Views>,
    /// Records of the last flush: as many may come again.
    usual: usize,
    /// How long the last flush took: waiting longer would cost more than it saves.
    flush: Duration,
    stopping: bool,
}

impl<D: Disk> Writer<D> {
    const fn new(
        journal: Journal<D>,
        queue: Receiver<Order>,
        waiting: Arc<AtomicUsize>,
        views: Option<Views>,
    ) -> Self {
        Self { journal, queue, waiting, views, usual: 1, flush: Duration::ZERO, stopping: false }
    }

    fn run(mut self) {
        while !self.stopping {
            let batch = self.gather();
            if !batch.is_empty() {
                self.write(batch);
            }
        }
        let stop = Entry::new("gateway", "ledger.stop", FOLDER, Decision::Done);
        if let Err(error) = self.journal.append(&[Body::of(&stop)]) {
            tracing::error!(error = error.told(), "the end of the book could not be recorded");
        }
        self.mirror();
    }

    /// Waits for a record and takes those that come with it.
    fn gather(&mut self) -> Vec<Waiting> {
        let mut batch = Vec::new();
        let mut bytes = 0;
        self.take(self.queue.recv().ok(), &mut batch, &mut bytes);
        let until = Instant::now() + self.flush.min(limits::LEDGER_GATHER);
        while !self.stopping && batch.len() < limits::LEDGER_BATCH && bytes < limits::LEDGER_BATCH_BYTES {
            let order = match self.queue.try_recv() {
                Ok(order) => Some(order),
                Err(TryRecvError::Disconnected) => None,
                Err(TryRecvError::Empty) if batch.len() >= self.usual => break,
                Err(TryRecvError::Empty) => {
                    match self.queue.recv_timeout(until.saturating_duration_since(Instant::now())) {
                        Ok(order) => Some(order),
                        Err(RecvTimeoutError::Disconnected) => None,
                        Err(RecvTimeoutError::Timeout) => break,
                    }
                }
            };
            self.take(order, &mut batch, &mut bytes);
        }
        batch
    }

    fn take(&mut self, order: Option<Order>, batch: &mut Vec<Waiting>, bytes: &mut usize) {
        match order {
            None | Some(Order::Stop) => self.stopping = true,
            Some(Order::Enter(record)) => {
                self.waiting.fetch_sub(1, Ordering::Relaxed);
                if record.until > Instant::now() {
                    *bytes = bytes.saturating_add(record.body.length());
                    batch.push(record);
                }
            }
        }
    }

    fn write(&mut self, batch: Vec<Waiting>) {
        let start = Instant::now();
        self.usual = batch.len();
        let (bodies, replies): (Vec<Body>, Vec<SyncSender<_>>) =
            batch.into_iter().map(|record| (record.body, record.reply)).unzip();
        let written = self.journal.append(&bodies).map_err(|error| error.told());
        self.flush = start.elapsed();
        for (reply, position) in replies.into_iter().zip(0..) {
            let answer = written.as_ref().map(|first| first.saturating_add(position)).map_err(String::clone);
            if reply.send(answer).is_err() {
                tracing::debug!("a record came too late for the one who waited for it");
            }
        }
        self.mirror();
    }

    /// Adds to the views what was written last. After the answers: nobody waits for a view.
    fn mirror(&mut self) {
        let lines = self.journal.take_written();
        if let Some(views) = &mut self.views {
            views.mirror(&lines);
        }
    }
}

fn started(segment: &str) -> Body {
    let entry = Entry::new("gateway", "ledger.start", segment, Decision::Done);
    let entry = entry.with("pid", std::process::id().to_string());
    Body::of(&entry.with("version", env!("CARGO_PKG_VERSION")))
}

fn recovered(segment: &str, torn: &Torn) -> Body {
    let entry = Entry::new("gateway", "ledger.recovered", segment, Decision::Done);
    let entry = entry.with("bytes", torn.bytes.to_string()).with("sha256", torn.hash.clone());
    Body::of(&entry.with("file", torn.name.clone()))
}

#[cfg(test)]
mod tests {
    use tempfile::tempdir;

    use super::*;
    use crate::disk::{Fault, FaultyDisk};
    use crate::opening::segment_name;

    fn entry(target: &str) -> Entry {
        Entry::new("gateway", "test.act", target, Decision::Allowed)
    }

    #[test]
    fn a_disk_that_hangs_refuses_after_the_limit_and_what_was_refused_is_not_written_later() {
        let home = tempdir().unwrap();
        let folder = StateDir::open_or_create(home.path()).unwrap();
        let disk = FaultyDisk::new(folder.clone());
        let flushes = Arc::<AtomicU64>::default();
        let stamp = Stamp::new("boot".into());
        let journal = Journal::new(disk.clone(), find_end(&folder).unwrap(), stamp, Arc::clone(&flushes));
        let ledger = Ledger::write(journal, flushes, (), None).unwrap();
        assert_eq!(ledger.enter(entry("before")).unwrap(), 1);
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
}
