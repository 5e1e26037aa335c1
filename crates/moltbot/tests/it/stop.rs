//! The owner's stop through the real program: everything that runs is dead within a second, nothing begins, nothing is lost.

use std::time::{Duration, Instant};

use moltbot_testkit::client::{Device, SignatureVersion};
use moltbot_testkit::home::Home;
use moltbot_testkit::model::{Reply, ScriptedModel, echo_of};
use moltbot_testkit::process::{Gateway, run};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::telegram::{Stage, ann};

const PROGRAM: &str = env!("CARGO_BIN_EXE_moltbot");
/// Turns that run a command; as many as there is room for run at once, and the others wait for their place.
const TURNS: usize = 50;

fn moltbot(home: &Home, arguments: &[&str]) -> (i32, String) {
    let ran = run(PROGRAM, home, arguments);
    let text = format!("{}{}", String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    (ran.status.code().unwrap_or(-1), text)
}

/// Processes with `marker` in their arguments.
#[expect(clippy::disallowed_methods, reason = "the list of processes")]
fn survivors(marker: &str) -> usize {
    let lines = std::fs::read_dir("/proc").unwrap().flatten();
    let lines = lines.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
    lines.filter(|line| String::from_utf8_lossy(line).contains(marker)).count()
}

fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_busy_turns_and_their_processes_are_dead_within_a_second() {
    let marker = format!("{}.78", 3_000_000 + std::process::id());
    let script = format!(
        "trap '' TERM HUP INT; (setsid nohup sleep {marker} >/dev/null 2>&1 &); (setsid sh -c 'while :; do :; done' &); sleep {marker}"
    );
    let model = ScriptedModel::queue((0..TURNS).map(|_| Reply::tool("exec", &json!({"command": script}))));
    let home = Home::with_model(&model);
    home.change_config(|config| {
        config["agents"]["defaults"]["maxConcurrent"] = json!(64);
        // However slow the machine is, the turns wait for their commands.
        config["tools"] = json!({"exec": {"backgroundMs": 120_000}});
    });
    let gateway = Gateway::start(PROGRAM, &home);
    let client = gateway.connect().open().await.unwrap();
    for number in 0..TURNS {
        let params = json!({"sessionKey": format!("agent:main:s{number}"), "message": "go", "idempotencyKey": format!("k{number}")});
        client.call("chat.send", params).await.unwrap();
    }
    wait_until("16 commands run", || survivors(&marker) >= 32);
    // One turn waits for a model that never answers.
    model.push(Reply::Hang);
    let hung = json!({"sessionKey": "agent:main:hung", "message": "go", "idempotencyKey": "hung"});
    client.call("chat.send", hung).await.unwrap();
    model.wait_for_requests(TURNS + 1);
    let began = Instant::now();
    let (status, text) = moltbot(&home, &["stop", "--all", "--json"]);
    let took = began.elapsed();
    assert_eq!(status, 0, "{text}");
    assert_eq!(survivors(&marker), 0, "{text}");
    let told: Value = serde_json::from_str(&text).unwrap();
    let ended = &told["stopped"]["ended"];
    println!("{told}; the command took {took:?}");
    assert_eq!((ended["left"].as_u64(), ended["turns"].as_u64()), (Some(0), Some(51)), "{told}");
    assert!(ended["tookMs"].as_u64().unwrap() < 1000 && ended["processes"].as_u64().unwrap() >= 16, "{told}");
    for run in ["k0", "hung"] {
        let status = client.call("agent.wait", json!({"runId": run})).await.unwrap();
        assert_eq!(status["error"], "aborted", "{status}");
    }
    let (_, status) = moltbot(&home, &["status"]);
    assert!(
        status.contains("everything is, by owner:signal") && status.contains("moltbot resume"),
        "{status}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_stays_stopped_over_a_restart_and_nothing_that_is_said_is_lost() {
    let model = ScriptedModel::echo();
    let home = Home::with_model(&model);
    let mut gateway = Gateway::start(PROGRAM, &home);
    assert_eq!(moltbot(&home, &["stop"]).0, 0);
    let send = |text: &str| json!({"sessionKey": "main", "message": text, "idempotencyKey": text});
    let client = gateway.connect().open().await.unwrap();
    let answer = client.call("chat.send", send("one")).await.unwrap();
    assert!(answer["notice"].as_str().unwrap().contains("is kept"), "{answer}");
    let refused = client.call("agent", send("not kept")).await.unwrap_err();
    assert!(refused.message.contains("moltbot resume"), "{refused:?}");
    drop(client);
    gateway.kill9();
    gateway.restart(&home);
    let client = gateway.connect().open().await.unwrap();
    client.call("chat.send", send("two")).await.unwrap();
    gateway.terminate();
    let (status, told) = moltbot(&home, &["doctor"]);
    assert!(told.contains("everything is stopped by owner:signal"), "{status}: {told}");
    assert_eq!(model.requests().len(), 0, "no turn has begun");
    gateway.restart(&home);
    assert_eq!(model.requests().len(), 0, "nor at this start");
    let (status, text) = moltbot(&home, &["resume"]);
    assert_eq!((status, text.as_str()), (0, "moltbot goes on\n"));
    model.wait_for_requests(2);
    let asked: Vec<String> = model.requests().iter().map(|request| request.last_user_text()).collect();
    assert_eq!(asked, ["one", "two"], "in their order");
    assert_eq!(moltbot(&home, &["resume"]).1, "nothing was stopped\n");
    gateway.terminate();
    let (_, book) = moltbot(&home, &["ledger", "search", "--action", "turns", "--json"]);
    assert!(book.contains("turns.stop") && book.contains("turns.resume"), "{book}");
}

#[test]
fn without_a_gateway_a_stop_holds_for_the_next_one() {
    let model = ScriptedModel::echo();
    let home = Home::with_model(&model);
    let mut gateway = Gateway::start(PROGRAM, &home);
    gateway.terminate();
    let (status, text) = moltbot(&home, &["stop"]);
    assert!(status == 0 && text.contains("no gateway runs here"), "{text}");
    gateway.restart(&home);
    let (status, text) = moltbot(&home, &["agent", "--message", "hi"]);
    assert!(status != 0 && text.contains("moltbot resume"), "{status}: {text}");
    gateway.terminate();
    assert_eq!(moltbot(&home, &["resume"]), (0, "moltbot goes on\n".to_owned()));
    gateway.restart(&home);
    let (status, text) = moltbot(&home, &["agent", "--message", "hi"]);
    assert!(status == 0 && text.contains(&echo_of("hi")), "{status}: {text}");
}

#[test]
fn people_on_a_channel_are_told_once_and_answered_afterwards() {
    let stage = Stage::with(|_| json!({"allowFrom": [ann().id]}));
    stage.gateway.signal(Signal::USR2);
    wait_until("stopped", || stage.moltbot(&["status"]).1.contains("everything is"));
    for text in ["one", "two"] {
        stage.api.write(&ann(), text);
    }
    let told = stage.api.wait_for_sent(ann().id, 1);
    assert!(told[0].text.contains("is kept"), "{told:?}");
    stage.api.wait_until_confirmed();
    assert!(stage.model.requests().is_empty());
    assert_eq!(stage.moltbot(&["resume"]).0, 0);
    let sent = stage.api.wait_for_sent(ann().id, 3);
    let texts: Vec<&str> = sent[1..].iter().map(|sent| sent.text.as_str()).collect();
    assert_eq!(texts, [echo_of("one"), echo_of("two")]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_may_write_stops_and_only_an_administrator_resumes() {
    let model = ScriptedModel::echo();
    let home = Home::with_model(&model);
    let gateway = Gateway::start(PROGRAM, &home);
    let client = gateway.connect().scopes(&["operator.write"]).open().await.unwrap();
    let all = json!({"sessionKey": "main", "message": "/stop all", "idempotencyKey": "x"});
    let answer = client.call("chat.send", all).await.unwrap();
    assert!(answer["stopped"]["ended"].is_object(), "{answer}");
    let refused = client.call("turns.resume", json!({})).await.unwrap_err();
    assert_eq!(refused.message, "missing scope: operator.admin");
    let device = Device::from_seed(7);
    let admin = gateway.connect().device(&device, SignatureVersion::V3).open().await.unwrap();
    assert_eq!(admin.call("turns.resume", json!({})).await.unwrap(), json!({"ok": true, "resumed": true}));
    assert_eq!(admin.call("turns.resume", json!({})).await.unwrap(), json!({"ok": true, "resumed": false}));
}
