use moltbot_testkit::model::{Reply, ScriptedModel, echo_of};
use serde_json::{Value, json};

use crate::house::House;

const PATH: &str = "/v1/chat/completions";

fn said(text: &str) -> Value {
    json!({"model": "moltbot", "messages": [{"role": "user", "content": text}]})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_completion_is_answered_whole_with_usage_and_reason() {
    let house = House::echo().await;
    let answer = house.request("POST", PATH, &said("hello")).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let body = answer.json();
    assert_eq!((&body["object"], &body["model"]), (&json!("chat.completion"), &json!("moltbot")));
    let choice = &body["choices"][0];
    assert_eq!(choice["message"]["content"], json!(echo_of("hello")));
    assert_eq!(choice["finish_reason"], "stop");
    assert_eq!(body["usage"], json!({"prompt_tokens": 12, "completion_tokens": 5, "total_tokens": 17}));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_completion_is_streamed_in_chunks() {
    let house = House::with(ScriptedModel::queue([Reply::words("one two three")])).await;
    let mut body = said("count");
    body["stream"] = json!(true);
    body["stream_options"] = json!({"include_usage": true});
    let answer = house.request("POST", PATH, &body).await;
    assert_eq!(answer.header("content-type"), Some("text/event-stream; charset=utf-8"));
    let events = answer.events();
    assert_eq!(events.last().map(String::as_str), Some("[DONE]"));
    let chunks: Vec<Value> =
        events[..events.len() - 1].iter().map(|event| serde_json::from_str(event).unwrap()).collect();
    assert_eq!(chunks[0]["choices"][0]["delta"], json!({"role": "assistant", "content": ""}));
    let text: String =
        chunks.iter().filter_map(|chunk| chunk["choices"][0]["delta"]["content"].as_str()).collect();
    assert_eq!(text, "one two three");
    let reasons: Vec<&Value> = chunks
        .iter()
        .map(|chunk| &chunk["choices"][0]["finish_reason"])
        .filter(|reason| !reason.is_null())
        .collect();
    assert_eq!(reasons, [&json!("stop")]);
    let last = chunks.last().unwrap();
    assert_eq!((&last["choices"], &last["usage"]["total_tokens"]), (&json!([]), &json!(17)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_conversation_is_kept_by_user_or_key_and_else_told_by_the_caller() {
    let house = House::echo().await;
    let mut body = said("one");
    body["user"] = json!("Ann");
    house.request("POST", PATH, &body).await;
    body["messages"][0]["content"] = json!("two");
    house.request("POST", PATH, &body).await;
    let asked = house.model.requests().last().unwrap().messages();
    let texts: Vec<String> = asked.iter().map(Value::to_string).collect();
    assert!(texts.iter().any(|text| text.contains("echo: one")), "{texts:?}");

    let told = json!({"messages": [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": "my name is Bo"},
        {"role": "assistant", "content": "hello Bo"},
        {"role": "user", "content": "who am I"},
    ]});
    house.request("POST", PATH, &told).await;
    let request = house.model.requests().last().unwrap().clone();
    assert_eq!(request.last_user_text(), "who am I");
    let system = request.system();
    for part in ["be brief", "as the client reports it", "my name is Bo", "hello Bo"] {
        assert!(system.contains(part), "{part} in {system}");
    }
    let sessions = house.client().await.call("sessions.list", json!({})).await.unwrap();
    let keys: Vec<&str> =
        sessions["sessions"].as_array().unwrap().iter().filter_map(|row| row["key"].as_str()).collect();
    assert!(keys.contains(&"agent:main:openai-user:ann"), "{keys:?}");
    assert!(keys.iter().any(|key| key.starts_with("agent:main:openai:")), "{keys:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_that_cannot_be_answered_say_why() {
    let house = House::echo().await;
    let large = json!({"messages": [{"role": "user", "content": "x".repeat(1024 * 1024)}]});
    let nobody = json!({"model": "moltbot:nobody", "messages": [{"role": "user", "content": "hi"}]});
    for (body, status, message) in [
        (json!({"messages": []}), 400, "Missing user message in `messages`."),
        (json!({"messages": 7}), 400, "invalid body: "),
        (large, 413, "the body is larger than 1048576 bytes"),
        (nobody, 404, "agent \"nobody\" does not exist"),
    ] {
        let answer = house.request("POST", PATH, &body).await;
        assert_eq!(answer.status, status, "{message}");
        let told = answer.json()["error"]["message"].as_str().unwrap().to_owned();
        assert!(told.starts_with(message), "{told}");
    }
    let bearer = format!("Bearer {}", house.token());
    let answer = house.http("POST", PATH, &[("authorization", &bearer)], b"{").await;
    assert_eq!((answer.status, &answer.json()["error"]["type"]), (400, &json!("invalid_request_error")));
    assert!(house.model.requests().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_turn_that_fails_is_an_error_and_not_an_answer() {
    let house = House::with(ScriptedModel::queue([Reply::status(401, "no"), Reply::status(401, "no")])).await;
    let answer = house.request("POST", PATH, &said("hi")).await;
    assert_eq!(answer.status, 502);
    assert_eq!(answer.json()["error"]["type"], "api_error");
    let mut body = said("hi");
    body["stream"] = json!(true);
    let events = house.request("POST", PATH, &body).await.events();
    let last: Value = serde_json::from_str(events.last().unwrap()).unwrap();
    assert_eq!(last["error"]["type"], "api_error", "{events:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_hangs_up_stops_the_turn() {
    use std::io::{Read as _, Write as _};
    let house = House::with(ScriptedModel::queue([Reply::Stall(vec!["a".into()]), Reply::Hang])).await;
    for (n, stream) in [(1, true), (2, false)] {
        let mut body = said("hi");
        body["stream"] = json!(stream);
        let body = body.to_string();
        let request = format!(
            "POST {PATH} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {}\r\ncontent-length: {}\r\n\r\n{body}",
            house.token(),
            body.len()
        );
        tokio::task::block_in_place(|| {
            let mut socket = moltbot_testkit::raw::dial(house.port());
            socket.write_all(request.as_bytes()).unwrap();
            house.model.wait_for_requests(n);
            if stream {
                socket.read_exact(&mut [0; 16]).unwrap();
            }
            drop(socket);
            house.model.wait_for_hang_ups(n);
        });
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endpoint_that_is_off_does_not_exist() {
    let house = House::changed(|config| {
        config["gateway"]["http"] = json!({"endpoints": {"chatCompletions": {"enabled": false}}});
    })
    .await;
    assert_eq!(house.request("POST", PATH, &said("hi")).await.status, 404);
}
