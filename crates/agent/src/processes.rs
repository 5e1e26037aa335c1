//! Commands in the sandbox that a turn started, from their start to their end, which may be after that of the turn.
//!
//! Each runs in a task of its own. As long as its turn waits for it, it ends with the turn. When the turn goes on without it,
//! it is in the background: it belongs to its conversation, which can look at it and end it, and it ends with its own time,
//! with a stop, and with the gateway. How many there are, what is kept of their output and how long they are remembered is
//! bounded.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use moltbot_config::limits;
use moltbot_net::Traffic;
use moltbot_policy::incident::{Incident, Response};
use moltbot_policy::process::ProcessPermit;
use moltbot_policy::{Recorded, Refusal};
use moltbot_protocol::ids::SessionKey;
use moltbot_protocol::principal::Principal;
use moltbot_sandbox::{Feed, Outcome};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::report::Responding;

/// Who has what follows from an incident done, when the turn has ended that caused it.
pub type Later = Arc<dyn Fn(Incident) -> Responding + Send + Sync>;

/// All of them. Clones are the same ones.
#[derive(Clone, Default)]
pub(crate) struct Processes {
    /// Those of the background, by their numbers, oldest first.
    background: Arc<Mutex<BTreeMap<u64, Arc<Process>>>>,
    tasks: TaskTracker,
}

/// One command.
#[derive(Debug)]
pub(crate) struct Process {
    /// The number of the record with which it started.
    pub(crate) number: u64,
    /// What runs.
    pub(crate) script: String,
    /// What it writes.
    pub(crate) feed: Feed,
    /// When it was started.
    pub(crate) began: Instant,
    /// Cancelled to end it with all that came of it.
    pub(crate) kill: CancellationToken,
    session: SessionKey,
    principal: Principal,
    /// Whether its turn went on without it.
    left: Mutex<bool>,
    end: watch::Sender<Option<Arc<Ended>>>,
    /// How much of its output was looked at.
    looked: Mutex<u64>,
}

/// What came of one.
#[derive(Debug)]
pub(crate) struct Ran {
    /// How it ended, with what went through its proxy, or what went wrong.
    pub(crate) result: Result<(Outcome, Option<Traffic>), String>,
    /// What its owner must know.
    pub(crate) incidents: Vec<Incident>,
}

/// One that has ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) ran: Ran,
    pub(crate) at: Instant,
}

/// Which of them are to end.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Whose<'a> {
    /// All.
    Everybody,
    /// Those of a conversation.
    Session(&'a SessionKey),
    /// Those that a person caused.
    Principal(&'a Principal),
}

impl Process {
    pub(crate) fn new(number: u64, script: &str, session: &SessionKey, principal: &Principal) -> Self {
        Self {
            number,
            script: script.to_owned(),
            feed: Feed::keeping(limits::COMMAND_OUTPUT_BYTES),
            began: Instant::now(),
            kill: CancellationToken::new(),
            session: session.clone(),
            principal: principal.clone(),
            left: Mutex::new(false),
            end: watch::Sender::new(None),
            looked: Mutex::new(0),
        }
    }

    /// What models call it.
    pub(crate) fn name(&self) -> String {
        format!("p{}", self.number)
    }

    /// What came of it, once it has ended.
    pub(crate) fn end(&self) -> Option<Arc<Ended>> {
        self.end.borrow().clone()
    }

    /// Waits for its end.
    pub(crate) async fn ended(&self) -> Arc<Ended> {
        let mut end = self.end.subscribe();
        loop {
            if let Some(ended) = end.borrow_and_update().clone() {
                return ended;
            }
            // The sender is ours, so it is never gone.
            if end.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// What was written since the last look.
    pub(crate) fn look(&self) -> moltbot_sandbox::Part {
        let mut looked = lock(&self.looked);
        let part = self.feed.since(*looked);
        *looked = part.next;
        part
    }

    /// Waits until there is something new to look at.
    pub(crate) async fn news(&self) {
        let looked = *lock(&self.looked);
        tokio::select! {
            () = self.feed.beyond(looked) => {}
            _ = self.ended() => {}
        }
    }

    /// Its turn goes on without it; false when it has ended already, which the turn then hears.
    fn leave(&self) -> bool {
        let mut left = lock(&self.left);
        if self.end.borrow().is_some() {
            return false;
        }
        *left = true;
        true
    }

    /// It has ended. Answers what nobody else hears of.
    fn finish(&self, ran: Ran) -> Vec<Incident> {
        let left = lock(&self.left);
        let unheard = if *left { ran.incidents.clone() } else { Vec::new() };
        self.end.send_replace(Some(Arc::new(Ended { ran, at: Instant::now() })));
        unheard
    }

    fn is_of(&self, whose: Whose<'_>) -> bool {
        match whose {
            Whose::Everybody => true,
            Whose::Session(session) => self.session == *session,
            Whose::Principal(principal) => self.principal == *principal,
        }
    }
}

/// A command whose turn waits for it. Dropped before its end, it ends.
pub(crate) struct Waiting(Option<Arc<Process>>);

impl Waiting {
    pub(crate) const fn on(process: Arc<Process>) -> Self {
        Self(Some(process))
    }

    /// The turn has heard its end, or goes on without it.
    pub(crate) fn let_go(mut self) {
        self.0 = None;
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some(process) = self.0.take() {
            // What it tried is heard all the same.
            process.leave();
            process.kill.cancel();
        }
    }
}

/// Says that a command has ended also when its task was dropped.
struct Running(Option<Arc<Process>>);

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(process) = self.0.take() {
            let result = Err("the command was killed because the gateway is stopping".to_owned());
            process.finish(Ran { result, incidents: Vec::new() });
        }
    }
}

impl Processes {
    /// Runs a command: `work` is all of it, and ends soon after `kill` is cancelled.
    pub(crate) fn run(
        &self,
        process: &Arc<Process>,
        work: impl Future<Output = Ran> + Send + 'static,
        later: Option<Later>,
    ) {
        let mut running = Running(Some(Arc::clone(process)));
        self.tasks.spawn(async move {
            let ran = work.await;
            let Some(process) = running.0.take() else { return };
            for incident in process.finish(ran) {
                let Incident { severity, what } = &incident;
                tracing::warn!(session = %process.session, severity = severity.name(), what, "an attempt was stopped");
                match &later {
                    Some(later) if incident.response() == Response::Quarantine => later(incident).await,
                    _ => {}
                }
            }
        });
    }

    /// Whether one more can go on in the background.
    ///
    /// # Errors
    /// When there are as many as there may be.
    pub(crate) fn require_room(&self, session: &SessionKey) -> Result<(), Refusal> {
        room(&lock(&self.background), session)
    }

    /// Lets a command go on in the background; false when there is no room, or when it has ended already.
    pub(crate) fn adopt(&self, process: &Arc<Process>, keep: Duration) -> bool {
        let mut background = lock(&self.background);
        forget(&mut background, &process.session, keep);
        if room(&background, &process.session).is_err() || !process.leave() {
            return false;
        }
        background.insert(process.number, Arc::clone(process));
        true
    }

    /// Those of a conversation, oldest first.
    pub(crate) fn of(&self, session: &SessionKey, keep: Duration) -> Vec<Arc<Process>> {
        let mut background = lock(&self.background);
        forget(&mut background, session, keep);
        background.values().filter(|process| process.session == *session).cloned().collect()
    }

    /// Whose a command is.
    pub(crate) fn owner(&self, name: &str) -> Option<SessionKey> {
        self.find(name).map(|process| process.session.clone())
    }

    /// The command of a permit.
    pub(crate) fn open(&self, permit: &ProcessPermit) -> Option<Arc<Process>> {
        self.find(permit.name()).filter(|process| process.session == *permit.session())
    }

    fn find(&self, name: &str) -> Option<Arc<Process>> {
        let number = name.strip_prefix('p')?.parse().ok()?;
        lock(&self.background).get(&number).filter(|process| process.name() == name).cloned()
    }

    /// Ends the command of a permit and waits until nothing of it is left.
    pub(crate) async fn kill(&self, permit: &Recorded<ProcessPermit>) -> Option<Arc<Ended>> {
        let process = self.open(permit.permit())?;
        process.kill.cancel();
        Some(process.ended().await)
    }

    /// Forgets the command of a permit. One that runs is ended.
    pub(crate) async fn remove(&self, permit: &Recorded<ProcessPermit>) {
        if let Some(process) = self.open(permit.permit()) {
            process.kill.cancel();
            process.ended().await;
            self.forget(&process);
        }
    }

    /// Forgets a command.
    pub(crate) fn forget(&self, process: &Process) {
        lock(&self.background).remove(&process.number);
    }

    /// Ends those of the background. Waits for nothing. How many there were.
    pub(crate) fn end(&self, whose: Whose<'_>) -> usize {
        let background = lock(&self.background);
        let running = background.values().filter(|process| process.is_of(whose) && process.end().is_none());
        running.inspect(|process| process.kill.cancel()).count()
    }

    /// Ends all of them and waits until their ends are in the book, or the kernel takes too long for that.
    pub(crate) async fn close(&self) {
        self.end(Whose::Everybody);
        self.tasks.close();
        if tokio::time::timeout(limits::COMMAND_END, self.tasks.wait()).await.is_err() {
            tracing::warn!("some commands did not end in time");
        }
    }
}

/// Whether there is room for one more that runs.
fn room(background: &BTreeMap<u64, Arc<Process>>, session: &SessionKey) -> Result<(), Refusal> {
    let running = || background.values().filter(|process| process.end().is_none());
    let own = running().filter(|process| process.session == *session).count();
    let told = |most: usize, whose: &str| {
        let message = format!(
            "{most} commands of {whose} run in the background already, which is the limit; end one with `process`, or run this one without `background`"
        );
        Err(Refusal::new("process_limit", message))
    };
    if own >= limits::PROCESSES_OF_SESSION {
        return told(limits::PROCESSES_OF_SESSION, "this conversation");
    }
    if running().count() >= limits::PROCESSES {
        return told(limits::PROCESSES, "all conversations together");
    }
    Ok(())
}

/// Forgets what ended long ago, and the oldest where there are many.
fn forget(background: &mut BTreeMap<u64, Arc<Process>>, session: &SessionKey, keep: Duration) {
    background.retain(|_, process| process.end().is_none_or(|ended| ended.at.elapsed() < keep));
    let many = |whose: Whose<'_>, most: usize, background: &mut BTreeMap<u64, Arc<Process>>| {
        let ended = background.values().filter(|process| process.is_of(whose) && process.end().is_some());
        let ended: Vec<u64> = ended.map(|process| process.number).collect();
        let more = ended.len().saturating_sub(most);
        ended.into_iter().take(more).for_each(|number| drop(background.remove(&number)));
    };
    many(Whose::Session(session), limits::PROCESSES_ENDED, background);
    many(Whose::Everybody, limits::PROCESSES_ENDED_ALL, background);
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use moltbot_policy::command::Severity;
    use moltbot_protocol::ids::AgentId;

    use super::*;

    fn process(number: u64, session: &str) -> Arc<Process> {
        let session = SessionKey::parse(session, &AgentId::main()).unwrap();
        Arc::new(Process::new(number, "sleep 1", &session, &Principal::Owner))
    }

    fn ran() -> Ran {
        let incident = Incident { severity: Severity::High, what: "it tried".into() };
        Ran { result: Err("x".into()), incidents: vec![incident] }
    }

    const KEEP: Duration = Duration::from_secs(60);

    #[test]
    fn there_are_no_more_than_there_may_be_and_the_ended_are_forgotten() {
        let processes = Processes::default();
        let all: Vec<_> = (0..40).map(|number| process(number, "main")).collect();
        let adopted = all.iter().filter(|process| processes.adopt(process, KEEP)).count();
        assert_eq!(adopted, limits::PROCESSES_OF_SESSION);
        let more = (50..90).map(|number| process(number, &format!("agent:main:s{number}")));
        let adopted = adopted + more.filter(|process| processes.adopt(process, KEEP)).count();
        assert_eq!(adopted, limits::PROCESSES);
        for process in &all {
            process.finish(ran());
            processes.adopt(process, KEEP);
        }
        assert!(!processes.adopt(&all[0], KEEP), "it has ended");
        let session = all[0].session.clone();
        assert_eq!(processes.of(&session, KEEP).len(), limits::PROCESSES_OF_SESSION);
        assert_eq!(processes.of(&session, Duration::ZERO).len(), 0, "long after their end");
    }

    #[test]
    fn what_was_tried_is_heard_once_by_the_turn_or_by_who_comes_after_it() {
        let (waited, left) = (process(1, "main"), process(2, "main"));
        assert!(left.leave());
        assert_eq!((waited.finish(ran()).len(), left.finish(ran()).len()), (0, 1));
        assert!(!waited.leave(), "the turn hears it");
        let dropped = process(3, "main");
        drop(Waiting::on(Arc::clone(&dropped)));
        assert!(dropped.kill.is_cancelled());
        assert_eq!(dropped.finish(ran()).len(), 1, "the turn is gone");
    }

    #[tokio::test]
    async fn a_task_that_is_dropped_leaves_no_command_without_an_end() {
        let process = process(1, "main");
        drop(Running(Some(Arc::clone(&process))));
        assert!(process.ended().await.ran.result.is_err());
    }
}
