//! What the gateway and the keeper of a command say to each other: one order, one report.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use moltbot_policy::approval::HostPermit;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, Shutdown,
};
use serde::{Deserialize, Serialize};
use tokio::io::unix::AsyncFd;

use super::HostError;
use super::copies::Copies;
use crate::outcome::Exit;

/// The order, the folder, the program, and a script file.
const DESCRIPTORS: usize = 4;
/// The longest order: 64 kB of words, each byte escaped in six, and the environment.
const ORDER_BYTES: usize = 1024 * 1024;
/// The longest report.
const REPORT_BYTES: usize = 4096;

/// What to run.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Order {
    /// The program as it was named, and its arguments.
    pub(super) words: Vec<String>,
    /// All of its environment.
    pub(super) environment: Vec<(String, String)>,
    /// Whether the program is a script.
    pub(super) is_script: bool,
    /// Which of the words is the script file, when there is one.
    pub(super) operand: Option<usize>,
}

/// How it ended.
#[derive(Debug, Deserialize, Serialize)]
pub(super) enum Report {
    Ended(Exit),
    Failed(String),
    Survived,
}

/// Hands the keeper its order.
pub(super) fn send_order(socket: BorrowedFd<'_>, permit: &HostPermit, copies: &Copies) -> io::Result<()> {
    let order = Order {
        words: permit.words().to_vec(),
        environment: permit.facts().environment.clone(),
        is_script: copies.is_script,
        operand: copies.operand.as_ref().map(|(place, _)| *place),
    };
    let order = crate::sealed::of_bytes("moltbot-order", &serde_json::to_vec(&order)?)?;
    let mut descriptors = vec![order.as_fd(), copies.directory.as_fd(), copies.program.as_fd()];
    descriptors.extend(copies.operand.as_ref().map(|(_, copy)| copy.as_fd()));
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !control.push(SendAncillaryMessage::ScmRights(&descriptors)) {
        return Err(io::Error::other("too many descriptors"));
    }
    rustix::net::sendmsg(socket, &[IoSlice::new(b"order")], &mut control, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// Takes the order and its descriptors: the folder, the program, and a script file.
pub(super) fn receive_order(socket: BorrowedFd<'_>) -> io::Result<(Order, Vec<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut bytes = [0; 16];
    rustix::net::recvmsg(socket, &mut [IoSliceMut::new(&mut bytes)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
    let mut descriptors = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            descriptors.extend(rights);
        }
    }
    let mut descriptors = descriptors.into_iter();
    let order = descriptors.next().ok_or(io::ErrorKind::UnexpectedEof)?;
    let mut text = vec![0; ORDER_BYTES];
    let length = rustix::io::pread(&order, &mut text, 0)?;
    Ok((serde_json::from_slice(text.get(..length).unwrap_or_default())?, descriptors.collect()))
}

/// Tells the gateway how it ended.
pub(super) fn send_report(socket: BorrowedFd<'_>, report: &Report) -> io::Result<()> {
    let text = serde_json::to_vec(report)?;
    rustix::net::send(socket, &text, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// Waits for the report.
pub(super) async fn next_report(socket: &AsyncFd<OwnedFd>) -> Result<Result<Exit, HostError>, HostError> {
    let mut bytes = [0; REPORT_BYTES];
    let length = receive(socket, &mut bytes).await?;
    if length == 0 {
        return Ok(Err(HostError::Lost));
    }
    let report = serde_json::from_slice(bytes.get(..length).unwrap_or_default()).map_err(io::Error::from)?;
    Ok(match report {
        Report::Ended(exit) => Ok(exit),
        Report::Failed(cause) => Err(HostError::Start { cause }),
        Report::Survived => Err(HostError::Survived),
    })
}

/// Says that nobody waits for the command any more.
pub(super) fn let_go(socket: &AsyncFd<OwnedFd>) {
    if let Err(error) = rustix::net::shutdown(socket.get_ref(), Shutdown::Write) {
        tracing::debug!(%error, "the keeper of a command is gone already");
    }
}

/// Waits until the keeper is gone. What it still says is of no use.
pub(super) async fn gone(socket: &AsyncFd<OwnedFd>) -> Result<(), HostError> {
    let mut bytes = [0; REPORT_BYTES];
    while receive(socket, &mut bytes).await? > 0 {}
    Ok(())
}

async fn receive(socket: &AsyncFd<OwnedFd>, bytes: &mut [u8]) -> io::Result<usize> {
    loop {
        let mut ready = socket.readable().await?;
        let received = ready.try_io(|socket| {
            let (length, _) = rustix::net::recv(socket.get_ref(), &mut *bytes, RecvFlags::empty())?;
            Ok(length)
        });
        match received {
            Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(0),
            Ok(received) => return received,
            Err(_would_block) => {}
        }
    }
}
