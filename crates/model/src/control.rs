//! The control socket: packets of JSON, some with a descriptor.

use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};

use moltbot_config::limits::LOCAL_MODEL_THREADS;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendFlags, SocketType,
    sockopt,
};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::failure::{Code, Failure};

/// What is asked of this process.
#[derive(Debug, Deserialize, Eq, PartialEq)]
#[serde(deny_unknown_fields, rename_all = "lowercase")]
pub(crate) enum Packet {
    /// Serve the connection that comes along.
    Connection {},
    /// Load the file that comes along.
    Load(Load),
}

/// Which model, and how.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
#[serde(deny_unknown_fields)]
pub(crate) struct Load {
    /// What it is called in requests.
    pub(crate) name: String,
    /// The SHA-256 of its file, in hexadecimal digits.
    pub(crate) sha256: String,
    /// Tokens of context, or fewer where that does not fit.
    pub(crate) context: usize,
    /// Threads that compute.
    pub(crate) threads: usize,
}

impl Load {
    fn agreed(self) -> Result<Self, Failure> {
        let letter = |letter: char| letter.is_ascii_alphanumeric() || "._:/-".contains(letter);
        let named = (1..=NAME_BYTES).contains(&self.name.len()) && self.name.chars().all(letter);
        let digest = self.sha256.len() == 64 && self.sha256.chars().all(|digit| digit.is_ascii_hexdigit());
        let threads = (1..=usize::from(LOCAL_MODEL_THREADS)).contains(&self.threads);
        if named && digest && threads && self.context > 0 {
            Ok(self)
        } else {
            Err(Code::Protocol.because(format!(
                "the load packet needs a name of letters, digits and ._:/-, a sha256 of 64 digits, a context above 0 and 1 to {LOCAL_MODEL_THREADS} threads"
            )))
        }
    }
}

/// The longest name of a model.
const NAME_BYTES: usize = 128;
/// The largest packet.
const PACKET_BYTES: usize = 4096;

/// Whether `socket` is a control socket.
pub(crate) fn is_control(socket: BorrowedFd<'_>) -> bool {
    is(socket, SocketType::SEQPACKET)
}

/// Whether `socket` is a connection that can be served.
pub(crate) fn is_connection(socket: BorrowedFd<'_>) -> bool {
    is(socket, SocketType::STREAM)
}

fn is(socket: BorrowedFd<'_>, kind: SocketType) -> bool {
    sockopt::socket_type(socket).is_ok_and(|own| own == kind)
        && sockopt::socket_domain(socket).is_ok_and(|domain| domain == AddressFamily::UNIX)
}

/// Looks at the first packet, which stays where it is. `None` when there will be none.
pub(crate) fn peek(socket: BorrowedFd<'_>) -> Result<Option<Load>, Failure> {
    let lost = |cause: rustix::io::Errno| Code::Protocol.explained("the control socket failed", &cause);
    rustix::io::ioctl_fionbio(socket, false).map_err(lost)?;
    let mut bytes = [0; PACKET_BYTES];
    let (_, length) =
        rustix::net::recv(socket, &mut bytes, RecvFlags::PEEK | RecvFlags::TRUNC).map_err(lost)?;
    if length == 0 {
        return Ok(None);
    }
    match read(bytes.get(..length))? {
        Packet::Load(load) => Ok(Some(load)),
        Packet::Connection {} => Err(Code::Protocol.because("the first packet must be load")),
    }
}

/// Takes the next packet and its descriptor; `None` when the other end has closed. Fails with `WouldBlock` when there is
/// none yet and the socket does not block.
pub(crate) fn receive(socket: BorrowedFd<'_>) -> io::Result<Option<Result<(Packet, OwnedFd), Failure>>> {
    let mut bytes = [0; PACKET_BYTES];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = rustix::net::recvmsg(
        socket,
        &mut [IoSliceMut::new(&mut bytes)],
        &mut control,
        RecvFlags::CMSG_CLOEXEC,
    )?;
    let mut descriptors = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            descriptors.extend(rights);
        }
    }
    if received.bytes == 0 {
        return Ok(None);
    }
    let cut = received.flags.intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC);
    Ok(Some(taken(bytes.get(..received.bytes).filter(|_| !cut), descriptors)))
}

fn taken(bytes: Option<&[u8]>, descriptors: Vec<OwnedFd>) -> Result<(Packet, OwnedFd), Failure> {
    let packet = read(bytes)?;
    let mut descriptors = descriptors.into_iter();
    match (descriptors.next(), descriptors.next()) {
        (Some(descriptor), None) => Ok((packet, descriptor)),
        _ => Err(Code::Protocol.because("a packet needs exactly one descriptor")),
    }
}

fn read(bytes: Option<&[u8]>) -> Result<Packet, Failure> {
    let bytes = bytes.ok_or_else(|| Code::Protocol.because("a packet is too long"))?;
    let packet = serde_json::from_slice(bytes);
    match packet.map_err(|cause| Code::Protocol.explained("a packet is not one of this program's", &cause))? {
        Packet::Load(load) => load.agreed().map(Packet::Load),
        packet @ Packet::Connection {} => Ok(packet),
    }
}

/// Says that connections are served.
pub(crate) fn send_ready(socket: BorrowedFd<'_>, ready: &Value) -> io::Result<()> {
    send(socket, &json!({ "ready": ready }))
}

/// Says why nothing is served.
pub(crate) fn send_failed(socket: BorrowedFd<'_>, failure: &Failure) -> io::Result<()> {
    send(socket, &json!({ "failed": { "code": failure.code.name(), "message": failure.message } }))
}

fn send(socket: BorrowedFd<'_>, packet: &Value) -> io::Result<()> {
    rustix::net::send(socket, packet.to_string().as_bytes(), SendFlags::NOSIGNAL)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_two_packets_are_taken() {
        let load =
            format!(r#"{{"load":{{"name":"a","sha256":"{}","context":9,"threads":1}}}}"#, "0".repeat(64));
        assert!(matches!(read(Some(load.as_bytes())), Ok(Packet::Load(_))));
        assert_eq!(read(Some(br#"{"connection":{}}"#)), Ok(Packet::Connection {}));
        for packet in [
            r#"{"connection":{"a":1}}"#.to_owned(),
            r#"{"connection":{},"load":{}}"#.into(),
            r#"{"stop":{}}"#.into(),
            "{}".into(),
            load.replace("\"a\"", "\"\""),
            load.replace("\"a\"", "\"a b\""),
            load.replace("00", "0x"),
            load.replace(":9", ":0"),
            load.replace(":1", ":65"),
            load.replace(":1", ":1,\"more\":1"),
        ] {
            assert_eq!(read(Some(packet.as_bytes())).unwrap_err().code, Code::Protocol, "{packet}");
        }
        assert_eq!(read(None).unwrap_err().code, Code::Protocol);
    }
}
