//! The network of a namespace whose command has a proxy: its own `lo`, and one socket that listens there.
//!
//! The gateway gets the socket and accepts what comes: it stays one of this namespace, whoever holds it. So there is no
//! path, no port of the machine and no process between a command and its proxy.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::OwnedFd;

use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};

use super::{At as _, Failure};
use crate::outcome::Step;

/// Where commands find the proxy.
pub(super) const PROXY: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 3128);

/// Connections that wait to be accepted.
const WAITING: i32 = 64;

/// Listens. `lo` must be up.
pub(super) fn listen() -> Result<OwnedFd, Failure> {
    let socket =
        rustix::net::socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None);
    let socket = socket.at(Step::Network)?;
    rustix::net::bind(&socket, &PROXY).at(Step::Network)?;
    rustix::net::listen(&socket, WAITING).at(Step::Network)?;
    Ok(socket)
}

/// `lo` is the first device of every network namespace.
const LO: i32 = 1;
const UP: u32 = 1; // IFF_UP
const SET_LINK: u16 = 16; // RTM_NEWLINK
const REQUEST_WITH_ANSWER: u16 = 5; // NLM_F_REQUEST | NLM_F_ACK
const ANSWER: u16 = 2; // NLMSG_ERROR, which also says that there was none

/// Brings `lo` up: asks the kernel for it (rtnetlink(7)), a header of 16 bytes, and 16 that name the device and what to change of it.
pub(super) fn bring_up() -> std::io::Result<()> {
    let kernel = rustix::net::socket_with(
        AddressFamily::NETLINK,
        SocketType::RAW,
        SocketFlags::CLOEXEC,
        None, // NETLINK_ROUTE
    )?;
    let mut message = Vec::with_capacity(32);
    message.extend(32_u32.to_ne_bytes());
    message.extend(SET_LINK.to_ne_bytes());
    message.extend(REQUEST_WITH_ANSWER.to_ne_bytes());
    message.extend([0; 8]); // a number of ours, and who asks: the kernel knows
    message.extend([0; 4]); // any family, any type
    message.extend(LO.to_ne_bytes());
    message.extend(UP.to_ne_bytes());
    message.extend(UP.to_ne_bytes());
    rustix::net::send(&kernel, &message, SendFlags::empty())?;
    let mut answer = [0; 128];
    let (length, _) = rustix::net::recv(&kernel, &mut answer, RecvFlags::empty())?;
    let answer = answer.get(..length).unwrap_or_default();
    match (answer.get(4..6), answer.get(16..20)) {
        (Some(kind), Some(&[a, b, c, d])) if *kind == ANSWER.to_ne_bytes() => {
            match i32::from_ne_bytes([a, b, c, d]) {
                0 => Ok(()),
                error => Err(std::io::Error::from_raw_os_error(error.saturating_neg())),
            }
        }
        _ => Err(std::io::Error::other("the kernel did not say whether `lo` is up")),
    }
}
