//! The logs of sign-ins and commands, through the real program.

use moltbot_testkit::home::Home;
use moltbot_testkit::model::{Reply, ScriptedModel};
use moltbot_testkit::process::{Gateway, run};
use serde_json::{Value, json};

const PROGRAM: &str = env!("CARGO_BIN_EXE_moltbot");

fn log(home: &Home, name: &str) -> Vec<Value> {
    let text = read(&home.state_path().join("logs").join(name));
    text.lines().map(|line| serde_json::from_str(line).expect("a JSON line")).collect()
}

#[expect(clippy::disallowed_methods, reason = "a test reads what the program wrote")]
fn read(path: &std::path::Path) -> String {
    String::from_utf8_lossy(&std::fs::read(path).expect("a file")).into_owned()
}

#[test]
fn d_70_d_72_d_75_a_command_has_one_line_that_says_how_it_ended_and_no_secret() {
    let command = "echo --token hunter2hunter2 >/dev/null; exit 3";
    let model =
        ScriptedModel::queue([Reply::tool("exec", &json!({"command": command})), Reply::text("done")]);
    let home = Home::with_model(&model);
    let mut gateway = Gateway::start(PROGRAM, &home);
    let output = run(PROGRAM, &home, &["agent", "--json", "--message", "go"]);
    assert!(output.status.success(), "{output:?}");
    gateway.terminate();
    let lines = log(&home, "command-audit.jsonl");
    let of_agent: Vec<&Value> = lines.iter().filter(|line| line["agentId"] == "main").collect();
    let [line] = of_agent.as_slice() else { panic!("{lines:#?}") };
    let told = line["command"].as_str().unwrap();
    assert!(told.starts_with("echo --token hmac:") && told.ends_with(" >/dev/null; exit 3"), "{told}");
    for (name, expected) in [
        ("sessionKey", json!("agent:main:main")),
        ("sandbox", json!(true)),
        ("elevated", json!(false)),
        ("approved", json!(true)),
        ("exitCode", json!(3)),
        ("outcome", json!("exit 3")),
    ] {
        assert_eq!(line[name], expected, "{name} of {line}");
    }
    assert!(line["duration"].is_u64() && line["runId"].is_string(), "{line}");
    let folder =
        |name: &str| home.state_path().join(name).read_dir().unwrap().map(|file| file.unwrap().path());
    for file in folder("logs").chain(folder("ledger")).filter(|file| file.extension().is_some()) {
        assert!(!read(&file).contains("hunter2hunter2"), "the secret is in {}", file.display());
    }
    let sign_ins = log(&home, "auth-audit.jsonl");
    assert!(
        sign_ins.iter().all(|line| line["success"] == true && line["clientIp"] == "127.0.0.1"),
        "{sign_ins:?}"
    );
    assert_eq!(sign_ins, log(&home, "auth-audit-success.jsonl"));
}
