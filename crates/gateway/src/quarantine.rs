//! Sessions in quarantine: after an attempt to leave the sandbox nothing runs in a session before its owner lets it go on.
//!
//! What puts a session there is decided in `policy`. It is in the book and on the disk, with what the owner is told in his own
//! chat, before the turn is closed that made the attempt; a crash in between is made up for at the next start, from the book.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use moltbot_ledger::LEDGER_FOLDER;
use moltbot_ledger::query::{Reader, Record};
use moltbot_policy::chat::ChatCommandPermit;
use moltbot_policy::command::Severity;
use moltbot_policy::incident::{Incident, QUARANTINED_CODE, ReleasePermit};
use moltbot_policy::shown::in_one_line;
use moltbot_policy::{Entry, Refusal, Unrecorded, record_soon, with_causes};
use moltbot_protocol::event;
use moltbot_protocol::ids::{AgentId, RunId, SessionKey};
use moltbot_protocol::message::InboundMessage;
use moltbot_protocol::principal::Principal;
use moltbot_protocol::sender::Origin;
use moltbot_protocol::sessions::SessionQuarantine;
use moltbot_store::{Notice, PendingTurn, Quarantine, Store, StoreError};
use serde_json::json;
use thiserror::Error;

use crate::inbound;
use crate::outbox::Delivery;
use crate::shared::{NOT_NOW, Shared, lock};
use crate::stop;

/// Characters of a reason that are told in a chat.
const REASON: usize = 300;
/// Records of the book that are looked through for what a crash cut off.
const LOOKED_AT: usize = 1000;
/// A book that began with this process has no earlier record than its genesis.
const FIRST: u64 = 2;

/// The sessions that are in quarantine.
#[derive(Debug, Default)]
pub(crate) struct Quarantines(Mutex<BTreeMap<SessionKey, Quarantine>>);

/// Why a session does not go on.
#[derive(Debug, Error)]
pub(crate) enum ReleaseError {
    /// It cannot be kept.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The book cannot be written.
    #[error(transparent)]
    Unrecorded(#[from] Unrecorded),
}

impl Quarantines {
    /// Those that are kept.
    pub(crate) async fn open(store: &Store) -> Result<Self, StoreError> {
        let held = store.quarantined().await?;
        Ok(Self(Mutex::new(held.into_iter().map(|held| (held.session.clone(), held)).collect())))
    }

    /// Demands that a session is in none.
    pub(crate) fn require_free(&self, session: &SessionKey) -> Result<(), Refusal> {
        if !lock(&self.0).contains_key(session) {
            return Ok(());
        }
        let message = format!(
            "the session {session} is in quarantine after an attempt to leave the sandbox, so nothing runs in it; its owner lets it go on with `moltbot sessions release {session}`"
        );
        Err(Refusal::new(QUARANTINED_CODE, message))
    }

    /// All of them, for whoever may read.
    pub(crate) fn list(&self) -> Vec<SessionQuarantine> {
        lock(&self.0).values().map(shown).collect()
    }

    /// How it is with one.
    pub(crate) fn of(&self, session: &SessionKey) -> Option<SessionQuarantine> {
        lock(&self.0).get(session).map(shown)
    }

    fn sessions(&self) -> Vec<SessionKey> {
        lock(&self.0).keys().cloned().collect()
    }
}

fn shown(held: &Quarantine) -> SessionQuarantine {
    SessionQuarantine {
        session_key: held.session.as_str().to_owned(),
        since_ms: held.since_ms,
        run_id: held.run.as_str().to_owned(),
        reason: held.why.clone(),
    }
}

/// Keeps the turns of those that are kept from beginning, and makes up for what a crash cut off. Before any turn is taken up.
pub(crate) async fn begin(shared: &Arc<Shared>, pending: &[PendingTurn]) {
    for session in shared.quarantine.sessions() {
        shared.inbound.hold(&session);
    }
    if shared.ledger.began() <= FIRST {
        return;
    }
    // A turn that called no tool has tried nothing.
    let unfinished: Vec<&PendingTurn> = pending.iter().filter(|turn| !turn.steps.is_empty()).collect();
    let state = shared.state.clone();
    let last = tokio::task::spawn_blocking(move || {
        let folder = state.folder(LEDGER_FOLDER).map_err(|error| with_causes(&error))?;
        Reader::of(folder).tail(LOOKED_AT).map_err(|error| with_causes(&error))
    });
    let last = last.await.unwrap_or_else(|error| Err(error.to_string()));
    for PendingTurn { message, .. } in unfinished {
        match &last {
            Ok(last) => {
                if let Some(incident) = last.iter().find_map(|record| attempt(record, message)) {
                    hold(shared, message, incident).await;
                }
            }
            Err(error) => {
                let what = format!("whether its last turn made an attempt cannot be told: {error}");
                hold(shared, message, Incident { severity: Severity::High, what }).await;
            }
        }
    }
    match last {
        Ok(last) => hold_outlived(shared, &last).await,
        Err(error) => {
            tracing::error!(error, "whether commands of the background made attempts cannot be told")
        }
    }
}

/// Holds the sessions whose commands went on in the background, where a crash came between the attempt and what keeps it:
/// their turns have ended, and tell nothing any more.
async fn hold_outlived(shared: &Arc<Shared>, last: &[Record]) {
    for (record, session) in unreleased(last) {
        let run = record.run().and_then(|run| RunId::parse(run).ok());
        let principal = record.detail("cause").and_then(|cause| Principal::parse(cause).ok());
        let (Some(run), Some(principal)) = (run, principal) else {
            tracing::error!(record = record.seq, "an attempt is in the book that names no turn or no cause");
            continue;
        };
        if shared.quarantine.of(&session).is_none() {
            let of = Held { session: &session, run: &run, principal: &principal, origin: None };
            hold_session(shared, of, high(record)).await;
        }
    }
}

/// The high attempts of a book's end after which nobody has let the session go on.
fn unreleased(last: &[Record]) -> Vec<(&Record, SessionKey)> {
    let mut found = Vec::new();
    for (at, record) in last.iter().enumerate().filter(|(_, record)| is_high(record)) {
        let Some(name) = record.session.as_deref() else { continue };
        let mut later = last.iter().skip(at);
        let is_over =
            later.any(|later| later.action == "session.release" && later.session.as_deref() == Some(name));
        let session = SessionKey::parse(name, &AgentId::main()).ok().filter(|_| !is_over);
        found.extend(session.map(|session| (record, session)));
    }
    found
}

/// Whether a record tells of a high attempt.
fn is_high(record: &Record) -> bool {
    record.action == "command.attempt" && record.detail("severity") == Some(Severity::High.name())
}

fn high(record: &Record) -> Incident {
    let what = format!("a command made {}", record.detail("reason").unwrap_or("an attempt"));
    Incident { severity: Severity::High, what }
}

/// The attempt that a record tells of, when that turn made it and it was a high one.
fn attempt(record: &Record, message: &InboundMessage) -> Option<Incident> {
    let is_it = is_high(record) && record.run() == Some(message.run.as_str());
    is_it.then(|| high(record))
}

/// Whose attempt it was.
struct Held<'a> {
    session: &'a SessionKey,
    run: &'a RunId,
    principal: &'a Principal,
    /// Who is told where he speaks.
    origin: Option<&'a Origin>,
}

/// Puts the session of a message into quarantine. What cannot be kept holds until the gateway ends, and is told in its log.
pub(crate) async fn hold(shared: &Arc<Shared>, message: &InboundMessage, incident: Incident) {
    let InboundMessage { session, run, principal, origin, .. } = message;
    hold_session(shared, Held { session, run, principal, origin: origin.as_deref() }, incident).await;
}

async fn hold_session(shared: &Arc<Shared>, of: Held<'_>, incident: Incident) {
    let Held { session, run, principal, origin } = of;
    record(shared, incident.quarantine_entry(session, run, principal)).await;
    let held = Quarantine {
        session: session.clone(),
        since_ms: shared.now_ms(),
        run: run.clone(),
        why: incident.what,
    };
    lock(&shared.quarantine.0).insert(session.clone(), held.clone());
    shared.inbound.hold(session);
    shared.agent.end_commands_of(session);
    if let Some(origin) = origin {
        shared.channels.is_told(origin, held.since_ms);
    }
    let notices = notices(shared, &held);
    let told: Vec<_> = notices.iter().map(|notice| notice.origin.sender.clone()).collect();
    if let Err(error) = shared.store.quarantine(held.clone(), notices).await {
        tracing::error!(%session, %error, "that a session is in quarantine is not kept; it holds until the gateway ends");
    }
    tracing::error!(%session, run = run.as_str(), why = held.why, "a session is in quarantine; `moltbot sessions release` lets it go on");
    told.iter().for_each(|owner| shared.channels.wake(owner.channel(), owner.account()));
    tell(shared, "held", &held, "gateway").await;
}

/// Says it in the book. A full disk does not keep it from being done: it takes rights away.
async fn record(shared: &Arc<Shared>, entry: Entry) {
    let ledger = shared.ledger.clone();
    if tokio::task::spawn_blocking(move || ledger.enter_when_possible(entry)).await.is_err() {
        tracing::error!("that a session is in quarantine could not be recorded");
    }
}

/// What the owner is told in each of his own chats. What is not ours stands in a code span, and cannot end it.
fn notices(shared: &Shared, held: &Quarantine) -> Vec<Notice> {
    let plain = |text: &str| in_one_line(text).replace('`', "'").chars().take(REASON).collect::<String>();
    let session = plain(held.session.as_str());
    let text = format!(
        "SECURITY WARNING: a conversation is in quarantine\nsession: `{session}`\nwhy: `{}`\nThe attempt was stopped, and nothing runs there before you let it go on. Look first at what the agent was told: `moltbot sessions show {session}`. To let it go on, send:\n`/release {session}`",
        plain(&held.why)
    );
    shared.channels.owner_chats().map(|origin| Notice { origin, text: text.clone() }).collect()
}

async fn tell(shared: &Arc<Shared>, state: &str, held: &Quarantine, by: &str) {
    let payload = json!({
        "sessionKey": held.session.as_str(), "state": state, "runId": held.run.as_str(), "reason": held.why,
        "sinceMs": held.since_ms, "by": by, "ts": shared.now_ms(),
    });
    shared.hub.broadcast(event::SESSION_QUARANTINE, &payload, Delivery::Must);
    stop::tell(shared).await;
}

/// Lets a session go on, once that is in the book. Answers whether it was in quarantine.
///
/// # Errors
/// When it cannot be recorded or kept: it is in quarantine still.
pub(crate) async fn release(shared: &Arc<Shared>, permit: ReleasePermit) -> Result<bool, ReleaseError> {
    let Some(held) = lock(&shared.quarantine.0).get(permit.session()).cloned() else { return Ok(false) };
    let permit = record_soon(permit, &shared.ledger).await?;
    shared.store.release(&held.session).await?;
    lock(&shared.quarantine.0).remove(&held.session);
    inbound::release(shared, &held.session);
    let by = permit.permit().actor();
    tracing::warn!(session = %held.session, by, "a session goes on that was in quarantine");
    tell(shared, "released", &held, by).await;
    Ok(true)
}

/// Does `/release` for who may give it in a chat; the words to answer.
pub(crate) async fn release_in_chat(
    shared: &Arc<Shared>,
    permit: &ChatCommandPermit,
    words: &[&str],
) -> String {
    let [key] = words else { return usage(shared) };
    let Ok(session) = SessionKey::parse(key, &shared.default_agent()) else { return usage(shared) };
    match ReleasePermit::by_chat(permit, session) {
        Ok(permit) => said(key, release(shared, permit).await),
        Err(refusal) => refusal.message,
    }
}

/// What is answered in a chat.
pub(crate) fn said(key: &str, released: Result<bool, ReleaseError>) -> String {
    match released {
        Ok(true) => format!(
            "Done: `{key}` goes on. `moltbot sessions reset {key}` begins it anew, without what was said."
        ),
        Ok(false) => format!("`{key}` is not in quarantine."),
        Err(error) => {
            tracing::error!(%error, "a session in quarantine could not be released");
            NOT_NOW.into()
        }
    }
}

/// How it is said, and which there are.
pub(crate) fn usage(shared: &Shared) -> String {
    let held = shared.quarantine.sessions();
    let lines: Vec<String> = held.iter().map(|session| format!("\n/release {session}")).collect();
    if lines.is_empty() {
        "No conversation is in quarantine.".into()
    } else {
        format!("In quarantine:{}", lines.concat())
    }
}
