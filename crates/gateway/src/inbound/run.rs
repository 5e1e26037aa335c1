//! A run: a turn that somebody watches.

use std::sync::{Arc, Mutex, OnceLock};

use moltbot_agent::TurnReport;
use moltbot_protocol::ids::{RunId, SessionKey};
use moltbot_protocol::sender::{Origin, SenderId};
use moltbot_store::{PendingTurn, TurnId};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use crate::shared::lock;

/// What whoever sent the message wants to hear of its run.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Hearing {
    /// How it ended, and with which answer: it is not answered together with others.
    Answer,
    /// How it ended.
    End,
    /// The words, as they are said.
    Words,
}

/// How a run ended.
#[derive(Clone, Debug)]
pub(crate) enum End {
    /// The gateway stopped before it did. It is resumed at the next start.
    Interrupted,
    /// It has an end, which is on disk.
    Report(Arc<TurnReport>),
}

/// A run that waits or works.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) id: RunId,
    pub(crate) session: SessionKey,
    pub(crate) session_id: String,
    pub(crate) accepted_ms: u64,
    /// The turn's number.
    pub(super) turn: TurnId,
    /// Whether its message may be answered together with others.
    pub(super) may_be_gathered: bool,
    /// Whether somebody asked for it.
    pub(crate) is_asked_for: bool,
    /// Who on channels hears what it says without having asked, once that is known.
    hears: OnceLock<Vec<Origin>>,
    /// The person on a channel that it answers.
    pub(super) sender: Option<SenderId>,
    abort: CancellationToken,
    end: watch::Sender<Option<End>>,
    words: Option<Words>,
}

/// Words that were said and not yet taken. They are gathered here, so that a slow listener costs the length
/// of the answer and no more.
#[derive(Debug, Default)]
struct Words {
    pending: Mutex<String>,
    more: Notify,
}

impl Run {
    pub(crate) fn new(turn: &PendingTurn, hearing: Hearing) -> Self {
        let words = match hearing {
            Hearing::Answer | Hearing::End => None,
            Hearing::Words => Some(Words::default()),
        };
        Self {
            id: turn.message.run.clone(),
            session: turn.message.session.clone(),
            session_id: turn.session_id.clone(),
            accepted_ms: turn.accepted_ms,
            turn: turn.id,
            may_be_gathered: hearing == Hearing::End,
            is_asked_for: !turn.message.principal.is_heartbeat(),
            hears: OnceLock::new(),
            sender: turn.message.origin.as_ref().map(|origin| origin.sender.clone()),
            abort: CancellationToken::new(),
            end: watch::Sender::new(None),
            words,
        }
    }

    /// Has these hear what it says. Whoever was told first hears it.
    pub(crate) fn is_heard_by(&self, hearers: Vec<Origin>) {
        self.hears.get_or_init(|| hearers);
    }

    /// Who on channels hears what it says without having asked.
    pub(crate) fn hearers(&self) -> &[Origin] {
        self.hears.get().map_or(&[], Vec::as_slice)
    }

    pub(super) fn is_aborted(&self) -> bool {
        self.abort.is_cancelled()
    }

    pub(super) fn abort_token(&self) -> CancellationToken {
        self.abort.clone()
    }

    /// Stops it, whether it works or waits.
    pub(crate) fn abort(&self) {
        self.abort.cancel();
    }

    pub(super) fn end(&self, end: End) {
        self.end.send_replace(Some(end));
    }

    pub(super) fn say(&self, delta: &str) {
        if let Some(words) = &self.words {
            lock(&words.pending).push_str(delta);
            words.more.notify_one();
        }
    }

    /// Resolves when it has ended.
    pub(crate) async fn ended(&self) -> End {
        let mut end = self.end.subscribe();
        match end.wait_for(Option::is_some).await {
            Ok(end) => end.clone().unwrap_or(End::Interrupted),
            Err(_) => End::Interrupted, // the sender is ours, so this is never seen
        }
    }

    /// The next words, or nothing more once it has ended and everything was taken.
    pub(crate) async fn next_words(&self) -> Option<String> {
        let words = self.words.as_ref()?;
        loop {
            // Looked at before the words: those said before the end are taken before the end is seen.
            let ended = self.end.borrow().is_some();
            let said = std::mem::take(&mut *lock(&words.pending));
            if !said.is_empty() {
                return Some(said);
            }
            if ended {
                return None;
            }
            tokio::select! {
                () = words.more.notified() => {}
                _ = self.ended() => {}
            }
        }
    }
}

/// Stops a run when whoever waits for it goes away.
#[derive(Debug)]
pub(crate) struct AbortOnDrop(pub(crate) Arc<Run>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort(); // without effect when it has ended
    }
}
