//! How long the review of a command takes, over the corpus: each line 101 times, its median; then over the lines.
#![forbid(unsafe_code)]
#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "prints figures; a failure ends the measurement"
)]

use std::hint::black_box;
use std::path::Path;
use std::time::Duration;

use moltbot_policy::command::{Rules, judge};
use moltbot_testkit::figure::{Figure, Limit, timed};
use serde::Deserialize;

#[derive(Deserialize)]
struct Line {
    cmd: String,
}

const RUNS: usize = 101;

fn main() {
    let lines = corpus();
    // The first review reads the rules and tries their examples.
    let first = timed(|| drop(black_box(judge("ls", Rules::built_in().unwrap()))));
    let rules = Rules::built_in().unwrap();
    let mut medians: Vec<Duration> =
        lines.iter().map(|line| median(|| drop(black_box(judge(black_box(line), rules))))).collect();
    for figure in [
        Figure::new("review of a command", "µs", at(&mut medians, 500), Limit::AtMost(10.0)),
        Figure::new("review of a command, p99", "µs", at(&mut medians, 990), Limit::AtMost(50.0)),
        Figure::new(
            "the first review, with the rules",
            "ms",
            first.as_secs_f64() * 1000.0,
            Limit::AtMost(50.0),
        ),
    ] {
        println!("{}", figure.to_line());
    }
}

fn median(mut act: impl FnMut()) -> Duration {
    let mut times: Vec<Duration> = (0..RUNS).map(|_| timed(&mut act)).collect();
    times.sort();
    times.get(RUNS / 2).copied().unwrap()
}

/// Microseconds at a place in a thousand.
fn at(times: &mut [Duration], place: usize) -> f64 {
    times.sort();
    times.get((times.len() * place / 1000).min(times.len() - 1)).unwrap().as_secs_f64() * 1_000_000.0
}

#[expect(clippy::disallowed_methods, reason = "a measurement reads the repository that it is part of")]
fn corpus() -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/commands/corpus.jsonl");
    let text = std::fs::read_to_string(path).unwrap();
    let command = |line: &str| serde_json::from_str::<Line>(line).unwrap().cmd;
    text.lines().map(command).collect()
}
