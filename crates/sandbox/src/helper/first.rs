//! The first process of the namespace: builds the private root, starts the command, buries orphans, and watches the
//! memory of all. When it ends, the kernel kills every process in the namespace.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Instant;

use moltbot_config::limits;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use rustix::process::{DumpableBehavior, Pid, PidfdFlags, WaitOptions, WaitStatus};
use rustix::thread::{CapabilitySet, CapabilitySets};

use super::attempts::{Verdict, Watch};
use super::disk::Disk;
use super::identity::Workspace;
use super::{At as _, Failure, Job, command, die_with_parent, network, release_output, root};
use crate::outcome::{Exit, Step};
use crate::sys::{self, Fork};
use crate::wire::{self, Report, Task, Walls, Word};

/// The steps of the first process. `life` ends when the outer process does.
pub(super) fn run(
    job: &mut Job,
    workspace: Option<Workspace>,
    uid: u32,
    life: &OwnedFd,
) -> Result<(), Failure> {
    die_with_parent().at(Step::Init)?;
    // The word comes after the gateway has a handle of this process. An end instead means that the outer process
    // died before the line above, and would not be noticed any more.
    if rustix::io::read(life, &mut [0; 1]).at(Step::Init)? == 0 {
        return Err("the helper was killed").at(Step::Init);
    }
    rustix::system::sethostname(b"sandbox").at(Step::Init)?;
    if job.request.proxy {
        network::bring_up().at(Step::Network)?;
    }
    let workspace = root::begin(&job.request, workspace)?;
    // Up to here it is the same for every command.
    if job.request.ahead {
        let Task { script, directory } = wire::receive_task(job.socket.as_fd()).at(Step::Start)?;
        (job.request.script, job.request.directory) = (script, directory);
    }
    if job.request.proxy {
        offer_way_out(job)?;
    }
    // Keeps the root together.
    let _built = root::complete(&job.request, workspace)?;
    begin(job, uid)
}

/// The steps of the first process in what `bwrap` has built. `outer` ends when the outer process does.
pub(super) fn run_in_bubblewrap(job: &Job, word: Word, outer: &OwnedFd) -> Result<(), Failure> {
    die_with_parent().at(Step::Init)?;
    // As in [`run`]: what ended before the line above would not be noticed any more.
    let mut end = [PollFd::new(outer, PollFlags::IN)];
    if rustix::event::poll(&mut end, Some(&Timespec::default())).at(Step::Init)? > 0 {
        return Err("the helper was killed").at(Step::Init);
    }
    let own = rustix::process::pidfd_open(rustix::process::getpid(), PidfdFlags::empty()).at(Step::Init)?;
    wire::send_report(job.socket.as_fd(), &Report::Born, Some(own.as_fd())).at(Step::Init)?;
    drop(own);
    if job.request.proxy {
        offer_way_out(job)?;
    }
    root::complete_bubblewrap(&job.request, word.workspace)?;
    begin(job, word.uid)
}

/// Hands the gateway a socket that listens in this namespace, and waits until it is served: a command that began before
/// could find nobody there.
fn offer_way_out(job: &Job) -> Result<(), Failure> {
    let listening = network::listen()?;
    wire::send_report(job.socket.as_fd(), &Report::Listening, Some(listening.as_fd())).at(Step::Network)?;
    wire::await_served(job.socket.as_fd()).at(Step::Network)
}

/// Starts the command in the private root, and sees it to its end.
fn begin(job: &Job, uid: u32) -> Result<(), Failure> {
    give_up_capabilities()?;
    // Other processes of the namespace have the same user: none may look into this one.
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable).at(Step::Init)?;
    let (started, tell) =
        rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
            .at(Step::Init)?;
    match sys::fork().at(Step::Init)? {
        Fork::Child => {
            drop(started);
            command::run(job, &tell)
        }
        Fork::Parent(command) => {
            drop(tell);
            release_output().at(Step::Init)?;
            watch(job, command, uid, started)
        }
    }
}

/// Gives up every capability, for this process and all that come from it.
fn give_up_capabilities() -> Result<(), Failure> {
    for capability in CapabilitySet::all().iter() {
        // Older kernels do not know the newest capabilities; there is then nothing to remove.
        match rustix::thread::capability_is_in_bounding_set(capability) {
            Ok(true) => {
                rustix::thread::remove_capability_from_bounding_set(capability).at(Step::Capabilities)?
            }
            Ok(false) | Err(rustix::io::Errno::INVAL) => {}
            Err(error) => return Err(error).at(Step::Capabilities),
        }
    }
    rustix::thread::clear_ambient_capability_set().at(Step::Capabilities)?;
    let none = CapabilitySets {
        effective: CapabilitySet::empty(),
        permitted: CapabilitySet::empty(),
        inheritable: CapabilitySet::empty(),
    };
    rustix::thread::set_capabilities(None, none).at(Step::Capabilities)?;
    rustix::thread::set_no_new_privs(true).at(Step::Capabilities)
}

/// Waits for the command to start and to end.
fn watch(job: &Job, command: Pid, uid: u32, started: OwnedFd) -> Result<(), Failure> {
    let handle = rustix::process::pidfd_open(command, PidfdFlags::empty()).at(Step::Init)?;
    let Some((walls, listener)) = locked_in(command, uid, started)? else { return Ok(()) };
    wire::send_report(job.socket.as_fd(), &Report::Started(walls), None).at(Step::Init)?;
    let exit = until_end(job, command, &handle, Watch::new(listener))?;
    wire::send_report(job.socket.as_fd(), &Report::Ended(exit), None).at(Step::Init)
}

/// Waits until the command has locked itself in: its walls, and where it is asked about its calls. It writes what Landlock
/// could do, and then its end of the pair closes: when the shell starts, or when the command gives up, which it has then told
/// the gateway itself.
pub(super) fn locked_in(
    command: Pid,
    uid: u32,
    started: OwnedFd,
) -> Result<Option<(Walls, Option<OwnedFd>)>, Failure> {
    let (told, listener) = wire::receive_bytes(started.as_fd()).at(Step::Init)?;
    drop(started);
    let [abi, READY] = told.as_slice() else {
        // Ending at once would kill it before it has told.
        rustix::process::waitpid(Some(command), WaitOptions::empty()).at(Step::Init)?;
        return Ok(None);
    };
    let walls = Walls { landlock_abi: u32::from(*abi), uid, watched: listener.is_some() };
    Ok(Some((walls, listener)))
}

/// What the command writes when only starting the shell is left.
pub(super) const READY: u8 = b'!';

/// More than there can be at one time.
const BURIED_AT_ONCE: u32 = 1024;

fn until_end(job: &Job, command: Pid, handle: &OwnedFd, mut watch: Watch) -> Result<Exit, Failure> {
    let pause = Timespec::try_from(limits::MEMORY_WATCH).at(Step::Init)?;
    let disk = Disk::watch(job.request.disk).at(Step::Init)?;
    let mut last = Instant::now();
    loop {
        let mut waited = vec![PollFd::new(handle, PollFlags::IN)];
        waited.extend(watch.polled());
        rustix::event::poll(&mut waited, Some(&pause)).at(Step::Init)?;
        let asked = waited.get(1).map_or(PollFlags::empty(), PollFd::revents);
        drop(waited);
        if watch.take(asked, &job.socket.as_fd()) == Verdict::End {
            // Before the listener closes: whoever waits for an answer would go on for a moment.
            sys::kill_all_others().at(Step::Init)?;
            return Ok(Exit::Escape);
        }
        // Not until there are none: those that end without pause would keep this process from watching memory.
        for _ in 0..BURIED_AT_ONCE {
            match bury().at(Step::Init)? {
                Some((pid, status)) if pid == command => return Ok(exit_of(status)),
                Some(_) => {}
                None => break,
            }
        }
        if last.elapsed() >= limits::MEMORY_WATCH {
            last = Instant::now();
        } else {
            continue;
        }
        if resident_bytes() > job.request.memory {
            return Ok(Exit::OutOfMemory);
        }
        if disk.is_filled() {
            return Ok(Exit::DiskFull);
        }
    }
}

/// One process that has ended, if there is one.
pub(super) fn bury() -> rustix::io::Result<Option<(Pid, WaitStatus)>> {
    match rustix::process::wait(WaitOptions::NOHANG) {
        Err(rustix::io::Errno::CHILD) => Ok(None),
        other => other,
    }
}

/// How a process ended.
pub(super) fn exit_of(status: WaitStatus) -> Exit {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => Exit::Code(code),
        (None, Some(signal)) => Exit::Signal(signal),
        (None, None) => Exit::Code(-1),
    }
}

/// Memory that all processes of the namespace hold and that could not be dropped: anonymous, shared, swapped, in
/// tables of pages, and in sockets.
///
/// Not seen: shared anonymous pages that a process keeps but has unmapped from itself with `madvise`. Each process
/// can hide its address space at most; a control group would see them, and is not always to be had.
fn resident_bytes() -> u64 {
    // This `/proc` shows the namespace and nothing else. A process that ends meanwhile holds nothing.
    let Ok(folder) = std::fs::read_dir("/proc") else { return u64::MAX };
    let statuses =
        folder.flatten().filter(|entry| entry.file_name().as_encoded_bytes().iter().all(u8::is_ascii_digit));
    let processes = statuses.map(|entry| held_by(&entry.path().join("status"))).fold(0, u64::saturating_add);
    processes.saturating_add(held_in_sockets())
}

/// The most that the sockets of the namespace can hold in the kernel, where no process has it: each its buffer, at
/// the largest that may be asked for, and what the count of its pieces adds.
fn held_in_sockets() -> u64 {
    const BUFFER: u64 = 512 * 1024;
    // One line each, and a head. The sockets of this network namespace are the command's.
    let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::CLOEXEC;
    // A kernel without the list has no such sockets.
    let Ok(list) = rustix::fs::open("/proc/self/net/unix", flags, rustix::fs::Mode::empty()) else {
        return 0;
    };
    let mut bytes = [0; 16 * 1024];
    let mut lines = 0_u64;
    loop {
        match rustix::io::read(&list, &mut bytes) {
            Ok(0) | Err(_) => return lines.saturating_sub(1).saturating_mul(BUFFER),
            Ok(length) => {
                let read = bytes.get(..length).unwrap_or_default();
                let ends = read.iter().filter(|byte| **byte == b'\n').count();
                lines = lines.saturating_add(u64::try_from(ends).unwrap_or(u64::MAX));
            }
        }
    }
}

pub(super) fn held_by(status: &std::path::Path) -> u64 {
    status_of(status).lines().map(held_in_line).fold(0, u64::saturating_add)
}

/// What the kernel says of a process; nothing when it has ended.
pub(super) fn status_of(status: &std::path::Path) -> String {
    let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::CLOEXEC;
    let Ok(file) = rustix::fs::open(status, flags, rustix::fs::Mode::empty()) else { return String::new() };
    let mut bytes = [0; 4096];
    let length = rustix::io::read(&file, &mut bytes).unwrap_or(0);
    String::from_utf8_lossy(bytes.get(..length).unwrap_or_default()).into_owned()
}

/// The bytes of a line such as `RssAnon:      132 kB`, when it counts.
fn held_in_line(line: &str) -> u64 {
    let mut words = line.split_ascii_whitespace();
    match words.next() {
        Some("RssAnon:" | "RssShmem:" | "VmPTE:" | "VmSwap:") => {
            words.next().and_then(|number| number.parse::<u64>().ok()).unwrap_or(0).saturating_mul(1024)
        }
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn memory_that_cannot_be_dropped_counts_and_the_rest_does_not() {
        for (line, bytes) in [
            ("RssAnon:\t     132 kB", 135_168),
            ("RssShmem:\t       1 kB", 1024),
            ("VmSwap:\t       2 kB", 2048),
            ("VmPTE:\t       4 kB", 4096),
            ("RssFile:\t    4000 kB", 0),
            ("RssAnon:", 0),
            ("", 0),
        ] {
            assert_eq!(held_in_line(line), bytes, "{line}");
        }
        assert!(limits::MEMORY_WATCH < Duration::from_secs(1), "a hog would grow unseen");
    }
}
