//! The terminal that a model may ask for.

use moltbot_testkit::home::Home;
use moltbot_testkit::model::ScriptedModel;
use moltbot_testkit::process::Gateway;
use serde_json::json;

use super::stage::{Stage, users};
use crate::hooks::PROGRAM;
use crate::paths::told;
use crate::secrets::book_in;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_writes_to_a_terminal_where_the_model_asks_for_one() {
    const NAME: &str = "a_command_writes_to_a_terminal_where_the_model_asks_for_one";
    let command = "test -t 1 && echo terminal || echo pipe; cat";
    for user in users(NAME) {
        let mut stage = Stage::new(user).await;
        assert_eq!(
            stage.call("exec", json!({"command": command})).await,
            "exit code 0\n\npipe\n",
            "as {user:?}"
        );
        let told = stage.call("exec", json!({"command": command, "pty": true})).await;
        assert_eq!(told, "exit code 0\n\nterminal\n", "as {user:?}");
    }
}

#[test]
fn a_terminal_is_refused_where_there_is_none() {
    let model = ScriptedModel::queue([]);
    let home = Home::with_model(&model);
    home.change_config(|config| config["agents"]["defaults"]["sandbox"] = json!({"backend": "docker"}));
    let _gateway = Gateway::start(PROGRAM, &home);
    let calls = [
        ("exec", json!({"command": "echo on", "pty": true})),
        ("exec", json!({"command": "echo on", "pty": 1})),
    ];
    let told = told(&home, &model, &calls);
    assert!(
        told[0].0 && told[0].1.contains("there is no terminal in containers; leave `pty` out"),
        "{told:?}"
    );
    assert!(told[1].0 && told[1].1.contains("`pty`"), "{told:?}");
    assert!(book_in(home.path()).contains("\"code\":\"terminal_unavailable\""));
}
