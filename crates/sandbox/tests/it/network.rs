//! A command with a proxy: the one socket that it can reach, and the walls around it.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use moltbot_config::settings::SandboxNetwork;
use moltbot_policy::profile::Profile;
use moltbot_sandbox::{Beside, Exit, Outcome, RunError};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::room::{Room, profile, text};

fn beside(way_out: oneshot::Sender<OwnedFd>) -> Beside {
    Beside { way_out: Some(way_out), ..Beside::default() }
}

/// Runs a script whose proxy answers every connection with one line, and counts them.
async fn run(room: &Room, script: &str) -> (Outcome, u32, Vec<String>) {
    let (way_out, socket) = oneshot::channel::<OwnedFd>();
    let (count, heard) = (Arc::new(AtomicU32::new(0)), Arc::new(Mutex::new(Vec::new())));
    let (counting, hearing) = (Arc::clone(&count), Arc::clone(&heard));
    std::thread::spawn(move || {
        let Ok(socket) = socket.blocking_recv() else { return };
        for stream in TcpListener::from(socket).incoming() {
            let Ok(mut stream) = stream else { return };
            counting.fetch_add(1, Ordering::Relaxed);
            let mut asked = [0; 512];
            let read = stream.read(&mut asked).unwrap_or(0);
            hearing
                .lock()
                .unwrap()
                .push(String::from_utf8_lossy(asked.get(..read).unwrap_or_default()).into_owned());
            let _gone =
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nyes");
            if counting.load(Ordering::Relaxed) == 1 {
                return;
            }
        }
    });
    let permit = room.permit(script, profile().reaching(SandboxNetwork::Proxy));
    let ran =
        room.sandbox.run_beside(permit, Some(room.open()), beside(way_out), CancellationToken::new()).await;
    let heard = heard.lock().unwrap().clone();
    (ran.unwrap(), count.load(Ordering::Relaxed), heard)
}

#[tokio::test]
async fn a_command_reaches_its_proxy_and_programs_find_it() {
    let room = Room::new();
    let script = "python3 -c 'import urllib.request as u; print(u.urlopen(\"http://api.example.com/x\").read())'; env | grep -ci _proxy";
    let (outcome, count, heard) = run(&room, script).await;
    assert_eq!((outcome.exit, count), (Exit::Code(0), 1), "{}", text(&outcome));
    assert!(text(&outcome).contains("yes") && text(&outcome).ends_with("6\n"), "{}", text(&outcome));
    assert!(heard[0].starts_with("GET http://api.example.com/x HTTP/1.1"), "{heard:?}");
}

/// Each line is an attempt; what it prints is how the kernel answered.
const ATTEMPTS: &str = r#"
import socket, errno, ctypes
def attempt(name, act):
    try:
        act(); print(name, "WORKED")
    except OSError as error:
        print(name, errno.errorcode.get(error.errno, error.errno))
def connect(host, port, family=socket.AF_INET):
    s = socket.socket(family, socket.SOCK_STREAM); s.settimeout(2); s.connect((host, port))
attempt("other-port", lambda: connect("127.0.0.1", 3129))
attempt("other-address", lambda: connect("127.0.0.2", 3129))
attempt("metadata", lambda: connect("169.254.169.254", 80))
attempt("public", lambda: connect("192.0.2.1", 443))
attempt("public-proxy-port", lambda: connect("192.0.2.1", 3128))
attempt("ipv6", lambda: connect("::1", 3128, socket.AF_INET6))
attempt("udp", lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
attempt("raw", lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 1))
attempt("sctp", lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM, 132))
attempt("mptcp", lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262))
attempt("unix", lambda: socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
attempt("netlink", lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW))
attempt("vsock", lambda: socket.socket(40, socket.SOCK_STREAM))
def serve():
    s = socket.socket(); s.bind(("127.0.0.1", 4000)); s.listen()
attempt("serve", serve)
attempt("bind-proxy", lambda: socket.socket().bind(("127.0.0.1", 3128)))
"#;

#[tokio::test]
async fn nothing_but_the_proxy_is_reached() {
    let room = Room::new();
    room.put("attempts.py", ATTEMPTS);
    let (outcome, count, _) =
        run(&room, "python3 attempts.py; (exec 3<>/dev/tcp/127.0.0.1/3129) 2>&1 | tail -c 20").await;
    let text = text(&outcome);
    assert_eq!(count, 0, "{text}");
    for expected in [
        "other-port EACCES",
        "other-address EACCES",
        "metadata EACCES",
        "public EACCES",
        // The port is the proxy's, the network has no way there.
        "public-proxy-port ENETUNREACH",
        "ipv6 EPERM",
        "udp EPERM",
        "raw EPERM",
        "sctp EPERM",
        "mptcp EPERM",
        "unix EPERM",
        "netlink EPERM",
        "vsock EPERM",
        "serve EPERM",
        "bind-proxy EPERM",
        "Permission denied",
    ] {
        assert!(text.contains(expected), "{expected} is not in {text}");
    }
    assert!(!text.contains("WORKED"), "{text}");
}

#[tokio::test]
async fn without_a_proxy_there_is_no_socket_and_no_address_of_one() {
    let room = Room::new();
    let script = "python3 -c 'import socket; socket.socket()' 2>&1 | tail -1; env | grep -ci _proxy; true";
    let text = room.output(script).await;
    assert!(text.contains("Operation not permitted") && text.ends_with("0\n"), "{text}");
}

#[tokio::test]
async fn a_command_whose_proxy_nobody_serves_does_not_run() {
    let room = Room::new();
    let walls = || -> Profile { profile().reaching(SandboxNetwork::Proxy) };
    let (way_out, socket) = oneshot::channel();
    drop(socket);
    let permit = room.permit("touch ran", walls());
    let stop = CancellationToken::new();
    let gone = room.sandbox.run_beside(permit, Some(room.open()), beside(way_out), stop.clone()).await;
    let missing = room.sandbox.run(room.permit("touch ran", walls()), Some(room.open()), stop).await;
    for refused in [gone, missing] {
        assert!(matches!(refused, Err(RunError::Setup { .. })), "{refused:?}");
    }
    assert!(!room.workspace().join("ran").exists());
}
