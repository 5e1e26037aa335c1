//! A message that comes while a turn is at work is told to its model before the next step, and is a part of that turn.

use std::sync::{Arc, Mutex};

use moltbot_agent::{Control, PassedOver, Steered};
use moltbot_protocol::message::{Message, Part, StopReason, Usage};
use moltbot_protocol::principal::Principal;
use moltbot_store::{PendingTurn, Step, StoreError, TurnState};
use moltbot_testkit::model::{Reply, ScriptedModel};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::house::{House, NOW, watcher};

/// A control that hands over these messages once.
fn steering(turns: Vec<PendingTurn>) -> Control {
    let waiting = Mutex::new(turns);
    let steer = move || -> Steered {
        let taken = std::mem::take(&mut *waiting.lock().unwrap());
        Box::pin(async move { taken })
    };
    Control { steer: Some(Arc::new(steer)), ..CancellationToken::new().into() }
}

#[tokio::test]
async fn a_message_is_told_with_the_results_of_the_tools_and_stands_there_in_the_transcript() {
    let read = Reply::tool("read", &json!({"path": "nothing.txt"}));
    let model = ScriptedModel::queue([read, Reply::text("both")]);
    let house = House::new(Some(&model.openai_url()));
    let (one, two) = (house.accept("one").await, house.accept("two").await);
    let run = two.message.run.clone();
    let (seen, watch) = watcher();
    let report = house
        .agent
        .take_turn(one, &watch, &|_, _| Ok(()), &|_| Box::pin(async {}), steering(vec![two]), &|| NOW)
        .await;
    assert_eq!((report.state, report.text.as_str()), (TurnState::Done, "both"));
    assert!(seen.lock().unwrap().contains(&format!("absorbed {run}")), "{seen:?}");
    let requests = model.requests();
    assert_eq!(requests.len(), 2);
    assert_eq!(requests[1].last_user_text(), "two");
    let transcript = house.transcript("main").await;
    let roles: Vec<&str> = transcript.iter().map(|line| line.split(' ').next().unwrap()).collect();
    assert_eq!(roles, ["user:", "assistant", "read", "user:", "assistant"], "{transcript:?}");
    assert_eq!(transcript[3], "user: two");
    assert!(house.store.pending().await.unwrap().is_empty());
    assert_eq!(house.store.run(&run).await.unwrap().unwrap().state, TurnState::Done);
}

/// A step in which the model wants a file read.
fn step() -> Step {
    let call = Part::ToolCall { id: "a".into(), name: "read".into(), arguments: json!({"path": "x.txt"}) };
    let answer = Message::Assistant {
        content: vec![call],
        timestamp: NOW,
        provider: "scripted".into(),
        model: "small".into(),
        usage: Usage::default(),
        stop_reason: StopReason::ToolUse,
        error_message: None,
    };
    Step { results: Vec::new(), answer }
}

#[tokio::test]
async fn after_a_crash_the_turn_goes_on_with_what_it_had_taken_in() {
    let house = House::new(None);
    let (one, two) = (house.accept("one").await, house.accept("two").await);
    let result = Message::ToolResult {
        tool_call_id: "a".into(),
        tool_name: "read".into(),
        content: vec![Part::text("what it says")],
        is_error: false,
        timestamp: NOW,
    };
    house.store.journal(one.id, step()).await.unwrap();
    house.store.absorb(one.id, two.id, vec![result.clone()], NOW).await.unwrap();
    let again = house.store.absorb(one.id, two.id, Vec::new(), NOW).await;
    assert!(matches!(again, Err(StoreError::AlreadyEnded { .. })), "{again:?}");
    let home = house.stop();
    let model = ScriptedModel::queue([Reply::text("both")]);
    let house = House::open(home, Some(&model.openai_url()), |_| {});
    let house = house.map_err(|error| error.to_string()).unwrap();
    let mut pending = house.store.pending().await.unwrap();
    assert_eq!(pending.len(), 1, "the message is a part of the other turn");
    let said =
        Message::User { content: vec![Part::text("two")], timestamp: NOW, principal: Principal::Owner };
    assert_eq!(pending[0].tail, [result, said]);
    assert_eq!(house.take(pending.remove(0)).await.text, "both");
    let request = model.requests().remove(0);
    assert_eq!(
        (request.tool_results(), request.last_user_text()),
        (vec!["what it says".into()], "two".into())
    );
}

#[tokio::test]
async fn what_has_begun_or_is_of_another_session_is_taken_in_by_nobody() {
    let house = House::new(None);
    let (one, two) = (house.accept("one").await, house.accept("two").await);
    let other = house.accept_in("notes", "three", |_| {}).await;
    house.store.journal(two.id, step()).await.unwrap();
    for taken in [one.id, two.id, other.id] {
        let refused = house.store.absorb(one.id, taken, Vec::new(), NOW).await;
        assert!(matches!(refused, Err(StoreError::NotAbsorbed { .. })), "{refused:?}");
    }
    assert_eq!(house.store.pending().await.unwrap().len(), 3, "nothing has changed");
}

#[tokio::test]
async fn a_turn_that_is_passed_over_ends_without_an_answer_and_keeps_its_words() {
    let model = ScriptedModel::echo();
    let house = House::new(Some(&model.openai_url()));
    for (text, why, expected) in [
        ("one", PassedOver::Together, TurnState::Done),
        ("two", PassedOver::Later, TurnState::Aborted),
        ("three", PassedOver::TooMany, TurnState::Aborted),
    ] {
        let turn = house.accept(text).await;
        let report = house.agent.pass_over(turn, why, NOW).await;
        assert_eq!((report.state, report.text.as_str()), (expected, ""), "{text}");
    }
    assert!(model.requests().is_empty());
    assert_eq!(house.transcript("main").await, ["user: one", "user: two", "user: three"]);
    house.say("four").await;
    assert_eq!(model.requests()[0].messages().len(), 5, "the instructions, and all four");
}
