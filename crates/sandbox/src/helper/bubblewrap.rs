//! The backend `bwrap`: the system's bubblewrap makes the namespaces and the mounts, and this helper, started again
//! within, sets what bubblewrap has no words for.
//!
//! bubblewrap 0.8 cannot mount what is for data alone, has no limit for the number of files in memory, and finds folders by
//! their paths. So it is left two capabilities within its user namespace, with which the first process covers `/proc`,
//! mounts `/tmp`, looks whether the workspace is the one that was meant, and holds the paths in it ([`root::complete`]).
//! They are given up before anything of the command begins. Landlock, the filter, limits and the watch are as without it.
//!
//! The outer process stays: it tells the gateway what bubblewrap complains of, and when it dies, bubblewrap does.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use rustix::fs::{CWD, FileType, Mode, OFlags};
use rustix::mount::{MountFlags, MountPropagationFlags, MoveMountFlags};
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use rustix::process::{Pid, WaitOptions};
use rustix::thread::UnshareFlags;

use super::identity::{self, INSIDE, Workspace};
use super::root::{BESIDE_USR, DESCRIPTORS, DEVICES, SETTINGS};
use super::{At as _, ENCLOSED, Failure, Job, die_with_parent, first, release_output, tell};
use crate::HELPER;
use crate::outcome::Step;
use crate::sys::{self, Fork};
use crate::wire::{self, Access, Along, Handed, Word};

/// Where bubblewrap is. No other place is looked in: whoever could put a program there would build the walls.
pub(crate) const PROGRAM: &str = "/usr/bin/bwrap";

/// The steps of the outer process.
pub(super) fn enclose(job: &Job, folder: Option<OwnedFd>) -> Result<(), Failure> {
    rustix::process::umask(Mode::from_raw_mode(0o022));
    identity::die_with_gateway(job.request.gateway)?;
    require_program()?;
    let helper = rustix::fs::open("/proc/self/exe", OFlags::PATH, Mode::empty()).at(Step::Start)?;
    let number = folder.as_ref().filter(|_| job.request.access != Access::None).map(rustix::fs::fstat);
    let number = number.transpose().at(Step::Workspace)?;
    let workspace = identity::own_workspace(folder, job.request.access)?.map(findable).transpose()?;
    let uid = identity::become_own_user()?;
    identity::die_with_gateway(job.request.gateway)?;
    identity::be_killed_first()?;
    let (near, far) =
        rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
            .at(Step::Start)?;
    let filter = crate::sealed::of_bytes("moltbot-filter", &job.filter).at(Step::Start)?;
    wire::send_request(near.as_fd(), &job.request, filter.as_fd(), &[], Along::default()).at(Step::Start)?;
    let word = Word { uid, workspace: number.map(|stat| (stat.st_dev, stat.st_ino)) };
    wire::send_word(near.as_fd(), word, job.socket.as_fd()).at(Step::Start)?;
    let (complaint, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).at(Step::Start)?;
    let own = rustix::process::getpid();
    match sys::fork().at(Step::Start)? {
        Fork::Child => become_bubblewrap(own, &arguments(workspace, &helper), &far, &writer),
        Fork::Parent(bubblewrap) => {
            drop((far, writer, helper));
            release_output().at(Step::Start)?;
            let said = read_complaint(complaint).at(Step::Start)?;
            rustix::process::waitpid(Some(bubblewrap), WaitOptions::empty()).at(Step::Start)?;
            judge(&said)
        }
    }
}

/// Requires the program to be there, root's, and without rights of its own.
fn require_program() -> Result<(), Failure> {
    let stat = rustix::fs::lstat(PROGRAM).doing(Step::Bubblewrap, PROGRAM)?;
    let mode = stat.st_mode & 0o7777;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile || stat.st_uid != 0 || mode & 0o022 != 0
    {
        let why = format!("{PROGRAM} is not a file of root that others cannot change");
        return Err(why).at(Step::Bubblewrap);
    }
    if mode & 0o6000 != 0 {
        return Err(format!("{PROGRAM} is set-user-id")).at(Step::Bubblewrap);
    }
    Ok(())
}

/// A path by which the sandbox's user finds the workspace. A mount that lends it is put where it can be found, in mounts
/// that nobody else sees.
fn findable(workspace: Workspace) -> Result<OsString, Failure> {
    let mount = match workspace {
        Workspace::Folder(folder) => {
            let (path, _) = identity::path_of(folder.as_fd())?;
            return Ok(OsString::from_vec(path.into_bytes()));
        }
        Workspace::Mount(mount) => mount,
    };
    sys::unshare(UnshareFlags::NEWNS).at(Step::Ownership)?;
    let whole = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    rustix::mount::mount_change("/", whole).at(Step::Ownership)?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    rustix::mount::mount("tmpfs", "/tmp", "tmpfs", flags, c"size=4k,nr_inodes=4,mode=755")
        .at(Step::Ownership)?;
    rustix::fs::mkdirat(CWD, LENT, Mode::from_raw_mode(0o755)).at(Step::Ownership)?;
    rustix::mount::move_mount(&mount, "", CWD, LENT, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
        .at(Step::Ownership)?;
    Ok(LENT.into())
}

const LENT: &str = "/tmp/workspace";

/// What bubblewrap is told: the namespaces, and the mounts of the private root in their order.
fn arguments(workspace: Option<OsString>, helper: &OwnedFd) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = Vec::new();
    let mut add = |words: &[&OsStr]| arguments.extend(words.iter().map(|word| (*word).to_owned()));
    let inside = INSIDE.to_string();
    let mut plain = |words: &[&str]| add(&words.iter().map(OsStr::new).collect::<Vec<_>>());
    plain(&ALWAYS);
    plain(&["--uid", &inside, "--gid", &inside, "--ro-bind", "/usr", "/usr"]);
    for name in BESIDE_USR {
        let host = format!("/{name}");
        match rustix::fs::readlinkat(CWD, &host, Vec::new()) {
            Ok(target) => plain(&["--symlink", &target.to_string_lossy(), &host]),
            Err(_no_link) => plain(&["--ro-bind-try", &host, &host]),
        }
    }
    plain(&["--dir", "/etc"]);
    for name in SETTINGS {
        let path = format!("/etc/{name}");
        plain(&["--ro-bind-try", &path, &path]);
    }
    for name in DEVICES {
        let path = format!("/dev/{name}");
        plain(&["--dev-bind", &path, &path]);
    }
    for (name, target) in DESCRIPTORS {
        plain(&["--symlink", target, &format!("/dev/{name}")]);
    }
    plain(&["--proc", "/proc", "--dir", "/dev/shm", "--dir", "/tmp"]);
    match &workspace {
        None => plain(&["--dir", "/workspace"]),
        Some(path) => add(&[OsStr::new("--bind"), path, OsStr::new("/workspace")]),
    }
    let program = format!("/proc/self/fd/{}", helper.as_raw_fd());
    add(&["--chdir", "/", "--", &program, HELPER, ENCLOSED].map(OsStr::new));
    arguments
}

/// Every namespace, none of its own privileges, nothing of an environment, and no first process but ours.
const ALWAYS: [&str; 18] = [
    "--unshare-user",
    "--unshare-ipc",
    "--unshare-pid",
    "--unshare-net",
    "--unshare-uts",
    "--unshare-cgroup",
    "--die-with-parent",
    "--new-session",
    "--as-pid-1",
    "--clearenv",
    "--hostname",
    "sandbox",
    "--cap-drop",
    "ALL",
    // For the mounts that bubblewrap has no words for; they are given up before the command begins.
    "--cap-add",
    "CAP_SYS_ADMIN",
    "--cap-add",
    "CAP_SETPCAP",
];

#[expect(
    clippy::disallowed_methods,
    reason = "the door to processes: bubblewrap builds the walls of a recorded command"
)]
fn become_bubblewrap(
    outer: Pid,
    arguments: &[OsString],
    stdin: &OwnedFd,
    complaint: &OwnedFd,
) -> Result<(), Failure> {
    die_with_parent().at(Step::Start)?;
    if rustix::process::getppid() != Some(outer) {
        return Err("the helper was killed").at(Step::Start);
    }
    rustix::stdio::dup2_stdin(stdin).at(Step::Start)?;
    rustix::stdio::dup2_stderr(complaint).at(Step::Start)?;
    Err(Command::new(PROGRAM).args(arguments).env_clear().exec()).at(Step::Bubblewrap)
}

/// What bubblewrap says before its end, and a sentence is enough of it.
fn read_complaint(pipe: OwnedFd) -> io::Result<String> {
    let mut said = Vec::new();
    let mut bytes = [0; 1024];
    loop {
        match rustix::io::read(&pipe, &mut bytes)? {
            0 => return Ok(String::from_utf8_lossy(&said).trim().to_owned()),
            length if said.len() < bytes.len() => said.extend(bytes.get(..length).unwrap_or_default()),
            _ => {}
        }
    }
}

/// Which step a complaint is about.
fn judge(said: &str) -> Result<(), Failure> {
    let step = match said {
        "" => return Ok(()),
        _ if said.contains("mount proc") => Step::Proc,
        _ if said.contains("namespace") => Step::Namespaces,
        _ if said.contains("uid map") || said.contains("gid map") => Step::UserMap,
        _ if said.contains("loopback") => Step::Network,
        _ if said.contains("execvp") => Step::Start,
        _ => Step::Root,
    };
    Err(said).at(step)
}

/// The first process within what bubblewrap has built. Its standard input is the outer process's, its standard error
/// bubblewrap's.
pub(super) fn enclosed() -> io::Result<()> {
    sys::close_all_but_standard()?;
    let outer = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)?;
    let null = rustix::fs::open("/dev/null", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    rustix::stdio::dup2_stdin(null)?;
    rustix::stdio::dup2_stderr(rustix::stdio::stdout())?;
    let Handed { request, filter, .. } = wire::receive_request(outer.as_fd())?;
    let (word, socket) = wire::receive_word(outer.as_fd())?;
    let job = Job { request, filter, socket, model: None };
    tell(&job, first::run_in_bubblewrap(&job, word, &outer))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_bubblewrap_complains_of_is_told_by_the_step_that_failed() {
        assert!(judge("").is_ok());
        for (said, step) in [
            ("bwrap: Can't mount proc on /newroot/proc: Operation not permitted", Step::Proc),
            ("bwrap: No permissions to create new namespace, likely because the kernel …", Step::Namespaces),
            ("bwrap: Creating new namespace failed: No space left on device", Step::Namespaces),
            ("bwrap: setting up uid map: Permission denied", Step::UserMap),
            ("bwrap: loopback: Failed RTM_NEWADDR: Operation not permitted", Step::Network),
            ("bwrap: execvp /proc/self/fd/5: Permission denied", Step::Start),
            ("bwrap: Can't find source path /x: No such file or directory", Step::Root),
        ] {
            let failure = judge(said).unwrap_err();
            assert_eq!((failure.step, failure.cause.as_str()), (step, said));
        }
    }
}
