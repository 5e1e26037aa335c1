//! The questions that wait, and the answers that hold for an hour.

use std::collections::BTreeMap;
use std::sync::Arc;

use moltbot_config::limits;
use moltbot_policy::approval::{
    ApprovalId, ApprovalPermit, Asked, Choice, Place, Question, Requester, Standing,
};
use moltbot_policy::shown::visible;
use moltbot_policy::{Recorded, Refusal};
use serde_json::{Value, json};
use tokio::sync::oneshot;

/// A question, for whoever tells people of it.
#[derive(Clone)]
pub struct Notice {
    /// Its id.
    pub id: ApprovalId,
    /// The question itself.
    pub question: Arc<Question>,
    /// When it was asked and when its time is over.
    pub asked: Asked,
}

impl Notice {
    /// The text for a person, made from the command alone.
    pub fn prompt(&self) -> String {
        self.question.prompt(&self.asked)
    }

    /// The question as clients know it. What would act on a screen is written out.
    pub fn value(&self) -> Value {
        let Self { id, question, asked, .. } = self;
        let session = question.session();
        let host = match (question.place(), question.requester()) {
            (_, Requester::Client(_)) => "node",
            (Place::Host, Requester::Turn(_)) => "gateway",
            (Place::Sandbox, Requester::Turn(_)) => "sandbox",
        };
        let choices: Vec<&str> = question.choices().into_iter().map(Choice::name).collect();
        json!({
            "id": id.as_str(),
            "request": {
                "command": visible(question.script()), "cwd": visible(question.directory()), "host": host,
                "security": null, "ask": null, "agentId": session.map(|session| session.agent().as_str().to_owned()),
                "resolvedPath": question.program().map(visible),
                "sessionKey": session.map(|session| session.as_str()),
            },
            "prompt": self.prompt(), "decisions": choices,
            "createdAtMs": asked.asked_ms, "expiresAtMs": asked.expires_ms,
        })
    }
}

/// A question that waits.
pub(super) struct Pending {
    pub(super) question: Arc<Question>,
    pub(super) asked: Asked,
    /// Nothing while an answer is recorded.
    to: Option<oneshot::Sender<Recorded<ApprovalPermit>>>,
}

impl Pending {
    pub(super) const fn new(
        question: Arc<Question>,
        asked: Asked,
        to: oneshot::Sender<Recorded<ApprovalPermit>>,
    ) -> Self {
        Self { question, asked, to: Some(to) }
    }

    pub(super) fn notice(&self) -> Notice {
        Notice { id: self.asked.id.clone(), question: Arc::clone(&self.question), asked: self.asked.clone() }
    }
}

/// The way to whoever waits, taken by the one whose answer counts.
pub(super) struct Taken {
    pub(super) id: ApprovalId,
    pub(super) to: oneshot::Sender<Recorded<ApprovalPermit>>,
}

/// What waits, and what holds.
#[derive(Default)]
pub(super) struct Waiting {
    pending: BTreeMap<ApprovalId, Pending>,
    standing: Vec<Standing>,
}

impl Waiting {
    pub(super) fn list(&self) -> Vec<Value> {
        let mut pending: Vec<&Pending> = self.pending.values().collect();
        pending.sort_by_key(|pending| pending.asked.asked_ms);
        pending.into_iter().map(|pending| pending.notice().value()).collect()
    }

    /// Demands that one more may wait. Many of one conversation must not keep out the others.
    pub(super) fn require_room(&self, question: &Question) -> Result<(), String> {
        let is_of_same = |pending: &&Pending| {
            pending.question.session() == question.session()
                && pending.question.requester() == question.requester()
        };
        let each = self.pending.values().filter(is_of_same).count();
        if self.pending.len() >= limits::APPROVALS || each >= limits::APPROVALS_EACH {
            return Err("too many commands wait for the owner's yes, so this one was not run; let the owner answer first".into());
        }
        Ok(())
    }

    pub(super) fn add(&mut self, pending: Pending) -> Result<(), String> {
        // Looked at again: others may have come while this one was recorded.
        self.require_room(&pending.question)?;
        self.pending.insert(pending.asked.id.clone(), pending);
        Ok(())
    }

    /// The question of that id.
    pub(super) fn find(&self, id: &str) -> Result<&Pending, Refusal> {
        let found = self.pending.iter().find(|(known, _)| known.as_str() == id).map(|(_, pending)| pending);
        found.filter(|pending| pending.to.is_some()).ok_or_else(unknown)
    }

    /// Takes the way to whoever waits: the first whose answer counts has it.
    pub(super) fn take_answer(&mut self, id: &ApprovalId) -> Option<Taken> {
        let to = self.pending.get_mut(id)?.to.take()?;
        Some(Taken { id: id.clone(), to })
    }

    /// The answer could not be recorded: another one may come.
    pub(super) fn give_back(&mut self, taken: Taken) {
        if let Some(pending) = self.pending.get_mut(&taken.id) {
            pending.to = Some(taken.to);
        }
    }

    pub(super) fn remove(&mut self, id: &ApprovalId) {
        self.pending.remove(id);
    }

    pub(super) fn keep(&mut self, standing: Option<Standing>, now_ms: u64) {
        self.standing.retain(|standing| !standing.is_over(now_ms));
        if self.standing.len() < limits::APPROVALS_STANDING {
            self.standing.extend(standing);
        }
    }

    /// The permit of an earlier answer for an hour.
    pub(super) fn standing(&self, question: &Question, asked: &Asked, now_ms: u64) -> Option<ApprovalPermit> {
        self.standing.iter().find_map(|standing| standing.permit(question, asked, now_ms).ok())
    }
}

/// One answer for what never was, what is over, and what was answered: nothing is learned by trying.
pub(super) fn unknown() -> Refusal {
    Refusal::new(
        "approval_unknown",
        "no command waits for an answer under that id; it may have been answered, or too late",
    )
}
