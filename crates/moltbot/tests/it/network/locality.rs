//! Who is on this machine: a proxy that speaks for somebody else is not, whatever it says.

use moltbot_protocol::error::ErrorCode;
use moltbot_testkit::client::{Device, SignatureVersion};
use moltbot_testkit::home::Home;
use moltbot_testkit::model::ScriptedModel;
use moltbot_testkit::process::{Gateway, run};
use serde_json::{Value, json};

use super::{ADDRESS, PROGRAM, home, text, tls};

/// A loopback socket and a forwarding header, with no proxy in the config: nobody can tell who it is, and nobody is local.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a16_through_a_proxy_nobody_is_local() {
    let model = ScriptedModel::echo();
    let home = Home::with_model(&model);
    for proxies in [json!([]), json!(["127.0.0.1"])] {
        home.change_config(|config| config["gateway"]["trustedProxies"] = proxies.clone());
        let mut gateway = Gateway::start(PROGRAM, &home);
        for (seed, (name, value)) in (1..).zip([
            ("x-forwarded-for", "127.0.0.1"),
            ("forwarded", "for=127.0.0.1"),
            ("x-real-ip", "127.0.0.1"),
            ("via", "1.1 localhost"),
        ]) {
            let device = Device::from_seed(seed);
            let connect = gateway.connect().device(&device, SignatureVersion::V3).header(name, value);
            let rejection =
                connect.open().await.err().unwrap_or_else(|| panic!("{name} was paired, {proxies}"));
            assert_eq!(rejection.error.unwrap().code, ErrorCode::NotPaired, "{name} {proxies}");
        }
        gateway.terminate();
    }
}

/// Who only says that he is local waits for a person, is given no token before, and not more than was approved after.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a17_who_claims_to_be_local_waits_and_is_given_no_token() {
    let model = ScriptedModel::echo();
    let home = home(&model, tls);
    let gateway = Gateway::start(PROGRAM, &home);
    let device = Device::from_seed(21);
    let asked = ["operator.read", "operator.write"];
    let spoofed = || {
        let connect = gateway.connect().device(&device, SignatureVersion::V3).scopes(&asked);
        connect
            .header("x-forwarded-for", "127.0.0.1")
            .header("x-forwarded-host", "localhost")
            .header("x-real-ip", "::1")
    };
    let error = spoofed().open().await.err().expect("it is not paired").error.unwrap();
    assert_eq!(error.code, ErrorCode::NotPaired);
    assert!(!json!(error).to_string().contains("deviceToken"), "{error:?}");
    let listed = run(PROGRAM, &home, &["devices", "list", "--json"]);
    let listed: Value = serde_json::from_slice(&listed.stdout).unwrap();
    assert_eq!(listed["pending"].as_array().map(Vec::len), Some(1), "{listed}");
    let request = listed["pending"][0]["requestId"].as_str().unwrap().to_owned();
    assert!(!listed["paired"].to_string().contains(&device.id()), "{listed}");
    let approved = run(PROGRAM, &home, &["devices", "approve", &request]);
    assert!(approved.status.success(), "{}", text(&approved));
    let client = spoofed().open().await.unwrap();
    assert_eq!(client.hello["auth"]["scopes"], json!(asked), "no more than was approved");
    assert!(client.hello["auth"]["deviceToken"].is_string());
    let admin = gateway.connect().device(&device, SignatureVersion::V3).scopes(&["operator.admin"]);
    let more = admin.header("x-forwarded-for", "127.0.0.1").open().await;
    assert_eq!(more.err().expect("more is asked for anew").error.unwrap().code, ErrorCode::NotPaired);
    assert!(super::listens(ADDRESS, home.port()));
}
