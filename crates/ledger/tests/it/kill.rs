use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};

use moltbot_policy::Book as _;
use moltbot_vault::{StateDir, random};

use crate::{entry, open, state, verified};

/// Names the state folder of the child.
const CHILD: &str = "MOLTBOT_TEST_BOOK_IN";
const KILLS: usize = 50;
const WRITERS: usize = 8;

#[test]
fn a_process_killed_at_any_point_has_lost_nothing_that_it_acknowledged() {
    let (_home, state) = state();
    let mut acknowledged: Vec<(usize, String)> = Vec::new();
    for round in 0..KILLS {
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
    open(&state).shutdown();
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
    let ledger = open(&StateDir::open_or_create(path.as_ref()).unwrap());
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
