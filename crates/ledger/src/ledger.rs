//! The handle of the book that everybody holds.

use std::borrow::Cow;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

use moltbot_config::limits;
use moltbot_policy::redact::Redactor;
use moltbot_policy::{Book, Class, Entering, Entry, Unrecorded};
use moltbot_vault::{Lock, LockError, StateDir, Vault, random_id};
use tokio::sync::oneshot;
use zeroize::Zeroizing;

use crate::conceal::Conceal;
use crate::disk::Disk;
use crate::error::LedgerError;
use crate::head::Head;
use crate::journal::{Journal, Sign};
use crate::keys::{self, Keys};
use crate::note::PublicKey;
use crate::opening;
use crate::options::LedgerOptions;
use crate::own::{self, Tampering};
use crate::record::{Body, Stamp};
use crate::view::Views;
use crate::writer::{Answer, Order, Reply, State, Waiting, Writer};

/// The book's folder in the state folder.
pub const FOLDER: &str = "ledger";
/// The lock in it: two writers would fork the chain.
pub(crate) const LOCK: &str = "writer.lock";
/// The writer's stack: it holds a batch on the heap and calls nothing deep.
const STACK: usize = 256 * 1024;
/// What hashes of values are made for.
const PURPOSE: &str = "ledger";

/// The book, opened. Clones share it; the last one closes it.
#[derive(Clone, Debug)]
pub struct Ledger {
    shared: Arc<Shared>,
}

struct Shared {
    orders: Sender<Order>,
    state: Arc<State>,
    thread: Mutex<Option<JoinHandle<()>>>,
    tampering: Option<Tampering>,
    first_key: PublicKey,
    hash_key: Zeroizing<[u8; 32]>,
    conceal: OnceLock<Conceal>,
    /// The number of the first record of this process.
    began: u64,
}

impl Ledger {
    /// Opens the book in the state folder, or begins one, and writes `ledger.start`. When this returns, that is on
    /// disk.
    ///
    /// The last segment is verified, and where the others meet. An end torn by a crash is moved to a file beside it and
    /// recorded as `ledger.recovered`. Anything else that does not fit is tampering: it is kept as it is, the book goes
    /// on in a part of its own, and [`Self::lockdown`] says so.
    ///
    /// # Errors
    /// [`LedgerError::Busy`] when another process has the book open, or when the disk or an anchor refuses.
    pub fn open(state: &StateDir, vault: &Vault, options: LedgerOptions) -> Result<Self, LedgerError> {
        let folder = state.folder(FOLDER)?;
        let lock = take_lock(&folder)?;
        let now = (options.clock)();
        let (mut position, file) = opening::open(&folder, vault, &options.anchors, now)?;
        let is_unsigned = !file.begun && position.tampering.is_none();
        let keys = Keys::new(vault.clone(), file, options.epoch, now);
        if is_unsigned {
            // Before the record that names it: whoever finds the record finds the key.
            keys.write(&folder)?;
        }
        let stamp = Stamp::new(random_id()?, options.clock, position.last);
        let (torn, before) = (position.torn.take(), position.before);
        let mut journal = Journal::new(folder, position, keys, stamp, options);
        if is_unsigned {
            journal.begin_to_sign();
        }
        let began = journal.last().saturating_add(1);
        let name = journal.name.clone();
        let mut first: Vec<Body> = torn.map(|torn| own::recovered(&name, &torn)).into_iter().collect();
        first.push(own::started(&name, before));
        journal.append(&first, Sign::WhenDue)?;
        journal.clean_keys()?;
        if let Some(found) = &journal.tampering {
            let (path, line) = (found.path.display().to_string(), found.line);
            tracing::error!(
                path,
                line,
                what = found.what,
                "the book was changed; keep its folder as evidence"
            );
        }
        Self::begin(journal, vault.mac_key(PURPOSE), lock, Some(Views::new(state)), began)
    }

    /// What was changed in the book, when something was and nobody has accepted it: nothing may then be done but
    /// chat, until the owner has looked. Told as it was when the book was opened.
    pub fn lockdown(&self) -> Option<&Tampering> {
        self.shared.tampering.as_ref()
    }

    /// Records that `actor` has looked at the tampering and goes on: the next start is not locked down any more. The
    /// evidence stays, and a verification keeps reporting it.
    ///
    /// # Errors
    /// When it cannot be recorded.
    pub fn accept_tampering(&self, actor: &str) -> Result<u64, Unrecorded> {
        let path = self.lockdown().map(|found| found.path.display().to_string()).unwrap_or_default();
        self.enter(Entry::new(actor, own::ACCEPTED, path, moltbot_policy::Decision::Allowed))
    }

    /// The key that the book was begun with. Kept elsewhere, it is all that a verification needs.
    pub fn public_key(&self) -> PublicKey {
        self.shared.first_key.clone()
    }

    /// The head of the book at the last checkpoint, for remembering elsewhere.
    pub fn head(&self) -> Head {
        self.shared.state.head.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The number of the last record that is on disk.
    pub fn last(&self) -> u64 {
        self.shared.state.last.load(Ordering::Acquire)
    }

    /// The number of the first record that this process wrote.
    pub fn began(&self) -> u64 {
        self.shared.began
    }

    /// Has `watcher` called with [`Self::last`] whenever that changed. It is called by the thread that writes the book, so it
    /// must not wait for anything. The first call counts.
    pub fn watch(&self, watcher: impl Fn(u64) + Send + Sync + 'static) {
        if self.shared.state.watcher.set(Box::new(watcher)).is_err() {
            tracing::error!("the book is watched already; the first watcher counts");
        }
    }

    /// What stands in records for a value that may be secret: the same for the same value in this installation, and
    /// telling nothing about it to whoever lacks the installation's key. `hmac:` and 64 hex digits (HMAC-SHA256).
    pub fn hash_of(&self, value: &str) -> String {
        Conceal::new(Redactor::default(), self.shared.hash_key.clone()).value(value)
    }

    /// Seals the signing key with the root key that `vault` seals with now: a part of every rotation of the root keys,
    /// before the old one is erased. Blocks until it is on disk.
    ///
    /// # Errors
    /// When it cannot be written; the old root key must then be kept.
    pub fn reseal(&self, vault: &Vault) -> Result<(), LedgerError> {
        let (reply, answer) = mpsc::sync_channel(1);
        let closed = || LedgerError::Closed;
        self.shared.orders.send(Order::Reseal(vault.clone(), reply)).map_err(|_| closed())?;
        answer.recv().map_err(|_| closed())?
    }

    /// Whether the disk had no room for acts when the book last looked at it: with each record, and once a minute.
    pub fn is_full(&self) -> bool {
        self.shared.state.full.load(Ordering::Relaxed)
    }

    /// How often the book was flushed to disk since it was opened.
    pub fn flushes(&self) -> u64 {
        self.shared.state.flushes.load(Ordering::Relaxed)
    }

    /// Records an act that is done even when it cannot be recorded now: a stop by a signal or by the owner. `None` when
    /// it is recorded as soon as the disk takes it; if the process ends before, the next `ledger.start` says that this
    /// one's end was not recorded.
    pub fn enter_when_possible(&self, entry: Entry) -> Option<u64> {
        let late = Body::of(&self.shared.concealed(&entry.clone().with("recorded", "late")));
        match self.enter(entry) {
            Ok(sequence) => Some(sequence),
            Err(refused) => {
                tracing::error!(error = %refused, "an act is done that could not be recorded yet");
                self.shared.defer(late);
                None
            }
        }
    }

    /// Takes what `redactor` knows to be secret out of every entry from now on, and puts [`Self::hash_of`] it there.
    /// Before, and without a call, forms of secrets are taken out. The first call counts.
    pub fn conceal(&self, redactor: Redactor) {
        let conceal = Conceal::new(redactor, self.shared.hash_key.clone());
        if self.shared.conceal.set(conceal).is_err() {
            tracing::error!("the book was told twice what to conceal; the first time counts");
        }
    }

    /// Writes what waits and `ledger.stop`, and closes the book: whatever comes later is refused. Blocks until
    /// that is done; a second call finds nothing to do.
    pub fn shutdown(&self) {
        self.shared.shutdown();
    }

    /// Starts the thread on a journal into which this process wrote nothing yet.
    #[cfg(test)]
    pub(crate) fn write<D>(
        journal: Journal<D>,
        hash_key: Zeroizing<[u8; 32]>,
        lock: impl Send + 'static,
        views: Option<Views>,
    ) -> Result<Self, LedgerError>
    where
        D: Disk<Segment: 'static>,
    {
        let began = journal.last().saturating_add(1);
        Self::begin(journal, hash_key, lock, views, began)
    }

    /// Starts the thread, which keeps `lock` until it ends.
    fn begin<D>(
        journal: Journal<D>,
        hash_key: Zeroizing<[u8; 32]>,
        lock: impl Send + 'static,
        views: Option<Views>,
        began: u64,
    ) -> Result<Self, LedgerError>
    where
        D: Disk<Segment: 'static>,
    {
        let trust = journal.keys().trust();
        let first_key = PublicKey::of(&trust.origin, trust.first);
        let tampering = journal.tampering.clone();
        let state = Arc::new(State::of(&journal));
        let (orders, queue) = mpsc::channel();
        let writer = Writer::new(journal, queue, Arc::clone(&state), views);
        let run = move || {
            writer.run();
            drop(lock);
        };
        let thread = std::thread::Builder::new().name("ledger".into()).stack_size(STACK).spawn(run);
        let thread = Mutex::new(Some(thread.map_err(|source| LedgerError::Thread { source })?));
        let conceal = OnceLock::new();
        let shared = Shared { orders, state, thread, tampering, first_key, hash_key, conceal, began };
        Ok(Self { shared: Arc::new(shared) })
    }
}

/// Seals the signing key in the state folder with the root key that `vault` seals with now, as [`Ledger::reseal`] does for
/// a book that is open. `false` when there is no key or it is sealed so already.
///
/// # Errors
/// [`LedgerError::Busy`] when a process has the book open, which must do it; or when it cannot be read or written.
pub fn reseal(state: &StateDir, vault: &Vault) -> Result<bool, LedgerError> {
    let folder = state.folder(FOLDER)?;
    let _lock = take_lock(&folder)?;
    keys::reseal(&folder, vault)
}

pub(crate) fn take_lock(folder: &StateDir) -> Result<Lock, LedgerError> {
    folder.lock(LOCK, std::process::id().to_string().as_bytes()).map_err(|error| match error {
        LockError::Held { .. } => LedgerError::Busy { path: folder.path().to_owned() },
        other => LedgerError::Lock(other),
    })
}

/// What stands in the records of an installation for `value`, without its book: see [`Ledger::hash_of`].
pub fn hash_of(vault: &Vault, value: &str) -> String {
    Conceal::new(Redactor::default(), vault.mac_key(PURPOSE)).value(value)
}

impl Book for Ledger {
    /// Like the trait says. A record whose waiter gave up while the disk was writing it may stay in the book:
    /// it then tells of an act that did not happen, never the other way round.
    fn enter(&self, entry: Entry) -> Result<u64, Unrecorded> {
        match entry.class {
            Class::Buffered => self.shared.buffer(&entry).map(|()| 0),
            Class::Immediate => self.shared.order(&entry, for_a_thread)?.wait(),
        }
    }

    /// Like [`Book::enter`], for records that are written by one flush, or few.
    fn enter_all(&self, entries: Vec<Entry>) -> Result<Vec<u64>, Unrecorded> {
        let ordered = self.shared.order_all(&entries, for_a_thread)?;
        ordered.into_iter().map(|ordered| ordered.map_or(Ok(0), Ordered::wait)).collect()
    }

    /// Needs the clock of a tokio runtime for the time that a disk is given.
    fn enter_soon(&self, entries: Vec<Entry>) -> Entering {
        let ordered = self.shared.order_all(&entries, for_a_task);
        Box::pin(async {
            let mut sequences = Vec::new();
            for ordered in ordered? {
                sequences.push(match ordered {
                    None => 0,
                    Some(ordered) => ordered.answered().await?,
                });
            }
            Ok(sequences)
        })
    }
}

/// A record on its way to the disk, and where its answer comes.
struct Ordered<R> {
    action: &'static str,
    answer: R,
    until: Instant,
}

impl Ordered<mpsc::Receiver<Answer>> {
    fn wait(self) -> Result<u64, Unrecorded> {
        let answer = self.answer.recv_timeout(self.until.saturating_duration_since(Instant::now()));
        answer
            .unwrap_or_else(|failed| match failed {
                RecvTimeoutError::Disconnected => Err(CLOSED.into()),
                RecvTimeoutError::Timeout => Err(too_late()),
            })
            .map_err(|cause| Unrecorded { action: self.action, cause })
    }
}

impl Ordered<oneshot::Receiver<Answer>> {
    async fn answered(self) -> Result<u64, Unrecorded> {
        let answer = match tokio::time::timeout_at(self.until.into(), self.answer).await {
            Ok(answered) => answered.unwrap_or_else(|_| Err(CLOSED.into())),
            Err(_) => Err(too_late()),
        };
        answer.map_err(|cause| Unrecorded { action: self.action, cause })
    }
}

/// Why nothing is recorded after the end.
const CLOSED: &str = "the book is closed";

fn too_late() -> String {
    format!("the disk did not answer within {} s", limits::RECORD.as_secs())
}
impl Shared {
    /// The entry without what must not be seen.
    fn concealed<'a>(&self, entry: &'a Entry) -> Cow<'a, Entry> {
        match self.conceal.get() {
            Some(conceal) => conceal.entry(entry),
            // Not kept: the known values are still to come.
            None => Conceal::new(Redactor::default(), self.hash_key.clone()).entry(entry),
        }
    }

    /// Hands a record to the writer. `channel` makes both ends of the answer.
    fn order<R>(&self, entry: &Entry, channel: fn() -> (Reply, R)) -> Result<Ordered<R>, Unrecorded> {
        let action = entry.action;
        let refuse = |cause: String| Unrecorded { action, cause };
        let waiting = &self.state.waiting;
        if waiting.fetch_add(1, Ordering::Relaxed) >= limits::LEDGER_WAITING {
            waiting.fetch_sub(1, Ordering::Relaxed);
            return Err(refuse(format!("{} records are waiting for the disk", limits::LEDGER_WAITING)));
        }
        let (reply, answer) = channel();
        let until = Instant::now() + limits::RECORD;
        let body = Body::of(&self.concealed(entry));
        if self.orders.send(Order::Enter(Waiting { body, until, reply })).is_err() {
            waiting.fetch_sub(1, Ordering::Relaxed);
            return Err(refuse(CLOSED.into()));
        }
        Ok(Ordered { action, answer, until })
    }

    /// Hands over records; nothing stands for one that nobody waits for.
    fn order_all<R>(
        &self,
        entries: &[Entry],
        channel: fn() -> (Reply, R),
    ) -> Result<Vec<Option<Ordered<R>>>, Unrecorded> {
        let order = |entry: &Entry| match entry.class {
            Class::Buffered => self.buffer(entry).map(|()| None),
            Class::Immediate => self.order(entry, channel).map(Some),
        };
        entries.iter().map(order).collect()
    }

    /// Hands over a record that nobody waits for; one too many is counted instead.
    fn buffer(&self, entry: &Entry) -> Result<(), Unrecorded> {
        if !take_place(&self.state.buffered, limits::LEDGER_BUFFERED) {
            self.state.dropped.fetch_add(1, Ordering::Relaxed);
            return Ok(());
        }
        self.orders.send(Order::Buffer(Body::of(&self.concealed(entry)))).map_err(|_| {
            self.state.buffered.fetch_sub(1, Ordering::Relaxed);
            Unrecorded { action: entry.action, cause: CLOSED.into() }
        })
    }

    /// Hands over what is to be recorded when the disk takes it.
    fn defer(&self, body: Body) {
        if !take_place(&self.state.deferred, limits::LEDGER_DEFERRED)
            || self.orders.send(Order::Defer(body)).is_err()
        {
            tracing::error!("an act that could not be recorded stays unrecorded");
        }
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

fn for_a_thread() -> (Reply, mpsc::Receiver<Answer>) {
    let (reply, answer) = mpsc::sync_channel(1);
    (Reply::Thread(reply), answer)
}

fn for_a_task() -> (Reply, oneshot::Receiver<Answer>) {
    let (reply, answer) = oneshot::channel();
    (Reply::Task(reply), answer)
}

/// Takes one of so many places, if one is free.
fn take_place(taken: &AtomicUsize, places: usize) -> bool {
    let is_free = taken.fetch_add(1, Ordering::Relaxed) < places;
    if !is_free {
        taken.fetch_sub(1, Ordering::Relaxed);
    }
    is_free
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.shutdown();
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("first_key", &self.first_key.to_string()).finish_non_exhaustive()
    }
}
