//! Turns with tools: what they do, what is recorded, and what a model is told that calls them wrongly.

use moltbot_store::TurnState;
use moltbot_testkit::model::{Call, Reply, ScriptedModel};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::house::{House, NOW, watcher};

/// What the model was told of one call.
async fn result_of(call: Reply) -> (House, String, bool) {
    let model = ScriptedModel::queue([call, Reply::text("done")]);
    let house = House::new(Some(&model.openai_url()));
    let report = house.say("go").await;
    assert_eq!((report.state, report.text.as_str()), (TurnState::Done, "done"));
    let told = model.requests()[1].tool_results();
    assert_eq!(told, [report.tool_calls[0].result.clone()]);
    let call = report.tool_calls[0].clone();
    (house, call.result, call.is_error)
}

#[tokio::test]
async fn a_turn_writes_reads_and_edits_files() {
    let model = ScriptedModel::queue([
        Reply::tool("write", &json!({ "path": "notes/a.md", "content": "one\ntwo\n" })),
        Reply::tools(&[
            ("edit", json!({ "path": "notes/a.md", "oldText": "two", "newText": "2" })),
            ("read", json!({ "path": "notes/a.md", "offset": 2 })),
        ]),
        Reply::text("All done."),
    ]);
    let house = House::new(Some(&model.openai_url()));
    let before = house.store.commits();
    let turn = house.accept("Write it down").await;
    let (seen, watch) = watcher();
    let report = house
        .agent
        .take_turn(turn, &watch, &|_, _| Ok(()), &|_| Box::pin(async {}), CancellationToken::new(), &|| NOW)
        .await;

    assert_eq!((report.state, report.text.as_str()), (TurnState::Done, "All done."));
    let calls: Vec<_> =
        report.tool_calls.iter().map(|call| (call.name.as_str(), call.result.as_str())).collect();
    assert_eq!(
        calls,
        [("write", "wrote 8 bytes to notes/a.md"), ("edit", "edited notes/a.md"), ("read", "2\n")]
    );
    assert_eq!(house.file("notes/a.md").as_deref(), Some("one\n2\n"));
    assert_eq!(report.usage.total_tokens, 3 * (12 + 5));
    assert_eq!(house.store.commits() - before, 4, "accept, two journalled rounds, finish");
    assert_eq!(
        house.transcript("main").await,
        [
            "user: Write it down",
            "assistant ToolUse 1 calls: ",
            "write did: wrote 8 bytes to notes/a.md",
            "assistant ToolUse 2 calls: ",
            "edit did: edited notes/a.md",
            "read did: 2\n",
            "assistant Stop 0 calls: All done.",
        ]
    );
    let seen = seen.lock().unwrap().clone();
    assert_eq!(seen[1..3], ["tool call_0 write", "tool call_0 ended, error: false"]);
    let book = house.book();
    for action in ["\"action\":\"file.write\",\"target\":\"notes/a.md\"", "\"action\":\"file.read\""] {
        assert!(book.contains(action), "{action} in:\n{book}");
    }
    assert_eq!(model.requests()[0].tools(), ["edit", "exec", "process", "read", "session_status", "write"]);
}

#[tokio::test]
async fn a_path_out_of_the_workspace_is_refused_and_recorded() {
    let (house, result, is_error) = result_of(Reply::tool("read", &json!({ "path": "../state.db" }))).await;
    assert!(is_error && result.contains("leads out of the workspace"), "{result}");
    let book = house.book();
    assert!(
        book.contains("\"action\":\"file.read\",\"target\":\"../state.db\",\"decision\":\"refused\""),
        "{book}"
    );
    assert!(book.contains("\"code\":\"path_outside\""), "{book}");
}

#[tokio::test]
async fn an_empty_command_is_refused_and_recorded() {
    let (house, result, is_error) = result_of(Reply::tool("exec", &json!({ "command": "  " }))).await;
    assert!(is_error && result.contains("the command is empty"), "{result}");
    assert!(house.book().contains("\"code\":\"command_empty\""));
}

#[tokio::test]
async fn a_command_where_there_is_no_sandbox_does_not_run() {
    let call = Reply::tool("exec", &json!({ "command": "touch made-by-exec" }));
    let (house, result, is_error) = result_of(call).await;
    assert!(is_error && result.starts_with("commands cannot run on this machine: "), "{result}");
    assert_eq!(house.file("made-by-exec"), None);
    assert!(!house.book().contains("touch made-by-exec"), "what did not start is not in the book as started");
}

#[tokio::test]
async fn wrong_arguments_are_told_to_the_model_and_the_turn_goes_on() {
    for (call, expected) in [
        (Reply::tool("read", &json!({ "path": 7 })), "`path` of `read` must be a text, and is the number 7"),
        (Reply::tool("read", &json!({})), "`read` needs `path`"),
        (Reply::tool("read", &json!({ "path": "x", "lines": 3 })), "`read` has no argument `lines`"),
        (
            Reply::tool("exec", &json!({ "command": "ls", "timeout": "10" })),
            "`timeout` of `exec` must be a whole",
        ),
        (Reply::wrong_arguments("read", "{\"path\": \"a"), "are not valid JSON"),
        (
            Reply::tool("browse", &json!({})),
            "there is no tool `browse`; there are `edit`, `exec`, `process`, `read`, `session_status`, `write`",
        ),
        (Reply::tool("read", &json!({ "path": "missing.txt" })), "missing.txt"),
        (
            Reply::tool("edit", &json!({ "path": "SOUL.md", "oldText": "zebra", "newText": "x" })),
            "does not occur",
        ),
        (Reply::tool("read", &json!({ "path": "." })), "the path is empty"),
    ] {
        let (_house, result, is_error) = result_of(call).await;
        assert!(is_error && result.contains(expected), "{expected:?} in {result:?}");
    }
}

#[tokio::test]
async fn a_tool_that_the_config_denies_is_neither_offered_nor_run() {
    let model = ScriptedModel::queue([
        Reply::tool("write", &json!({ "path": "a", "content": "b" })),
        Reply::text("I cannot write."),
    ]);
    let house = House::with(Some(&model.openai_url()), |config| config.tools.deny = vec!["write".into()]);
    let report = house.say("write").await;
    assert_eq!(
        report.tool_calls[0].result,
        "there is no tool `write`; there are `edit`, `exec`, `process`, `read`, `session_status`"
    );
    assert_eq!(model.requests()[0].tools(), ["edit", "exec", "process", "read", "session_status"]);
    assert_eq!(house.file("a"), None);
}

#[tokio::test]
async fn a_model_without_tools_is_offered_none() {
    let model = ScriptedModel::echo();
    let house = House::with(Some(&model.openai_url()), |config| {
        for provider in config.models.providers.values_mut() {
            provider.models[0].tools = Some(false);
        }
    });
    house.say("hi").await;
    let request = model.requests().remove(0);
    assert!(request.tools().is_empty());
    assert!(request.system().contains("You have no tools"));
}

#[tokio::test]
async fn half_a_tool_call_runs_nothing() {
    let model = ScriptedModel::answering(|_| Reply::HalfToolCall { name: "write".into() });
    let house = House::new(Some(&model.openai_url()));
    let report = house.say("write").await;
    assert_eq!(report.state, TurnState::Error);
    assert!(report.tool_calls.is_empty());
    assert!(report.error.is_some_and(|error| error.contains("ended before the answer was complete")));
}

#[tokio::test]
async fn a_binary_file_is_not_read() {
    let model = ScriptedModel::queue([
        Reply::tool("write", &json!({ "path": "b", "content": "a\u{0}b" })),
        Reply::tool("read", &json!({ "path": "b" })),
        Reply::text("no"),
    ]);
    let house = House::new(Some(&model.openai_url()));
    let report = house.say("go").await;
    assert!(report.tool_calls[1].result.contains("is not a text file (3 bytes)"), "{:?}", report.tool_calls);
}

#[tokio::test]
async fn several_sentences_of_one_turn_are_one_text() {
    let call =
        Call { id: "c".into(), name: "read".into(), arguments: json!({ "path": "SOUL.md" }).to_string() };
    let model = ScriptedModel::queue([
        Reply::ToolCalls { text: "Let me look.".into(), calls: vec![call] },
        Reply::text("Found it."),
    ]);
    let house = House::new(Some(&model.openai_url()));
    let turn = house.accept("look").await;
    let (seen, watch) = watcher();
    let report = house
        .agent
        .take_turn(turn, &watch, &|_, _| Ok(()), &|_| Box::pin(async {}), CancellationToken::new(), &|| NOW)
        .await;
    assert_eq!(report.text, "Let me look.\n\nFound it.");
    assert!(seen.lock().unwrap().contains(&"text Let me look.\n\nFound it.".to_owned()));
}
