//! Talking through the command line: a real gateway in a process of its own, and a scripted model.

use std::io::Write as _;
use std::process::{Child, Command, Output, Stdio};

use moltbot_testkit::home::{Home, PROVIDER_KEY};
use moltbot_testkit::model::{Reply, ScriptedModel};
use moltbot_testkit::process::{Gateway, command};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

const PROGRAM: &str = env!("CARGO_BIN_EXE_moltbot");

fn program(home: &Home, arguments: &[&str]) -> Command {
    let mut command = command(PROGRAM, home, arguments);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn run(home: &Home, arguments: &[&str]) -> (i32, String, String) {
    ended(&program(home, arguments).output().unwrap())
}

fn ended(output: &Output) -> (i32, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
}

fn interrupt(child: &Child) {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).unwrap();
    kill_process(pid, Signal::INT).unwrap();
}

#[test]
fn agent_prints_the_answer_and_remembers_the_conversation() {
    let model = ScriptedModel::queue([Reply::words("It is blue."), Reply::text("Blue, I said.")]);
    let home = Home::with_model(&model);
    let _gateway = Gateway::start(PROGRAM, &home);
    let first = run(&home, &["agent", "--message", "Which colour is the sky?"]);
    assert_eq!(first, (0, "It is blue.\n".into(), String::new()));
    assert_eq!(run(&home, &["agent", "-m", "Again?"]).1, "Blue, I said.\n");
    let asked = model.requests().pop().unwrap();
    assert!(asked.messages().iter().any(|said| said.to_string().contains("It is blue.")), "{asked:?}");
    let shown = run(&home, &["sessions", "show", "main"]);
    assert_eq!(shown.1, "you: Which colour is the sky?\nIt is blue.\nyou: Again?\nBlue, I said.\n");
}

#[test]
fn agent_prints_json_with_every_tool_call() {
    let written = json!({"path": "note.txt", "content": "apples"});
    let model = ScriptedModel::queue([
        Reply::tool("write", &written),
        Reply::tool("read", &json!({"path": "missing.txt"})),
        Reply::text("Done."),
    ]);
    let home = Home::with_model(&model);
    let _gateway = Gateway::start(PROGRAM, &home);
    let (code, out, err) = run(&home, &["agent", "--message", "Write it down", "--json"]);
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    let answer: Value = serde_json::from_str(&out).unwrap();
    let members: Vec<&String> = answer.as_object().unwrap().keys().collect();
    assert_eq!(members, ["runId", "sessionKey", "status", "text", "toolCalls", "usage"]);
    assert_eq!((&answer["status"], &answer["text"]), (&json!("ok"), &json!("Done.")));
    assert_eq!(answer["sessionKey"], "agent:main:main");
    let calls = answer["toolCalls"].as_array().unwrap();
    assert_eq!(calls.len(), 2, "{calls:?}");
    assert_eq!((&calls[0]["name"], &calls[0]["arguments"]), (&json!("write"), &written));
    assert_eq!((&calls[0]["isError"], &calls[1]["isError"]), (&json!(false), &json!(true)), "{calls:?}");
    assert!(calls[1]["result"].as_str().unwrap().contains("missing.txt"), "{calls:?}");
    assert!(answer["usage"]["totalTokens"].as_u64().unwrap() > 0, "{answer}");
}

#[test]
fn agent_fails_with_the_reason_and_within_its_time() {
    let model = ScriptedModel::queue([Reply::status(401, "bad key"), Reply::Hang]);
    let home = Home::with_model(&model);
    let _gateway = Gateway::start(PROGRAM, &home);
    let (code, out, err) = run(&home, &["agent", "--message", "hello"]);
    assert_eq!((code, out.as_str()), (1, ""), "{err}");
    assert!(!err.is_empty() && !err.contains(PROVIDER_KEY), "{err}");
    let (code, out, _) = run(&home, &["agent", "--message", "hello", "--timeout", "1", "--json"]);
    let answer: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &answer["status"]), (124, &json!("timeout")), "{answer}");
    model.wait_for_hang_ups(1);
}

#[test]
fn ctrl_c_stops_the_turn_and_leaves() {
    let model = ScriptedModel::queue([Reply::Hang]);
    let home = Home::with_model(&model);
    let _gateway = Gateway::start(PROGRAM, &home);
    let child = program(&home, &["agent", "--message", "hello"]).spawn().unwrap();
    model.wait_for_requests(1);
    interrupt(&child);
    assert_eq!(ended(&child.wait_with_output().unwrap()).0, 130);
    model.wait_for_hang_ups(1);
}

#[test]
fn chat_answers_each_line_of_a_pipe_in_its_turn() {
    let model = ScriptedModel::echo();
    let home = Home::with_model(&model);
    let _gateway = Gateway::start(PROGRAM, &home);
    let mut child = program(&home, &["chat"]).stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"one\ntwo\n/status\n/new\n/model\n/nonsense\n").unwrap();
    let (code, out, err) = ended(&child.wait_with_output().unwrap());
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    let lines: Vec<&str> = out.lines().collect();
    let one = moltbot_testkit::model::echo_of("one");
    let two = moltbot_testkit::model::echo_of("two");
    assert_eq!(lines.get(..2), Some(&[one.as_str(), two.as_str()][..]), "{out}");
    for part in
        ["gateway 0.", "4 messages", "a new conversation begins", "model: ", "/nonsense is not a command"]
    {
        assert!(out.contains(part), "no {part:?} in {out}");
    }
}

#[test]
fn ctrl_c_in_the_chat_stops_the_answer_and_a_second_one_leaves() {
    let model = ScriptedModel::queue([Reply::Stall(vec!["half ".into()]), Reply::text("whole")]);
    let home = Home::with_model(&model);
    let _gateway = Gateway::start(PROGRAM, &home);
    let mut child = program(&home, &["chat"]).stdin(Stdio::piped()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    input.write_all(b"hello\n").unwrap();
    model.wait_for_requests(1);
    interrupt(&child);
    model.wait_for_hang_ups(1);
    input.write_all(b"again\n").unwrap();
    model.wait_for_requests(2);
    input.write_all(b"/exit\n").unwrap();
    let (_, out, _) = ended(&child.wait_with_output().unwrap());
    assert!(out.contains("(stopped)") && out.contains("whole"), "{out}");
}

#[test]
fn a_signal_drains_and_a_second_one_does_not() {
    let model = ScriptedModel::queue([Reply::Hang]);
    let home = Home::with_model(&model);
    let mut gateway = Gateway::start(PROGRAM, &home);
    assert_eq!(gateway.terminate().code(), Some(0), "{}", gateway.printed());
    gateway.restart(&home);
    let child = program(&home, &["agent", "--message", "hello"]).spawn().unwrap();
    model.wait_for_requests(1);
    gateway.signal(Signal::TERM);
    // The client is told that the gateway stops before the second signal comes.
    gateway.signal(Signal::INT);
    let code = gateway.wait().code();
    assert_eq!(code, Some(130), "{}", gateway.printed());
    let client = ended(&child.wait_with_output().unwrap());
    assert!([1, 69, 75].contains(&client.0), "{client:?}");
}

#[test]
fn a_key_of_the_environment_is_named_and_never_written() {
    let key = "sk-ant-q8Zr3VtLx0NwYbE5mKc7HdPfJ2sGuA9o1QiTeXyBvRM";
    let home = Home::empty().unwrap();
    let port = home.port().to_string();
    let up = program(&home, &["up", "--detach", "--port", &port]).env("ANTHROPIC_API_KEY", key).output();
    let (code, out, err) = ended(&up.unwrap());
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    assert!(out.contains("ANTHROPIC_API_KEY") && !out.contains(key), "{out}");
    let status = run(&home, &["status", "--all", "--json"]);
    assert!(status.1.contains("ANTHROPIC_API_KEY") && !status.1.contains(key), "{status:?}");
    assert_eq!(run(&home, &["gateway", "stop"]).0, 0);
    assert_eq!(files_with(&home.state_path(), key), Vec::<String>::new());
}

/// The files below `folder` that have `secret` in them.
#[expect(clippy::disallowed_methods, reason = "a test looks for a secret in what the program wrote")]
fn files_with(folder: &std::path::Path, secret: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files_with(&path, secret));
        } else if String::from_utf8_lossy(&std::fs::read(&path).unwrap()).contains(secret) {
            found.push(path.display().to_string());
        }
    }
    found
}
