//! The one thread that writes.
//!
//! It takes what is waiting, up to [`limits::STATE_BATCH`] jobs, and commits it together. While it waits for
//! the disk, the next jobs gather behind it: under load a commit is shared, and an idle store waits for
//! nobody. Each job has a savepoint, so that one that fails takes no other with it.
//!
//! Whoever removed words is answered when the log, too, was cut off.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};

use moltbot_config::limits;
use tokio::sync::{Semaphore, oneshot};

use crate::database::{Failure, Opened};
use crate::error::StoreError;
use crate::scrub;
use crate::sealed::{After, Database};

/// The face of the writer's thread.
pub(crate) struct Writer {
    queue: Mutex<Option<Sender<Box<dyn Job>>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    room: Semaphore,
    commits: Arc<AtomicU64>,
}

impl Writer {
    /// Starts the thread with its connection.
    pub(crate) fn start(opened: Opened) -> Result<Self, StoreError> {
        let (queue, jobs) = channel();
        let commits = Arc::new(AtomicU64::new(0));
        let book = Book {
            database: opened.database,
            path: opened.path,
            boot: opened.boot,
            commits: commits.clone(),
        };
        let thread = Builder::new()
            .name("state-writer".into())
            .stack_size(STACK)
            .spawn(move || book.serve(&jobs))
            .map_err(|error| StoreError::Thread { source: Arc::new(error) })?;
        Ok(Self {
            queue: Mutex::new(Some(queue)),
            thread: Mutex::new(Some(thread)),
            room: Semaphore::new(limits::STATE_WAITING),
            commits,
        })
    }

    /// Does `work` in a transaction and answers when it is on the disk.
    pub(crate) async fn write<T, W>(&self, work: W) -> Result<T, StoreError>
    where
        T: Send + 'static,
        W: FnOnce(&Database) -> Result<T, Failure> + Send + 'static,
    {
        let _room = self.room.acquire().await.map_err(|_closed| StoreError::Closed)?;
        let (answer, answered) = oneshot::channel();
        self.send(Box::new(Task { work: Some(work), done: None, answer }))?;
        answered.await.unwrap_or(Err(StoreError::Closed))
    }

    fn send(&self, job: Box<dyn Job>) -> Result<(), StoreError> {
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let queue = queue.as_ref().ok_or(StoreError::Closed)?;
        queue.send(job).map_err(|_thread_ended| StoreError::Closed)
    }

    /// Commits that changed something, since the store was opened.
    pub(crate) fn commits(&self) -> u64 {
        self.commits.load(Ordering::Relaxed)
    }

    /// Writes what is waiting, closes the file and ends the thread.
    pub(crate) fn close(&self) {
        drop(self.queue.lock().unwrap_or_else(PoisonError::into_inner).take());
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!(
                "the state db's writer ended in a panic; the file will be checked at the next start"
            );
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.close();
    }
}

/// SQLite needs less than 100 kB; the rest is for JSON.
const STACK: usize = 512 * 1024;

/// Work that waits for a commit.
trait Job: Send {
    /// Does the work. An error undoes this job alone.
    fn run(&mut self, writer: &Book) -> Result<(), StoreError>;
    /// Answers whoever waits.
    fn settle(self: Box<Self>, commit: Result<(), StoreError>);
}

struct Task<T, W> {
    work: Option<W>,
    done: Option<Result<T, StoreError>>,
    answer: oneshot::Sender<Result<T, StoreError>>,
}

impl<T, W> Job for Task<T, W>
where
    T: Send,
    W: FnOnce(&Database) -> Result<T, Failure> + Send,
{
    fn run(&mut self, writer: &Book) -> Result<(), StoreError> {
        let work = self.work.take().ok_or(StoreError::Closed)?;
        let done = work(&writer.database).map_err(|failure| failure.at(&writer.path));
        let outcome = done.as_ref().map(|_| ()).map_err(Clone::clone);
        self.done = Some(done);
        outcome
    }

    fn settle(self: Box<Self>, commit: Result<(), StoreError>) {
        let answer = match (self.done, commit) {
            (Some(Ok(value)), Ok(())) => Ok(value),
            (Some(Err(error)), _) | (_, Err(error)) => Err(error),
            (None, Ok(())) => Err(StoreError::Closed),
        };
        // Whoever asked may be gone, as after a lost connection; what was asked is done all the same.
        drop(self.answer.send(answer));
    }
}

/// What the thread owns.
struct Book {
    database: Database,
    path: PathBuf,
    boot: i64,
    commits: Arc<AtomicU64>,
}

impl Book {
    /// Serves until the last sender is gone. The connection is closed then, and its log with it.
    fn serve(self, jobs: &Receiver<Box<dyn Job>>) {
        while let Ok(first) = jobs.recv() {
            let mut batch = vec![first];
            batch.extend(jobs.try_iter().take(limits::STATE_BATCH.saturating_sub(1)));
            let commit = self.commit(&mut batch);
            if let Err(error) = &commit {
                tracing::warn!(%error, cause = ?std::error::Error::source(error), "a commit of the state db failed");
            }
            self.tidy();
            for job in batch {
                job.settle(commit.clone());
            }
        }
        // A large file that something was deleted from; unless it is somebody else's by now.
        if self.require_latest().is_ok() {
            self.database.ask(After::Scrub);
            self.tidy();
        }
    }

    /// Does what was asked for after the transaction. What cannot be done now is tried after the next one, or when the
    /// file is opened again: what was committed stays committed.
    fn tidy(&self) {
        let done = match self.database.take_asked() {
            After::Nothing => return,
            After::Cut => scrub::cut_log(&self.database),
            After::Scrub => scrub::scrub(&self.database),
        };
        if let Err(error) = done.map_err(|failure| failure.at(&self.path)) {
            tracing::warn!(%error, cause = ?std::error::Error::source(&error), "what was removed from the state db is still on the disk");
            self.database.ask(After::Cut);
        }
    }

    /// Runs the batch in one transaction. An error means that nothing of it was kept.
    fn commit(&self, batch: &mut [Box<dyn Job>]) -> Result<(), StoreError> {
        let before = self.database.total_changes();
        let outcome = self
            .sql("BEGIN IMMEDIATE")
            .and_then(|()| self.require_latest())
            .and_then(|()| batch.iter_mut().try_for_each(|job| self.run(job.as_mut())))
            .and_then(|()| self.sql("COMMIT"));
        if outcome.is_err() && !self.database.is_autocommit() {
            self.sql("ROLLBACK")?;
        }
        if outcome.is_ok() && self.database.total_changes() != before {
            self.commits.fetch_add(1, Ordering::Relaxed);
        }
        outcome
    }

    /// Runs one job. Its failure is its own, unless SQLite ended the transaction because of it.
    fn run(&self, job: &mut dyn Job) -> Result<(), StoreError> {
        self.sql("SAVEPOINT job")?;
        match job.run(self) {
            Ok(()) => self.sql("RELEASE job"),
            Err(error) if self.database.is_autocommit() => Err(error),
            Err(_own) => self.sql("ROLLBACK TO job").and_then(|()| self.sql("RELEASE job")),
        }
    }

    /// Refuses to write when the file was opened again since.
    fn require_latest(&self) -> Result<(), StoreError> {
        let mut statement = self.prepare("SELECT value FROM facts WHERE name = 'boot'")?;
        let boot: i64 = statement.query_row([], |row| row.get(0)).map_err(|error| self.meaning(error))?;
        if boot == self.boot { Ok(()) } else { Err(StoreError::Superseded) }
    }

    fn sql(&self, sql: &str) -> Result<(), StoreError> {
        self.prepare(sql)?.execute([]).map(|_| ()).map_err(|error| self.meaning(error))
    }

    fn prepare(&self, sql: &str) -> Result<rusqlite::CachedStatement<'_>, StoreError> {
        self.database.prepare_cached(sql).map_err(|error| self.meaning(error))
    }

    fn meaning(&self, error: rusqlite::Error) -> StoreError {
        StoreError::of_sqlite(error, &self.path)
    }
}
