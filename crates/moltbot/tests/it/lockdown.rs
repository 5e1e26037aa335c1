//! Layer 7 through the real binary: a book that somebody changed stops everything but reading until its owner has looked;
//! one that a crash tore is repaired.

use std::path::PathBuf;

use moltbot_testkit::client::{Client, Device, SignatureVersion};
use moltbot_testkit::home::Home;
use moltbot_testkit::model::{Reply, ScriptedModel};
use moltbot_testkit::process::{Gateway, run};
use moltbot_testkit::raw::http;
use serde_json::{Value, json};

const PROGRAM: &str = env!("CARGO_BIN_EXE_moltbot");

/// The segment that is written.
fn segment(home: &Home) -> PathBuf {
    let names = home.state_path().join("ledger").read_dir().unwrap().map(|entry| entry.unwrap().path());
    names.filter(|path| path.extension().is_some_and(|end| end == "mlog")).max().unwrap()
}

#[expect(clippy::disallowed_methods, reason = "the test is the attacker")]
fn change(home: &Home, change: impl FnOnce(String) -> String) {
    let path = segment(home);
    let text = std::fs::read_to_string(&path).unwrap();
    let changed = change(text.clone());
    assert_ne!(changed, text, "nothing was changed");
    std::fs::write(path, changed).unwrap();
}

/// Changes one digit of a record in the middle.
fn forge(text: String) -> String {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let middle = (1..lines.len() - 1).find(|at| lines[*at].contains("\"auth.sign_in\"")).unwrap();
    lines[middle] = lines[middle].replacen("\"allowed\"", "\"refused\"", 1);
    lines.join("\n") + "\n"
}

fn verdict(home: &Home) -> Option<i32> {
    run(PROGRAM, home, &["ledger", "verify"]).status.code()
}

fn said(home: &Home, arguments: &[&str]) -> String {
    let output = run(PROGRAM, home, arguments);
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

async fn owner(gateway: &Gateway) -> Client {
    gateway.connect().device(&Device::from_seed(1), SignatureVersion::V3).open().await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_book_stops_everything_but_reading_until_the_owner_has_looked() {
    let model = ScriptedModel::queue([
        Reply::text("before"),
        Reply::tool("exec", &json!({"command": "touch begun; sleep 300"})),
    ]);
    let home = Home::with_model(&model);
    let mut gateway = Gateway::start(PROGRAM, &home);
    let mut client = owner(&gateway).await;
    assert_eq!(client.chat("main", "hello").await.text, "before");
    // One turn is in the middle of a command when the power goes.
    let begun = home.state_path().join("workspace/begun");
    let interrupted = client.send_chat("main", "sleep").await;
    while !begun.exists() {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    gateway.kill9();
    assert_eq!(verdict(&home), Some(0));
    change(&home, forge);
    assert_eq!(verdict(&home), Some(4));

    gateway.restart(&home);
    require_lockdown(&home, &gateway, &interrupted).await;
    assert_eq!(model.requests().len(), 2, "nothing reached the model");

    assert_eq!(run(PROGRAM, &home, &["ledger", "accept", "--yes"]).status.code(), Some(75), "a gateway runs");
    gateway.terminate();
    assert_eq!(run(PROGRAM, &home, &["ledger", "accept"]).status.code(), Some(1), "nobody said yes");
    let accepted = run(PROGRAM, &home, &["ledger", "accept", "--yes"]);
    assert!(accepted.status.success(), "{accepted:?}");
    assert_eq!(verdict(&home), Some(4), "the evidence stays");
    model.push(Reply::text("I do not know whether it slept"));
    model.push(Reply::text("after"));
    gateway.restart(&home);
    let mut client = owner(&gateway).await;
    let ended = client.call("agent.wait", json!({"runId": interrupted, "timeoutMs": 30_000})).await.unwrap();
    assert_eq!(ended["status"], "ok", "the turn that waited is taken now: {ended}");
    assert_eq!(client.chat("main", "hello again").await.text, "after");
    assert_eq!(client.call("status", json!({})).await.unwrap()["ledger"], json!({"ok": true}));
    assert_eq!(run(PROGRAM, &home, &["ledger", "accept", "--yes"]).status.code(), Some(75));
}

/// What the owner and the clients of a gateway that is locked down see.
async fn require_lockdown(home: &Home, gateway: &Gateway, interrupted: &str) {
    let client = owner(gateway).await;
    let history = client.call("chat.history", json!({"sessionKey": "main"})).await.unwrap().to_string();
    assert!(history.contains("before"), "{history}");
    let send = json!({"sessionKey": "main", "message": "do it", "idempotencyKey": "k1"});
    for (method, params) in [
        ("chat.send", send.clone()),
        ("agent", send),
        ("chat.inject", json!({"sessionKey": "main", "message": "x"})),
        ("models.scan", json!({})),
        ("models.test", json!({})),
        ("sessions.reset", json!({"key": "main"})),
        ("sessions.delete", json!({"key": "other"})),
        (
            "sessions.import",
            json!({"key": "other", "messages": [{"role": "user", "content": [], "timestamp": 1}]}),
        ),
    ] {
        let refused = client.call(method, params).await.unwrap_err();
        assert_eq!(refused.details, Some(json!({"code": "ledger_tampered"})), "{method}: {refused:?}");
        assert!(refused.message.contains("moltbot ledger accept"), "{method}: {refused:?}");
    }
    let body = json!({"messages": [{"role": "user", "content": "do it"}]}).to_string();
    let bearer = format!("Bearer {}", gateway.token());
    let headers = [("authorization", bearer.as_str())];
    let answer = http(gateway.port(), "POST", "/v1/chat/completions", &headers, body.as_bytes());
    assert_eq!((answer.status, answer.json()["error"]["type"].as_str()), (503, Some("ledger_tampered")));
    // The turn of before is not taken up.
    let waited = client.call("agent.wait", json!({"runId": interrupted, "timeoutMs": 300})).await.unwrap();
    assert_ne!(waited["status"], "ok", "{waited}");
    // Everybody who asks is told, and the owner without asking.
    for method in ["status", "health"] {
        let ledger = client.call(method, json!({})).await.unwrap()["ledger"].clone();
        assert_eq!((&ledger["ok"], &ledger["code"]), (&json!(false), &json!("ledger_tampered")), "{ledger}");
        assert!(ledger["line"].as_u64().is_some_and(|line| line > 1), "{ledger}");
    }
    assert!(said(home, &["status"]).contains("locked down"), "{}", said(home, &["status"]));
    assert_eq!(run(PROGRAM, home, &["health"]).status.code(), Some(1));
    assert!(gateway.printed().contains("locked down: the book was changed"), "{}", gateway.printed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_end_torn_by_a_crash_is_repaired_recorded_and_served_on() {
    let model = ScriptedModel::echo();
    let home = Home::with_model(&model);
    let mut gateway = Gateway::start(PROGRAM, &home);
    drop(owner(&gateway).await);
    gateway.kill9();
    change(&home, |text| text + "{\"v\":1,\"seq\":");
    assert_eq!(verdict(&home), Some(3));
    gateway.restart(&home);
    let mut client = owner(&gateway).await;
    assert_eq!(client.chat("main", "hello").await.state, "final");
    assert_eq!(client.call("status", json!({})).await.unwrap()["ledger"], json!({"ok": true}));
    gateway.terminate();
    assert_eq!(verdict(&home), Some(0));
    let recovered = said(&home, &["ledger", "search", "--action", "ledger.recovered", "--json"]);
    let recovered: Value = serde_json::from_str(recovered.lines().next().unwrap()).unwrap();
    assert_eq!(recovered["action"], "ledger.recovered", "{recovered}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_book_whose_end_was_cut_off_is_told_as_that_and_locks_down() {
    let model = ScriptedModel::echo();
    let home = Home::with_model(&model);
    let mut gateway = Gateway::start(PROGRAM, &home);
    let mut client = owner(&gateway).await;
    assert_eq!(client.chat("main", "hello").await.state, "final");
    gateway.terminate();
    change(&home, |text| {
        let lines: Vec<&str> = text.lines().collect();
        lines[..lines.len() - 4].join("\n") + "\n"
    });
    assert_eq!(verdict(&home), Some(5));
    gateway.restart(&home);
    let refused = owner(&gateway)
        .await
        .call("chat.send", json!({"sessionKey": "main", "message": "x", "idempotencyKey": "k"}))
        .await
        .unwrap_err();
    assert_eq!(refused.details, Some(json!({"code": "ledger_tampered"})), "{refused:?}");
    assert_eq!(model.requests().len(), 1);
}
