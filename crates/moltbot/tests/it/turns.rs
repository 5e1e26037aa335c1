//! The main job through the real binary with a scripted model: exact cases of turns and tools.

use moltbot_testkit::home::{Home, PROVIDER_KEY};
use moltbot_testkit::model::{Reply, ScriptedModel};
use moltbot_testkit::process::{Gateway, run};
use serde_json::{Value, json};

const PROGRAM: &str = env!("CARGO_BIN_EXE_moltbot");

/// Runs `moltbot agent --json` and answers what it printed.
fn ask(home: &Home, message: &str) -> Value {
    let output = run(PROGRAM, home, &["agent", "--json", "--message", message]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    serde_json::from_str(&text)
        .unwrap_or_else(|error| panic!("{error}: {text} {}", String::from_utf8_lossy(&output.stderr)))
}

#[test]
fn a_command_runs_in_the_sandbox_and_its_result_reaches_the_model_and_the_transcript() {
    let model = ScriptedModel::queue([
        Reply::tool("write", &json!({"path": "notes/harvest.txt", "content": "apples\n"})),
        Reply::tool(
            "exec",
            &json!({"command": "ls notes && cat notes/harvest.txt && id -u && ls /root /home 2>&1 | head -3"}),
        ),
        Reply::text("There is one file: harvest.txt"),
    ]);
    let home = Home::with_model(&model);
    let _gateway = Gateway::start(PROGRAM, &home);
    let answer = ask(&home, "list the files");
    assert_eq!(
        (&answer["status"], &answer["text"]),
        (&json!("ok"), &json!("There is one file: harvest.txt")),
        "{answer}"
    );
    let calls = answer["toolCalls"].as_array().unwrap();
    let names: Vec<&str> = calls.iter().map(|call| call["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["write", "exec"]);
    let result = calls[1]["result"].as_str().unwrap();
    assert_eq!(calls[1]["isError"], json!(false), "{result}");
    assert!(result.contains("harvest.txt\napples"), "{result}");
    assert!(!result.contains(".moltbot"), "the sandbox shows the home: {result}");
    let told = model.requests().last().unwrap().tool_results();
    assert!(told[1].contains("harvest.txt\napples"), "the model was told {told:?}");
    let shown = run(PROGRAM, &home, &["sessions", "show", "main", "--json"]);
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.contains("toolResult") && shown.contains("harvest.txt"), "{shown}");
}

#[test]
fn the_conversation_goes_on_after_a_restart() {
    let model = ScriptedModel::echo();
    let home = Home::with_model(&model);
    let mut gateway = Gateway::start(PROGRAM, &home);
    ask(&home, "my name is Ada");
    assert!(gateway.terminate().success());
    gateway.restart(&home);
    ask(&home, "what is my name?");
    let messages = model.requests().last().unwrap().messages();
    assert!(messages.iter().any(|message| message.to_string().contains("my name is Ada")), "{messages:?}");
}

#[test]
fn the_model_is_told_what_was_wrong_with_its_call_and_goes_on() {
    let model = ScriptedModel::queue([
        Reply::wrong_arguments("read", "7"),
        Reply::tool("read", &json!({"path": 7})),
        Reply::tool("read", &json!({"path": "../../etc/passwd"})),
        Reply::tool("fly", &json!({})),
        Reply::text("I give up"),
    ]);
    let home = Home::with_model(&model);
    let _gateway = Gateway::start(PROGRAM, &home);
    let answer = ask(&home, "read it");
    assert_eq!(answer["text"], "I give up", "{answer}");
    let calls = answer["toolCalls"].as_array().unwrap();
    assert_eq!(calls.len(), 4);
    for (call, says) in calls.iter().zip(["object", "path", "leads out of the workspace", "fly"]) {
        assert_eq!(call["isError"], json!(true), "{call}");
        assert!(call["result"].as_str().unwrap().contains(says), "{call} does not say {says}");
    }
}

#[test]
fn a_link_in_the_workspace_leads_no_tool_out() {
    let model = ScriptedModel::queue([
        // The review refuses such links where it reads them; it reads no files.
        Reply::tool("write", &json!({"path": "links.sh", "content": "ln -s /etc/passwd link; ln -s / root"})),
        Reply::tool("exec", &json!({"command": "bash links.sh"})),
        Reply::tools(&[
            ("read", json!({"path": "link"})),
            ("read", json!({"path": "root/etc/passwd"})),
            ("write", json!({"path": "root/tmp/moltbot-escaped", "content": "x"})),
            ("edit", json!({"path": "link", "oldText": "root", "newText": "toor"})),
        ]),
        Reply::text("done"),
    ]);
    let home = Home::with_model(&model);
    let _gateway = Gateway::start(PROGRAM, &home);
    let answer = ask(&home, "escape");
    let calls = answer["toolCalls"].as_array().unwrap();
    assert_eq!(calls[1]["isError"], json!(false), "{answer}");
    for call in &calls[2..] {
        assert_eq!(call["isError"], json!(true), "{call}");
    }
    assert!(!std::path::Path::new("/tmp/moltbot-escaped").exists());
}

#[test]
fn fifty_megabytes_of_output_are_capped_and_the_turn_goes_on() {
    let model = ScriptedModel::queue([
        Reply::tool("exec", &json!({"command": "head -c 50000000 /dev/zero | tr '\\0' x"})),
        Reply::text("that was long"),
    ]);
    let home = Home::with_model(&model);
    let _gateway = Gateway::start(PROGRAM, &home);
    let answer = ask(&home, "print a lot");
    assert_eq!(answer["text"], "that was long", "{}", answer["status"]);
    let told = model.requests().last().unwrap().tool_results().join("");
    let head: String = told.chars().take(200).collect();
    assert!(
        told.len() < 110_000 && head.contains("last 49900000 bytes are left out"),
        "{} bytes: {head}",
        told.len()
    );
}

#[test]
fn a_gateway_without_a_model_says_what_to_do_and_never_pretends() {
    let home = Home::empty().unwrap();
    home.write_config(&json!({
        "gateway": {"mode": "local", "port": home.port(), "auth": {"token": "q8Zr3VtLx0NwYbE5mKc7HdPfJ2sGuA9o1QiTeXyBvRM"}},
        "models": {"mode": "replace"},
        "agents": {"defaults": {"model": "nobody/none"}},
    }));
    let _gateway = Gateway::start(PROGRAM, &home);
    let output = run(PROGRAM, &home, &["agent", "--json", "--message", "hello"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(answer["status"], "error", "{answer}");
    assert_eq!(answer["text"], "", "{answer}");
}

#[test]
fn the_providers_key_reaches_the_provider_and_nothing_else() {
    let model = ScriptedModel::queue([
        Reply::tool(
            "exec",
            &json!({"command": "env; cat /proc/self/environ /proc/*/cmdline 2>/dev/null; echo end"}),
        ),
        Reply::text("done"),
    ]);
    let home = Home::with_model(&model);
    let gateway = Gateway::start(PROGRAM, &home);
    let answer = ask(&home, "print the environment");
    let token = gateway.token();
    let authorization = model.requests()[0].header("authorization").map(str::to_owned);
    assert_eq!(authorization, Some(format!("Bearer {PROVIDER_KEY}")));
    let bodies: String = model.requests().iter().map(|request| request.body.to_string()).collect();
    let printed = gateway.printed();
    for (place, text) in [("answer", answer.to_string()), ("model's context", bodies), ("terminal", printed)]
    {
        assert!(!text.contains(PROVIDER_KEY), "the provider's key is in the {place}");
        assert!(!text.contains(token), "the gateway's token is in the {place}");
    }
    for folder in ["logs", "ledger"] {
        for entry in std::fs::read_dir(home.state_path().join(folder)).unwrap() {
            let text = String::from_utf8_lossy(&bytes(&entry.unwrap().path())).into_owned();
            assert!(!text.contains(PROVIDER_KEY) && !text.contains(token), "a secret is in {folder}");
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "a test reads what the program wrote")]
fn bytes(path: &std::path::Path) -> Vec<u8> {
    std::fs::read(path).unwrap()
}

#[test]
fn the_book_has_every_sign_in_and_command_before_it_happened() {
    let model = ScriptedModel::queue([
        Reply::tool("exec", &json!({"command": "echo recorded"})),
        Reply::text("done"),
    ]);
    let home = Home::with_model(&model);
    let _gateway = Gateway::start(PROGRAM, &home);
    ask(&home, "run it");
    let mut lines = Vec::new();
    for entry in std::fs::read_dir(home.state_path().join("ledger")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|ending| ending != "mlog") {
            continue;
        }
        let text = String::from_utf8(bytes(&path)).unwrap();
        lines.extend(text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()));
    }
    let actions: Vec<&str> = lines.iter().filter_map(|line| line["action"].as_str()).collect();
    let place = |action: &str| {
        actions
            .iter()
            .position(|found| *found == action)
            .unwrap_or_else(|| panic!("no {action} in {actions:?}"))
    };
    assert!(place("ledger.start") < place("gateway.listen"), "{actions:?}");
    assert!(place("gateway.listen") < place("auth.sign_in"), "{actions:?}");
    assert!(place("auth.sign_in") < place("egress.open"), "{actions:?}");
    let of_command: Vec<&str> = lines
        .iter()
        .filter(|line| line["target"] == "echo recorded")
        .filter_map(|line| line["action"].as_str())
        .collect();
    assert_eq!(of_command, ["command.start", "command.end"]);
}
