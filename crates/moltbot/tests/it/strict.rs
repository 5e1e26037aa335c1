//! The strict profiles, to the real binary.

use moltbot_testkit::client::{Connect, Device, SignatureVersion};
use moltbot_testkit::home::Home;
use moltbot_testkit::model::ScriptedModel;
use moltbot_testkit::process::{Gateway, run};
use moltbot_testkit::raw::http;
use serde_json::json;

use crate::secrets::PROGRAM;

fn house(profile: &str) -> (ScriptedModel, Home, Gateway) {
    let model = ScriptedModel::echo();
    let home = Home::with_model(&model);
    home.change_config(|config| config["security"] = json!({"profile": profile}));
    let gateway = Gateway::start(PROGRAM, &home);
    (model, home, gateway)
}

/// Status, head and body of a request with that token.
fn answer(gateway: &Gateway, token: &str) -> (u16, String, String) {
    let bearer = format!("Bearer {token}");
    let answer = http(gateway.port(), "POST", "/v1/chat/completions", &[("authorization", &bearer)], b"{}");
    let head = answer.head.lines().filter(|line| !line.to_lowercase().starts_with("date:"));
    let head = head.collect::<Vec<_>>().join("\n");
    (answer.status, head, answer.text())
}

/// Three wrong, then the right one: the fourth is refused, and nothing of the answer tells that it was right.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_the_strict_profiles_three_failures_lock_and_the_lock_looks_like_a_wrong_credential() {
    for profile in ["asvs", "dod"] {
        let (_model, home, mut gateway) = house(profile);
        assert!(run(PROGRAM, &home, &["health"]).status.success());
        let wrong = tokio::task::block_in_place(|| {
            let first = answer(&gateway, "wrong");
            assert_eq!(
                (answer(&gateway, "wrong"), answer(&gateway, "wrong")),
                (first.clone(), first.clone())
            );
            first
        });
        assert_eq!(wrong.0, 401, "{profile}");
        let right = tokio::task::block_in_place(|| answer(&gateway, gateway.token()));
        assert_eq!(right, wrong, "{profile}: the right one after three wrong ones");
        let refused = async |token: &str| {
            let rejected = Connect::to(gateway.port()).token(token).open().await.err().unwrap();
            (serde_json::to_string(&rejected.error).unwrap(), rejected.close)
        };
        let (right, wrong) = (refused(gateway.token()).await, refused("wrong").await);
        assert_eq!(right, wrong, "{profile}: over the other way in, too");
        assert!(wrong.0.contains("unauthorized") && !wrong.0.contains("retry"), "{wrong:?}");
        // The device that is known goes on, and the lock outlives a restart.
        assert!(run(PROGRAM, &home, &["health"]).status.success(), "the owner is not kept out");
        gateway.kill9();
        gateway.restart(&home);
        assert_eq!(tokio::task::block_in_place(|| answer(&gateway, gateway.token())).0, 401, "{profile}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_key_tightens_the_limits_of_sessions() {
    let limits = async |profile| {
        let (_model, _home, gateway) = house(profile);
        let owner = gateway.connect().device(&Device::from_seed(1), SignatureVersion::V3);
        let owner = owner.scopes(&["operator.pairing"]).open().await.unwrap();
        owner.call("clients.list", json!({})).await.unwrap()["limits"].clone()
    };
    let told = |idle: u64, admin: u64, longest: u64| json!({"idleSeconds": idle, "idleAdminSeconds": admin, "longestSeconds": longest});
    assert_eq!(limits("personal").await, told(604_800, 604_800, 2_592_000));
    assert_eq!(limits("asvs").await, told(1800, 1800, 43_200));
    assert_eq!(limits("dod").await, told(900, 600, 28_800));
}

#[test]
fn a_profile_that_there_is_not_stops_the_start() {
    let model = ScriptedModel::echo();
    let home = Home::with_model(&model);
    home.change_config(|config| config["security"] = json!({"profile": "strict"}));
    let ran = run(PROGRAM, &home, &["gateway", "run"]);
    let told = String::from_utf8_lossy(&ran.stderr).into_owned();
    assert_eq!(ran.status.code(), Some(78), "{told}");
    assert!(told.contains("security.profile") && told.contains("asvs"), "{told}");
}
