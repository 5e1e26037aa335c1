//! Approvals under way: who is asked, who answers, and that no answer is no.
//!
//! Nothing of this outlives the gateway: whoever waits when it stops has got no yes. Each question, answer and end is in the
//! book before it has an effect. What is asked about, who may answer and what an answer opens is decided in `policy`.

mod kept;
mod waiting;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use moltbot_agent::Answer;
use moltbot_config::settings::ExecConfig;
use moltbot_ledger::Ledger;
use moltbot_policy::approval::{
    ApprovalId, ApprovalPermit, ApprovalsFile, Approver, Asked, Choice, Question, decide,
};
use moltbot_policy::{Book as _, Entry, Recorded, Refusal, Unrecorded, record, with_causes};
use moltbot_vault::{FileError, StateDir};
use serde_json::Value;
use thiserror::Error;
use tokio::sync::oneshot;

use crate::shared::lock;
use waiting::{Pending, Waiting};

pub use kept::Revision;
pub use waiting::Notice;

/// Why an answer had no effect.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ApprovalError {
    /// The owner's file cannot be read or written.
    #[error("exec-approvals.json: {0}")]
    File(String),
    /// The book was changed by somebody else: only a no counts.
    #[error("{}", crate::shared::LOCKED_DOWN)]
    LockedDown,
    /// Random numbers are missing.
    #[error("no number can be drawn: {0}")]
    Random(String),
    /// Who answers may not, it is too late, or there is no such question.
    #[error("{0}")]
    Refused(Refusal),
    /// The book cannot be written.
    #[error(transparent)]
    Unrecorded(#[from] Unrecorded),
}

impl From<FileError> for ApprovalError {
    fn from(error: FileError) -> Self {
        Self::File(with_causes(&error))
    }
}

/// Whether somebody was told of a question.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Reached {
    /// There was nobody to tell.
    Nobody,
    /// Somebody who may answer was told, or is about to be.
    Somebody,
}

/// Who tells people of questions: the clients that are connected, the owner's chat.
pub trait Messenger: Send + Sync {
    /// Tells of a question. Must not block.
    fn asked(&self, notice: &Notice) -> Reached;

    /// Tells that it is over; `choice` is nothing when nobody answered. Must not block.
    fn resolved(&self, id: &ApprovalId, choice: Option<Choice>, by: &str);
}

/// The approvals of one gateway. Clones share them.
#[derive(Clone)]
pub struct Approvals {
    inner: Arc<Inside>,
}

struct Inside {
    state: StateDir,
    ledger: Ledger,
    clock: fn() -> u64,
    patience: Duration,
    waiting: Mutex<Waiting>,
    messengers: Mutex<Vec<Arc<dyn Messenger>>>,
    /// Held while the owner's file is changed.
    changing: Mutex<()>,
}

impl Approvals {
    /// The approvals of an installation, with what its config says of the time that the owner has.
    pub fn new(config: &ExecConfig, state: StateDir, ledger: Ledger, clock: fn() -> u64) -> Self {
        let patience = Duration::from_secs(u64::from(config.approval_sec));
        let (waiting, messengers, changing) = (Mutex::default(), Mutex::default(), Mutex::default());
        let inside = Inside { state, ledger, clock, patience, waiting, messengers, changing };
        Self { inner: Arc::new(inside) }
    }

    /// Adds somebody who tells people of questions.
    pub fn tell_by(&self, messenger: Arc<dyn Messenger>) {
        lock(&self.inner.messengers).push(messenger);
    }

    /// The questions that wait for an answer, for whoever may answer them.
    pub fn list(&self) -> Vec<Value> {
        lock(&self.inner.waiting).list()
    }

    /// Takes an answer.
    ///
    /// What is recorded here is what whoever waits gets; when it cannot be recorded it is as if nothing had been said.
    ///
    /// # Errors
    /// When there is no such question (any more), who answers may not, the gateway is locked down and it is no refusal, or
    /// the answer cannot be recorded or kept.
    pub async fn decide(
        &self,
        id: &str,
        choice: Choice,
        by: Approver<'_>,
    ) -> Result<ApprovalId, ApprovalError> {
        if choice != Choice::Deny && self.inner.ledger.lockdown().is_some() {
            return Err(ApprovalError::LockedDown);
        }
        let now = (self.inner.clock)();
        let (permit, place, question) = {
            let mut waiting = lock(&self.inner.waiting);
            let pending = waiting.find(id).map_err(ApprovalError::Refused)?;
            let judged = decide(&pending.question, &pending.asked, choice, by, now);
            let permit = match judged {
                Ok(permit) => permit,
                Err(refusal) => {
                    drop(waiting);
                    self.note_refused(&by.name(), id, &refusal);
                    return Err(ApprovalError::Refused(refusal));
                }
            };
            let question = Arc::clone(&pending.question);
            let id = pending.asked.id.clone();
            // From here on nobody else's answer counts.
            (permit, waiting.take_answer(&id), question)
        };
        let Some(answer) = place else {
            return Err(ApprovalError::Refused(waiting::unknown()));
        };
        let inner = Arc::clone(&self.inner);
        let kept = tokio::task::spawn_blocking(move || inner.settle(permit, &question, now)).await;
        let kept = kept.unwrap_or_else(|error| Err(ApprovalError::File(error.to_string())));
        match kept {
            Ok(permit) => {
                let (choice, by) = (permit.permit().choice(), permit.permit().actor().to_owned());
                let id = answer.id.clone();
                // Who asked may have gone meanwhile: then the yes opens nothing, and is in the book.
                if answer.to.send(permit).is_err() {
                    tracing::info!(approval = %id, "an answer came when nobody waited for it any more");
                }
                self.told_over(&id, Some(choice), &by);
                Ok(id)
            }
            Err(error) => {
                lock(&self.inner.waiting).give_back(answer);
                Err(error)
            }
        }
    }

    /// Says in the book who was turned away. It permits nothing, so nobody waits for it.
    pub(crate) fn note_refused(&self, who: &str, id: &str, refusal: &Refusal) {
        let id: String = id.chars().take(32).collect();
        let entry = Entry::new(who, "approval.decide", id, moltbot_policy::Decision::Refused)
            .with("code", refusal.code)
            .buffered();
        if let Err(error) = self.inner.ledger.enter(entry) {
            tracing::error!(%error, "a refused answer could not be recorded");
        }
    }

    /// Asks about a command or for a client, and waits for the answer, for the time that the owner has.
    ///
    /// # Errors
    /// In words for whoever asked: too many wait, there is nobody to ask, nobody answered in time, or it cannot be recorded.
    pub async fn ask_about(&self, question: Arc<Question>) -> Result<Recorded<ApprovalPermit>, String> {
        let asked = self.draw()?;
        if let Some(permit) = self.answered_before(&question, &asked) {
            return self
                .blocking(move |inner| record(permit, &inner.ledger).map_err(|error| error.to_string()))
                .await;
        }
        let (to, answer) = oneshot::channel();
        let pending = Pending::new(Arc::clone(&question), asked.clone(), to);
        let notice = pending.notice();
        lock(&self.inner.waiting).require_room(&question)?;
        let entry = asked.request_entry(&question);
        self.blocking(move |inner| inner.ledger.enter(entry).map_err(|error| error.to_string())).await?;
        lock(&self.inner.waiting).add(pending)?;
        let mut place = Place { approvals: self, asked: &asked, question: &question, over: false };
        if self.tell(&notice) == Reached::Nobody {
            place.over = true;
            return Err(self.end(&asked, &question, End::Nobody).await);
        }
        let answered = tokio::time::timeout(self.inner.patience, answer).await;
        place.over = true;
        match answered {
            Ok(Ok(permit)) => {
                lock(&self.inner.waiting).remove(&asked.id);
                Ok(permit)
            }
            Ok(Err(_)) | Err(_) => Err(self.end(&asked, &question, End::Late).await),
        }
    }

    /// Takes a question away that got no answer, and says why.
    async fn end(&self, asked: &Asked, question: &Arc<Question>, end: End) -> String {
        lock(&self.inner.waiting).remove(&asked.id);
        let (entry, said) = match end {
            End::Late => (
                asked.expiry_entry(question),
                format!(
                    "the owner did not answer within {} s, so the command was not run",
                    self.inner.patience.as_secs()
                ),
            ),
            End::Nobody => (
                asked.cancel_entry(question, "nobody who may decide could be told"),
                "the command needs its owner's yes and nobody could be asked, so it was not run; the owner can open `moltbot chat` and ask again".to_owned(),
            ),
        };
        if let Err(error) =
            self.blocking(move |inner| inner.ledger.enter(entry).map_err(|error| error.to_string())).await
        {
            tracing::error!(error, "that nobody answered could not be recorded");
        }
        self.told_over(&asked.id, None, "nobody");
        said
    }

    fn draw(&self) -> Result<Asked, String> {
        let bytes = moltbot_vault::random().map_err(|error| error.to_string())?;
        let asked_ms = (self.inner.clock)();
        let patience = u64::try_from(self.inner.patience.as_millis()).unwrap_or(u64::MAX);
        Ok(Asked {
            id: ApprovalId::from_random(bytes),
            asked_ms,
            expires_ms: asked_ms.saturating_add(patience),
        })
    }

    fn answered_before(&self, question: &Question, asked: &Asked) -> Option<ApprovalPermit> {
        lock(&self.inner.waiting).standing(question, asked, (self.inner.clock)())
    }

    fn tell(&self, notice: &Notice) -> Reached {
        let messengers = lock(&self.inner.messengers).clone();
        let reached = messengers.iter().map(|messenger| messenger.asked(notice));
        if reached.filter(|reached| *reached == Reached::Somebody).count() > 0 {
            Reached::Somebody
        } else {
            Reached::Nobody
        }
    }

    fn told_over(&self, id: &ApprovalId, choice: Option<Choice>, by: &str) {
        let messengers = lock(&self.inner.messengers).clone();
        messengers.iter().for_each(|messenger| messenger.resolved(id, choice, by));
    }

    /// Does what may wait for the disk on a thread that may.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Inside) -> Result<T, String> + Send + 'static,
    ) -> Result<T, String> {
        let inner = Arc::clone(&self.inner);
        let done = tokio::task::spawn_blocking(move || work(&inner)).await;
        done.unwrap_or_else(|error| Err(error.to_string()))
    }
}

/// How a question ended without an answer.
#[derive(Clone, Copy)]
enum End {
    Late,
    Nobody,
}

/// A question that waits. Dropped before it is over, the turn that asked has ended: it is taken away, and the book is told.
struct Place<'a> {
    approvals: &'a Approvals,
    asked: &'a Asked,
    question: &'a Arc<Question>,
    over: bool,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if self.over {
            return;
        }
        let inner = &self.approvals.inner;
        lock(&inner.waiting).remove(&self.asked.id);
        let entry = self.asked.cancel_entry(self.question, "the turn that asked was stopped").buffered();
        if let Err(error) = inner.ledger.enter(entry) {
            tracing::error!(%error, "the end of a question could not be recorded");
        }
        self.approvals.told_over(&self.asked.id, None, "the turn's end");
    }
}

impl Inside {
    /// Records an answer, and keeps what it leaves behind, before whoever waits gets it.
    fn settle(
        &self,
        permit: ApprovalPermit,
        question: &Question,
        now_ms: u64,
    ) -> Result<Recorded<ApprovalPermit>, ApprovalError> {
        let permit = record(permit, &self.ledger)?;
        match permit.permit().choice() {
            Choice::AllowAlways => {
                let agent = question.session().map(|session| session.agent());
                let agent = agent.as_ref().map_or("main", |agent| agent.as_str());
                self.list_programs(agent, question.always())?;
            }
            Choice::AllowForSession => {
                let standing = permit.permit().standing(now_ms);
                lock(&self.waiting).keep(standing, now_ms);
            }
            Choice::AllowOnce | Choice::Deny => {}
        }
        Ok(permit)
    }
}

impl moltbot_agent::Approvals for Approvals {
    fn file(&self) -> Result<ApprovalsFile, String> {
        self.inner.file().map(|(file, _)| file).map_err(|error| error.to_string())
    }

    fn ask(&self, question: Arc<Question>) -> Answer<'_> {
        Box::pin(self.ask_about(question))
    }

    fn now_ms(&self) -> u64 {
        (self.inner.clock)()
    }

    fn used(&self, entries: &[String], script: &str, path: &str) {
        if let Err(error) = self.inner.note_used(entries, script, path) {
            tracing::warn!(%error, "that an entry of exec-approvals.json was used is not noted");
        }
    }
}
