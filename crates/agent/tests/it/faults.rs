//! When the state or the book cannot be written, nothing happens that should have been.

use moltbot_agent::TurnEvent;
use moltbot_store::TurnState;
use moltbot_testkit::model::{Call, Reply, ScriptedModel};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::house::{House, NOW};

#[tokio::test]
async fn an_end_that_cannot_be_kept_is_an_error() {
    let model = ScriptedModel::queue([Reply::text("lost words")]);
    let house = House::new(Some(&model.openai_url()));
    let turn = house.accept("Hi").await;
    let store = house.store.clone();
    let watch = move |event: TurnEvent<'_>| {
        if let TurnEvent::Text { .. } = event {
            store.close();
        }
    };
    let report = house
        .agent
        .take_turn(turn, &watch, &|_, _| Ok(()), &|_| Box::pin(async {}), CancellationToken::new(), &|| NOW)
        .await;
    assert_eq!((report.state, report.text.as_str()), (TurnState::Error, "lost words"));
    let error = report.error.unwrap();
    assert!(error.starts_with("the end of the turn could not be kept: "), "{error}");
}

#[tokio::test]
async fn what_cannot_be_journalled_is_not_run() {
    let call = Call {
        id: "c".into(),
        name: "write".into(),
        arguments: json!({ "path": "a", "content": "b" }).to_string(),
    };
    let model = ScriptedModel::queue([Reply::ToolCalls { text: "I write.".into(), calls: vec![call] }]);
    let house = House::new(Some(&model.openai_url()));
    let turn = house.accept("Hi").await;
    let store = house.store.clone();
    let watch = move |event: TurnEvent<'_>| {
        if let TurnEvent::Text { .. } = event {
            store.close();
        }
    };
    let report = house
        .agent
        .take_turn(turn, &watch, &|_, _| Ok(()), &|_| Box::pin(async {}), CancellationToken::new(), &|| NOW)
        .await;
    assert_eq!(report.state, TurnState::Error);
    let error = report.error.unwrap();
    assert!(error.starts_with("no tool was run because it could not be journalled: "), "{error}");
    assert_eq!(house.file("a"), None);
}

#[tokio::test]
async fn what_cannot_be_recorded_does_not_happen() {
    let model = ScriptedModel::queue([
        Reply::tool("write", &json!({ "path": "a", "content": "b" })),
        Reply::text("It was refused."),
    ]);
    let house = House::new(Some(&model.openai_url()));
    let turn = house.accept("Hi").await;
    let ledger = house.ledger.clone();
    let watch = move |event: TurnEvent<'_>| {
        if let TurnEvent::ToolStarted { .. } = event {
            ledger.shutdown();
        }
    };
    let report = house
        .agent
        .take_turn(turn, &watch, &|_, _| Ok(()), &|_| Box::pin(async {}), CancellationToken::new(), &|| NOW)
        .await;
    assert_eq!((report.state, report.text.as_str()), (TurnState::Done, "It was refused."));
    let call = &report.tool_calls[0];
    assert!(
        call.is_error && call.result.contains("file.write is refused because it cannot be recorded"),
        "{call:?}"
    );
    assert_eq!(house.file("a"), None);
}
