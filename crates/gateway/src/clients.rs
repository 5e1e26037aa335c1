//! Who is signed in: one session for each connection, from its sign-in until it ends.
//!
//! The shared credential, or a device's token, only signs in. What it opens is a session: bound to its connection, with
//! an end of its own, listed, and ended by the owner, by its limits, or by a change of the credential that opened it. A
//! session is never resumed: who is gone signs in again.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use moltbot_policy::authorization::Grant;
use moltbot_policy::strictness::SessionLimits;
use moltbot_protocol::scope::Scope;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::outbox::{Closing, Outbox};
use crate::shared::lock;

/// The sessions of one gateway.
pub(crate) struct Clients {
    sessions: Mutex<BTreeMap<Arc<str>, Session>>,
    limits: SessionLimits,
    began: Instant,
}

/// One session.
struct Session {
    grant: Arc<Grant>,
    /// What the client says it is; it plays no part in any decision.
    says: Option<String>,
    /// Which of the credentials that the gateway has had opened it, by its number.
    credential: u64,
    /// The wall clock, in milliseconds since the epoch.
    since_ms: u64,
    opened: Duration,
    /// When the last request came, in milliseconds since the gateway began.
    active: Arc<AtomicU64>,
    end: End,
    /// Whether it was ended by its limits: that is told once.
    is_over: bool,
}

/// How a session is ended.
enum End {
    /// An HTTP connection is cut.
    Connection(CancellationToken),
    /// A WebSocket is told why, and closed.
    Socket(Arc<Outbox>),
}

/// A session that is over by its limits.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Over {
    pub(crate) id: String,
    pub(crate) whose: String,
    pub(crate) why: &'static str,
}

/// A session, until it is dropped.
pub(crate) struct Registered {
    clients: Arc<Clients>,
    id: Arc<str>,
    active: Arc<AtomicU64>,
}

/// What is registered of a session.
pub(crate) struct Opening {
    /// Its id: that of the connection, which `hello-ok` tells.
    pub(crate) id: String,
    /// What the client says it is.
    pub(crate) says: Option<String>,
    /// The number of the credential that opened it.
    pub(crate) credential: u64,
    /// The wall clock, in milliseconds since the epoch.
    pub(crate) since_ms: u64,
}

impl Clients {
    pub(crate) fn new(limits: SessionLimits, began: Instant) -> Self {
        Self { sessions: Mutex::default(), limits, began }
    }

    /// Registers a WebSocket's session.
    pub(crate) fn open(
        self: &Arc<Self>,
        opening: Opening,
        grant: Arc<Grant>,
        outbox: &Arc<Outbox>,
    ) -> Registered {
        self.register(opening, grant, End::Socket(Arc::clone(outbox)))
    }

    /// Registers an HTTP request's session, which ends with the connection or its next request. `cut` ends it.
    pub(crate) fn open_request(
        self: &Arc<Self>,
        opening: Opening,
        grant: Arc<Grant>,
        cut: &CancellationToken,
    ) -> Registered {
        self.register(opening, grant, End::Connection(cut.clone()))
    }

    fn register(self: &Arc<Self>, opening: Opening, grant: Arc<Grant>, end: End) -> Registered {
        let Opening { id, says, credential, since_ms } = opening;
        let id: Arc<str> = id.into();
        let now = self.began.elapsed();
        let active = Arc::new(AtomicU64::new(milliseconds(now)));
        let (opened, kept) = (now, Arc::clone(&active));
        let session =
            Session { grant, says, credential, since_ms, opened, active: kept, end, is_over: false };
        lock(&self.sessions).insert(Arc::clone(&id), session);
        Registered { clients: Arc::clone(self), id, active }
    }

    /// How often its limits are to be looked at.
    pub(crate) fn look(&self) -> Duration {
        self.limits.look()
    }

    /// Ends what is over by its limits. A request that is still being answered is no idleness.
    pub(crate) fn end_expired(&self) -> Vec<Over> {
        let now = self.began.elapsed();
        let mut over = Vec::new();
        for (id, session) in lock(&self.sessions).iter_mut().filter(|(_, session)| !session.is_over) {
            if session.is_busy() {
                session.active.store(milliseconds(now), Ordering::Relaxed);
            }
            let active = Duration::from_millis(session.active.load(Ordering::Relaxed));
            let age = now.saturating_sub(session.opened);
            let is_admin = session.grant.scopes().contains(&Scope::Admin);
            if let Some(why) = self.limits.over(is_admin, age, now.saturating_sub(active)) {
                session.is_over = true;
                session.end(Closing::Expired);
                over.push(Over { id: id.to_string(), whose: session.grant.actor().to_owned(), why });
            }
        }
        over
    }

    /// Ends what other credentials than the one of that number opened. What a device's own token opened goes on.
    pub(crate) fn end_of_other_credentials(&self, current: u64) {
        for session in lock(&self.sessions).values() {
            if session.credential != current && !session.grant.by_device_token() {
                session.end(Closing::Rotated);
            }
        }
    }

    /// Ends what a device has open over HTTP; its sockets are the hub's.
    pub(crate) fn end_requests_of(&self, device: &str) {
        for session in lock(&self.sessions).values() {
            if let (End::Connection(cut), Some(id)) = (&session.end, session.grant.device())
                && id == device
            {
                cut.cancel();
            }
        }
    }

    /// Ends these sessions.
    pub(crate) fn end(&self, ids: &[String]) {
        let sessions = lock(&self.sessions);
        for session in ids.iter().filter_map(|id| sessions.get(id.as_str())) {
            session.end(Closing::Ended);
        }
    }

    /// Who was let in by these sessions, of those that are open; by all but `own` when none is named.
    pub(crate) fn find(&self, id: Option<&str>, own: &str) -> Vec<(String, String)> {
        let is_meant = |open: &str| id.map_or(open != own, |id| id == open);
        let sessions = lock(&self.sessions);
        let meant = sessions.iter().filter(|(open, _)| is_meant(open));
        meant.map(|(id, session)| (id.to_string(), session.grant.actor().to_owned())).collect()
    }

    /// The sessions, as clients see them. `own` is the one that asks.
    pub(crate) fn list(&self, own: &str) -> Value {
        let now = self.began.elapsed();
        let seconds = |limit: Duration| limit.as_secs();
        let sessions = lock(&self.sessions);
        let rows: Vec<Value> = sessions.iter().map(|(id, session)| session.shown(id, own, now)).collect();
        json!({
            "clients": rows,
            "limits": {
                "idleSeconds": seconds(self.limits.idle),
                "idleAdminSeconds": seconds(self.limits.idle_admin),
                "longestSeconds": seconds(self.limits.longest),
            },
        })
    }
}

impl Session {
    fn end(&self, why: Closing) {
        match &self.end {
            End::Connection(cut) => cut.cancel(),
            End::Socket(outbox) => outbox.close(why),
        }
    }

    fn is_busy(&self) -> bool {
        match &self.end {
            End::Connection(_) => true, // it lasts as long as its request
            End::Socket(outbox) => outbox.is_answering(),
        }
    }

    fn shown(&self, id: &str, own: &str, now: Duration) -> Value {
        let idle = milliseconds(now).saturating_sub(self.active.load(Ordering::Relaxed));
        let grant = &self.grant;
        json!({
            "id": id,
            "own": id == own,
            "actor": grant.actor(),
            "deviceId": grant.device(),
            "credential": grant.method(),
            "way": grant.way(),
            "remoteIp": grant.client().to_string(),
            "locality": grant.locality().name(),
            "role": grant.role().name(),
            "scopes": grant.scopes().iter().map(|scope| scope.name()).collect::<Vec<_>>(),
            "says": self.says,
            "sinceMs": self.since_ms,
            "idleMs": idle,
        })
    }
}

impl Registered {
    /// Its id.
    pub(crate) const fn id(&self) -> &Arc<str> {
        &self.id
    }

    /// A request came.
    pub(crate) fn is_active(&self) {
        self.active.store(milliseconds(self.clients.began.elapsed()), Ordering::Relaxed);
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        lock(&self.clients.sessions).remove(&self.id);
    }
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
