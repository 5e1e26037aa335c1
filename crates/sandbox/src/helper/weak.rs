//! The backend `embedded-weak`: what can be had without namespaces, in a container for one.
//!
//! Two processes. The *keeper*, which is the helper itself, starts the command, watches memory, disks and calls that lead
//! out, and keeps whatever comes of the command: it is the parent of all that loses its own. It is never killed but let go
//! of, and then kills all of them: when the command ends, when the gateway closes the socket, and when the gateway dies.
//! The *command* cannot reach it: Landlock scopes its signals, and the filter its other ways.
//!
//! Every new process is asked about ([`crate::filter`]). Nobody answers any more once the end has begun, so that
//! nothing is born while all are killed.
//!
//! What is missing, compared with the embedded backend, is listed by `moltbot_policy::profile::missing_walls`.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Instant;

use landlock::{
    ABI, Access as _, AccessFs, BitFlags, PathBeneath, PathFd, RulesetCreated, RulesetCreatedAttr as _,
};
use moltbot_config::limits;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use rustix::process::{DumpableBehavior, Pid, PidfdFlags};
use rustix::thread::{CapabilitySet, CapabilitySets};

use super::attempts::{Verdict, Watch};
use super::disk::Disk;
use super::first::{READY, bury, exit_of, held_by, locked_in, status_of};
use super::modes::Modes;
use super::root::{BESIDE_USR, SETTINGS};
use super::{At as _, Failure, Job, command, die_with_parent, identity, release_output};
use crate::outcome::{Exit, Step};
use crate::program::family::{Family, Left, listed};
use crate::sys::{self, Fork};
use crate::wire::{self, Access, Report, Request};

/// The oldest version of Landlock that scopes signals.
const LANDLOCK: u8 = 6;

/// The steps of the keeper.
pub(super) fn enclose(job: &Job, folder: Option<OwnedFd>) -> Result<(), Failure> {
    rustix::process::umask(Mode::from_raw_mode(0o022));
    // No death signal: whoever keeps must not die before what it keeps.
    identity::require_gateway(job.request.gateway)?;
    if job.request.proxy {
        return Err("without namespaces there is no network of its own").at(Step::Network);
    }
    let folder = folder.filter(|_| job.request.access != Access::None);
    let uid = identity::become_owner(folder.as_ref().map(AsFd::as_fd))?;
    let family = Family::begin().at(Step::Init)?;
    // Others of the same user may not look into this one.
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable).at(Step::Init)?;
    let scratch = Scratch::make().doing(Step::Root, "a folder for what is temporary")?;
    let (started, tell) =
        rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
            .at(Step::Init)?;
    let keeper = rustix::process::getpid();
    match sys::fork().at(Step::Init)? {
        Fork::Child => {
            drop(started);
            // Nothing of this process is removed by its end.
            let place = std::mem::ManuallyDrop::new(scratch);
            run(job, folder, &place.path, keeper, &tell)
        }
        Fork::Parent(command) => {
            drop(tell);
            release_output().at(Step::Init)?;
            let disks = [folder, Some(scratch.open().at(Step::Root)?)];
            keep(job, command, uid, started, disks, &family)
        }
    }
}

/// A folder of the command's own for what is temporary. Removed with all in it when this is dropped.
struct Scratch {
    path: PathBuf,
}

impl Scratch {
    /// Nobody can have made it before, nor look into it.
    fn make() -> rustix::io::Result<Self> {
        let mut number = rustix::process::getpid().as_raw_nonzero().get().unsigned_abs();
        loop {
            let path = PathBuf::from(format!("/tmp/moltbot-{number}"));
            match rustix::fs::mkdir(&path, Mode::RWXU) {
                Ok(()) => return Ok(Self { path }),
                Err(Errno::EXIST) => number = number.wrapping_add(ODD),
                Err(errno) => return Err(errno),
            }
        }
    }

    fn open(&self) -> rustix::io::Result<OwnedFd> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        rustix::fs::open(&self.path, flags, Mode::empty())
    }
}

/// Leads from one number to another that nothing has.
const ODD: u32 = 0x9e37_79b1;

impl Drop for Scratch {
    #[expect(clippy::disallowed_methods, reason = "a folder of one command, which no vault knows")]
    fn drop(&mut self) {
        // What cannot be removed stays: there is nobody to tell, and `/tmp` is emptied by the system.
        drop(std::fs::remove_dir_all(&self.path));
    }
}

/// The steps of the command's process. Returns only when one of them failed.
fn run(
    job: &Job,
    folder: Option<OwnedFd>,
    scratch: &Path,
    keeper: Pid,
    tell: &OwnedFd,
) -> Result<(), Failure> {
    die_with_parent().at(Step::Init)?;
    if rustix::process::getppid() != Some(keeper) {
        return Err("the helper was killed").at(Step::Init);
    }
    rustix::process::set_dumpable_behavior(DumpableBehavior::Dumpable).at(Step::Init)?;
    identity::be_killed_first()?;
    command::begin_session(&job.request)?;
    // The kernel counts all processes of the user together, whoever started them: here the keeper counts.
    command::set_limits(&job.request, u64::MAX)?;
    enter(folder.as_ref(), scratch, &job.request.directory)?;
    give_up_capabilities()?;
    let abi = restrict_paths(&job.request, folder.as_ref(), scratch)?;
    drop(folder);
    let Some(listener) = command::filter_calls(job)? else {
        return Err("something around the gateway asks already about system calls").at(Step::Seccomp);
    };
    try_walls(&job.request, keeper)?;
    wire::send_bytes(tell.as_fd(), &[abi, READY], Some(listener.as_fd())).at(Step::Exec)?;
    drop(listener);
    let failure = command::start_shell(&job.request, Some(scratch));
    wire::send_bytes(tell.as_fd(), &[0], None).at(Step::Exec)?;
    Err(failure).at(Step::Exec)
}

fn enter(folder: Option<&OwnedFd>, scratch: &Path, directory: &str) -> Result<(), Failure> {
    let Some(folder) = folder else { return rustix::process::chdir(scratch).at(Step::Directory) };
    let name = if directory.is_empty() { "." } else { directory };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    let inside =
        rustix::fs::openat2(folder, name, flags, Mode::empty(), resolve).doing(Step::Directory, name)?;
    rustix::process::fchdir(&inside).doing(Step::Directory, name)
}

/// Gives up what an ordinary user may have, and with it what a program could lend.
fn give_up_capabilities() -> Result<(), Failure> {
    rustix::thread::clear_ambient_capability_set().at(Step::Capabilities)?;
    let none = CapabilitySets {
        effective: CapabilitySet::empty(),
        permitted: CapabilitySet::empty(),
        inheritable: CapabilitySet::empty(),
    };
    rustix::thread::set_capabilities(None, none).at(Step::Capabilities)?;
    rustix::thread::set_no_new_privs(true).at(Step::Capabilities)
}

fn restrict_paths(request: &Request, folder: Option<&OwnedFd>, scratch: &Path) -> Result<u8, Failure> {
    let (number, abi, rules) = command::newest(LANDLOCK)?;
    let allowed = allow_system(rules, abi).and_then(|rules| allow_own(rules, abi, request, folder, scratch));
    allowed.and_then(command::enforce).at(Step::Landlock)?;
    Ok(number)
}

type Allowed = Result<RulesetCreated, Box<dyn std::error::Error>>;

/// Reads what the private root of the other backends shows: programs, settings of the dynamic linker, devices that hold
/// nothing. Besides, those of OpenSSL, without which it gives up when they are refused and not missing. Of `/proc` nothing, because it tells of all processes.
fn allow_system(mut rules: RulesetCreated, abi: ABI) -> Allowed {
    let programs = AccessFs::from_read(abi);
    let reading = programs & !BitFlags::from(AccessFs::Execute);
    let children = |folder: &str, left_out: &'static [&'static str]| {
        let all = std::fs::read_dir(folder).into_iter().flatten().flatten();
        all.filter(move |entry| !left_out.iter().any(|out| entry.file_name() == *out))
            .map(|entry| entry.path())
    };
    let beside = BESIDE_USR.map(|name| PathBuf::from(format!("/{name}")));
    let shown = children("/usr", &["local", "src"]).chain(children("/usr/local", &["etc"])).chain(beside);
    for path in shown {
        rules = allow_path(rules, abi, &path, programs)?;
    }
    for name in SETTINGS.into_iter().chain(["ssl/openssl.cnf"]) {
        rules = allow_path(rules, abi, &PathBuf::from(format!("/etc/{name}")), reading)?;
    }
    let using = AccessFs::ReadFile | AccessFs::WriteFile | AccessFs::IoctlDev;
    for device in ["/dev/null", "/dev/zero", "/dev/full"] {
        rules = allow_path(rules, abi, Path::new(device), using)?;
    }
    for device in ["/dev/random", "/dev/urandom"] {
        rules = allow_path(rules, abi, Path::new(device), AccessFs::ReadFile.into())?;
    }
    Ok(rules)
}

/// What is not there needs no exception, and a link is where it leads.
fn allow_path(rules: RulesetCreated, abi: ABI, path: &Path, access: BitFlags<AccessFs>) -> Allowed {
    let kind = match rustix::fs::stat(path) {
        Ok(stat) => FileType::from_raw_mode(stat.st_mode),
        Err(_absent) => return Ok(rules),
    };
    let access = if kind == FileType::Directory { access } else { access & AccessFs::from_file(abi) };
    Ok(rules.add_rule(PathBeneath::new(PathFd::new(path)?, access))?)
}

/// Writes to its own two folders; what is temporary cannot be run.
fn allow_own(
    rules: RulesetCreated,
    abi: ABI,
    request: &Request,
    folder: Option<&OwnedFd>,
    scratch: &Path,
) -> Allowed {
    let devices = AccessFs::MakeBlock | AccessFs::MakeChar | AccessFs::IoctlDev;
    let sockets = AccessFs::MakeSock | AccessFs::ResolveUnix;
    let writing = AccessFs::from_all(abi) & !(devices | sockets);
    let temporary = writing & !BitFlags::from(AccessFs::Execute);
    let rules = rules.add_rule(PathBeneath::new(PathFd::new(scratch)?, temporary))?;
    let Some(folder) = folder else { return Ok(rules) };
    let access = if request.access == Access::ReadWrite { writing } else { AccessFs::from_read(abi) };
    Ok(rules.add_rule(PathBeneath::new(folder, access))?)
}

/// Tries what must not work any more, in the very process that becomes the command.
fn try_walls(request: &Request, keeper: Pid) -> Result<(), Failure> {
    command::try_sockets(request)?;
    command::try_capabilities()?;
    let writing = OFlags::WRONLY | OFlags::CREATE | OFlags::CLOEXEC;
    for place in ["/moltbot-check", "/tmp/moltbot-check", "/dev/shm/moltbot-check"] {
        if rustix::fs::open(place, writing, Mode::RUSR).is_ok() {
            return Err(format!("{place} could be made")).at(Step::SelfCheck);
        }
    }
    for hidden in ["/etc/passwd", "/proc/self/status", "/proc/1/cmdline", "/"] {
        if rustix::fs::open(hidden, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).is_ok() {
            return Err(format!("{hidden} can be read")).at(Step::SelfCheck);
        }
    }
    if rustix::process::test_kill_process(keeper) != Err(Errno::PERM) {
        return Err("signals reach other processes").at(Step::SelfCheck);
    }
    // Not of a mode: whom that is asked of does not answer before the command has begun.
    match rustix::fs::chownat(CWD, "/dev/null", None, None, rustix::fs::AtFlags::empty()) {
        Err(Errno::PERM) => Ok(()),
        other => Err(format!("changing an owner gave {other:?}")).at(Step::SelfCheck),
    }
}

/// Waits for the command to start and to end, and ends all that came of it.
fn keep(
    job: &Job,
    command: Pid,
    uid: u32,
    started: OwnedFd,
    disks: [Option<OwnedFd>; 2],
    family: &Family,
) -> Result<(), Failure> {
    let handle = rustix::process::pidfd_open(command, PidfdFlags::empty()).at(Step::Init)?;
    let Some((walls, listener)) = locked_in(command, uid, started)? else { return Ok(()) };
    let modes = modes_of(&disks, job.request.access).at(Step::Init)?;
    let mut watch = Watch::of_all(listener, job.request.processes, threads, modes);
    // Where the gateway has ended nobody hears it; the socket says so in a moment.
    let ended = match wire::send_report(job.socket.as_fd(), &Report::Started(walls), None) {
        Ok(()) => until_end(job, command, &handle, &mut watch, disks),
        Err(error) => Err(error).at(Step::Init),
    };
    // Whatever happened, nothing of it goes on. The watch is there still, and answers nobody.
    let left = family.kill().at(Step::Init)?;
    drop(watch);
    if let Left::Survivors(_) = left {
        // They have the output, and the gateway waits for its end in vain: so it is told.
        return Ok(());
    }
    wire::send_report(job.socket.as_fd(), &Report::Ended(ended?), None).at(Step::Init)
}

fn until_end(
    job: &Job,
    command: Pid,
    handle: &OwnedFd,
    watch: &mut Watch,
    disks: [Option<OwnedFd>; 2],
) -> Result<Exit, Failure> {
    let pause = Timespec::try_from(limits::MEMORY_WATCH).at(Step::Init)?;
    let disks = disks.into_iter().flatten().map(|folder| Disk::watch_of(folder, job.request.disk));
    let disks: Vec<Disk> = disks.collect::<Result<_, _>>().at(Step::Init)?;
    let mut last = Instant::now();
    loop {
        let mut waited = vec![PollFd::new(handle, PollFlags::IN), PollFd::new(&job.socket, PollFlags::IN)];
        waited.extend(watch.polled());
        match rustix::event::poll(&mut waited, Some(&pause)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error).at(Step::Init),
        }
        let event = |place: usize| waited.get(place).map_or(PollFlags::empty(), PollFd::revents);
        let (gateway, asked) = (event(1), event(2));
        drop(waited);
        // Nothing is sent after the request: whatever there is to read is the end.
        if !gateway.is_empty() {
            return Ok(Exit::Aborted);
        }
        if watch.take(asked, &job.socket.as_fd()) == Verdict::End {
            return Ok(Exit::Escape);
        }
        while let Some((pid, status)) = bury().at(Step::Init)? {
            if pid == command {
                return Ok(exit_of(status));
            }
        }
        if last.elapsed() < limits::MEMORY_WATCH {
            continue;
        }
        last = Instant::now();
        if memory() > job.request.memory {
            return Ok(Exit::OutOfMemory);
        }
        if disks.iter().any(Disk::is_filled) {
            return Ok(Exit::DiskFull);
        }
    }
}

/// The folders in which the command may change modes: those that it may write.
fn modes_of(folders: &[Option<OwnedFd>; 2], access: Access) -> std::io::Result<Modes> {
    let [folder, scratch] = folders;
    let folder = folder.as_ref().filter(|_| access == Access::ReadWrite);
    let own = folder.into_iter().chain(scratch).map(OwnedFd::try_clone);
    Ok(Modes::of(own.collect::<std::io::Result<Vec<_>>>()?)?)
}

/// How many processes and threads the command has.
fn threads() -> u64 {
    let of = |pid: i32| {
        let status = status_of(Path::new(&format!("/proc/{pid}/status")));
        let line = status.lines().find_map(|line| line.strip_prefix("Threads:"));
        line.and_then(|line| line.trim().parse::<u64>().ok()).unwrap_or(0)
    };
    listed().into_iter().map(of).fold(0, u64::saturating_add)
}

/// Memory that all processes of the command hold and that could not be dropped.
fn memory() -> u64 {
    let held = listed().into_iter().map(|pid| held_by(Path::new(&format!("/proc/{pid}/status"))));
    held.fold(0, u64::saturating_add)
}
