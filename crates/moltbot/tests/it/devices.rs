//! Devices from elsewhere, to the real binary: they wait, a person decides, and what was decided holds.

use std::process::Output;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use moltbot_protocol::error::ErrorCode;
use moltbot_testkit::client::{Client, Connect, Device, Rejection, SignatureVersion};
use moltbot_testkit::home::Home;
use moltbot_testkit::model::ScriptedModel;
use moltbot_testkit::process::{Gateway, run};
use serde_json::{Value, json};

use crate::secrets::{PROGRAM, book_in};

const READ: &[&str] = &["operator.read"];

fn house() -> (ScriptedModel, Home, Gateway) {
    let model = ScriptedModel::echo();
    let home = Home::with_model(&model);
    let gateway = Gateway::start(PROGRAM, &home);
    (model, home, gateway)
}

/// A sign-in that does not come from this machine, as far as the gateway can tell.
fn from_elsewhere(gateway: &Gateway, device: &Device) -> Connect {
    let connect = gateway.connect().device(device, SignatureVersion::V3);
    connect.header("x-forwarded-for", "203.0.113.9").scopes(READ)
}

fn request_of(rejection: &Rejection) -> String {
    let error = rejection.error.as_ref().expect("an answer");
    assert_eq!(error.code, ErrorCode::NotPaired, "{error:?}");
    let details = error.details.as_ref().expect("details");
    details["requestId"].as_str().expect("a request's id").to_owned()
}

async fn waiting(connect: Connect) -> String {
    request_of(&connect.open().await.err().expect("a device that is not paired"))
}

fn devices(home: &Home, arguments: &[&str]) -> (i32, String, String) {
    let Output { status, stdout, stderr } = run(PROGRAM, home, &[&["devices"], arguments].concat());
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

fn done(home: &Home, arguments: &[&str]) -> String {
    let (code, out, err) = devices(home, arguments);
    assert_eq!(code, 0, "{arguments:?}: {out} {err}");
    out
}

fn scopes(client: &Client) -> &Value {
    &client.hello["auth"]["scopes"]
}

fn token_of(client: &Client) -> String {
    client.hello["auth"]["deviceToken"].as_str().expect("a token").to_owned()
}

/// The files of the state db, as they are on the disk.
fn database(home: &Home) -> Vec<u8> {
    let state = home.state();
    let names = state.list().unwrap().into_iter().filter(|name| name.starts_with("state.db"));
    names.flat_map(|name| state.read(&name, 1 << 30).unwrap().unwrap()).collect()
}

fn holds(bytes: &[u8], word: &str) -> bool {
    bytes.windows(word.len()).any(|part| part == word.as_bytes())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b06_b07_a_device_from_elsewhere_has_what_was_approved_and_not_more() {
    let (_model, home, gateway) = house();
    let device = Device::from_seed(1);
    let first = waiting(from_elsewhere(&gateway, &device)).await;
    assert_eq!(waiting(from_elsewhere(&gateway, &device)).await, first, "who asks again waits on");
    let changed = waiting(from_elsewhere(&gateway, &device).scopes(&["operator.admin"])).await;
    assert_ne!(changed, first, "what a person saw is what he approves");
    assert_eq!(devices(&home, &["approve", &first]).0, 1, "the first request is gone");
    let again = waiting(from_elsewhere(&gateway, &device)).await;
    let told = done(&home, &["approve", &again]);
    assert!(told.contains(&device.id()) && told.contains("operator.read"), "{told}");

    let client = from_elsewhere(&gateway, &device).open().await.unwrap();
    assert_eq!(scopes(&client), &json!(READ));
    let token = token_of(&client);
    let wider = from_elsewhere(&gateway, &device).scopes(&["operator.read", "operator.admin"]);
    let client = wider.open().await.unwrap();
    assert_eq!(scopes(&client), &json!(READ), "never the superset");
    assert!(client.hello["auth"].get("deviceToken").is_none(), "a token is told once");
    assert_eq!(
        client.call("sessions.reset", json!({"key": "main"})).await.unwrap_err().message,
        "missing scope: operator.admin"
    );
    assert!(done(&home, &["list"]).contains("operator.admin"), "the rest waits for a person");
    waiting(from_elsewhere(&gateway, &device).scopes(&["operator.pairing"])).await;

    let alone = from_elsewhere(&gateway, &device).token(&token).open().await.unwrap();
    assert_eq!(scopes(&alone), &json!(READ), "its token is enough");
    let stolen = from_elsewhere(&gateway, &Device::from_seed(2)).token(&token);
    assert_eq!(stolen.open().await.err().unwrap().error.unwrap().code, ErrorCode::InvalidRequest);
    let bare = gateway.connect().token(&token);
    assert_eq!(bare.open().await.err().unwrap().error.unwrap().code, ErrorCode::InvalidRequest);
    assert!(!holds(&database(&home), &token), "the token is nowhere in the database");
    let book = book_in(home.path());
    assert!(!book.contains(&token));
    for action in ["pairing.request", "pairing.approve", "pairing.issue"] {
        assert!(book.contains(action), "{action} is in the book");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b03_b04_nobody_approves_more_than_he_holds_and_who_may_decide_is_told() {
    let (_model, home, gateway) = house();
    let admin = gateway.connect().device(&Device::from_seed(3), SignatureVersion::V3).open();
    let mut admin = admin.await.unwrap();
    let pairing = gateway.connect().device(&Device::from_seed(4), SignatureVersion::V3);
    let pairing = pairing.scopes(&["operator.pairing"]).open().await.unwrap();
    let reader = gateway.connect().scopes(&["operator.read", "operator.pairing"]).open().await.unwrap();
    let device = Device::from_seed(5);
    let request = waiting(from_elsewhere(&gateway, &device).scopes(&["operator.admin"])).await;
    assert_eq!(admin.event("device.pair.requested").await["requestId"], json!(request));
    let params = json!({"requestId": request});
    let refused = pairing.call("device.pair.approve", params.clone()).await.unwrap_err();
    assert_eq!(refused.message, "missing scope: operator.admin");
    let refused = reader.call("device.pair.list", json!({})).await.unwrap_err();
    assert_eq!(refused.message, "missing scope: operator.pairing", "a shared token decides nothing");
    waiting(from_elsewhere(&gateway, &device).scopes(&["operator.admin"])).await;
    pairing.call("device.pair.reject", params.clone()).await.unwrap();
    assert_eq!(admin.event("device.pair.resolved").await["decision"], json!("rejected"));
    assert_eq!(admin.call("device.pair.approve", params).await.unwrap_err().message, "unknown requestId");
    // Another role is not approved by an operator's approval.
    let id = Device::from_seed(4).id();
    let node = json!({"deviceId": id, "role": "node"});
    assert!(admin.call("device.token.rotate", node).await.is_err());
    let wider = json!({"deviceId": id, "role": "operator", "scopes": ["operator.admin"]});
    assert!(admin.call("device.token.rotate", wider).await.is_err());
    assert!(book_in(home.path()).contains("pairing.reject"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b09_a_pairing_without_scopes_gives_none_and_not_all() {
    let (_model, home, gateway) = house();
    let device = Device::from_seed(41);
    let without = |how: &'static str| {
        let connect = from_elsewhere(&gateway, &device).scopes(&[]);
        connect.change(move |params| match how {
            "missing" => drop(params.as_object_mut().unwrap().remove("scopes")),
            "null" => params["scopes"] = Value::Null,
            _ => {}
        })
    };
    let request = waiting(without("empty")).await;
    done(&home, &["approve", &request]);
    for how in ["empty", "missing", "null"] {
        let Ok(client) = without(how).open().await else {
            assert_eq!(how, "null", "what is no list is refused");
            continue;
        };
        assert_eq!(scopes(&client), &json!([]), "{how}");
        for method in ["chat.history", "sessions.reset", "device.pair.list", "allowance.list"] {
            let refused = client.call(method, json!({})).await.unwrap_err();
            assert!(refused.message.starts_with("missing scope"), "{how} {method}: {}", refused.message);
        }
    }
    waiting(from_elsewhere(&gateway, &device)).await; // read was never approved
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_of_one_source_are_bounded_and_push_nobody_out() {
    let (_model, home, gateway) = house();
    let mut ids = Vec::new();
    for seed in 10..13 {
        ids.push(waiting(from_elsewhere(&gateway, &Device::from_seed(seed))).await);
    }
    for seed in 13..30 {
        let error = from_elsewhere(&gateway, &Device::from_seed(seed)).open().await.err().unwrap().error;
        let error = error.unwrap();
        assert_eq!((error.code, error.details), (ErrorCode::NotPaired, None), "{seed}");
    }
    let list = done(&home, &["list"]);
    assert!(ids.iter().all(|id| list.contains(id)), "{list}");
    done(&home, &["reject", &ids[0]]);
    waiting(from_elsewhere(&gateway, &Device::from_seed(13))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_device_is_gone_within_a_second_and_stays_gone() {
    let (_model, home, gateway) = house();
    let device = Device::from_seed(6);
    let mut client = gateway.connect().device(&device, SignatureVersion::V3).open().await.unwrap();
    let token = token_of(&client);
    assert!(client.call("config.get", json!({})).await.is_ok());
    let known = || {
        let tries = home.state().read("sign-in-tries.json", 1 << 20).unwrap().unwrap_or_default();
        String::from_utf8(tries).unwrap().contains(&device.id())
    };
    assert!(known(), "the limiter tells it from strangers");
    done(&home, &["revoke", "--device", &device.id()]);
    assert!(!known(), "it is a stranger again");
    let began = Instant::now();
    assert!(client.try_call("config.get", json!({})).await.is_none(), "nothing is answered any more");
    let close = client.wait_for_close().await;
    assert_eq!(close.code, Some(1008), "{close:?}");
    // The socket itself is kept open for up to a second, so that the reason is heard.
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    let local = gateway.connect().device(&device, SignatureVersion::V3);
    let request = waiting(local).await;
    let by_token = gateway.connect().device(&device, SignatureVersion::V3).token(&token);
    assert_eq!(by_token.open().await.err().unwrap().error.unwrap().code, ErrorCode::InvalidRequest);
    done(&home, &["approve", &request]);
    let client = gateway.connect().device(&device, SignatureVersion::V3).open().await.unwrap();
    assert_ne!(token_of(&client), token, "what was revoked does not come back");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_token_fails_once_it_was_rotated() {
    let (_model, home, gateway) = house();
    let device = Device::from_seed(7);
    let client = gateway.connect().device(&device, SignatureVersion::V3).scopes(READ).open().await.unwrap();
    let old = token_of(&client);
    let by = |token: &str| {
        gateway.connect().device(&device, SignatureVersion::V3).token(token).scopes(READ).open()
    };
    let mut opened = by(&old).await.unwrap();
    let new = done(&home, &["rotate", "--device", &device.id()]).trim().to_owned();
    assert_eq!(new.len(), 43, "{new}");
    assert_eq!(opened.wait_for_close().await.code, Some(1008), "what the old token opened ends");
    assert!(by(&old).await.is_err());
    assert_eq!(scopes(&by(&new).await.unwrap()), &json!(READ));
    // Newer clients send it under a name of its own; the signature covers it as it covers a token.
    let named = |token: &str| {
        let connect = gateway.connect().device(&device, SignatureVersion::V3).token(token).scopes(READ);
        let rename = |params: &mut Value| {
            let auth = params["auth"].as_object_mut().unwrap();
            let token = auth.remove("token").unwrap();
            auth.insert("deviceToken".into(), token);
        };
        connect.change(rename).open()
    };
    assert_eq!(scopes(&named(&new).await.unwrap()), &json!(READ));
    assert!(named(&old).await.is_err());
    assert!(!holds(&database(&home), &new));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_signed_for_one_connection_opens_no_other() {
    let (_model, _home, gateway) = house();
    let device = Device::from_seed(8);
    let seen = Arc::new(Mutex::new(Value::Null));
    let keep = Arc::clone(&seen);
    let connect = gateway.connect().device(&device, SignatureVersion::V3);
    let first = connect.change(move |params| *keep.lock().unwrap() = params.clone()).open().await;
    assert!(first.is_ok());
    for (what, change) in [("as it was", None), ("without its nonce", Some("nonce"))] {
        let mut replayed = seen.lock().unwrap().clone();
        if let Some(member) = change {
            replayed["device"].as_object_mut().unwrap().remove(member);
        }
        let again = gateway.connect().change(move |params| *params = replayed).open().await;
        assert_eq!(again.err().unwrap().error.unwrap().code, ErrorCode::InvalidRequest, "{what}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signature_without_a_nonce_and_a_page_of_a_browser_pair_nothing() {
    let (_model, home, gateway) = house();
    let old = gateway.connect().device(&Device::from_seed(9), SignatureVersion::V1);
    let client = old.scopes(&["operator.admin", "operator.read"]).open().await.unwrap();
    assert_eq!(scopes(&client), &json!(READ));
    let page = gateway.connect().device(&Device::from_seed(10), SignatureVersion::V3);
    let origin = format!("http://127.0.0.1:{}", gateway.port());
    waiting(page.header("origin", &origin)).await;
    let list = done(&home, &["list"]);
    assert!(!list.contains(&Device::from_seed(9).id()), "{list}");
    assert!(!list.contains(&format!("approved  device {}", Device::from_seed(10).id())), "{list}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d_133_what_a_device_says_of_itself_is_shown_harmless() {
    let (_model, home, gateway) = house();
    let connect = from_elsewhere(&gateway, &Device::from_seed(11));
    let name = "\u{1b}[2Jnice\napproved  device you";
    let request = waiting(connect.change(move |params| params["client"]["displayName"] = json!(name))).await;
    let list = done(&home, &["list"]);
    assert!(list.contains("nice approved") && !list.contains('\u{1b}'), "{list:?}");
    assert!(list.lines().all(|line| !line.starts_with("approved  device you")), "{list}");
    let approved = done(&home, &["approve", &request]);
    assert!(!approved.contains('\u{1b}') && approved.lines().count() == 1, "{approved:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_approved_outlives_kills_and_nothing_is_half_approved() {
    let (_model, home, mut gateway) = house();
    let mut approved = Vec::new();
    for seed in 20..28 {
        let device = Device::from_seed(seed);
        let request = waiting(from_elsewhere(&gateway, &device)).await;
        let admin =
            gateway.connect().device(&Device::from_seed(3), SignatureVersion::V3).open().await.unwrap();
        let answer = admin.request("device.pair.approve", json!({"requestId": request}));
        let answered = match (seed % 2, answer) {
            (0, Some(mut answer)) => answer.recv().await.is_some_and(|response| response.ok),
            _ => false,
        };
        gateway.kill9();
        gateway.restart(&home);
        match from_elsewhere(&gateway, &device).open().await {
            Ok(client) => {
                assert_eq!(scopes(&client), &json!(READ), "{seed}");
                approved.push(seed);
            }
            Err(rejection) => {
                assert!(!answered, "{seed} was approved and is not");
                assert_eq!(request_of(&rejection), request, "{seed} waits on");
                done(&home, &["reject", &request]);
            }
        }
    }
    assert!(approved.len() >= 4, "{approved:?}");
    gateway.terminate();
    let list = done(&home, &["list"]);
    let ids = approved.iter().map(|seed| Device::from_seed(*seed).id());
    assert!(ids.into_iter().all(|id| list.contains(&format!("approved  device {id}"))), "{list}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_person_decides_while_no_gateway_runs() {
    let (_model, home, mut gateway) = house();
    let device = Device::from_seed(12);
    let request = waiting(from_elsewhere(&gateway, &device)).await;
    gateway.terminate();
    done(&home, &["approve", &request]);
    gateway.restart(&home);
    let client = from_elsewhere(&gateway, &device).open().await.unwrap();
    let token = token_of(&client);
    gateway.terminate();
    done(&home, &["revoke", "--device", &device.id(), "--json"]);
    gateway.restart(&home);
    waiting(from_elsewhere(&gateway, &device)).await;
    assert!(from_elsewhere(&gateway, &device).token(&token).open().await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn devices_of_the_original_are_taken_over_and_their_tokens_do_not_stay() {
    let model = ScriptedModel::echo();
    let home = Home::with_model(&model);
    let (device, forged) = (Device::from_seed(13), Device::from_seed(14));
    let token = "0f3c9a7be2d54c1f8a6b7d90e1f2a3b4";
    let entry = |id: String, key: String| {
        json!({
            "deviceId": id, "publicKey": key, "displayName": "phone", "role": "operator", "roles": ["operator"],
            "scopes": READ, "createdAtMs": 1, "approvedAtMs": 2,
            "tokens": {"operator": {"token": token, "role": "operator", "scopes": READ, "createdAtMs": 1}},
        })
    };
    let paired = json!({
        "a": entry(device.id(), device.public_key()), "b": entry(forged.id(), device.public_key()),
    });
    let folder = home.state().folder("devices").unwrap();
    folder.write("paired.json", paired.to_string().as_bytes()).unwrap();
    let gateway = Gateway::start(PROGRAM, &home);
    assert_eq!(folder.list().unwrap(), Vec::<String>::new(), "the file of plaintext tokens is gone");
    let client = from_elsewhere(&gateway, &device).token(token).open().await.unwrap();
    assert_eq!(scopes(&client), &json!(READ));
    assert!(!holds(&database(&home), token) && !book_in(home.path()).contains(token));
    assert!(from_elsewhere(&gateway, &forged).token(token).open().await.is_err(), "an id that fits no key");
}
