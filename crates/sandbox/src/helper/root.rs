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

use super::identity::{self, INSIDE, Workspace};
use super::{At as _, Failure};
use crate::outcome::Step;
use crate::protected;
use crate::sys::{self, Reach};
use crate::wire::{Access, Request};

/// Builds the root and moves into it; nothing of the host's tree can be reached afterwards.
pub(super) fn build(request: &Request, workspace: Option<Workspace>) -> Result<(), Failure> {
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
    folders(request, workspace)?;
    enter().doing(Step::Root, "moving into it")
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
    for name in ["bin", "sbin", "lib", "lib32", "lib64", "libx32"] {
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
    for name in ["alternatives", "ld.so.cache", "ld.so.conf", "ld.so.conf.d", "localtime", ARCHITECTURE_PATHS]
    {
        let (host, inside) = (format!("/etc/{name}"), format!("etc/{name}"));
        // Followed: a link such as `localtime` leads into `/usr`.
        match rustix::fs::stat(&host).map(|stat| FileType::from_raw_mode(stat.st_mode)) {
            Ok(FileType::Directory) => folder(&inside)?,
            Ok(FileType::RegularFile) => file(&inside, "")?,
            _ => continue,
        }
        bind(&host, &inside, SEALED)?;
    }
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
    for name in ["null", "zero", "full", "random", "urandom", "tty"] {
        let inside = format!("dev/{name}");
        file(&inside, "")?;
        let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NOEXEC;
        bind(&format!("/dev/{name}"), &inside, attributes)?;
    }
    let links = [("fd", "/proc/self/fd"), ("stdin", "fd/0"), ("stdout", "fd/1"), ("stderr", "fd/2")];
    for (name, target) in links {
        rustix::fs::symlinkat(target, CWD, format!("dev/{name}"))?;
    }
    folder("dev/shm")?;
    scratch_folder("dev/shm", "size=16m,nr_inodes=4096,mode=1777")
}

/// A `/proc` of this namespace's processes, without what it tells or lets change about the host.
fn processes() -> Result<(), Failure> {
    folder("proc").at(Step::Proc)?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    rustix::mount::mount("proc", "proc", "proc", flags, None).at(Step::Proc)?;
    for name in ["sys", "fs"] {
        let path = format!("proc/{name}");
        if Path::new(&path).is_dir() {
            bind(&path, &path, SEALED).doing(Step::Proc, &path)?;
        }
    }
    for name in HIDDEN_FOLDERS {
        let path = format!("proc/{name}");
        if Path::new(&path).is_dir() {
            bind("/tmp/tmp", &path, SEALED).doing(Step::Proc, &path)?;
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
    let size = format!("size={},nr_inodes=20480,mode=1777", request.temporary_bytes);
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
