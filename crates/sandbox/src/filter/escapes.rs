//! System calls that lead out of the walls. They are not carried out, as all that the list does not allow; besides,
//! the first process of the namespace is told of each, so that an attempt is seen whichever process makes it.
//!
//! Which are high: those that no ordinary program makes without meaning to. Which are medium: those that ordinary
//! programs try and go on without. Browsers and builders of containers probe for namespaces with `clone`; tests of C
//! programs look for leaks with `ptrace`; Kerberos asks for keys. What is in no list fails and is not told: sockets,
//! `io_uring`, the kernel's log, set-uid files, which programs try every day.

use std::io;

use libc::c_long;
use moltbot_policy::command::Severity;
use moltbot_policy::incident::Attempt;
use seccompiler::{BpfProgram, sock_filter};

use super::NAMESPACES;

/// A call that is told of.
struct Escape {
    number: c_long,
    name: &'static str,
    severity: Severity,
    when: When,
}

/// For which arguments. Compared in 32 bits, as the kernel does.
#[derive(Clone, Copy)]
enum When {
    Always,
    /// The argument has one of these bits.
    Any {
        argument: u32,
        bits: u32,
    },
    /// The argument is this.
    Is {
        argument: u32,
        value: u32,
    },
}

/// What the number of a call that was told of means.
pub(crate) fn attempt(number: i64, program: String) -> Option<Attempt> {
    let escape = ESCAPES.iter().find(|escape| escape.number == number)?;
    Some(Attempt { call: escape.name, severity: escape.severity, program })
}

/// The names of calls that are told of in whole: whatever their arguments, they are no part of an ordinary command.
pub(crate) fn told_whole() -> impl Iterator<Item = &'static str> {
    // What `unshare` does besides namespaces no command may do either.
    let whole = |escape: &&Escape| matches!(escape.when, When::Always) || escape.number == libc::SYS_unshare;
    ESCAPES.iter().filter(whole).map(|escape| escape.name)
}

/// Calls that are told of for one value of one argument, and are otherwise not permitted: the name, the argument's place, the value.
pub(crate) fn told_with() -> impl Iterator<Item = (&'static str, u32, u32)> {
    ESCAPES.iter().filter_map(|escape| match escape.when {
        When::Is { argument, value } if escape.number == libc::SYS_socket => {
            Some((escape.name, argument, value))
        }
        _ => None,
    })
}

/// Ends a process that calls as on another architecture, whose numbers mean other calls, and loads the number.
pub(super) fn of_this_machine() -> BpfProgram {
    vec![
        statement(LOAD, ARCHITECTURE_OFFSET),
        jump(EQUAL, ARCHITECTURE, 1, 0),
        statement(RETURN, libc::SECCOMP_RET_KILL_PROCESS),
        statement(LOAD, NUMBER_OFFSET),
    ]
}

/// Whether a call is told of, with some arguments at least.
pub(super) fn is_told_of(number: i64) -> bool {
    ESCAPES.iter().any(|escape| escape.number == number)
}

/// Answers "ask" for each escape; what it does not know goes on to the next part. Another architecture's numbers mean
/// other calls, so that it is looked at first.
pub(super) fn told() -> io::Result<BpfProgram> {
    let mut program = of_this_machine();
    for Escape { number, when, .. } in ESCAPES {
        let number = u32::try_from(*number).map_err(io::Error::other)?;
        let (argument, test, value) = match *when {
            When::Always => {
                program.extend([jump(EQUAL, number, 0, 1), statement(RETURN, TELL)]);
                continue;
            }
            When::Any { argument, bits } => (argument, ANY, bits),
            When::Is { argument, value } => (argument, EQUAL, value),
        };
        program.extend([
            jump(EQUAL, number, 0, 4),
            statement(LOAD, ARGUMENTS_OFFSET + 8 * argument),
            jump(test, value, 0, 1),
            statement(RETURN, TELL),
            statement(LOAD, NUMBER_OFFSET),
        ]);
    }
    Ok(program)
}

/// The same program for a kernel that lets nobody be asked: each escape fails, and is not seen.
pub(crate) fn untold(program: &BpfProgram) -> BpfProgram {
    let refuse = libc::SECCOMP_RET_ERRNO | libc::EPERM.unsigned_abs();
    let change = |instruction: &sock_filter| match instruction.code == RETURN && instruction.k == TELL {
        true => sock_filter { k: refuse, ..instruction.clone() },
        false => instruction.clone(),
    };
    program.iter().map(change).collect()
}

pub(super) const fn statement(code: u16, k: u32) -> sock_filter {
    sock_filter { code, jt: 0, jf: 0, k }
}

pub(super) const fn jump(code: u16, k: u32, jt: u8, jf: u8) -> sock_filter {
    sock_filter { code, jt, jf, k }
}

const LOAD: u16 = 0x20; // BPF_LD | BPF_W | BPF_ABS
pub(super) const EQUAL: u16 = 0x15; // BPF_JMP | BPF_JEQ | BPF_K
const ANY: u16 = 0x45; // BPF_JMP | BPF_JSET | BPF_K
pub(super) const RETURN: u16 = 0x06; // BPF_RET | BPF_K
pub(super) const TELL: u32 = libc::SECCOMP_RET_USER_NOTIF;
/// Places in `struct seccomp_data`; both architectures have the low half of an argument first.
const NUMBER_OFFSET: u32 = 0;
const ARCHITECTURE_OFFSET: u32 = 4;
const ARGUMENTS_OFFSET: u32 = 16;
#[cfg(target_arch = "x86_64")]
const ARCHITECTURE: u32 = 0xc000_003e;
#[cfg(not(target_arch = "x86_64"))]
const ARCHITECTURE: u32 = 0xc000_00b7; // aarch64

const fn high(number: c_long, name: &'static str) -> Escape {
    Escape { number, name, severity: Severity::High, when: When::Always }
}

const fn medium(number: c_long, name: &'static str) -> Escape {
    Escape { number, name, severity: Severity::Medium, when: When::Always }
}

const fn given(when: When, escape: Escape) -> Escape {
    Escape { when, ..escape }
}

const NEW: u32 = NAMESPACES.cast_unsigned();
const NEW_TIME: u32 = 0x80;
const PACKET: u32 = 17;
const VSOCK: u32 = 40;

const ESCAPES: &[Escape] = &[
    high(libc::SYS_bpf, "bpf"),
    high(libc::SYS_delete_module, "delete_module"),
    high(libc::SYS_finit_module, "finit_module"),
    high(libc::SYS_fsconfig, "fsconfig"),
    high(libc::SYS_fsmount, "fsmount"),
    high(libc::SYS_fsopen, "fsopen"),
    high(libc::SYS_fspick, "fspick"),
    high(libc::SYS_init_module, "init_module"),
    high(libc::SYS_kexec_file_load, "kexec_file_load"),
    high(libc::SYS_kexec_load, "kexec_load"),
    high(libc::SYS_mount, "mount"),
    high(libc::SYS_mount_setattr, "mount_setattr"),
    high(libc::SYS_move_mount, "move_mount"),
    high(libc::SYS_open_by_handle_at, "open_by_handle_at"),
    high(libc::SYS_open_tree, "open_tree"),
    high(libc::SYS_pivot_root, "pivot_root"),
    high(libc::SYS_reboot, "reboot"),
    high(libc::SYS_setns, "setns"),
    high(libc::SYS_umount2, "umount2"),
    // Not for what threads stop sharing besides namespaces.
    given(When::Any { argument: 0, bits: NEW | NEW_TIME }, high(libc::SYS_unshare, "unshare")),
    medium(libc::SYS_add_key, "add_key"),
    medium(libc::SYS_chroot, "chroot"),
    given(When::Any { argument: 0, bits: NEW }, medium(libc::SYS_clone, "clone")),
    given(When::Is { argument: 1, value: 0x5412 }, medium(libc::SYS_ioctl, "ioctl TIOCSTI")),
    medium(libc::SYS_keyctl, "keyctl"),
    medium(libc::SYS_perf_event_open, "perf_event_open"),
    medium(libc::SYS_pidfd_getfd, "pidfd_getfd"),
    medium(libc::SYS_process_vm_readv, "process_vm_readv"),
    medium(libc::SYS_process_vm_writev, "process_vm_writev"),
    medium(libc::SYS_ptrace, "ptrace"),
    medium(libc::SYS_request_key, "request_key"),
    given(When::Is { argument: 0, value: PACKET }, medium(libc::SYS_socket, "socket")),
    given(When::Is { argument: 0, value: VSOCK }, medium(libc::SYS_socket, "socket")),
    medium(libc::SYS_userfaultfd, "userfaultfd"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_escape_is_told_of_and_has_its_name() {
        let told = told().unwrap();
        let asks = |program: &BpfProgram| program.iter().filter(|one| one.k == TELL).count();
        assert_eq!((asks(&told), asks(&untold(&told))), (ESCAPES.len(), 0));
        let attempt = attempt(libc::SYS_setns, "x".into()).unwrap();
        assert_eq!((attempt.call, attempt.severity), ("setns", Severity::High));
        assert!(super::attempt(libc::SYS_read, "x".into()).is_none());
    }
}
