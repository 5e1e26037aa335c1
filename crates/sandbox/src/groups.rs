//! Control groups: what the kernel itself counts of a command, and the most that it may have of it.
//!
//! A group is made for each command where the machine gives this program groups to make, and the helper enters it before
//! anything else. The kernel then counts what no process has mapped, too: pipes, sockets, folders in memory, shared memory
//! whose owner is gone. Elsewhere the watchdog of the helper counts, as it does beside them.
//!
//! Version 2 ("unified") is used where it was handed over: `Delegate=` of a unit, or an ordinary user's own part of the tree.
//! What is only writable because this program is root is systemd's. Version 1 is used by root alone, which has no such rule.
//! Sources: the kernel's `admin-guide/cgroup-v2.rst` and `cgroup-v1/`, systemd's "Control Group APIs and Delegation".

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use moltbot_config::limits;
use rustix::fs::{Access, Mode, OFlags};
use rustix::io::Errno;
use rustix::process::Pid;

use crate::wire::Request;

/// What begins the name of every group of a command. The number of the namespace of processes follows, the gateway's process id
/// in it, and a number of its own.
const NAME: &str = "moltbot-";
/// The group of the gateway itself in version 2, where no group has both processes and groups that are counted.
const OWN: &str = "moltbot-gateway";
/// What the helper's own processes may have beside the command's: memory in bytes, with the small folders in memory that the
/// private root is made of, and processes.
const HELPERS: (u64, u64) = (64 * 1024 * 1024, 8);
/// The largest file of the kernel that is read here.
const FILE_BYTES: usize = 1024 * 1024;

/// Where the groups of commands are made.
#[derive(Debug)]
pub(crate) struct Groups {
    kind: Kind,
    /// The number of this program's namespace of processes.
    namespace: u64,
    free: Free,
}

/// Groups that no command has: making one, and removing it, takes the kernel longer than all else about it.
type Free = Arc<Mutex<Vec<Made>>>;

/// Which groups this program may make.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Kind {
    /// None.
    None,
    /// In two trees, below these folders.
    One { memory: PathBuf, processes: PathBuf },
    /// In one tree, below this folder.
    Two { parent: PathBuf },
}

/// The group of one command. Dropped when its processes are gone, it is kept for another one.
#[derive(Debug)]
pub(crate) struct Group {
    /// Always there until it is dropped.
    made: Option<Made>,
    /// How often the kernel had killed for memory when the command began.
    killed: u64,
    free: Free,
}

/// A group that was made, removed when this is dropped.
#[derive(Debug, Default)]
struct Made {
    folders: Vec<PathBuf>,
    /// Where a process enters by writing `0`.
    entrances: Vec<OwnedFd>,
    /// Where the kernel says how often it has killed for memory.
    kills: PathBuf,
    /// The most of memory, in bytes, and of processes.
    limits: (u64, u64),
}

impl Groups {
    /// Finds out what this program may make, and takes away what one that was killed has left.
    pub(crate) fn find() -> Self {
        let kind = Kind::find();
        let namespace = rustix::fs::stat("/proc/self/ns/pid").map_or(0, |namespace| namespace.st_ino);
        for parent in kind.parents() {
            remove_abandoned(parent, namespace);
        }
        Self { kind, namespace, free: Free::default() }
    }

    /// What holds the memory of all processes of a command together, as `status` names it.
    pub(crate) const fn limiter(&self) -> &'static str {
        match self.kind {
            Kind::None => "watchdog",
            Kind::One { .. } => "cgroup v1, watchdog",
            Kind::Two { .. } => "cgroup v2, watchdog",
        }
    }

    /// The group of a command, with its limits; nothing where there are none to be had.
    ///
    /// # Errors
    /// When the kernel makes none, although it did at the start: then the command may not run with less.
    pub(crate) fn make(&self, request: &Request) -> io::Result<Option<Group>> {
        let memory = request.memory.saturating_add(request.temporary_bytes).saturating_add(HELPERS.0);
        let limits = (memory, request.processes.saturating_add(HELPERS.1));
        let made = match self.take(limits) {
            Some(made) => made,
            None => match self.new_group(limits)? {
                Some(made) => made,
                None => return Ok(None),
            },
        };
        let killed = made.killed();
        Ok(Some(Group { made: Some(made), killed, free: self.free.clone() }))
    }

    /// One with these limits that nobody is in any more.
    fn take(&self, limits: (u64, u64)) -> Option<Made> {
        let mut free = lock(&self.free);
        let at = free.iter().position(|made| made.limits == limits && made.is_empty())?;
        Some(free.swap_remove(at))
    }

    fn new_group(&self, limits: (u64, u64)) -> io::Result<Option<Made>> {
        // One count for the program: it may have several sandboxes.
        static MADE: AtomicU64 = AtomicU64::new(1);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let name = format!("{NAME}{}-{}-{number}", self.namespace, std::process::id());
        let (memory, processes) = (limits.0.to_string(), limits.1.to_string());
        let mut made = Made::default();
        made.limits = limits;
        match &self.kind {
            Kind::None => return Ok(None),
            Kind::One { memory: above, processes: beside } => {
                let folder = made.add(above.join(&name))?;
                made.kills = folder.join("memory.oom_control");
                set(&folder, "memory.limit_in_bytes", &memory)?;
                // Only where swap is counted, and only above the limit without it.
                set_if_there(&folder, "memory.memsw.limit_in_bytes", &memory)?;
                made.enter_by(&folder.join("tasks"))?;
                let folder = made.add(beside.join(&name))?;
                set(&folder, "pids.max", &processes)?;
                made.enter_by(&folder.join("tasks"))?;
            }
            Kind::Two { parent } => {
                let folder = made.add(parent.join(&name))?;
                made.kills = folder.join("memory.events");
                set(&folder, "memory.max", &memory)?;
                set_if_there(&folder, "memory.swap.max", "0")?;
                set_if_there(&folder, "memory.oom.group", "1")?;
                set(&folder, "pids.max", &processes)?;
                made.enter_by(&folder.join("cgroup.procs"))?;
            }
        }
        Ok(Some(made))
    }
}

impl Group {
    /// Where a process enters.
    pub(crate) fn entrances(&self) -> &[OwnedFd] {
        self.made.as_ref().map_or(&[], |made| &made.entrances)
    }

    /// Whether the kernel has killed a process of the command because there was no memory left in the group.
    pub(crate) fn has_run_out(&self) -> bool {
        self.made.as_ref().is_some_and(|made| made.killed() > self.killed)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let mut free = lock(&self.free);
        free.extend(self.made.take());
        // More than there are commands at one time: limits were others, or somebody is still in one.
        if free.len() > limits::COMMANDS {
            drop(free.swap_remove(0));
        }
    }
}

impl Made {
    fn killed(&self) -> u64 {
        read(&self.kills).map_or(0, |text| count(&text, "oom_kill"))
    }

    fn is_empty(&self) -> bool {
        self.folders.iter().all(|folder| read(folder.join("cgroup.procs")).is_ok_and(|text| text.is_empty()))
    }

    fn add(&mut self, folder: PathBuf) -> io::Result<PathBuf> {
        let make = || rustix::fs::mkdir(&folder, Mode::from_raw_mode(0o700));
        let made = match make() {
            // Of one that had this process id before.
            Err(Errno::EXIST) => rustix::fs::rmdir(&folder).and_then(|()| make()),
            made => made,
        };
        made.map_err(|errno| told(&folder, errno))?;
        self.folders.push(folder.clone());
        Ok(folder)
    }

    fn enter_by(&mut self, file: &Path) -> io::Result<()> {
        let flags = OFlags::WRONLY | OFlags::CLOEXEC;
        let entrance = rustix::fs::open(file, flags, Mode::empty()).map_err(|errno| told(file, errno))?;
        self.entrances.push(entrance);
        Ok(())
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        // One that is not empty is removed by the next start of a gateway.
        for folder in &self.folders {
            if let Err(errno) = rustix::fs::rmdir(folder) {
                tracing::debug!(folder = %folder.display(), %errno, "a control group stays");
            }
        }
    }
}

/// Enters a group: called by the process itself, which has one thread.
pub(crate) fn enter(entrance: &OwnedFd) -> io::Result<()> {
    rustix::io::write(entrance, b"0").map(|_| ()).map_err(Into::into)
}

impl Kind {
    fn find() -> Self {
        let (Ok(own), Ok(mounts)) = (read("/proc/self/cgroup"), read("/proc/self/mountinfo")) else {
            return Self::None;
        };
        Self::two(&own, &mounts).or_else(|| Self::one(&own, &mounts)).unwrap_or(Self::None)
    }

    fn parents(&self) -> Vec<&Path> {
        match self {
            Self::None => Vec::new(),
            Self::One { memory, processes } => vec![memory, processes],
            Self::Two { parent } => vec![parent],
        }
    }

    fn one(own: &str, mounts: &str) -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            return None;
        }
        let folder = |controller: &str| {
            let folder = mounted(mounts, "cgroup", Some(controller), own_path(own, Some(controller))?)?;
            (is_writable(&folder) && processes_in(&folder).contains(&std::process::id())).then_some(folder)
        };
        Some(Self::One { memory: folder("memory")?, processes: folder("pids")? })
    }

    fn two(own: &str, mounts: &str) -> Option<Self> {
        let folder = mounted(mounts, "cgroup2", None, own_path(own, None)?)?;
        if folder.ends_with(OWN) {
            // Set up before, by this program.
            let parent = folder.parent()?.to_path_buf();
            return hands_on(&parent).then_some(Self::Two { parent });
        }
        let has_both = offers(&folder, "cgroup.controllers");
        if !has_both || !is_handed_over(&folder) || processes_in(&folder) != [std::process::id()] {
            return None;
        }
        match divide(&folder) {
            Ok(()) => Some(Self::Two { parent: folder }),
            Err(error) => {
                tracing::warn!(%error, "the control group of the gateway cannot be divided; the watchdog alone counts");
                None
            }
        }
    }
}

/// Moves this program into a group of its own within its group, so that groups beside that one can be counted.
fn divide(folder: &Path) -> io::Result<()> {
    let own = folder.join(OWN);
    match rustix::fs::mkdir(&own, Mode::from_raw_mode(0o700)) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(errno) => return Err(told(&own, errno)),
    }
    set(&own, "cgroup.procs", "0")?;
    set(folder, "cgroup.subtree_control", "+memory +pids").inspect_err(|_| {
        // Back to where it was: nothing has changed then.
        if let Err(error) = set(folder, "cgroup.procs", "0") {
            tracing::warn!(%error, "the gateway stays in a control group of its own");
        }
    })
}

/// Whether groups within this one are counted.
fn hands_on(folder: &Path) -> bool {
    offers(folder, "cgroup.subtree_control")
}

fn offers(folder: &Path, list: &str) -> bool {
    read(folder.join(list)).is_ok_and(|text| {
        ["memory", "pids"].iter().all(|wanted| text.split_whitespace().any(|it| it == *wanted))
    })
}

/// Whether whoever manages the tree has left this part of it to us.
fn is_handed_over(folder: &Path) -> bool {
    let files = ["cgroup.procs", "cgroup.subtree_control"];
    let writable = is_writable(folder) && files.iter().all(|file| is_writable(&folder.join(file)));
    let marked = ["user.delegate", "trusted.delegate"].iter().any(|mark| {
        let mut value = [0; 1];
        rustix::fs::getxattr(folder, *mark, &mut value).is_ok_and(|length| length == 1) && value == *b"1"
    });
    writable && (marked || !rustix::process::geteuid().is_root())
}

fn is_writable(path: &Path) -> bool {
    rustix::fs::access(path, Access::WRITE_OK).is_ok()
}

fn processes_in(folder: &Path) -> Vec<u32> {
    let text = read(folder.join("cgroup.procs")).unwrap_or_default();
    text.lines().filter_map(|line| line.parse().ok()).collect()
}

/// The group that this program is in, as `/proc/self/cgroup` says it: of a controller of version 1, or of version 2.
fn own_path<'a>(own: &'a str, controller: Option<&str>) -> Option<&'a str> {
    own.lines().find_map(|line| {
        let (_, rest) = line.split_once(':')?;
        let (controllers, path) = rest.split_once(':')?;
        let fits = match controller {
            None => controllers.is_empty(),
            Some(wanted) => controllers.split(',').any(|it| it == wanted),
        };
        fits.then_some(path)
    })
}

/// The folder of a group, where its tree is mounted. `mounts` is `/proc/self/mountinfo`, see proc(5).
fn mounted(mounts: &str, kind: &str, controller: Option<&str>, path: &str) -> Option<PathBuf> {
    mounts.lines().find_map(|line| {
        let (place, tree) = line.split_once(" - ")?;
        let mut place = place.split(' ').skip(3);
        let (root, folder) = (place.next()?, place.next()?);
        let mut tree = tree.split(' ');
        let (found, options) = (tree.next()?, tree.nth(1)?);
        let fits = found == kind && controller.is_none_or(|it| options.split(',').any(|option| option == it));
        // A name with blanks is written with backslashes; no system mounts it so.
        let below = Path::new(path).strip_prefix(root).ok().filter(|_| fits && !folder.contains('\\'))?;
        Some(Path::new(folder).join(below))
    })
}

/// The number behind a name, of lines of a name and a number each.
fn count(text: &str, name: &str) -> u64 {
    let found = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok());
    found.unwrap_or(0)
}

/// Removes the groups of gateways of this namespace of processes that are gone. One that has processes stays.
fn remove_abandoned(parent: &Path, namespace: u64) {
    let before = format!("{NAME}{namespace}-");
    let Ok(found) = std::fs::read_dir(parent) else { return };
    for entry in found.flatten() {
        let name = entry.file_name();
        let gateway =
            name.to_str().and_then(|name| name.strip_prefix(&before)?.split_once('-')?.0.parse().ok());
        let is_abandoned = gateway
            .and_then(Pid::from_raw)
            .is_some_and(|gateway| rustix::process::test_kill_process(gateway) == Err(Errno::SRCH));
        // Where somebody is still in it, it stays.
        if is_abandoned && let Err(errno) = rustix::fs::rmdir(entry.path()) {
            tracing::debug!(folder = %entry.path().display(), %errno, "a control group stays");
        }
    }
}

fn set_if_there(folder: &Path, file: &str, value: &str) -> io::Result<()> {
    match set(folder, file, value) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn set(folder: &Path, file: &str, value: &str) -> io::Result<()> {
    let path = folder.join(file);
    rustix::fs::open(&path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())
        .and_then(|file| rustix::io::write(&file, value.as_bytes()))
        .map(|_| ())
        .map_err(|errno| told(&path, errno))
}

/// An error of the kernel, with the file that it is about.
fn told(path: &Path, errno: Errno) -> io::Error {
    let error = io::Error::from(errno);
    io::Error::new(error.kind(), format!("the control group {}: {error}", path.display()))
}

fn read(path: impl AsRef<Path>) -> io::Result<String> {
    let file = rustix::fs::open(path.as_ref(), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let (mut text, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        let length = rustix::io::read(&file, &mut buffer)?;
        if length == 0 || text.len() > FILE_BYTES {
            return String::from_utf8(text).map_err(io::Error::other);
        }
        text.extend_from_slice(buffer.get(..length).unwrap_or_default());
    }
}

fn lock(free: &Mutex<Vec<Made>>) -> MutexGuard<'_, Vec<Made>> {
    free.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
