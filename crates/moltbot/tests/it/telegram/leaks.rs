//! The bot's token is in the path of every request, and nowhere else.

use moltbot_testkit::home::PROVIDER_KEY;
use moltbot_testkit::telegram::Fault;
use serde_json::json;

use super::{Stage, ann};
use crate::secrets::files;

#[test]
fn j01_a_bot_token_is_in_no_log_no_error_no_record_and_no_file() {
    let mut stage = Stage::with(|_| json!({"allowFrom": [ann().id]}));
    stage.home.change_config(|config| config["logging"] = json!({"level": "trace", "consoleLevel": "trace"}));
    stage.gateway.restart(&stage.home);
    let (token, ann) = (stage.api.token().to_owned(), ann());
    let secret = token.split(':').nth(1).unwrap().to_owned();
    // The first change of the config seals what stands in it.
    let (status, text) = stage.moltbot(&["config", "set", "channels.telegram.enabled", "true"]);
    assert_eq!(status, 0, "{text}");
    stage.gateway.restart(&stage.home);
    // A vendor that repeats the token in what it says, and a connection that ends.
    let repeated = Fault::Refuse(400, format!("Bad Request: {token}"));
    stage.api.fail("sendMessage", [repeated.clone()]);
    stage.api.fail("getUpdates", [repeated]);
    stage.api.write(&ann, "hi");
    stage.api.go_down();
    stage.api.come_back();
    stage.api.write(&ann, "again");
    stage.api.wait_for_sent(ann.id, 1);
    stage.api.revoke_token();
    let mut told = String::new();
    for arguments in [
        &["status"][..],
        &["health"],
        &["doctor"],
        &["config", "show"],
        &["ledger", "tail", "--json"],
        &["gateway", "call", "channels.status"],
        &["gateway", "call", "config.get"],
        &["logs"],
    ] {
        told.push_str(&stage.moltbot(arguments).1);
    }
    stage.gateway.terminate();
    told.push_str(&stage.gateway.printed());
    assert!(!told.contains(&secret), "{}", lines_with(&told, &secret));
    for (path, bytes) in files(stage.home.path()) {
        let text = String::from_utf8_lossy(&bytes);
        assert!(!text.contains(&secret), "{path:?}: {}", lines_with(&text, &secret));
    }
}

fn lines_with(text: &str, secret: &str) -> String {
    text.lines().filter(|line| line.contains(secret)).take(5).collect::<Vec<_>>().join("\n")
}

#[test]
fn l13_no_secret_and_nothing_between_the_program_and_a_model_leaves_for_a_chat() {
    let stage = Stage::with(|_| json!({"allowFrom": [ann().id]}));
    let (ann, token) = (ann(), stage.gateway.token().to_owned());
    // The model says what it was told, as one does that has read a file with keys in it.
    let said = format!(
        "key {PROVIDER_KEY}, token {token} <tool_call>{{\"name\": \"exec\"}}</tool_call><think>he must not know</think> end"
    );
    stage.api.write(&ann, &said);
    let sent = stage.api.wait_for_sent(ann.id, 1);
    let text = &sent[0].text;
    for hidden in [PROVIDER_KEY, &token, "tool_call", "he must not know"] {
        assert!(!text.contains(hidden), "{hidden} left: {text}");
    }
    assert!(text.contains("key ***, token ***") && text.ends_with("end"), "{text}");
    stage.api.write(&ann, "is `a < b` so?");
    let sent = stage.api.wait_for_sent(ann.id, 2);
    assert!(sent[1].text.contains("a < b"), "the rest is said as it is: {sent:?}");
}
