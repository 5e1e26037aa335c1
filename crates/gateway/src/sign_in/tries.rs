//! The throttle, kept over restarts: a lock survives `kill -9`.
//!
//! After every failure, before it is answered, what the throttle remembers replaces an owner-only file; signing in
//! without a failure before it writes nothing. Reading the failures back from the book instead would need no file, but
//! a busy gateway would have to read five minutes of its records before it may listen.
//!
//! A file that cannot be read is moved aside, and refuses strangers for five minutes: what they have tried is not
//! known. This machine and the devices that are known are not refused for it, and the owner's command line is always
//! known: only the owner can read its key.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use moltbot_config::limits;
use moltbot_policy::authentication::Locality;
use moltbot_policy::hook;
use moltbot_policy::strictness::Strictness;
use moltbot_policy::throttle::{Source, Subject, Throttle, Try};
use moltbot_vault::{DeviceKey, StateDir};
use serde::{Deserialize, Serialize};

use crate::shared::lock;

/// Where it is in the state folder.
const NAME: &str = "sign-in-tries.json";
/// Where one that cannot be read is moved.
const UNREADABLE: &str = "sign-in-tries.json.unreadable";
/// The version of the file.
const VERSION: u32 = 1;
/// What the throttle's clock shows when a gateway starts: later than every try of before that still counts.
const START: Duration = Duration::from_secs(24 * 60 * 60);

/// A throttle and where it is kept.
pub(super) struct KeptThrottle {
    pub(super) throttle: Mutex<Throttle>,
    state: StateDir,
    clock: fn() -> u64,
    began: Instant,
    /// Held from the look at the throttle until it is on disk, so that an older look never replaces a newer one.
    writing: Mutex<()>,
}

/// The file. Times are ages at the time of writing, in milliseconds: the throttle's clock starts anew with a gateway.
#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct File {
    version: u32,
    /// The wall clock, in milliseconds since the epoch.
    written_at_ms: u64,
    /// For how long strangers are still refused.
    closed_ms: u64,
    tries: Vec<Row>,
    devices: Vec<String>,
}

/// One try.
#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Row {
    who: Who,
    credential: Kind,
    age_ms: u64,
    forgiven: bool,
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
enum Who {
    Device(String),
    Relayed(std::net::IpAddr),
    Source(std::net::IpAddr),
}

#[derive(Clone, Copy, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
enum Kind {
    Hook,
    Password,
    Token,
}

impl KeptThrottle {
    /// The throttle as the last gateway of this state folder left it.
    pub(super) fn open(state: StateDir, strictness: Strictness, clock: fn() -> u64, began: Instant) -> Self {
        let mut throttle = Throttle::of(strictness);
        match read(&state) {
            Ok(Some(file)) => restore(&mut throttle, file, clock()),
            Ok(None) => {}
            Err(what) => {
                let minutes = limits::SIGN_IN_WINDOW.as_secs() / 60;
                tracing::error!(
                    file = %state.path().join(NAME).display(), what,
                    "failed sign-ins of before cannot be read; strangers are refused for {minutes} minutes"
                );
                throttle.close_until(START.saturating_add(limits::SIGN_IN_WINDOW));
                if let Err(error) = state.rename(NAME, UNREADABLE) {
                    tracing::error!(%error, "the file of failed sign-ins cannot be moved aside");
                }
            }
        }
        match DeviceKey::load_or_create(&state, clock()) {
            Ok(key) => {
                throttle.learn(key.id());
            }
            Err(error) => tracing::warn!(%error, "strangers can keep the owner's command line waiting"),
        }
        let kept = Self { throttle: Mutex::new(throttle), state, clock, began, writing: Mutex::default() };
        if lock(&kept.throttle).closed_until().is_some() {
            kept.keep();
        }
        kept
    }

    /// The throttle's time: monotonic, so that a clock that is set neither ends nor extends a lock.
    pub(super) fn now(&self) -> Duration {
        START.saturating_add(self.began.elapsed())
    }

    /// Writes what the throttle remembers. Blocks until it is on disk. What cannot be written still holds until the
    /// gateway stops: the failure itself is in the book.
    pub(super) fn keep(&self) {
        let _writing = lock(&self.writing);
        let file = File::of(&lock(&self.throttle), self.now(), (self.clock)());
        let written = serde_json::to_vec(&file).map_err(|error| error.to_string());
        let written =
            written.and_then(|bytes| self.state.write(NAME, &bytes).map_err(|error| error.to_string()));
        if let Err(error) = written {
            tracing::error!(error, "failed sign-ins cannot be kept: they are forgotten at a restart");
        }
    }
}

impl File {
    fn of(throttle: &Throttle, now: Duration, wall: u64) -> Self {
        let row = |one: &Try| Row {
            who: match &one.subject {
                Subject::Device(id) => Who::Device(id.clone()),
                Subject::Source(source) if source.is_relayed() => Who::Relayed(source.address()),
                Subject::Source(source) => Who::Source(source.address()),
            },
            credential: match one.credential {
                hook::CREDENTIAL => Kind::Hook,
                "password" => Kind::Password,
                _ => Kind::Token,
            },
            age_ms: milliseconds(now.saturating_sub(one.at)),
            forgiven: one.forgiven,
        };
        let closed = throttle.closed_until().map(|until| until.saturating_sub(now)).unwrap_or_default();
        Self {
            version: VERSION,
            written_at_ms: wall,
            closed_ms: milliseconds(closed),
            tries: throttle.tries().map(row).collect(),
            devices: throttle.known().map(str::to_owned).collect(),
        }
    }
}

fn read(state: &StateDir) -> Result<Option<File>, String> {
    let bytes = state.read(NAME, limits::THROTTLE_BYTES).map_err(|error| error.to_string())?;
    let Some(bytes) = bytes else { return Ok(None) };
    let file: File = serde_json::from_slice(&bytes).map_err(|error| error.to_string())?;
    if file.version != VERSION {
        return Err(format!("its version is {}, not {VERSION}", file.version));
    }
    Ok(Some(file))
}

/// Takes up what was kept, older by the time since. A clock that went back meanwhile makes nothing older: a lock is
/// rather too long than too short, and at most as long as a new one.
fn restore(throttle: &mut Throttle, file: File, wall: u64) {
    let since = wall.saturating_sub(file.written_at_ms);
    let at = |age: u64| START.saturating_sub(Duration::from_millis(age.saturating_add(since)));
    let one = |row: Row| Try {
        subject: match row.who {
            Who::Device(id) => Subject::Device(id),
            Who::Relayed(address) => Subject::Source(Source::of_peer(address, Locality::Remote)),
            Who::Source(address) => Subject::Source(Source::of(address)),
        },
        credential: match row.credential {
            Kind::Hook => hook::CREDENTIAL,
            Kind::Password => "password",
            Kind::Token => "token",
        },
        at: at(row.age_ms),
        forgiven: row.forgiven,
    };
    let mut tries: Vec<Try> = file.tries.into_iter().map(one).collect();
    tries.sort_by_key(|one| one.at);
    throttle.restore(tries, file.devices);
    let closed = Duration::from_millis(file.closed_ms.saturating_sub(since)).min(limits::SIGN_IN_WINDOW);
    if !closed.is_zero() {
        throttle.close_until(START.saturating_add(closed));
    }
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use moltbot_config::settings::SecurityProfile;
    use moltbot_policy::throttle::Asking;
    use moltbot_testkit::home::Home;

    use super::*;

    /// The wall clock, in milliseconds, which each test in its own process sets.
    static WALL: AtomicU64 = AtomicU64::new(0);

    fn kept(home: &Home, wall: u64) -> KeptThrottle {
        WALL.store(wall, Ordering::Relaxed);
        let strictness = Strictness::of(SecurityProfile::default());
        KeptThrottle::open(home.state(), strictness, || WALL.load(Ordering::Relaxed), Instant::now())
    }

    fn wait(kept: &KeptThrottle) -> Option<Duration> {
        let client = "203.0.113.9".parse().unwrap();
        let asking = Asking { client, locality: Locality::Remote, credential: "token" };
        let outcome = lock(&kept.throttle).admit(asking, kept.now());
        kept.keep();
        outcome.err().map(|limited| limited.retry_after)
    }

    #[test]
    fn d_38_a_clock_that_is_set_neither_ends_nor_extends_a_lock() {
        let home = Home::empty().unwrap();
        let hour = 60 * 60 * 1000;
        let running = kept(&home, 10 * hour);
        let refused = (0..6).filter_map(|_| wait(&running)).count();
        assert_eq!(refused, 1, "five are compared");
        WALL.store(20 * hour, Ordering::Relaxed);
        assert!(wait(&running).is_some(), "while it runs the clock says nothing");
        let back = wait(&kept(&home, hour)).unwrap();
        assert!(back > Duration::from_secs(290) && back <= limits::SIGN_IN_WINDOW, "{back:?}");
        let soon = wait(&kept(&home, hour + 200_000)).unwrap();
        assert!((Duration::from_secs(60)..=Duration::from_secs(100)).contains(&soon), "{soon:?}");
        assert_eq!(wait(&kept(&home, hour + 301_000)), None, "it ends while no gateway runs, too");
    }
}
