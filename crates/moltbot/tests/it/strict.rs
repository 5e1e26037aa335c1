//! The strict profiles, and passwords kept as hashes, to the real binary.

use std::io::Write as _;
use std::process::Stdio;

use moltbot_testkit::client::{Connect, Device, SignatureVersion};
use moltbot_testkit::home::Home;
use moltbot_testkit::model::ScriptedModel;
use moltbot_testkit::process::{Gateway, command, run};
use moltbot_testkit::raw::http;
use serde_json::json;

use crate::secrets::{PROGRAM, book_in};

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

/// The config has the hash alone: the password lets in, signed by a device or not, and the hash does not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d_06_a_password_is_kept_as_its_hash_which_lets_nobody_in() {
    const PASSWORD: &str = "lila Nashorn isst Kohl";
    let model = ScriptedModel::echo();
    let home = Home::with_model(&model);
    let hash = |password: &str| {
        let mut child = command(PROGRAM, &home, &["secrets", "hash-password"]);
        child.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = child.spawn().unwrap();
        child.stdin.take().unwrap().write_all(password.as_bytes()).unwrap();
        let ran = child.wait_with_output().unwrap();
        (ran.status.code().unwrap(), String::from_utf8(ran.stdout).unwrap().trim().to_owned())
    };
    assert_eq!(hash("password12345678"), (1, String::new()), "a common one is none");
    let (code, hashed) = hash(PASSWORD);
    assert!(code == 0 && hashed.starts_with("$argon2id$v=19$"), "{hashed}");
    home.change_config(|config| config["gateway"]["auth"] = json!({"mode": "password", "password": hashed}));
    let gateway = Gateway::start(PROGRAM, &home);
    let sign_in = |password: &str| Connect::to(gateway.port()).password(password);
    for wrong in [hashed.as_str(), "lila Nashorn isst Kohm"] {
        assert!(sign_in(wrong).open().await.is_err(), "{wrong}");
        assert_eq!(tokio::task::block_in_place(|| answer(&gateway, wrong)).0, 401, "{wrong}");
    }
    assert!(sign_in(PASSWORD).scopes(&["operator.read"]).open().await.is_ok());
    for version in [SignatureVersion::V1, SignatureVersion::V2, SignatureVersion::V3] {
        let device = sign_in(PASSWORD).device(&Device::from_seed(2), version);
        assert!(device.scopes(&["operator.read"]).open().await.is_ok(), "{version:?} covers no password");
    }
    let given = [("MOLTBOT_GATEWAY_PASSWORD", PASSWORD)];
    let owner = command(PROGRAM, &home, &["health"]).envs(given).output().unwrap();
    assert!(owner.status.success(), "{}", String::from_utf8_lossy(&owner.stderr));
    assert!(!run(PROGRAM, &home, &["health"]).status.success(), "who cannot say the password is not let in");
    assert!(!gateway.printed().contains(PASSWORD) && !book_in(home.path()).contains(PASSWORD));
}
