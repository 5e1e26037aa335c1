//! The original's files of credentials, through the real binary: sealed in place, used, and moved with the rest.

use moltbot_testkit::client::Connect;
use moltbot_testkit::home::{Home, PROVIDER};
use moltbot_testkit::model::{Reply, ScriptedModel};
use moltbot_testkit::process::{Gateway, command, run};
use serde_json::{Value, json};

use crate::secrets::{PROGRAM, book_in, holders, read};

const NAME: &str = "agents/main/agent/auth-profiles.json";
const KEY: &str = "sk-profile-canary-7Yc2Kp";
const TOKEN: &str = "token-profile-canary-4Rt9";
const ACCESS: &str = "access-canary-8Qw3";
const REFRESH: &str = "refresh-canary-1Zx6";

/// What the original keeps beside its config, in plaintext.
fn put_credentials(home: &Home) {
    let profiles = json!({"version": 1, "profiles": {
        format!("{PROVIDER}:default"): {"type": "api_key", "provider": PROVIDER, "key": KEY},
        "anthropic:setup": {"type": "token", "provider": "anthropic", "token": TOKEN, "expires": 1},
    }, "usageStats": {format!("{PROVIDER}:default"): {"lastUsed": 1}}});
    let oauth = json!({"google": {"type": "oauth", "access": ACCESS, "refresh": REFRESH, "expires": 5}});
    let agent = home.state().folder("agents").unwrap().folder("main").unwrap().folder("agent").unwrap();
    agent.write("auth-profiles.json", profiles.to_string().as_bytes()).unwrap();
    let credentials = home.state().folder("credentials").unwrap();
    credentials.write("oauth.json", oauth.to_string().as_bytes()).unwrap();
}

fn with_profile(model: &ScriptedModel) -> Home {
    let home = Home::with_model(model);
    home.change_config(|config| {
        config["models"]["providers"][PROVIDER].as_object_mut().unwrap().remove("apiKey");
    });
    put_credentials(&home);
    home
}

fn in_plaintext(home: &Home) -> Vec<&'static str> {
    let found = |canary: &&str| !holders(home.path(), canary).is_empty();
    [KEY, TOKEN, ACCESS, REFRESH].into_iter().filter(|canary| found(canary)).collect()
}

fn starts(home: &Home) {
    let up = run(PROGRAM, home, &["up", "--detach", "--port", "0"]);
    assert!(up.status.success(), "{up:?}");
    assert!(run(PROGRAM, home, &["gateway", "stop"]).status.success());
}

async fn answer(home: &Home, token: &str) -> String {
    let gateway = Gateway::start(PROGRAM, home);
    let scopes = ["operator.write", "operator.read"];
    let mut client = Connect::to(gateway.port()).token(token).scopes(&scopes).open().await.unwrap();
    client.chat("main", "hello").await.text
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d_51_a_profile_in_plaintext_is_used_once_then_sealed_with_the_next_change_and_used_again() {
    let model = ScriptedModel::queue([Reply::text("one"), Reply::text("two"), Reply::text("three")]);
    let home = with_profile(&model);
    let token = read(&home, "gateway.auth.token");
    assert_eq!(answer(&home, &token).await, "one");
    assert_eq!(in_plaintext(&home).len(), 4, "nothing was written yet");
    let reported = run(PROGRAM, &home, &["secrets", "doctor", "--json"]);
    assert_eq!(reported.status.code(), Some(1));
    let reported = String::from_utf8(reported.stdout).unwrap();
    assert!(reported.contains(&format!("{NAME}#profiles")) && !reported.contains(KEY), "{reported}");

    let changed = run(PROGRAM, &home, &["config", "set", "logging.level", "\"debug\""]);
    assert!(changed.status.success(), "{changed:?}");
    assert_eq!(in_plaintext(&home), Vec::<&str>::new(), "sealed by the first write");
    assert!(run(PROGRAM, &home, &["secrets", "doctor"]).status.success());
    assert_eq!(answer(&home, &token).await, "two");
    assert!(book_in(home.path()).contains(&format!("secret.load\",\"target\":\"{NAME}")));

    let rotated = run(PROGRAM, &home, &["secrets", "rotate", "--json"]);
    let rotated: Value = serde_json::from_slice(&rotated.stdout).unwrap();
    assert_eq!(rotated["sealedAgain"]["files"], 4, "{rotated}");
    assert_eq!(answer(&home, &token).await, "three");
    assert_eq!(in_plaintext(&home), Vec::<&str>::new());
    for request in model.requests() {
        assert_eq!(request.header("authorization"), Some(format!("Bearer {KEY}").as_str()));
        assert!(!format!("{:?}", request.body).contains(KEY));
    }
}

#[test]
fn plaintext_in_a_sealed_installation_stops_the_start_until_it_is_sealed() {
    let home = Home::empty().unwrap();
    assert!(run(PROGRAM, &home, &["config", "validate"]).status.success());
    put_credentials(&home);
    let refused = run(PROGRAM, &home, &["gateway", "run", "--port", &home.port().to_string()]);
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(78), "{told}");
    assert!(told.contains(NAME) && told.contains("moltbot secrets seal") && !told.contains(KEY), "{told}");
    let sealed = run(PROGRAM, &home, &["secrets", "seal"]);
    assert!(sealed.status.success(), "{sealed:?}");
    assert_eq!(in_plaintext(&home), Vec::<&str>::new());
    starts(&home);
}

#[test]
fn a_first_start_beside_the_originals_files_seals_them() {
    let home = Home::empty().unwrap();
    put_credentials(&home);
    starts(&home);
    assert_eq!(in_plaintext(&home), Vec::<&str>::new());
}

#[test]
fn d_44_a_sealed_credential_opens_in_its_own_file_and_place_alone() {
    let home = Home::empty().unwrap();
    put_credentials(&home);
    assert!(run(PROGRAM, &home, &["secrets", "seal"]).status.success());
    let agents = home.state().folder("agents").unwrap();
    let agent = |name: &str| agents.folder(name).unwrap().folder("agent").unwrap();
    let own = agent("main").read("auth-profiles.json", 1 << 20).unwrap().unwrap();
    // Into another agent's file, and its key in the place of its token.
    agent("other").write("auth-profiles.json", &own).unwrap();
    let mut swapped: Value = serde_json::from_slice(&own).unwrap();
    let key = swapped["profiles"][format!("{PROVIDER}:default")]["key"].clone();
    swapped["profiles"]["anthropic:setup"]["token"] = key;
    let start = || run(PROGRAM, &home, &["gateway", "run", "--port", &home.port().to_string()]);
    let refused = start();
    assert_eq!(refused.status.code(), Some(78), "{refused:?}");
    agent("other").remove("auth-profiles.json").unwrap();
    agent("main").write("auth-profiles.json", swapped.to_string().as_bytes()).unwrap();
    let refused = start();
    assert_eq!(refused.status.code(), Some(78), "{refused:?}");
    assert!(String::from_utf8_lossy(&refused.stderr).contains(NAME), "{refused:?}");
    agent("main").write("auth-profiles.json", &own).unwrap();
    starts(&home);
}

#[test]
fn files_of_credentials_move_with_an_export_and_go_back_to_the_original_in_plaintext() {
    let (from, to) = (Home::empty().unwrap(), Home::empty().unwrap());
    put_credentials(&from);
    assert!(run(PROGRAM, &from, &["secrets", "seal"]).status.success());
    let file = from.path().join("exported");
    let passphrase = "correct horse battery staple\n";
    for (home, verb) in [(&from, "export"), (&to, "import")] {
        let mut child = command(PROGRAM, home, &["secrets", verb, file.to_str().unwrap()]);
        let mut child = child.stdin(std::process::Stdio::piped()).spawn().unwrap();
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), passphrase.as_bytes()).unwrap();
        assert!(child.wait().unwrap().success(), "{verb}");
        assert_eq!(in_plaintext(home), Vec::<&str>::new(), "{verb}");
    }
    let plain = to.path().join("plain.json");
    let back = run(PROGRAM, &to, &["security", "decrypt", "--export", plain.to_str().unwrap()]);
    assert!(back.status.success(), "{back:?}");
    let written = holders(to.path(), KEY);
    assert_eq!(written.len(), 1, "{written:?}");
    assert!(written[0].ends_with("plain.json.agents-main-agent-auth-profiles.json"), "{written:?}");
    assert_eq!(holders(to.path(), REFRESH).len(), 1);
}

#[test]
fn a_file_of_credentials_that_is_none_stops_the_start_with_its_name() {
    let home = Home::empty().unwrap();
    put_credentials(&home);
    assert!(run(PROGRAM, &home, &["secrets", "seal"]).status.success());
    home.state().folder("credentials").unwrap().write("oauth.json", b"{\"google\": ").unwrap();
    let refused = run(PROGRAM, &home, &["gateway", "run", "--port", &home.port().to_string()]);
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(refused.status.code() == Some(78) && told.contains("credentials/oauth.json"), "{told}");
    assert_eq!(run(PROGRAM, &home, &["doctor"]).status.code(), Some(1));
}
