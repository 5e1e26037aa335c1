//! `kill -9` under load: what was acknowledged is there, once and in order.

mod rotation;

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdout, Command, Stdio};

use moltbot_protocol::message::{Message, Part};
use moltbot_store::{Accepted, PendingTurn, Step, Store, TurnState};
use moltbot_vault::StateDir;

use super::{assistant, done, key, message, run};

const ROUNDS: usize = 30;
const SESSIONS: usize = 3;
const STATE: &str = "MOLTBOT_STORE_TEST_STATE";
const FIRST: &str = "MOLTBOT_STORE_TEST_FIRST";

/// The process that is killed: takes turns in several sessions at once and says on stdout what was
/// acknowledged. It is a test so that it is in this binary; it runs only when the test below starts it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "the child of the test below"]
#[expect(clippy::disallowed_methods, reason = "the test passes the folder to its child")]
async fn child() {
    let state = std::env::var(STATE).unwrap();
    let first: usize = std::env::var(FIRST).unwrap().parse().unwrap();
    let state = StateDir::open_or_create(state.as_ref()).unwrap();
    let store = Store::open(&state, &moltbot_testkit::vault(&state)).unwrap();
    for turn in store.pending().await.unwrap() {
        end(&store, turn).await;
    }
    let mut tasks = tokio::task::JoinSet::new();
    for session in 0..SESSIONS {
        let store = store.clone();
        tasks.spawn(async move {
            for number in first.. {
                let text = format!("{session}-{number}");
                let accepted = store.accept(&message(&format!("s{session}"), &text), 1).await.unwrap();
                say("accepted", &text);
                let Accepted::Fresh(turn) = accepted else { panic!("{text} is new") };
                if number % 3 == 0 {
                    let call = Part::ToolCall {
                        id: "1".into(),
                        name: "read".into(),
                        arguments: serde_json::json!({}),
                    };
                    let step = Step { results: vec![], answer: assistant(vec![call], 2) };
                    store.journal(turn.id, step).await.unwrap();
                    say("journalled", &text);
                }
                end(&store, turn).await;
            }
        });
    }
    tasks.join_all().await;
}

async fn end(store: &Store, turn: PendingTurn) {
    let text = turn.message.text;
    store.finish(turn.id, done(&format!("re: {text}"), 3)).await.unwrap();
    say("finished", &text);
}

fn say(what: &str, text: &str) {
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{what} {text}").unwrap();
    stdout.flush().unwrap();
}

#[tokio::test]
async fn what_was_acknowledged_survives_thirty_kills() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    let state = StateDir::open_or_create(&path).unwrap();
    let mut said: HashMap<String, &'static str> = HashMap::new();
    for round in 0..ROUNDS {
        listen_and_kill(start(&path, round * 10_000), 20 + round * 7 % 60, &mut said);
        let store = Store::open(&state, &moltbot_testkit::vault(&state)).unwrap();
        check(&store, &said).await;
    }
    assert!(said.len() > ROUNDS * 5, "{} turns", said.len());
}

#[expect(clippy::disallowed_methods, reason = "the test starts itself as the process to kill")]
fn start(state: &std::path::Path, first: usize) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "kill::child", "--ignored", "--nocapture"]);
    command.env(STATE, state).env(FIRST, first.to_string());
    command.stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn().unwrap()
}

/// Reads `lines` acknowledgements, kills, and reads what had been said by then.
fn listen_and_kill(mut child: Child, lines: usize, said: &mut HashMap<String, &'static str>) {
    let mut heard = 0;
    for (what, text) in words(child.stdout.take().unwrap()) {
        let what = match what.as_str() {
            "accepted" => "accepted",
            "journalled" => "journalled",
            "finished" => "finished",
            _ => continue,
        };
        said.insert(text, what);
        heard += 1;
        if heard == lines {
            child.kill().unwrap();
        }
    }
    let status = child.wait().unwrap();
    assert!(heard >= lines, "the child ended by itself: {status}");
}

/// What a child says: a word, and what is behind it.
fn words(stdout: ChildStdout) -> impl Iterator<Item = (String, String)> {
    let lines = BufReader::new(stdout).lines().map(Result::unwrap);
    lines.filter_map(|line| line.split_once(' ').map(|(what, text)| (what.to_owned(), text.to_owned())))
}

async fn check(store: &Store, said: &HashMap<String, &'static str>) {
    let pending = store.pending().await.unwrap();
    assert!(pending.is_sorted_by_key(|turn| turn.id));
    for (text, what) in said {
        let status = store.run(&run(text)).await.unwrap();
        let status = status.unwrap_or_else(|| panic!("{text} was {what} and is lost"));
        let waits = pending.iter().find(|turn| turn.message.text == *text);
        assert_eq!(status.state == TurnState::Received, waits.is_some(), "{text} is {status:?}");
        if *what == "finished" {
            assert_eq!(status.state, TurnState::Done, "{text} was {what}");
        }
        if let (&"journalled", Some(turn)) = (what, waits) {
            assert_eq!(turn.steps.len(), 1, "{text} was {what}");
        }
    }
    for session in 0..SESSIONS {
        let history = store.history(&key(&format!("s{session}")), 1000).await.unwrap();
        in_order(&history.messages);
    }
}

/// Messages stand in the order in which they were sent, and each answer behind its message, once.
fn in_order(messages: &[Message]) {
    let number = |text: &str| text.split('-').nth(1).unwrap().parse::<usize>().unwrap();
    let users = messages.iter().filter(|message| matches!(message, Message::User { .. }));
    let numbers: Vec<usize> = users.map(|message| number(&message.text())).collect();
    assert!(numbers.is_sorted_by(|a, b| a < b), "{numbers:?}");
    let mut asked = String::new();
    for message in messages {
        match message {
            Message::User { .. } => asked = message.text(),
            Message::Assistant { .. } if message.text().is_empty() => {}
            Message::Assistant { .. } => {
                assert_eq!(message.text(), format!("re: {}", std::mem::take(&mut asked)))
            }
            Message::ToolResult { .. } => panic!("no tool ran"),
        }
    }
}
