//! Many sockets that send almost nothing: heads byte by byte, upgrades without a `connect`, TLS that is begun, silence.

use std::io::Write as _;
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use moltbot_testkit::raw;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::JoinHandle;

use super::{House, raise_open_files, require_release};
use crate::network::peer::{believing, dial, secured};
use crate::network::{ADDRESS, certificate, tls};

/// How much larger the process may be meanwhile, in bytes.
const GROWTH: usize = 64 * 1024 * 1024;
/// When each of them must have been cut, from before it was connected: the wait for its acceptance and the goodbye are in it.
const CUT: Duration = Duration::from_secs(10);
/// A peer that drips sends a piece so often.
const DRIP: Duration = Duration::from_secs(1);
const HEAD: &[u8] =
    b"GET / HTTP/1.1\r\nhost: localhost\r\nx-filler: 0123456789012345678901234567890123456789\r\n";

/// A connection that an attacker holds open.
struct Held {
    since: Instant,
    stream: TcpStream,
    /// What it sends, one after the other; the first at once.
    pieces: Vec<Vec<u8>>,
}

fn bytes(text: &[u8]) -> Vec<Vec<u8>> {
    text.iter().map(|byte| vec![*byte]).collect()
}

/// A request for a WebSocket at that address.
fn upgrade(host: &str, port: u16) -> Vec<u8> {
    format!(
        "GET / HTTP/1.1\r\nhost: {host}:{port}\r\nupgrade: websocket\r\nconnection: Upgrade\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    .into_bytes()
}

impl Held {
    /// In plaintext: a head in bytes, half a head, silence, an upgrade and the bytes of a frame, an upgrade and silence.
    fn plain(house: &House, n: usize) -> Self {
        let since = Instant::now();
        let stream = raw::dial(house.port());
        let upgraded = upgrade("127.0.0.1", house.port());
        let pieces = match n % 5 {
            0 => bytes(HEAD),
            1 => vec![HEAD.to_vec()],
            2 => vec![],
            3 => [vec![upgraded], bytes(&[0x81, 0xfe, 0x04, 0x00]), bytes(&[0; 16])].concat(),
            _ => vec![upgraded],
        };
        Self { since, stream, pieces }
    }

    /// Over TLS: none, half a hello, its bytes, a head in records of a byte, an upgrade and silence.
    fn over_tls(house: &House, n: usize) -> Self {
        let since = Instant::now();
        // The head of a record of 512 bytes, and some of them.
        let hello = [[0x16, 0x03, 0x01, 0x02, 0x00].as_slice(), &[1; 64]].concat();
        let half = |pieces| Self { since, stream: dial(ADDRESS, house.port()).unwrap(), pieces };
        match n % 5 {
            0 => return half(vec![]),
            1 => return half(vec![hello]),
            2 => return half(bytes(&hello)),
            _ => {}
        }
        let config = believing(&certificate(&house.home));
        let Ok(mut stream) = secured(config, ADDRESS, house.port()) else { return half(vec![]) };
        let mut record = |text: &[u8]| {
            let mut record = Vec::new();
            stream.conn.writer().write_all(text).unwrap();
            while stream.conn.wants_write() {
                stream.conn.write_tls(&mut record).unwrap();
            }
            record
        };
        let pieces = match n % 5 {
            3 => HEAD.iter().map(|byte| record(&[*byte])).collect(),
            _ => vec![record(&upgrade(ADDRESS, house.port()))],
        };
        Self { since, stream: stream.sock, pieces }
    }

    /// Sends its pieces and reads, but never closes. How long it stood.
    async fn hold(self) -> Duration {
        self.stream.set_nonblocking(true).unwrap();
        let (mut reader, mut writer) = tokio::net::TcpStream::from_std(self.stream).unwrap().into_split();
        let dripping = async {
            for piece in self.pieces {
                if writer.write_all(&piece).await.is_err() {
                    return;
                }
                tokio::time::sleep(DRIP).await;
            }
            std::future::pending::<()>().await;
        };
        let reading = async { while matches!(reader.read(&mut [0; 512]).await, Ok(1..)) {} };
        tokio::select! {
            () = reading => {}
            () = dripping => {}
        }
        self.since.elapsed()
    }
}

/// The owner's client meanwhile: the longest time that it took to sign in, and the most memory of the gateway.
fn owner(house: &House, over: &AtomicBool) -> (Duration, usize) {
    let (mut longest, mut peak) = (Duration::ZERO, 0);
    while !over.load(Ordering::Relaxed) {
        longest = longest.max(house.sign_in_time());
        peak = peak.max(house.resident());
        std::thread::sleep(Duration::from_millis(100));
    }
    (longest, peak)
}

fn require_weathered(house: &House, sockets: usize, held: fn(&House, usize) -> Held) {
    raise_open_files();
    let before = (house.resident(), house.open_files());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let over = AtomicBool::new(false);
    let (mut stood, (longest, peak)) = std::thread::scope(|scope| {
        let held: Vec<JoinHandle<Duration>> =
            (0..sockets).map(|n| runtime.spawn(held(house, n).hold())).collect();
        // While they are opened, some thousand a second, who connects from this machine may have to try again.
        let owner = scope.spawn(|| owner(house, &over));
        let stood = held.into_iter().map(|held| runtime.block_on(held).unwrap()).collect::<Vec<_>>();
        over.store(true, Ordering::Relaxed);
        (stood, owner.join().unwrap())
    });
    stood.sort();
    let (last, grown) = (stood[stood.len() - 1], peak.saturating_sub(before.0));
    println!(
        "{sockets} slow sockets: each was cut after {last:.2?} at most, {:.2?} in the middle; a sign-in took {longest:.1?} at \
         most; {grown} bytes more",
        stood[stood.len() / 2]
    );
    assert!(last <= CUT, "one stood for {last:?}");
    assert!(longest < Duration::from_secs(2), "the owner waited {longest:?}");
    assert!(grown < GROWTH, "{grown} bytes more");
    let deadline = Instant::now() + Duration::from_secs(5);
    while house.open_files() > before.1 + 2 {
        assert!(Instant::now() < deadline, "{} files stay open", house.open_files() - before.1);
    }
}

fn house_with_tls() -> House {
    House::with(|gateway| {
        gateway["bind"] = "custom".into();
        gateway["customBindHost"] = ADDRESS.into();
        tls(gateway);
    })
}

#[test]
fn k02_slow_and_silent_sockets_are_cut_and_keep_nobody_out() {
    require_weathered(&House::open(), 240, Held::plain);
}

#[test]
fn k02_half_open_tls_and_slow_sockets_over_tls_are_cut_and_keep_nobody_out() {
    require_weathered(&house_with_tls(), 120, Held::over_tls);
}

#[test]
#[ignore = "opens thousands of sockets; `make siege` runs it"]
fn siege_k02_two_thousand_slow_and_silent_sockets_are_cut_and_keep_nobody_out() {
    require_release();
    require_weathered(&House::open(), 2000, Held::plain);
}

#[test]
#[ignore = "opens thousands of sockets; `make siege` runs it"]
fn siege_k02_two_thousand_half_open_and_slow_sockets_over_tls_are_cut_and_keep_nobody_out() {
    require_release();
    require_weathered(&house_with_tls(), 2000, Held::over_tls);
}

/// Behind a proxy each is charged to its own source, which gets four places and then a penalty.
#[test]
fn k02_a_source_that_lets_its_time_run_out_is_refused_for_a_while() {
    let house = House::open();
    let began = Instant::now();
    let mut held: Vec<_> = (0..6).filter_map(|_| house.upgrade("203.0.113.9").ok()).collect();
    assert_eq!(held.len(), 4, "four places for one source");
    house.sign_in_time();
    for socket in &mut held {
        socket.end();
        assert_eq!(socket.next_frame(), raw::RawFrame::Gone, "and the connection with it");
    }
    let took = began.elapsed();
    assert!((Duration::from_secs(8)..=CUT).contains(&took), "the last was cut after {took:?}");
    let wrong = || {
        let headers = [("authorization", "Bearer wrong"), ("x-forwarded-for", "203.0.113.9")];
        raw::http(house.port(), "GET", "/", &headers, b"").status
    };
    let deadline = Instant::now() + Duration::from_secs(5);
    while wrong() != 429 {
        assert!(Instant::now() < deadline, "it is not punished");
    }
}
