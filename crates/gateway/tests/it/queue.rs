//! What becomes of messages that come while another is answered, through the gateway's own socket.

use std::time::Duration;

use moltbot_testkit::client::{Client, unique};
use moltbot_testkit::home::Home;
use moltbot_testkit::model::{ModelRequest, Reply, ScriptedModel};
use serde_json::{Value, json};

use crate::house::House;

/// A gateway with that model and these settings of messages.
async fn house(model: ScriptedModel, queue: Value) -> House {
    let home = Home::with_model(&model);
    home.change_config(|config| config["messages"] = json!({"queue": queue}));
    House::open(home, model).await
}

/// What the user says in a request to the model.
fn said(request: &ModelRequest) -> Vec<String> {
    let messages = request.messages();
    let users = messages.iter().filter(|message| message["role"] == "user");
    users.map(|message| message["content"].as_str().unwrap_or_default().to_owned()).collect()
}

/// How a run ended.
async fn ended(client: &Client, run: &str) -> String {
    let waited = client.call("agent.wait", json!({"runId": run, "timeoutMs": 30_000})).await.unwrap();
    // A run that was aborted ended with that as its error.
    let told = waited["error"].as_str().filter(|error| *error == "aborted").or(waited["status"].as_str());
    told.unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_said_meanwhile_is_answered_together() {
    let model = ScriptedModel::queue([Reply::Stall(vec!["busy".into()]), Reply::text("all of it")]);
    let house = house(model, json!({"byChannel": {"webchat": "collect"}, "debounceMs": 100})).await;
    let mut client = house.client().await;
    let first = client.send_chat("main", "one").await;
    client.delta_of(&first).await;
    let mut waiting = Vec::new();
    for text in ["two", "three", "four"] {
        waiting.push(client.send_chat("main", text).await);
    }
    let own = json!({"sessionKey": "main", "message": "/allowance", "idempotencyKey": unique("own")});
    client.call("chat.send", own).await.unwrap();
    client.call("chat.abort", json!({"sessionKey": "main", "runId": first})).await.unwrap();
    let last = waiting.pop().unwrap();
    assert_eq!(client.finish_chat(last).await.text, "all of it");
    for run in &waiting {
        assert_eq!(ended(&client, run).await, "ok", "{run}");
    }
    let requests = house.model.requests();
    assert_eq!(requests.len(), 2, "three messages, one answer");
    assert_eq!(said(&requests[1]), ["one", "two", "three", "four"]);
    let history = client.call("chat.history", json!({"sessionKey": "main"})).await.unwrap();
    let roles: Vec<&str> =
        history["messages"].as_array().unwrap().iter().map(|said| said["role"].as_str().unwrap()).collect();
    assert_eq!(roles, ["user", "assistant", "user", "user", "user", "assistant"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_the_web_chat_each_is_answered_by_itself_until_a_session_says_otherwise() {
    let house = House::echo().await;
    let mut client = house.client().await;
    let mut runs = Vec::new();
    for text in ["one", "two", "three"] {
        runs.push(client.send_chat("main", text).await);
    }
    for run in runs {
        assert!(!client.finish_chat(run).await.text.is_empty());
    }
    assert_eq!(house.model.requests().len(), 3);
    let queue = json!({"sessionKey": "main", "message": "/queue steer cap:5", "idempotencyKey": unique("q")});
    let answered = client.call("chat.send", queue.clone()).await.unwrap();
    let told = client.finish_chat(answered["runId"].as_str().unwrap().to_owned()).await.text;
    assert!(told.starts_with("queue: steer debounce:1000ms cap:5 drop:summarize\n"), "{told}");
    let patched = client.call("sessions.patch", json!({"key": "main", "queueDrop": "old"})).await.unwrap();
    assert_eq!(
        (&patched["entry"]["queueMode"], &patched["entry"]["queueDrop"]),
        (&json!("steer"), &json!("old"))
    );
    for wrong in [json!({"queueMode": "fast"}), json!({"queueCap": 0}), json!({"queueDebounceMs": "x"})] {
        let mut params = json!({"key": "main"});
        params.as_object_mut().unwrap().extend(wrong.as_object().unwrap().clone());
        assert!(client.call("sessions.patch", params).await.is_err(), "{wrong}");
    }
    let back = json!({"key": "main", "queueMode": null, "queueCap": null, "queueDrop": null});
    let patched = client.call("sessions.patch", back).await.unwrap();
    assert_eq!(patched["entry"].get("queueMode"), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_model_at_its_work_is_told_what_comes() {
    let (release, held) = std::sync::mpsc::channel::<()>();
    let held = std::sync::Mutex::new(held);
    let script = move |request: &ModelRequest| {
        if request.tool_results().is_empty() {
            held.lock().unwrap().recv_timeout(Duration::from_secs(30)).unwrap();
            Reply::tool("read", &json!({"path": "nothing.txt"}))
        } else {
            Reply::text("both")
        }
    };
    let house = house(ScriptedModel::answering(script), json!({"byChannel": {"webchat": "steer"}})).await;
    let mut client = house.client().await;
    let first = client.send_chat("main", "one").await;
    house.model.wait_for_requests(1);
    let second = client.send_chat("main", "two").await;
    release.send(()).unwrap();
    assert_eq!(client.finish_chat(first).await.text, "both");
    assert_eq!(ended(&client, &second).await, "ok");
    let requests = house.model.requests();
    assert_eq!(requests.len(), 2, "it has no turn of its own");
    assert_eq!(said(&requests[1]), ["one", "two"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_message_interrupts_the_answer_under_way() {
    let model = ScriptedModel::queue([Reply::Stall(vec!["busy".into()]), Reply::text("now this")]);
    let house = house(model, json!({"byChannel": {"webchat": "interrupt"}, "debounceMs": 0})).await;
    let mut client = house.client().await;
    let first = client.send_chat("main", "one").await;
    client.delta_of(&first).await;
    let second = client.send_chat("main", "two").await;
    assert_eq!(client.finish_chat(second).await.text, "now this");
    assert_eq!(house.store.pending().await.unwrap().len(), 0);
    house.model.wait_for_hang_ups(1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_too_many_that_wait_one_gets_no_answer_and_is_kept() {
    for (drop, lost) in [("old", 0), ("new", 2), ("summarize", 0)] {
        let model = ScriptedModel::queue([Reply::Stall(vec!["busy".into()]), Reply::text("the rest")]);
        let queue = json!({"byChannel": {"webchat": "collect"}, "cap": 2, "drop": drop, "debounceMs": 0});
        let house = house(model, queue).await;
        let mut client = house.client().await;
        let first = client.send_chat("main", "one").await;
        client.delta_of(&first).await;
        let mut waiting = Vec::new();
        for text in ["two", "three", "four"] {
            waiting.push(client.send_chat("main", text).await);
        }
        assert_eq!(ended(&client, &waiting[lost]).await, "aborted", "{drop}");
        client.call("chat.abort", json!({"sessionKey": "main", "runId": first})).await.unwrap();
        for (number, run) in waiting.iter().enumerate().filter(|(number, _)| *number != lost) {
            assert_eq!(ended(&client, run).await, "ok", "{drop} {number}");
        }
        let history = client.call("chat.history", json!({"sessionKey": "main"})).await.unwrap();
        let kept = history["messages"].as_array().unwrap().iter().filter(|said| said["role"] == "user");
        assert_eq!(kept.count(), 4, "{drop}: every message stays in the transcript");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_more_turns_run_at_once_than_may() {
    let (release, held) = std::sync::mpsc::channel::<()>();
    let held = std::sync::Mutex::new(held);
    let model = ScriptedModel::answering(move |request| {
        if request.last_user_text() == "hold" {
            held.lock().unwrap().recv_timeout(Duration::from_secs(30)).unwrap();
        }
        Reply::text("done")
    });
    let home = Home::with_model(&model);
    home.change_config(|config| config["agents"]["defaults"]["maxConcurrent"] = json!(1));
    let house = House::open(home, model).await;
    let mut client = house.client().await;
    let first = client.send_chat("one", "hold").await;
    house.model.wait_for_requests(1);
    let second = client.send_chat("two", "hello").await;
    let third = client.send_chat("three", "hello").await;
    let wait = json!({"runId": second, "timeoutMs": 500});
    assert_eq!(client.call("agent.wait", wait).await.unwrap()["status"], "timeout");
    // Whoever stops a turn that waits need not wait for a place.
    client.call("chat.abort", json!({"sessionKey": "three", "runId": third})).await.unwrap();
    assert_eq!(ended(&client, &third).await, "aborted");
    assert_eq!(house.model.requests().len(), 1);
    release.send(()).unwrap();
    assert_eq!(ended(&client, &first).await, "ok");
    assert_eq!(ended(&client, &second).await, "ok");
}
