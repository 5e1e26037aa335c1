//! `moltbot support bundle` through the real binary: it says enough to help, and nothing that a stranger may not know.

use moltbot_testkit::home::Home;
use moltbot_testkit::model::ScriptedModel;
use moltbot_testkit::process::{Gateway, run};
use serde_json::{Value, json};

use crate::paths::read;
use crate::program::Program;

const PROGRAM: &str = env!("CARGO_BIN_EXE_moltbot");

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bundle_says_enough_to_help_and_nothing_that_a_person_has_chosen_or_said() {
    let model = ScriptedModel::echo();
    let home = Home::with_model(&model);
    let hidden = [
        "canary-of-the-provider-000000",
        "rutabaga",
        "4711471147",
        "quillfeather.example.org",
        "Quillfeather",
    ];
    home.change_config(|config| {
        config["models"]["providers"]["rutabaga"] = json!({
            "baseUrl": "https://quillfeather.example.org/v1", "apiKey": hidden[0], "models": [],
        });
        config["channels"]["telegram"] =
            json!({"enabled": false, "allowFrom": [4_711_471_147_u64], "dmPolicy": "allowlist"});
    });
    let gateway = Gateway::start(PROGRAM, &home);
    let mut client = gateway.connect().open().await.unwrap();
    client.chat("agent:main:rutabaga", "My cat is called Quillfeather").await;
    let token = gateway.token().to_owned();
    let file = home.path().join("bundle.json");
    let arguments = ["support", "bundle", "--out", file.to_str().unwrap(), "--json"];
    let ran = run(PROGRAM, &home, &arguments);
    assert!(ran.status.success(), "{ran:?}");
    let text = read(&file);
    for word in hidden.iter().copied().chain([&*token, home.path().to_str().unwrap()]) {
        let line = text.lines().find(|line| line.contains(word));
        assert_eq!(line, None, "{word} is there");
    }
    // Enough to help: what is set, what was found, what happened.
    let told: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(told["program"]["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(told["config"]["channels"]["telegram"]["enabled"], false);
    assert_eq!(told["config"]["channels"]["telegram"]["dmPolicy"], "allowlist");
    assert!(told["audit"]["score"].is_u64() && told["audit"]["findings"].is_array(), "{}", told["audit"]);
    let rows = told["doctor"].as_array().unwrap();
    assert!(rows.iter().any(|row| row["id"] == "sandbox" || row["id"] == "state.folder"), "{rows:?}");
    let log = told["log"].as_array().unwrap();
    assert!(log.iter().any(|line| line.as_str().unwrap().contains("the gateway listens")), "{log:?}");
    assert!(told["files"].as_array().unwrap().contains(&json!("state.db")), "{}", told["files"]);
    let mode = std::os::unix::fs::MetadataExt::mode(&file.metadata().unwrap());
    assert_eq!(mode & 0o777, 0o600);
    // It is never written over another.
    let again = run(PROGRAM, &home, &arguments);
    assert_eq!((again.status.code(), read(&file)), (Some(1), text));
}

#[test]
fn a_bundle_is_made_of_what_is_broken_and_of_nothing() {
    for config in [
        None,
        Some("{ token: \"canary-in-what-is-broken"),
        Some("{\"gateway\": {\"auth\": {\"token\": \"short-canary\"}}}"),
    ] {
        let program = Program::new();
        if let Some(config) = config {
            program.write_config(config);
        }
        let file = program.state().join("../bundle.json");
        let ran = program.run(&["support", "bundle", "--out", file.to_str().unwrap()]);
        assert_eq!(ran.code, 0, "{config:?}: {ran:?}");
        let text = read(&file);
        assert!(!text.contains("canary"), "{config:?}: {text}");
        assert!(serde_json::from_str::<Value>(&text).unwrap()["doctor"].is_array(), "{text}");
    }
}
