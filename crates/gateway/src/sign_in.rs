//! One function signs in HTTP requests and WebSocket connections alike.
//!
//! The order is: may this source try at all, is the credential right, what may it do, and then the book.
//! What the book cannot take does not happen, and a failure is as much in the book as a success.

mod hooks;
mod limited;
mod successes;
mod tries;

use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use moltbot_config::limits;
use moltbot_ledger::Ledger;
use moltbot_policy::authentication::{
    self, Credential, DeviceClaim, Identity, Locality, Presented, Signed, Tailnet,
};
use moltbot_policy::authorization::Grant;
use moltbot_policy::hook;
use moltbot_policy::penalty::Offence;
use moltbot_policy::strictness::Strictness;
use moltbot_policy::throttle::{Asking, Attempt, RateLimited, Source, Throttle};
use moltbot_policy::{Book, Decision, Entry, Permit as _, Refusal, Unrecorded, record_soon};
use moltbot_vault::StateDir;
use tokio::sync::Semaphore;

use crate::devices::Devices;
use crate::gate::Gate;
use crate::shared::lock;
use limited::Limited;
pub(crate) use limited::Told;
use successes::Successes;
use tries::KeptThrottle;

/// Judges sign-ins.
pub(crate) struct SignIn {
    current: Mutex<Current>,
    tells_lock: bool,
    /// Places for comparisons that take long.
    slow: Semaphore,
    tries: Arc<KeptThrottle>,
    gate: Arc<Gate>,
    limited: Mutex<Limited>,
    limited_hooks: Mutex<Limited>,
    successes: Arc<Mutex<Successes>>,
    ledger: Ledger,
}

/// The credential that counts, and how many there were before it.
#[derive(Clone)]
struct Current {
    credential: Arc<Credential>,
    number: u64,
}

/// Somebody who was let in.
pub(crate) struct SignedIn {
    /// What he may do.
    pub(crate) grant: Grant,
    /// The number of the credential that he was judged by.
    pub(crate) credential: u64,
}

/// Who wants in, and with what.
pub(crate) struct Claim<'a> {
    /// Where the peer is: what its tries are counted for, and what the book says.
    pub(crate) client: IpAddr,
    /// The shared credential.
    pub(crate) presented: Presented,
    /// The device's signature.
    pub(crate) device: Option<DeviceClaim<'a>>,
    /// Whether the peer is on this machine.
    pub(crate) locality: Locality,
    /// Who it is on the tailnet, as far as that is known.
    pub(crate) tailnet: Tailnet,
    /// Where a device's token is looked up that comes alone, as the bearer of an HTTP request.
    pub(crate) bearers: Option<&'a Devices>,
    /// `http` or `websocket`, for the book.
    pub(crate) way: &'static str,
}

/// Why a sign-in failed.
#[derive(Debug)]
pub(crate) enum SignInError {
    /// Too many failures from there.
    Limited(RateLimited),
    /// Not let in.
    Refused(Refusal),
    /// The book cannot be written.
    Unrecorded(Unrecorded),
}

impl SignIn {
    /// Takes up the failures of before from the state folder. `clock` is the wall clock, in milliseconds.
    pub(crate) fn new(
        credential: Credential,
        ledger: Ledger,
        state: StateDir,
        gate: Arc<Gate>,
        strictness: Strictness,
        clock: fn() -> u64,
        began: Instant,
    ) -> Self {
        let tries = Arc::new(KeptThrottle::open(state, strictness, clock, began));
        Self {
            current: Mutex::new(Current { credential: Arc::new(credential), number: 0 }),
            tells_lock: strictness.tells_lock,
            slow: Semaphore::new(limits::SLOW_COMPARISONS),
            tries,
            gate,
            limited: Mutex::default(),
            limited_hooks: Mutex::default(),
            successes: Arc::default(),
            ledger,
        }
    }

    /// How often the book was flushed to disk.
    pub(crate) fn flushes(&self) -> u64 {
        self.ledger.flushes()
    }

    /// Signs in. `rights` makes the grant of an identity.
    pub(crate) async fn judge(
        &self,
        claim: Claim<'_>,
        rights: impl FnOnce(Identity) -> Result<Grant, Refusal>,
    ) -> Result<SignedIn, SignInError> {
        let current = self.current();
        let tried = Tried {
            client: claim.client,
            way: claim.way,
            locality: claim.locality,
            device: claim.device.map(|device| device.proof.id.clone()),
            tailnet: claim.tailnet.told().map(str::to_owned),
        };
        // Before it is counted: those who wait for a place have not tried yet, and a guesser who may not try leaves at once.
        let _place = if current.credential.is_slow() { self.slow.acquire().await.ok() } else { None };
        let signed_in = |grant| SignedIn { grant, credential: current.number };
        match self.verify(&claim, &current.credential) {
            Ok(Tested { identity, changed }) => match identity.and_then(rights) {
                Ok(grant) => {
                    let grant = grant.by(tried.way).on_tailnet(tried.tailnet.as_deref());
                    self.record_success(grant, tried.device, changed).await.map(signed_in)
                }
                Err(refusal) => Err(self.record_failure(tried, refusal, changed).await),
            },
            Err(Unheard { code, limited }) => {
                let told = self.count_refusal(tried.client, code);
                self.enter_refusals(told.into_iter().collect()).await;
                Err(self.locked(limited))
            }
        }
    }

    /// Counts a refusal of somebody who was not heard; what the book is to be told now goes to
    /// [`SignIn::enter_refusals`].
    pub(crate) fn count_refusal(&self, client: IpAddr, code: &'static str) -> Option<Told> {
        lock(&self.limited).refused(client, code, self.tries.now())
    }

    /// What a source is answered that may not try. Where the lock is not told, that is what a wrong credential is answered.
    fn locked(&self, limited: RateLimited) -> SignInError {
        if self.tells_lock {
            return SignInError::Limited(limited);
        }
        SignInError::Refused(Refusal::new("rate_limited", authentication::UNAUTHORIZED))
    }

    fn current(&self) -> Current {
        lock(&self.current).clone()
    }

    /// The number of the credential that counts.
    pub(crate) fn credential(&self) -> u64 {
        self.current().number
    }

    /// Whether a credential is another one than that which counts, and what has to be presented for it.
    pub(crate) fn compare(&self, credential: &Credential) -> (bool, &'static str) {
        (!self.current().credential.is_same(credential), credential.method())
    }

    /// Takes up another credential. Records of requests that the old one let in stand for no others.
    pub(crate) async fn replace(&self, credential: Credential) {
        {
            let mut current = lock(&self.current);
            let number = current.number.saturating_add(1);
            *current = Current { credential: Arc::new(credential), number };
        }
        let told = lock(&self.successes).rest();
        self.enter_successes(told).await;
    }

    /// Makes a device a stranger again: its tries are counted with those of its source from now on.
    pub(crate) async fn forget(&self, device: &str) {
        lock(&self.tries.throttle).forget(device);
        self.keep().await;
    }

    /// Keeps what the throttle remembers.
    async fn keep(&self) {
        let tries = Arc::clone(&self.tries);
        if let Err(error) = tokio::task::spawn_blocking(move || tries.keep()).await {
            tracing::warn!(%error, "what is known of tries to sign in could not be kept");
        }
    }

    /// Enters what was counted of sources that may not try and have been silent for a while.
    pub(crate) async fn tell_limited(&self) {
        let told = lock(&self.limited).over(self.tries.now());
        self.enter_refusals(told).await;
        let told = lock(&self.limited_hooks).over(self.tries.now());
        self.enter_refusals_of(told, hook::CREDENTIAL).await;
        let told = lock(&self.successes).over(self.tries.now());
        self.enter_successes(told).await;
    }

    /// Enters what was counted and not told yet: nothing is forgotten at a stop.
    pub(crate) async fn tell_rest(&self) {
        let told = lock(&self.limited).rest(self.tries.now());
        self.enter_refusals(told).await;
        let told = lock(&self.limited_hooks).rest(self.tries.now());
        self.enter_refusals_of(told, hook::CREDENTIAL).await;
        let told = lock(&self.successes).rest();
        self.enter_successes(told).await;
    }

    /// Tries one after the other: many honest clients that arrive at once are not taken for a guesser, as
    /// they would be if their tries were open at the same time.
    fn verify(&self, claim: &Claim<'_>, credential: &Credential) -> Result<Tested, Unheard> {
        let mut throttle = lock(&self.tries.throttle);
        let admitted = self.admit(&mut throttle, claim, credential, self.tries.now())?;
        let Admitted { attempt, source, signed } = admitted;
        let (identity, mut throttle) = if credential.is_slow() {
            drop(throttle); // nobody else is to wait for that
            let identity = tokio::task::block_in_place(|| identify(&attempt, claim, credential, signed));
            (identity, lock(&self.tries.throttle))
        } else {
            (identify(&attempt, claim, credential, signed), throttle)
        };
        if let Some(source) = source {
            self.charge(source, claim.locality, identity.is_ok());
        }
        let changed = identity.is_err() || throttle.succeeded(&attempt);
        Ok(Tested { identity, changed })
    }

    fn refuse_punished(&self, source: Source) -> Result<(), Unheard> {
        match self.gate.penalty(source) {
            Some(retry_after) => Err(Unheard { code: "penalised", limited: RateLimited { retry_after } }),
            None => Ok(()),
        }
    }

    /// A wrong try of somebody elsewhere is charged to its source, and a right one forgives it.
    fn charge(&self, source: Source, locality: Locality, is_right: bool) {
        if is_right {
            self.gate.forgive(source);
        } else if locality == Locality::Remote {
            self.gate.punish(source, Offence::Failed);
        }
    }

    /// A known device is told from the strangers around it by its signature. That costs as much as reading its frame,
    /// and nobody else is worth it: who has no failures near is not held up by any.
    fn admit(
        &self,
        throttle: &mut Throttle,
        claim: &Claim<'_>,
        credential: &Credential,
        now: Duration,
    ) -> Result<Admitted, Unheard> {
        let Claim { client, locality, .. } = *claim;
        let asking = Asking { client, locality, credential: credential.method() };
        if !(throttle.is_calm() && self.gate.is_calm())
            && let Some(device) = claim.device.filter(|device| throttle.knows(&device.proof.id))
            && let Ok(signed) = authentication::prove(&device, locality)
            && let Some(outcome) = throttle.admit_device(&signed, asking, now)
        {
            let admitted = outcome.map(|attempt| Admitted { attempt, source: None, signed: Some(signed) });
            return admitted.map_err(used_up);
        }
        let source = Source::of_peer(client, locality);
        self.refuse_punished(source)?;
        let attempt = throttle.admit(asking, now).map_err(used_up)?;
        Ok(Admitted { attempt, source: Some(source), signed: None })
    }

    /// A device that signs in is known from then on. HTTP requests that one record of this minute stands for have none of
    /// their own: they are counted.
    async fn record_success(
        &self,
        grant: Grant,
        device: Option<String>,
        changed: bool,
    ) -> Result<Grant, SignInError> {
        let shared = matches!(grant.way(), "http" | "unix-http").then(|| grant.entry());
        if !changed
            && let Some(entry) = &shared
            && lock(&self.successes).counted(entry, self.tries.now())
        {
            return Ok(grant);
        }
        let recorded = record_soon(grant, &self.ledger).await.map_err(SignInError::Unrecorded)?;
        if let Some(entry) = shared {
            lock(&self.successes).recorded(entry, self.tries.now());
        }
        let new = device.is_some_and(|device| lock(&self.tries.throttle).learn(&device));
        if new || changed {
            self.keep().await;
        }
        Ok(recorded.into_permit())
    }

    async fn record_failure(&self, tried: Tried, refusal: Refusal, changed: bool) -> SignInError {
        let way = tried.way;
        tracing::warn!(code = refusal.code, cause = %refusal.cause, way, "a sign-in was refused");
        // What is wrong with a device is not wrong with the credential that came with it.
        let device = refusal.code.starts_with("device_");
        let method = if device { "device-signature" } else { self.current().credential.method() };
        self.enter_failure(tried, refusal, changed, method).await
    }

    /// Enters a failure, after it is kept that it was one.
    async fn enter_failure(
        &self,
        tried: Tried,
        refusal: Refusal,
        changed: bool,
        method: &'static str,
    ) -> SignInError {
        let entry = refused(tried.client, refusal.code, method)
            .with("locality", tried.locality.name())
            .with("way", tried.way);
        let entry = match tried.device {
            None => entry,
            Some(device) => entry.with("user", device),
        };
        let entry = match tried.tailnet {
            None => entry,
            Some(told) => entry.with("tailnet", told),
        };
        let (ledger, tries) = (self.ledger.clone(), Arc::clone(&self.tries));
        let write = move || {
            if changed {
                tries.keep(); // first: also a failure that cannot be recorded was one
            }
            ledger.enter(entry)
        };
        // Both on a thread that goes on when the peer does not wait for its answer: who leaves has failed all the same.
        match tokio::task::spawn_blocking(write).await {
            Ok(Ok(_)) => SignInError::Refused(refusal),
            Ok(Err(unrecorded)) => SignInError::Unrecorded(unrecorded),
            Err(error) => {
                SignInError::Unrecorded(Unrecorded { action: "auth.sign_in", cause: error.to_string() })
            }
        }
    }

    /// Such a source is refused whether or not that can be entered.
    pub(crate) async fn enter_refusals(&self, told: Vec<Told>) {
        self.enter_refusals_of(told, self.current().credential.method()).await;
    }

    /// The same, of tries by a method of their own.
    async fn enter_refusals_of(&self, told: Vec<Told>, method: &'static str) {
        if told.is_empty() {
            return;
        }
        let entry = |told: Told| match told.client {
            Some(client) => refused(client, told.code, method).with("count", told.count.to_string()),
            None => Entry::new("source:many", "auth.sign_in", "gateway", Decision::Refused)
                .with("client", "many")
                .with("code", told.code)
                .with("count", told.count.to_string())
                .with("method", method),
        };
        let entries: Vec<Entry> = told.into_iter().map(entry).collect();
        if let Err(error) = self.ledger.enter_soon(entries).await {
            tracing::error!(%error, "refusals of sources that may not try could not be recorded");
        }
    }

    /// The requests were let in for the record that began their minute.
    async fn enter_successes(&self, told: Vec<Entry>) {
        if told.is_empty() {
            return;
        }
        if let Err(error) = self.ledger.enter_soon(told).await {
            tracing::error!(%error, "how many requests signed in could not be recorded");
        }
    }
}

/// Compares what was presented.
fn identify(
    attempt: &Attempt,
    claim: &Claim<'_>,
    credential: &Credential,
    signed: Option<Signed>,
) -> Result<Identity, Refusal> {
    let Claim { client: _, presented, device, locality, tailnet, bearers, way: _ } = claim;
    if let Tailnet::Known(user) = tailnet {
        return authentication::verify_tailnet(attempt, user, *device, *locality);
    }
    // A claim that does not hold leaves the shared secret, and is told beside what comes of that.
    match bearers {
        _ if signed.is_some() => {
            authentication::verify_proven(attempt, credential, presented, signed, *locality)
        }
        None => authentication::verify(attempt, credential, presented, *device, *locality),
        Some(devices) => {
            let holder = |token: &_| devices.holder(token);
            authentication::verify_request(attempt, credential, presented, holder, *locality)
        }
    }
}

/// Who may try.
struct Admitted {
    attempt: Attempt,
    /// The device that has proved itself to be let try.
    signed: Option<Signed>,
    /// Whose tries it was counted with; nothing when it is a known device's own.
    source: Option<Source>,
}

/// Who may not, and why, for the book.
struct Unheard {
    code: &'static str,
    limited: RateLimited,
}

const fn used_up(limited: RateLimited) -> Unheard {
    Unheard { code: "rate_limited", limited }
}

/// What came of a try.
struct Tested {
    identity: Result<Identity, Refusal>,
    /// Whether the throttle remembers something else than before it.
    changed: bool,
}

/// What the book is told of a try that failed.
struct Tried {
    client: IpAddr,
    way: &'static str,
    locality: Locality,
    /// The device that it claimed to be.
    device: Option<String>,
    /// What came of a claim to be somebody on the tailnet.
    tailnet: Option<String>,
}

fn refused(client: IpAddr, code: &'static str, method: &'static str) -> Entry {
    Entry::new(format!("source:{client}"), "auth.sign_in", "gateway", Decision::Refused)
        .with("client", client.to_string())
        .with("code", code)
        .with("method", method)
}
