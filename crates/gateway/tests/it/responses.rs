use moltbot_testkit::home::Home;
use moltbot_testkit::model::{Reply, ScriptedModel, echo_of};
use serde_json::{Value, json};

use crate::house::House;

const PATH: &str = "/v1/responses";

async fn house(model: ScriptedModel) -> House {
    let home = Home::with_model(&model);
    home.change_config(|config| {
        config["gateway"]["http"]["endpoints"] = json!({"responses": {"enabled": true}});
    });
    House::open(home, model).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_response_is_answered_whole_with_usage_and_status() {
    let house = house(ScriptedModel::echo()).await;
    let answer = house.request("POST", PATH, &json!({"input": "hello", "instructions": "be brief"})).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let body = answer.json();
    assert_eq!((&body["object"], &body["status"]), (&json!("response"), &json!("completed")));
    assert_eq!(body["output"][0]["content"][0]["text"], json!(echo_of("hello")));
    assert_eq!((&body["usage"]["input_tokens"], &body["usage"]["total_tokens"]), (&json!(12), &json!(17)));
    assert!(house.model.requests()[0].system().contains("be brief"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_response_is_streamed_in_events() {
    let house = house(ScriptedModel::queue([Reply::words("one two three")])).await;
    let answer = house.request("POST", PATH, &json!({"input": "count", "stream": true})).await;
    assert_eq!(answer.header("content-type"), Some("text/event-stream; charset=utf-8"));
    let mut events = answer.events();
    assert_eq!(events.pop().as_deref(), Some("[DONE]"));
    let events: Vec<Value> = events.iter().map(|event| serde_json::from_str(event).unwrap()).collect();
    let mut kinds: Vec<&str> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
    kinds.dedup();
    assert_eq!(
        kinds,
        [
            "response.created",
            "response.in_progress",
            "response.output_item.added",
            "response.content_part.added",
            "response.output_text.delta",
            "response.output_text.done",
            "response.content_part.done",
            "response.output_item.done",
            "response.completed",
        ]
    );
    let words: String = events.iter().filter_map(|event| event["delta"].as_str()).collect();
    assert_eq!(words, "one two three");
    let last = &events.last().unwrap()["response"];
    assert_eq!(
        (&last["output"][0]["content"][0]["text"], &last["usage"]["output_tokens"]),
        (&json!(words), &json!(5))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_answered_says_why() {
    let house = house(ScriptedModel::answering(|_| Reply::status(401, "no"))).await;
    for (body, status, expected) in [
        (json!({"input": ""}), 400, "user message"),
        (json!({}), 400, "missing field `input`"),
        (json!({"input": "hi", "tools": [{"type": "function"}]}), 400, "leave out `tools`"),
        (json!({"input": "hi", "model": "moltbot:nobody"}), 404, "does not exist"),
        (json!({"input": "hi"}), 502, "did not accept"),
    ] {
        let answer = house.request("POST", PATH, &body).await;
        assert_eq!(answer.status, status, "{body}: {}", answer.text());
        assert!(answer.text().contains(expected), "{body}: {}", answer.text());
    }
    let answer = house.request("POST", PATH, &json!({"input": "hi", "stream": true})).await;
    assert!(answer.text().contains("response.failed"), "{}", answer.text());
    assert_eq!(house.http("POST", PATH, &[], b"{}").await.status, 401, "a stranger");
}
