//! A gateway that is used for long: its memory stays what it was, a turn takes as long as the first ones did, and neither a
//! long conversation nor many of them make anything slower.

use std::time::{Duration, Instant};

use moltbot_testkit::client::Client;
use moltbot_testkit::home::Home;
use moltbot_testkit::model::ScriptedModel;
use moltbot_testkit::process::Gateway;
use serde_json::{Value, json};

/// What was seen of a gateway.
struct Seen {
    /// How long each turn took, in order.
    turns: Vec<Duration>,
    /// Its memory after so many turns, in kilobytes.
    memory: Vec<(usize, u64)>,
    /// The end of a short conversation, and that of the long one.
    opened: (Duration, Duration),
    /// The list of the newest sessions, and the list of all.
    listed: (Duration, Duration),
}

/// Resident memory of a process, in kilobytes.
fn resident(pid: u32) -> u64 {
    #[expect(clippy::disallowed_methods, reason = "what the kernel tells of the gateway")]
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// One turn, to its end.
async fn turn(client: &Client, session: &str, number: usize) -> Duration {
    let began = Instant::now();
    let params = json!({"sessionKey": session, "message": format!("message {number}"), "idempotencyKey": format!("turn-{number}")});
    client.call("chat.send", params).await.unwrap();
    let wait = json!({"runId": format!("turn-{number}"), "timeoutMs": 60_000});
    let ended = client.call("agent.wait", wait).await.unwrap();
    assert_eq!(ended["status"], "ok", "turn {number}: {ended}");
    began.elapsed()
}

/// The middle of nine tries of a call, and the last answer.
async fn median(client: &Client, method: &str, params: &Value) -> (Duration, Value) {
    let (mut taken, mut last) = (Vec::new(), Value::Null);
    for _ in 0..9 {
        let began = Instant::now();
        last = client.call(method, params.clone()).await.unwrap();
        taken.push(began.elapsed());
    }
    taken.sort_unstable();
    (taken[4], last)
}

/// Turns of one conversation, after which the next one begins: what a model is sent of it is part of what a turn takes.
const TALK: usize = 20;

/// Has a gateway take `turns` turns: the first of each of `sessions` conversations, the rest in conversations of one length;
/// and then `long` more in one.
async fn use_for_long(turns: usize, sessions: usize, long: usize) -> Seen {
    let model = ScriptedModel::echo();
    let home = Home::with_model(&model);
    let mut gateway = Gateway::start(env!("CARGO_BIN_EXE_moltbot"), &home);
    let client = gateway.connect().open().await.unwrap();
    let mut seen = Seen {
        turns: Vec::with_capacity(turns),
        memory: Vec::new(),
        opened: (Duration::ZERO, Duration::ZERO),
        listed: (Duration::ZERO, Duration::ZERO),
    };
    let step = (turns / 50).max(1);
    for number in 0..turns {
        let session = match number.checked_sub(sessions) {
            None => format!("agent:main:one-{number}"),
            Some(later) => format!("agent:main:talk-{}", later / TALK),
        };
        seen.turns.push(turn(&client, &session, number).await);
        if number % step == 0 {
            seen.memory.push((number, resident(gateway.pid())));
        }
    }
    for number in turns..turns + long {
        turn(&client, "agent:main:long", number).await;
    }
    let end = |session: &str| json!({"sessionKey": session, "limit": 20});
    let (short, history) = median(&client, "chat.history", &end("agent:main:one-0")).await;
    assert_eq!(history["messages"].as_array().unwrap().len(), 2);
    let (lengthy, history) = median(&client, "chat.history", &end("agent:main:long")).await;
    assert_eq!(history["messages"].as_array().unwrap().len(), 20);
    let last = history["messages"][19]["content"][0]["text"].as_str().unwrap().to_owned();
    assert!(last.contains(&format!("message {}", turns + long - 1)), "{last}");
    let (newest, list) = median(&client, "sessions.list", &json!({"limit": 50})).await;
    assert_eq!(list["sessions"].as_array().unwrap().len(), 50);
    let count = sessions + (turns - sessions).div_ceil(TALK) + 1;
    let (all, list) = median(&client, "sessions.list", &json!({"limit": count})).await;
    assert_eq!(list["sessions"].as_array().unwrap().len(), count);
    (seen.opened, seen.listed) = ((short, lengthy), (newest, all));
    gateway.terminate();
    seen
}

/// What the slowest hundredth of turns takes at least.
fn p99(turns: &[Duration]) -> Duration {
    let mut sorted = turns.to_vec();
    sorted.sort_unstable();
    sorted[sorted.len() * 99 / 100]
}

/// By how many kilobytes memory grows with a thousand turns, fitted to what was seen.
#[expect(clippy::as_conversions, clippy::cast_precision_loss, reason = "figures of a report")]
fn slope(memory: &[(usize, u64)]) -> f64 {
    let points: Vec<(f64, f64)> =
        memory.iter().map(|(turn, kb)| (*turn as f64 / 1000.0, *kb as f64)).collect();
    let count = points.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / count;
    let (x, y) = (mean(|point| point.0), mean(|point| point.1));
    let above: f64 = points.iter().map(|point| (point.0 - x) * (point.1 - y)).sum();
    let below: f64 = points.iter().map(|point| (point.0 - x).powi(2)).sum();
    above / below
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_turns_and_many_sessions_are_all_there_and_are_found() {
    let seen = use_for_long(300, 120, 60).await;
    assert_eq!(seen.turns.len(), 300);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes a quarter of an hour; `make siege` runs it"]
async fn siege_a_hundred_thousand_turns_leave_memory_and_times_as_they_were() {
    const TURNS: usize = 100_000;
    const SESSIONS: usize = 10_000;
    let seen = use_for_long(TURNS, SESSIONS, 1500).await;
    let tenth = TURNS / 10;
    // The first tenth makes conversations of one turn each; what comes after is compared with itself.
    let (early, late) = (p99(&seen.turns[tenth..2 * tenth]), p99(&seen.turns[TURNS - tenth..]));
    let half: Vec<(usize, u64)> =
        seen.memory.iter().copied().filter(|(turn, _)| *turn >= TURNS / 2).collect();
    let grows = slope(&half);
    println!("p99 of a turn {early:?}, at the end {late:?}; {grows:.2} kB for a thousand turns");
    println!("memory {:?}", seen.memory);
    println!("opened {:?}, listed {:?}", seen.opened, seen.listed);
    assert!(late < early * 3 / 2, "turns become slower: {early:?}, {late:?}");
    assert!(grows < 10.0, "memory grows by {grows} kB for a thousand turns");
    assert!(seen.opened.1 < seen.opened.0 * 5, "a long conversation opens slowly: {:?}", seen.opened);
    assert!(seen.listed.0 <= Duration::from_millis(20), "{:?}", seen.listed);
}
