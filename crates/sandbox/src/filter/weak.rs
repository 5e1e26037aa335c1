//! What the filter holds where there are no namespaces, and Landlock does not: it has no rules for the modes, owners, times
//! and attributes of files, for being told of what happens in folders, and for limits and priorities of other processes.
//! A command that runs as its owner could otherwise open the owner's keys to everybody, without being able to read them.
//!
//! New processes are asked about, too. They are all let be, until the command has to end: then none is answered any more,
//! so that a command cannot run away from its end by becoming another process all the time.

use std::collections::BTreeMap;
use std::io;

use libc::c_long;
use seccompiler::{BackendError, BpfProgram, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompRule};

use super::escapes::{EQUAL, RETURN, TELL, jump, statement};
use super::{FCHMODAT2, NAMESPACES, equals, rule};

/// Asks about every new process and thread, and every mode of a file that is named. Follows what is told of escapes, among which are new processes with
/// namespaces.
pub(super) fn told() -> io::Result<BpfProgram> {
    let mut program = Vec::new();
    for number in BIRTHS.iter().chain(MODES) {
        let number = u32::try_from(*number).map_err(io::Error::other)?;
        program.extend([jump(EQUAL, number, 0, 1), statement(RETURN, TELL)]);
    }
    Ok(program)
}

/// Whether a call is asked about here, besides the escapes.
pub(super) fn is_told_of(number: i64) -> bool {
    BIRTHS.contains(&number) || MODES.contains(&number)
}

/// Whether a call that was asked about changes the mode of a file that it names.
pub(crate) fn is_mode(number: i64) -> bool {
    MODES.contains(&number)
}

/// Whether a call that was asked about makes a process or a thread, and no namespace.
pub(crate) fn is_birth(number: i64, first_argument: u64) -> bool {
    let namespaces = u64::from(NAMESPACES.cast_unsigned());
    match number {
        libc::SYS_clone => first_argument & namespaces == 0,
        other => BIRTHS.contains(&other),
    }
}

/// Takes from what is permitted what Landlock does not hold.
pub(super) fn narrow(rules: &mut BTreeMap<i64, Vec<SeccompRule>>) -> Result<(), BackendError> {
    for number in BY_PATH {
        rules.remove(number);
    }
    for number in OF_ITSELF {
        rules.insert(*number, vec![rule([equals(0, 0)?])?]);
    }
    // Of a process, and that one itself.
    rules.insert(libc::SYS_setpriority, vec![rule([equals(0, 0)?, equals(1, 0)?])?]);
    // Of an open file: without a path.
    let no_path = SeccompCondition::new(1, SeccompCmpArgLen::Qword, SeccompCmpOp::Eq, 0)?;
    rules.insert(libc::SYS_utimensat, vec![rule([no_path])?]);
    Ok(())
}

#[cfg(target_arch = "x86_64")]
const BIRTHS: &[c_long] = &[libc::SYS_clone, libc::SYS_fork, libc::SYS_vfork];
#[cfg(not(target_arch = "x86_64"))]
const BIRTHS: &[c_long] = &[libc::SYS_clone];

/// Calls that change the mode of a file by its path. The keeper does it where it is the command's own.
#[rustfmt::skip]
const MODES: &[c_long] = &[
    #[cfg(target_arch = "x86_64")] libc::SYS_chmod,
    libc::SYS_fchmodat, FCHMODAT2,
];

/// Calls that change or watch a file that they are given a path of.
#[rustfmt::skip]
const BY_PATH: &[c_long] = &[
    libc::SYS_fchmodat, FCHMODAT2, libc::SYS_fchownat, libc::SYS_inotify_add_watch, libc::SYS_lremovexattr,
    libc::SYS_lsetxattr, libc::SYS_removexattr, libc::SYS_setxattr,
    #[cfg(target_arch = "x86_64")] libc::SYS_chmod,
    #[cfg(target_arch = "x86_64")] libc::SYS_chown,
    #[cfg(target_arch = "x86_64")] libc::SYS_futimesat,
    #[cfg(target_arch = "x86_64")] libc::SYS_lchown,
    #[cfg(target_arch = "x86_64")] libc::SYS_utime,
    #[cfg(target_arch = "x86_64")] libc::SYS_utimes,
];

/// Calls that are given a process, where zero is who makes them.
const OF_ITSELF: &[c_long] = &[libc::SYS_prlimit64, libc::SYS_sched_setaffinity];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_birth_is_told_from_an_attempt_to_make_namespaces() {
        let user = u64::from(libc::CLONE_NEWUSER.cast_unsigned());
        for (number, first, birth) in [
            (libc::SYS_clone, 0x11, true),
            (libc::SYS_clone, 0x11 | user, false),
            (libc::SYS_ptrace, 0, false),
            #[cfg(target_arch = "x86_64")]
            (libc::SYS_vfork, user, true),
        ] {
            assert_eq!(is_birth(number, first), birth, "{number} {first:x}");
        }
    }
}
