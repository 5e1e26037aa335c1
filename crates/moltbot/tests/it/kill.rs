//! `kill -9` at random points under load: what was acknowledged is there afterwards, once, finished, in order.

use std::collections::BTreeMap;
use std::time::Duration;

use moltbot_testkit::client::{Client, Device, SignatureVersion};
use moltbot_testkit::home::Home;
use moltbot_testkit::model::{ModelRequest, Reply, ScriptedModel, echo_of};
use moltbot_testkit::process::Gateway;
use serde_json::{Value, json};

use crate::secrets::book_in;

const ROUNDS: u64 = 100;
const SESSIONS: usize = 4;
/// Messages that one session sends in one round at the most: enough to be under load when the kill comes.
const BURST: u64 = 4;

/// A reproducible draw; the seed is printed, so that a failing run can be run again.
struct Draw(u64);

impl Draw {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

/// Sends messages of one session until the connection breaks; answers what was acknowledged.
async fn send_until_killed(client: Client, session: String, round: u64) -> Vec<String> {
    let mut acknowledged = Vec::new();
    for number in 0..BURST {
        let text = format!("{session} {round}.{number}");
        let params =
            json!({"sessionKey": session, "message": text, "idempotencyKey": text.replace(' ', "-")});
        match client.try_call("chat.send", params).await {
            Some(Ok(_)) => acknowledged.push(text),
            // Turns pile up while the gateway is killed before it can end them: a full queue refuses, clearly.
            Some(Err(error)) if error.message.contains("too many messages are waiting") => break,
            Some(Err(error)) => panic!("{text} was refused: {error:?}"),
            None => break,
        }
    }
    acknowledged
}

/// The user's and the assistant's texts of a session, as (role, text).
async fn transcript(client: &Client, session: &str) -> Vec<(String, String)> {
    let history = client.call("chat.history", json!({"sessionKey": session, "limit": 1000})).await.unwrap();
    let messages = history["messages"].as_array().unwrap().clone();
    let said = |message: &Value| {
        let text = message["content"][0]["text"].as_str().unwrap_or_default().to_owned();
        (message["role"].as_str().unwrap().to_owned(), text)
    };
    messages.iter().map(said).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledged_messages_survive_a_hundred_kills_once_finished_and_in_order() {
    let seed = u64::from(std::process::id());
    println!("seed {seed}");
    let mut draw = Draw(seed);
    let model = ScriptedModel::echo();
    let home = Home::with_model(&model);
    let mut gateway = Gateway::start(env!("CARGO_BIN_EXE_moltbot"), &home);
    let mut acknowledged: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for round in 0..ROUNDS {
        let mut senders = Vec::new();
        for number in 0..SESSIONS {
            let session = format!("agent:main:load-{number}");
            let client = gateway.connect().open().await.unwrap();
            senders.push((session.clone(), tokio::spawn(send_until_killed(client, session, round))));
        }
        let long = if draw.below(8) == 0 { 800_000 } else { 60_000 };
        tokio::time::sleep(Duration::from_micros(draw.below(long))).await;
        gateway.kill9();
        for (session, sender) in senders {
            acknowledged.entry(session).or_default().extend(sender.await.unwrap());
        }
        gateway.restart(&home);
    }
    let total: usize = acknowledged.values().map(Vec::len).sum();
    assert!(total > 100, "the load was no load: {total} messages acknowledged");
    let client = gateway.connect().open().await.unwrap();
    for (session, sent) in &acknowledged {
        if let Some(last) = sent.last() {
            let wait = json!({"runId": last.replace(' ', "-"), "timeoutMs": 60_000});
            assert_eq!(client.call("agent.wait", wait).await.unwrap()["status"], "ok", "{last}");
        }
        compare(session, sent, &answered(&client, session).await);
    }
}

/// The transcript once its last message is answered: one that was stored and not acknowledged is nobody's to wait for.
async fn answered(client: &Client, session: &str) -> Vec<(String, String)> {
    for _ in 0..600 {
        let said = transcript(client, session).await;
        if said.last().is_none_or(|(role, _)| role == "assistant") {
            return said;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    transcript(client, session).await
}

/// Every acknowledged message stands in the transcript once and in order, each with its answer right behind it. A
/// message that was stored but not yet acknowledged when the kill came may be there too, and is answered as well.
fn compare(session: &str, sent: &[String], said: &[(String, String)]) {
    let asked: Vec<&String> = said.iter().filter(|(role, _)| role == "user").map(|(_, text)| text).collect();
    for pair in said.chunks(2) {
        let [(user, question), (assistant, answer)] = pair else {
            panic!("{session}: {pair:?} has no answer")
        };
        assert_eq!((user.as_str(), assistant.as_str()), ("user", "assistant"), "{session}: {pair:?}");
        assert!(answer.contains(&echo_of(question)), "{session}: {question} was answered with {answer}");
    }
    let found: Vec<&&String> = asked.iter().filter(|text| sent.contains(text)).collect();
    assert_eq!(found.len(), sent.len(), "{session}: acknowledged and found");
    assert!(found.iter().zip(sent).all(|(found, sent)| ***found == *sent), "{session}: out of order");
}

/// The ways in which messages wait, one for each session in turn.
const MODES: [&str; 4] = ["collect", "followup", "steer", "interrupt"];

/// What a model does that calls one tool for each message that it is told, and then answers.
fn one_tool(request: &ModelRequest) -> Reply {
    let asked = request.last_user_text();
    if request.messages().last().is_some_and(|message| message["role"] == "user") {
        Reply::tool("write", &json!({"path": file_of(&asked), "content": asked}))
    } else {
        Reply::text(&echo_of(&asked))
    }
}

/// The file that is written for a message.
fn file_of(text: &str) -> String {
    format!("{}.txt", text.replace([' ', ':', '.'], "-"))
}

/// Rounds in which a session is used: its whole transcript can be read at once.
const USED: u64 = 40;

/// Kills a gateway again and again while `sessions` sessions, a quarter of them in each mode, send messages that are answered
/// with the help of a tool.
async fn kill_while_messages_wait(rounds: u64, sessions: usize) {
    let seed = u64::from(std::process::id());
    println!("seed {seed}");
    let mut draw = Draw(seed);
    let model = ScriptedModel::answering(one_tool);
    let home = Home::with_model(&model);
    home.change_config(|config| config["messages"] = json!({"queue": {"debounceMs": 20}}));
    let mut gateway = Gateway::start(env!("CARGO_BIN_EXE_moltbot"), &home);
    let mut acknowledged: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for round in 0..rounds {
        let name = |number: usize| format!("agent:main:queue-{number}-{}", round / USED);
        let mut senders = Vec::new();
        if round % USED == 0 {
            let owner = Device::from_seed(1);
            let owner = gateway.connect().scopes(&["operator.admin"]).device(&owner, SignatureVersion::V3);
            let owner = owner.open().await.unwrap();
            for number in 0..sessions {
                let mode = json!({"key": name(number), "queueMode": MODES[number % MODES.len()]});
                owner.call("sessions.patch", mode).await.unwrap();
            }
        }
        for number in 0..sessions {
            let client = gateway.connect().open().await.unwrap();
            senders.push((name(number), tokio::spawn(send_until_killed(client, name(number), round))));
        }
        tokio::time::sleep(Duration::from_micros(draw.below(120_000))).await;
        gateway.kill9();
        for (session, sender) in senders {
            acknowledged.entry(session).or_default().extend(sender.await.unwrap());
        }
        gateway.restart(&home);
    }
    let total: usize = acknowledged.values().map(Vec::len).sum();
    println!("{total} messages acknowledged in {rounds} rounds of {sessions} sessions");
    assert!(total > sessions, "the load was no load: {total} messages acknowledged");
    let client = gateway.connect().open().await.unwrap();
    for (session, sent) in &acknowledged {
        if let Some(last) = sent.last() {
            let wait = json!({"runId": last.replace(' ', "-"), "timeoutMs": 120_000});
            assert_ne!(client.call("agent.wait", wait).await.unwrap()["status"], "timeout", "{last}");
        }
        let said = answered(&client, session).await;
        let asked: Vec<&String> =
            said.iter().filter(|(role, _)| role == "user").map(|(_, text)| text).collect();
        let found: Vec<&&String> = asked.iter().filter(|text| sent.contains(text)).collect();
        assert_eq!(found.len(), sent.len(), "{session}: acknowledged and found");
        assert!(found.iter().zip(sent).all(|(found, sent)| ***found == *sent), "{session}: out of order");
        assert!(said.last().is_none_or(|(role, _)| role == "assistant"), "{session}: the last has no answer");
    }
    require_written_once(&home, acknowledged.values().flatten());
}

/// Demands that no file was written a second time, and that files were written at all.
fn require_written_once<'a>(home: &Home, texts: impl Iterator<Item = &'a String>) {
    let book = book_in(home.path());
    let mut written = 0;
    for text in texts {
        let entry = format!(r#""action":"file.write","target":"{}""#, file_of(text));
        let times = book.matches(&entry).count();
        assert!(times <= 1, "{text} was written {times} times");
        written += times;
    }
    println!("{written} files written");
    assert!(written > 0, "no tool was run");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_that_wait_in_any_mode_survive_kills_and_no_tool_is_run_again() {
    kill_while_messages_wait(20, 8).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes an hour; `make siege` runs it"]
async fn siege_a_thousand_kills_of_fifty_sessions_lose_nothing_and_repeat_nothing() {
    kill_while_messages_wait(1000, 50).await;
}
