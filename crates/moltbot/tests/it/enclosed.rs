//! The sandbox through the real binary: attempts to leave it, and what sessions see of the owner's files.

use moltbot_testkit::home::Home;
use moltbot_testkit::model::{Reply, ScriptedModel};
use moltbot_testkit::process::{Gateway, run};
use serde_json::{Value, json};

const PROGRAM: &str = env!("CARGO_BIN_EXE_moltbot");

/// Says something in a session, by its id; in the main one without.
fn ask(home: &Home, session: Option<&str>, message: &str) -> Value {
    let mut arguments = vec!["agent", "--json", "--message", message];
    arguments.extend(session.iter().flat_map(|id| ["--session-id", *id]));
    printed(home, &arguments)
}

/// The id of a session that is not the main one.
fn guest(home: &Home) -> String {
    let params = json!({"key": "agent:main:guest", "label": "guest"}).to_string();
    let answer = printed(home, &["gateway", "call", "sessions.patch", &params]);
    answer["entry"]["sessionId"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
}

fn printed(home: &Home, arguments: &[&str]) -> Value {
    let output = run(PROGRAM, home, arguments);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    serde_json::from_str(&text)
        .unwrap_or_else(|error| panic!("{error}: {text} {}", String::from_utf8_lossy(&output.stderr)))
}

/// A config with these walls for every agent.
fn with_sandbox(home: &Home, sandbox: &Value) {
    home.change_config(|config| config["agents"]["defaults"]["sandbox"] = sandbox.clone());
}

#[cfg(target_arch = "x86_64")]
#[test]
fn an_attempt_to_leave_the_sandbox_ends_the_turn_and_is_in_the_book() {
    let model = ScriptedModel::queue([
        Reply::tool(
            "write",
            &json!({"path": "a.pl", "content": "syscall(272, 0x10000000); print 'went on'"}),
        ),
        Reply::tool("exec", &json!({"command": "perl a.pl"})),
        Reply::text("never asked for"),
    ]);
    let home = Home::with_model(&model);
    let mut gateway = Gateway::start(PROGRAM, &home);
    let answer = ask(&home, None, "go");
    let shown = answer.to_string();
    assert_eq!(answer["status"], json!("error"), "{shown}");
    assert!(shown.contains("the system call unshare"), "{shown}");
    assert_eq!(answer["toolCalls"][1]["result"], json!("killed: it tried to leave the sandbox\n(no output)"));
    assert!(!shown.contains("never asked for"), "{shown}");
    let found = run(PROGRAM, &home, &["ledger", "search", "--action", "command.attempt", "--json"]);
    let book = String::from_utf8_lossy(&found.stdout).into_owned();
    assert!(book.contains("\"unshare\"") && book.contains("\"high\""), "{book}");
    gateway.terminate();
}

#[test]
fn a_session_that_may_only_read_the_workspace_changes_nothing_in_it() {
    let command = "cat mine.txt; echo no > mine.txt; echo no > new.txt; rm -f mine.txt; ls";
    let model = ScriptedModel::queue([
        Reply::tool("write", &json!({"path": "mine.txt", "content": "the owner's\n"})),
        Reply::text("written"),
        Reply::tool("exec", &json!({"command": command})),
        Reply::tool("write", &json!({"path": "mine.txt", "content": "no"})),
        Reply::text("tried"),
    ]);
    let home = Home::with_model(&model);
    with_sandbox(&home, &json!({"workspaceAccess": "ro"}));
    let _gateway = Gateway::start(PROGRAM, &home);
    assert_eq!(ask(&home, None, "write")["text"], json!("written"));
    let answer = ask(&home, Some(&guest(&home)), "try");
    let calls = answer["toolCalls"].as_array().unwrap();
    let result = calls[0]["result"].as_str().unwrap();
    assert!(result.contains("the owner's") && result.contains("Read-only file system"), "{result}");
    assert!(calls[1]["result"].as_str().unwrap().contains("there is no tool `write`"), "{answer}");
    let workspace = home.state_path().join("workspace");
    #[expect(clippy::disallowed_methods, reason = "a test looks at what is there")]
    let kept = std::fs::read_to_string(workspace.join("mine.txt")).unwrap();
    assert_eq!((kept.as_str(), workspace.join("new.txt").exists()), ("the owner's\n", false));
}

#[test]
fn the_walls_of_every_agent_are_tried() {
    let home = Home::with_model(&ScriptedModel::queue([]));
    let looked = || {
        let output = run(PROGRAM, &home, &["sandbox", "doctor", "--json"]);
        let told: Value = serde_json::from_slice(&output.stdout).unwrap();
        let levels = |level: &str| {
            let checks = told["checks"].as_array().unwrap().iter();
            checks.filter(|check| check["id"] == "sandbox" && check["level"] == level).count()
        };
        (output.status.code(), told["ok"].clone(), levels("ok"), levels("fail"))
    };
    assert_eq!(looked(), (Some(0), json!(true), 1, 0));
    let nowhere = home.path().join("no-engine.sock");
    home.change_config(|config| {
        config["agents"]["defaults"]["sandbox"] = json!({"docker": {"socket": nowhere}});
        config["agents"]["list"] = json!([
            {"id": "main"},
            {"id": "work", "sandbox": {"backend": "docker"}},
            {"id": "play", "sandbox": {"backend": "docker", "docker": {"image": "another"}}},
        ]);
    });
    // The embedded walls once, and each of two images that no engine has.
    assert_eq!(looked(), (Some(1), json!(false), 1, 2));
}
