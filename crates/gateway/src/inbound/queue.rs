//! Who waits for whom: one line for each session, one run at a time in each.

use std::collections::{HashMap, HashSet, VecDeque};
use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use moltbot_config::settings::{QueueConfig, QueueDrop, SessionConfig};
use moltbot_config::{Config, limits};
use moltbot_protocol::ids::{RunId, SessionKey};
use moltbot_protocol::message::InboundMessage;
use moltbot_protocol::sender::SenderId;
use moltbot_store::{PendingTurn, TurnId};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::task::AbortHandle;
use tokio_util::task::TaskTracker;

use super::InboundError;
use super::queueing::{Policy, is_alike, is_loose};
use super::run::{End, Run};
use crate::shared::lock;

/// The lines of all sessions.
#[derive(Debug)]
pub(crate) struct Inbound {
    lines: Mutex<Lines>,
    workers: TaskTracker,
    /// One for each turn that may run.
    slots: Semaphore,
    /// How messages wait where their session does not say.
    pub(super) queue: QueueConfig,
    /// When conversations are begun anew.
    pub(crate) sessions: SessionConfig,
}

#[derive(Debug, Default)]
struct Lines {
    closed: bool,
    /// The owner has stopped everything: turns wait.
    stopped: bool,
    /// Sessions in quarantine: their turns wait.
    held: HashSet<SessionKey>,
    sessions: HashMap<SessionKey, Line>,
    /// Every run that waits or works.
    runs: HashMap<RunId, Arc<Run>>,
    /// Places that are taken by messages on their way to the disk.
    reserved: usize,
}

#[derive(Debug, Default)]
struct Line {
    waiting: VecDeque<(PendingTurn, Arc<Run>)>,
    reserved: usize,
    works: bool,
    /// The run that was taken from the line last, while the worker is at it.
    working: Option<Arc<Run>>,
    worker: Option<AbortHandle>,
}

impl Line {
    fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.reserved == 0 && !self.works
    }
}

/// A place in a line, for a message on its way to the disk.
#[derive(Debug)]
pub(crate) struct Place<'a> {
    inbound: &'a Inbound,
    session: SessionKey,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut lines = lock(&self.inbound.lines);
        lines.reserved = lines.reserved.saturating_sub(1);
        if let Some(line) = lines.sessions.get_mut(&self.session) {
            line.reserved = line.reserved.saturating_sub(1);
            if line.is_empty() {
                lines.sessions.remove(&self.session);
            }
        }
    }
}

impl Inbound {
    pub(crate) fn new(config: &Config) -> Self {
        let slots = usize::try_from(config.agents.defaults.max_concurrent).unwrap_or(1).max(1);
        Self {
            lines: Mutex::default(),
            workers: TaskTracker::default(),
            slots: Semaphore::new(slots),
            queue: config.messages.queue.clone(),
            sessions: config.session.clone(),
        }
    }

    /// Waits until one more turn may run. A turn that was stopped while it waits runs at once, to its end; where none waits,
    /// there is nothing to wait for.
    pub(super) async fn slot(&self, session: &SessionKey) -> Option<SemaphorePermit<'_>> {
        let stopped = {
            let lines = lock(&self.lines);
            lines.sessions.get(session)?.waiting.front()?.1.abort_token()
        };
        tokio::select! {
            slot = self.slots.acquire() => slot.ok(),
            () = stopped.cancelled() => None,
        }
    }

    /// Whether something else works or waits in the session than the message that came last.
    pub(super) fn is_busy(&self, session: &SessionKey) -> bool {
        let lines = lock(&self.lines);
        lines.sessions.get(session).is_some_and(|line| line.working.is_some() || line.waiting.len() > 1)
    }

    /// Whether a run works or waits in the session, or a message is on its way there.
    pub(crate) fn is_at_work(&self, session: &SessionKey) -> bool {
        lock(&self.lines).sessions.get(session).is_some_and(|line| !line.is_empty())
    }

    /// Stops the run that works in the session, when nobody asked for it.
    pub(super) fn abort_heartbeat(&self, session: &SessionKey) {
        let lines = lock(&self.lines);
        let working = lines.sessions.get(session).and_then(|line| line.working.as_ref());
        if let Some(run) = working.filter(|run| !run.is_asked_for) {
            run.abort();
        }
    }

    /// Stops the run that works in the session, when it began before that turn.
    pub(super) fn abort_working(&self, session: &SessionKey, before: TurnId) {
        let lines = lock(&self.lines);
        let working = lines.sessions.get(session).and_then(|line| line.working.as_ref());
        if let Some(run) = working.filter(|run| run.turn < before) {
            run.abort();
        }
    }

    /// The channel of the message that is next in the session.
    pub(super) fn front_channel(&self, session: &SessionKey) -> Option<String> {
        let lines = lock(&self.lines);
        let (turn, _) = lines.sessions.get(session)?.waiting.front()?;
        Some(turn.message.channel.clone().into_owned())
    }

    /// Whether something was said within that time that waits to be answered together with others.
    pub(super) fn is_noisy(&self, session: &SessionKey, now_ms: u64, quiet: Duration) -> bool {
        let lines = lock(&self.lines);
        if lines.closed || lines.stopped || lines.held.contains(session) {
            return false;
        }
        let Some(line) = lines.sessions.get(session) else { return false };
        let quiet_ms = u64::try_from(quiet.as_millis()).unwrap_or(u64::MAX);
        line.waiting.iter().all(|(turn, run)| is_loose(turn, run))
            && line.waiting.back().is_some_and(|(turn, _)| now_ms.saturating_sub(turn.accepted_ms) < quiet_ms)
    }

    /// Whether the next message of the session may be answered together with this one.
    pub(super) fn has_like(&self, session: &SessionKey, message: &InboundMessage) -> bool {
        let lines = lock(&self.lines);
        let front = lines.sessions.get(session).and_then(|line| line.waiting.front());
        front.is_some_and(|(turn, run)| is_loose(turn, run) && is_alike(&turn.message, message))
    }

    /// Takes the next turn of the line when it may be answered together with this message.
    pub(super) fn next_like(
        &self,
        session: &SessionKey,
        message: &InboundMessage,
    ) -> Option<(PendingTurn, Arc<Run>)> {
        let mut lines = lock(&self.lines);
        if lines.closed || lines.stopped || lines.held.contains(session) {
            return None;
        }
        let line = lines.sessions.get_mut(session)?;
        let is_next =
            |(turn, run): &(PendingTurn, Arc<Run>)| is_loose(turn, run) && is_alike(&turn.message, message);
        let next = line.waiting.pop_front_if(|next| is_next(next))?;
        line.working = Some(Arc::clone(&next.1));
        Some(next)
    }

    /// All that is next in the line and may be told together with this message. It stays in the line.
    pub(super) fn all_like(&self, session: &SessionKey, message: &InboundMessage) -> Vec<PendingTurn> {
        let lines = lock(&self.lines);
        let Some(line) = lines.sessions.get(session) else { return Vec::new() };
        let alike = line
            .waiting
            .iter()
            .take_while(|(turn, run)| is_loose(turn, run) && is_alike(&turn.message, message));
        alike.map(|(turn, _)| turn.clone()).collect()
    }

    /// Takes a run out of its line that waits there no more.
    pub(super) fn take_out(&self, session: &SessionKey, run: &RunId) -> Option<Arc<Run>> {
        let mut lines = lock(&self.lines);
        let line = lines.sessions.get_mut(session)?;
        let at = line.waiting.iter().position(|(_, waiting)| waiting.id == *run)?;
        line.waiting.remove(at).map(|(_, run)| run)
    }

    /// Takes a turn out of the line that is one more than may wait.
    pub(super) fn take_one_too_many(
        &self,
        session: &SessionKey,
        policy: &Policy,
    ) -> Option<(PendingTurn, Arc<Run>)> {
        let mut lines = lock(&self.lines);
        let line = lines.sessions.get_mut(session)?;
        let loose: Vec<usize> = line
            .waiting
            .iter()
            .enumerate()
            .filter(|(_, (turn, run))| is_loose(turn, run))
            .map(|(at, _)| at)
            .collect();
        if loose.len() <= policy.cap {
            return None;
        }
        let at = match policy.drop {
            QueueDrop::New => loose.last(),
            QueueDrop::Old | QueueDrop::Summarize => loose.first(),
        };
        line.waiting.remove(*at?)
    }

    /// Takes a place in the session's line, before the message is on disk: what is kept has its place.
    pub(super) fn reserve(&self, session: &SessionKey) -> Result<Place<'_>, InboundError> {
        let mut lines = lock(&self.lines);
        if lines.closed {
            return Err(InboundError::Stopping);
        }
        if lines.runs.len().saturating_add(lines.reserved) >= limits::RUNS {
            return Err(InboundError::Full);
        }
        let line = lines.sessions.entry(session.clone()).or_default();
        if line.waiting.len().saturating_add(line.reserved) >= limits::QUEUED_TURNS {
            return Err(InboundError::Full);
        }
        line.reserved = line.reserved.saturating_add(1);
        lines.reserved = lines.reserved.saturating_add(1);
        Ok(Place { inbound: self, session: session.clone() })
    }

    /// Adds a turn to its line by its number: commits that were answered in another order than they were
    /// made change nothing. Returns whether the line needs a worker.
    pub(super) fn push(&self, turn: PendingTurn, run: &Arc<Run>) -> bool {
        let mut lines = lock(&self.lines);
        let rests = lines.stopped || lines.held.contains(&run.session);
        lines.runs.insert(run.id.clone(), Arc::clone(run));
        let line = lines.sessions.entry(run.session.clone()).or_default();
        let at = line.waiting.partition_point(|(before, _)| before.id < turn.id);
        line.waiting.insert(at, (turn, Arc::clone(run)));
        !rests && !std::mem::replace(&mut line.works, true)
    }

    /// Stops every run that works, and lets none begin until [`Self::resume`]. Those that wait go on waiting.
    pub(crate) fn stop(&self) -> usize {
        let mut lines = lock(&self.lines);
        lines.stopped = true;
        let waiting: HashSet<&RunId> =
            lines.sessions.values().flat_map(|line| &line.waiting).map(|(_, run)| &run.id).collect();
        let works = lines.runs.values().filter(|run| !waiting.contains(&run.id));
        works.inspect(|run| run.abort()).count()
    }

    /// Lets turns begin again. Answers the sessions in which some wait, each of which needs a worker.
    pub(super) fn resume(&self) -> Vec<SessionKey> {
        let mut lines = lock(&self.lines);
        let Lines { stopped, held, sessions, .. } = &mut *lines;
        *stopped = false;
        let free = sessions.iter_mut().filter(|(session, _)| !held.contains(*session));
        let wait = free.filter(|(_, line)| !line.works && !line.waiting.is_empty());
        wait.map(|(session, line)| {
            line.works = true;
            session.clone()
        })
        .collect()
    }

    /// Lets no turn of the session begin until [`Self::release`]. Those that wait go on waiting.
    pub(crate) fn hold(&self, session: &SessionKey) {
        lock(&self.lines).held.insert(session.clone());
    }

    /// Lets turns of the session begin again. Answers whether it needs a worker.
    pub(super) fn release(&self, session: &SessionKey) -> bool {
        let mut lines = lock(&self.lines);
        lines.held.remove(session);
        let stopped = lines.stopped;
        let waits = |line: &&mut Line| !stopped && !line.works && !line.waiting.is_empty();
        lines
            .sessions
            .get_mut(session)
            .filter(waits)
            .is_some_and(|line| !std::mem::replace(&mut line.works, true))
    }

    /// Starts the worker of a line.
    pub(super) fn spawn(&self, session: SessionKey, work: impl Future<Output = ()> + Send + 'static) {
        let worker = self.workers.spawn(work).abort_handle();
        if let Some(line) = lock(&self.lines).sessions.get_mut(&session) {
            line.worker = Some(worker);
        }
    }

    /// The next turn of the line; nothing when none waits, the gateway stops, turns are stopped or the session is in
    /// quarantine, and the worker is done.
    pub(super) fn next(&self, session: &SessionKey) -> Option<(PendingTurn, Arc<Run>)> {
        let mut lines = lock(&self.lines);
        let rests = lines.closed || lines.stopped || lines.held.contains(session);
        let line = lines.sessions.get_mut(session)?;
        let next = if rests { None } else { line.waiting.pop_front() };
        line.working = next.as_ref().map(|(_, run)| Arc::clone(run));
        if next.is_none() {
            line.works = false;
            line.worker = None;
            if line.is_empty() {
                lines.sessions.remove(session);
            }
        }
        next
    }

    /// The run is at its end.
    pub(super) fn forget(&self, run: &RunId) {
        lock(&self.lines).runs.remove(run);
    }

    /// A run that waits or works.
    pub(crate) fn find(&self, run: &RunId) -> Option<Arc<Run>> {
        lock(&self.lines).runs.get(run).map(Arc::clone)
    }

    /// Stops every run of the session, those that wait among them, and names them.
    pub(crate) fn abort_session(&self, session: &SessionKey) -> Vec<String> {
        let lines = lock(&self.lines);
        let mut runs: Vec<&Arc<Run>> = lines.runs.values().filter(|run| run.session == *session).collect();
        runs.sort_by_key(|run| run.accepted_ms);
        for run in &runs {
            run.abort();
        }
        runs.into_iter().map(|run| run.id.as_str().to_owned()).collect()
    }

    /// Stops every run that answers the sender.
    pub(crate) fn abort_sender(&self, sender: &SenderId) {
        let lines = lock(&self.lines);
        lines.runs.values().filter(|run| run.sender.as_ref() == Some(sender)).for_each(|run| run.abort());
    }

    /// How many runs wait or work.
    pub(crate) fn len(&self) -> usize {
        lock(&self.lines).runs.len()
    }

    /// Takes no more messages, lets running turns end within `patience`, and drops those that do not where
    /// they are. Returns how many turns are left without an end.
    pub(crate) async fn drain(&self, patience: Duration) -> usize {
        lock(&self.lines).closed = true;
        self.workers.close();
        if tokio::time::timeout(patience, self.workers.wait()).await.is_err() {
            for line in lock(&self.lines).sessions.values() {
                line.worker.as_ref().inspect(|worker| worker.abort());
            }
            self.workers.wait().await;
        }
        let left = std::mem::take(&mut lock(&self.lines).runs);
        for run in left.values() {
            run.end(End::Interrupted);
        }
        left.len()
    }
}
