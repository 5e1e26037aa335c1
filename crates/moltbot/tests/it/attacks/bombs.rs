//! Frames that are made to be gathered, unpacked or answered without end.

use std::time::Duration;

use moltbot_config::limits;
use moltbot_testkit::raw::{self, RawFrame, RawSocket};

use super::{House, require_release};

type Bomb = fn(&mut RawSocket);

/// What is sent, and the codes that it may end with before and after the sign-in; nothing when the connection may end
/// before its last words were read.
const BOMBS: [(&str, Bomb, Option<u16>); 9] = [
    ("16 MiB declared", |socket| socket.declare(1, 16 << 20).unwrap(), Some(1009)),
    ("the largest length", |socket| socket.declare(1, u64::MAX >> 1).unwrap(), Some(1009)),
    (
        "65 fragments",
        |socket| drop((0..66).try_for_each(|n| socket.frame(false, u8::from(n == 0), b"x"))),
        Some(1009),
    ),
    ("a million empty fragments", |socket| flood(socket, &[0x00, 0x80, 0, 0, 0, 0]), None),
    ("a million pings", |socket| flood(socket, &[0x89, 0x80, 0, 0, 0, 0]), None),
    ("a million pongs", |socket| flood(socket, &[0x8a, 0x80, 0, 0, 0, 0]), None),
    ("a compressed frame", |socket| socket.bytes(&[0xc1, 0x82, 0, 0, 0, 0, 0x03, 0x00]).unwrap(), Some(1002)),
    ("a frame without its mask", |socket| socket.bytes(&[0x81, 0x02, b'{', b'}']).unwrap(), Some(1002)),
    ("text that is not UTF-8", |socket| socket.frame(true, 1, &[0xc3, 0x28]).unwrap(), Some(1007)),
];

fn flood(socket: &mut RawSocket, frame: &[u8]) {
    socket.give_up_writing_after(Duration::from_secs(5));
    drop(socket.frame(false, 1, b""));
    let many = frame.repeat(1000);
    drop((0..1000).try_for_each(|_| socket.bytes(&many)));
}

/// The most memory that the process ever had since it was last asked, in bytes.
fn peak(house: &House) -> usize {
    house.status("VmHWM:")
}

#[expect(clippy::disallowed_methods, reason = "the kernel is told by a file to measure anew")]
fn measure_anew(house: &House) {
    std::fs::write(format!("/proc/{}/clear_refs", house.gateway.pid()), "5").unwrap();
}

/// Each bomb by so many peers at the same time, before and after the sign-in.
fn require_defused(peers: usize) {
    let house = House::open();
    let token = house.gateway.token().to_owned();
    let play = |open: &(dyn Fn() -> RawSocket + Sync), (name, bomb, code): (&str, Bomb, Option<u16>)| {
        std::thread::scope(|scope| {
            let attack = || {
                let mut socket = open();
                bomb(&mut socket);
                match (socket.end(), code) {
                    (RawFrame::Close(found, reason), Some(code)) => {
                        assert_eq!(found, Some(code), "{name}: {reason}");
                    }
                    (RawFrame::Close(Some(1009), _) | RawFrame::Gone, None) => {}
                    (end, _) => panic!("{name} ended with {end:?}"),
                }
            };
            for peer in (0..peers).map(|_| scope.spawn(attack)).collect::<Vec<_>>() {
                peer.join().unwrap();
            }
        });
    };
    let stranger = || RawSocket::open(house.port());
    let client = || RawSocket::sign_in(house.port(), &token);
    for bomb in BOMBS {
        let took = |open: &(dyn Fn() -> RawSocket + Sync)| {
            measure_anew(&house);
            let before = peak(&house);
            play(open, bomb);
            peak(&house).saturating_sub(before)
        };
        let (by_strangers, by_clients) = (took(&stranger), took(&client));
        println!("{}: {peers} strangers {by_strangers} bytes, {peers} clients {by_clients} bytes", bomb.0);
        // The program's own pages and its allocator's are in it: they are the same for one peer and for many.
        let own = 2 * 1024 * 1024;
        assert!(
            by_strangers < peers * 2 * limits::CONNECT_BYTES + own,
            "{}: {by_strangers} bytes by strangers",
            bomb.0
        );
        assert!(by_clients < peers * 2 * limits::MESSAGE_BYTES, "{}: {by_clients} bytes by clients", bomb.0);
        house.sign_in_time();
    }
}

#[test]
fn k03_bombs_end_their_connection_and_take_no_memory() {
    require_defused(8);
}

#[test]
#[ignore = "loads the machine; `make siege` runs it"]
fn siege_k03_bombs_of_fifty_peers_end_their_connection_and_take_no_memory() {
    require_release();
    require_defused(50);
}

/// Nothing is unpacked: compression is offered to nobody.
#[test]
fn k03_no_extension_and_no_second_protocol_is_spoken() {
    let house = House::open();
    let offer = [("sec-websocket-extensions", "permessage-deflate; client_max_window_bits")];
    assert!(RawSocket::upgrade(house.port(), &offer).is_ok());
    let head = format!(
        "GET / HTTP/1.1\r\nhost: 127.0.0.1:{}\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         sec-websocket-extensions: permessage-deflate\r\n\r\n",
        house.port()
    );
    let mut stream = raw::dial(house.port());
    std::io::Write::write_all(&mut stream, head.as_bytes()).unwrap();
    let mut answer = [0; 512];
    let read = std::io::Read::read(&mut stream, &mut answer).unwrap();
    let answer = String::from_utf8_lossy(&answer[..read]).to_lowercase();
    assert!(answer.starts_with("http/1.1 101") && !answer.contains("extensions"), "{answer}");
    let preface = raw::http_bytes(
        house.port(),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00",
    );
    assert!(matches!(preface.status, 0 | 400 | 505), "{}", preface.head);
}

/// A frame before the sign-in has 4 kB at most, whole or in pieces; after it, 512 kB.
#[test]
fn k03_limits_hold_for_whole_frames_and_for_fragments() {
    let house = House::open();
    let too_large = |end: RawFrame, what: &str| match end {
        RawFrame::Close(Some(1009), _) | RawFrame::Gone => {}
        other => panic!("{what}: {other:?}"),
    };
    let text = |bytes: usize| "x".repeat(bytes).into_bytes();
    let mut socket = RawSocket::open(house.port());
    socket.frame(true, 1, &text(limits::CONNECT_BYTES + 1)).unwrap();
    too_large(socket.end(), "before the sign-in, whole");
    let mut socket = RawSocket::open(house.port());
    for n in 0..20 {
        drop(socket.frame(n == 19, u8::from(n == 0), &text(1000)));
    }
    too_large(socket.end(), "before the sign-in, in pieces");
    let sign_in = || RawSocket::sign_in(house.port(), house.gateway.token());
    let mut socket = sign_in();
    drop(socket.frame(true, 1, &text(limits::MESSAGE_BYTES + 1)));
    too_large(socket.end(), "after it, whole");
    let mut socket = sign_in();
    for n in 0..6 {
        drop(socket.frame(n == 5, u8::from(n == 0), &text(100_000)));
    }
    too_large(socket.end(), "after it, in pieces");
    let mut socket = sign_in();
    for n in 0..64 {
        let (opcode, piece) = if n == 0 {
            (1, &b"{\"type\":\"req\",\"id\":\"1\",\"method\":\"health\""[..])
        } else {
            (0, &b" "[..])
        };
        socket.frame(false, opcode, piece).unwrap();
        if n == 62 {
            socket.frame(true, 0, b"}").unwrap();
            break;
        }
    }
    assert!(
        matches!(socket.next_answer(), RawFrame::Text(text) if text.contains("\"ok\":true")),
        "64 fragments pass"
    );
}
