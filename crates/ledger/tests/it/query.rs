//! Looking into the book, while it is written and without its lock.

use moltbot_ledger::query::{Filter, Reader, explain, render_line, render_tree, search};
use moltbot_policy::{Book as _, Decision, Entry};
use moltbot_vault::StateDir;

use crate::{bytes_of, entry, put, segments, state};

fn reader(state: &StateDir) -> Reader {
    Reader::of(state.folder("ledger").unwrap())
}

/// What one message causes, among other things that happen at the same time.
fn story() -> Vec<Entry> {
    let agent = |run: &str, action, target: &str, decision| {
        Entry::new(format!("agent:{run}"), action, target, decision).in_session("agent:main:main")
    };
    let sign_in = |device: &str| {
        Entry::new(format!("device:{device}"), "auth.sign_in", "gateway", Decision::Allowed)
            .with("client", "::1")
    };
    vec![
        sign_in("a"),
        sign_in("b"),
        Entry::new("device:a", "message.accept", "r1", Decision::Done).in_session("agent:main:main"),
        agent("r1", "egress.open", "api.example.com:443", Decision::Allowed).with("purpose", "provider"),
        agent("r2", "command.start", "ls", Decision::Allowed),
        agent("r1", "command.start", "ls", Decision::Allowed),
        agent("r1", "file.read", "x", Decision::Allowed),
        agent("r1", "command.end", "ls", Decision::Done).with("start", "8").with("exit", "0"),
        agent("r1", "command.start", "rm", Decision::Refused).with("code", "command_banned"),
        agent("r2", "command.end", "ls", Decision::Done),
    ]
}

fn written(entries: Vec<Entry>) -> (tempfile::TempDir, StateDir) {
    let (home, state) = state();
    let ledger = crate::open(&state);
    ledger.enter_all(entries).unwrap();
    ledger.shutdown();
    (home, state)
}

#[test]
fn the_end_of_a_book_is_read_while_it_is_written() {
    let (_home, state) = state();
    let ledger = crate::open(&state);
    for n in 0..50 {
        ledger.enter(entry(n.to_string())).unwrap();
    }
    let reader = reader(&state);
    let numbers = |records: &[moltbot_ledger::query::Record]| {
        records.iter().map(|record| record.seq).collect::<Vec<_>>()
    };
    assert_eq!(numbers(&reader.tail(3).unwrap()), [50, 51, 52]);
    ledger.enter(entry("new")).unwrap();
    let mut behind = reader.records(53).unwrap();
    assert_eq!(behind.next_record().unwrap().unwrap().target, "new", "what came since is followed");
    assert_eq!(behind.next_record().unwrap(), None);
    assert_eq!(reader.tail(1000).unwrap().len(), 53);
    assert_eq!(reader.tail(0).unwrap(), []);
    assert_eq!(reader.show(8).unwrap().unwrap().target, "5");
    assert_eq!(reader.show(99).unwrap(), None);
}

#[test]
fn records_are_found_by_every_part_of_a_filter() {
    let (_home, state) = written(story());
    let found = |filter: Filter| {
        let matches = search(&reader(&state), &filter).unwrap();
        (matches.records.iter().map(|record| record.seq).collect::<Vec<_>>(), matches.more)
    };
    let text = |text: &str| Some(text.to_owned());
    for (filter, expected) in [
        (Filter { action: text("auth."), ..Filter::default() }, vec![3, 4]),
        (Filter { actor: text("agent:r2"), ..Filter::default() }, vec![7, 12]),
        (
            Filter { session: text("agent:main:main"), decision: text("refused"), ..Filter::default() },
            vec![11],
        ),
        (Filter { text: text("EXAMPLE.com"), ..Filter::default() }, vec![6]),
        (Filter { text: text("command_BANNED"), ..Filter::default() }, vec![11]),
        (Filter { since: Some(0), until: Some(1), ..Filter::default() }, vec![]),
        (Filter { since: Some(1), action: text("file."), ..Filter::default() }, vec![9]),
    ] {
        assert_eq!(found(filter.clone()), (expected, false), "{filter:?}");
    }
    let newest = found(Filter { action: text("command."), limit: Some(2), ..Filter::default() });
    assert_eq!(newest, (vec![11, 12], true), "the newest, and that there are more");
}

#[test]
fn everything_that_one_message_caused_is_a_tree() {
    let (_home, state) = written(story());
    let explanation = explain(&reader(&state), "r1").unwrap().unwrap();
    let tree = render_tree(&explanation);
    let told: Vec<String> = tree
        .lines()
        .map(|line| {
            let depth = line.len() - line.trim_start().len();
            let words: Vec<&str> = line.split_whitespace().collect();
            let action =
                words.iter().find(|word| word.contains('.') && !word.contains(':')).unwrap_or(&words[1]);
            format!("{depth} {action}")
        })
        .collect();
    let expected = [
        "0 r1",
        "2 auth.sign_in",
        "2 message.accept",
        "4 egress.open",
        "4 command.start",
        "6 command.end",
        "4 file.read",
        "4 command.start",
    ];
    assert_eq!(told, expected, "{tree}");
    assert_eq!(explanation.sign_in.as_ref().unwrap().actor, "device:a");
    assert!(tree.contains("code=command_banned"), "by which rule: {tree}");
    let json = serde_json::to_value(&explanation).unwrap();
    assert_eq!(json["nodes"][0]["children"][1]["children"][0]["record"]["action"], "command.end");
    assert_eq!(explain(&reader(&state), "unknown").unwrap(), None);
}

#[test]
fn a_damaged_line_hides_no_other() {
    let (_home, state) = written(story());
    let segment = segments(state.path()).remove(0);
    let text = String::from_utf8(bytes_of(&segment)).unwrap();
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    lines[4] = "damaged".into();
    lines[6] = "x".repeat(600_000);
    let torn = lines.pop().unwrap().split_off(20);
    put(&segment, format!("{}\n{torn}", lines.join("\n")).as_bytes());
    let mut records = reader(&state).records(1).unwrap();
    let mut numbers = Vec::new();
    while let Some(record) = records.next_record().unwrap() {
        numbers.push(record.seq);
    }
    assert_eq!((numbers, records.skipped()), (vec![1, 2, 3, 4, 6, 8, 9, 10, 11, 12, 13], 2));
    let matches = search(&reader(&state), &Filter::default()).unwrap();
    assert_eq!((matches.records.len(), matches.skipped), (11, 3), "with the torn end");
}

#[test]
fn no_record_moves_the_terminal_that_shows_it() {
    let hostile = "a\u{1b}[2J\n\r\u{202e}\u{9b}31m\u{7}";
    let told =
        Entry::new(hostile, "test.act", hostile, Decision::Done).in_session(hostile).with("x", hostile);
    let (_home, state) = written(vec![told]);
    let line = render_line(&reader(&state).show(3).unwrap().unwrap());
    assert!(!line.contains(|c: char| c.is_control() || c == '\u{202e}'), "{line:?}");
    assert!(line.contains("test.act"), "{line}");
}
