//! The private root: a folder tree in memory that holds the host's programs, a fresh `/proc`, a few devices, the
//! workspace, and nothing else.
//!
//! Visible: `/usr` (with `/usr/local`, where container images keep their interpreters, but without
//! `/usr/local/etc` and `/usr/src`), the dynamic linker's files of `/etc`, six devices. There is no `/sys`, no
//! `/home`, no `/var`, no `/run`.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags};
use rustix::mount::{
    MountAttrFlags, MountFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags,
};
use rustix::thread::UnshareFlags;

use super::identity::{self, INSIDE, Workspace};
use super::{At as _, Failure};
use crate::outcome::Step;
use crate::protected;
use crate::sys::{self, Reach};
use crate::wire::{Access, Request};

/// Builds what is the same for every command. What is returned is the workspace's mount, which stands nowhere yet.
pub(super) fn begin(request: &Request, workspace: Option<Workspace>) -> Result<Option<OwnedFd>, Failure> {
    let whole = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    rustix::mount::mount_change("/", whole).doing(Step::Root, "making the mounts private")?;
    let workspace = match workspace {
        None => None,
        Some(Workspace::Mount(mount)) => Some(mount),
        Some(Workspace::Folder(folder)) => Some(copy_folder(&folder, request.access)?),
    };
    // Any folder that every host has: it is covered, filled, and becomes the root.
    memory_folder("/tmp", "size=1m,nr_inodes=512,mode=755").doing(Step::Root, "a file system in memory")?;
    rustix::process::chdir("/tmp").at(Step::Root)?;
    programs().doing(Step::Root, "binding the programs")?;
    settings().doing(Step::Root, "filling /etc")?;
    devices().doing(Step::Root, "filling /dev")?;
    // Empty for good: `/tmp` itself will cover it. It hides what must not be seen.
    folder("tmp").doing(Step::Root, "/tmp")?;
    processes()?;
    Ok(workspace)
}

/// Adds what may differ from command to command, and moves into it; nothing of the host's tree can be reached afterwards.
/// The workspace is only looked at now: an earlier command may have made what has to be protected. What is returned keeps
/// the root together as long as it is open.
pub(super) fn complete(request: &Request, workspace: Option<OwnedFd>) -> Result<OwnedFd, Failure> {
    folders(request, workspace)?;
    enter().doing(Step::Root, "moving into it")?;
    hide_mounts().doing(Step::Root, "hiding the list of mounts")
}

/// Completes what `bwrap` has built, which is the root already: what it has no words for. `workspace` is what it must have
/// put there, by device and number.
pub(super) fn complete_bubblewrap(request: &Request, workspace: Option<(u64, u64)>) -> Result<(), Failure> {
    rustix::process::chdir("/").at(Step::Root)?;
    hide_programs().doing(Step::Root, "hiding parts of /usr")?;
    own_settings().doing(Step::Root, "filling /etc")?;
    scratch_folder("dev/shm", SHARED_MEMORY).doing(Step::Root, "/dev/shm")?;
    hide_processes()?;
    let size = temporary(request);
    scratch_folder("tmp", &size).doing(Step::Root, "/tmp")?;
    match workspace {
        None => memory_folder("workspace", &size).at(Step::Workspace)?,
        Some(wanted) => adopt(wanted, request.access)?,
    }
    seal("/").doing(Step::Root, "sealing it")
}

/// Takes the folder that `bwrap` found by its path, when it is the one that was meant.
fn adopt(wanted: (u64, u64), access: Access) -> Result<(), Failure> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let folder = rustix::fs::open("workspace", flags, Mode::empty()).at(Step::Workspace)?;
    let found = rustix::fs::fstat(&folder).at(Step::Workspace)?;
    if (found.st_dev, found.st_ino) != wanted {
        return Err("the workspace was moved or replaced; restart the gateway").at(Step::Workspace);
    }
    sys::set_mount_attributes(folder.as_fd(), identity::attributes(access), None, Reach::Tree)
        .doing(Step::Workspace, "restricting its mount")?;
    if access == Access::ReadWrite {
        protect().doing(Step::Workspace, "protecting what the host runs or reads")?;
    }
    Ok(())
}

/// A mount of the folder that is in no tree yet.
fn copy_folder(folder: &OwnedFd, access: Access) -> Result<OwnedFd, Failure> {
    let found = identity::find_again(folder.as_fd())?;
    let mount = copy(found.as_fd(), "").doing(Step::Workspace, "copying its mount")?;
    sys::set_mount_attributes(mount.as_fd(), identity::attributes(access), None, Reach::Tree)
        .doing(Step::Workspace, "restricting its mount")?;
    Ok(mount)
}

/// `/usr`, and the names beside it that lead into it, as the host has them.
fn programs() -> io::Result<()> {
    folder("usr")?;
    bind("/usr", "usr", SEALED)?;
    for name in BESIDE_USR {
        let host = format!("/{name}");
        match rustix::fs::lstat(&host).map(|stat| FileType::from_raw_mode(stat.st_mode)) {
            Ok(FileType::Symlink) => {
                let target = rustix::fs::readlinkat(CWD, &host, Vec::new())?;
                rustix::fs::symlinkat(&target, CWD, name)?;
            }
            Ok(FileType::Directory) => {
                folder(name)?;
                bind(&host, name, SEALED)?;
            }
            _ => {}
        }
    }
    hide_programs()
}

/// What may stand beside `/usr` and lead into it.
pub(super) const BESIDE_USR: [&str; 6] = ["bin", "sbin", "lib", "lib32", "lib64", "libx32"];

/// Covers what is no program.
fn hide_programs() -> io::Result<()> {
    for hidden in ["usr/local/etc", "usr/src"] {
        if Path::new(hidden).is_dir() {
            memory_folder(hidden, "size=4k,nr_inodes=1,mode=555")?;
            seal(hidden)?;
        }
    }
    Ok(())
}

/// What the dynamic linker and the C library look for.
fn settings() -> io::Result<()> {
    folder("etc")?;
    for name in SETTINGS {
        let (host, inside) = (format!("/etc/{name}"), format!("etc/{name}"));
        // Followed: a link such as `localtime` leads into `/usr`.
        match rustix::fs::stat(&host).map(|stat| FileType::from_raw_mode(stat.st_mode)) {
            Ok(FileType::Directory) => folder(&inside)?,
            Ok(FileType::RegularFile) => file(&inside, "")?,
            _ => continue,
        }
        bind(&host, &inside, SEALED)?;
    }
    own_settings()
}

/// Files and folders of the host's `/etc` that are shown.
pub(super) const SETTINGS: [&str; 6] =
    ["alternatives", "ld.so.cache", "ld.so.conf", "ld.so.conf.d", "localtime", ARCHITECTURE_PATHS];

/// Files of `/etc` that are made up.
fn own_settings() -> io::Result<()> {
    file(
        "etc/passwd",
        &format!("agent:x:{INSIDE}:{INSIDE}::/tmp:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n"),
    )?;
    file("etc/group", &format!("agent:x:{INSIDE}:\nnogroup:x:65534:\n"))?;
    file("etc/hosts", "127.0.0.1 localhost sandbox\n::1 localhost\n")?;
    file("etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files\n")
}

#[cfg(target_arch = "x86_64")]
const ARCHITECTURE_PATHS: &str = "ld-musl-x86_64.path";
#[cfg(not(target_arch = "x86_64"))]
const ARCHITECTURE_PATHS: &str = "ld-musl-aarch64.path";

/// Six devices that hold nothing, and the names of the command's own descriptors.
fn devices() -> io::Result<()> {
    folder("dev")?;
    for name in DEVICES {
        let inside = format!("dev/{name}");
        file(&inside, "")?;
        let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NOEXEC;
        bind(&format!("/dev/{name}"), &inside, attributes)?;
    }
    for (name, target) in DESCRIPTORS {
        rustix::fs::symlinkat(target, CWD, format!("dev/{name}"))?;
    }
    folder("dev/shm")?;
    scratch_folder("dev/shm", SHARED_MEMORY)
}

/// Devices that hold nothing.
pub(super) const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];
/// Names of the command's own descriptors, and where they lead.
pub(super) const DESCRIPTORS: [(&str, &str); 4] =
    [("fd", "/proc/self/fd"), ("stdin", "fd/0"), ("stdout", "fd/1"), ("stderr", "fd/2")];
const SHARED_MEMORY: &str = "size=16m,nr_inodes=4096,mode=1777";

/// A `/proc` of this namespace's processes, without what it tells or lets change about the host.
fn processes() -> Result<(), Failure> {
    folder("proc").at(Step::Proc)?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    rustix::mount::mount("proc", "proc", "proc", flags, None).at(Step::Proc)?;
    hide_processes()
}

/// Covers what `/proc` tells or lets change about the host. `/tmp` must be empty still.
fn hide_processes() -> Result<(), Failure> {
    for name in ["sys", "fs"] {
        let path = format!("proc/{name}");
        if Path::new(&path).is_dir() {
            bind(&path, &path, SEALED).doing(Step::Proc, &path)?;
        }
    }
    for name in HIDDEN_FOLDERS {
        let path = format!("proc/{name}");
        if Path::new(&path).is_dir() {
            bind("tmp", &path, SEALED).doing(Step::Proc, &path)?;
        }
    }
    for name in HIDDEN {
        let path = format!("proc/{name}");
        if Path::new(&path).exists() {
            bind("/dev/null", &path, MountAttrFlags::MOUNT_ATTR_NOSUID).doing(Step::Proc, &path)?;
        }
    }
    Ok(())
}

/// Folders of `/proc` that tell about the host's devices and drivers.
const HIDDEN_FOLDERS: [&str; 7] = ["acpi", "asound", "bus", "driver", "irq", "scsi", "tty"];

/// Files of `/proc` that tell about the host's memory, keys, disks and boot, or, by when something happens, what is
/// typed there.
const HIDDEN: [&str; 21] = [
    "bootconfig",
    "cmdline",
    "config.gz",
    "diskstats",
    "interrupts",
    "iomem",
    "ioports",
    "kallsyms",
    "kcore",
    "key-users",
    "keys",
    "kmsg",
    "latency_stats",
    "locks",
    "modules",
    "partitions",
    "sched_debug",
    "swaps",
    "sysrq-trigger",
    "timer_list",
    "timer_stats",
];

/// `/tmp` and `/workspace`.
fn folders(request: &Request, workspace: Option<OwnedFd>) -> Result<(), Failure> {
    let size = temporary(request);
    scratch_folder("tmp", &size).doing(Step::Root, "/tmp")?;
    folder("workspace").at(Step::Workspace)?;
    let Some(mount) = workspace else {
        // Readable and writable, and gone with the command.
        return memory_folder("workspace", &size).at(Step::Workspace);
    };
    place(&mount, CWD, "workspace").at(Step::Workspace)?;
    if request.access == Access::ReadWrite {
        protect().doing(Step::Workspace, "protecting what the host runs or reads")?;
    }
    Ok(())
}

/// How large a folder in memory may be.
fn temporary(request: &Request) -> String {
    format!("size={},nr_inodes=20480,mode=1777", request.temporary_bytes)
}

/// Makes what host programs would run or obey read-only. Each part of a path becomes a mount of its own, because the
/// folder above could otherwise be renamed and another put in its place.
fn protect() -> io::Result<()> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let workspace = rustix::fs::open("workspace", flags, Mode::empty())?;
    for name in protected::folders_above(workspace.as_fd()) {
        rebind(workspace.as_fd(), name, MountAttrFlags::empty())?;
    }
    for name in protected::held(workspace.as_fd()) {
        rebind(workspace.as_fd(), name, MountAttrFlags::MOUNT_ATTR_RDONLY)?;
    }
    Ok(())
}

fn rebind(workspace: BorrowedFd<'_>, name: &str, attributes: MountAttrFlags) -> io::Result<()> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    let found = rustix::fs::openat2(workspace, name, flags, Mode::empty(), resolve)?;
    let mount = copy(found.as_fd(), "")?;
    sys::set_mount_attributes(mount.as_fd(), attributes, None, Reach::Tree)?;
    place(&mount, found.as_fd(), "")
}

/// Makes the working folder the root, and lets the host's go.
fn enter() -> io::Result<()> {
    // The old root is put on top of the new one, and is then what `.` means.
    rustix::process::pivot_root(".", ".")?;
    rustix::mount::unmount(".", UnmountFlags::DETACH)?;
    rustix::process::chdir("/")?;
    seal("/")
}

/// Lets nobody inside see what is mounted. `/proc/*/mountinfo`, `mounts` and `mountstats` name for each mount the path
/// that it has in its own file system, which for the workspace is its path on this machine. They list the mounts of
/// the process's namespace that can be reached from its root: so the root stays in the namespace where it was built,
/// and this process, with all that come from it, goes to a namespace of which nothing can be reached from there.
///
/// What is returned is the first of the two, whose mounts would come apart without it.
fn hide_mounts() -> io::Result<OwnedFd> {
    let root = rustix::fs::open("/", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let built = rustix::fs::open("/proc/self/ns/mnt", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    sys::unshare(UnshareFlags::NEWNS)?;
    rustix::process::fchdir(&root)?;
    rustix::process::chroot(".")?;
    Ok(built)
}

/// Read-only for good; no devices, no set-user-id.
const SEALED: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_RDONLY
    .union(MountAttrFlags::MOUNT_ATTR_NOSUID)
    .union(MountAttrFlags::MOUNT_ATTR_NODEV);

/// Seals the mount at `path`, and not those below it.
fn seal(path: &str) -> io::Result<()> {
    let root = rustix::fs::open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    sys::set_mount_attributes(root.as_fd(), SEALED, None, Reach::Mount)
}

/// Shows `host` at `inside` as well, with everything mounted below it.
fn bind(host: &str, inside: &str, attributes: MountAttrFlags) -> io::Result<()> {
    let mount = copy(CWD, host)?;
    sys::set_mount_attributes(mount.as_fd(), attributes, None, Reach::Tree)?;
    place(&mount, CWD, inside)
}

/// A mount of what is at `path`, in no tree yet.
fn copy(at: BorrowedFd<'_>, path: &str) -> io::Result<OwnedFd> {
    let flags =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_RECURSIVE;
    let flags = if path.is_empty() { flags | OpenTreeFlags::AT_EMPTY_PATH } else { flags };
    Ok(rustix::mount::open_tree(at, path, flags)?)
}

/// Puts a mount into the tree.
fn place(mount: &OwnedFd, at: BorrowedFd<'_>, path: &str) -> io::Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    let flags = if path.is_empty() { flags | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH } else { flags };
    Ok(rustix::mount::move_mount(mount, "", at, path, flags)?)
}

/// A file system in memory over the folder at `path`.
fn memory_folder(path: &str, options: &str) -> io::Result<()> {
    memory_file_system(path, options, MountFlags::empty())
}

/// The same, for data alone: what is written there cannot be run, as in a container.
fn scratch_folder(path: &str, options: &str) -> io::Result<()> {
    memory_file_system(path, options, MountFlags::NOEXEC)
}

fn memory_file_system(path: &str, options: &str, more: MountFlags) -> io::Result<()> {
    let options = std::ffi::CString::new(options)?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV | more;
    Ok(rustix::mount::mount("tmpfs", path, "tmpfs", flags, options.as_c_str())?)
}

fn folder(path: &str) -> io::Result<()> {
    Ok(rustix::fs::mkdirat(CWD, path, Mode::from_raw_mode(0o755))?)
}

fn file(path: &str, text: &str) -> io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let file = rustix::fs::openat(CWD, path, flags, Mode::from_raw_mode(0o644))?;
    rustix::io::write(&file, text.as_bytes())?;
    Ok(())
}
