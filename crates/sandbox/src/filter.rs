//! Which system calls a command may make: an allow-list, compiled once in the gateway and handed to every helper.
//!
//! It starts from the calls that container runtimes allow to unprivileged containers, less what an agent's
//! command does not need: sockets (only a connected pair within one process family remains), tracing, namespaces,
//! mounts, keys, `io_uring`, `bpf`, and memory that no process has mapped (`memfd`, System V), which the memory
//! watch could not see.
//!
//! One program of parts, because one allow-list has one answer for what it does not list: [`shortcut`] allows what needs no
//! look at its arguments; [`escapes`] asks the namespace's first process, which tells the gateway; [`unknown`] answers
//! `ENOSYS` where a program should take its older way instead of giving up, and [`permitted`], which follows it,
//! answers `EPERM`.

mod escapes;
mod shortcut;
mod weak;

use std::collections::BTreeMap;
use std::io;

use libc::c_long;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch, sock_filter,
};

pub(crate) use escapes::{attempt, told_whole, told_with, untold};
pub(crate) use weak::{is_birth, is_mode};

/// Which walls stand beside the filter.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Beside {
    /// All of them, and no network.
    All,
    /// All of them, and the proxy: a command may make sockets of TCP over IPv4, and connect them. In its namespace there is
    /// nothing else, and Landlock holds it to that port.
    Proxy,
    /// All of them, around a local model, which filters itself further once it has begun.
    Model,
    /// No namespaces: what Landlock does not hold is held here ([`weak`]).
    Weak,
}

/// The program as bytes, for the helper: each instruction in eight.
pub(crate) fn compile(beside: Beside) -> io::Result<Vec<u8>> {
    let (mut rules, mut at_once) = (rules(beside)?, Vec::new());
    rules.retain(|number, conditions| {
        let plain = conditions.is_empty() && !is_asked_about(*number, beside);
        at_once.extend(plain.then_some(*number));
        !plain
    });
    let mut program = escapes::of_this_machine();
    program.extend(shortcut::allowed(at_once)?);
    program.extend(parts(beside, rules)?);
    Ok(encode(&program))
}

/// Everything but the shortcut.
fn parts(beside: Beside, rules: BTreeMap<i64, Vec<SeccompRule>>) -> io::Result<BpfProgram> {
    let mut program = escapes::told()?;
    if beside == Beside::Weak {
        program.extend(weak::told()?);
    }
    program.extend(unknown()?);
    program.extend(permitted(rules)?);
    Ok(program)
}

/// Whether another part than the list has an answer to a call.
fn is_asked_about(number: i64, beside: Beside) -> bool {
    escapes::is_told_of(number)
        || MISSING.contains(&number)
        || (beside == Beside::Weak && weak::is_told_of(number))
}

/// The program in `bytes`.
pub(crate) fn decode(bytes: &[u8]) -> io::Result<BpfProgram> {
    let (instructions, rest) = bytes.as_chunks::<INSTRUCTION>();
    if instructions.is_empty() || !rest.is_empty() {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the filter of system calls is damaged"));
    }
    let decode = |&[c0, c1, jt, jf, k0, k1, k2, k3]: &[u8; INSTRUCTION]| {
        let (code, k) = (u16::from_le_bytes([c0, c1]), u32::from_le_bytes([k0, k1, k2, k3]));
        sock_filter { code, jt, jf, k }
    };
    Ok(instructions.iter().map(decode).collect())
}

/// Bytes of one instruction.
const INSTRUCTION: usize = 8;

fn encode(program: &[sock_filter]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(program.len() * INSTRUCTION);
    for instruction in program {
        bytes.extend(instruction.code.to_le_bytes());
        bytes.extend([instruction.jt, instruction.jf]);
        bytes.extend(instruction.k.to_le_bytes());
    }
    bytes
}

/// What is allowed, and on which conditions.
fn rules(beside: Beside) -> io::Result<BTreeMap<i64, Vec<SeccompRule>>> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> =
        PLAIN.iter().chain(OLDER).map(|number| (*number, Vec::new())).collect();
    rules.extend(conditional().map_err(io::Error::other)?);
    match beside {
        Beside::All => {}
        Beside::Proxy => {
            rules.insert(libc::SYS_connect, Vec::new());
            rules.insert(libc::SYS_socket, vec![tcp().map_err(io::Error::other)?]);
        }
        Beside::Model => {
            rules.insert(libc::SYS_seccomp, vec![filter_once_more().map_err(io::Error::other)?]);
        }
        Beside::Weak => weak::narrow(&mut rules).map_err(io::Error::other)?,
    }
    Ok(rules)
}

/// Allows what is listed; all else is not permitted.
fn permitted(rules: BTreeMap<i64, Vec<SeccompRule>>) -> io::Result<BpfProgram> {
    let architecture = TargetArch::try_from(std::env::consts::ARCH).map_err(io::Error::other)?;
    let refuse = SeccompAction::Errno(libc::EPERM.unsigned_abs());
    let filter = SeccompFilter::new(rules, refuse, SeccompAction::Allow, architecture);
    filter.and_then(BpfProgram::try_from).map_err(io::Error::other)
}

/// Every call that is allowed, whatever its arguments must be.
pub(crate) fn listed() -> Vec<c_long> {
    let conditional = conditional().unwrap_or_default();
    PLAIN.iter().chain(OLDER).copied().chain(conditional.into_iter().map(|(number, _)| number)).collect()
}

type Rules = Vec<(i64, Vec<SeccompRule>)>;

/// The calls that are allowed for some arguments.
fn conditional() -> Result<Rules, seccompiler::BackendError> {
    let mut rules = vec![
        // Threads and processes, but no namespaces.
        (libc::SYS_clone, vec![rule([masked(0, u64::from(NAMESPACES.unsigned_abs()), 0)?])?]),
        // Asking for the personality, and the ordinary one.
        (libc::SYS_personality, vec![rule([equals(0, 0)?])?, rule([equals(0, 0xffff_ffff)?])?]),
        // Not `SOCK_DGRAM`: a datagram socket of a pair can still send to a socket file.
        (libc::SYS_socketpair, vec![pair(libc::SOCK_STREAM)?, pair(libc::SOCK_SEQPACKET)?]),
        // Compared in 32 bits, as the kernel does: a set bit 32 would otherwise pass.
        (
            libc::SYS_ioctl,
            vec![SeccompRule::new(
                REQUESTS.iter().map(|request| differs(*request)).collect::<Result<_, _>>()?,
            )?],
        ),
        // No lease: the gateway would wait for up to a minute when it opens such a file.
        (libc::SYS_fcntl, vec![rule([differs(u64::from(libc::F_SETLEASE.unsigned_abs()))?])?]),
        // Not the map of its own memory, which the kernel and tools believe.
        (libc::SYS_prctl, vec![rule([not(0, u64::from(libc::PR_SET_MM.unsigned_abs()))?])?]),
        (libc::SYS_fchmod, plain_mode(1)?),
        (libc::SYS_fchmodat, plain_mode(2)?),
        (FCHMODAT2, plain_mode(2)?),
        (libc::SYS_mkdirat, plain_mode(2)?),
        (libc::SYS_mknodat, plain_node(2)?),
        (libc::SYS_openat, plain_open(2)?),
    ];
    #[cfg(target_arch = "x86_64")]
    rules.extend([
        (libc::SYS_chmod, plain_mode(1)?),
        (libc::SYS_creat, plain_mode(1)?),
        (libc::SYS_mkdir, plain_mode(1)?),
        (libc::SYS_mknod, plain_node(1)?),
        (libc::SYS_open, plain_open(1)?),
    ]);
    Ok(rules)
}

/// Set-user-id and set-group-id: such a file in the workspace would lend its owner's rights on the host.
const SET_ID: u64 = 0o6000;

/// A mode without set-id bits in argument `index`.
fn plain_mode(index: u8) -> Result<Vec<SeccompRule>, seccompiler::BackendError> {
    Ok(vec![rule([masked(index, SET_ID, 0)?])?])
}

/// A regular file or a pipe without set-id bits: no device, no socket.
fn plain_node(index: u8) -> Result<Vec<SeccompRule>, seccompiler::BackendError> {
    let kinds = [0, libc::S_IFREG, libc::S_IFIFO];
    let kind = u64::from(libc::S_IFMT) | SET_ID;
    kinds.into_iter().map(|wanted| rule([masked(index, kind, u64::from(wanted))?])).collect()
}

/// An open that creates nothing, or creates without set-id bits. Flags are in `index`, the mode after them.
fn plain_open(index: u8) -> Result<Vec<SeccompRule>, seccompiler::BackendError> {
    const TEMPORARY: u64 = 0o20_000_000; // O_TMPFILE without O_DIRECTORY
    let creates = u64::from(libc::O_CREAT.unsigned_abs()) | TEMPORARY;
    Ok(vec![rule([masked(index, creates, 0)?])?, rule([masked(index + 1, SET_ID, 0)?])?])
}

/// A socket of TCP over IPv4: its family, its kind without flags, and no protocol or that one.
fn tcp() -> Result<SeccompRule, seccompiler::BackendError> {
    let (inet, stream) = (libc::AF_INET.unsigned_abs(), libc::SOCK_STREAM.unsigned_abs());
    let protocol = masked(2, !u64::from(libc::IPPROTO_TCP.unsigned_abs()), 0)?;
    rule([equals(0, inet.into())?, masked(1, 0xf, stream.into())?, protocol])
}

/// Another filter above this one, for the caller or all its threads: it can only take away. None that asks, and no question
/// about filters.
fn filter_once_more() -> Result<SeccompRule, seccompiler::BackendError> {
    let threads = libc::SECCOMP_FILTER_FLAG_TSYNC;
    rule([equals(0, libc::SECCOMP_SET_MODE_FILTER.into())?, masked(1, !threads, 0)?])
}

/// A connected pair of sockets of one kind.
fn pair(kind: i32) -> Result<SeccompRule, seccompiler::BackendError> {
    let unix = u64::from(libc::AF_UNIX.unsigned_abs());
    rule([equals(0, unix)?, masked(1, 0xf, u64::from(kind.unsigned_abs()))?])
}

fn rule<const N: usize>(conditions: [SeccompCondition; N]) -> Result<SeccompRule, seccompiler::BackendError> {
    SeccompRule::new(conditions.into())
}

fn masked(index: u8, mask: u64, value: u64) -> Result<SeccompCondition, seccompiler::BackendError> {
    SeccompCondition::new(index, SeccompCmpArgLen::Dword, SeccompCmpOp::MaskedEq(mask), value)
}

fn equals(index: u8, value: u64) -> Result<SeccompCondition, seccompiler::BackendError> {
    SeccompCondition::new(index, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, value)
}

fn differs(request: u64) -> Result<SeccompCondition, seccompiler::BackendError> {
    not(1, request)
}

fn not(index: u8, value: u64) -> Result<SeccompCondition, seccompiler::BackendError> {
    SeccompCondition::new(index, SeccompCmpArgLen::Dword, SeccompCmpOp::Ne, value)
}

/// Answers "no such call" where a program then takes its older way: calls whose arguments are behind a pointer,
/// calls newer than this list, and on x86-64 the numbers of the x32 interface, which the compiler of the other part
/// does not know. It has no last answer: what it does not know goes on to the other part.
fn unknown() -> io::Result<BpfProgram> {
    const LOAD: u16 = 0x20; // BPF_LD | BPF_W | BPF_ABS
    const EQUAL: u16 = 0x15; // BPF_JMP | BPF_JEQ | BPF_K
    const GREATER: u16 = 0x25; // BPF_JMP | BPF_JGT | BPF_K
    const RETURN: u16 = 0x06; // BPF_RET | BPF_K
    let answer = |value| sock_filter { code: RETURN, jt: 0, jf: 0, k: value };
    let missing = libc::SECCOMP_RET_ERRNO | libc::ENOSYS.unsigned_abs();
    let newest = u32::try_from(FCHMODAT2).map_err(io::Error::other)?;
    let mut program = vec![
        sock_filter { code: LOAD, jt: 0, jf: 0, k: 0 }, // the number of the call
        sock_filter { code: GREATER, jt: 0, jf: 1, k: newest },
        answer(missing),
    ];
    for number in MISSING {
        let number = u32::try_from(*number).map_err(io::Error::other)?;
        program.extend([sock_filter { code: EQUAL, jt: 0, jf: 1, k: number }, answer(missing)]);
    }
    Ok(program)
}

/// The flags of `clone` that make namespaces.
pub(crate) const NAMESPACES: i32 = libc::CLONE_NEWNS
    | libc::CLONE_NEWCGROUP
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET;
/// Requests to devices and file systems that are refused.
///
/// The last eight are of btrfs and bcachefs: a snapshot may be taken of any file of one's own, and on many kernels it
/// holds the whole volume around that file, so it would bring every file of the owner into the workspace.
const REQUESTS: [u64; 11] = [
    0x5412,      // TIOCSTI: types into a terminal as if its owner did
    0x541c,      // TIOCLINUX: selects and pastes on a console
    0x541d,      // TIOCCONS: diverts the console's messages
    0x5000_9401, // BTRFS_IOC_SNAP_CREATE
    0x5000_940e, // BTRFS_IOC_SUBVOL_CREATE
    0x5000_940f, // BTRFS_IOC_SNAP_DESTROY
    0x5000_9417, // BTRFS_IOC_SNAP_CREATE_V2
    0x5000_9418, // BTRFS_IOC_SUBVOL_CREATE_V2
    0x5000_943f, // BTRFS_IOC_SNAP_DESTROY_V2
    0x4020_bc10, // BCH_IOCTL_SUBVOLUME_CREATE
    0x4020_bc11, // BCH_IOCTL_SUBVOLUME_DESTROY
];
/// The newest call that this list knows; the same number on every architecture.
const FCHMODAT2: c_long = 452;

/// Answered with "no such call".
const MISSING: &[c_long] = &[
    libc::SYS_clone3,
    libc::SYS_memfd_create,
    libc::SYS_memfd_secret,
    libc::SYS_msgctl,
    libc::SYS_msgget,
    libc::SYS_msgrcv,
    libc::SYS_msgsnd,
    libc::SYS_openat2,
    libc::SYS_shmat,
    libc::SYS_shmctl,
    libc::SYS_shmdt,
    libc::SYS_shmget,
];

/// Allowed whatever their arguments.
#[rustfmt::skip]
const PLAIN: &[c_long] = &[
    // Files and folders.
    libc::SYS_chdir, libc::SYS_close, libc::SYS_close_range, libc::SYS_copy_file_range, libc::SYS_dup,
    libc::SYS_dup3, libc::SYS_faccessat, libc::SYS_faccessat2, libc::SYS_fadvise64, libc::SYS_fallocate,
    libc::SYS_fchdir, libc::SYS_fchown, libc::SYS_fchownat, libc::SYS_fdatasync,
    libc::SYS_fgetxattr, libc::SYS_flistxattr, libc::SYS_flock, libc::SYS_fremovexattr, libc::SYS_fsetxattr,
    libc::SYS_fstat, libc::SYS_fstatfs, libc::SYS_fsync, libc::SYS_ftruncate, libc::SYS_getcwd,
    libc::SYS_getdents64, libc::SYS_getxattr, libc::SYS_inotify_add_watch, libc::SYS_inotify_init1,
    libc::SYS_inotify_rm_watch, libc::SYS_lgetxattr, libc::SYS_linkat, libc::SYS_listxattr,
    libc::SYS_llistxattr, libc::SYS_lremovexattr, libc::SYS_lseek, libc::SYS_lsetxattr, libc::SYS_newfstatat,
    libc::SYS_pipe2, libc::SYS_pread64, libc::SYS_preadv, libc::SYS_preadv2, libc::SYS_pwrite64,
    libc::SYS_pwritev, libc::SYS_pwritev2, libc::SYS_read, libc::SYS_readahead, libc::SYS_readlinkat,
    libc::SYS_readv, libc::SYS_removexattr, libc::SYS_renameat, libc::SYS_renameat2, libc::SYS_sendfile,
    libc::SYS_setxattr, libc::SYS_splice, libc::SYS_statfs, libc::SYS_statx, libc::SYS_symlinkat,
    libc::SYS_sync_file_range, libc::SYS_syncfs, libc::SYS_tee, libc::SYS_truncate, libc::SYS_umask,
    libc::SYS_unlinkat, libc::SYS_utimensat, libc::SYS_write, libc::SYS_writev,
    // Waiting.
    libc::SYS_clock_getres, libc::SYS_clock_gettime, libc::SYS_clock_nanosleep, libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl, libc::SYS_epoll_pwait, libc::SYS_epoll_pwait2, libc::SYS_eventfd2, libc::SYS_futex,
    libc::SYS_futex_waitv, libc::SYS_getitimer, libc::SYS_gettimeofday, libc::SYS_nanosleep, libc::SYS_ppoll,
    libc::SYS_pselect6, libc::SYS_restart_syscall, libc::SYS_setitimer, libc::SYS_signalfd4,
    libc::SYS_timer_create, libc::SYS_timer_delete, libc::SYS_timer_getoverrun, libc::SYS_timer_gettime,
    libc::SYS_timer_settime, libc::SYS_timerfd_create, libc::SYS_timerfd_gettime, libc::SYS_timerfd_settime,
    libc::SYS_times,
    // Memory.
    libc::SYS_brk, libc::SYS_madvise, libc::SYS_membarrier, libc::SYS_mincore, libc::SYS_mlock,
    libc::SYS_mlock2, libc::SYS_mlockall, libc::SYS_mmap, libc::SYS_mprotect, libc::SYS_mremap,
    libc::SYS_msync, libc::SYS_munlock, libc::SYS_munlockall, libc::SYS_munmap, libc::SYS_pkey_alloc,
    libc::SYS_pkey_free, libc::SYS_pkey_mprotect,
    // Processes and signals.
    libc::SYS_capget, libc::SYS_capset, libc::SYS_execve, libc::SYS_execveat, libc::SYS_exit,
    libc::SYS_exit_group, libc::SYS_get_robust_list, libc::SYS_getcpu, libc::SYS_getegid, libc::SYS_geteuid,
    libc::SYS_getgid, libc::SYS_getgroups, libc::SYS_getpgid, libc::SYS_getpid, libc::SYS_getppid,
    libc::SYS_getpriority, libc::SYS_getrandom, libc::SYS_getresgid, libc::SYS_getresuid, libc::SYS_getrusage,
    libc::SYS_getsid, libc::SYS_gettid, libc::SYS_getuid, libc::SYS_kill, libc::SYS_landlock_add_rule,
    libc::SYS_landlock_create_ruleset, libc::SYS_landlock_restrict_self, libc::SYS_pidfd_open,
    libc::SYS_pidfd_send_signal, libc::SYS_prlimit64, libc::SYS_rseq, libc::SYS_rt_sigaction,
    libc::SYS_rt_sigpending, libc::SYS_rt_sigprocmask, libc::SYS_rt_sigqueueinfo, libc::SYS_rt_sigreturn,
    libc::SYS_rt_sigsuspend, libc::SYS_rt_sigtimedwait, libc::SYS_rt_tgsigqueueinfo,
    libc::SYS_sched_get_priority_max, libc::SYS_sched_get_priority_min, libc::SYS_sched_getaffinity,
    libc::SYS_sched_getattr, libc::SYS_sched_getparam, libc::SYS_sched_getscheduler,
    libc::SYS_sched_rr_get_interval, libc::SYS_sched_setaffinity, libc::SYS_sched_yield,
    libc::SYS_set_robust_list, libc::SYS_set_tid_address, libc::SYS_setfsgid, libc::SYS_setfsuid,
    libc::SYS_setgid, libc::SYS_setpgid, libc::SYS_setpriority, libc::SYS_setregid, libc::SYS_setresgid,
    libc::SYS_setresuid, libc::SYS_setreuid, libc::SYS_setsid, libc::SYS_setuid, libc::SYS_sigaltstack,
    libc::SYS_sysinfo, libc::SYS_tgkill, libc::SYS_tkill, libc::SYS_uname, libc::SYS_wait4, libc::SYS_waitid,
    // What a connected pair of sockets needs; there is no call to make or reach any other socket.
    libc::SYS_getpeername, libc::SYS_getsockname, libc::SYS_getsockopt, libc::SYS_recvfrom,
    libc::SYS_recvmmsg, libc::SYS_recvmsg, libc::SYS_sendmmsg, libc::SYS_sendmsg, libc::SYS_sendto,
    libc::SYS_setsockopt, libc::SYS_shutdown,
];

/// Older names of the same, where the architecture has them.
#[cfg(target_arch = "x86_64")]
#[rustfmt::skip]
const OLDER: &[c_long] = &[
    libc::SYS_access, libc::SYS_alarm, libc::SYS_arch_prctl, libc::SYS_chown, libc::SYS_dup2,
    libc::SYS_epoll_create, libc::SYS_epoll_wait, libc::SYS_eventfd, libc::SYS_fork, libc::SYS_futimesat,
    libc::SYS_getdents, libc::SYS_getpgrp, libc::SYS_getrlimit, libc::SYS_inotify_init, libc::SYS_lchown,
    libc::SYS_link, libc::SYS_lstat, libc::SYS_pause, libc::SYS_pipe, libc::SYS_poll, libc::SYS_readlink,
    libc::SYS_rename, libc::SYS_rmdir, libc::SYS_select, libc::SYS_setrlimit, libc::SYS_signalfd,
    libc::SYS_stat, libc::SYS_symlink, libc::SYS_time, libc::SYS_unlink, libc::SYS_utime, libc::SYS_utimes,
    libc::SYS_vfork,
];

#[cfg(not(target_arch = "x86_64"))]
const OLDER: &[c_long] = &[libc::SYS_getrlimit, libc::SYS_setrlimit];

#[cfg(test)]
mod tests {
    use super::*;

    /// What the kernel answers: the calls of its interpreter that these programs are made of.
    fn answer(program: &[sock_filter], number: u32, architecture: u32, arguments: [u32; 12]) -> u32 {
        let (mut at, mut loaded) = (0, 0);
        loop {
            let &sock_filter { code, jt, jf, k } = &program[at];
            at += 1;
            let holds = match code {
                0x20 => {
                    loaded = match k {
                        0 => number,
                        4 => architecture,
                        place => arguments[(usize::try_from(place).unwrap() - 16) / 4],
                    };
                    continue;
                }
                0x54 => {
                    loaded &= k;
                    continue;
                }
                0x05 => {
                    at += usize::try_from(k).unwrap();
                    continue;
                }
                0x06 => return k,
                0x15 => loaded == k,
                0x25 => loaded > k,
                0x35 => loaded >= k,
                0x45 => loaded & k != 0,
                other => panic!("instruction {other:#x}"),
            };
            at += usize::from(if holds { jt } else { jf });
        }
    }

    #[test]
    fn the_shortcut_changes_no_answer() {
        const THIS: u32 = if cfg!(target_arch = "x86_64") { 0xc000_003e } else { 0xc000_00b7 };
        let words = [0, 1, 2, 0x11, 0x41, 0o100, 0o4755, 0x5412, 0x1000_0000, 0xffff_ffff];
        for beside in [Beside::All, Beside::Model, Beside::Proxy, Beside::Weak] {
            let program = decode(&compile(beside).unwrap()).unwrap();
            let before = parts(beside, rules(beside).unwrap()).unwrap();
            let numbers = (0..=700).chain([u32::MAX, 0x4000_0000, 0x4000_003b, 0x8000_0000]);
            for number in numbers {
                for (index, word) in words.iter().enumerate() {
                    let mut arguments = [*word; 12];
                    arguments[index] = words[(index + 1) % words.len()];
                    for architecture in [THIS, 0x4000_0003] {
                        assert_eq!(
                            answer(&program, number, architecture, arguments),
                            answer(&before, number, architecture, arguments),
                            "{number} with {arguments:x?} on {architecture:x}, {beside:?}"
                        );
                    }
                }
            }
            let read = answer(&program, u32::try_from(libc::SYS_read).unwrap(), THIS, [0; 12]);
            assert_eq!((read, encode(&program)), (libc::SECCOMP_RET_ALLOW, compile(beside).unwrap()));
            let steps = program.len();
            assert!(steps < before.len(), "{steps} steps of {}", before.len());
        }
    }

    #[test]
    fn a_damaged_filter_is_refused() {
        let bytes = compile(Beside::Proxy).unwrap();
        for damaged in [&bytes[1..], &[]] {
            assert!(decode(damaged).is_err(), "{} bytes", damaged.len());
        }
    }

    #[test]
    fn no_call_that_leaves_the_walls_is_listed() {
        let dangerous = [
            libc::SYS_bpf,
            libc::SYS_connect,
            libc::SYS_bind,
            libc::SYS_io_uring_setup,
            libc::SYS_keyctl,
            libc::SYS_mount,
            libc::SYS_move_mount,
            libc::SYS_open_by_handle_at,
            libc::SYS_openat2,
            libc::SYS_pidfd_getfd,
            libc::SYS_process_vm_writev,
            libc::SYS_ptrace,
            libc::SYS_setns,
            libc::SYS_socket,
            libc::SYS_unshare,
            libc::SYS_userfaultfd,
        ];
        for number in dangerous {
            assert!(!PLAIN.contains(&number) && !OLDER.contains(&number), "call {number} is allowed");
        }
    }
}
