//! The walls around a loaded model: an allow-list of system calls, for all threads, for good.
//!
//! What is left computes, waits, takes and gives bytes on descriptors that it holds, and takes memory. It opens no file,
//! makes no socket, starts no process or thread, and has no way to any of them; what is refused answers `EPERM`.

use std::collections::BTreeMap;

use rustix::process::{DumpableBehavior, Resource, Rlimit};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch,
};

use crate::failure::{Code, Failure};

/// Builds the walls.
pub(crate) fn lock_down() -> Result<(), Failure> {
    let failed =
        |cause: &dyn std::fmt::Display| Code::Lockdown.explained("the walls cannot be built", &cause);
    // No dump of what people said, and no tracing by a process of the same user.
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(|cause| failed(&cause))?;
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    rustix::process::setrlimit(Resource::Core, none).map_err(|cause| failed(&cause))?;
    let program = program().map_err(|cause| failed(&cause))?;
    seccompiler::apply_filter_all_threads(&program).map_err(|cause| failed(&cause))
}

fn program() -> Result<BpfProgram, seccompiler::BackendError> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = ALLOWED.iter().map(|call| (*call, Vec::new())).collect();
    rules.extend(WAITING.iter().map(|call| (*call, Vec::new())));
    // Memory is data, never a program.
    rules.insert(libc::SYS_mmap, vec![without(2, libc::PROT_EXEC)?]);
    rules.insert(libc::SYS_mprotect, vec![without(2, libc::PROT_EXEC)?]);
    // Only whether a descriptor blocks.
    rules.insert(libc::SYS_ioctl, vec![SeccompRule::new(vec![equal(1, u64::from(libc::FIONBIO))?])?]);
    let flags = [libc::F_GETFL, libc::F_SETFL, libc::F_GETFD];
    let flags = flags.map(|flag| SeccompRule::new(vec![equal(1, u64::from(flag.unsigned_abs()))?]));
    rules.insert(libc::SYS_fcntl, flags.into_iter().collect::<Result<_, _>>()?);
    let refuse = SeccompAction::Errno(libc::EPERM.unsigned_abs());
    let architecture = TargetArch::try_from(std::env::consts::ARCH)?;
    SeccompFilter::new(rules, refuse, SeccompAction::Allow, architecture)?.try_into()
}

/// An argument that has none of `bits`.
fn without(argument: u8, bits: i32) -> Result<SeccompRule, seccompiler::BackendError> {
    let mask = SeccompCmpOp::MaskedEq(u64::from(bits.unsigned_abs()));
    SeccompRule::new(vec![SeccompCondition::new(argument, SeccompCmpArgLen::Dword, mask, 0)?])
}

fn equal(argument: u8, value: u64) -> Result<SeccompCondition, seccompiler::BackendError> {
    SeccompCondition::new(argument, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, value)
}

/// Calls that are allowed whatever their arguments.
const ALLOWED: &[i64] = &[
    libc::SYS_brk,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_close,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_futex,
    libc::SYS_getpid,
    libc::SYS_getrandom,
    libc::SYS_getsockopt,
    libc::SYS_gettid,
    libc::SYS_madvise,
    libc::SYS_mremap,
    libc::SYS_munmap,
    libc::SYS_nanosleep,
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_restart_syscall,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_yield,
    libc::SYS_sendmsg,
    libc::SYS_sendto,
    libc::SYS_shutdown,
    libc::SYS_sigaltstack,
    libc::SYS_write,
    libc::SYS_writev,
];

/// Older names of waiting.
#[cfg(target_arch = "x86_64")]
const WAITING: &[i64] = &[libc::SYS_epoll_wait];
/// Older names of waiting.
#[cfg(not(target_arch = "x86_64"))]
const WAITING: &[i64] = &[];
