//! What `moltbot doctor` finds out about those beyond this machine.

use serde_json::{Value, json};

use super::Stage;

/// The rows of one kind: how they are judged, and what is said.
fn rows(stage: &Stage, id: &str) -> Vec<(String, String)> {
    let (status, text) = stage.moltbot(&["doctor", "--json"]);
    assert_eq!(status, 0, "{text}");
    assert!(!text.contains(stage.api.token()), "no token is told: {text}");
    let told: Value =
        text.find('{').map(|at| serde_json::from_str(text.get(at..).unwrap()).unwrap()).unwrap();
    let part = |row: &Value, name: &str| row[name].as_str().unwrap().to_owned();
    let all = told["checks"].as_array().unwrap().iter().filter(|row| row["id"] == id);
    all.map(|row| (part(row, "level"), part(row, "what"))).collect()
}

#[test]
fn doctor_tells_who_takes_us_for_who_we_are_with_a_gateway_and_without() {
    let mut stage = Stage::with(|_| json!({}));
    stage.state_that(|state| state["connected"] == true);
    assert_eq!(rows(&stage, "channel"), [("ok".into(), "telegram:default is connected".into())]);
    let models = rows(&stage, "model.provider");
    assert!(models.len() == 1 && models[0].0 == "ok", "{models:?}");
    stage.gateway.terminate();
    let found = rows(&stage, "channel");
    assert!(found.len() == 1 && found[0].0 == "ok", "{found:?}");
    assert!(found[0].1.starts_with("telegram:default takes us for @"), "{found:?}");
    assert_eq!(rows(&stage, "model.provider"), models);
}

#[test]
fn doctor_tells_which_token_or_provider_is_refused() {
    let mut stage = Stage::with(|_| json!({}));
    stage.gateway.terminate();
    stage.home.change_config(|config| {
        config["channels"]["telegram"]["botToken"] = json!("123456:AAFakeFakeFakeFakeFakeFakeFakeFakeFak");
        config["models"]["providers"]["gone"] = json!({
            "api": "openai-completions", "apiKey": "none", "baseUrl": "http://127.0.0.1:9/v1",
            "models": [{"id": "m", "name": "m"}],
        });
    });
    let found = rows(&stage, "channel");
    assert!(found.len() == 1 && found[0].0 == "warn", "{found:?}");
    assert!(found[0].1.contains("telegram:default does not work"), "{found:?}");
    let models = rows(&stage, "model.provider");
    let gone = models.iter().find(|(_, what)| what.starts_with("gone ")).unwrap();
    assert!(gone.0 == "warn" && gone.1.contains("does not answer as it should"), "{models:?}");
}
