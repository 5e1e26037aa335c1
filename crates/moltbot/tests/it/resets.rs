//! A conversation that is begun anew, through the real binary: by its time, by what is said, and by nobody who may not.
//!
//! The clock stands still for this: what was said is made older, while no gateway runs.

use moltbot_testkit::client::{Client, Device, SignatureVersion, unique};
use moltbot_testkit::home::Home;
use moltbot_testkit::model::ScriptedModel;
use moltbot_testkit::process::Gateway;
use moltbot_testkit::raw::http;
use moltbot_testkit::telegram::{Person, TelegramApi};
use rusqlite::Connection;
use serde_json::{Value, json};

use crate::program::book;

const PROGRAM: &str = env!("CARGO_BIN_EXE_moltbot");
const HOOK_TOKEN: &str = "Zr3VtLx0NwYbE5mKc7HdPfJ2sGuA9o1QiTeXyBvRMq8";
const HOUR: i64 = 3_600_000;

/// Everything that was said becomes that much older.
fn age(home: &Home, by_ms: i64) {
    let database = Connection::open(home.state_path().join("state.db")).unwrap();
    database
        .execute("UPDATE turns SET accepted_ms = accepted_ms - ?1, ended_ms = ended_ms - ?1", [by_ms])
        .unwrap();
    database
        .execute("UPDATE sessions SET created_ms = created_ms - ?1, updated_ms = updated_ms - ?1", [by_ms])
        .unwrap();
}

/// How many messages the state db has of a session, whoever may read them.
fn kept(home: &Home, session_id: &str) -> i64 {
    let database = Connection::open(home.state_path().join("state.db")).unwrap();
    let count = "SELECT count(*) FROM messages JOIN sessions ON sessions.id = session WHERE session_id = ?1";
    database.query_row(count, [session_id], |row| row.get(0)).unwrap()
}

async fn session_id(client: &Client, key: &str) -> String {
    let described = client.call("sessions.describe", json!({"key": key})).await.unwrap();
    described["session"]["sessionId"].as_str().unwrap().to_owned()
}

/// The owner's client, which administers.
async fn owner(gateway: &Gateway) -> Client {
    gateway.connect().device(&Device::from_seed(1), SignatureVersion::V3).open().await.unwrap()
}

/// Restarts the gateway with everything that much older.
async fn later(gateway: &mut Gateway, home: &Home, by_ms: i64) -> Client {
    assert!(gateway.terminate().success());
    age(home, by_ms);
    gateway.restart(home);
    owner(gateway).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_next_day_begins_a_new_conversation_and_keeps_the_one_before() {
    let model = ScriptedModel::echo();
    let home = Home::with_model(&model);
    let mut gateway = Gateway::start(PROGRAM, &home);
    let mut client = owner(&gateway).await;
    let patch = json!({"key": "main", "label": "Diary", "thinkingLevel": "high"});
    client.call("sessions.patch", patch).await.unwrap();
    let first = json!({"sessionKey": "main", "message": "my name is Ada", "idempotencyKey": "first"});
    client.call("chat.send", first.clone()).await.unwrap();
    client.finish_chat("first".into()).await;
    let before = session_id(&client, "main").await;
    let mut client = later(&mut gateway, &home, 25 * HOUR).await;
    // A message that comes twice is an old one, and begins nothing.
    assert_eq!(client.call("chat.send", first).await.unwrap()["status"], "ok");
    assert_eq!(session_id(&client, "main").await, before);
    client.chat("main", "what is my name?").await;
    let after = session_id(&client, "main").await;
    assert_ne!(after, before);
    let told = model.requests().pop().unwrap().messages();
    assert!(!json!(told).to_string().contains("Ada"), "{told:?}");
    assert_eq!(kept(&home, &before), 2, "what was said is kept");
    let described = client.call("sessions.describe", json!({"key": "main"})).await.unwrap();
    assert_eq!(
        (&described["session"]["label"], &described["session"]["thinkingLevel"]),
        (&json!("Diary"), &json!("high"))
    );
    // The same day goes on.
    client.chat("main", "and now?").await;
    assert_eq!(session_id(&client, "main").await, after);
    let resets = book(&home, "session.reset");
    assert_eq!(resets.len(), 1, "{resets:?}");
    assert_eq!(
        (&resets[0]["actor"], &resets[0]["details"]["reason"]),
        (&json!("gateway"), &json!("a new day"))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silence_ends_a_conversation_only_where_the_config_says_so() {
    let model = ScriptedModel::echo();
    let home = Home::with_model(&model);
    home.change_config(|config| {
        config["session"] = json!({
            "reset": {"mode": "idle", "idleMinutes": 10_000}, "resetByChannel": {"webchat": {"mode": "idle", "idleMinutes": 90}},
        });
    });
    let mut gateway = Gateway::start(PROGRAM, &home);
    let mut client = owner(&gateway).await;
    client.chat("main", "one").await;
    let before = session_id(&client, "main").await;
    let mut client = later(&mut gateway, &home, HOUR).await;
    client.chat("main", "two").await;
    assert_eq!(session_id(&client, "main").await, before, "an hour is no silence");
    let mut client = later(&mut gateway, &home, 2 * HOUR).await;
    client.chat("main", "three").await;
    assert_ne!(session_id(&client, "main").await, before);
    assert_eq!(kept(&home, &before), 4);
}

/// What was taken and not answered is answered where it was said, however long that was ago.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_waited_over_night_is_answered_in_its_own_conversation() {
    let model = ScriptedModel::answering(|request| match request.last_user_text().as_str() {
        text if text.contains("slow") => moltbot_testkit::model::Reply::status(503, "later"),
        text => moltbot_testkit::model::Reply::text(text),
    });
    let home = Home::with_model(&model);
    let mut gateway = Gateway::start(PROGRAM, &home);
    let mut client = owner(&gateway).await;
    client.chat("main", "one").await;
    let before = session_id(&client, "main").await;
    client.send_chat("main", "slow").await;
    model.wait_for_requests(2);
    gateway.kill9();
    age(&home, 30 * HOUR);
    gateway.restart(&home);
    let mut client = owner(&gateway).await;
    client.chat("main", "three").await;
    // Whether the older one had its end by then or not, nothing of it is lost.
    assert!(kept(&home, &before) >= 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_said_begins_a_new_conversation_for_who_may() {
    let (api, model) = (TelegramApi::start(), ScriptedModel::echo());
    let home = Home::with_model(&model);
    home.change_config(|config| {
        config["channels"] = json!({"telegram": {
            "botToken": api.token(), "apiRoot": api.root(), "allowFrom": [500, 1001],
        }});
        config["session"] = json!({"resetTriggers": ["/new", "fresh start"]});
        config["commands"] = json!({"ownerAllowFrom": ["telegram:default:user:500"]});
        config["hooks"] = json!({"enabled": true, "token": HOOK_TOKEN});
    });
    let gateway = Gateway::start(PROGRAM, &home);
    let mut client = owner(&gateway).await;
    client.chat("main", "one").await;
    let first = session_id(&client, "main").await;
    // With words behind it they are said in the new conversation, once, however often they are sent.
    for _ in 0..2 {
        let params = json!({"sessionKey": "main", "message": "/new two", "idempotencyKey": "two"});
        client.call("chat.send", params).await.unwrap();
    }
    client.finish_chat("two".into()).await;
    let second = session_id(&client, "main").await;
    assert_ne!(second, first);
    assert!(model.requests().last().unwrap().last_user_text().contains("two"));
    assert_eq!(book(&home, "session.reset").len(), 1);
    let asked = model.requests().len();
    let run = unique("run");
    let alone = json!({"sessionKey": "main", "message": "Fresh start", "idempotencyKey": run});
    assert_eq!(client.call("chat.send", alone).await.unwrap()["status"], "ok");
    assert_eq!(client.finish_chat(run).await.text, "A new conversation has begun.");
    let third = session_id(&client, "main").await;
    assert_ne!(third, second);
    // Who may only write, a hook, and who shares the main conversation begin nothing.
    let writer = gateway.connect().scopes(&["operator.write", "operator.read"]).open().await.unwrap();
    let params = json!({"sessionKey": "main", "message": "/new", "idempotencyKey": unique("k")});
    let refused = writer.call("chat.send", params).await.unwrap_err();
    assert!(refused.message.contains("missing scope: operator.admin"), "{}", refused.message);
    let bearer = format!("Bearer {HOOK_TOKEN}");
    let headers = [("authorization", bearer.as_str())];
    let body = json!({"text": "/new"}).to_string();
    let answer = http(gateway.port(), "POST", "/hooks/wake", &headers, body.as_bytes());
    assert_eq!(answer.status, 200, "{}", answer.text());
    model.wait_for_requests(asked + 1);
    api.write(&Person::new(1001, "Ann", Some("ann")), "fresh start");
    assert!(api.wait_for_sent(1001, 1)[0].text.contains("is the owner's"));
    assert_eq!(session_id(&client, "main").await, third);
    api.write(&Person::new(500, "Olga", None), "fresh start");
    assert!(api.wait_for_sent(500, 1)[0].text.contains("A new conversation has begun."));
    assert_ne!(session_id(&client, "main").await, third);
    let actors: Vec<Value> = book(&home, "session.reset").iter().map(|line| line["actor"].clone()).collect();
    assert_eq!(actors.len(), 3, "{actors:?}");
    assert_eq!(actors[2], "telegram:default:user:500", "{actors:?}");
}
