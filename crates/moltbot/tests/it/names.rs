//! The variables of other generations, which people have in their shells: read, and never before ours.

use moltbot_testkit::client::Connect;
use moltbot_testkit::home::Home;
use moltbot_testkit::model::{ScriptedModel, echo_of};
use moltbot_testkit::process::Gateway;
use serde_json::Value;

const OURS: &str = "q8Zr3VtLx0NwYbE5mKc7HdPfJ2sGuA9o1QiTeXyBvRM";
const THEIRS: &str = "Vb4Yt9ZkQ2wLr7XnGc5Hs8Jd3Mf6Pu1Ae0IoKqRxTyN";

/// A home whose config has neither port nor token and stands elsewhere; its path.
fn home(model: &ScriptedModel) -> (Home, String) {
    let home = Home::with_model(model);
    let mut config: Value = serde_json::from_str(&home.config_text().unwrap()).unwrap();
    config.as_object_mut().unwrap().remove("gateway");
    home.state().write("elsewhere.json", config.to_string().as_bytes()).unwrap();
    let path = home.state_path().join("elsewhere.json").to_string_lossy().into_owned();
    home.state().remove("moltbot.json").unwrap();
    (home, path)
}

#[tokio::test]
async fn the_variables_of_other_generations_name_config_port_and_token() {
    for prefix in ["OPENCLAW", "CLAWDBOT"] {
        let model = ScriptedModel::echo();
        let (home, config) = home(&model);
        let names = ["CONFIG_PATH", "GATEWAY_PORT", "GATEWAY_TOKEN"].map(|name| format!("{prefix}_{name}"));
        let port = home.port().to_string();
        let variables = [(&*names[0], &*config), (&*names[1], &*port), (&*names[2], THEIRS)];
        let gateway = Gateway::start_with(env!("CARGO_BIN_EXE_moltbot"), &home, &variables);
        let connect = Connect::to(gateway.port()).token(THEIRS).scopes(&["operator.write"]);
        let chat = connect.open().await.unwrap().chat("main", prefix).await;
        assert_eq!(chat.text, echo_of(prefix), "the model of that config");
        let printed = gateway.printed();
        for name in &names {
            assert!(
                printed.contains(&format!("note: {name} is read; its name here is MOLTBOT_")),
                "{printed}"
            );
        }
        assert!(!printed.contains(THEIRS), "{printed}");
    }
}

#[tokio::test]
async fn our_own_variables_come_first() {
    let model = ScriptedModel::echo();
    let (home, config) = home(&model);
    let port = home.port().to_string();
    let variables = [
        ("MOLTBOT_CONFIG_PATH", &*config),
        ("CLAWDBOT_CONFIG_PATH", "/nowhere/clawdbot.json"),
        ("MOLTBOT_GATEWAY_PORT", &*port),
        ("CLAWDBOT_GATEWAY_PORT", "1"),
        ("MOLTBOT_GATEWAY_TOKEN", OURS),
        ("OPENCLAW_GATEWAY_TOKEN", THEIRS),
        ("CLAWDBOT_GATEWAY_TOKEN", THEIRS),
    ];
    let gateway = Gateway::start_with(env!("CARGO_BIN_EXE_moltbot"), &home, &variables);
    assert!(Connect::to(gateway.port()).token(THEIRS).open().await.is_err());
    assert!(Connect::to(gateway.port()).token(OURS).open().await.is_ok());
    assert!(!gateway.printed().contains("CLAWDBOT_"), "{}", gateway.printed());
}
