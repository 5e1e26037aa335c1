//! A turn that would not end by itself is ended, with a sentence that says why.

use std::time::{Duration, Instant};

use moltbot_config::limits;
use moltbot_protocol::message::StopReason;
use moltbot_store::TurnState;
use moltbot_testkit::model::{Call, Reply, ScriptedModel};
use serde_json::json;

use crate::house::House;

#[tokio::test]
async fn a_model_that_calls_tools_forever_is_stopped() {
    let model = ScriptedModel::answering(|_| Reply::tool("read", &json!({ "path": "SOUL.md" })));
    let house = House::new(Some(&model.openai_url()));
    let report = house.say("go").await;
    assert_eq!((report.state, report.stop_reason), (TurnState::Error, StopReason::Error));
    let error = report.error.unwrap();
    assert!(error.contains("stopped after 50 model calls"), "{error}");
    let steps = usize::try_from(limits::TURN_STEPS).unwrap();
    assert_eq!(model.requests().len(), steps);
    assert_eq!(report.tool_calls.len(), steps);
    let last = report.tool_calls.last().unwrap();
    assert!(last.is_error && last.result.starts_with("this was not run"), "{}", last.result);
    assert_eq!(house.transcript("main").await.len(), 1 + 2 * steps + 1);
}

#[tokio::test]
async fn a_turn_that_takes_too_long_is_stopped() {
    let model = ScriptedModel::queue([Reply::Hang, Reply::text("quick")]);
    let house = House::new(Some(&model.openai_url()));
    let turn = house.accept_in("main", "Hi", |message| message.timeout_ms = Some(200)).await;
    let begun = Instant::now();
    let report = house.take(turn).await;
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    assert_eq!(report.state, TurnState::Error);
    assert!(
        report.error.as_deref().unwrap().contains("longer than its limit of 200ms"),
        "{:?}",
        report.error
    );
    assert_eq!(house.say("Hi").await.text, "quick");
}

#[tokio::test]
async fn a_client_cannot_ask_for_more_time_than_the_owner_allows() {
    let model = ScriptedModel::queue([Reply::Hang]);
    let house = House::with(Some(&model.openai_url()), |config| config.agents.defaults.timeout_seconds = 1);
    let turn = house.accept_in("main", "Hi", |message| message.timeout_ms = Some(600_000)).await;
    let report = house.take(turn).await;
    let error = report.error.unwrap();
    assert!(error.contains("longer than its limit of 1s"), "{error}");
}

#[tokio::test]
async fn an_answer_with_too_many_calls_runs_none_of_them() {
    let call = |number: usize| Call {
        id: format!("call_{number}"),
        name: "write".into(),
        arguments: json!({ "path": format!("f{number}"), "content": "" }).to_string(),
    };
    let calls = (0..65).map(call).collect();
    let model = ScriptedModel::queue([Reply::ToolCalls { text: String::new(), calls }]);
    let house = House::new(Some(&model.openai_url()));
    let report = house.say("go").await;
    let error = report.error.unwrap();
    assert!(error.contains("more than 64 tool calls at once"), "{error}");
    assert_eq!(house.file("f0"), None);
}
