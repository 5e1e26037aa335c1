//! Commands, run in the real sandbox where this machine can.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use moltbot_config::limits;
use moltbot_store::TurnState;
use moltbot_testkit::model::{Reply, ScriptedModel};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::house::{House, NOW};

#[tokio::test]
async fn a_command_runs_in_the_workspace_and_is_in_the_book() {
    let script = "cat in.txt; echo made > out.txt; pwd; echo oops >&2; exit 3";
    let model = ScriptedModel::queue([
        Reply::tool("write", &json!({ "path": "in.txt", "content": "given\n" })),
        Reply::tool("exec", &json!({ "command": script })),
        Reply::text("done"),
    ]);
    let url = model.openai_url();
    let Some(house) = House::with_commands("a_command_runs_in_the_workspace", &url).await else { return };
    let report = house.say("go").await;
    assert_eq!((report.state, report.error), (TurnState::Done, None));
    let call = &report.tool_calls[1];
    assert_eq!(call.result, "exit code 3\n\ngiven\n/workspace\noops\n");
    assert!(call.is_error);
    assert_eq!(house.file("out.txt").as_deref(), Some("made\n"));
    let book = house.book();
    for action in ["\"action\":\"command.start\",\"target\":\"cat in.txt", "\"action\":\"command.end\""] {
        assert!(book.contains(action), "{action} in:\n{book}");
    }
}

#[tokio::test]
async fn an_output_of_fifty_megabytes_is_cut() {
    let script = "head -c 50000000 /dev/zero | tr '\\0' x";
    let model =
        ScriptedModel::queue([Reply::tool("exec", &json!({ "command": script })), Reply::text("done")]);
    let url = model.openai_url();
    let Some(house) = House::with_commands("an_output_of_fifty_megabytes", &url).await else { return };
    let report = house.say("go").await;
    let result = &report.tool_calls[0].result;
    assert!(
        result.starts_with("exit code 0\n(the output was too long: its last 49900000 bytes"),
        "{result:.90}"
    );
    assert!(result.len() < limits::COMMAND_OUTPUT_BYTES + 200);
}

#[tokio::test]
async fn an_abort_kills_the_running_command_within_a_second() {
    let script = "touch begun; sleep 600";
    let model = ScriptedModel::queue([Reply::tool("exec", &json!({ "command": script }))]);
    let url = model.openai_url();
    let Some(house) = House::with_commands("an_abort_kills_the_running_command", &url).await else { return };
    let turn = house.accept("go").await;
    let abort = CancellationToken::new();
    let aborted = Mutex::new(None);
    let stopper = async {
        while house.file("begun").is_none() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        *aborted.lock().unwrap() = Some(Instant::now());
        abort.cancel();
    };
    let taking =
        house.agent.take_turn(turn, &|_| {}, &|_, _| Ok(()), &|_| Box::pin(async {}), abort.clone(), &|| NOW);
    let (report, ()) = tokio::join!(taking, stopper);
    let took = aborted.lock().unwrap().unwrap().elapsed();
    assert!(took < Duration::from_secs(1), "{took:?}");
    assert_eq!(report.state, TurnState::Aborted);
    assert!(
        report.tool_calls[0].result.starts_with("killed: the turn was stopped"),
        "{:?}",
        report.tool_calls
    );
    let transcript = house.transcript("main").await;
    assert_eq!(transcript.last().map(String::as_str), Some("assistant Aborted 0 calls: "));
}
