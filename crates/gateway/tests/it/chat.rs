use std::time::Duration;

use moltbot_testkit::client::{Connect, unique};
use moltbot_testkit::model::{Reply, ScriptedModel, echo_of};
use serde_json::{Value, json};

use crate::house::House;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_becomes_deltas_and_a_final_answer_in_both_protocols() {
    let script = |_: &moltbot_testkit::model::ModelRequest| Reply::Slow {
        chunks: vec!["one ".into(), "two ".into(), "three".into()],
        delay: Duration::from_millis(200),
    };
    let house = House::with(ScriptedModel::answering(script)).await;
    for protocol in [3, 4] {
        let mut client = house.owner().protocols(protocol, protocol).open().await.unwrap();
        let chat = client.chat("main", "count").await;
        assert_eq!((chat.state.as_str(), chat.text.as_str()), ("final", "one two three"));
        assert!(chat.deltas.len() >= 2, "{:?}", chat.deltas);
        for delta in &chat.deltas {
            assert!("one two three".starts_with(delta.as_str()), "a delta is all the text so far: {delta}");
        }
        assert_eq!(chat.end["stopReason"], "stop");
        let history = client.call("chat.history", json!({"sessionKey": "main"})).await.unwrap();
        assert_eq!(history["sessionKey"], "agent:main:main");
        let last = history["messages"].as_array().unwrap().last().unwrap().clone();
        assert_eq!(last["content"], json!([{"type": "text", "text": "one two three"}]));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_are_numbered_without_a_gap_and_tell_the_whole_run() {
    let house = House::echo().await;
    let mut client = house.client().await;
    let run = client.send_chat("main", "hello").await;
    let (mut seqs, mut told) = (Vec::new(), Vec::new());
    loop {
        let event = client.next_event().await.unwrap();
        seqs.extend(event.seq);
        let payload = event.payload.unwrap_or_default();
        if payload["runId"] != json!(run) {
            continue;
        }
        told.push(match event.event.as_str() {
            "agent" => format!("{} {}", payload["stream"], payload["data"]["phase"]).replace('"', ""),
            _ => payload["state"].as_str().unwrap().to_owned(),
        });
        if payload["state"] == "final" {
            break;
        }
    }
    assert_eq!(told, ["lifecycle start", "assistant null", "delta", "lifecycle end", "final"]);
    assert!(seqs.windows(2).all(|pair| pair[1] == pair[0] + 1), "{seqs:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_key_is_the_same_message() {
    let house =
        House::with(ScriptedModel::queue([Reply::Stall(vec!["a".into()]), Reply::text("second")])).await;
    let mut client = house.client().await;
    let params = json!({"sessionKey": "main", "message": "hi", "idempotencyKey": "k1"});
    let send = async |client: &moltbot_testkit::client::Client| {
        client.call("chat.send", params.clone()).await.unwrap()
    };
    assert_eq!(send(&client).await, json!({"runId": "k1", "status": "started"}));
    assert_eq!(send(&client).await, json!({"runId": "k1", "status": "in_flight"}));
    client.delta_of("k1").await;
    let aborted = client.call("chat.abort", json!({"sessionKey": "main", "runId": "k1"})).await.unwrap();
    assert_eq!(aborted, json!({"ok": true, "aborted": true, "runIds": ["k1"]}));
    assert_eq!(client.finish_chat("k1".into()).await.state, "aborted");
    assert_eq!(send(&client).await["status"], "aborted");
    let second = client.chat("main", "again").await;
    assert_eq!(second.text, "second");
    let params = json!({"sessionKey": "main", "message": "again", "idempotencyKey": second.run});
    assert_eq!(client.call("chat.send", params).await.unwrap()["status"], "ok");
    assert_eq!(house.model.requests().len(), 2, "a message that came twice was answered once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn turns_of_a_session_wait_for_each_other_and_sessions_do_not() {
    let house = House::with(ScriptedModel::queue([
        Reply::Stall(vec!["busy".into()]),
        Reply::text("other session"),
        Reply::text("after"),
    ]))
    .await;
    let mut client = house.client().await;
    let first = client.send_chat("main", "one").await;
    client.delta_of(&first).await;
    let waiting = client.send_chat("main", "two").await;
    assert_eq!(client.chat("notes", "three").await.text, "other session");
    assert_eq!(house.model.requests().len(), 2, "the second message of the session waits");
    let abort = json!({"sessionKey": "main", "runId": first});
    client.call("chat.abort", abort).await.unwrap();
    assert_eq!(client.finish_chat(waiting).await.text, "after");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_word_stops_what_runs_and_what_waits() {
    let house = House::with(ScriptedModel::queue([Reply::Stall(vec!["a".into()])])).await;
    let mut client = house.client().await;
    let first = client.send_chat("main", "one").await;
    client.delta_of(&first).await;
    let second = client.send_chat("main", "two").await;
    let stop = json!({"sessionKey": "main", "message": "/stop", "idempotencyKey": unique("stop")});
    let stopped = client.call("chat.send", stop).await.unwrap();
    assert_eq!((&stopped["ok"], &stopped["aborted"]), (&json!(true), &json!(true)));
    assert_eq!(stopped["runIds"].as_array().unwrap().len(), 2);
    assert_eq!(client.finish_chat(first).await.state, "aborted");
    assert_eq!(client.finish_chat(second).await.state, "aborted");
    house.model.wait_for_hang_ups(1);
    assert_eq!(house.model.requests().len(), 1, "what waited was never asked");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_is_stopped_only_through_its_own_session() {
    let house = House::with(ScriptedModel::queue([Reply::Stall(vec!["a".into()])])).await;
    let client = house.client().await;
    let params = json!({"sessionKey": "main", "message": "hi", "idempotencyKey": "k1"});
    client.call("chat.send", params).await.unwrap();
    let wrong = json!({"sessionKey": "notes", "runId": "k1"});
    let error = client.call("chat.abort", wrong).await.unwrap_err();
    assert_eq!(error.message, "runId does not match sessionKey");
    let nothing = client.call("chat.abort", json!({"sessionKey": "main", "runId": "k2"})).await.unwrap();
    assert_eq!(nothing, json!({"ok": true, "aborted": false, "runIds": []}));
    let all = client.call("chat.abort", json!({"sessionKey": "main"})).await.unwrap();
    assert_eq!(all, json!({"ok": true, "aborted": true, "runIds": ["k1"]}));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn agent_answers_twice_and_agent_wait_hears_the_end() {
    let house = House::echo().await;
    let client = house.client().await;
    let params = json!({"message": "hello", "idempotencyKey": "r1", "sessionKey": "notes"});
    let (accepted, result) = client.call_twice("agent", params.clone()).await;
    let accepted = accepted.unwrap();
    assert_eq!((&accepted["runId"], &accepted["status"]), (&json!("r1"), &json!("accepted")));
    assert!(accepted["acceptedAt"].is_u64());
    let result = result.unwrap().unwrap();
    assert_eq!((&result["status"], &result["summary"]), (&json!("ok"), &json!("completed")));
    assert_eq!(result["result"]["payloads"], json!([{"text": echo_of("hello"), "mediaUrl": null}]));
    let meta = &result["result"]["meta"]["agentMeta"];
    assert_eq!(meta["sessionKey"], "agent:main:notes");
    assert_eq!((&meta["provider"], &meta["model"]), (&json!("scripted"), &json!("scripted")));
    let waited = client.call("agent.wait", json!({"runId": "r1"})).await.unwrap();
    assert_eq!(waited["status"], "ok");
    assert!(waited["endedAt"].is_u64());
    let again = client.call("agent", params).await.unwrap();
    assert_eq!(again["result"]["payloads"][0]["text"], json!(echo_of("hello")), "told from the store");
    let by_id = json!({"message": "more", "idempotencyKey": "r2", "sessionId": meta["sessionId"]});
    let (_, result) = client.call_twice("agent", by_id).await;
    assert_eq!(result.unwrap().unwrap()["result"]["meta"]["agentMeta"]["sessionKey"], "agent:main:notes");
    let error = client.call("agent.wait", json!({"runId": "nobody"})).await.unwrap_err();
    assert_eq!(error.message, "no run has the id \"nobody\"");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_turn_that_fails_says_what_to_do() {
    let house = House::with(ScriptedModel::queue([Reply::status(401, "no"), Reply::status(401, "no")])).await;
    let mut client = house.client().await;
    let chat = client.chat("main", "hi").await;
    assert_eq!(chat.state, "error");
    let told = chat.end["errorMessage"].as_str().unwrap();
    assert!(told.contains("did not accept"), "{told}");
    let (_, result) = client.call_twice("agent", json!({"message": "hi", "idempotencyKey": "r1"})).await;
    let error = result.unwrap().unwrap_err();
    assert!(error.message.contains("did not accept"), "{error:?}");
    assert_eq!(error.details.unwrap()["status"], "error");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_sent_is_refused_before_it_is_kept() {
    let house = House::echo().await;
    let client = house.client().await;
    for (change, expected) in [
        (json!({"message": ""}), "message is empty"),
        (json!({"message": "x".repeat(200_001)}), "message has 200001 characters"),
        (json!({"attachments": [{"type": "image"}]}), "attachment 1 has no `content`"),
        (json!({"attachments": [{"type": "image", "content": "aGk="}]}), "attachment 1 is no picture"),
        (json!({"sessionKey": "agent:nobody:main"}), "agent \"nobody\" does not exist; there is: main"),
        (json!({"sessionKey": ""}), "session key is not valid"),
        (json!({"idempotencyKey": ""}), "run id is not valid"),
        (json!({"admin": true}), "invalid chat.send params: unknown field `admin`"),
    ] {
        let mut params = json!({"sessionKey": "main", "message": "hi", "idempotencyKey": unique("k")});
        for (name, value) in change.as_object().unwrap() {
            params[name] = value.clone();
        }
        let error = client.call("chat.send", params).await.unwrap_err();
        assert!(error.message.starts_with(expected), "{}", error.message);
    }
    let sessions = client.call("sessions.list", json!({})).await.unwrap();
    assert_eq!(sessions["count"], 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_hears_but_cannot_speak() {
    let house = House::echo().await;
    let reader = Connect::to(house.port()).token(&house.token()).change(|params| {
        params["scopes"] = json!(["operator.read"]);
    });
    let mut reader = reader.open().await.unwrap();
    let params = json!({"sessionKey": "main", "message": "hi", "idempotencyKey": "k"});
    let error = reader.call("chat.send", params).await.unwrap_err();
    assert_eq!(error.message, "missing scope: operator.write");
    let mut owner = house.client().await;
    let run = owner.send_chat("main", "hello").await;
    let heard: Value = loop {
        let event = reader.event("chat").await;
        if event["state"] == "final" {
            break event;
        }
    };
    assert_eq!(heard["runId"], json!(run));
}
