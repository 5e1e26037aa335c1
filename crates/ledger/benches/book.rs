//! How fast the book is, beside the same disk and processor without it: records of 64 writers at once, one who writes
//! alone, and verification on one core.
#![forbid(unsafe_code)]
#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "prints figures; a failure ends the measurement"
)]

use std::io::Write as _;
use std::time::{Duration, Instant};

use moltbot_ledger::{LEDGER_FOLDER, Ledger, LedgerOptions, Outcome, VerifyOptions, verify};
use moltbot_policy::{Book as _, Decision, Entry};
use moltbot_testkit::figure::{Figure, Limit, Reference, milliseconds_of, timed};
use moltbot_vault::StateDir;
use sha2::{Digest as _, Sha256};
use tempfile::{TempDir, tempdir};

const WRITERS: usize = 64;
/// What each of them writes.
const RECORDS: usize = 1000;
/// What one who writes alone writes.
const ALONE: usize = 500;
/// The length of a usual record, in bytes.
const LINE: usize = 420;

fn main() {
    let (home, state, ledger) = open();
    let (rate, slow) = together(&ledger);
    let (mut alone, mut plain) = alone(&ledger);
    ledger.shutdown();
    let median = milliseconds_of(&mut plain, 500);
    let verified = verified(&state);
    drop(home);
    for figure in [
        Figure::new("records of 64 writers", "/s", rate, Limit::AtLeast(10_000.0))
            .beside(Reference::Rate("64 plain lines a flush".into(), plain_rate())),
        Figure::new("a record of 64 writers, p99", "ms", slow, Limit::AtMost(25.0)),
        Figure::new("a record alone", "ms", milliseconds_of(&mut alone, 500), Limit::None)
            .beside(Reference::Time("a plain line and a flush".into(), median)),
        Figure::new("a record alone, p99", "ms", milliseconds_of(&mut alone, 990), Limit::AtMost(25.0)),
        verified,
    ] {
        println!("{}", figure.to_line());
    }
}

fn open() -> (TempDir, StateDir, Ledger) {
    let home = tempdir().unwrap();
    let state = StateDir::open_or_create(&home.path().join("state")).unwrap();
    let ledger = Ledger::open(&state, &moltbot_testkit::vault(&state), LedgerOptions::default()).unwrap();
    (home, state, ledger)
}

fn enter(ledger: &Ledger, target: String) -> Duration {
    let entry = Entry::new("agent:bench", "command.start", target, Decision::Allowed);
    let entry = entry.with("program", "/usr/bin/true").with("profile", "none");
    timed(|| {
        ledger.enter(entry).unwrap();
    })
}

/// Records a second, and what 99 of 100 writers wait at most, in milliseconds.
fn together(ledger: &Ledger) -> (f64, f64) {
    let began = Instant::now();
    let write =
        |writer: usize| move || (0..RECORDS).map(|n| enter(ledger, format!("{writer}/{n}"))).collect();
    let mut waits: Vec<Duration> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..WRITERS).map(|writer| scope.spawn(write(writer))).collect();
        threads.into_iter().flat_map(|thread| -> Vec<Duration> { thread.join().unwrap() }).collect()
    });
    (per_second(waits.len(), began.elapsed()), milliseconds_of(&mut waits, 990))
}

/// One writer, in turns with a plain file, so that a busy moment of the disk falls on both.
fn alone(ledger: &Ledger) -> (Vec<Duration>, Vec<Duration>) {
    let mut file = tempfile::tempfile().unwrap();
    let mut line = || {
        timed(|| {
            file.write_all(&[b'x'; LINE]).unwrap();
            file.sync_data().unwrap();
        })
    };
    (0..ALONE).map(|n| (enter(ledger, n.to_string()), line())).unzip()
}

/// Lines a second when 64 share a flush of a plain file.
fn plain_rate() -> f64 {
    let mut file = tempfile::tempfile().unwrap();
    let took = timed(|| {
        for _ in 0..RECORDS {
            for _ in 0..WRITERS {
                file.write_all(&[b'x'; LINE]).unwrap();
            }
            file.sync_data().unwrap();
        }
    });
    per_second(RECORDS * WRITERS, took)
}

/// The whole book verified, beside SHA-256 of the same bytes: the median of five.
fn verified(state: &StateDir) -> Figure {
    let folder = state.path().join(LEDGER_FOLDER);
    let bytes = segments(&folder);
    let mut records = 0;
    let (mut times, mut plain) = (Vec::new(), Vec::new());
    for _ in 0..5 {
        times.push(timed(|| {
            let report = verify(&folder, &VerifyOptions::default());
            assert_eq!(report.outcome, Outcome::Intact);
            records = report.head.unwrap().sequence;
        }));
        plain.push(timed(|| {
            std::hint::black_box(Sha256::digest(&bytes));
        }));
    }
    let count = usize::try_from(records).unwrap();
    let rate = |times: &mut [Duration]| {
        per_second(count, Duration::from_secs_f64(milliseconds_of(times, 500) / 1e3))
    };
    Figure::new("verified records", "/s", rate(&mut times), Limit::AtLeast(500_000.0))
        .beside(Reference::Rate("SHA-256 of the same bytes".into(), rate(&mut plain)))
}

#[expect(clippy::disallowed_methods, reason = "the book's bytes, for the comparison")]
fn segments(folder: &std::path::Path) -> Vec<u8> {
    let names = folder.read_dir().unwrap().map(|name| name.unwrap().path());
    let segments = names.filter(|path| path.extension().is_some_and(|ending| ending == "mlog"));
    segments.flat_map(|path| std::fs::read(path).unwrap()).collect()
}

fn per_second(count: usize, time: Duration) -> f64 {
    f64::from(u32::try_from(count).unwrap()) / time.as_secs_f64()
}
