//! The helper in a container: the container's first process, and what starts each command there.
//!
//! The engine builds the outer walls; this looks at them, and puts the sandbox's own locks within: resource limits,
//! Landlock and the filter of system calls. It also is what ends a command. An engine that is told to forget a command
//! leaves it running, so the *leader* ([`lead`]) keeps every descendant for itself, and kills them all when the command
//! ends or when the gateway lets go of its input: on a timeout, on an abort, and when the gateway dies.
//!
//! Its answers go over its standard error, one line each; what the command writes, over its standard output.

use std::io::{self, Read as _};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{Mode, OFlags, StatVfsMountFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use rustix::process::{DumpableBehavior, Pid, PidfdFlags, Signal, WaitOptions};
use serde::{Deserialize, Serialize};

use super::attempts::{Tell, Verdict, Watch};
use super::first::{bury, exit_of, locked_in};
use super::{At as _, Failure, Job, command, release_output};
use crate::outcome::{Exit, Step};
use crate::sys::{self, Fork};
use crate::wire::{Report, Request};

/// What the gateway hands to the leader.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Order {
    /// The command and its limits.
    pub(crate) request: Request,
    /// A program and its arguments in the script's place.
    pub(crate) program: Option<Vec<String>>,
    /// Folders of the host, and which they must be.
    pub(crate) folders: Vec<Folder>,
    /// Where the command may write, besides the workspace and `/tmp`.
    pub(crate) writable: Vec<String>,
    /// Milliseconds after which the leader ends the command by itself: should the engine die, nobody else would.
    pub(crate) deadline_ms: u64,
    /// Whether the runtime brings a kernel of its own, which need not know Landlock.
    pub(crate) own_kernel: bool,
}

/// A folder of the host in the container.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct Folder {
    pub(crate) path: String,
    pub(crate) device: u64,
    pub(crate) inode: u64,
}

/// The first process: buries orphans, and is there. It never ends by itself.
pub(super) fn keep() -> io::Result<()> {
    sys::close_all_but_standard()?;
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    loop {
        while bury()?.is_some() {}
        match rustix::event::poll(&mut [], Some(&Timespec { tv_sec: 1, tv_nsec: 0 })) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// The steps of the leader. It returns when every process of its command has ended.
pub(super) fn lead() -> io::Result<()> {
    sys::close_all_but_standard()?;
    let voice = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stderr(), 3)?;
    rustix::stdio::dup2_stderr(rustix::stdio::stdout())?;
    let result = read_order().and_then(|order| enclose(order, &voice));
    if let Err(Failure { step, cause }) = &result {
        say(
            &voice,
            &Report::Failed { step: *step, cause: cause.chars().take(super::CAUSE_CHARS).collect() },
        )?;
    }
    // What a step left behind when it failed.
    end_all()?;
    if let Ok(Some(exit)) = result {
        say(&voice, &Report::Ended(exit))?;
    }
    Ok(())
}

/// Tells the gateway.
fn say(voice: &OwnedFd, report: &Report) -> io::Result<()> {
    let mut line = serde_json::to_vec(report)?;
    line.push(b'\n');
    let mut rest = line.as_slice();
    while !rest.is_empty() {
        let written = rustix::io::write(voice, rest)?;
        rest = rest.get(written..).unwrap_or_default();
    }
    Ok(())
}

/// The order's length in four bytes, and the order.
fn read_order() -> Result<Order, Failure> {
    let mut input = io::stdin().lock();
    let mut length = [0; 4];
    input.read_exact(&mut length).doing(Step::Start, "reading the order")?;
    let length = u64::from(u32::from_le_bytes(length));
    if length > ORDER_BYTES {
        return Err("the order is too large").at(Step::Start);
    }
    let mut text = Vec::new();
    input.take(length).read_to_end(&mut text).doing(Step::Start, "reading the order")?;
    serde_json::from_slice(&text).at(Step::Start)
}

/// The largest order: a script of 64 kB, each byte escaped in six.
const ORDER_BYTES: u64 = 1024 * 1024;

fn enclose(order: Order, voice: &OwnedFd) -> Result<Option<Exit>, Failure> {
    look(&order)?;
    rustix::process::umask(Mode::from_raw_mode(0o022));
    // Other commands of the container have the same user: none may look into this one.
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable).at(Step::Init)?;
    rustix::process::set_child_subreaper(Some(rustix::process::getpid())).at(Step::Init)?;
    let filter = crate::filter::compile(crate::filter::Beside::All).at(Step::Seccomp)?;
    let (started, tell) =
        rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
            .at(Step::Init)?;
    let uid = rustix::process::geteuid().as_raw();
    let deadline = Instant::now().checked_add(Duration::from_millis(order.deadline_ms));
    match sys::fork().at(Step::Init)? {
        Fork::Child => {
            drop(started);
            let socket = voice.try_clone().at(Step::Init)?;
            let job = Job { request: order.request, filter, socket, model: None };
            let locks = command::InContainer {
                program: order.program,
                writable: order.writable,
                own_kernel: order.own_kernel,
            };
            match command::run_in_container(&job, &locks, &tell) {
                Ok(()) => {}
                Err(Failure { step, cause }) => {
                    let cause = cause.chars().take(super::CAUSE_CHARS).collect();
                    say(voice, &Report::Failed { step, cause }).at(Step::Exec)?;
                }
            }
            sys::exit()
        }
        Fork::Parent(command) => {
            drop(tell);
            release_output().at(Step::Init)?;
            watch(command, started, uid, voice, deadline)
        }
    }
}

/// Waits for the command to start, and then for its end or the gateway's word.
fn watch(
    command: Pid,
    started: OwnedFd,
    uid: u32,
    voice: &OwnedFd,
    deadline: Option<Instant>,
) -> Result<Option<Exit>, Failure> {
    let handle = rustix::process::pidfd_open(command, PidfdFlags::empty()).at(Step::Init)?;
    let Some((walls, listener)) = locked_in(command, uid, started)? else { return Ok(None) };
    say(voice, &Report::Started(walls)).at(Step::Init)?;
    let mut watch = Watch::new(listener);
    let exit = until_end(command, &handle, &mut watch, voice, deadline);
    // While the watch is still there: whoever waits for its answer would go on for a moment.
    end_all().at(Step::Init)?;
    exit.map(Some)
}

/// The leader's voice, by which the gateway is told.
struct Voice<'a>(&'a OwnedFd);

impl Tell for Voice<'_> {
    fn tell(&self, report: &Report) -> io::Result<()> {
        say(self.0, report)
    }
}

fn until_end(
    command: Pid,
    handle: &OwnedFd,
    watch: &mut Watch,
    voice: &OwnedFd,
    deadline: Option<Instant>,
) -> Result<Exit, Failure> {
    let input = rustix::stdio::stdin();
    let pause = Timespec { tv_sec: 1, tv_nsec: 0 };
    loop {
        let mut ends = vec![PollFd::new(handle, PollFlags::IN), PollFd::new(&input, PollFlags::IN)];
        ends.extend(watch.polled());
        match rustix::event::poll(&mut ends, Some(&pause)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error).at(Step::Init),
        }
        let event = |place: usize| ends.get(place).map_or(PollFlags::empty(), PollFd::revents);
        let (released, asked) = (!event(1).is_empty(), event(2));
        drop(ends);
        // Nothing is ever written after the order: whatever is there to read is the end.
        if released {
            return Ok(Exit::Aborted);
        }
        if watch.take(asked, &Voice(voice)) == Verdict::End {
            return Ok(Exit::Escape);
        }
        if deadline.is_none_or(|deadline| Instant::now() > deadline) {
            return Ok(Exit::TimedOut);
        }
        while let Some((pid, status)) = bury().at(Step::Init)? {
            if pid == command {
                return Ok(exit_of(status));
            }
        }
    }
}

/// Kills every descendant, generation after generation: whose parent dies becomes a child of this process.
fn end_all() -> io::Result<()> {
    loop {
        for child in children()? {
            match rustix::process::kill_process(child, Signal::KILL) {
                Ok(()) | Err(rustix::io::Errno::SRCH) => {}
                Err(error) => return Err(error.into()),
            }
        }
        match rustix::process::wait(WaitOptions::empty()) {
            Err(rustix::io::Errno::CHILD) => return Ok(()),
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// The children of this process.
fn children() -> io::Result<Vec<Pid>> {
    let own = rustix::process::getpid().as_raw_nonzero().to_string();
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc")?.flatten() {
        let name = entry.file_name();
        let Some(number) = name.to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
        // One that has ended meanwhile needs no killing.
        let Ok(text) = read_small(&format!("/proc/{number}/stat")) else { continue };
        // The name may hold anything; the parent is the second word after its end.
        let parent = text.rsplit(')').next().and_then(|rest| rest.split_ascii_whitespace().nth(1));
        if parent == Some(own.as_str()) {
            found.extend(Pid::from_raw(number));
        }
    }
    Ok(found)
}

fn read_small(path: &str) -> io::Result<String> {
    let file = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let mut bytes = vec![0; 16 * 1024];
    let length = rustix::io::read(&file, &mut bytes)?;
    bytes.truncate(length);
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Looks at what the engine built. What does not hold here stops the command, whatever the engine says.
fn look(order: &Order) -> Result<(), Failure> {
    if rustix::process::geteuid().is_root() || rustix::process::getegid().is_root() {
        return Err("the container's user is root").at(Step::SelfCheck);
    }
    let status = read_small("/proc/self/status").at(Step::SelfCheck)?;
    judge_status(&status, order.own_kernel).at(Step::SelfCheck)?;
    let root = rustix::fs::statvfs("/").at(Step::SelfCheck)?;
    if !root.f_flag.contains(StatVfsMountFlags::RDONLY) {
        return Err("the container's root can be written").at(Step::SelfCheck);
    }
    let devices = read_small("/proc/self/net/dev").at(Step::SelfCheck)?;
    if let Some(device) = other_device(&devices) {
        return Err(format!("there is a network device {device}")).at(Step::SelfCheck);
    }
    for folder in &order.folders {
        let found = rustix::fs::stat(&folder.path).doing(Step::Workspace, &folder.path)?;
        if (found.st_dev, found.st_ino) != (folder.device, folder.inode) {
            return Err(format!(
                "{} is another folder than was meant; it was moved or replaced",
                folder.path
            ))
            .at(Step::Workspace);
        }
    }
    Ok(())
}

/// The first network device that is not the container's own loop.
fn other_device(devices: &str) -> Option<&str> {
    let names = devices.lines().filter_map(|line| line.split_once(':')).map(|(name, _)| name.trim());
    names.into_iter().find(|name| *name != "lo")
}

/// What is wrong with the limits that hold for this process.
fn judge_status(status: &str, own_kernel: bool) -> Result<(), String> {
    let value = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.map(str::trim)
    };
    for (name, wanted) in [
        ("CapInh:", NONE),
        ("CapPrm:", NONE),
        ("CapEff:", NONE),
        ("CapBnd:", NONE),
        ("NoNewPrivs:", "1"),
        ("Seccomp:", "2"),
    ] {
        match value(name) {
            Some(found) if found == wanted => {}
            // A kernel of its own tells less of itself; what it tells must be right.
            None if own_kernel => {}
            found => {
                return Err(format!(
                    "{name} is {} in the container, not {wanted}",
                    found.unwrap_or("missing")
                ));
            }
        }
    }
    Ok(())
}

/// No capability.
const NONE: &str = "0000000000000000";

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "Name:\tx\nCapInh:\t0000000000000000\nCapPrm:\t0000000000000000\nCapEff:\t0000000000000000\n\
        CapBnd:\t0000000000000000\nNoNewPrivs:\t1\nSeccomp:\t2\n";

    #[test]
    fn d_96_a_container_with_a_capability_or_without_a_filter_runs_nothing() {
        assert_eq!(judge_status(GOOD, false), Ok(()));
        for (good, bad) in [
            ("CapBnd:\t0000000000000000", "CapBnd:\t00000000a80425fb"),
            ("CapEff:\t0000000000000000", "CapEff:\t000001ffffffffff"),
            ("NoNewPrivs:\t1", "NoNewPrivs:\t0"),
            ("Seccomp:\t2", "Seccomp:\t0"),
            ("Seccomp:\t2\n", ""),
        ] {
            let status = GOOD.replace(good, bad);
            assert!(judge_status(&status, false).is_err(), "{bad}");
            assert_eq!(
                judge_status(&status, true).is_err(),
                !bad.is_empty(),
                "{bad} with a kernel of its own"
            );
        }
    }

    #[test]
    fn any_network_device_but_the_loop_is_found() {
        const HEAD: &str = "Inter-|   Receive\n face |bytes\n    lo:       0       0\n";
        assert_eq!(other_device(HEAD), None);
        assert_eq!(other_device(&format!("{HEAD}  eth0: 1 2\n")), Some("eth0"));
    }
}
