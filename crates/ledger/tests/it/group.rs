use moltbot_ledger::LedgerOptions;
use moltbot_policy::Book as _;

use crate::{actions, entry, open, quiet, segments, state, try_open, verified};

const THREADS: usize = 64;
const RECORDS: usize = 50;

#[test]
fn d_23_threads_that_write_at_once_share_flushes_and_lose_nothing_while_segments_change() {
    let (_home, state) = state();
    let options = LedgerOptions { segment_bytes: 256 * 1024, ..quiet() };
    let ledger = try_open(&state, options).unwrap();
    let before = ledger.flushes();
    let started = std::time::Instant::now();
    let acknowledged: Vec<Vec<u64>> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| {
                let ledger = ledger.clone();
                scope.spawn(move || {
                    (0..RECORDS).map(|n| ledger.enter(entry(format!("{thread}/{n}"))).unwrap()).collect()
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let (flushes, took) = (ledger.flushes() - before, started.elapsed());
    ledger.shutdown();
    let total = THREADS * RECORDS;
    println!("{total} records in {took:.1?} with {flushes} flushes");

    let records = verified(state.path());
    let count = |wanted: &str| actions(&records).iter().filter(|action| **action == wanted).count();
    let (signed, more) = (count("ledger.checkpoint"), count("ledger.segment"));
    assert_eq!(segments(state.path()).len(), more + 1);
    assert!(more >= 4, "{more} segments came after the first");
    assert_eq!(records.len(), total + 3 + signed + more, "with the genesis, the start and the stop");
    assert!(signed >= total / 256, "{signed} checkpoints");
    for (thread, sequences) in acknowledged.iter().enumerate() {
        assert!(sequences.is_sorted(), "thread {thread} in its own order");
        for (n, sequence) in sequences.iter().enumerate() {
            let record = &records[usize::try_from(*sequence).unwrap() - 1];
            assert_eq!(record["target"].as_str(), Some(format!("{thread}/{n}").as_str()));
        }
    }
    // Sharing none would be one each; how many share one is the machine's affair.
    assert!(flushes * 4 <= u64::try_from(total).unwrap(), "{flushes} flushes for {total} records");
}

#[test]
fn one_who_writes_alone_is_not_kept_waiting_and_each_record_is_flushed() {
    let (_home, state) = state();
    let ledger = open(&state);
    assert_eq!(ledger.flushes(), 1, "the start is on disk when the book is open");
    for n in 0..10 {
        assert_eq!(ledger.enter(entry("x")).unwrap(), n + 3);
    }
    assert_eq!(ledger.flushes(), 11);
    ledger.shutdown();
    ledger.shutdown();
    assert_eq!(ledger.flushes(), 12);
    let refused = ledger.enter(entry("late")).unwrap_err();
    assert_eq!((refused.action, refused.cause.as_str()), ("test.act", "the book is closed"));
    let records = verified(state.path());
    let (first, last) = (&actions(&records)[..2], &actions(&records)[12..]);
    assert_eq!(
        (first, last),
        (["ledger.genesis", "ledger.start"].as_slice(), ["ledger.stop", "ledger.checkpoint"].as_slice())
    );
}
