//! The path of one message: there is room, it is kept, it waits its turn, it is answered, everybody is told.
//!
//! A message is acknowledged only after it is on disk. Within a session one turn runs at a time, in the
//! order of acceptance; sessions do not wait for each other.

pub(crate) mod freshness;
mod progress;
mod queue;
pub(crate) mod queueing;
mod run;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt as _;
use moltbot_policy::allowance::Demand;
use moltbot_policy::{Book as _, Class, Decision, Entry, Refusal, Unrecorded};
use moltbot_protocol::ids::SessionKey;
use moltbot_protocol::message::{InboundMessage, VerboseLevel};
use moltbot_protocol::principal::Principal;
use moltbot_protocol::sender::Origin;
use moltbot_store::{Accepted, PendingTurn, RunStatus, StoreError};
use thiserror::Error;

use crate::allowances::{Allowances, Spent};
use crate::heartbeat;
use crate::methods::sessions;
use crate::quarantine;
use crate::shared::{Shared, lock};
use progress::Progress;

pub(crate) use queue::Inbound;
pub(crate) use run::{AbortOnDrop, End, Hearing, Run};

/// What became of a message.
pub(crate) enum Received {
    /// It was here before.
    Duplicate(RunStatus),
    /// It is kept and waits its turn.
    Fresh(Arc<Run>),
}

/// Why a message is not taken.
#[derive(Debug, Error)]
pub(crate) enum InboundError {
    /// The key names a message of another conversation: answering with that one would lose this one.
    #[error("a message in session {0} has this idempotencyKey already; send this one with a new key")]
    Elsewhere(SessionKey),
    /// The book was changed by somebody, and nothing is done before the owner has looked.
    #[error("{}", crate::shared::LOCKED_DOWN)]
    LockedDown,
    /// The disk takes no record of what the message would cause.
    #[error("the message is not taken: {0}")]
    Unrecorded(#[from] Unrecorded),
    /// The session is in quarantine.
    #[error("{0}")]
    Quarantined(Refusal),
    /// The gateway stops.
    #[error("the gateway is stopping; send again when it is back")]
    Stopping,
    /// A hook's delivery has the name of another one.
    #[error(
        "a delivery with this name was taken before and said something else; give each delivery its own name"
    )]
    Reused,
    /// The session has as many turns waiting as it may, or the gateway as many runs.
    #[error("too many messages are waiting; wait for answers before you send more")]
    Full,
    /// Whoever sends it has used up what he may today.
    #[error(transparent)]
    Spent(#[from] Box<Spent>),
    /// The message could not be kept.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The task that keeps messages broke.
    #[error("the message could not be kept; look into the gateway's log")]
    Broken,
}

/// Takes a message of the actor `from`. When this returns without an error the message is on disk. In a task of its own: a
/// client that hangs up in between must not leave a message that is kept but waits for nobody.
pub(crate) async fn receive(
    shared: &Arc<Shared>,
    message: InboundMessage,
    from: &str,
    hearing: Hearing,
) -> Result<Received, InboundError> {
    let (shared, actor) = (Arc::clone(shared), from.to_owned());
    let accepted = Entry::new(from, "message.accept", message.run.as_str(), Decision::Done)
        .in_session(message.session.as_str())
        .with("channel", message.channel.clone())
        .buffered();
    let taking = tokio::spawn(async move {
        if shared.ledger.lockdown().is_some() {
            return Err(InboundError::LockedDown);
        }
        require_free(&shared, &message, &actor)?;
        let place = shared.inbound.reserve(&message.session)?;
        let accepted = record_on_full_disk(&shared, accepted).await?;
        freshness::freshen(&shared, &message).await?;
        match keep(&shared, &message, &actor).await? {
            Accepted::Duplicate(status) => require_same(&message, status).map(Received::Duplicate),
            Accepted::Fresh(turn) => {
                let run = Arc::new(Run::new(&turn, hearing));
                if let Some(accepted) = accepted {
                    note(&shared, accepted);
                }
                enqueue(&shared, turn.clone(), &run);
                drop(place);
                queueing::attend(&shared, &turn).await;
                Ok(Received::Fresh(run))
            }
        }
    });
    taking.await.unwrap_or_else(|error| {
        tracing::error!(%error, "a message could not be taken");
        Err(InboundError::Broken)
    })
}

/// Whether the files of a message are to be fetched: not of one that is kept already.
///
/// # Errors
/// When its sender has used up what he may today, or its session is in quarantine: nothing is fetched then.
pub(crate) async fn wants_files(
    shared: &Shared,
    message: &InboundMessage,
    from: &str,
) -> Result<bool, InboundError> {
    require_free(shared, message, from)?;
    if shared.store.run(&message.run).await?.is_some() {
        return Ok(false);
    }
    match shared.allowances.admit(&message.principal, Demand::Turn) {
        // It is counted when it is kept.
        Ok(counted) => {
            shared.allowances.take_back(&counted);
            Ok(true)
        }
        Err(spent) => {
            refuse_spent(shared, from, &spent);
            Err(spent.into())
        }
    }
}

/// Demands that the session of a message is not in quarantine.
fn require_free(shared: &Shared, message: &InboundMessage, from: &str) -> Result<(), InboundError> {
    require_session(shared, &message.session, from)
}

fn require_session(shared: &Shared, session: &SessionKey, from: &str) -> Result<(), InboundError> {
    shared.quarantine.require_free(session).map_err(|refusal| {
        refuse(shared, from, "quarantine", &refusal);
        InboundError::Quarantined(refusal)
    })
}

/// Demands that a message of somebody would be taken in a session now, where what he says is kept for a look. It is counted when
/// it is told.
pub(crate) fn require_taken(
    shared: &Shared,
    session: &SessionKey,
    principal: &Principal,
) -> Result<(), InboundError> {
    let from = actor_of(principal);
    if shared.ledger.lockdown().is_some() {
        return Err(InboundError::LockedDown);
    }
    require_session(shared, session, &from)?;
    match shared.allowances.admit(principal, Demand::Turn) {
        Ok(counted) => {
            shared.allowances.take_back(&counted);
            Ok(())
        }
        Err(spent) => {
            refuse_spent(shared, &from, &spent);
            Err(spent.into())
        }
    }
}

/// Counts a message and keeps it, in one commit. One that was here before is not counted again.
async fn keep(shared: &Shared, message: &InboundMessage, from: &str) -> Result<Accepted, InboundError> {
    let counted = match shared.allowances.admit(&message.principal, Demand::Turn) {
        Ok(counted) => counted,
        Err(spent) => match shared.store.run(&message.run).await? {
            Some(status) => return Ok(Accepted::Duplicate(status)),
            None => {
                refuse_spent(shared, from, &spent);
                return Err(spent.into());
            }
        },
    };
    let kept = shared.store.accept_counted(message, counted.holders.clone(), shared.now_ms()).await;
    if !matches!(kept, Ok(Accepted::Fresh(_))) {
        shared.allowances.take_back(&counted);
    }
    Ok(kept?)
}

/// Says in the book that a message was refused for want of an allowance.
pub(crate) fn refuse_spent(shared: &Shared, from: &str, spent: &Spent) {
    refuse(shared, from, "allowance", &spent.refusal());
}

/// Says in the book that a message was refused: one line for each sender, reason and minute.
fn refuse(shared: &Shared, from: &str, why: &'static str, refusal: &Refusal) {
    for entry in shared.channels.refusals.count(from, why, refusal, shared.now_ms()) {
        note(shared, entry);
    }
}

/// Demands that what came twice is one message. A hook's delivery is known by its content, whatever session it would have
/// begun; any other message by its conversation.
fn require_same(message: &InboundMessage, status: RunStatus) -> Result<RunStatus, InboundError> {
    match message.principal {
        Principal::Hook(_) if status.external_id != message.external_id => Err(InboundError::Reused),
        Principal::Heartbeat(_) | Principal::Owner | Principal::Sender(_)
            if status.session != message.session =>
        {
            Err(InboundError::Elsewhere(status.session))
        }
        Principal::Heartbeat(_) | Principal::Hook(_) | Principal::Owner | Principal::Sender(_) => Ok(status),
    }
}

/// On a full disk nothing is done that is not on it first: a message that could only fail is not taken. Gives the entry
/// back where there is room, to be entered when the message is kept.
async fn record_on_full_disk(shared: &Arc<Shared>, accepted: Entry) -> Result<Option<Entry>, Unrecorded> {
    if !shared.ledger.is_full() {
        return Ok(Some(accepted));
    }
    shared.ledger.enter_soon(vec![Entry { class: Class::Immediate, ..accepted }]).await?;
    Ok(None)
}

/// Says in the book who caused what the turn will do. It permits nothing, so nobody waits for it: it is on disk with
/// the turn's first act.
pub(crate) fn note(shared: &Shared, entry: Entry) {
    if let Err(error) = shared.ledger.enter(entry) {
        tracing::error!(%error, "a message could not be recorded");
    }
}

/// Takes up the turns that the last run of the gateway left without an end.
pub(crate) fn resume(shared: &Arc<Shared>, pending: Vec<PendingTurn>) {
    if shared.ledger.lockdown().is_some() {
        tracing::error!(
            waiting = pending.len(),
            "the book was tampered with: no turn is taken before the owner has looked"
        );
        return;
    }
    for turn in pending {
        tracing::info!(run = %turn.message.run, session = %turn.message.session, "a turn is resumed");
        let run = Arc::new(Run::new(&turn, Hearing::End));
        enqueue(shared, turn, &run);
    }
}

/// Begins the turns that have waited since everything was stopped.
pub(crate) fn go_on(shared: &Arc<Shared>) {
    for session in shared.inbound.resume() {
        let working = work(Arc::clone(shared), session.clone());
        shared.inbound.spawn(session, working);
    }
}

/// Begins the turns that have waited since their session was put into quarantine.
pub(crate) fn release(shared: &Arc<Shared>, session: &SessionKey) {
    if shared.inbound.release(session) {
        let working = work(Arc::clone(shared), session.clone());
        shared.inbound.spawn(session.clone(), working);
    }
}

fn enqueue(shared: &Arc<Shared>, turn: PendingTurn, run: &Arc<Run>) {
    let session = turn.message.session.clone();
    if shared.inbound.push(turn, run) {
        let working = work(Arc::clone(shared), session.clone());
        shared.inbound.spawn(session, working);
    }
}

/// Takes the session's turns one after the other, until none waits.
async fn work(shared: Arc<Shared>, session: SessionKey) {
    let mut has_worked = false;
    loop {
        if has_worked {
            queueing::settle(&shared, &session).await;
        }
        has_worked = true;
        let _slot = shared.inbound.slot(&session).await;
        let Some((turn, run)) = shared.inbound.next(&session) else { return };
        let (turn, run) = queueing::gather(&shared, turn, run).await;
        take(&shared, turn, &run).await;
    }
}

/// Takes one turn to its end and tells everybody.
async fn take(shared: &Arc<Shared>, turn: PendingTurn, run: &Arc<Run>) {
    let verbose = verbose(shared, &turn.message.session).await;
    let progress = std::sync::Mutex::new(Progress::telling(run, verbose));
    let watcher = |event: moltbot_agent::TurnEvent<'_>| {
        if let moltbot_agent::TurnEvent::Absorbed(report) = event
            && let Some(taken) = shared.inbound.take_out(&report.session, &report.run)
        {
            queueing::end(shared, &taken, report.clone());
        }
        lock(&progress).tell(&shared.hub, run, event, shared.now_ms());
    };
    let clock = shared.clock;
    let (channel, account) = (turn.message.channel.clone(), turn.message.account.clone());
    if !is_still_answered(shared, &turn) {
        run.abort();
    }
    let _working = shared.channels.show_working(&turn.message);
    let principal = turn.message.principal.clone();
    let allowance = |tokens, cost| {
        shared.allowances.require_model(&principal, tokens, cost).map_err(|spent| {
            refuse_spent(shared, &actor_of(&principal), &spent);
            Allowances::not_allowed(&spent)
        })
    };
    heartbeat::find_hearers(shared, run).await;
    let message = Arc::new(turn.message.clone());
    let (gateway, asked) = (Arc::clone(shared), Arc::clone(&message));
    let responder = move |incident| -> moltbot_agent::Responding {
        let (shared, message) = (Arc::clone(&gateway), Arc::clone(&asked));
        Box::pin(async move { quarantine::hold(&shared, &message, incident).await })
    };
    let responder = Arc::new(responder);
    let (gateway, asked) = (Arc::clone(shared), Arc::clone(&message));
    let steer = move || -> moltbot_agent::Steered {
        let (shared, message) = (Arc::clone(&gateway), Arc::clone(&asked));
        Box::pin(async move { queueing::steering(&shared, &message).await })
    };
    let later: Option<moltbot_agent::Later> = Some(responder.clone());
    let control = moltbot_agent::Control {
        abort: run.abort_token(),
        steer: Some(Arc::new(steer)),
        later,
        hears: run.hearers().to_vec(),
    };
    let taking = shared.agent.take_turn(turn, &watcher, &allowance, responder.as_ref(), control, &clock);
    let Ok(report) = AssertUnwindSafe(taking).catch_unwind().await else {
        tracing::error!(run = %run.id, "a turn broke; it is taken up again at the next start");
        shared.inbound.forget(&run.id);
        return run.end(End::Interrupted);
    };
    shared.allowances.ended(&principal, &report);
    let report = Arc::new(report);
    // The run is found by its waiters in memory until its end is told, and in the store from then on.
    shared.inbound.forget(&report.run);
    run.end(End::Report(Arc::clone(&report)));
    lock(&progress).tell_end(&shared.hub, &report);
    sessions::ended(shared, &report, &run.session_id);
    wake(shared, (&channel, &account), run.hearers());
    shared.health.touch();
}

/// Who was let in when the message came may have been shut out while it waited, or be answered by another agent now.
fn is_still_answered(shared: &Shared, turn: &PendingTurn) -> bool {
    let agent = turn.message.session.agent();
    turn.message.origin.as_deref().is_none_or(|origin: &Origin| {
        shared.channels.still_admits(shared, origin) && shared.channels.is_answered_by(&agent, origin)
    })
}

/// Has sent what a turn says: where its message came from, and to who hears it besides.
fn wake(shared: &Shared, (channel, account): (&str, &str), hears: &[Origin]) {
    shared.channels.wake(channel, account);
    hears.iter().for_each(|chat| shared.channels.wake(chat.sender.channel(), chat.sender.account()));
}

/// How much is told of the tools of a session's turns. What cannot be read is as the config says.
async fn verbose(shared: &Shared, session: &SessionKey) -> VerboseLevel {
    let own = match shared.store.session(session).await {
        Ok(row) => row.and_then(|row| row.options.verbose_level),
        Err(error) => {
            tracing::warn!(%error, "what is set of a session cannot be read");
            None
        }
    };
    own.unwrap_or(shared.agent.defaults().verbose_default)
}

/// How the book names who wrote a message.
fn actor_of(principal: &Principal) -> String {
    match principal {
        Principal::Sender(id) => id.clone(),
        Principal::Heartbeat(_) | Principal::Hook(_) | Principal::Owner => principal.to_string(),
    }
}
