//! What the book and the log of sign-ins say of every way in.

use moltbot_ledger::view::{AuthLine, auth_lines, command_lines};
use moltbot_testkit::client::{Connect, Device, SignatureVersion};
use moltbot_testkit::model::{Reply, ScriptedModel};
use serde_json::json;

use crate::house::House;

/// The lines of the log, the oldest first, as address, method, success, reason, device and count.
fn told(lines: Vec<AuthLine>) -> Vec<String> {
    let text = |line: AuthLine| {
        let AuthLine { client_ip, method, success, reason, user_id, count, .. } = line;
        let device = user_id.map_or_else(|| "-".into(), |id| id.get(..8).unwrap().to_owned());
        let reason = reason.unwrap_or_else(|| "-".into());
        format!("{client_ip} {method} {success} {reason} {device} {}", count.unwrap_or(1))
    };
    lines.into_iter().rev().map(text).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d_20_d_22_every_attempt_has_exactly_one_line_with_its_address_method_and_reason() {
    let house = House::echo().await;
    let device = Device::from_seed(7);
    let id = device.id().get(..8).unwrap().to_owned();
    drop(house.client().await);
    let refused = async |connect: Connect| connect.open().await.err().unwrap();
    refused(Connect::to(house.port()).token("wrong")).await;
    refused(Connect::to(house.port())).await;
    let stale = house.owner().change(|params| params["device"]["signedAt"] = json!(1));
    refused(stale).await;
    let other = Device::from_seed(8);
    let other_id = other.id().get(..8).unwrap().to_owned();
    let elsewhere = Connect::to(house.port()).token(&house.token()).device(&other, SignatureVersion::V3);
    refused(elsewhere.header("x-forwarded-for", "203.0.113.9")).await;
    assert_eq!(house.http("POST", "/v1/chat/completions", &[], b"{}").await.status, 401);
    let answer = house.request("POST", "/v1/chat/completions", &json!({})).await;
    assert_eq!(answer.status, 400, "signed in over HTTP, with a body that is none");
    let house = house.restart().await;
    let expected = [
        format!("127.0.0.1 token true - {id} 1"),
        format!("127.0.0.1 pairing true - {id} 1"),
        "127.0.0.1 token false token_mismatch - 1".into(),
        "127.0.0.1 token false token_missing - 1".into(),
        format!("127.0.0.1 device-signature false device_signature_expired {id} 1"),
        format!("127.0.0.1 token false not_paired {other_id} 1"),
        format!("127.0.0.1 pairing true - {other_id} 1"),
        "127.0.0.1 token false token_missing - 1".into(),
        "127.0.0.1 token true - - 1".into(),
    ];
    let found = auth_lines(&house.home.state(), 100).unwrap();
    assert_eq!((told(found.lines), found.skipped), (expected.to_vec(), 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d_25_a_source_without_tries_is_one_line_however_often_it_asks() {
    let house = House::echo().await;
    for _ in 0..30 {
        assert!(Connect::to(house.port()).token("wrong").open().await.is_err());
        assert_ne!(house.http("POST", "/v1/chat/completions", &[], b"{}").await.status, 200);
    }
    let house = house.restart().await;
    let lines = told(auth_lines(&house.home.state(), 100).unwrap().lines);
    let limited: Vec<&String> = lines.iter().filter(|line| line.contains("rate_limited")).collect();
    // The minute may end once while this runs.
    assert!((1..=2).contains(&limited.len()) && lines.len() <= 7, "{lines:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d_28_a_device_that_calls_itself_something_long_is_cut_off() {
    let house = House::echo().await;
    let owner = house.owner().change(|params| params["device"]["id"] = json!("\u{1b}[2J\n".repeat(200)));
    assert!(owner.open().await.is_err());
    let house = house.restart().await;
    let lines = auth_lines(&house.home.state(), 100).unwrap().lines;
    assert_eq!(lines.len(), 1);
    assert!(lines[0].user_id.as_ref().is_some_and(|id| id.len() <= 260), "{lines:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d_75_a_refused_command_has_a_line_that_says_why_and_its_message_explains_it() {
    let model = ScriptedModel::queue([
        Reply::tool("read", &json!({"path": "AGENTS.md"})),
        Reply::tool("exec", &json!({"command": "ls", "directory": "/etc"})),
        Reply::text("done"),
    ]);
    let house = House::with(model).await;
    let mut client = house.client().await;
    let run = client.send_chat("main", "go").await;
    client.finish_chat(run.clone()).await;
    drop(client);
    let house = house.restart().await;
    let state = house.home.state();
    let lines = command_lines(&state, 100).unwrap().lines;
    let refused = lines.iter().find(|line| line.run_id.as_deref() == Some(run.as_str())).unwrap();
    assert_eq!((refused.command.as_str(), refused.approved, refused.exit_code), ("ls", false, None));
    assert_eq!(
        (refused.session_key.as_str(), refused.agent_id.as_deref()),
        ("agent:main:main", Some("main"))
    );
    assert!(refused.reason.as_ref().is_some_and(|reason| reason.contains("/etc")), "{refused:?}");
    let reader = moltbot_ledger::query::Reader::of(state.folder("ledger").unwrap());
    let explanation = moltbot_ledger::query::explain(&reader, &run).unwrap().unwrap();
    let root = &explanation.nodes[0];
    assert_eq!(root.record.action, "message.accept");
    assert_eq!(Some(&root.record.actor), explanation.sign_in.as_ref().map(|record| &record.actor));
    let actions: Vec<&str> = root.children.iter().map(|node| node.record.action.as_str()).collect();
    assert_eq!(actions, ["egress.open", "file.read", "command.start"]);
}
