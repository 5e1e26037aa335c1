//! How a command ended, or why it did not start.

use std::fmt;
use std::time::Duration;

use moltbot_policy::Unrecorded;
use moltbot_policy::incident::Attempt;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// What came of a command that ran.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Outcome {
    /// How it ended.
    pub exit: Exit,
    /// What it wrote to standard output and standard error, as it came, up to the profile's limit. Raw bytes:
    /// they may hold terminal controls.
    pub output: Vec<u8>,
    /// Whether it wrote more than that.
    pub truncated: bool,
    /// Bytes that it wrote beyond the limit.
    pub dropped_bytes: u64,
    /// System calls that lead out of the walls. None was carried out; each is named once and is in the book.
    pub attempts: Vec<Attempt>,
    /// From the call to the end of its last process.
    pub duration: Duration,
}

/// How a command ended.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Exit {
    /// The caller gave up; every process of the command was killed.
    Aborted,
    /// The shell ended with this code.
    Code(i32),
    /// The disk of its workspace filled up further than the profile allows while it ran; all were killed.
    DiskFull,
    /// It made a system call that leads out of the walls and that no ordinary program makes; all were killed.
    Escape,
    /// Its processes together held more memory than the profile allows; all were killed.
    OutOfMemory,
    /// The shell was killed by this signal.
    Signal(i32),
    /// The profile's time was over; every process of the command was killed.
    TimedOut,
}

impl Exit {
    /// What the shell ended with, when it ended by itself.
    pub(crate) const fn code(self) -> Option<i32> {
        match self {
            Self::Code(code) => Some(code),
            Self::Aborted
            | Self::DiskFull
            | Self::Escape
            | Self::OutOfMemory
            | Self::Signal(_)
            | Self::TimedOut => None,
        }
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Aborted => formatter.write_str("aborted"),
            Self::Code(code) => write!(formatter, "exit {code}"),
            Self::DiskFull => formatter.write_str("disk filled up"),
            Self::Escape => formatter.write_str("killed: it tried to leave its walls"),
            Self::OutOfMemory => formatter.write_str("out of memory"),
            Self::Signal(signal) => write!(formatter, "signal {signal}"),
            Self::TimedOut => formatter.write_str("timed out"),
        }
    }
}

/// A step in building the walls, in their order.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Step {
    /// Starting the helper and handing it the command.
    Start,
    /// Entering the control group that counts what the command has.
    Group,
    /// Giving the workspace of a root gateway to the sandbox's user.
    Ownership,
    /// Becoming the sandbox's user.
    Identity,
    /// Leaving the host's namespaces.
    Namespaces,
    /// The program `bwrap`, where it builds the walls.
    Bubblewrap,
    /// Mapping the one user.
    UserMap,
    /// The first process of the namespace.
    Init,
    /// The private root.
    Root,
    /// The namespace's own network, and the socket of its proxy.
    Network,
    /// A fresh `/proc`.
    Proc,
    /// The workspace in the private root.
    Workspace,
    /// Resource limits.
    Limits,
    /// The folder that the command starts in.
    Directory,
    /// Giving up capabilities for good.
    Capabilities,
    /// Landlock.
    Landlock,
    /// The filter of system calls.
    Seccomp,
    /// Trying the walls before anything runs behind them.
    SelfCheck,
    /// Starting the shell.
    Exec,
}

impl fmt::Display for Step {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Start => "start",
            Self::Group => "control group",
            Self::Ownership => "ownership",
            Self::Identity => "identity",
            Self::Namespaces => "namespaces",
            Self::Bubblewrap => "bwrap",
            Self::UserMap => "user map",
            Self::Init => "init",
            Self::Root => "root",
            Self::Network => "network",
            Self::Proc => "proc",
            Self::Workspace => "workspace",
            Self::Limits => "limits",
            Self::Directory => "directory",
            Self::Capabilities => "capabilities",
            Self::Landlock => "landlock",
            Self::Seccomp => "seccomp",
            Self::SelfCheck => "self-check",
            Self::Exec => "exec",
        })
    }
}

/// Why a command has no outcome.
#[derive(Debug, Error)]
#[expect(missing_docs, reason = "each message names its fields")]
#[non_exhaustive]
pub enum RunError {
    /// The walls could not be built.
    #[error("the sandbox could not be built ({step}: {cause}), so the command did not run; {fix}")]
    Setup { step: Step, cause: String, fix: &'static str },
    /// There is no container to run it in.
    #[error("{what}: {cause}, so the command did not run; {fix}")]
    Container { what: &'static str, cause: String, fix: String },
    /// The helper ended without a word on how the command ended; whatever ran is dead.
    #[error("the sandbox ended without saying how the command ended; everything in it was killed, try again")]
    Lost,
    /// Killed processes are still there.
    #[error("processes of the command were killed but have not ended: a disk may hang; see `dmesg`")]
    Survived,
    /// The command ended, and that could not be recorded.
    #[error("the command ended ({exit}), but that could not be recorded")]
    Unrecorded { exit: String, source: Unrecorded },
}

impl RunError {
    /// A step that failed, with what the owner can do about it.
    pub(crate) fn setup(step: Step, cause: String) -> Self {
        let fix = fix_for(step, &cause);
        Self::Setup { step, cause, fix }
    }
}

/// What the owner can do when a step fails.
fn fix_for(step: Step, cause: &str) -> &'static str {
    match step {
        Step::Bubblewrap => {
            "install bubblewrap from 0.8 on as /usr/bin/bwrap (on Debian and Ubuntu the package `bubblewrap`), without a \
             set-user-id bit, or set `sandbox.backend` to \"embedded\""
        }
        Step::Directory => "name a folder that exists in the workspace",
        Step::Exec => "install bash, or another shell at /bin/sh",
        Step::Identity if cause.contains("second user") => {
            "run the gateway as an ordinary user, or give root's user namespace more than one user"
        }
        Step::Identity | Step::Start => "restart the gateway, and see its log",
        Step::Group => {
            "the control groups that the gateway found at its start are gone, or others than it manage them: restart the \
             gateway, which looks again"
        }
        Step::Landlock if cause.contains("version 6") => {
            "without namespaces the sandbox needs Linux 6.12 or later, with `landlock` in its `lsm=` parameter; boot one, \
             or set `sandbox.backend` to \"embedded\" where there are user namespaces"
        }
        Step::Landlock => "boot a kernel from 5.13 on with `landlock` in its `lsm=` parameter",
        Step::Namespaces if cause.contains("No space") => {
            "user namespaces are used up or switched off: set `sysctl user.max_user_namespaces=15000`"
        }
        Step::Namespaces => {
            "allow user namespaces: `sysctl kernel.unprivileged_userns_clone=1` on Debian; inside Docker start the \
             container with `--security-opt seccomp=unconfined --security-opt systempaths=unconfined`; the kernel \
             needs user, mount, pid, net, ipc, uts and cgroup namespaces"
        }
        Step::Proc => {
            "a container or a service unit hides parts of /proc: start the container with \
             `--security-opt systempaths=unconfined`, or leave ProtectKernelTunables out of the unit"
        }
        Step::Network if cause.contains("of its own") => {
            "set `sandbox.network` to \"none\", or `sandbox.backend` to \"embedded\""
        }
        Step::UserMap | Step::Init | Step::Network | Step::Root => {
            "on Ubuntu 24.04 and later give moltbot an AppArmor profile with `userns,`, or set \
             `sysctl kernel.apparmor_restrict_unprivileged_userns=0`; inside Docker start the container with \
             `--security-opt seccomp=unconfined --security-opt systempaths=unconfined`"
        }
        Step::Workspace if cause.contains("cannot lend") => {
            "give the workspace to another user, whom commands are then run as, or run the gateway as an ordinary user"
        }
        Step::Ownership | Step::Workspace => "let the workspace be a folder that the gateway's user owns",
        Step::Seccomp if cause.contains("asks already") => {
            "something around the gateway watches its system calls, so that an end of commands cannot be promised without \
             namespaces; start the container without it, or set `sandbox.backend` to \"docker\""
        }
        Step::Capabilities | Step::Limits | Step::Seccomp | Step::SelfCheck => {
            "the kernel does not hold what it promised; see its log, and report this with `uname -a`"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_step_says_what_to_do() {
        let error = RunError::setup(Step::Namespaces, "No space left on device (os error 28)".into());
        assert_eq!(
            error.to_string(),
            "the sandbox could not be built (namespaces: No space left on device (os error 28)), so the command did \
             not run; user namespaces are used up or switched off: set `sysctl user.max_user_namespaces=15000`"
        );
    }
}
