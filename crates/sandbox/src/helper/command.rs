//! The command's own process: locks itself in, tries the locks, and becomes the shell.

use std::io;
use std::net::SocketAddrV4;
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible as _, NetPort, PathBeneath,
    PathFd, Ruleset, RulesetAttr as _, RulesetCreated, RulesetCreatedAttr as _, RulesetStatus, Scope,
};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketType};
use rustix::process::{Resource, Rlimit};

use super::first::READY;
use super::{At as _, Failure, Job, network};
use crate::filter;
use crate::outcome::Step;
use crate::sys;
use crate::wire::{self, Access, ModelEnds, Request};

/// The steps of the command's process. Returns only when one of them failed.
pub(super) fn run(job: &Job, tell: &OwnedFd) -> Result<(), Failure> {
    begin_session(&job.request)?;
    set_limits(&job.request, job.request.processes)?;
    enter(&job.request.directory)?;
    let abi = restrict_paths(&job.request, &[])?;
    let listener = filter_calls(job)?;
    try_walls(&job.request, abi)?;
    wire::send_bytes(tell.as_fd(), &[abi, READY], listener.as_ref().map(AsFd::as_fd)).at(Step::Exec)?;
    drop(listener);
    let failure = match &job.model {
        None => start_shell(&job.request, None),
        Some(ends) => become_model(ends),
    };
    // The shell did not start: what was told to the first process is taken back.
    wire::send_bytes(tell.as_fd(), &[0], None).at(Step::Exec)?;
    Err(failure).at(Step::Exec)
}

/// A session of its own, whose terminal is what it writes to, where that is one.
pub(super) fn begin_session(request: &Request) -> Result<(), Failure> {
    rustix::process::setsid().at(Step::Exec)?;
    if request.terminal {
        rustix::process::ioctl_tiocsctty(rustix::stdio::stdout()).doing(Step::Exec, "the terminal")?;
    }
    Ok(())
}

/// Filters this process's system calls from now on. What leads out is asked about through the descriptor; where a
/// container around the gateway asks already, it fails unseen.
pub(super) fn filter_calls(job: &Job) -> Result<Option<OwnedFd>, Failure> {
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

/// What is otherwise for a command in a container.
pub(super) struct InContainer {
    /// A program and its arguments in the script's place.
    pub(super) program: Option<Vec<String>>,
    /// Folders that may be written, besides the workspace and `/tmp`.
    pub(super) writable: Vec<String>,
    /// Whether Landlock may be missing.
    pub(super) own_kernel: bool,
}

/// As [`run`], within the walls of a container. The engine counts the container's processes: this machine counts a
/// user's in all of them together.
pub(super) fn run_in_container(job: &Job, container: &InContainer, tell: &OwnedFd) -> Result<(), Failure> {
    rustix::process::setsid().at(Step::Exec)?;
    let null =
        rustix::fs::open("/dev/null", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).at(Step::Exec)?;
    rustix::stdio::dup2_stdin(&null).at(Step::Exec)?;
    set_limits(&job.request, job.request.processes)?;
    enter(&job.request.directory)?;
    let abi = match restrict_paths(&job.request, &container.writable) {
        Err(_missing) if container.own_kernel => 0,
        other => other?,
    };
    let listener = match filter_calls(job) {
        // A kernel of its own need not know how to ask.
        Err(_) if container.own_kernel => {
            let program = filter::decode(&job.filter).at(Step::Seccomp)?;
            seccompiler::apply_filter(&filter::untold(&program)).at(Step::Seccomp)?;
            None
        }
        other => other?,
    };
    try_walls(&job.request, abi)?;
    wire::send_bytes(tell.as_fd(), &[abi, READY], listener.as_ref().map(AsFd::as_fd)).at(Step::Exec)?;
    drop(listener);
    let failure = match container.program.as_deref() {
        None => start_shell(&job.request, None),
        Some([program, arguments @ ..]) => {
            become_program(program, &arguments.iter().map(String::as_str).collect::<Vec<_>>(), false, None)
        }
        Some([]) => io::ErrorKind::InvalidInput.into(),
    };
    wire::send_bytes(tell.as_fd(), &[0], None).at(Step::Exec)?;
    Err(failure).at(Step::Exec)
}

/// Sets the limits. `processes` are those of the user that the kernel counts together.
pub(super) fn set_limits(request: &Request, processes: u64) -> Result<(), Failure> {
    const LOCKED: u64 = 64 * 1024;
    const SIGNALS: u64 = 1024;
    for (resource, wanted) in [
        (Resource::Core, 0),
        (Resource::Nofile, request.open_files),
        (Resource::Nproc, processes),
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
fn restrict_paths(request: &Request, extra: &[String]) -> Result<u8, Failure> {
    let (number, abi, rules) = newest(1)?;
    allow(rules, abi, request, extra).at(Step::Landlock)?;
    Ok(number)
}

/// The newest version that this kernel has, not older than `oldest`, with everything restricted that it can restrict.
pub(super) fn newest(oldest: u8) -> Result<(u8, ABI, RulesetCreated), Failure> {
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
        (1, ABI::V1),
    ];
    let mut why = format!("there is no Landlock of version {oldest}");
    for (number, abi) in all.into_iter().filter(|(number, _)| *number >= oldest) {
        match rules_of(abi) {
            Ok(rules) => return Ok((number, abi, rules)),
            Err(error) if number == oldest => why = format!("{why}: {error}"),
            Err(_older) => {}
        }
    }
    Err(why).at(Step::Landlock)
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

/// The exceptions: reading everywhere in the private root, writing in three folders and to three devices, and the proxy.
fn allow(
    rules: RulesetCreated,
    abi: ABI,
    request: &Request,
    extra: &[String],
) -> Result<(), Box<dyn std::error::Error>> {
    let reading = AccessFs::from_read(abi);
    let devices = AccessFs::MakeBlock | AccessFs::MakeChar | AccessFs::IoctlDev;
    let sockets = AccessFs::MakeSock | AccessFs::ResolveUnix;
    let writing = AccessFs::from_all(abi) & !(devices | sockets);
    let mut rules = rules.add_rule(PathBeneath::new(PathFd::new("/")?, reading))?;
    for folder in ["/tmp", "/dev/shm", "/workspace"].into_iter().chain(extra.iter().map(String::as_str)) {
        if folder != "/workspace" || request.access != Access::ReadOnly {
            rules = rules.add_rule(PathBeneath::new(PathFd::new(folder)?, writing))?;
        }
    }
    for device in ["/dev/null", "/dev/zero", "/dev/full", "/dev/tty"] {
        let using = (AccessFs::ReadFile | AccessFs::WriteFile | AccessFs::IoctlDev) & AccessFs::from_all(abi);
        rules = rules.add_rule(PathBeneath::new(PathFd::new(device)?, using))?;
    }
    if request.proxy && !AccessNet::from_all(abi).is_empty() {
        rules = rules.add_rule(NetPort::new(network::PROXY.port(), AccessNet::ConnectTcp))?;
    }
    enforce(rules)
}

/// Holds this process to the rules, for good.
pub(super) fn enforce(rules: RulesetCreated) -> Result<(), Box<dyn std::error::Error>> {
    match rules.restrict_self()?.ruleset {
        RulesetStatus::FullyEnforced => Ok(()),
        other => Err(format!("only {other:?}").into()),
    }
}

/// Tries what must not work any more, in the very process that becomes the command.
fn try_walls(request: &Request, abi: u8) -> Result<(), Failure> {
    if request.proxy {
        try_network(abi)?;
    }
    try_sockets(request)?;
    try_capabilities()?;
    let writing = OFlags::WRONLY | OFlags::CREATE | OFlags::CLOEXEC;
    if rustix::fs::open("/moltbot-check", writing, Mode::RUSR).is_ok() {
        return Err("the private root can be written").at(Step::SelfCheck);
    }
    if rustix::fs::open("/proc/1/environ", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).is_ok() {
        return Err("the first process can be read").at(Step::SelfCheck);
    }
    Ok(())
}

/// Tries sockets, of which there are none but those of a proxy.
pub(super) fn try_sockets(request: &Request) -> Result<(), Failure> {
    for family in [AddressFamily::INET, AddressFamily::INET6, AddressFamily::UNIX, AddressFamily::NETLINK] {
        if request.proxy && family == AddressFamily::INET {
            continue;
        }
        match rustix::net::socket(family, SocketType::STREAM, None) {
            Err(Errno::PERM) => {}
            other => return Err(format!("a socket of {family:?} gave {other:?}")).at(Step::SelfCheck),
        }
    }
    Ok(())
}

/// Looks whether capabilities are left.
pub(super) fn try_capabilities() -> Result<(), Failure> {
    let capabilities = rustix::thread::capabilities(None).at(Step::SelfCheck)?;
    if !(capabilities.effective | capabilities.permitted | capabilities.inheritable).is_empty() {
        return Err("there are capabilities left").at(Step::SelfCheck);
    }
    Ok(())
}

/// Tries what must not work beside the proxy: datagrams, and from Landlock's version 4 on another port.
fn try_network(abi: u8) -> Result<(), Failure> {
    match rustix::net::socket(AddressFamily::INET, SocketType::DGRAM, None) {
        Err(Errno::PERM) => {}
        other => return Err(format!("a socket for datagrams gave {other:?}")).at(Step::SelfCheck),
    }
    if abi < 4 {
        return Ok(());
    }
    let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).at(Step::SelfCheck)?;
    let other = SocketAddrV4::new(*network::PROXY.ip(), network::PROXY.port().saturating_add(1));
    match rustix::net::connect(&socket, &other) {
        Err(Errno::ACCESS) => Ok(()),
        other => Err(format!("a connection to another port gave {other:?}")).at(Step::SelfCheck),
    }
}

/// Becomes the program of a local model, which nobody can change any more. Returns why it could not.
fn become_model(ends: &ModelEnds) -> io::Error {
    if let Err(error) = rustix::stdio::dup2_stdin(&ends.input) {
        return error.into();
    }
    // Found by its handle: no folder of these walls has it. The handle itself closes when the program begins.
    become_program(&format!("/proc/self/fd/{}", ends.program.as_raw_fd()), &[], false, None)
}

/// Becomes the shell: bash where there is one. Returns why it could not.
///
/// `home` is where it finds its own folder, when that is not `/tmp`.
pub(super) fn start_shell(request: &Request, home: Option<&Path>) -> io::Error {
    let (script, proxy) = (request.script.as_str(), request.proxy);
    let bash = become_program("/bin/bash", &["--norc", "--noprofile", "-c", script], proxy, home);
    if bash.kind() == io::ErrorKind::NotFound {
        become_program("/bin/sh", &["-c", script], proxy, home)
    } else {
        bash
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the door to processes: the helper becomes the recorded command"
)]
fn become_program(program: &str, arguments: &[&str], proxy: bool, home: Option<&Path>) -> io::Error {
    let url = format!("http://{}", network::PROXY);
    let ways = PROXY_VARIABLES.iter().filter(|_| proxy).map(|name| (*name, url.as_str()));
    let own = ["HOME", "TMPDIR"].into_iter().filter_map(|name| home.map(|home| (name, home)));
    Command::new(program).args(arguments).env_clear().envs(ENVIRONMENT).envs(ways).envs(own).exec()
}

/// Where programs look for a proxy; in both spellings, because some read only one.
const PROXY_VARIABLES: [&str; 6] =
    ["ALL_PROXY", "HTTPS_PROXY", "HTTP_PROXY", "all_proxy", "http_proxy", "https_proxy"];

/// All that a command is given of an environment besides the way to a proxy, which its walls decide.
pub(crate) const ENVIRONMENT: [(&str, &str); 3] = [
    ("HOME", "/tmp"),
    ("LANG", "C.UTF-8"),
    ("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin"),
];
