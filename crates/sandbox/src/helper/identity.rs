//! The outer process: who the command is, seen from the host.
//!
//! A gateway that is root runs commands as [`USER`], a number that no system gives to anyone: what is readable to
//! nobody but root stays so. A gateway that is an ordinary user runs them as itself. Either way one user is mapped
//! into the namespace, and no other exists there.

use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, CWD, Gid, Mode, OFlags, ResolveFlags, Uid};
use rustix::mount::{MountAttrFlags, OpenTreeFlags};
use rustix::process::{Pid, WaitOptions};
use rustix::thread::UnshareFlags;

use super::{At as _, Failure, die_with_parent, write_control};
use crate::outcome::Step;
use crate::sys::{self, Fork, Reach};
use crate::wire::Access;

/// The user and group of commands when the gateway is root. systemd leaves 1879048192 to 2147352575 unused, and no
/// distribution gives numbers there; `nobody` is shared with other daemons, which could signal each other.
pub(crate) const USER: u32 = 2_000_018_789;
/// Taken where [`USER`] does not exist because the gateway is root in a user namespace of 65 536 users only.
const USER_OF_SMALL_NAMESPACE: u32 = 65_534;
/// The user as the command sees it.
pub(super) const INSIDE: u32 = 1000;

/// The workspace on its way into the private root.
pub(super) enum Workspace {
    /// A mount that is in no tree yet.
    Mount(OwnedFd),
    /// A folder, to be found again by its path once the host's mounts have been copied.
    Folder(OwnedFd),
}

/// Dies when the gateway does: the kernel sends the signal from now on, and the comparison catches a gateway that
/// ended before. Not "is my parent process 1": the gateway may be process 1 of a container.
pub(super) fn die_with_gateway(gateway: u32) -> Result<(), Failure> {
    die_with_parent().at(Step::Start)?;
    require_gateway(gateway)
}

/// Requires that the gateway lives.
pub(super) fn require_gateway(gateway: u32) -> Result<(), Failure> {
    let parent = rustix::process::getppid().map(|pid| pid.as_raw_nonzero().get().unsigned_abs());
    if parent == Some(gateway) { Ok(()) } else { Err("the gateway has ended").at(Step::Start) }
}

/// Makes the sandbox's user the owner of the workspace, inside, when the gateway is root: the mount is mapped, so
/// that files made in it belong, on the host, to the workspace's own owner.
pub(super) fn own_workspace(folder: Option<OwnedFd>, access: Access) -> Result<Option<Workspace>, Failure> {
    let Some(folder) = folder.filter(|_| access != Access::None) else { return Ok(None) };
    if !rustix::process::geteuid().is_root() {
        return Ok(Some(Workspace::Folder(folder)));
    }
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH
        | OpenTreeFlags::AT_RECURSIVE;
    let mount = rustix::mount::open_tree(&folder, "", flags).doing(Step::Ownership, "copying its mount")?;
    let owner = rustix::fs::fstat(&folder).at(Step::Ownership)?;
    let user = own_user()?;
    let mut namespace = None;
    if owner.st_uid != user {
        namespace = Some(mapping(owner.st_uid, owner.st_gid, user)?);
    }
    sys::set_mount_attributes(
        mount.as_fd(),
        attributes(access),
        namespace.as_ref().map(AsFd::as_fd),
        Reach::Tree,
    )
    .doing(
        Step::Ownership,
        format_args!(
            "its file system cannot lend the workspace to user {user}; run `chown -R {user}:{user}` on the \
                 workspace, move it to ext4, xfs, btrfs or tmpfs, or run the gateway as an ordinary user"
        ),
    )?;
    Ok(Some(Workspace::Mount(mount)))
}

/// What holds for the workspace's mount: set-user-id and device files mean nothing there.
pub(super) fn attributes(access: Access) -> MountAttrFlags {
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
    match access {
        Access::ReadWrite => attributes,
        Access::None | Access::ReadOnly => attributes | MountAttrFlags::MOUNT_ATTR_RDONLY,
    }
}

/// The user namespace in which `owner` on disk is `user`. A second process enters it and is let go once it is held.
fn mapping(owner: u32, group: u32, user: u32) -> Result<OwnedFd, Failure> {
    let (ready, entered) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).at(Step::Ownership)?;
    let (held, release) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).at(Step::Ownership)?;
    match sys::fork().at(Step::Ownership)? {
        Fork::Child => {
            drop((ready, release));
            die_with_parent().at(Step::Ownership)?;
            sys::unshare(UnshareFlags::NEWUSER).at(Step::Ownership)?;
            rustix::io::write(&entered, b".").at(Step::Ownership)?;
            rustix::io::read(&held, &mut [0; 1]).at(Step::Ownership)?;
            sys::exit()
        }
        Fork::Parent(child) => {
            drop((entered, held));
            let namespace = map_child(child, &ready, owner, group, user);
            drop(release);
            rustix::process::waitpid(Some(child), WaitOptions::empty()).at(Step::Ownership)?;
            namespace
        }
    }
}

fn map_child(child: Pid, ready: &OwnedFd, owner: u32, group: u32, user: u32) -> Result<OwnedFd, Failure> {
    if rustix::io::read(ready, &mut [0; 1]).at(Step::Ownership)? == 0 {
        return Err("no user namespace for its owner").at(Step::Ownership);
    }
    let child = format!("/proc/{child}", child = child.as_raw_nonzero());
    write_control(&format!("{child}/uid_map"), &format!("{owner} {user} 1")).at(Step::Ownership)?;
    write_control(&format!("{child}/gid_map"), &format!("{group} {user} 1")).at(Step::Ownership)?;
    let path = format!("{child}/ns/user");
    rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).at(Step::Ownership)
}

/// The number that root's commands run as here.
fn own_user() -> Result<u32, Failure> {
    let map = root_map()?;
    let exists = |user: u32| {
        map.lines().any(|line| {
            let mut numbers = line.split_ascii_whitespace().map(|word| word.parse::<u64>().unwrap_or(0));
            let (first, _, count) = (numbers.next(), numbers.next(), numbers.next());
            let (first, count) = (first.unwrap_or(0), count.unwrap_or(0));
            (first..first.saturating_add(count)).contains(&u64::from(user))
        })
    };
    if exists(USER) {
        Ok(USER)
    } else if exists(USER_OF_SMALL_NAMESPACE) {
        Ok(USER_OF_SMALL_NAMESPACE)
    } else {
        Err("root's user namespace has no second user").at(Step::Identity)
    }
}

/// The users that exist for this process.
fn root_map() -> Result<String, Failure> {
    let file = rustix::fs::open("/proc/self/uid_map", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .at(Step::Identity)?;
    let mut text = vec![0; 4096];
    let length = rustix::io::read(&file, &mut text).at(Step::Identity)?;
    text.truncate(length);
    String::from_utf8(text).at(Step::Identity)
}

/// Stops being root for good, and returns who the command is on the host.
pub(super) fn become_own_user() -> Result<u32, Failure> {
    if !rustix::process::geteuid().is_root() {
        return Ok(rustix::process::geteuid().as_raw());
    }
    let number = own_user()?;
    become_user(number, number)?;
    Ok(number)
}

/// The same where nothing can be lent: root becomes the owner of the workspace, which therefore must not be root.
pub(super) fn become_owner(workspace: Option<BorrowedFd<'_>>) -> Result<u32, Failure> {
    let Some(workspace) = workspace.filter(|_| rustix::process::geteuid().is_root()) else {
        return become_own_user();
    };
    let owner = rustix::fs::fstat(workspace).at(Step::Workspace)?;
    if owner.st_uid == 0 || owner.st_gid == 0 {
        return Err("the workspace is root's, and without namespaces a root gateway cannot lend it")
            .at(Step::Workspace);
    }
    become_user(owner.st_uid, owner.st_gid)?;
    Ok(owner.st_uid)
}

fn become_user(user: u32, group: u32) -> Result<(), Failure> {
    let (uid, gid) = (Uid::from_raw(user), Gid::from_raw(group));
    // The pipe that the output goes to: without this, `/dev/stdout` could not be opened by the command.
    rustix::fs::fchown(rustix::stdio::stdout(), Some(uid), Some(gid)).at(Step::Identity)?;
    rustix::thread::set_thread_groups(&[]).at(Step::Identity)?;
    rustix::thread::set_thread_res_gid(gid, gid, gid).at(Step::Identity)?;
    rustix::thread::set_thread_res_uid(uid, uid, uid).at(Step::Identity)?;
    // Changing users made `/proc/self` root's, and the user map could not be written.
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::Dumpable).at(Step::Identity)
}

/// The kernel's own killer, when it must choose, chooses a command before the gateway.
pub(super) fn be_killed_first() -> Result<(), Failure> {
    write_control("/proc/self/oom_score_adj", "1000").at(Step::Namespaces)
}

/// Leaves every namespace of the host, and maps the one user.
pub(super) fn leave_namespaces() -> Result<(), Failure> {
    let (uid, gid) = (rustix::process::geteuid(), rustix::process::getegid());
    be_killed_first()?;
    let all = UnshareFlags::NEWUSER
        | UnshareFlags::NEWNS
        | UnshareFlags::NEWPID
        | UnshareFlags::NEWNET
        | UnshareFlags::NEWIPC
        | UnshareFlags::NEWUTS
        | UnshareFlags::NEWCGROUP;
    sys::unshare(all).at(Step::Namespaces)?;
    die_with_parent().at(Step::Namespaces)?;
    write_control("/proc/self/setgroups", "deny").doing(Step::UserMap, "denying groups")?;
    write_control("/proc/self/uid_map", &format!("{INSIDE} {uid} 1", uid = uid.as_raw()))
        .at(Step::UserMap)?;
    write_control("/proc/self/gid_map", &format!("{INSIDE} {gid} 1", gid = gid.as_raw())).at(Step::UserMap)
}

/// Finds the folder again in the copied mounts: a descriptor of the host's cannot be mounted there.
pub(super) fn find_again(folder: BorrowedFd<'_>) -> Result<OwnedFd, Failure> {
    path_of(folder).map(|(_, found)| found)
}

/// Where a folder is, and the folder as it is found there. The path may have no symlink, and must lead to the very folder
/// that was opened.
pub(super) fn path_of(folder: BorrowedFd<'_>) -> Result<(CString, OwnedFd), Failure> {
    use std::os::fd::AsRawFd as _;
    let link = format!("/proc/self/fd/{}", folder.as_raw_fd());
    let path = rustix::fs::readlinkat(CWD, link, Vec::new()).at(Step::Workspace)?;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let found = rustix::fs::openat2(CWD, &path, flags, Mode::empty(), ResolveFlags::NO_SYMLINKS)
        .doing(Step::Workspace, format_args!("opening {}", path.to_string_lossy()))?;
    let (was, is) =
        (rustix::fs::fstat(folder).at(Step::Workspace)?, rustix::fs::fstat(&found).at(Step::Workspace)?);
    if (was.st_dev, was.st_ino) != (is.st_dev, is.st_ino) {
        return Err("the workspace was moved or replaced; restart the gateway").at(Step::Workspace);
    }
    rustix::fs::accessat(&found, ".", rustix::fs::Access::EXEC_OK, AtFlags::EACCESS)
        .doing(Step::Workspace, "the gateway's user may not enter it")?;
    Ok((path, found))
}
