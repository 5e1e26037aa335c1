use moltbot_testkit::home::PROVIDER_KEY;
use serde_json::{Value, json};

use crate::house::House;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_method_answers_in_the_shape_that_clients_read() {
    let house = House::echo().await;
    let mut client = house.client().await;
    client.chat("main", "hello").await;
    client.chat("notes", "list").await;
    let session = json!({"key": "agent:main:notes"});
    for (method, params, members) in [
        (
            "health",
            json!({}),
            "agents channelLabels channelOrder channels defaultAgentId durationMs heartbeatSeconds ledger ok sandbox sessions store ts",
        ),
        (
            "status",
            json!({}),
            "channelSummary connections heartbeat ledger ledgerFlushes model pid port queuedSystemEvents runs sandbox sessions storeCommits uptimeMs version",
        ),
        ("agents.list", json!({}), "agents defaultId mainKey scope"),
        ("models.list", json!({}), "models"),
        ("models.test", json!({}), "durationMs model ok provider text usage"),
        ("sessions.list", json!({"includeGlobal": false}), "count defaults path sessions ts"),
        ("sessions.preview", json!({"keys": ["main", "nothing"]}), "previews ts"),
        (
            "chat.history",
            json!({"sessionKey": "main", "limit": 10}),
            "messages sessionId sessionKey thinkingLevel",
        ),
        ("config.get", json!({}), "config exists issues legacyIssues parsed path raw valid warnings"),
        ("sessions.reset", session.clone(), "entry key ok"),
        ("sessions.delete", session, "archived deleted key ok"),
    ] {
        let answer = client.call(method, params).await.unwrap_or_else(|error| panic!("{method}: {error:?}"));
        let found: Vec<&str> = answer.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(found.join(" "), members, "{method}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_config_is_shown_without_its_secrets() {
    let house = House::echo().await;
    let config = house.client().await.call("config.get", json!({})).await.unwrap();
    assert_eq!(config["config"]["gateway"]["port"], json!(house.port()));
    let text = config.to_string();
    assert!(!text.contains(&house.token()), "the gateway's token");
    assert!(!text.contains(PROVIDER_KEY), "the provider's key");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_are_listed_previewed_begun_anew_and_deleted() {
    let house = House::echo().await;
    let mut client = house.client().await;
    client.chat("main", "hello").await;
    client.chat("notes", "a list").await;
    let list = client.call("sessions.list", json!({"includeDerivedTitles": true, "search": "NOTES"})).await;
    let list = list.unwrap();
    assert_eq!(list["count"], 1);
    let row = &list["sessions"][0];
    assert_eq!((&row["key"], &row["derivedTitle"]), (&json!("agent:main:notes"), &json!("a list")));
    assert_eq!((&row["kind"], &row["messageCount"]), (&json!("direct"), &json!(2)));
    let keys = json!({"keys": ["notes", "nothing"], "maxChars": 4});
    let previews = client.call("sessions.preview", keys).await.unwrap();
    let items = json!([{"role": "user", "text": "a li"}, {"role": "assistant", "text": "echo"}]);
    assert_eq!(previews["previews"][0], json!({"key": "notes", "status": "ok", "items": items}));
    assert_eq!(previews["previews"][1]["status"], "missing");
    client.chat("notes", &"x".repeat(5000)).await;
    let keys = json!({"keys": vec!["notes"; 64], "limit": 100, "maxChars": 10_000});
    let previews = client.call("sessions.preview", keys).await.unwrap();
    let longest = previews["previews"][63]["items"].as_array().unwrap().iter();
    let longest = longest.map(|item| item["text"].as_str().unwrap().len()).max();
    assert_eq!(longest, Some(1_000_000 / 6400), "all texts of an answer have a limit together");

    let reset = client.call("sessions.reset", json!({"key": "notes"})).await.unwrap();
    assert_ne!(reset["entry"]["sessionId"], row["sessionId"]);
    let history = client.call("chat.history", json!({"sessionKey": "notes"})).await.unwrap();
    assert_eq!(history["messages"], json!([]));
    let deleted = client.call("sessions.delete", json!({"key": "notes"})).await.unwrap();
    assert_eq!(deleted["deleted"], true);
    let again = client.call("sessions.delete", json!({"key": "notes"})).await.unwrap();
    assert_eq!(again["deleted"], false);
    let error = client.call("sessions.delete", json!({"key": "main"})).await.unwrap_err();
    assert_eq!(error.message, "Cannot delete the main session (agent:main:main).");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_sandbox_is_tried_after_the_socket_answers() {
    let house = House::echo().await;
    let mut client = house.client().await;
    let mut state = Value::Null;
    for _ in 0..100 {
        state = client.call("health", json!({})).await.unwrap()["sandbox"]["state"].clone();
        if state != json!("probing") {
            break;
        }
        client.event("health").await;
    }
    assert!(state == json!("ready") || state == json!("unavailable"), "{state}");
}
