//! Facts of the machine: the state folder, the port, the sandbox, the disk, the clock.

use std::os::fd::BorrowedFd;
use std::path::Path;

use rustix::fs::{FileType, Mode, fstatvfs, lstat};
use rustix::io::Errno;
use rustix::process::geteuid;

use crate::check::Check;

/// Below this, not even the book and the database can grow: 16 MiB.
const DISK_FAIL: u64 = 16 * 1024 * 1024;
/// Below this, a week of use may fill the disk: 256 MiB.
const DISK_WARN: u64 = 256 * 1024 * 1024;
/// 2026-01-01, before this program was written, in milliseconds since the epoch.
const CLOCK_MIN_MS: u64 = 1_767_225_600_000;
/// 2100-01-01, in milliseconds since the epoch.
const CLOCK_MAX_MS: u64 = 4_102_444_800_000;

/// The state folder as it was found: owner-only and ours, or not there yet.
pub fn state_folder(path: &Path) -> Check {
    const ID: &str = "state.folder";
    let shown = path.display();
    let stat = match lstat(path) {
        Ok(stat) => stat,
        Err(Errno::NOENT) => {
            return Check::ok(ID, format!("{shown} did not exist yet; it is made on first use"));
        }
        Err(error) => {
            let fix = "make it readable to you, or name another folder in MOLTBOT_STATE_DIR";
            return Check::fail(ID, format!("{shown} cannot be looked at: {error}"), fix);
        }
    };
    let mode = Mode::from_raw_mode(stat.st_mode);
    if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
        let fix = "move it away, or name another folder in MOLTBOT_STATE_DIR";
        return Check::fail(ID, format!("{shown} is not a folder"), fix);
    }
    if stat.st_uid != geteuid().as_raw() {
        let fix = format!("give it to this user with `chown`, or run as user {}", stat.st_uid);
        return Check::fail(ID, format!("{shown} belongs to user {}", stat.st_uid), fix);
    }
    if mode.intersects(Mode::RWXG | Mode::RWXO) {
        let what = format!("{shown} was open to other users (mode {:o})", mode.bits());
        return Check::warn(
            ID,
            what,
            "nothing to do: moltbot closes it when it opens it; change the token if others use this machine",
        );
    }
    Check::ok(ID, format!("{shown} is yours alone"))
}

/// The state folder or the first config cannot be made or read.
pub fn state_unusable(cause: &str) -> Check {
    let fix = "correct its owner or mode, or name another folder in MOLTBOT_STATE_DIR";
    Check::fail("state.usable", cause, fix)
}

/// Who listens on the gateway's port.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum PortUse {
    /// Nobody.
    Free,
    /// Another program.
    Other,
    /// Our gateway.
    Ours,
}

/// Whether the gateway can have its port.
pub fn port(number: u16, found: PortUse) -> Check {
    const ID: &str = "gateway.port";
    match found {
        PortUse::Free => Check::ok(ID, format!("port {number} is free")),
        PortUse::Ours => Check::ok(ID, format!("the gateway listens on port {number}")),
        PortUse::Other => {
            let what = format!("another program listens on port {number}");
            Check::fail(ID, what, "stop it, or choose another port: `moltbot config set gateway.port 18790`")
        }
    }
}

/// How a trial of the sandbox ended.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum SandboxTrial {
    /// It could not be tried.
    Untried(String),
    /// It cannot start.
    Unavailable {
        /// Why.
        reason: String,
        /// What to do.
        fix: String,
    },
    /// A command ran in it, confined as it should be.
    Works(String),
}

/// Whether commands can be run. Without a sandbox the agent still answers, but does no work: a failure.
pub fn sandbox(trial: SandboxTrial) -> Check {
    const ID: &str = "sandbox";
    match trial {
        SandboxTrial::Works(what) => Check::ok(ID, what),
        SandboxTrial::Unavailable { reason, fix } => {
            Check::fail(ID, format!("commands are refused, because the sandbox cannot start: {reason}"), fix)
        }
        SandboxTrial::Untried(why) => {
            Check::warn(ID, format!("the sandbox was not tried: {why}"), "see `moltbot status --all`")
        }
    }
}

/// Whether the state folder's disk has space.
pub fn disk_space(folder: BorrowedFd<'_>) -> Check {
    const ID: &str = "disk.space";
    match fstatvfs(folder) {
        Ok(stat) => judge_space(ID, stat.f_bavail.saturating_mul(stat.f_frsize)),
        Err(error) => Check::warn(ID, format!("free space is unknown: {error}"), "look with `df`"),
    }
}

fn judge_space(id: &'static str, free: u64) -> Check {
    let what = format!("{} MiB are free", free / (1024 * 1024));
    match free {
        ..DISK_FAIL => Check::fail(id, what, "free disk space: nothing can be recorded, so nothing is done"),
        DISK_FAIL..DISK_WARN => Check::warn(id, what, "free disk space soon"),
        DISK_WARN.. => Check::ok(id, what),
    }
}

/// Whether the owner has stopped everything, and who that was.
pub fn stopped(by: Option<&str>) -> Check {
    const ID: &str = "stopped";
    match by {
        None => Check::ok(ID, "turns may begin"),
        Some(by) => {
            let by: String = by.chars().filter(|c| !c.is_control()).take(80).collect();
            Check::warn(
                ID,
                format!("everything is stopped by {by}: no turn begins"),
                "run `moltbot resume` to go on",
            )
        }
    }
}

/// Whether the clock can be right. TLS and device signatures need it.
pub fn clock(now_ms: u64) -> Check {
    const ID: &str = "clock";
    if (CLOCK_MIN_MS..CLOCK_MAX_MS).contains(&now_ms) {
        return Check::ok(ID, "the clock is plausible");
    }
    let what = format!("the clock is wrong: {} s since 1970", now_ms / 1000);
    Check::fail(ID, what, "set the time, for example with `timedatectl set-ntp true`")
}

#[cfg(test)]
mod tests {
    use rustix::fs::chmod;

    use super::*;
    use crate::check::Level;

    #[test]
    fn a_state_folder_is_ours_alone() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("state");
        assert_eq!(state_folder(&path).level, Level::Ok, "missing");
        tempfile::Builder::new().prefix("x").tempfile_in(home.path()).unwrap().persist(&path).unwrap();
        assert_eq!(state_folder(&path).level, Level::Fail, "a file");
        chmod(home.path(), Mode::from_bits_truncate(0o755)).unwrap();
        assert_eq!(state_folder(home.path()).level, Level::Warn, "open to others");
        chmod(home.path(), Mode::RWXU).unwrap();
        assert_eq!(state_folder(home.path()).level, Level::Ok, "closed");
    }

    #[test]
    fn space_and_time_have_limits() {
        for (free, level) in
            [(0, Level::Fail), (DISK_FAIL, Level::Warn), (DISK_WARN, Level::Ok), (u64::MAX, Level::Ok)]
        {
            assert_eq!(judge_space("disk.space", free).level, level, "{free} bytes");
        }
        for (now, level) in [(0, Level::Fail), (CLOCK_MIN_MS, Level::Ok), (CLOCK_MAX_MS, Level::Fail)] {
            assert_eq!(clock(now).level, level, "{now} ms");
        }
    }

    #[test]
    fn a_missing_sandbox_and_a_taken_port_fail() {
        let trial = SandboxTrial::Unavailable { reason: "no namespaces".into(), fix: "allow them".into() };
        let check = sandbox(trial);
        assert_eq!((check.level, check.fix.as_deref()), (Level::Fail, Some("allow them")));
        assert_eq!(port(1, PortUse::Other).level, Level::Fail);
        assert_eq!(port(1, PortUse::Ours).level, Level::Ok);
    }
}
