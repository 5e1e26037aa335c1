//! The command line: first commands, exit codes, the life of a gateway.

use std::os::unix::fs::PermissionsExt as _;

use crate::program::Program;

const TOKEN: &str = "q8Zr3VtLx0NwYbE5mKc7HdPfJ2sGuA9o1QiTeXyBvRM";

fn mode(path: &std::path::Path) -> u32 {
    path.metadata().unwrap().permissions().mode() & 0o7777
}

#[test]
fn any_command_may_be_the_first() {
    for (arguments, code) in [
        (vec!["config", "validate"], 0),
        (vec!["config", "validate", "--json"], 0),
        (vec!["config", "get"], 0),
        (vec!["config", "get", "gateway.auth.token"], 0),
        (vec!["config", "get", "gateway.nothing"], 1),
        (vec!["config", "set", "gateway.port", "18790"], 0),
        (vec!["config", "set", "gateway.port", "0"], 78),
        (vec!["config", "path"], 0),
        (vec!["config", "history"], 0),
        (vec!["config", "diff"], 1),
        (vec!["config", "undo"], 1),
        (vec!["config", "unset", "logging.level"], 1),
        (vec!["status"], 0),
        (vec!["status", "--all", "--json"], 0),
        (vec!["models", "status"], 0),
        (vec!["logs"], 0),
        (vec!["gateway", "stop"], 0),
        (vec!["gateway", "status"], 69),
        (vec!["gateway", "call", "health"], 69),
        (vec!["health"], 69),
        (vec!["models", "list"], 69),
        (vec!["models", "test"], 69),
        (vec!["sessions", "list"], 69),
        (vec!["sessions", "show", "main"], 69),
        (vec!["sessions", "reset", "main"], 69),
        (vec!["sessions", "delete", "main"], 69),
        (vec!["sessions", "export", "main"], 69),
        (vec!["sessions", "search", "x"], 69),
        (vec!["sessions", "import", "x", "/nowhere/x.jsonl"], 1),
        (vec!["chat"], 69),
        (vec!["agent", "--message", "hello"], 69),
    ] {
        let program = Program::new();
        let ran = program.run(&arguments);
        assert_eq!(ran.code, code, "{arguments:?}: {ran:?}");
        assert_eq!(mode(&program.state()), 0o700, "{arguments:?}");
        assert_eq!(mode(&program.state().join("moltbot.json")), 0o600, "{arguments:?}");
        if code == 69 {
            assert!(
                ran.err.contains("moltbot up") || ran.out.contains("moltbot up"),
                "{arguments:?}: {ran:?}"
            );
        }
    }
}

#[test]
fn changes_of_the_config_are_listed_compared_and_taken_back() {
    let program = Program::new();
    program.write_config(
        "{ // mine\n  gateway: { port: 18790 }, logging: { level: 'debug', consoleLevel: 'info' } }",
    );
    assert_eq!(program.run(&["config", "set", "gateway.port", "18791"]).code, 0);
    assert_eq!(program.run(&["config", "unset", "logging.level"]).code, 0);
    assert!(
        program.config().contains("// mine") && !program.config().contains("debug"),
        "{}",
        program.config()
    );
    let invalid = program.run(&["config", "unset", "gateway.nothing"]);
    assert!(invalid.code == 1 && invalid.err.contains("is not set"), "{invalid:?}");

    let listed: serde_json::Value =
        serde_json::from_str(&program.run(&["config", "history", "--json"]).out).unwrap();
    let commands: Vec<_> =
        listed["versions"].as_array().unwrap().iter().map(|row| row["command"].as_str().unwrap()).collect();
    assert_eq!(commands, ["config unset", "config set"]);
    let first = listed["versions"][1]["number"].to_string();

    assert_eq!(program.run(&["config", "diff"]).out, "logging.level: removed \"debug\"\n");
    let since_first = program.run(&["config", "diff", &first]).out;
    assert_eq!(since_first, "gateway.port: 18790 -> 18791\nlogging.level: removed \"debug\"\n");
    let none = program.run(&["config", "diff", "99"]);
    assert!(none.code == 1 && none.err.contains("moltbot config history"), "{none:?}");

    assert_eq!(program.run(&["config", "undo", &first]).code, 0);
    assert_eq!(program.run(&["config", "get", "gateway.port"]).out, "18790\n");
    assert_eq!(program.run(&["config", "get", "logging.level"]).out, "\"debug\"\n");
    assert_eq!(program.run(&["config", "undo"]).code, 0);
    assert_eq!(program.run(&["config", "get", "gateway.port"]).out, "18791\n");
}

#[test]
fn no_difference_between_versions_shows_a_secret() {
    let program = Program::new();
    let (old, new) = ("K7nWq2Zr8VtLx0YbE5mKc7HdPfJ2sGuA9o1QiTe", "R3pXs9Zr8VtLx0YbE5mKc7HdPfJ2sGuB9o1QiTe");
    program.write_config(&format!("{{ gateway: {{ auth: {{ token: '{old}' }} }} }}"));
    // The old one is kept as it stood there, in a sealed version.
    let ran = program.run_with(&["secrets", "set", "gateway.auth.token"], new);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(program.run(&["config", "diff"]).out, "gateway.auth.token: *** -> ***\n");
    for arguments in
        [vec!["config", "diff"], vec!["config", "diff", "--json"], vec!["config", "history", "--json"]]
    {
        let ran = program.run(&arguments);
        assert!(!ran.out.contains("K7nWq2Zr") && !ran.out.contains("R3pXs9Zr"), "{ran:?}");
    }
}

#[test]
fn what_needs_no_state_makes_none() {
    let program = Program::new();
    for shell in ["bash", "zsh", "fish"] {
        let ran = program.run(&["completion", shell]);
        assert_eq!(ran.code, 0);
        assert!(ran.out.contains("moltbot"), "{shell}");
    }
    assert_eq!(program.run(&["config", "schema"]).code, 0);
    for arguments in
        [vec![], vec!["nonsense"], vec!["agent"], vec!["up", "--port", "x"], vec!["logs", "--lines", "-1"]]
    {
        assert_eq!(program.run(&arguments).code, 2, "{arguments:?}");
    }
    assert!(!program.state().exists());
}

#[test]
fn a_config_with_five_errors_shows_all_of_them() {
    let program = Program::new();
    program.write_config(
        r#"{
  gateway: { port: "18789", bind: "everywhere", prot: 1 },
  agents: { defaults: { timeoutSeconds: 0 } },
  logging: { level: "loud" },
}"#,
    );
    for arguments in [vec!["config", "validate"], vec!["up"], vec!["gateway", "run"], vec!["status"]] {
        let ran = program.run(&arguments);
        assert_eq!(ran.code, 78, "{arguments:?}: {ran:?}");
        for part in ["gateway.port", "gateway.bind", "prot", "timeoutSeconds", "logging.level", "line 2"] {
            assert!(ran.err.contains(part), "{arguments:?} does not name {part}: {}", ran.err);
        }
    }
    let doctor = program.run(&["doctor"]);
    assert_eq!(doctor.code, 1, "{doctor:?}");
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a test reads what the program wrote")]
fn a_wish_for_more_safety_that_is_not_granted_is_said() {
    let program = Program::new();
    program.write_config(&format!(
        r#"{{
  gateway: {{ auth: {{ token: "{TOKEN}" }} }},
  agents: {{ list: [{{ id: "main", tools: {{ elevated: {{}} }} }}] }},
  ui: {{}},
}}"#
    ));
    let validate = program.run(&["config", "validate"]);
    assert_eq!(validate.code, 0, "{validate:?}");
    let said = ":3:43: agents.list[0].tools.elevated is not supported yet: what leaves the sandbox is the same for all agents";
    assert!(validate.out.contains(said), "{validate:?}");
    assert!(validate.out.contains(":4:3: ui is not supported yet\n"), "{validate:?}");
    let json = program.run(&["config", "validate", "--json"]);
    assert_eq!(json.code, 0, "{json:?}");
    let told: serde_json::Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!(
        told["unsupported"],
        serde_json::json!([
            {"path": "agents.list[0].tools.elevated", "line": 3, "column": 43,
             "note": "what leaves the sandbox is the same for all agents; see `tools.elevated`"},
            {"path": "ui", "line": 4, "column": 3, "note": null},
        ])
    );
    let up = program.start();
    assert!(up.err.contains("settings of the config that are not supported yet: 2, 1 of them"), "{up:?}");
    let log = std::fs::read_to_string(program.state().join("logs/gateway.jsonl")).unwrap();
    let line = log.lines().find(|line| line.contains("tools.elevated")).unwrap_or_else(|| panic!("{log}"));
    assert!(line.contains("WARN") && line.contains("the same for all agents"), "{line}");
    let doctor = program.run(&["doctor"]);
    assert!(doctor.out.contains("the same for all agents"), "{doctor:?}");
}

#[test]
fn a_weak_token_stops_the_gateway_and_is_not_printed() {
    let program = Program::new();
    program.write_config(r#"{ gateway: { auth: { token: "hunter2hunter2" } } }"#);
    for arguments in [vec!["up"], vec!["gateway", "run"], vec!["up", "--detach"]] {
        let ran = program.run(&arguments);
        assert_eq!(ran.code, 78, "{arguments:?}: {ran:?}");
        assert!(ran.err.contains("Invalid gateway token"), "{ran:?}");
        assert!(!ran.err.contains("hunter2"), "{ran:?}");
    }
}

#[test]
fn a_config_is_changed_with_its_comments_and_only_to_a_valid_one() {
    let program = Program::new();
    program.write_config(&format!(
        "{{\n  // mine\n  gateway: {{ port: 18789, auth: {{ token: \"{TOKEN}\" }} }},\n}}\n"
    ));
    assert_eq!(program.run(&["config", "set", "gateway.port", "18800"]).code, 0);
    assert!(program.config().contains("// mine"), "{}", program.config());
    assert_eq!(program.run(&["config", "get", "gateway.port"]).out, "18800\n");
    let before = program.config();
    let refused = program.run(&["config", "set", "gateway.port", "99999999"]);
    assert_eq!(refused.code, 78, "{refused:?}");
    assert_eq!(program.config(), before);
    for arguments in
        [vec!["config", "get"], vec!["config", "get", "gateway"], vec!["config", "get", "gateway.auth.token"]]
    {
        let ran = program.run(&arguments);
        assert_eq!(ran.code, 0, "{ran:?}");
        assert!(ran.out.contains("***") && !ran.out.contains(TOKEN), "{ran:?}");
    }
}

#[test]
fn a_gateway_lives_from_up_to_stop() {
    let program = Program::new();
    let first = program.start();
    let token = token_of(&program);
    for part in ["address", "http://127.0.0.1:", "token", "model", "chat", "stop"] {
        assert!(first.out.contains(part), "up does not say {part}: {}", first.out);
    }
    assert!(!first.out.contains(&token), "up prints the token");
    let second = program.run(&["up"]);
    assert_eq!(second.code, 0, "{second:?}");
    assert!(second.out.contains("runs already"), "{second:?}");
    let third = program.run(&["gateway", "run"]);
    assert_eq!(third.code, 75, "{third:?}");
    for arguments in [
        vec!["status"],
        vec!["status", "--all"],
        vec!["status", "--all", "--json"],
        vec!["health"],
        vec!["health", "--json"],
        vec!["gateway", "status"],
        vec!["gateway", "call", "agents.list"],
        vec!["sessions", "list"],
        vec!["models", "list"],
        vec!["models", "status"],
        vec!["logs"],
        vec!["doctor"],
    ] {
        let ran = program.run(&arguments);
        assert_eq!(ran.code, 0, "{arguments:?}: {ran:?}");
        assert!(!ran.out.contains(&token) && !ran.err.contains(&token), "{arguments:?} prints the token");
    }
    assert_eq!(program.run(&["gateway", "call", "no.such.method"]).code, 1);
    assert_eq!(program.run(&["gateway", "call", "health", "{"]).code, 2);
    assert_eq!(program.run(&["sessions", "show", "nothing"]).code, 1);
    assert_eq!(program.run(&["sessions", "export", "nothing"]).code, 1);
    assert_eq!(program.run(&["sessions", "search", "nothing"]).code, 1);
    let restarted = program.run(&["gateway", "restart"]);
    assert_eq!(restarted.code, 0, "{restarted:?}");
    assert_eq!(port_in(&restarted.out), port_in(&first.out), "the port given to up is kept");
    assert_eq!(program.run(&["gateway", "stop"]).code, 0);
    assert_eq!(program.run(&["gateway", "status"]).code, 69);
    assert_eq!(program.run(&["gateway", "stop"]).code, 0, "stopping twice is well");
}

/// The token as the gateway's owner gets it: it is sealed in the config.
fn token_of(program: &Program) -> String {
    let ran = program.run(&["secrets", "get", "gateway.auth.token", "--raw"]);
    assert_eq!((ran.code, ran.out.len()), (0, 43), "{}", ran.err);
    ran.out
}

fn port_in(said: &str) -> &str {
    said.split("http://127.0.0.1:").nth(1).and_then(|rest| rest.split_whitespace().next()).unwrap()
}

#[test]
fn without_a_model_every_message_is_answered_with_what_to_do() {
    let program = Program::new();
    program.write_config(&format!(
        r#"{{ gateway: {{ auth: {{ token: "{TOKEN}" }} }}, agents: {{ defaults: {{ model: "nobody/nothing" }} }} }}"#
    ));
    let up = program.run(&["up", "--detach", "--port", "0"]);
    assert_eq!(up.code, 0, "{up:?}");
    assert!(up.out.contains("nobody"), "up does not say what is wrong with the model: {up:?}");
    let agent = program.run(&["agent", "--message", "hello"]);
    assert_eq!(agent.code, 1, "{agent:?}");
    assert!(!agent.err.trim().is_empty() && agent.out.is_empty(), "{agent:?}");
    let json = program.run(&["agent", "--message", "hello", "--json"]);
    assert_eq!(json.code, 1, "{json:?}");
    for member in ["runId", "sessionKey", "status", "text", "usage", "toolCalls"] {
        assert!(json.out.contains(member), "{json:?}");
    }
    let chat = program.run_with(&["chat"], "hello\n/help\n");
    assert_eq!(chat.code, 1, "{chat:?}");
    assert!(chat.err.contains("error:") && chat.out.contains("/stop"), "{chat:?}");
}

#[test]
fn a_wrong_token_is_refused() {
    let program = Program::new();
    program.start();
    let output = program.command(&["health"]).env("MOLTBOT_GATEWAY_TOKEN", TOKEN).output().unwrap();
    let err = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(77), "{err}");
    assert!(!err.contains(TOKEN), "{err}");
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let program = Program::new();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = program.command(&["config", "schema"]).stdout(writer).output().unwrap();
    let err = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!((output.status.code(), err.as_str()), (Some(0), ""));
}

#[test]
fn the_names_of_older_installs_are_read_with_a_note() {
    let elsewhere = tempfile::tempdir().unwrap();
    let state = elsewhere.path().join("state").display().to_string();
    let program = Program::new().with("CLAWDBOT_STATE_DIR", state.clone());
    let ran = program.run(&["config", "path"]);
    assert_eq!(ran.out, format!("{state}/moltbot.json\n"));
    assert!(ran.err.contains("MOLTBOT_STATE_DIR"), "{ran:?}");
    assert!(!program.state().exists());
}

#[test]
fn a_secret_of_the_environment_stays_there() {
    let program = Program::new().with("MY_TOKEN", TOKEN);
    program.write_config(r#"{ gateway: { auth: { token: "${MY_TOKEN}" } } }"#);
    let ran = program.run(&["config", "get", "gateway.auth.token"]);
    assert_eq!(ran.out, "\"${MY_TOKEN}\"\n", "{ran:?}");
    let without = Program::new();
    without.write_config(r#"{ gateway: { auth: { token: "${MY_TOKEN}" } } }"#);
    let ran = without.run(&["config", "validate"]);
    assert_eq!(ran.code, 78);
    assert!(ran.err.contains("MY_TOKEN") && ran.err.contains("gateway.auth.token"), "{ran:?}");
}

#[test]
fn up_with_chat_opens_the_chat_and_the_gateway_goes_on() {
    let program = Program::new();
    let ran = program.run_with(&["up", "--chat", "--port", "0"], "/status\n/exit\n");
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.out.contains("address") && ran.out.contains("0 messages"), "{ran:?}");
    assert_eq!(program.run(&["gateway", "status"]).code, 0);
    assert_eq!(program.run(&["gateway", "stop"]).code, 0);
}

#[test]
fn a_followed_log_shows_what_is_added() {
    use std::io::{BufRead as _, BufReader};
    let program = Program::new();
    program.start();
    let mut follower = program.command(&["logs", "--follow", "--lines", "0"]).spawn().unwrap();
    let mut lines = BufReader::new(follower.stdout.take().unwrap()).lines();
    // Restarted until the follower, which may have looked too late, has seen one of the starts.
    let seen = std::thread::spawn(move || lines.next().unwrap().unwrap());
    while !seen.is_finished() {
        assert_eq!(program.run(&["gateway", "restart"]).code, 0);
    }
    let line = seen.join().unwrap();
    follower.kill().unwrap();
    follower.wait().unwrap();
    assert!(line.contains("the gateway"), "{line}");
}
