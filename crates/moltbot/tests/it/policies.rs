//! Which tools a turn has by the owner's policies, through the real program: each step takes away, and none gives back.

use moltbot_testkit::home::Home;
use moltbot_testkit::model::{Reply, ScriptedModel};
use moltbot_testkit::process::{Gateway, run};
use serde_json::{Value, json};

use crate::hooks::{PROGRAM, block_on};
use crate::paths::told;
use crate::secrets::book_in;

/// The provider of the homes that tests make.
fn provider_of(home: &Home) -> String {
    let config: Value = serde_json::from_str(&home.config_text().unwrap()).unwrap();
    config["models"]["providers"].as_object().unwrap().keys().next().unwrap().clone()
}

/// What the model is offered in a conversation.
fn offered(change: impl FnOnce(&mut Value), session: &str) -> Vec<String> {
    let model = ScriptedModel::queue([Reply::text("done")]);
    let home = Home::with_model(&model);
    home.change_config(change);
    let gateway = Gateway::start(PROGRAM, &home);
    block_on(async {
        let mut client = gateway.connect().open().await.unwrap();
        let run = client.send_chat(session, "go").await;
        client.finish_chat(run).await;
    });
    model.requests()[0].tools()
}

#[test]
fn a_model_is_offered_what_every_policy_leaves() {
    let provider = provider_of(&Home::with_model(&ScriptedModel::queue([])));
    let by_provider = json!({ &provider: { "deny": ["write"] }, "another": { "deny": ["*"] } });
    let agent = json!([{ "id": "main", "tools": { "profile": "full", "deny": ["edit"] } }]);
    let shut_off = json!({ "tools": { "deny": ["group:runtime"] } });
    for (tools, agents, session, expected) in [
        (
            json!({ "allow": ["group:fs", "session_status"] }),
            json!([]),
            "main",
            &["edit", "read", "session_status", "write"][..],
        ),
        (json!({ "profile": "minimal" }), json!([]), "main", &["session_status"]),
        (
            json!({ "profile": "minimal", "alsoAllow": ["read"] }),
            json!([]),
            "main",
            &["read", "session_status"],
        ),
        // An agent gives itself nothing back.
        (json!({ "profile": "minimal" }), agent.clone(), "main", &["session_status"]),
        (json!({ "allow": ["group:fs"], "byProvider": by_provider }), agent, "main", &["read"]),
        (
            json!({ "deny": ["read"], "sandbox": shut_off }),
            json!([]),
            "main",
            &["edit", "exec", "process", "session_status", "write"],
        ),
        (
            json!({ "deny": ["read"], "sandbox": shut_off }),
            json!([]),
            "other",
            &["edit", "session_status", "write"],
        ),
        (json!({ "allow": ["no_such_tool"] }), json!([]), "main", &[]),
    ] {
        let change = |config: &mut Value| {
            for (name, value) in tools.as_object().unwrap() {
                config["tools"][name] = value.clone();
            }
            if agents != json!([]) {
                config["agents"]["list"] = agents.clone();
            }
        };
        assert_eq!(offered(change, session), expected, "{tools} {agents} in {session}");
    }
}

#[test]
fn a_model_that_calls_what_it_was_not_offered_gets_nothing_and_the_book_says_so() {
    let model = ScriptedModel::queue([]);
    let home = Home::with_model(&model);
    home.change_config(|config| config["tools"] = json!({ "allow": ["group:fs"], "deny": ["write"] }));
    let _gateway = Gateway::start(PROGRAM, &home);
    let calls = [
        ("exec", json!({ "command": "touch made" })),
        ("write", json!({ "path": "made", "content": "x" })),
        ("process", json!({ "action": "list" })),
    ];
    for ((is_error, said), (name, _)) in told(&home, &model, &calls).into_iter().zip(&calls) {
        assert!(is_error && said.contains(&format!("there is no tool `{name}`; there are")), "{said}");
    }
    assert!(!home.state_path().join("workspace/made").exists());
    let book = book_in(home.path());
    for name in ["exec", "write", "process"] {
        let refused = format!("\"action\":\"tool.call\",\"target\":\"{name}\",\"decision\":\"refused\"");
        assert!(book.contains(&refused), "{name}");
    }
}

#[test]
fn a_policy_that_says_two_things_at_once_stops_the_start() {
    let model = ScriptedModel::queue([]);
    for (at, change) in [
        ("tools.alsoAllow", json!({ "tools": { "allow": ["read"], "alsoAllow": ["exec"] } })),
        (
            "tools.byProvider.local.alsoAllow",
            json!({ "tools": { "byProvider": { "local": { "allow": ["read"], "alsoAllow": ["exec"] } } } }),
        ),
        (
            "agents.list[0].tools.alsoAllow",
            json!({ "agents": { "list": [{ "id": "main", "tools": { "allow": ["read"], "alsoAllow": ["exec"] } }] } }),
        ),
    ] {
        let home = Home::with_model(&model);
        home.change_config(|config| {
            for (name, value) in change.as_object().unwrap() {
                for (member, value) in value.as_object().unwrap() {
                    config[name][member] = value.clone();
                }
            }
        });
        let ran = run(PROGRAM, &home, &["gateway", "run"]);
        let said = String::from_utf8_lossy(&ran.stderr).into_owned();
        assert!(ran.status.code() == Some(78) && said.contains(at), "{at}: {said}");
    }
}
