//! A turn that a stopped gateway left behind goes on after what was journalled.

use moltbot_protocol::message::{Message, Part, StopReason, Usage};
use moltbot_store::{Step, TurnState};
use moltbot_testkit::model::{Reply, ScriptedModel};
use serde_json::json;

use crate::house::{House, NOW};

/// A step in which the model wants a file written.
fn step(results: Vec<Message>, id: &str) -> Step {
    let arguments = json!({ "path": format!("{id}.txt"), "content": "x" });
    let answer = Message::Assistant {
        content: vec![
            Part::text("I write."),
            Part::ToolCall { id: id.into(), name: "write".into(), arguments },
        ],
        timestamp: NOW,
        provider: "scripted".into(),
        model: "small".into(),
        usage: Usage { input: 3, output: 4, total_tokens: 7, ..Usage::default() },
        stop_reason: StopReason::ToolUse,
        error_message: None,
    };
    Step { results, answer }
}

#[tokio::test]
async fn a_call_that_was_running_is_not_run_again() {
    let house = House::new(None);
    let turn = house.accept("Write two files").await;
    let result = Message::ToolResult {
        tool_call_id: "a".into(),
        tool_name: "write".into(),
        content: vec![Part::text("wrote 1 bytes to a.txt")],
        is_error: false,
        timestamp: NOW,
    };
    house.store.journal(turn.id, step(vec![], "a")).await.unwrap();
    house.store.journal(turn.id, step(vec![result], "b")).await.unwrap();
    let home = house.stop();

    let model = ScriptedModel::queue([Reply::text("One is certain.")]);
    let house =
        House::open(home, Some(&model.openai_url()), |_| {}).map_err(|error| error.to_string()).unwrap();
    let mut pending = house.store.pending().await.unwrap();
    assert_eq!((pending.len(), pending[0].steps.len()), (1, 2));
    let report = house.take(pending.remove(0)).await;

    assert_eq!((report.state, report.error), (TurnState::Done, None));
    assert_eq!(report.text, "I write.\n\nI write.\n\nOne is certain.");
    assert_eq!(report.usage.total_tokens, 7 + 7 + 17);
    let unknown =
        "the gateway stopped while this was running; its outcome is unknown and it was not run again";
    let calls: Vec<_> = report.tool_calls.iter().map(|call| (call.result.as_str(), call.is_error)).collect();
    assert_eq!(calls, [("wrote 1 bytes to a.txt", false), (unknown, true)]);
    assert_eq!(model.requests()[0].tool_results(), ["wrote 1 bytes to a.txt", unknown]);
    assert_eq!(house.file("b.txt"), None);
    assert_eq!(
        house.transcript("main").await,
        [
            "user: Write two files",
            "assistant ToolUse 1 calls: I write.",
            "write did: wrote 1 bytes to a.txt",
            "assistant ToolUse 1 calls: I write.",
            &format!("write failed: {unknown}"),
            "assistant Stop 0 calls: One is certain.",
        ]
    );
    assert!(house.store.pending().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_message_that_was_only_accepted_is_answered() {
    let house = House::new(None);
    house.accept("Hi").await;
    let home = house.stop();
    let model = ScriptedModel::echo();
    let house =
        House::open(home, Some(&model.openai_url()), |_| {}).map_err(|error| error.to_string()).unwrap();
    let turn = house.store.pending().await.unwrap().remove(0);
    assert_eq!(house.take(turn).await.text, "echo: Hi");
}
