//! What somebody says while he is answered.

use std::time::Duration;

use moltbot_testkit::home::Home;
use moltbot_testkit::model::{Reply, ScriptedModel};
use moltbot_testkit::process::Gateway;
use moltbot_testkit::telegram::TelegramApi;
use serde_json::json;

use super::{PROGRAM, ann, texts};

#[test]
fn what_somebody_says_meanwhile_is_answered_together() {
    let model = ScriptedModel::answering(|request| {
        if request.last_user_text().contains("one") {
            Reply::Slow { chunks: vec!["busy".into()], delay: Duration::from_millis(1500) }
        } else {
            Reply::text("all of it")
        }
    });
    let (api, home) = (TelegramApi::start(), Home::with_model(&model));
    home.change_config(|config| {
        config["channels"] = json!({"telegram": {
            "botToken": api.token(), "apiRoot": api.root(), "dmPolicy": "allowlist", "allowFrom": [ann().id],
        }});
    });
    let _gateway = Gateway::start(PROGRAM, &home);
    api.write(&ann(), "one");
    model.wait_for_requests(1);
    api.write(&ann(), "two");
    api.write(&ann(), "three");
    let told = api.wait_for_sent(ann().id, 2);
    assert_eq!(texts(&told), ["busy", "all of it"]);
    let requests = model.requests();
    assert_eq!(requests.len(), 2);
    let said: Vec<String> = requests[1].messages().iter().map(|said| said["content"].to_string()).collect();
    assert!(said.iter().any(|text| text.contains("two")), "{said:?}");
    assert!(requests[1].last_user_text().contains("three"));
}
