//! Connections that come and go as fast as they can: nothing of them stays.

use std::io::Write as _;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use moltbot_testkit::raw;

use super::{House, raise_open_files, require_release};

/// Connections in a minute.
const RATE: u32 = 50_000;
/// Who connects at the same time.
const PEERS: u32 = 4;

/// One connection of a kind that changes: nothing, a byte, a request, an upgrade.
fn come_and_go(port: u16, n: usize) {
    let mut stream = raw::dial(port);
    let sent: &[u8] = match n % 4 {
        0 => b"",
        1 => b"G",
        2 => b"GET / HTTP/1.1\r\nhost: evil.test\r\n\r\n",
        _ => {
            b"GET / HTTP/1.1\r\nhost: localhost\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
              sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        }
    };
    drop(stream.write_all(sent)); // it may have been given up already
}

/// What counts as no growth besides two hundredths, and as an attack. The steps of an allocator are no leak of a short run.
#[derive(Clone, Copy)]
struct Allowed {
    bytes: usize,
    files: usize,
    /// The least share of [`RATE`] that is an attack, in hundredths.
    rate: usize,
}

fn require_flat(time: Duration, allowed: Allowed) {
    raise_open_files();
    let house = House::open();
    let churn = |time: Duration| {
        let (over, count) = (AtomicBool::new(false), AtomicUsize::new(0));
        let mut longest = Duration::ZERO;
        std::thread::scope(|scope| {
            for _ in 0..PEERS {
                scope.spawn(|| {
                    let began = Instant::now();
                    for turn in 0_u32.. {
                        if over.load(Ordering::Relaxed) {
                            break;
                        }
                        come_and_go(house.port(), count.fetch_add(1, Ordering::Relaxed));
                        let due = Duration::from_secs(60) * turn / (RATE / PEERS);
                        std::thread::sleep(due.saturating_sub(began.elapsed()));
                    }
                });
            }
            let began = Instant::now();
            while began.elapsed() < time {
                longest = longest.max(house.sign_in_time());
                std::thread::sleep(Duration::from_millis(50));
            }
            over.store(true, Ordering::Relaxed);
        });
        (count.into_inner(), longest)
    };
    churn(time / 2); // what is paid once is paid before it is measured
    let settle = || {
        let deadline = Instant::now() + Duration::from_secs(15);
        let mut files = house.open_files();
        while Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(200));
            let now = house.open_files();
            if now == files && now < 60 {
                break;
            }
            files = now;
        }
        (house.open_files(), house.resident())
    };
    let before = settle();
    let (count, longest) = churn(time);
    let after = settle();
    println!(
        "{count} connections in {time:?}: files {} to {}, {} to {} bytes, a sign-in took {longest:.1?} at most",
        before.0, after.0, before.1, after.1
    );
    let least =
        usize::try_from(time.as_secs()).unwrap() * usize::try_from(RATE).unwrap() / 60 * allowed.rate / 100;
    assert!(count >= least, "{count} connections are too few: this machine has other things to do");
    assert!(after.0 <= before.0 + (before.0 / 50).max(allowed.files), "files: {before:?} became {after:?}");
    let limit = before.1 + (before.1 / 50).max(allowed.bytes);
    assert!(after.1 <= limit, "memory: {before:?} became {after:?}");
    assert!(longest < Duration::from_secs(2), "the owner waited {longest:?}");
}

#[test]
fn connections_that_come_and_go_leave_no_file_and_no_memory() {
    require_flat(Duration::from_secs(10), Allowed { bytes: 1024 * 1024, files: 2, rate: 10 });
}

#[test]
#[ignore = "takes minutes; `make siege` runs it"]
fn siege_connections_that_come_and_go_for_ten_minutes_leave_no_file_and_no_memory() {
    require_release();
    require_flat(Duration::from_secs(600), Allowed { bytes: 0, files: 0, rate: 95 });
}
