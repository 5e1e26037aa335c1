//! The gateway's own socket, to the real binary: the owner's programs come in through it, and nobody else does.

use std::io::{Read as _, Write as _};
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _, symlink};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::Output;

use moltbot_testkit::home::Home;
use moltbot_testkit::model::ScriptedModel;
use moltbot_testkit::process::{Circumstances, Gateway, command_in, run};
use moltbot_testkit::skip::skip;
use rustix::process::geteuid;
use serde_json::json;

use crate::secrets::{PROGRAM, book_in};

/// Users that exist nowhere: one as the owner of the gateway, one as somebody else.
const OWNER: u32 = 4242;
const OTHER: u32 = 4243;

fn socket(home: &Home) -> PathBuf {
    home.state_path().join("gateway.sock")
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[expect(clippy::disallowed_methods, reason = "a peer of the tests")]
fn dial(home: &Home) -> UnixStream {
    UnixStream::connect(socket(home)).expect("a socket that answers")
}

/// What the gateway answers through its socket to a request for a page that there is not, which only who has signed in is
/// told, with these headers.
fn ask(home: &Home, headers: &[(&str, &str)]) -> String {
    let mut stream = dial(home);
    let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    write!(stream, "GET /nowhere HTTP/1.1\r\nconnection: close\r\n{headers}\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or_default()
}

#[test]
fn the_owners_command_line_comes_in_through_the_socket_and_falls_back_when_there_is_none() {
    let model = ScriptedModel::echo();
    let home = Home::with_model(&model);
    let mut gateway = Gateway::start(PROGRAM, &home);
    let made = socket(&home).symlink_metadata().unwrap();
    assert!(made.file_type().is_socket());
    assert_eq!(made.permissions().mode() & 0o777, 0o600);
    assert_eq!(home.state_path().metadata().unwrap().permissions().mode() & 0o777, 0o700);
    let listened = run(PROGRAM, &home, &["ledger", "search", "--action", "gateway.listen", "--json"]);
    assert!(text(&listened).contains(&format!("unix:{}", socket(&home).display())), "{}", text(&listened));

    let healthy = run(PROGRAM, &home, &["health"]);
    assert!(healthy.status.success(), "{}", text(&healthy));
    let book = book_in(home.path());
    assert!(book.contains(r#""way":"unix-websocket""#) && !book.contains(r#""way":"websocket""#), "{book}");
    assert!(book.contains("pairing.silent"), "the owner's device is local there: {book}");

    // It goes with the gateway, also when the last one was killed.
    gateway.restart(&home);
    assert!(run(PROGRAM, &home, &["health"]).status.success());
    gateway.terminate();
    assert!(socket(&home).symlink_metadata().is_err(), "a gateway that stopped leaves none");

    home.change_config(|config| config["gateway"]["unixSocket"] = json!(false));
    let _gateway = Gateway::start(PROGRAM, &home);
    assert!(socket(&home).symlink_metadata().is_err());
    assert!(run(PROGRAM, &home, &["health"]).status.success());
    assert!(book_in(home.path()).contains(r#""way":"websocket""#), "over loopback");
}

#[test]
fn the_same_checks_are_made_at_the_socket_as_at_every_entrance() {
    let model = ScriptedModel::echo();
    let home = Home::with_model(&model);
    let gateway = Gateway::start(PROGRAM, &home);
    let (own, bearer) = (("host", "localhost"), format!("Bearer {}", gateway.token()));
    let signed = ("authorization", bearer.as_str());
    assert_eq!(status(&ask(&home, &[own, signed])), "404");
    for (headers, code) in [
        (&[("host", "evil.test"), signed][..], "host_refused"),
        (&[own, ("origin", "http://evil.test"), signed], "origin_refused"),
        (&[own, ("sec-fetch-site", "cross-site"), signed], "origin_refused"),
    ] {
        let answer = ask(&home, headers);
        assert!(status(&answer) == "403" && answer.contains(code), "{answer}");
    }
    assert_eq!(status(&ask(&home, &[own])), "401");
    let wrong = ("authorization", "Bearer wrong");
    let tries: Vec<String> = (0..6).map(|_| status(&ask(&home, &[own, wrong])).to_owned()).collect();
    assert_eq!(tries.last().map(String::as_str), Some("429"), "{tries:?}");
    let book = book_in(home.path());
    assert!(book.contains(r#""way":"unix-http""#), "{book}");
    assert!(book.contains(r#""code":"host_refused""#) && book.contains(r#""code":"origin_refused""#));
}

/// Root can open every socket. The owner's is not opened for him, with the token or without, and others do not even get to it.
#[test]
fn another_user_is_refused_at_the_owners_socket() {
    let name = "another_user_is_refused_at_the_owners_socket";
    if !geteuid().is_root() {
        return skip(name, "running a gateway as another user needs root");
    }
    let model = ScriptedModel::echo();
    let home = Home::with_model(&model);
    let program = home.path().join("program");
    std::fs::copy(PROGRAM, &program).unwrap();
    home.give_to(OWNER);
    let as_user = |user| Circumstances { user: Some(user), ..Circumstances::default() };
    let gateway = Gateway::start_in(as_user(OWNER), &program, &home);
    let bearer = format!("Bearer {}", gateway.token());
    let mut stream = dial(&home);
    // It may be closed already: nothing of this is read.
    drop(write!(stream, "GET /healthz HTTP/1.1\r\nhost: localhost\r\nauthorization: {bearer}\r\n\r\n"));
    let mut answer = Vec::new();
    drop(stream.read_to_end(&mut answer));
    assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 403"), "{answer:?}");
    assert!(!String::from_utf8_lossy(&answer).contains("ok"));

    let connect = "import socket, sys\nsocket.socket(socket.AF_UNIX).connect(sys.argv[1])";
    let path = socket(&home).display().to_string();
    let wrapper = ["/usr/bin/python3", "-c", connect, &path].map(str::to_owned).to_vec();
    let other = Circumstances { wrapper, ..as_user(OTHER) };
    let other = command_in(&other, &program, &home, &[]).output().unwrap();
    assert!(text(&other).contains("PermissionError"), "{}", text(&other));

    let own = command_in(&as_user(OWNER), &program, &home, &["health"]).output().unwrap();
    assert!(own.status.success(), "{}", text(&own));
    let book = book_in(home.path());
    assert!(book.contains(r#""code":"other_user""#), "{book}");
    assert!(book.contains(r#""way":"unix-websocket""#), "{book}");
}

#[test]
fn what_was_planted_where_the_socket_belongs_stops_the_start_and_is_left_alone() {
    let model = ScriptedModel::echo();
    let home = Home::with_model(&model);
    let victim = home.path().join("victim");
    home.state(); // made owner-only
    for plant in ["link", "dangling link", "file", "folder"] {
        match plant {
            "link" => {
                std::fs::copy(PROGRAM, &victim).unwrap();
                symlink(&victim, socket(&home)).unwrap();
            }
            "dangling link" => symlink(home.path().join("nothing"), socket(&home)).unwrap(),
            "file" => drop(std::fs::copy(PROGRAM, socket(&home)).unwrap()),
            _ => rustix::fs::mkdir(socket(&home), rustix::fs::Mode::RWXU).unwrap(),
        }
        let refused = run(PROGRAM, &home, &["gateway", "run"]);
        assert_eq!(refused.status.code(), Some(78), "{plant}: {}", text(&refused));
        assert!(text(&refused).contains("gateway.unixSocket"), "{plant}: {}", text(&refused));
        assert!(socket(&home).symlink_metadata().is_ok(), "{plant} is left alone");
        let remove =
            if plant == "folder" { rustix::fs::AtFlags::REMOVEDIR } else { rustix::fs::AtFlags::empty() };
        rustix::fs::unlinkat(rustix::fs::CWD, socket(&home), remove).unwrap();
    }
    assert!(victim.metadata().unwrap().len() > 0, "what a link named is as it was");
    assert!(home.path().join("nothing").symlink_metadata().is_err());
}

/// The credential goes to the gateway's socket or, when there is none, to loopback: a socket that refuses, or something else
/// in its place, is no reason to send it elsewhere.
#[test]
fn the_command_line_sends_nothing_past_a_socket_that_is_not_the_gateways() {
    let model = ScriptedModel::echo();
    let home = Home::with_model(&model);
    let _gateway = Gateway::start(PROGRAM, &home);
    let remove = || rustix::fs::unlink(socket(&home)).unwrap();
    remove();
    #[expect(clippy::disallowed_methods, reason = "a socket that nobody serves any more")]
    drop(UnixListener::bind(socket(&home)).unwrap());
    let refused = run(PROGRAM, &home, &["health"]);
    assert!(!refused.status.success() && text(&refused).contains("gateway.sock"), "{}", text(&refused));
    remove();
    symlink("/tmp", socket(&home)).unwrap();
    let refused = run(PROGRAM, &home, &["health"]);
    assert!(!refused.status.success() && text(&refused).contains("a symbolic link"), "{}", text(&refused));
    assert!(!book_in(home.path()).contains("auth.sign_in"), "nobody signed in by another way");
    remove();
    assert!(run(PROGRAM, &home, &["health"]).status.success(), "without a socket, over loopback");
}
