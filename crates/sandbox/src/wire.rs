//! What the gateway and its helper say to each other, over one pair of sockets.
//!
//! The gateway says one thing: the [`Request`], in a memory file, with two to seven descriptors; where the walls are built
//! ahead, the [`Task`] follows when there is one. The helper's processes answer with [`Report`]s, one per packet.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use moltbot_policy::container::Backend;
use moltbot_policy::profile::{NetworkAccess, Profile, WorkspaceAccess};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags,
};
use serde::{Deserialize, Serialize};

use crate::outcome::{Exit, Step};
use crate::sealed;

/// What to run, and behind which walls.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct Request {
    pub(crate) builder: Builder,
    /// Whether the walls are built ahead: script and directory are empty, and come as a [`Task`].
    pub(crate) ahead: bool,
    pub(crate) script: String,
    pub(crate) directory: String,
    pub(crate) access: Access,
    /// Whether the gateway waits for a socket that listens within the namespace.
    pub(crate) proxy: bool,
    /// Whether it writes to a terminal.
    pub(crate) terminal: bool,
    /// Whether it is no script but the program of a local model, which comes along with its input.
    pub(crate) model: bool,
    pub(crate) address_space: u64,
    pub(crate) memory: u64,
    pub(crate) processes: u64,
    pub(crate) open_files: u64,
    pub(crate) file_size: u64,
    pub(crate) cpu_seconds: u64,
    pub(crate) temporary_bytes: u64,
    pub(crate) disk: u64,
    /// The gateway's process id: a helper with another parent has lost it.
    pub(crate) gateway: u32,
}

/// What is run within walls that were built ahead.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Task {
    pub(crate) script: String,
    pub(crate) directory: String,
}

/// What makes the walls that the helper works in.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) enum Builder {
    /// The system's `bwrap` makes namespaces and mounts.
    Bubblewrap,
    /// The helper makes all of them.
    Helper,
    /// The helper, without namespaces.
    Weak,
}

/// How the command sees the workspace.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) enum Access {
    None,
    ReadOnly,
    ReadWrite,
}

impl Request {
    /// The request for a script in a folder of the workspace.
    pub(crate) fn new(script: &str, directory: &str, profile: &Profile) -> Self {
        Self {
            builder: match profile.backend {
                Backend::Bwrap => Builder::Bubblewrap,
                Backend::EmbeddedWeak => Builder::Weak,
                Backend::Docker(_) | Backend::Embedded => Builder::Helper,
            },
            ahead: false,
            script: script.into(),
            directory: directory.into(),
            access: match profile.workspace {
                WorkspaceAccess::None => Access::None,
                WorkspaceAccess::ReadOnly => Access::ReadOnly,
                WorkspaceAccess::ReadWrite => Access::ReadWrite,
            },
            proxy: profile.network == NetworkAccess::Proxy,
            terminal: profile.terminal,
            model: false,
            address_space: profile.address_space,
            memory: profile.memory,
            processes: profile.processes,
            open_files: profile.open_files,
            file_size: profile.file_size,
            cpu_seconds: profile.cpu_seconds,
            temporary_bytes: profile.temporary_bytes,
            disk: profile.disk,
            gateway: std::process::id(),
        }
    }

    /// The request for the process of a local model.
    pub(crate) fn for_model(profile: &Profile) -> Self {
        Self { model: true, ..Self::new("", "", profile) }
    }

    /// The same walls, built ahead of a command that is not known yet.
    pub(crate) fn ahead(&self) -> Self {
        Self { ahead: true, script: String::new(), directory: String::new(), ..self.clone() }
    }
}

/// What the helper's processes say.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) enum Report {
    /// A system call that leads out was made and not carried out: its number, and what the program calls itself.
    Attempt { call: i64, program: String },
    /// The namespace's first process exists; a descriptor of it comes along. It waits for a word of its parent.
    Born,
    /// The shell has ended, or was stopped for the memory that its processes held.
    Ended(Exit),
    /// A step failed, and the command did not run.
    Failed { step: Step, cause: String },
    /// A socket listens within the namespace; it comes along.
    Listening,
    /// The shell runs.
    Started(Walls),
}

/// What the helper found out about the walls while it built them.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct Walls {
    /// The version of Landlock's rules.
    pub(crate) landlock_abi: u32,
    /// The user of the machine that the command runs as.
    pub(crate) uid: u32,
    /// Whether system calls that lead out are seen, and not only refused.
    pub(crate) watched: bool,
}

/// The largest report: a cause is a sentence.
const REPORT_BYTES: usize = 4096;
/// The largest request: a script of 64 kB, each byte escaped in six.
const REQUEST_BYTES: u64 = 1024 * 1024;
/// The most descriptors in one packet.
const DESCRIPTORS: usize = 7;

/// Sends a report, and a descriptor with it.
pub(crate) fn send_report(
    socket: BorrowedFd<'_>,
    report: &Report,
    extra: Option<BorrowedFd<'_>>,
) -> io::Result<()> {
    send(socket, &serde_json::to_vec(report)?, extra.as_slice())
}

/// The next report and its descriptor; `None` when the helper is gone. Fails with `WouldBlock` when there is none
/// yet and the socket does not block.
pub(crate) fn receive_report(socket: BorrowedFd<'_>) -> io::Result<Option<(Report, Option<OwnedFd>)>> {
    let mut bytes = [0; REPORT_BYTES];
    let (length, mut descriptors) = receive(socket, &mut bytes)?;
    match bytes.get(..length) {
        Some(text) if !text.is_empty() => Ok(Some((serde_json::from_slice(text)?, descriptors.pop()))),
        _ => Ok(None),
    }
}

/// Sends a few bytes in one packet, and a descriptor with them.
pub(crate) fn send_bytes(
    socket: BorrowedFd<'_>,
    bytes: &[u8],
    extra: Option<BorrowedFd<'_>>,
) -> io::Result<()> {
    send(socket, bytes, extra.as_slice())
}

/// All bytes that come until the other end closes, and the descriptor that came with them.
pub(crate) fn receive_bytes(socket: BorrowedFd<'_>) -> io::Result<(Vec<u8>, Option<OwnedFd>)> {
    let (mut told, mut extra) = (Vec::new(), None);
    loop {
        let mut bytes = [0; 16];
        let (length, descriptors) = receive(socket, &mut bytes)?;
        extra = descriptors.into_iter().next().or(extra);
        match bytes.get(..length) {
            Some(more) if !more.is_empty() && told.len() < 64 => told.extend_from_slice(more),
            _ => return Ok((told, extra)),
        }
    }
}

/// One packet, as many bytes of it as there is room for; none when the other end has closed. What comes along is closed.
/// Fails with `WouldBlock` when there is none yet and the socket does not block.
pub(crate) fn receive_packet(socket: BorrowedFd<'_>, bytes: &mut [u8]) -> io::Result<usize> {
    receive(socket, bytes).map(|(length, _descriptors)| length)
}

/// What the outer process tells the one that `bwrap` starts, besides the request.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct Word {
    /// The user of the machine that the command runs as.
    pub(crate) uid: u32,
    /// The device and the number of the workspace, which must be those of what `bwrap` put there.
    pub(crate) workspace: Option<(u64, u64)>,
}

/// Sends a word, and the way to the gateway with it.
pub(crate) fn send_word(socket: BorrowedFd<'_>, word: Word, gateway: BorrowedFd<'_>) -> io::Result<()> {
    send(socket, &serde_json::to_vec(&word)?, &[gateway])
}

/// Takes a word, and the way to the gateway.
pub(crate) fn receive_word(socket: BorrowedFd<'_>) -> io::Result<(Word, OwnedFd)> {
    let mut bytes = [0; 256];
    let (length, mut descriptors) = receive(socket, &mut bytes)?;
    let word = serde_json::from_slice(bytes.get(..length).unwrap_or_default())?;
    Ok((word, descriptors.pop().ok_or(io::ErrorKind::UnexpectedEof)?))
}

/// Says that the proxy of a command is served.
pub(crate) fn send_served(socket: BorrowedFd<'_>) -> io::Result<()> {
    send(socket, b".", &[])
}

/// Waits until the proxy is served.
pub(crate) fn await_served(socket: BorrowedFd<'_>) -> io::Result<()> {
    match receive(socket, &mut [0; 1])? {
        (0, _) => Err(io::Error::other("nobody serves its proxy")),
        _ => Ok(()),
    }
}

/// What the process of a local model begins with.
#[derive(Debug)]
pub(crate) struct ModelEnds {
    /// Its standard input.
    pub(crate) input: OwnedFd,
    /// A sealed copy of its program.
    pub(crate) program: OwnedFd,
}

/// What a helper is handed besides its request, its filter and the entrances of its groups.
#[derive(Clone, Copy, Default)]
pub(crate) struct Along<'a> {
    /// The folder that the command sees.
    pub(crate) workspace: Option<BorrowedFd<'a>>,
    /// For the process of a local model.
    pub(crate) model: Option<&'a ModelEnds>,
}

/// Hands the helper its request, its filter, the entrances of the groups that it enters, and what goes along.
pub(crate) fn send_request(
    socket: BorrowedFd<'_>,
    request: &Request,
    filter: BorrowedFd<'_>,
    entrances: &[OwnedFd],
    along: Along<'_>,
) -> io::Result<()> {
    let request = sealed::of_bytes("moltbot-request", &serde_json::to_vec(request)?)?;
    let mut descriptors = vec![request.as_fd(), filter];
    descriptors.extend(entrances.iter().map(AsFd::as_fd));
    if let Some(ModelEnds { input, program }) = along.model {
        descriptors.extend([input.as_fd(), program.as_fd()]);
    }
    descriptors.extend(along.workspace);
    // What else comes along could be either: how many entrances there are is said.
    let count = u8::try_from(entrances.len()).map_err(io::Error::other)?;
    send(socket, &[count], &descriptors)
}

/// What the helper is handed.
pub(crate) struct Handed {
    pub(crate) request: Request,
    /// The bytes of the filter of system calls.
    pub(crate) filter: Vec<u8>,
    /// Where the control groups are entered.
    pub(crate) entrances: Vec<OwnedFd>,
    pub(crate) model: Option<ModelEnds>,
    pub(crate) workspace: Option<OwnedFd>,
}

/// Takes what the gateway hands over.
pub(crate) fn receive_request(socket: BorrowedFd<'_>) -> io::Result<Handed> {
    let mut count = [0];
    let (_, descriptors) = receive(socket, &mut count)?;
    let count = count.into_iter().map(usize::from).sum();
    let mut descriptors = descriptors.into_iter();
    let (Some(request), Some(filter)) = (descriptors.next(), descriptors.next()) else {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the gateway sent no request"));
    };
    let request: Request = serde_json::from_slice(&contents(request.as_fd())?)?;
    let entrances: Vec<OwnedFd> = descriptors.by_ref().take(count).collect();
    if entrances.len() != count {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the gateway sent no entrance of a group"));
    }
    let filter = contents(filter.as_fd())?;
    let model = if request.model {
        let (Some(input), Some(program)) = (descriptors.next(), descriptors.next()) else {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "the gateway sent no program of a model",
            ));
        };
        Some(ModelEnds { input, program })
    } else {
        None
    };
    Ok(Handed { request, filter, entrances, model, workspace: descriptors.next() })
}

/// Hands walls that were built ahead what is run within them.
pub(crate) fn send_task(socket: BorrowedFd<'_>, task: &Task) -> io::Result<()> {
    let task = sealed::of_bytes("moltbot-task", &serde_json::to_vec(task)?)?;
    send(socket, b".", &[task.as_fd()])
}

/// Takes what is run. Fails when the gateway has let go instead.
pub(crate) fn receive_task(socket: BorrowedFd<'_>) -> io::Result<Task> {
    let (_, descriptors) = receive(socket, &mut [0; 1])?;
    match descriptors.into_iter().next() {
        Some(task) => Ok(serde_json::from_slice(&contents(task.as_fd())?)?),
        None => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the gateway sent no task")),
    }
}

/// The whole of a memory file, whatever its position: the filter's is shared by all helpers.
fn contents(file: BorrowedFd<'_>) -> io::Result<Vec<u8>> {
    let size = u64::try_from(rustix::fs::fstat(file)?.st_size).map_err(io::Error::other)?;
    if size > REQUEST_BYTES {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the request is too large"));
    }
    let mut bytes = vec![0; usize::try_from(size).map_err(io::Error::other)?];
    let mut done = 0;
    while let Some(rest) = bytes.get_mut(done..).filter(|rest| !rest.is_empty()) {
        let offset = u64::try_from(done).map_err(io::Error::other)?;
        match rustix::io::pread(file, rest, offset)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            read => done += read,
        }
    }
    Ok(bytes)
}

fn send(socket: BorrowedFd<'_>, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(io::Error::other("too many descriptors"));
    }
    rustix::net::sendmsg(socket, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL)?;
    Ok(())
}

fn receive(socket: BorrowedFd<'_>, bytes: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received =
        rustix::net::recvmsg(socket, &mut [IoSliceMut::new(bytes)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
    let mut descriptors = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            descriptors.extend(rights);
        }
    }
    Ok((received.bytes, descriptors))
}

#[cfg(test)]
mod tests {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

    use super::*;

    fn pair() -> (OwnedFd, OwnedFd) {
        socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap()
    }

    #[test]
    fn a_report_arrives_whole_and_an_end_is_told_apart() {
        let (near, far) = pair();
        let reports = [
            Report::Failed { step: Step::Landlock, cause: "é".repeat(100) },
            Report::Started(Walls { landlock_abi: 6, uid: 7, watched: true }),
            Report::Ended(Exit::Code(3)),
        ];
        for report in &reports {
            send_report(far.as_fd(), report, None).unwrap();
        }
        drop(far);
        for report in reports {
            let (received, descriptor) = receive_report(near.as_fd()).unwrap().unwrap();
            assert_eq!((received, descriptor.is_none()), (report, true));
        }
        assert!(receive_report(near.as_fd()).unwrap().is_none());
    }

    #[test]
    fn a_request_arrives_with_its_descriptors_whatever_its_size() {
        let (near, far) = pair();
        let script = "\u{1}".repeat(64 * 1024);
        let request = Request::new(&script, "src", &Profile::for_probe());
        let filter = sealed::of_bytes("filter", b"12345678").unwrap();
        let (workspace, _writer) = rustix::pipe::pipe().unwrap();
        let entrance = sealed::of_bytes("entrance", b"").unwrap();
        let along = Along { workspace: Some(workspace.as_fd()), model: None };
        send_request(near.as_fd(), &request, filter.as_fd(), &[entrance], along).unwrap();
        let handed = receive_request(far.as_fd()).unwrap();
        assert_eq!((handed.request.script, handed.filter), (script, b"12345678".to_vec()));
        assert_eq!((handed.entrances.len(), handed.workspace.is_some()), (1, true));
        // Without the entrance that was announced nothing runs.
        send(near.as_fd(), &[1], &[filter.as_fd(), filter.as_fd()]).unwrap();
        assert!(receive_request(far.as_fd()).is_err());
    }

    #[test]
    fn a_sealed_file_cannot_be_changed() {
        let file = sealed::of_bytes("x", b"abc").unwrap();
        assert!(rustix::io::pwrite(&file, b"d", 0).is_err());
    }
}
