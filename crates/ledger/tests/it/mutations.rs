//! Every small change of a book is reported: by the verifier here on all of them, and by `tools/verify_ledger.py`, which
//! shares nothing with it but the description of the format, on samples.

use std::fmt;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use moltbot_ledger::{LedgerOptions, Outcome, PublicKey, VerifyOptions, verify};
use moltbot_policy::Book as _;
use moltbot_testkit::skip::skip;
use moltbot_vault::StateDir;
use tempfile::TempDir;

use crate::{bytes_of, entry, put, quiet, segments, state, try_open};

/// One change of one segment.
#[derive(Clone, Copy, Debug)]
enum Mutation {
    /// The file ends before this byte.
    Cut(usize),
    /// The byte is gone.
    Delete(usize),
    /// The byte is there twice.
    Duplicate(usize),
    /// One bit of the byte is another.
    Flip(usize, u8),
    /// There is another byte before it.
    Insert(usize, u8),
    /// The line is gone.
    LineDelete(usize),
    /// The line is there twice.
    LineDuplicate(usize),
    /// Two lines have changed places.
    Swap(usize, usize),
}

impl Mutation {
    fn of(self, whole: &[u8]) -> Vec<u8> {
        let mut bytes = whole.to_vec();
        let lines = |change: &dyn Fn(&mut Vec<&[u8]>)| {
            let mut lines: Vec<&[u8]> = whole.split_inclusive(|byte| *byte == b'\n').collect();
            change(&mut lines);
            lines.concat()
        };
        match self {
            Self::Cut(at) => bytes.truncate(at),
            Self::Delete(at) => drop(bytes.remove(at)),
            Self::Duplicate(at) => bytes.insert(at, bytes[at]),
            Self::Flip(at, bit) => bytes[at] ^= bit,
            Self::Insert(at, byte) => bytes.insert(at, byte),
            Self::LineDelete(at) => bytes = lines(&|lines| lines.splice(at..=at, []).for_each(drop)),
            Self::LineDuplicate(at) => bytes = lines(&|lines| lines.insert(at, lines[at])),
            Self::Swap(one, other) => bytes = lines(&|lines| lines.swap(one, other)),
        }
        bytes
    }
}

impl fmt::Display for Mutation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

/// A closed book of `records` records or a few more, by two processes, in three segments and with two keys.
fn book(records: u64) -> (TempDir, StateDir) {
    let (home, state) = state();
    let hour = Duration::from_secs(3600);
    for (part, epoch) in [(2, Duration::ZERO), (records * 3 / 4 - 2, hour)] {
        let segment_bytes = records * 560 / 3;
        let checkpoint_records = (records / 7).max(4);
        let options = LedgerOptions { segment_bytes, epoch, checkpoint_records, ..quiet() };
        let ledger = try_open(&state, options).unwrap();
        // What the book says about itself comes on top.
        for n in 0..part {
            ledger.enter(entry(format!("{n}: \"é\"\n"))).unwrap();
        }
        ledger.shutdown();
    }
    (home, state)
}

/// Every change that is tried of a segment; of its end when it is the last.
fn mutations(whole: &[u8], is_last: bool) -> Vec<Mutation> {
    let lines = whole.split_inclusive(|byte| *byte == b'\n').count();
    let mut all = Vec::new();
    for at in 0..whole.len() {
        let bit = 1 << (at % 8);
        all.extend([Mutation::Delete(at), Mutation::Duplicate(at), Mutation::Flip(at, bit)]);
        all.push(Mutation::Insert(at, b'0' + u8::try_from(at % 10).unwrap()));
    }
    for one in 0..lines {
        all.extend([Mutation::LineDelete(one), Mutation::LineDuplicate(one)]);
        all.extend((0..one).map(|other| Mutation::Swap(one, other)));
    }
    if is_last {
        let starts = whole.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at + 1);
        let starts: Vec<usize> = starts.collect();
        let from = starts[starts.len().saturating_sub(4)];
        all.extend((from..whole.len()).map(Mutation::Cut));
    }
    // Two equal neighbours: one of them gone or there twice is one and the same change, but a change.
    all.retain(|mutation| mutation.of(whole) != whole);
    all
}

fn judge(folder: &Path) -> Outcome {
    verify(folder, &VerifyOptions::default()).outcome
}

/// A segment opened to be changed in place, which is faster than writing it anew each time.
#[expect(clippy::disallowed_methods, reason = "the test plays one who changes the book")]
fn to_change(path: &Path) -> std::fs::File {
    std::fs::OpenOptions::new().write(true).open(path).unwrap()
}

/// Tries every change of the segments numbered in `of`, and tells how many there were.
fn try_all(records: u64, of: &[usize]) -> usize {
    let (_home, state) = book(records);
    let folder = state.path().join("ledger");
    assert_eq!(judge(&folder), Outcome::Intact);
    let segments = segments(state.path());
    let mut tried = 0;
    for (at, segment) in segments.iter().enumerate().filter(|(at, _)| of.contains(at)) {
        let whole = bytes_of(segment);
        let is_last = at + 1 == segments.len();
        let last_line = whole.len() - whole.rsplit(|byte| *byte == b'\n').nth(1).unwrap().len() - 1;
        let file = to_change(segment);
        for mutation in mutations(&whole, is_last) {
            let changed = mutation.of(&whole);
            file.write_all_at(&changed, 0).unwrap();
            file.set_len(u64::try_from(changed.len()).unwrap()).unwrap();
            let outcome = judge(&folder);
            // A last line that does not fit is what a crash leaves, also when it is two that became one.
            let is_same = |end: usize| changed.len() >= end && changed[..end] == whole[..end];
            let can_be_torn = is_last && is_same(last_line - 1);
            let expected: &[Outcome] = match mutation {
                Mutation::Cut(_) => &[Outcome::Torn, Outcome::Truncated],
                _ if can_be_torn => &[Outcome::Torn, Outcome::Truncated, Outcome::Tampered],
                // The last line is gone, or the one before it: what is then last is torn off.
                Mutation::LineDelete(_) if is_last => &[Outcome::Truncated, Outcome::Tampered],
                _ => &[Outcome::Tampered],
            };
            if !expected.contains(&outcome) {
                let problems = verify(&folder, &VerifyOptions::default()).problems;
                let text = String::from_utf8_lossy(&changed);
                panic!("{mutation} of {} is {outcome:?}: {problems:?} in {text}", segment.display());
            }
            tried += 1;
        }
        put(segment, &whole);
    }
    assert_eq!(judge(&folder), Outcome::Intact, "the book is as it was");
    tried
}

#[test]
fn d_24_every_small_change_of_sixty_records_is_reported_first_segment() {
    println!("{} changes", try_all(60, &[0]));
}

#[test]
fn d_24_every_small_change_of_sixty_records_is_reported_other_segments() {
    println!("{} changes", try_all(60, &[1, 2, 3, 4, 5]));
}

#[test]
#[ignore = "takes minutes; make siege runs it"]
fn siege_every_small_change_of_a_thousand_records_is_reported_first_segment() {
    println!("{} changes", try_all(1000, &[0]));
}

#[test]
#[ignore = "takes minutes; make siege runs it"]
fn siege_every_small_change_of_a_thousand_records_is_reported_other_segments() {
    println!("{} changes", try_all(1000, &[1, 2, 3, 4, 5]));
}

#[test]
fn d_24_segments_that_are_swapped_removed_or_doubled_are_reported() {
    let (_home, state) = book(60);
    let folder = state.path().join("ledger");
    let segments = segments(state.path());
    assert!(segments.len() >= 3, "{segments:?}");
    let all: Vec<Vec<u8>> = segments.iter().map(|segment| bytes_of(segment)).collect();
    for one in 0..segments.len() {
        for other in 0..one {
            put(&segments[one], &all[other]);
            assert_eq!(judge(&folder), Outcome::Tampered, "{other} in the place of {one}");
            put(&segments[other], &all[one]);
            assert_eq!(judge(&folder), Outcome::Tampered, "{one} and {other} swapped");
            put(&segments[one], &all[one]);
            put(&segments[other], &all[other]);
        }
        let name = |path: &PathBuf| format!("ledger/{}", path.file_name().unwrap().to_str().unwrap());
        state.remove(&name(&segments[one])).unwrap();
        let expected = if one + 1 == segments.len() { Outcome::Truncated } else { Outcome::Tampered };
        assert_eq!(judge(&folder), expected, "without {one}");
        put(&segments[one], &[]);
        assert_eq!(judge(&folder), expected, "{one} is empty");
        put(&segments[one], &all[one]);
        let moved = segments[one].with_file_name("00000000000000001000.mlog");
        put(&moved, &all[one]);
        assert_eq!(judge(&folder), Outcome::Tampered, "{one} once more");
        state.remove(&name(&moved)).unwrap();
    }
    assert_eq!(judge(&folder), Outcome::Intact);
}

/// How many books the second verifier judges in one process.
const SAMPLES: usize = 2000;

/// What both verifiers are compared by: exit code, records, and the file and the line of the first misfit.
type Judgement = (u64, u64, Option<(String, u64)>);

fn ours(folder: &Path, key: &PublicKey) -> Judgement {
    let options = VerifyOptions { from_key: Some(key.clone()), ..VerifyOptions::default() };
    let report = verify(folder, &options);
    let place = report
        .problems
        .first()
        .map(|problem| (problem.path.file_name().unwrap().to_str().unwrap().to_owned(), problem.line));
    (report.outcome.exit_code().into(), report.records, place)
}

fn theirs(line: &str) -> Judgement {
    let report: serde_json::Value = serde_json::from_str(line).unwrap();
    let first = &report["problems"][0];
    let place = first["file"].as_str().map(|file| (file.to_owned(), first["line"].as_u64().unwrap()));
    (report["exit"].as_u64().unwrap(), report["records"].as_u64().unwrap(), place)
}

/// Writes changed copies of a book into folders below `samples`, the first of them unchanged.
#[expect(clippy::disallowed_methods, reason = "samples are files of the test")]
fn write_samples(state: &StateDir, samples: &Path) -> Vec<String> {
    let segments = segments(state.path());
    let wholes: Vec<Vec<u8>> = segments.iter().map(|segment| bytes_of(segment)).collect();
    let mut all = Vec::new();
    for (at, whole) in wholes.iter().enumerate() {
        all.extend(mutations(whole, at + 1 == wholes.len()).into_iter().map(|mutation| (at, mutation)));
    }
    let step = all.len() / (SAMPLES - 1);
    let write = |number: usize| {
        let folder = samples.join(format!("{number:04}"));
        std::fs::create_dir_all(&folder).unwrap();
        let change = number.checked_sub(1).map(|number| all[number * step]);
        for (at, segment) in segments.iter().enumerate() {
            let bytes = match change {
                Some((of, mutation)) if of == at => mutation.of(&wholes[at]),
                _ => wholes[at].clone(),
            };
            put(&folder.join(segment.file_name().unwrap()), &bytes);
        }
        put(&folder.join("head"), &bytes_of(&state.path().join("ledger/head")));
        format!("{change:?}")
    };
    (0..SAMPLES).map(write).collect()
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the second verifier is a program of its own")]
fn the_second_verifier_judges_two_thousand_changed_books_alike() {
    let name = "mutations::the_second_verifier_judges_two_thousand_changed_books_alike";
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap();
    let python = repository.join("target/test-tools/python/bin/python");
    let has_library = Command::new(&python).args(["-c", "import cryptography"]).output();
    if !has_library.is_ok_and(|output| output.status.success()) {
        return skip(name, "its library is not installed; `make test` installs it");
    }
    let (home, state) = book(60);
    let key = verify(&state.path().join("ledger"), &VerifyOptions::default()).public_key.unwrap();
    let samples = home.path().join("samples");
    let changes = write_samples(&state, &samples);
    let verifier = repository.join("tools/verify_ledger.py");
    let mut command = Command::new(python);
    let command = command.arg(verifier).args(["--from-key", &key.to_string(), "--samples"]).arg(&samples);
    let output = command.output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(out.lines().count(), SAMPLES, "{err}");
    for (number, (line, change)) in out.lines().zip(&changes).enumerate() {
        assert_eq!(theirs(line), ours(&samples.join(format!("{number:04}")), &key), "{change}: {line}");
    }
    assert_eq!(theirs(out.lines().next().unwrap()).0, 0, "the first is not changed");
}

/// Not a test of anything but speed: run it in release.
#[test]
#[ignore = "measures; run it with --release"]
fn measure_how_fast_a_book_is_verified() {
    let (_home, state) = state();
    let ledger = try_open(&state, LedgerOptions { reserve_bytes: 0, ..LedgerOptions::default() }).unwrap();
    for part in 0..200_u64 {
        let entries = (0..1000).map(|n| {
            entry(format!("/home/owner/some/file/{part}/{n}"))
                .in_session("agent:main:main")
                .with("sandbox", "embedded")
        });
        for entries in entries.collect::<Vec<_>>().chunks(250) {
            ledger.enter_all(entries.to_vec()).unwrap();
        }
    }
    ledger.shutdown();
    let folder = state.path().join("ledger");
    for _ in 0..3 {
        let started = std::time::Instant::now();
        let report = verify(&folder, &VerifyOptions::default());
        let took = started.elapsed();
        assert_eq!(report.outcome, Outcome::Intact, "{:?}", report.problems);
        let bytes: u64 = segments(state.path()).iter().map(|segment| segment.metadata().unwrap().len()).sum();
        let rate = f64::from(u32::try_from(report.records).unwrap()) / took.as_secs_f64();
        println!(
            "{} records, {bytes} bytes, {} signatures in {took:.1?}: {rate:.0} a second",
            report.records, report.signatures
        );
    }
}
