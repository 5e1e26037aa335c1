use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};
use std::time::Duration;

use moltbot_ledger::{LedgerOptions, Outcome, VerifyOptions, verify};
use moltbot_policy::Book as _;
use moltbot_vault::{StateDir, random};

use crate::{entry, open, quiet, state, try_open, verified};

/// Names the state folder of the child.
const CHILD: &str = "MOLTBOT_TEST_BOOK_IN";
const KILLS: usize = 60;
const WRITERS: usize = 8;

#[test]
fn a_process_killed_at_any_point_has_lost_nothing_that_it_acknowledged() {
    kill(KILLS);
}

#[test]
#[ignore = "takes minutes; make siege runs it"]
fn siege_a_process_killed_a_thousand_times_has_lost_nothing_that_it_acknowledged() {
    kill(1000);
}

/// Kills a process that writes with eight threads, so many times, and looks for everything that it acknowledged.
fn kill(kills: usize) {
    let (_home, state) = state();
    let mut acknowledged: Vec<(usize, String)> = Vec::new();
    for round in 0..kills {
        #[expect(clippy::disallowed_methods, reason = "the test kills a copy of itself")]
        let mut child = Command::new(std::env::current_exe().unwrap());
        child.args(["kill::child_that_writes", "--exact", "--ignored", "--nocapture"]);
        let mut child = child.env(CHILD, state.path()).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let before = acknowledged.len();
        let drawn: usize = u8::from_be_bytes(random().unwrap()).into();
        acknowledged.extend(lines.by_ref().filter_map(parse).take(drawn));
        child.kill().unwrap();
        // What it had said before it died counts as well.
        acknowledged.extend(lines.filter_map(parse));
        child.wait().unwrap();
        assert!(acknowledged.len() >= before + drawn, "round {round}: the child wrote");
    }
    let ledger = open(&state);
    assert_eq!(ledger.lockdown(), None);
    ledger.shutdown();
    let options = VerifyOptions { from_key: Some(ledger.public_key()), ..VerifyOptions::default() };
    let report = verify(&state.path().join("ledger"), &options);
    assert_eq!((report.outcome, report.problems.as_slice()), (Outcome::Intact, [].as_slice()));
    println!("{} segments, {} keys, {} torn ends", report.segments, report.epochs + 1, report.recovered);
    let records = verified(state.path());
    for (sequence, target) in &acknowledged {
        let record = records.get(sequence - 1);
        let found = record.and_then(|record| record["target"].as_str());
        assert_eq!(found, Some(target.as_str()), "record {sequence} of {}", records.len());
    }
    println!("{} acknowledged of {} records", acknowledged.len(), records.len());
}

/// What the child says: a number and a target. A line cut off by its death says nothing.
fn parse(line: String) -> Option<(usize, String)> {
    let (sequence, target) = line.strip_prefix("ack ")?.strip_suffix(" .")?.split_once(' ')?;
    Some((sequence.parse().ok()?, target.to_owned()))
}

#[test]
#[ignore = "the part of the process that is killed"]
fn child_that_writes() {
    #[expect(clippy::disallowed_methods, reason = "how the parent names the folder")]
    let Some(path) = std::env::var_os(CHILD) else {
        return;
    };
    // Often a new key and now and then a new segment, so that it also dies between their steps.
    let options = LedgerOptions {
        checkpoint_records: 50,
        epoch: Duration::ZERO,
        segment_bytes: 128 * 1024,
        checkpoint_after: Duration::from_millis(20),
        ..quiet()
    };
    let ledger = try_open(&StateDir::open_or_create(path.as_ref()).unwrap(), options).unwrap();
    assert_eq!(ledger.lockdown(), None);
    std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            let ledger = ledger.clone();
            scope.spawn(move || {
                for n in 0.. {
                    let target = format!("{}/{writer}/{n}", std::process::id());
                    let sequence = ledger.enter(entry(target.clone())).unwrap();
                    let mut out = std::io::stdout().lock();
                    out.write_all(format!("ack {sequence} {target} .\n").as_bytes()).unwrap();
                    out.flush().unwrap();
                }
            });
        }
    });
}
