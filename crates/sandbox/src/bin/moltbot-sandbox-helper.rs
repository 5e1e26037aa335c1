//! The sandbox's helper, for tests. Under the name of the program of local models, and without arguments, it stands in
//! for that: it takes a file, and answers with what it could do besides reading it.
#![forbid(unsafe_code)]

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::process::ExitCode;

use rustix::fs::{CWD, Mode, OFlags};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendFlags,
    SocketType,
};

fn main() -> ExitCode {
    match std::env::args().nth(1) {
        Some(argument) if argument == moltbot_sandbox::HELPER => moltbot_sandbox::helper_main(),
        Some(argument) if argument == moltbot_sandbox::KEEPER => moltbot_sandbox::keeper_main(),
        None => stand_in().map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS),
        Some(_) => ExitCode::from(64),
    }
}

/// Takes a file and tells what it is in; then each connection is told the same, until there are no more.
fn stand_in() -> io::Result<()> {
    let (load, file) = receive()?;
    let Some(file) = file else { return Err(io::ErrorKind::UnexpectedEof.into()) };
    let mut head = [0; 16];
    let length = rustix::io::pread(&file, &mut head, 0)?;
    let head = String::from_utf8_lossy(head.get(..length).unwrap_or_default()).into_owned();
    if head == "wait" {
        loop {
            std::thread::park();
        }
    }
    if let Some(path) = head.strip_prefix("write ") {
        let opened = rustix::fs::open(path, OFlags::WRONLY | OFlags::CREATE, Mode::RWXU)?;
        rustix::io::write(opened, b"x")?;
    }
    if head == "refuse" {
        send(r#"{"failed":{"code":"model_hash","message":"it is\u001b[2J another file"}}"#)?;
        return Err(io::ErrorKind::InvalidData.into());
    }
    let is_asked = load.contains("\"load\"") && load.contains("\"sha256\"");
    let done = if is_asked { could_do(&file) } else { format!("asked {load}") };
    let said = format!("read {head:?} {done}").replace('"', "'");
    send(&format!(r#"{{"ready":{{"architecture":"{said}","context":7,"parameters":8}}}}"#))?;
    loop {
        match receive()? {
            (_, Some(connection)) => {
                rustix::io::write(&connection, b"hello")?;
            }
            (_, None) => return Ok(()),
        }
    }
}

/// What it can do that it should not, in words.
fn could_do(file: &OwnedFd) -> String {
    let mut done = Vec::new();
    for family in [AddressFamily::INET, AddressFamily::INET6, AddressFamily::UNIX, AddressFamily::NETLINK] {
        if rustix::net::socket(family, SocketType::STREAM, None).is_ok() {
            done.push(format!("socket {family:?}"));
        }
    }
    let own = format!("/proc/self/fd/{}", file.as_raw_fd());
    if rustix::fs::open(&own, OFlags::WRONLY, Mode::empty()).is_ok() || rustix::io::write(file, b"x").is_ok()
    {
        done.push("wrote its file".into());
    }
    for path in ["/etc/shadow", "/root/.ssh", "/home", "/proc/1/environ", "/var"] {
        if rustix::fs::openat(CWD, path, OFlags::RDONLY, Mode::empty()).is_ok() {
            done.push(format!("opened {path}"));
        }
    }
    done.join(", ")
}

fn send(text: &str) -> io::Result<()> {
    let mut control = SendAncillaryBuffer::default();
    let input = rustix::stdio::stdin();
    rustix::net::sendmsg(input, &[IoSlice::new(text.as_bytes())], &mut control, SendFlags::NOSIGNAL)?;
    Ok(())
}

fn receive() -> io::Result<(String, Option<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut bytes = [0; 4096];
    let mut slices = [IoSliceMut::new(&mut bytes)];
    let received =
        rustix::net::recvmsg(rustix::stdio::stdin(), &mut slices, &mut control, RecvFlags::CMSG_CLOEXEC)?;
    let mut descriptors = control.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(rights) => Some(rights),
        _ => None,
    });
    let first = descriptors.next().and_then(|mut rights| rights.next());
    drop(descriptors);
    let text = String::from_utf8_lossy(bytes.get(..received.bytes).unwrap_or_default()).into_owned();
    Ok((text, first))
}
