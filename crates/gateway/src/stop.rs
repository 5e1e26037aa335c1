//! The owner's stop: every turn and every process of every sandbox is dead within a second, and nothing begins until the
//! owner resumes, also after a restart.
//!
//! A thread of its own listens for the signal and needs nothing of the runtime, which may be what has to be stopped. It
//! acts first and records afterwards: a stop that waits for a disk is none.

use std::io;
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use moltbot_config::{hole, limits};
use moltbot_policy::{Book as _, Decision, Entry, Unrecorded};
use moltbot_protocol::event;
use moltbot_sandbox::Killed;
use moltbot_vault::{FileError, StateDir};
use serde::{Deserialize, Serialize};
use tokio::signal::unix::{SignalKind, signal};

use crate::inbound;
use crate::outbox::Delivery;
use crate::shared::{Shared, lock};

/// What whoever writes is told.
pub(crate) const SENTENCE: &str =
    "Everything is stopped by my owner. Your message is kept, and answered when my owner resumes.";
/// What is told whose request would wait for a turn.
pub(crate) const REFUSED: &str =
    "everything is stopped by the owner, so no turn begins; `moltbot resume` goes on";

/// That everything is stopped.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StopFact {
    /// Who stopped it.
    pub by: String,
    /// When, in milliseconds since the epoch.
    pub since_ms: u64,
    /// What the gateway ended; nothing until it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<Ended>,
}

/// What a stop ended.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Ended {
    /// Turns that worked.
    pub turns: usize,
    /// Processes of sandboxes, each with all that came of it.
    pub processes: usize,
    /// Those that had not ended after a second.
    pub left: usize,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
}

impl StopFact {
    /// The file that keeps it, in the state folder. As long as it is there, everything is stopped.
    const FILE: &str = "stopped.json";
    /// The largest such file, in bytes.
    const BYTES: u64 = 4096;

    /// What is kept. A file that cannot be read counts as a stop: it may be one.
    ///
    /// # Errors
    /// When it cannot be looked at.
    pub fn read(state: &StateDir) -> Result<Option<Self>, FileError> {
        let unreadable = || Self { by: "an unreadable file".into(), since_ms: 0, ended: None };
        let text = state.read(Self::FILE, Self::BYTES)?;
        Ok(text.map(|text| serde_json::from_slice(&text).unwrap_or_else(|_| unreadable())))
    }

    /// Keeps it: from its return on no gateway of this state begins a turn.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, state: &StateDir) -> Result<(), FileError> {
        state.write(Self::FILE, &serde_json::to_vec(self).unwrap_or_default())
    }

    /// Forgets what is kept.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub fn remove(state: &StateDir) -> Result<(), FileError> {
        match state.remove(Self::FILE) {
            Ok(()) | Err(FileError::Missing { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Records a resumption by `who` in the book that `enter` writes, and forgets the stop.
    ///
    /// # Errors
    /// When it cannot be recorded, or removed.
    pub fn resume(
        who: &str,
        state: &StateDir,
        enter: impl FnOnce(Entry) -> Result<u64, Unrecorded>,
    ) -> Result<(), ResumeError> {
        enter(Entry::new(who, "turns.resume", "gateway", Decision::Allowed))?;
        Ok(Self::remove(state)?)
    }

    /// The record of it.
    pub fn entry(&self) -> Entry {
        let entry = Entry::new(self.by.clone(), "turns.stop", "gateway", Decision::Done).from_reserve();
        match &self.ended {
            None => entry,
            Some(Ended { turns, processes, left, took_ms }) => entry
                .with("turns", turns.to_string())
                .with("processes", processes.to_string())
                .with("left", left.to_string())
                .with("took_ms", took_ms.to_string()),
        }
    }
}

/// Why nothing was resumed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ResumeError {
    /// The book cannot be written.
    #[error(transparent)]
    Unrecorded(#[from] Unrecorded),
    /// What is kept cannot be removed.
    #[error("what keeps everything stopped cannot be removed")]
    File(#[from] FileError),
}

/// Whether everything is stopped.
#[derive(Debug, Default)]
pub(crate) struct Stop {
    now: Mutex<Option<StopFact>>,
    /// One stop or resumption after the other.
    changing: Mutex<()>,
}

impl Stop {
    /// How it is.
    pub(crate) fn fact(&self) -> Option<StopFact> {
        lock(&self.now).clone()
    }

    /// Whether nothing may begin.
    pub(crate) fn is_stopped(&self) -> bool {
        lock(&self.now).is_some() && !hole!("stop-button")
    }
}

/// Takes up what is kept from before. Nothing runs yet.
pub(crate) fn begin(shared: &Shared) {
    let kept = StopFact::read(&shared.state).unwrap_or_else(|error| {
        tracing::error!(%error, "it cannot be told whether everything is stopped, so it is");
        Some(StopFact { by: "gateway".into(), since_ms: shared.now_ms(), ended: None })
    });
    if let Some(fact) = kept {
        tracing::warn!(by = fact.by, "everything is stopped; `moltbot resume` goes on");
        shared.inbound.stop();
        drop(shared.sandbox.stopper().stop());
        *lock(&shared.stop.now) = Some(fact);
    }
}

/// Stops everything. Blocks for a second at most, and longer only when the disk does.
pub(crate) fn stop(shared: &Shared, by: &str) -> StopFact {
    let _alone = lock(&shared.stop.changing);
    let began = Instant::now();
    let dying = shared.sandbox.stopper().stop();
    let turns = shared.inbound.stop();
    shared.agent.end_commands();
    let Killed { killed, left } = dying.wait(limits::STOP);
    let took_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    let ended = Some(Ended { turns, processes: killed, left, took_ms });
    let before = shared.stop.fact();
    let since_ms = before.map_or_else(|| shared.now_ms(), |before| before.since_ms);
    let fact = StopFact { by: by.to_owned(), since_ms, ended };
    *lock(&shared.stop.now) = Some(fact.clone());
    tracing::warn!(by, turns, killed, left, took_ms, "everything is stopped; `moltbot resume` goes on");
    shared.health.say_stopped(Some(&fact));
    if let Err(error) = fact.write(&shared.state) {
        tracing::error!(%error, "that everything is stopped is not kept; a restart would go on");
    }
    shared.ledger.enter_when_possible(fact.entry());
    fact
}

/// Goes on, once that is in the book. Answers whether anything was stopped. Blocks.
pub(crate) fn resume(shared: &Arc<Shared>, by: &str) -> Result<bool, ResumeError> {
    let _alone = lock(&shared.stop.changing);
    if !shared.stop.is_stopped() {
        return Ok(false);
    }
    StopFact::resume(by, &shared.state, |entry| shared.ledger.enter(entry))?;
    lock(&shared.stop.now).take();
    shared.sandbox.stopper().resume();
    inbound::go_on(shared);
    shared.health.say_stopped(None);
    Ok(true)
}

/// Listens for the signal in a thread of its own, until the gateway ends. From the return on the signal is heard.
///
/// # Errors
/// When the thread cannot be started, or the signal not be listened for.
pub(crate) fn listen(shared: &Arc<Shared>) -> io::Result<()> {
    let (ready, heard) = std::sync::mpsc::channel();
    let (gateway, ended) = (Arc::downgrade(shared), shared.stopping.clone());
    let hear = move || -> io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
        runtime.block_on(async {
            let mut signals = signal(SignalKind::user_defined2())?;
            if ready.send(()).is_err() {
                return Ok(()); // nobody waits any more
            }
            loop {
                tokio::select! {
                    () = ended.cancelled() => return Ok(()),
                    _ = signals.recv() => on_signal(&gateway),
                }
            }
        })
    };
    std::thread::Builder::new().name("stop".into()).stack_size(STACK_BYTES).spawn(move || {
        if let Err(error) = hear() {
            tracing::error!(%error, "the signal that stops everything is not heard");
        }
    })?;
    heard.recv_timeout(READY).map_err(|_| io::Error::other("the thread for the stop did not begin"))
}

fn on_signal(gateway: &Weak<Shared>) {
    if let Some(shared) = gateway.upgrade() {
        stop(&shared, "owner:signal");
    }
}

/// Tells everybody who is connected how it is now.
pub(crate) async fn tell(shared: &Arc<Shared>) {
    let answers = shared.health.anew(shared).await;
    shared.hub.broadcast(event::HEALTH, answers.value(), Delivery::Must);
}

/// Stack of the thread: it calls little.
const STACK_BYTES: usize = 256 * 1024;
/// How long the thread may take to begin.
const READY: Duration = Duration::from_secs(5);
