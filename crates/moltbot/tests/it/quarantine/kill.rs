//! `kill -9` between the attempt and the end of its turn: the quarantine is not lost.

use std::time::{Duration, Instant};

use moltbot_testkit::home::Home;
use moltbot_testkit::model::{Reply, ScriptedModel};
use moltbot_testkit::process::Gateway;
use rusqlite::Connection;
use serde_json::json;

use super::{CODE, PROGRAM, moltbot, seen_by_the_sandbox};

/// Waits until the book has that text.
#[expect(clippy::disallowed_methods, reason = "a test reads what the program wrote")]
fn wait_for(home: &Home, needle: &str) {
    let deadline = Instant::now() + Duration::from_secs(30);
    let has = |path: std::path::PathBuf| {
        std::fs::read(path)
            .is_ok_and(|bytes| bytes.windows(needle.len()).any(|part| part == needle.as_bytes()))
    };
    let folder = home.state_path().join("ledger");
    while !folder.read_dir().unwrap().flatten().any(|entry| has(entry.path())) {
        assert!(Instant::now() < deadline, "no {needle} in 30 s");
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn kept(home: &Home) -> i64 {
    let database = Connection::open(home.state_path().join("state.db")).unwrap();
    database.query_row("SELECT count(*) FROM quarantine", [], |row| row.get(0)).unwrap()
}

/// Whether the state db takes the quarantine before the kill, which another program that writes in it prevents.
#[derive(Clone, Copy, PartialEq)]
enum Kept {
    Maybe,
    Not,
}

#[cfg(target_arch = "x86_64")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_right_after_the_attempt_loses_no_quarantine() {
    for (kill_at, keeps) in
        [("command.attempt", Kept::Not), ("session.quarantine", Kept::Not), ("command.attempt", Kept::Maybe)]
    {
        let model = ScriptedModel::queue([]);
        let home = Home::with_model(&model);
        let mut gateway = Gateway::start(PROGRAM, &home);
        let attempt = seen_by_the_sandbox(&home);
        let client = gateway.connect().open().await.unwrap();
        model.push(Reply::tool(
            "exec",
            &json!({"command": format!("while [ ! -e go ]; do sleep 0.05; done; {attempt}")}),
        ));
        let message = json!({"sessionKey": "main", "message": "go", "idempotencyKey": "k"});
        client.call("chat.send", message).await.unwrap();
        wait_for(&home, "\"command.start\",\"target\":\"while [ ! -e go");
        // From here on the state db takes nothing: what the turn called is in its journal already.
        let other = Connection::open(home.state_path().join("state.db")).unwrap();
        if keeps == Kept::Not {
            other.execute_batch("BEGIN IMMEDIATE").unwrap();
        }
        home.state().folder("workspace").unwrap().write("go", b"").unwrap();
        wait_for(&home, &format!("\"action\":\"{kill_at}\""));
        gateway.kill9();
        drop((client, other));
        if keeps == Kept::Not {
            assert_eq!(kept(&home), 0, "the kill came too late to show anything");
        }
        // A model that goes on: were the turn taken up again, it would be asked.
        model.push(Reply::text("went on"));
        gateway.restart(&home);
        let client = gateway.connect().open().await.unwrap();
        let params = json!({"sessionKey": "main", "message": "go on", "idempotencyKey": "k2"});
        let refused = client.call("chat.send", params).await.unwrap_err();
        assert_eq!(refused.details.unwrap()["code"], CODE, "{kill_at}");
        assert_eq!(model.requests().len(), 1, "the turn was taken up again ({kill_at})");
        assert!(moltbot(&home, &["status"]).1.contains("agent:main:main is in quarantine"));
        assert_eq!(moltbot(&home, &["sessions", "release", "main"]).0, 0);
        let ended = client.call("agent.wait", json!({"runId": "k"})).await.unwrap();
        assert_ne!(ended["status"], "timeout", "it has its end after the release: {ended}");
    }
}

/// The turn of a command in the background has ended, and tells nothing any more: the book does.
#[cfg(target_arch = "x86_64")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_right_after_an_attempt_of_the_background_loses_no_quarantine() {
    let model = ScriptedModel::queue([]);
    let home = Home::with_model(&model);
    let mut gateway = Gateway::start(PROGRAM, &home);
    let attempt = seen_by_the_sandbox(&home);
    let mut client = gateway.connect().open().await.unwrap();
    let command = format!("while [ ! -e go ]; do sleep 0.05; done; {attempt}");
    model.push(Reply::tool("exec", &json!({"command": command, "background": true})));
    model.push(Reply::text("it runs"));
    client.chat("main", "go").await;
    let other = Connection::open(home.state_path().join("state.db")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    home.state().folder("workspace").unwrap().write("go", b"").unwrap();
    wait_for(&home, "\"action\":\"command.attempt\"");
    gateway.kill9();
    drop((client, other));
    assert_eq!(kept(&home), 0, "the kill came too late to show anything");
    gateway.restart(&home);
    let client = gateway.connect().open().await.unwrap();
    let params = json!({"sessionKey": "main", "message": "go on", "idempotencyKey": "k2"});
    let refused = client.call("chat.send", params.clone()).await.unwrap_err();
    assert_eq!(refused.details.unwrap()["code"], CODE);
    assert_eq!(moltbot(&home, &["sessions", "release", "main"]).0, 0);
    gateway.terminate();
    gateway.restart(&home);
    let client = gateway.connect().open().await.unwrap();
    model.push(Reply::text("went on"));
    client.call("chat.send", params).await.expect("what the owner has let go is not held again");
}
