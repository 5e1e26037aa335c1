//! The command's own process: locks itself in, tries the locks, and becomes the shell.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible as _, PathBeneath, PathFd,
    Ruleset, RulesetAttr as _, RulesetCreated, RulesetCreatedAttr as _, RulesetStatus, Scope,
};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketType};
use rustix::process::{Resource, Rlimit};

use super::first::READY;
use super::{At as _, Failure, Job};
use crate::filter;
use crate::outcome::Step;
use crate::sys;
use crate::wire::{self, Access, Request};

/// The steps of the command's process. Returns only when one of them failed.
pub(super) fn run(job: &Job, tell: &OwnedFd) -> Result<(), Failure> {
    rustix::process::setsid().at(Step::Exec)?;
    set_limits(&job.request)?;
    enter(&job.request.directory)?;
    let abi = restrict_paths(job.request.access)?;
    let listener = filter_calls(job)?;
    try_walls()?;
    wire::send_bytes(tell.as_fd(), &[abi, READY], listener.as_ref().map(AsFd::as_fd)).at(Step::Exec)?;
    drop(listener);
    let failure = start_shell(&job.request.script);
    // The shell did not start: what was told to the first process is taken back.
    wire::send_bytes(tell.as_fd(), &[0], None).at(Step::Exec)?;
    Err(failure).at(Step::Exec)
}

/// Filters this process's system calls from now on. What leads out is asked about through the descriptor; where a
/// container around the gateway asks already, it fails unseen.
fn filter_calls(job: &Job) -> Result<Option<OwnedFd>, Failure> {
    let program = filter::decode(&job.filter).at(Step::Seccomp)?;
    match sys::apply_asking_filter(&program) {
        Ok(listener) => Ok(Some(listener)),
        Err(error) if error.raw_os_error() == Some(libc::EBUSY) => {
            seccompiler::apply_filter(&filter::untold(&program)).at(Step::Seccomp)?;
            Ok(None)
        }
        Err(error) => Err(error).at(Step::Seccomp),
    }
}

fn set_limits(request: &Request) -> Result<(), Failure> {
    const LOCKED: u64 = 64 * 1024;
    const SIGNALS: u64 = 1024;
    for (resource, wanted) in [
        (Resource::Core, 0),
        (Resource::Nofile, request.open_files),
        (Resource::Nproc, request.processes),
        (Resource::Fsize, request.file_size),
        (Resource::As, request.address_space),
        (Resource::Cpu, request.cpu_seconds),
        (Resource::Msgqueue, 0),
        (Resource::Memlock, LOCKED),
        (Resource::Sigpending, SIGNALS),
        (Resource::Rtprio, 0),
        (Resource::Nice, 0),
    ] {
        // The gateway's own limit may be lower, and cannot be raised.
        let highest =
            rustix::process::getrlimit(resource).maximum.map_or(wanted, |highest| highest.min(wanted));
        let limit = Rlimit { current: Some(highest), maximum: Some(highest) };
        rustix::process::setrlimit(resource, limit).doing(Step::Limits, format_args!("{resource:?}"))?;
    }
    Ok(())
}

fn enter(directory: &str) -> Result<(), Failure> {
    let path = format!("/workspace/{directory}");
    rustix::process::chdir(&path).doing(Step::Directory, path)
}

/// Landlock at the newest version that this kernel has, in full: version 1 restricts files, 2 moves between
/// folders, 3 truncation, 4 TCP, 5 requests to devices, 6 signals and abstract sockets, 9 socket files.
fn restrict_paths(access: Access) -> Result<u8, Failure> {
    let all = [
        (10, ABI::V10),
        (9, ABI::V9),
        (8, ABI::V8),
        (7, ABI::V7),
        (6, ABI::V6),
        (5, ABI::V5),
        (4, ABI::V4),
        (3, ABI::V3),
        (2, ABI::V2),
    ];
    for (number, abi) in all {
        if let Ok(rules) = rules_of(abi) {
            allow(rules, abi, access).at(Step::Landlock)?;
            return Ok(number);
        }
    }
    let rules = rules_of(ABI::V1).at(Step::Landlock)?;
    allow(rules, ABI::V1, access).at(Step::Landlock)?;
    Ok(1)
}

/// Everything that `abi` can restrict, restricted. Fails when the kernel is older.
fn rules_of(abi: ABI) -> Result<RulesetCreated, landlock::RulesetError> {
    let rules = Ruleset::default().set_compatibility(CompatLevel::HardRequirement);
    let rules = rules.handle_access(AccessFs::from_all(abi))?;
    let network: BitFlags<AccessNet> = AccessNet::from_all(abi);
    let rules = if network.is_empty() { rules } else { rules.handle_access(network)? };
    let scopes = Scope::from_all(abi);
    let rules = if scopes.is_empty() { rules } else { rules.scope(scopes)? };
    rules.create()
}

/// The exceptions: reading everywhere in the private root, writing in three folders and to three devices.
fn allow(rules: RulesetCreated, abi: ABI, access: Access) -> Result<(), Box<dyn std::error::Error>> {
    let reading = AccessFs::from_read(abi);
    let devices = AccessFs::MakeBlock | AccessFs::MakeChar | AccessFs::IoctlDev;
    let sockets = AccessFs::MakeSock | AccessFs::ResolveUnix;
    let writing = AccessFs::from_all(abi) & !(devices | sockets);
    let mut rules = rules.add_rule(PathBeneath::new(PathFd::new("/")?, reading))?;
    for folder in ["/tmp", "/dev/shm", "/workspace"] {
        if folder != "/workspace" || access != Access::ReadOnly {
            rules = rules.add_rule(PathBeneath::new(PathFd::new(folder)?, writing))?;
        }
    }
    for device in ["/dev/null", "/dev/zero", "/dev/full", "/dev/tty"] {
        let using = (AccessFs::ReadFile | AccessFs::WriteFile | AccessFs::IoctlDev) & AccessFs::from_all(abi);
        rules = rules.add_rule(PathBeneath::new(PathFd::new(device)?, using))?;
    }
    match rules.restrict_self()?.ruleset {
        RulesetStatus::FullyEnforced => Ok(()),
        other => Err(format!("only {other:?}").into()),
    }
}

/// Tries what must not work any more, in the very process that becomes the command.
fn try_walls() -> Result<(), Failure> {
    for family in [AddressFamily::INET, AddressFamily::INET6, AddressFamily::UNIX, AddressFamily::NETLINK] {
        match rustix::net::socket(family, SocketType::STREAM, None) {
            Err(Errno::PERM) => {}
            other => return Err(format!("a socket of {family:?} gave {other:?}")).at(Step::SelfCheck),
        }
    }
    let capabilities = rustix::thread::capabilities(None).at(Step::SelfCheck)?;
    if !(capabilities.effective | capabilities.permitted | capabilities.inheritable).is_empty() {
        return Err("there are capabilities left").at(Step::SelfCheck);
    }
    let writing = OFlags::WRONLY | OFlags::CREATE | OFlags::CLOEXEC;
    if rustix::fs::open("/moltbot-check", writing, Mode::RUSR).is_ok() {
        return Err("the private root can be written").at(Step::SelfCheck);
    }
    if rustix::fs::open("/proc/1/environ", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).is_ok() {
        return Err("the first process can be read").at(Step::SelfCheck);
    }
    Ok(())
}

/// Becomes the shell: bash where there is one. Returns why it could not.
fn start_shell(script: &str) -> io::Error {
    let bash = become_program("/bin/bash", &["--norc", "--noprofile", "-c", script]);
    if bash.kind() == io::ErrorKind::NotFound { become_program("/bin/sh", &["-c", script]) } else { bash }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the door to processes: the helper becomes the recorded command"
)]
fn become_program(program: &str, arguments: &[&str]) -> io::Error {
    let environment = [("HOME", "/tmp"), ("LANG", "C.UTF-8"), ("PATH", PATH)];
    Command::new(program).args(arguments).env_clear().envs(environment).exec()
}

/// Where the command finds programs.
const PATH: &str = "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin";
