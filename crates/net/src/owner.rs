//! Whose program is at the other end of a loopback connection: the kernel is asked by `sock_diag(7)`.
//!
//! The answer counts for an established socket of our own network namespace that a program still holds (its inode is not
//! 0). Anything else, and a kernel that does not answer, is nobody: what cannot be told is not the owner.

use std::net::{IpAddr, SocketAddr};

use rustix::net::netlink::{self, SocketAddrNetlink};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recvfrom, sendto, socket_with,
};

/// `SOCK_DIAG_BY_FAMILY`: the one request and answer that is used here.
const BY_FAMILY: u16 = 20;
/// `NLM_F_REQUEST`: one exact socket, and no list.
const REQUEST: u16 = 1;
/// `TCP_ESTABLISHED`.
const ESTABLISHED: u8 = 1;
/// `IPPROTO_TCP`.
const TCP: u8 = 6;
/// `struct nlmsghdr`.
const HEADER: usize = 16;
/// `struct inet_diag_sockid`: both ports, both addresses, the interface and a cookie.
const SOCKET: usize = 48;
/// What of it names the socket: the ports and addresses.
const NAMED: usize = 36;
/// `struct inet_diag_req_v2` begins with the family, the protocol and the states that are wanted.
const ASKED: usize = 8;
/// `struct inet_diag_msg` begins with the family, the state, and two times.
const TOLD: usize = 4;

/// The user whose program holds the socket at `peer` that is connected to ours at `local`, when it can be told. Never
/// waits: the kernel answers before the question returns.
pub(crate) fn owner_of(local: SocketAddr, peer: SocketAddr) -> Option<u32> {
    let found = ask(local, peer).inspect_err(|error| {
        tracing::debug!(%error, "the kernel does not tell whose a loopback connection is");
    });
    found.ok().flatten()
}

fn ask(local: SocketAddr, peer: SocketAddr) -> rustix::io::Result<Option<u32>> {
    let (family, named) = match (peer.ip().to_canonical(), local.ip().to_canonical()) {
        (IpAddr::V4(own), IpAddr::V4(other)) => {
            (AddressFamily::INET, name(peer.port(), local.port(), &own.octets(), &other.octets()))
        }
        (IpAddr::V6(own), IpAddr::V6(other)) => {
            (AddressFamily::INET6, name(peer.port(), local.port(), &own.octets(), &other.octets()))
        }
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => return Ok(None),
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::NETLINK, SocketType::DGRAM, flags, Some(netlink::SOCK_DIAG))?;
    sendto(&socket, &question(family, &named), SendFlags::empty(), &SocketAddrNetlink::new(0, 0))?;
    let mut answer = [0; 1024];
    let (_, length, from) = recvfrom(&socket, &mut answer[..], RecvFlags::empty())?;
    let from = from.and_then(|from| SocketAddrNetlink::try_from(from).ok());
    // From the kernel itself, which has no port.
    let is_kernel = from.is_some_and(|from| from.pid() == 0);
    Ok(answer.get(..length).filter(|_| is_kernel).and_then(|answer| read(answer, &named)))
}

/// The ports and addresses of a socket, seen from its own end, as `struct inet_diag_sockid` begins.
fn name(own_port: u16, other_port: u16, own: &[u8], other: &[u8]) -> [u8; NAMED] {
    let (mut named, mut at) = ([0; NAMED], 0);
    for (part, width) in
        [(&own_port.to_be_bytes()[..], 2), (&other_port.to_be_bytes()[..], 2), (own, 16), (other, 16)]
    {
        for (to, byte) in named.iter_mut().skip(at).zip(part) {
            *to = *byte;
        }
        at += width;
    }
    named
}

fn question(family: AddressFamily, named: &[u8; NAMED]) -> Vec<u8> {
    let length = HEADER + ASKED + SOCKET;
    let family = u8::try_from(family.as_raw()).unwrap_or_default();
    let mut asked = Vec::with_capacity(length);
    asked.extend(u32::try_from(length).unwrap_or_default().to_ne_bytes());
    asked.extend(BY_FAMILY.to_ne_bytes());
    asked.extend(REQUEST.to_ne_bytes());
    asked.extend([0; 8]); // a number and a port, of which we need neither
    asked.extend([family, TCP, 0, 0]);
    asked.extend((1_u32 << ESTABLISHED).to_ne_bytes());
    asked.extend(named);
    asked.extend([0; 4]); // any interface
    asked.extend([0xff; 8]); // and no cookie
    asked
}

/// The user in an answer, when it is about that socket, which is established and held.
fn read(answer: &[u8], named: &[u8; NAMED]) -> Option<u32> {
    let number = |at: usize| -> Option<u32> {
        let bytes = answer.get(at..at.checked_add(4)?)?;
        Some(u32::from_ne_bytes(bytes.try_into().ok()?))
    };
    let kind = answer.get(4..6)?;
    let body = HEADER + TOLD;
    let is_about = kind == BY_FAMILY.to_ne_bytes()
        && answer.get(HEADER + 1) == Some(&ESTABLISHED)
        && answer.get(body..body + NAMED) == Some(&named[..]);
    let (user, inode) = (number(body + SOCKET + 12)?, number(body + SOCKET + 16)?);
    (is_about && inode != 0).then_some(user)
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr, TcpListener, TcpStream};

    use super::*;

    #[expect(clippy::disallowed_methods, reason = "two ends of a connection within a test")]
    fn pair(address: IpAddr) -> Option<(TcpStream, TcpStream)> {
        let listener = TcpListener::bind((address, 0)).ok()?;
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        Some((client, listener.accept().unwrap().0))
    }

    fn owner(accepted: &TcpStream) -> Option<u32> {
        owner_of(accepted.local_addr().unwrap(), accepted.peer_addr().unwrap())
    }

    #[test]
    fn the_user_of_an_established_connection_is_told_and_of_no_other() {
        let me = rustix::process::geteuid().as_raw();
        for address in [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)] {
            let Some((client, accepted)) = pair(address) else { continue };
            assert_eq!(owner(&accepted), Some(me), "{address}");
            let (local, peer) = (accepted.local_addr().unwrap(), accepted.peer_addr().unwrap());
            let other = SocketAddr::new(peer.ip(), peer.port() ^ 1);
            assert_eq!(owner_of(local, other), None, "nobody is there");
            assert_eq!(owner_of(peer, SocketAddr::new(peer.ip(), 1)), None);
            // What waits to be accepted is a listener of somebody, and no peer.
            assert_eq!(owner_of(SocketAddr::new(local.ip(), 9), local), None, "a listener is no peer");
            drop(client);
            assert_eq!(owner(&accepted), None, "a socket that was closed belongs to nobody");
        }
    }

    #[test]
    fn an_answer_about_something_else_names_nobody() {
        let named = name(1, 2, &[127, 0, 0, 1], &[127, 0, 0, 1]);
        let mut answer = vec![0; HEADER + TOLD + SOCKET + 20];
        answer[4..6].copy_from_slice(&BY_FAMILY.to_ne_bytes());
        answer[HEADER + 1] = ESTABLISHED;
        answer[HEADER + TOLD..HEADER + TOLD + NAMED].copy_from_slice(&named);
        let user = HEADER + TOLD + SOCKET + 12;
        answer[user..user + 4].copy_from_slice(&7_u32.to_ne_bytes());
        assert_eq!(read(&answer, &named), None, "its inode is 0: nobody holds it");
        answer[user + 4] = 1;
        assert_eq!(read(&answer, &named), Some(7));
        for (at, value) in [(4, 2), (HEADER + 1, 10), (HEADER + TOLD + 1, 9)] {
            let mut other = answer.clone();
            other[at] = value;
            assert_eq!(read(&other, &named), None, "byte {at}");
        }
        assert!((0..answer.len()).all(|length| read(&answer[..length], &named).is_none()), "cut off");
    }
}
