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
    rules.insert(libc::SYS_ioctl, vec![SeccompRule::new(vec![equal(1, libc::FIONBIO)?])?]);
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

#[cfg(test)]
mod tests {
    use std::io::{Error, ErrorKind, Read as _};
    use std::net::{TcpListener, TcpStream, UdpSocket};
    use std::os::unix::net::UnixStream;
    use std::os::unix::process::CommandExt as _;
    use std::process::Command;

    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "this test again, in a process of its own")]
    fn behind_the_walls_nothing_is_opened_started_or_reached() {
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "--ignored", "--nocapture", "--test-threads=1", "lockdown::tests::within"])
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && text.contains("1 passed"), "{text}");
    }

    #[test]
    #[ignore = "run by behind_the_walls_nothing_is_opened_started_or_reached: it shuts its own process in"]
    #[expect(clippy::disallowed_methods, reason = "all of it is refused")]
    fn within() {
        let (mut near, far) = UnixStream::pair().unwrap();
        let file = rustix::fs::memfd_create("file", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
        lock_down().unwrap();
        let refused: Vec<(&str, Error)> = vec![
            ("a file to read", std::fs::File::open("/dev/null").unwrap_err()),
            ("a file to write", std::fs::write("/dev/null", "x").unwrap_err()),
            ("a folder", std::fs::read_dir("/").unwrap_err()),
            ("a file to remove", std::fs::remove_file("/nowhere").unwrap_err()),
            ("a process", Command::new("/bin/true").spawn().unwrap_err()),
            ("a program", Command::new("/bin/true").exec()),
            ("a thread", std::thread::Builder::new().spawn(|| ()).unwrap_err()),
            ("a listener", TcpListener::bind("127.0.0.1:0").unwrap_err()),
            ("a connection", TcpStream::connect("127.0.0.1:9").unwrap_err()),
            ("a socket for datagrams", UdpSocket::bind("127.0.0.1:0").unwrap_err()),
            ("a pair of sockets", UnixStream::pair().unwrap_err()),
            ("a pipe", std::io::pipe().unwrap_err()),
            ("another descriptor", near.try_clone().unwrap_err()),
            (
                "memory that is a file",
                rustix::fs::memfd_create("x", rustix::fs::MemfdFlags::CLOEXEC).unwrap_err().into(),
            ),
            ("a signal", rustix::process::test_kill_process(rustix::process::getpid()).unwrap_err().into()),
            (
                "a mount",
                rustix::mount::unmount("/nowhere", rustix::mount::UnmountFlags::empty()).unwrap_err().into(),
            ),
            (
                "a way to be traced",
                rustix::process::set_dumpable_behavior(DumpableBehavior::Dumpable).unwrap_err().into(),
            ),
            (
                "more memory",
                rustix::process::setrlimit(Resource::Data, Rlimit { current: None, maximum: None })
                    .unwrap_err()
                    .into(),
            ),
            ("the length of a file", rustix::fs::ftruncate(&file, 1).unwrap_err().into()),
            ("a terminal's settings", rustix::termios::tcgetwinsize(&far).unwrap_err().into()),
        ];
        for (what, error) in refused {
            assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{what}: {error}");
        }
        // What it lives by: bytes, memory and time.
        std::io::Write::write_all(&mut &far, b"x").unwrap();
        near.read_exact(&mut [0]).unwrap();
        assert_eq!(vec![1_u8; 64 << 20].iter().map(|byte| u64::from(*byte)).sum::<u64>(), 64 << 20);
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
}
