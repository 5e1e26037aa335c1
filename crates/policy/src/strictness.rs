//! What `security.profile` means, in one table: how often a sign-in may fail, how long a client stays signed in, and how
//! long a pairing may wait for its approval.
//!
//! Pure numbers; the walls of the sandbox are another matter ([`crate::profile`]).

use std::time::Duration;

use moltbot_config::settings::{ClientsConfig, SecurityProfile};
use moltbot_config::{Config, limits};

/// The limits that differ between profiles.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Strictness {
    /// Failed sign-ins of one source within [`Self::sign_in_window`] before it is refused.
    pub failed_sign_ins: usize,
    /// The time of [`Self::failed_sign_ins`], and how long a refusal lasts.
    pub sign_in_window: Duration,
    /// Whether a source that is refused for its failures is told so. In the strict profiles it is answered as one
    /// whose credential is wrong, to the byte: that there is a lock is for the owner to know.
    pub tells_lock: bool,
    /// How long a pairing waits for the owner before its code is none.
    pub pairing: Duration,
    /// What happens with a sender or source that is new when there are too many to remember.
    pub overflow: Overflow,
    /// How long a client stays signed in.
    pub sessions: SessionLimits,
}

/// What happens with somebody new when there are too many to remember.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Overflow {
    /// The one who was seen longest ago is forgotten.
    ForgetOldest,
    /// Who is new is refused.
    RefuseNew,
}

/// How long a client stays signed in. What ends is the connection: its device stays paired, and may sign in again.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SessionLimits {
    /// The longest time without a request.
    pub idle: Duration,
    /// The same for a client with `operator.admin`.
    pub idle_admin: Duration,
    /// The longest time since the sign-in.
    pub longest: Duration,
}

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

impl Strictness {
    /// The limits of a profile.
    pub const fn of(profile: SecurityProfile) -> Self {
        match profile {
            // A terminal that is left open over night signs in again by itself. ASVS 6.5.5: codes live ten minutes.
            SecurityProfile::Asvs => Self {
                failed_sign_ins: 3,
                sign_in_window: Duration::from_secs(15 * MINUTE),
                tells_lock: false,
                pairing: Duration::from_secs(10 * MINUTE),
                overflow: Overflow::RefuseNew,
                sessions: sessions(30 * MINUTE, 30 * MINUTE, 12 * HOUR),
            },
            // V-222432: three failures within 15 minutes; APSC-DV-000080: 15 minutes, ten for who administers.
            SecurityProfile::Dod => Self {
                failed_sign_ins: 3,
                sign_in_window: Duration::from_secs(15 * MINUTE),
                tells_lock: false,
                pairing: Duration::from_secs(10 * MINUTE),
                overflow: Overflow::RefuseNew,
                sessions: sessions(15 * MINUTE, 10 * MINUTE, 8 * HOUR),
            },
            // A phone that sleeps for a weekend, and a month at most with one sign-in.
            SecurityProfile::Personal => Self {
                failed_sign_ins: limits::FAILED_SIGN_INS,
                sign_in_window: limits::SIGN_IN_WINDOW,
                tells_lock: true,
                pairing: Duration::from_secs(HOUR),
                overflow: Overflow::ForgetOldest,
                sessions: sessions(7 * DAY, 7 * DAY, 30 * DAY),
            },
        }
    }

    /// The limits of a config: those of its profile, and shorter sessions where it says so.
    pub fn of_config(config: &Config) -> Self {
        let strictness = Self::of(config.security.profile);
        Self { sessions: strictness.sessions.within(config.gateway.clients), ..strictness }
    }
}

const fn sessions(idle: u64, idle_admin: u64, longest: u64) -> SessionLimits {
    SessionLimits {
        idle: Duration::from_secs(idle),
        idle_admin: Duration::from_secs(idle_admin),
        longest: Duration::from_secs(longest),
    }
}

impl SessionLimits {
    /// A config may shorten what the profile says, and never make it longer.
    fn within(self, config: ClientsConfig) -> Self {
        let shorter = |own: Duration, asked: Option<u32>| {
            asked.map_or(own, |seconds| own.min(Duration::from_secs(u64::from(seconds))))
        };
        Self {
            idle: shorter(self.idle, config.idle_seconds),
            idle_admin: shorter(self.idle_admin, config.idle_seconds),
            longest: shorter(self.longest, config.longest_seconds),
        }
    }

    /// Why a session is over, when it is: `age` is the time since its sign-in, `idle` that since its last request.
    pub fn over(&self, is_admin: bool, age: Duration, idle: Duration) -> Option<&'static str> {
        let most = if is_admin { self.idle_admin } else { self.idle };
        if age >= self.longest {
            Some("its time is over")
        } else if idle >= most {
            Some("it was idle for too long")
        } else {
            None
        }
    }

    /// How often to look: a limit of seconds is kept to within a second, and one of days to within half a minute.
    pub fn look(&self) -> Duration {
        let least = self.idle.min(self.idle_admin).min(self.longest);
        (least / 8).clamp(Duration::from_millis(200), Duration::from_secs(30))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn the_strict_profiles_are_stricter_in_everything() {
        let personal = Strictness::of(SecurityProfile::Personal);
        for profile in [SecurityProfile::Asvs, SecurityProfile::Dod] {
            let strict = Strictness::of(profile);
            assert_eq!((strict.failed_sign_ins, strict.sign_in_window), (3, seconds(900)), "{profile:?}");
            assert_eq!((strict.pairing, strict.tells_lock), (seconds(600), false), "{profile:?}");
            assert_eq!(strict.overflow, Overflow::RefuseNew, "{profile:?}");
            assert!(
                strict.sessions.idle < personal.sessions.idle && strict.sessions.longest < seconds(86_400)
            );
            assert!(strict.failed_sign_ins < personal.failed_sign_ins && strict.pairing < personal.pairing);
        }
        assert_eq!((personal.failed_sign_ins, personal.sign_in_window), (5, seconds(300)));
    }

    #[test]
    fn a_config_shortens_sessions_and_never_makes_them_longer() {
        let mut config = Config::default();
        config.security.profile = SecurityProfile::Dod;
        config.gateway.clients = ClientsConfig { idle_seconds: Some(700), longest_seconds: Some(31_536_000) };
        let sessions = Strictness::of_config(&config).sessions;
        let expected =
            SessionLimits { idle: seconds(700), idle_admin: seconds(600), longest: seconds(28_800) };
        assert_eq!(sessions, expected);
        assert_eq!(sessions.over(false, seconds(650), seconds(650)), None);
        assert_eq!(sessions.over(true, seconds(650), seconds(650)), Some("it was idle for too long"));
        assert_eq!(sessions.over(true, seconds(28_800), seconds(1)), Some("its time is over"));
    }

    #[test]
    fn limits_of_seconds_are_looked_at_more_often() {
        assert_eq!(sessions(1, 1, 5).look(), Duration::from_millis(200));
        assert_eq!(Strictness::of(SecurityProfile::Personal).sessions.look(), seconds(30));
    }
}
