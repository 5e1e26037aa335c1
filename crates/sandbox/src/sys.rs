//! Kernel calls without a safe wrapper: the only `unsafe` in the workspace.
//!
//! All of it runs in the helper, which has one thread from its first instruction to its last, but for two calls of the C
//! library's allocator, which any thread may make.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use rustix::mount::MountAttrFlags;
use rustix::process::Pid;
use rustix::thread::UnshareFlags;

/// Which side of a fork this is.
#[derive(Debug)]
pub(crate) enum Fork {
    /// The new process.
    Child,
    /// The old process, with the new one's id.
    Parent(Pid),
}

/// Splits the helper in two.
pub(crate) fn fork() -> io::Result<Fork> {
    // SAFETY: the helper has one thread, so no lock can be held by a thread that the child does not have.
    let id = unsafe { libc::fork() };
    match Pid::from_raw(id) {
        _ if id < 0 => Err(io::Error::last_os_error()),
        Some(pid) => Ok(Fork::Parent(pid)),
        None => Ok(Fork::Child),
    }
}

/// Ends this process at once, without running anything that was set up before the fork.
pub(crate) fn exit() -> ! {
    // SAFETY: the call does not return and touches no memory.
    unsafe { libc::_exit(0) }
}

/// Leaves namespaces of the parent for new ones.
pub(crate) fn unshare(namespaces: UnshareFlags) -> io::Result<()> {
    if namespaces.contains(UnshareFlags::FILES) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    // SAFETY: what makes the call unsafe is `FILES`, refused above; and there is no second thread.
    unsafe { rustix::thread::unshare_unsafe(namespaces) }.map_err(Into::into)
}

/// Closes every descriptor but standard input, output and error: what a careless parent left open.
pub(crate) fn close_all_but_standard() -> io::Result<()> {
    // SAFETY: called first of all by the helper, which then owns no descriptor above 2.
    let result = unsafe { libc::syscall(libc::SYS_close_range, 3_u32, u32::MAX, 0_u32) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Applies a filter of system calls to this process for good. What it answers "ask" for is asked through the returned
/// descriptor.
///
/// # Errors
/// `EBUSY` when a filter around this process asks somebody already: then none can be added that does.
pub(crate) fn apply_asking_filter(program: &[seccompiler::sock_filter]) -> io::Result<OwnedFd> {
    let mut instructions: Vec<libc::sock_filter> = program
        .iter()
        .map(|one| libc::sock_filter { code: one.code, jt: one.jt, jf: one.jf, k: one.k })
        .collect();
    let length = u16::try_from(instructions.len()).map_err(io::Error::other)?;
    let program = libc::sock_fprog { len: length, filter: instructions.as_mut_ptr() };
    // SAFETY: the program and its instructions live across the call, which copies them, and its length is theirs.
    let listener = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            libc::SECCOMP_FILTER_FLAG_NEW_LISTENER,
            &raw const program,
        )
    };
    if listener < 0 {
        return Err(io::Error::last_os_error());
    }
    let listener = RawFd::try_from(listener).map_err(io::Error::other)?;
    // SAFETY: the kernel has just made this descriptor for us, closed on exec, and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(listener) })
}

/// Kills every process of this process namespace but the first, which is the only one that may call this: a process
/// that waits in the kernel for an answer never sees one.
pub(crate) fn kill_all_others() -> io::Result<()> {
    if rustix::process::getpid() != Pid::INIT {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    // SAFETY: the call touches no memory; in a namespace of its own it reaches nobody else, which was just looked at.
    let result = unsafe { libc::kill(-1, libc::SIGKILL) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// A system call that waits for an answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Question {
    /// By which it is answered.
    pub(crate) id: u64,
    /// Who makes it, as this process numbers processes.
    pub(crate) process: u32,
    /// The number of the call.
    pub(crate) call: i64,
    /// Its arguments.
    pub(crate) arguments: [u64; 6],
}

/// The next call that waits. Fails with `NotFound` when whoever made it is gone.
pub(crate) fn next_question(listener: BorrowedFd<'_>) -> io::Result<Question> {
    // SAFETY: the structure is plain numbers, for which zero is a value; the kernel demands that it is all zero.
    let mut asked: libc::seccomp_notif = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel writes one such structure, which is what the request's number says.
    let result = unsafe { libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_RECV, &raw mut asked) };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(Question {
        id: asked.id,
        process: asked.pid,
        call: i64::from(asked.data.nr),
        arguments: asked.data.args,
    })
}

/// Answers a call as carried out.
pub(crate) fn done(listener: BorrowedFd<'_>, id: u64) -> io::Result<()> {
    answer(listener, libc::seccomp_notif_resp { id, val: 0, error: 0, flags: 0 })
}

/// Answers a call with an error.
pub(crate) fn refuse(listener: BorrowedFd<'_>, id: u64, error: i32) -> io::Result<()> {
    answer(listener, libc::seccomp_notif_resp { id, val: 0, error: error.saturating_neg(), flags: 0 })
}

/// Has the kernel carry a call out as if nobody had been asked. For calls that are harmless whatever their arguments are by
/// then.
pub(crate) fn let_be(listener: BorrowedFd<'_>, id: u64) -> io::Result<()> {
    const CONTINUE: u32 = 1; // SECCOMP_USER_NOTIF_FLAG_CONTINUE
    answer(listener, libc::seccomp_notif_resp { id, val: 0, error: 0, flags: CONTINUE })
}

fn answer(listener: BorrowedFd<'_>, answer: libc::seccomp_notif_resp) -> io::Result<()> {
    // SAFETY: the kernel reads one such structure, which lives across the call.
    let result =
        unsafe { libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_SEND, &raw const answer) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// How far [`set_mount_attributes`] reaches.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Reach {
    /// The mount alone.
    Mount,
    /// The mount and every mount below it.
    Tree,
}

/// Adds attributes to the mount that `mount` is the root of; with `owners` (a user namespace) its files belong to
/// whom that namespace says.
///
/// Unlike a remount it can only add, so attributes that the host has locked cannot make it fail.
pub(crate) fn set_mount_attributes(
    mount: BorrowedFd<'_>,
    attributes: MountAttrFlags,
    owners: Option<BorrowedFd<'_>>,
    reach: Reach,
) -> io::Result<()> {
    let mut set = u64::from(attributes.bits());
    let mut namespace = 0_u64;
    if let Some(owners) = owners {
        set |= u64::from(MountAttrFlags::MOUNT_ATTR_IDMAP.bits());
        namespace = u64::try_from(owners.as_raw_fd()).map_err(io::Error::other)?;
    }
    let argument = libc::mount_attr { attr_set: set, attr_clr: 0, propagation: 0, userns_fd: namespace };
    let flags = libc::AT_EMPTY_PATH
        | match reach {
            Reach::Mount => 0,
            Reach::Tree => libc::AT_RECURSIVE,
        };
    // SAFETY: the path is a NUL-terminated literal, the argument lives across the call, and its size is told.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw const argument,
            size_of::<libc::mount_attr>(),
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Has all threads take memory from one heap: with one for each of them, as glibc has by itself, what they keep free adds up.
#[cfg(target_env = "gnu")]
pub(crate) fn share_one_heap() -> bool {
    // SAFETY: the call takes two numbers and glibc's own lock.
    unsafe { libc::mallopt(libc::M_ARENA_MAX, 1) == 1 }
}

/// Gives pages back to the system that the allocator keeps and nobody uses.
#[cfg(target_env = "gnu")]
pub(crate) fn give_free_pages_back() {
    // SAFETY: the call looks at what is free alone, under glibc's own locks; what is in use stays where it is.
    let _was_any = unsafe { libc::malloc_trim(0) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sharing_descriptors_is_refused_before_the_kernel_is_asked() {
        assert_eq!(
            unshare(UnshareFlags::FILES).map_err(|error| error.kind()),
            Err(io::ErrorKind::InvalidInput)
        );
    }

    #[test]
    fn only_the_first_process_of_a_namespace_kills_all_others() {
        let refused = kill_all_others().map_err(|error| error.kind());
        assert_eq!(refused, Err(io::ErrorKind::PermissionDenied));
    }

    #[test]
    fn attributes_are_refused_for_what_is_no_mount() {
        let (reader, _writer) = rustix::pipe::pipe().unwrap();
        let result = set_mount_attributes(
            std::os::fd::AsFd::as_fd(&reader),
            MountAttrFlags::MOUNT_ATTR_RDONLY,
            None,
            Reach::Mount,
        );
        assert!(result.is_err());
    }
}
