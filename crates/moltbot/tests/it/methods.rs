//! What clients call, on the wire of the real program: who may, and what they see.

use std::io::Write as _;

use moltbot_protocol::method::Method;
use moltbot_protocol::scope::Scope;
use moltbot_testkit::client::{Device, SignatureVersion};
use moltbot_testkit::home::{Home, PROVIDER_KEY};
use moltbot_testkit::model::ScriptedModel;
use moltbot_testkit::process::Gateway;
use serde_json::json;

const PAGE: &str = include_str!("../../../../docs/reference/access.md");

/// What the golden table says of a method: for each scope, in the order of [`Scope::ALL`], whether it is enough.
fn golden(method: Method) -> Vec<bool> {
    let begin = format!("| `{}` |", method.name());
    let row = PAGE.lines().find(|line| line.starts_with(&begin)).unwrap();
    row.split('|').skip(2).take(Scope::ALL.len()).map(|cell| cell.trim() == "yes").collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b13_every_method_is_refused_to_every_scope_that_is_not_enough() {
    let model = ScriptedModel::echo();
    let home = Home::with_model(&model);
    let gateway = Gateway::start(env!("CARGO_BIN_EXE_moltbot"), &home);
    let scopes = Scope::ALL.map(|scope| Some(scope.name())).into_iter().chain([None]);
    for (place, scope) in scopes.enumerate() {
        let device = Device::from_seed(u8::try_from(place).unwrap() + 1);
        let asked: Vec<&str> = scope.into_iter().collect();
        let connect = gateway.connect().device(&device, SignatureVersion::V3).scopes(&asked);
        let client = connect.open().await.unwrap_or_else(|error| panic!("{scope:?}: {error:?}"));
        for method in Method::ALL {
            // What is missing here is the parameters, if it is not the scope.
            let answer = client.call(method.name(), json!({})).await;
            let missing = match method.scope() {
                Scope::Node => "unauthorized role: operator".to_owned(),
                scope => format!("missing scope: {}", scope.name()),
            };
            let refused = answer.is_err_and(|error| error.message == missing);
            let enough = scope.is_some() && golden(*method)[place];
            assert_eq!(refused, !enough, "{} with {scope:?}", method.name());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(
    clippy::disallowed_methods,
    reason = "the test writes into the log what an older program might have"
)]
async fn the_log_is_shown_from_where_the_client_left_and_never_a_secret() {
    let model = ScriptedModel::echo();
    let home = Home::with_model(&model);
    let gateway = Gateway::start(env!("CARGO_BIN_EXE_moltbot"), &home);
    let client = gateway.connect().scopes(&["operator.read"]).open().await.unwrap();
    let first = client.call("logs.tail", json!({})).await.unwrap();
    assert_eq!(first["file"], "logs/gateway.jsonl", "no path of this machine");
    assert!(first["lines"].to_string().contains("the gateway listens"), "{first}");
    let log = home.state_path().join("logs/gateway.jsonl");
    let mut log = std::fs::OpenOptions::new().append(true).open(log).unwrap();
    writeln!(log, r#"{{"message":"asked with Authorization: Bearer {PROVIDER_KEY}"}}"#).unwrap();
    let more = client.call("logs.tail", json!({"cursor": first["cursor"], "limit": 5000})).await.unwrap();
    let lines = more["lines"].to_string();
    assert!(lines.contains("asked with") && !lines.contains("the gateway listens"), "{lines}");
    assert!(!lines.contains(PROVIDER_KEY) && lines.contains("***"), "{lines}");
    for text in [first.to_string(), more.to_string()] {
        assert!(!text.contains(gateway.token()), "{text}");
    }
}
