//! Many sockets that send almost nothing: heads byte by byte, upgrades without a `connect`, silence.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use moltbot_testkit::raw::{self, RawSocket};

use super::{House, raise_open_files};

/// How much larger the process may be meanwhile, in bytes.
const GROWTH: usize = 64 * 1024 * 1024;
/// When every one of them must have been cut: ten seconds, and what a loaded machine takes to say so.
const CUT: Duration = Duration::from_secs(13);

/// What an attacker holds open.
enum Held {
    /// A head, of which a byte is sent each second.
    Head(TcpStream, usize),
    /// A connection that says nothing.
    Silent(TcpStream),
    /// A WebSocket that waits, and sends a byte of a frame each second.
    Upgraded(RawSocket, usize),
}

impl Held {
    fn new(port: u16, n: usize) -> Self {
        match n % 4 {
            0 | 1 => Self::Head(raw::dial(port), 0),
            2 => Self::Silent(raw::dial(port)),
            _ => match RawSocket::upgrade(port, &[]) {
                Ok(socket) => Self::Upgraded(socket, 0),
                Err(_) => Self::Silent(raw::dial(port)),
            },
        }
    }

    /// Sends the next byte. Whether the connection still stands, as far as it can tell.
    fn drip(&mut self) -> bool {
        let head =
            b"GET / HTTP/1.1\r\nhost: localhost\r\nx-filler: 0123456789012345678901234567890123456789\r\n";
        let frame = [[0x81, 0xfe, 0x04, 0x00].as_slice(), &[0; 1024]].concat();
        let byte = |bytes: &[u8], n: usize| [bytes.get(n).copied().unwrap_or(b'x')];
        match self {
            Self::Head(stream, n) => {
                *n += 1;
                stream.write_all(&byte(head, *n - 1)).is_ok() && !has_ended(stream)
            }
            Self::Silent(stream) => !has_ended(stream),
            Self::Upgraded(socket, n) => {
                *n += 1;
                socket.bytes(&byte(&frame, *n - 1)).is_ok()
            }
        }
    }
}

fn has_ended(stream: &mut TcpStream) -> bool {
    stream.set_nonblocking(true).unwrap();
    let ended = match stream.read(&mut [0; 256]) {
        Ok(read) => read == 0,
        Err(error) => error.kind() != std::io::ErrorKind::WouldBlock,
    };
    stream.set_nonblocking(false).unwrap();
    ended
}

fn require_weathered(sockets: usize) {
    raise_open_files();
    let house = House::open();
    let before = (house.resident(), house.open_files());
    let began = Instant::now();
    let mut held: Vec<Held> = (0..sockets).map(|n| Held::new(house.port(), n)).collect();
    let opened = began.elapsed();
    let (mut longest, mut peak, mut last) = (Duration::ZERO, 0, began.elapsed());
    while !held.is_empty() && began.elapsed() < opened + CUT {
        longest = longest.max(house.sign_in_time());
        peak = peak.max(house.resident());
        let stood = held.len();
        held.retain_mut(Held::drip);
        if held.len() < stood {
            last = began.elapsed();
        }
        std::thread::sleep(Duration::from_millis(if sockets > 500 { 500 } else { 1000 }));
    }
    let grown = peak.saturating_sub(before.0);
    println!(
        "{sockets} slow sockets, opened in {opened:.1?}: the last was cut after {last:.1?}; a sign-in took {longest:.1?} at \
         most; {grown} bytes more"
    );
    assert!(held.is_empty(), "{} of {sockets} still stand after {:?}", held.len(), began.elapsed());
    assert!(longest < Duration::from_secs(2), "the owner waited {longest:?}");
    assert!(grown < GROWTH, "{grown} bytes more");
    let deadline = Instant::now() + Duration::from_secs(5);
    while house.open_files() > before.1 + 2 {
        assert!(Instant::now() < deadline, "{} files stay open", house.open_files() - before.1);
    }
}

#[test]
fn k02_slow_and_silent_sockets_are_cut_and_keep_nobody_out() {
    require_weathered(240);
}

#[test]
#[ignore = "opens thousands of sockets; `make siege` runs it"]
fn siege_k02_two_thousand_slow_and_silent_sockets_are_cut_and_keep_nobody_out() {
    require_weathered(2000);
}

/// Behind a proxy each is charged to its own source, which gets four places and then a penalty.
#[test]
fn k02_a_source_that_lets_its_time_run_out_is_refused_for_a_while() {
    let house = House::open();
    let mut held: Vec<_> = (0..6).filter_map(|_| house.upgrade("203.0.113.9").ok()).collect();
    assert_eq!(held.len(), 4, "four places for one source");
    let began = Instant::now();
    house.sign_in_time();
    for socket in &mut held {
        socket.end();
    }
    let took = began.elapsed();
    assert!((Duration::from_secs(8)..CUT).contains(&took), "the last was cut after {took:?}");
    let wrong = || {
        let headers = [("authorization", "Bearer wrong"), ("x-forwarded-for", "203.0.113.9")];
        raw::http(house.port(), "GET", "/", &headers, b"").status
    };
    let deadline = Instant::now() + Duration::from_secs(5);
    while wrong() != 429 {
        assert!(Instant::now() < deadline, "it is not punished");
    }
}
