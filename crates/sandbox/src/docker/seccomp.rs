//! The outer filter of system calls, in the engine's form: what the embedded sandbox's filter lists.
//!
//! The helper puts the embedded filter itself around every command in the container. This one holds for the container's
//! other processes, and is coarser: where the embedded filter looks at arguments, the whole call is listed, but for `clone`.
//!
//! Of the answers of several filters the kernel takes the strictest. So that calls which lead out are asked about by the inner filter,
//! and seen, this one answers them with `SCMP_ACT_TRACE`, which is milder than asking, and carries nothing out either: without a
//! tracer, and nobody can become one with `ptrace` on this very list, the call is not there (`ENOSYS`; seccomp(2)).

use std::collections::BTreeMap;

use libc::c_long;
use serde_json::{Value, json};

use crate::filter;

macro_rules! calls {
    ($($name:ident)*) => { &[$((libc::$name, stringify!($name))),*] };
}

/// The profile as the engine reads it.
///
/// # Errors
/// The number of a call that is listed and has no name here.
pub(super) fn profile() -> Result<Value, c_long> {
    let names: BTreeMap<c_long, &str> = NAMES
        .iter()
        .chain(OLDER_NAMES)
        .map(|(number, name)| (*number, name.trim_start_matches("SYS_")))
        .collect();
    let listed = filter::listed();
    let mut allowed: Vec<&str> = Vec::with_capacity(listed.len());
    for number in listed {
        let name = if number == FCHMODAT2 { Some("fchmodat2") } else { names.get(&number).copied() };
        allowed.push(name.ok_or(number)?);
    }
    allowed.extend(FOR_THE_HELPER);
    allowed.sort_unstable();
    allowed.dedup();
    // Threads and processes, but no namespaces.
    allowed.retain(|name| *name != "clone");
    let plain_clone = json!({
        "index": 0, "value": filter::NAMESPACES, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ",
    });
    let mut profile = json!({
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": libc::EPERM,
        "architectures": ARCHITECTURES,
        "syscalls": [
            { "names": allowed, "action": "SCMP_ACT_ALLOW" },
            { "names": ["clone"], "action": "SCMP_ACT_ALLOW", "args": [plain_clone] },
            { "names": filter::told_whole().collect::<Vec<_>>(), "action": "SCMP_ACT_TRACE" },
        ],
    });
    if let Some(rules) = profile.pointer_mut("/syscalls").and_then(Value::as_array_mut) {
        rules.extend(filter::told_with().map(|(name, index, value)| {
            let is = json!({ "index": index, "value": value, "valueTwo": 0, "op": "SCMP_CMP_EQ" });
            json!({ "names": [name], "action": "SCMP_ACT_TRACE", "args": [is] })
        }));
    }
    Ok(profile)
}

/// The helper puts up the inner filter.
const FOR_THE_HELPER: [&str; 1] = ["seccomp"];

const FCHMODAT2: c_long = 452;

/// No 32-bit calls, and none of x32: their numbers mean other calls.
#[cfg(target_arch = "x86_64")]
const ARCHITECTURES: [&str; 1] = ["SCMP_ARCH_X86_64"];
#[cfg(not(target_arch = "x86_64"))]
const ARCHITECTURES: [&str; 1] = ["SCMP_ARCH_AARCH64"];

/// Names of calls that every architecture has.
#[rustfmt::skip]
const NAMES: &[(c_long, &str)] = calls![
    SYS_brk SYS_capget SYS_capset SYS_chdir SYS_clock_getres SYS_clock_gettime SYS_clock_nanosleep SYS_clone
    SYS_close SYS_close_range SYS_copy_file_range SYS_dup SYS_dup3 SYS_epoll_create1 SYS_epoll_ctl
    SYS_epoll_pwait SYS_epoll_pwait2 SYS_eventfd2 SYS_execve SYS_execveat SYS_exit SYS_exit_group
    SYS_faccessat SYS_faccessat2 SYS_fadvise64 SYS_fallocate SYS_fchdir SYS_fchmod SYS_fchmodat SYS_fchown
    SYS_fchownat SYS_fcntl SYS_fdatasync SYS_fgetxattr SYS_flistxattr SYS_flock SYS_fremovexattr SYS_fsetxattr
    SYS_fstat SYS_fstatfs SYS_fsync SYS_ftruncate SYS_futex SYS_futex_waitv SYS_get_robust_list SYS_getcpu
    SYS_getcwd SYS_getdents64 SYS_getegid SYS_geteuid SYS_getgid SYS_getgroups SYS_getitimer SYS_getpeername
    SYS_getpgid SYS_getpid SYS_getppid SYS_getpriority SYS_getrandom SYS_getresgid SYS_getresuid SYS_getrlimit
    SYS_getrusage SYS_getsid SYS_getsockname SYS_getsockopt SYS_gettid SYS_gettimeofday SYS_getuid
    SYS_getxattr SYS_inotify_add_watch SYS_inotify_init1 SYS_inotify_rm_watch SYS_ioctl SYS_kill
    SYS_landlock_add_rule SYS_landlock_create_ruleset SYS_landlock_restrict_self SYS_lgetxattr SYS_linkat
    SYS_listxattr SYS_llistxattr SYS_lremovexattr SYS_lseek SYS_lsetxattr SYS_madvise SYS_membarrier
    SYS_mincore SYS_mkdirat SYS_mknodat SYS_mlock SYS_mlock2 SYS_mlockall SYS_mmap SYS_mprotect SYS_mremap
    SYS_msync SYS_munlock SYS_munlockall SYS_munmap SYS_nanosleep SYS_newfstatat SYS_openat SYS_personality
    SYS_pidfd_open SYS_pidfd_send_signal SYS_pipe2 SYS_pkey_alloc SYS_pkey_free SYS_pkey_mprotect SYS_ppoll
    SYS_prctl SYS_pread64 SYS_preadv SYS_preadv2 SYS_prlimit64 SYS_pselect6 SYS_pwrite64 SYS_pwritev
    SYS_pwritev2 SYS_read SYS_readahead SYS_readlinkat SYS_readv SYS_recvfrom SYS_recvmmsg SYS_recvmsg
    SYS_removexattr SYS_renameat SYS_renameat2 SYS_restart_syscall SYS_rseq SYS_rt_sigaction SYS_rt_sigpending
    SYS_rt_sigprocmask SYS_rt_sigqueueinfo SYS_rt_sigreturn SYS_rt_sigsuspend SYS_rt_sigtimedwait
    SYS_rt_tgsigqueueinfo SYS_sched_get_priority_max SYS_sched_get_priority_min SYS_sched_getaffinity
    SYS_sched_getattr SYS_sched_getparam SYS_sched_getscheduler SYS_sched_rr_get_interval
    SYS_sched_setaffinity SYS_sched_yield SYS_sendfile SYS_sendmmsg SYS_sendmsg SYS_sendto SYS_set_robust_list
    SYS_set_tid_address SYS_setfsgid SYS_setfsuid SYS_setgid SYS_setitimer SYS_setpgid SYS_setpriority
    SYS_setregid SYS_setresgid SYS_setresuid SYS_setreuid SYS_setrlimit SYS_setsid SYS_setsockopt SYS_setuid
    SYS_setxattr SYS_shutdown SYS_sigaltstack SYS_signalfd4 SYS_socketpair SYS_splice SYS_statfs SYS_statx
    SYS_symlinkat SYS_sync_file_range SYS_syncfs SYS_sysinfo SYS_tee SYS_tgkill SYS_timer_create
    SYS_timer_delete SYS_timer_getoverrun SYS_timer_gettime SYS_timer_settime SYS_timerfd_create
    SYS_timerfd_gettime SYS_timerfd_settime SYS_times SYS_tkill SYS_truncate SYS_umask SYS_uname SYS_unlinkat
    SYS_utimensat SYS_wait4 SYS_waitid SYS_write SYS_writev
];

/// Names of older calls.
#[cfg(target_arch = "x86_64")]
#[rustfmt::skip]
const OLDER_NAMES: &[(c_long, &str)] = calls![
    SYS_access SYS_alarm SYS_arch_prctl SYS_chmod SYS_chown SYS_creat SYS_dup2 SYS_epoll_create SYS_epoll_wait
    SYS_eventfd SYS_fork SYS_futimesat SYS_getdents SYS_getpgrp SYS_inotify_init SYS_lchown SYS_link SYS_lstat
    SYS_mkdir SYS_mknod SYS_open SYS_pause SYS_pipe SYS_poll SYS_readlink SYS_rename SYS_rmdir SYS_select
    SYS_signalfd SYS_stat SYS_symlink SYS_time SYS_unlink SYS_utime SYS_utimes SYS_vfork
];
#[cfg(not(target_arch = "x86_64"))]
const OLDER_NAMES: &[(c_long, &str)] = &[];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_engines_filter_lists_what_the_embedded_one_lists_and_no_more() {
        let profile = profile().expect("each call of the embedded filter has a name here");
        let names = profile.pointer("/syscalls/0/names").and_then(Value::as_array).unwrap();
        assert_eq!(names.len(), filter::listed().len() - 1 + FOR_THE_HELPER.len(), "all but `clone`");
        assert_eq!(profile["defaultAction"], "SCMP_ACT_ERRNO");
        for dangerous in [
            "add_key",
            "bpf",
            "clone",
            "clone3",
            "connect",
            "bind",
            "init_module",
            "io_uring_setup",
            "kexec_load",
            "keyctl",
            "mount",
            "move_mount",
            "open_by_handle_at",
            "openat2",
            "perf_event_open",
            "pivot_root",
            "process_vm_writev",
            "ptrace",
            "reboot",
            "setns",
            "socket",
            "unshare",
            "userfaultfd",
        ] {
            assert!(!names.iter().any(|name| name == dangerous), "{dangerous} is allowed");
        }
        // What is told of is not allowed as well, by whichever rule.
        let rules = profile["syscalls"].as_array().unwrap();
        let told = |name: &&Value| {
            rules.iter().any(|rule| {
                rule["action"] != "SCMP_ACT_ALLOW" && rule["names"].as_array().unwrap().contains(name)
            })
        };
        assert_eq!(names.iter().find(told), None);
        assert!(rules.iter().any(|rule| rule["action"] == "SCMP_ACT_TRACE" && rule["names"][0] == "bpf"));
        assert_eq!(rules.iter().filter(|rule| rule["names"][0] == "socket").count(), 2);
    }
}
