//! The scripted model, through a plain HTTP request.

use std::io::Write as _;
use std::time::Duration;

use moltbot_testkit::model::{Reply, ScriptedModel, echo_of};
use moltbot_testkit::raw::{HttpAnswer, dial, http};
use serde_json::{Value, json};

fn ask(model: &ScriptedModel, path: &str, body: &Value) -> HttpAnswer {
    http(model.port(), "POST", path, &[("Authorization", "Bearer k")], body.to_string().as_bytes())
}

fn openai(model: &ScriptedModel, stream: bool) -> HttpAnswer {
    let messages = json!([{"role": "system", "content": "be brief"}, {"role": "user", "content": "hi"}]);
    let options = json!({"include_usage": true});
    ask(
        model,
        "/v1/chat/completions",
        &json!({"messages": messages, "stream": stream, "stream_options": options}),
    )
}

fn anthropic(model: &ScriptedModel) -> HttpAnswer {
    let result = json!({"type": "tool_result", "tool_use_id": "x", "content": "42"});
    let messages = json!([{"role": "user", "content": "hi"}, {"role": "user", "content": [result]}]);
    ask(model, "/v1/messages", &json!({"system": "be brief", "messages": messages, "stream": true}))
}

/// The chunks of a stream, without its end mark.
fn chunks(answer: &HttpAnswer) -> Vec<Value> {
    let events = answer.events();
    events.iter().filter(|data| *data != "[DONE]").map(|data| serde_json::from_str(data).unwrap()).collect()
}

fn joined(chunks: &[Value], pointer: &str) -> String {
    chunks.iter().filter_map(|chunk| chunk.pointer(pointer)).filter_map(Value::as_str).collect()
}

#[test]
fn an_openai_stream_has_its_words_its_usage_and_its_end() {
    let model = ScriptedModel::queue([Reply::words("one two three")]);
    let answer = openai(&model, true);
    assert_eq!(answer.status, 200, "{}", answer.head);
    let chunks = chunks(&answer);
    assert_eq!(joined(&chunks, "/choices/0/delta/content"), "one two three");
    assert_eq!(joined(&chunks, "/choices/0/finish_reason"), "stop");
    assert_eq!(chunks.last().unwrap()["usage"]["total_tokens"], 17);
    assert_eq!(answer.events().last().unwrap(), "[DONE]");
}

#[test]
fn an_openai_answer_without_streaming_is_one_object() {
    let model = ScriptedModel::echo();
    let answer = openai(&model, false).json();
    assert_eq!(answer["choices"][0]["message"]["content"], json!(echo_of("hi")));
    assert_eq!(answer["usage"]["prompt_tokens"], 12);
}

#[test]
fn the_arguments_of_a_call_are_split_in_both_formats() {
    let arguments = json!({"path": "notes.txt", "text": "äöü"});
    let call = || Reply::tools(&[("write", arguments.clone()), ("read", json!({}))]);
    let model = ScriptedModel::queue([call(), call()]);
    let chunks_of_openai = chunks(&openai(&model, true));
    let calls = chunks_of_openai.iter().filter_map(|chunk| chunk.pointer("/choices/0/delta/tool_calls/0"));
    let first = calls.clone().filter(|call| call["index"] == 0);
    let text: String = first.filter_map(|call| call.pointer("/function/arguments")?.as_str()).collect();
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), arguments);
    assert!(calls.count() > 5, "split");
    let chunks_of_anthropic = chunks(&anthropic(&model));
    let first = chunks_of_anthropic.iter().filter(|event| event["index"] == 0);
    let text: String = first.filter_map(|event| event.pointer("/delta/partial_json")?.as_str()).collect();
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), arguments);
    assert_eq!(joined(&chunks_of_anthropic, "/delta/stop_reason"), "tool_use");
}

#[test]
fn requests_are_recorded_with_what_matters_of_them() {
    let model = ScriptedModel::echo();
    openai(&model, true);
    let echoed = anthropic(&model);
    assert_eq!(
        joined(&chunks(&echoed), "/delta/text"),
        echo_of("hi"),
        "results of tools are not a person's words"
    );
    let requests = model.wait_for_requests(2);
    assert_eq!(requests[0].header("authorization"), Some("Bearer k"));
    assert_eq!((requests[0].system(), requests[1].system()), ("be brief".into(), "be brief".into()));
    assert_eq!(requests[1].tool_results(), ["42"]);
    assert_eq!(requests[1].number, 1);
}

#[test]
fn failures_are_what_they_say() {
    let model = ScriptedModel::queue([
        Reply::Status { code: 429, body: "slow down".into(), retry_after: Some(7) },
        Reply::Garbage(b"data: {not json\n\n\xff\xfe".to_vec()),
        Reply::Drop(vec!["so".into(), " far".into()]),
        Reply::HalfToolCall { name: "read".into() },
        Reply::Huge(1_000_000),
    ]);
    let limited = openai(&model, true);
    assert_eq!(
        (limited.status, limited.header("retry-after"), limited.text()),
        (429, Some("7"), "slow down".into())
    );
    assert_eq!(openai(&model, true).body, b"data: {not json\n\n\xff\xfe");
    let dropped = openai(&model, true);
    assert_eq!(joined(&chunks(&dropped), "/choices/0/delta/content"), "so far");
    assert!(!dropped.text().contains("[DONE]"));
    let half = openai(&model, true).text();
    assert!(half.contains("read") && !half.contains("finish_reason\":\"tool_calls"), "{half}");
    assert_eq!(joined(&chunks(&openai(&model, true)), "/choices/0/delta/content").len(), 1_000_000);
    assert_eq!(openai(&model, true).status, 400, "an empty queue is an error that nobody retries");
}

#[test]
fn a_client_that_leaves_a_model_that_stalls_is_noticed() {
    let model = ScriptedModel::queue([Reply::Stall(vec!["wait".into()]), Reply::Hang]);
    for count in 1..=2 {
        let mut stream = dial(model.port());
        let body = r#"{"messages":[],"stream":true}"#;
        write!(stream, "POST /v1/chat/completions HTTP/1.1\r\ncontent-length: {}\r\n\r\n{body}", body.len())
            .unwrap();
        model.wait_for_requests(count);
        drop(stream);
        model.wait_for_hang_ups(count);
    }
}

#[test]
fn a_slow_reply_is_slow_and_complete() {
    let delay = Duration::from_millis(20);
    let model = ScriptedModel::queue([Reply::Slow { chunks: vec!["a".into(), "b".into()], delay }]);
    let began = std::time::Instant::now();
    assert_eq!(joined(&chunks(&openai(&model, true)), "/choices/0/delta/content"), "ab");
    assert!(began.elapsed() >= 2 * delay);
}

#[test]
fn the_list_of_models_is_served_and_not_recorded() {
    let model = ScriptedModel::echo();
    let list = http(model.port(), "GET", "/v1/models", &[], b"").json();
    assert_eq!(list["data"][0]["id"], "scripted");
    assert_eq!(model.requests().len(), 0);
}
