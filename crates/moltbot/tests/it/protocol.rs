//! Our own client for protocols 3 and 4, with every kind of sign-in, against the real binary.

use moltbot_testkit::client::{Connect, Device, SignatureVersion};
use moltbot_testkit::home::Home;
use moltbot_testkit::model::{Reply, ScriptedModel, echo_of};
use moltbot_testkit::process::Gateway;
use serde_json::json;

fn gateway(model: &ScriptedModel) -> (Home, Gateway) {
    let home = Home::with_model(model);
    let gateway = Gateway::start(env!("CARGO_BIN_EXE_moltbot"), &home);
    (home, gateway)
}

#[tokio::test]
async fn every_kind_of_sign_in_completes_a_chat_under_both_protocols() {
    let model = ScriptedModel::echo();
    let (_home, gateway) = gateway(&model);
    let device = Device::from_seed(7);
    let versions = [None, Some(SignatureVersion::V1), Some(SignatureVersion::V2), Some(SignatureVersion::V3)];
    for protocol in [3, 4] {
        for version in versions {
            let connect =
                gateway.connect().protocols(protocol, protocol).scopes(&["operator.read", "operator.write"]);
            let connect = match version {
                None => connect,
                Some(version) => connect.device(&device, version),
            };
            let mut client =
                connect.open().await.unwrap_or_else(|error| panic!("{protocol} {version:?}: {error:?}"));
            assert_eq!(client.hello["protocol"], json!(protocol), "{version:?}");
            let text = format!("protocol {protocol} by {version:?}");
            let chat = client.chat("main", &text).await;
            assert_eq!((chat.state.as_str(), chat.text), ("final", echo_of(&text)));
        }
    }
}

#[tokio::test]
async fn deltas_grow_into_the_final_text() {
    let chunks: Vec<String> = (0..8).map(|n| format!("word{n} ")).collect();
    let whole = chunks.concat();
    let delay = std::time::Duration::from_millis(200);
    let model = ScriptedModel::queue([Reply::Slow { chunks, delay }]);
    let (_home, gateway) = gateway(&model);
    let mut client = gateway.connect().open().await.unwrap();
    let chat = client.chat("main", "slowly").await;
    assert_eq!(chat.state, "final");
    assert_eq!(chat.text.trim(), whole.trim());
    assert!(chat.deltas.len() >= 2, "{:?}", chat.deltas);
    assert!(chat.deltas.iter().all(|delta| whole.starts_with(delta.as_str())), "{:?}", chat.deltas);
}

#[tokio::test]
async fn b01_a_shared_token_reads_and_writes_but_does_not_rule() {
    let model = ScriptedModel::echo();
    let (_home, gateway) = gateway(&model);
    let client = gateway.connect().scopes(&["operator.admin", "operator.write"]).open().await.unwrap();
    let refused = client.call("sessions.reset", json!({"key": "main"})).await.unwrap_err();
    assert_eq!(refused.message, "missing scope: operator.admin");
    let device = Device::from_seed(9);
    let admin = gateway.connect().device(&device, SignatureVersion::V3).open().await.unwrap();
    assert!(admin.call("config.get", json!({})).await.is_ok());
}

#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "the test reads a log that the program wrote")]
async fn d_09_strangers_learn_nothing_and_are_stopped_after_five_tries() {
    let model = ScriptedModel::echo();
    let (home, gateway) = gateway(&model);
    let mut messages = std::collections::BTreeSet::new();
    // As many characters as the right one, and more bytes.
    let other = "é".repeat(home.token().unwrap().chars().count());
    let near = "q8Zr3VtLx0NwYbE5mKc7HdPfJ2sGuA9o1QiTeXyBvRN";
    for token in [None, Some("wrong"), Some(near), Some(other.as_str())] {
        let connect = Connect::to(gateway.port());
        let connect = if let Some(token) = token { connect.token(token) } else { connect };
        messages.insert(connect.open().await.err().unwrap().error.unwrap().message);
    }
    assert_eq!(messages.len(), 1, "failed sign-ins differ: {messages:?}");
    assert!(Connect::to(gateway.port()).token("wrong").open().await.is_err());
    let log = std::fs::read_to_string(home.state_path().join("logs/auth-audit.jsonl")).unwrap();
    assert_eq!(log.lines().filter(|line| line.contains("\"success\":false")).count(), 5, "{log}");
    let rejection = gateway.connect().open().await.err().unwrap();
    let error = rejection.error.unwrap();
    assert_eq!(
        serde_json::to_value(error.code).unwrap(),
        json!("RATE_LIMITED"),
        "even the right token waits: {error:?}"
    );
    assert!(error.retry_after_ms.is_some_and(|wait| wait <= 300_000), "{error:?}");
}
