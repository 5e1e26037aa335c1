//! Client sessions, to the real binary: what a credential opens is listed, has limits, and ends with it.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::time::{Duration, Instant};

use moltbot_testkit::client::{Client, Connect, Device, SignatureVersion};
use moltbot_testkit::home::Home;
use moltbot_testkit::model::{Reply, ScriptedModel};
use moltbot_testkit::process::{Gateway, command, run};
use moltbot_testkit::raw::{RawSocket, http};
use serde_json::{Value, json};

use crate::secrets::{PROGRAM, book_in};

fn house(change: impl FnOnce(&mut Value)) -> (ScriptedModel, Home, Gateway) {
    let model = ScriptedModel::echo();
    let home = Home::with_model(&model);
    home.change_config(change);
    let gateway = Gateway::start(PROGRAM, &home);
    (model, home, gateway)
}

fn done(home: &Home, arguments: &[&str]) -> String {
    let ran = run(PROGRAM, home, arguments);
    let text = String::from_utf8_lossy(&ran.stdout).into_owned();
    assert!(ran.status.success(), "{arguments:?}: {text} {}", String::from_utf8_lossy(&ran.stderr));
    text
}

fn owner(gateway: &Gateway, seed: u8) -> Connect {
    let scopes = ["operator.admin", "operator.pairing", "operator.read", "operator.write"];
    gateway.connect().device(&Device::from_seed(seed), SignatureVersion::V3).scopes(&scopes)
}

fn id_of(client: &Client) -> String {
    client.hello["server"]["connId"].as_str().expect("a connection's id").to_owned()
}

fn completion(gateway: &Gateway, token: &str) -> u16 {
    let bearer = format!("Bearer {token}");
    let body = json!({"model": "moltbot", "messages": [{"role": "user", "content": "hello"}]});
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    http(gateway.port(), "POST", "/v1/chat/completions", &headers, body.to_string().as_bytes()).status
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_signed_in_is_listed_and_a_session_that_is_killed_ends_at_once() {
    let (_model, home, gateway) = house(|_| {});
    let mut device = owner(&gateway, 1).change(|params| {
        params["client"]["displayName"] = json!("\u{1b}[2Jphone\nfake");
    });
    device = device.client("cli", "cli");
    let mut device = device.open().await.unwrap();
    let mut bare = gateway.connect().open().await.unwrap();
    let list = done(&home, &["clients", "list"]);
    let row =
        |id: &str| list.lines().find(|line| line.starts_with(id)).unwrap_or_else(|| panic!("{id} in {list}"));
    let (known, token) = (id_of(&device), id_of(&bare));
    assert!(row(&known).contains(&format!("device:{}", Device::from_seed(1).id())), "{list}");
    assert!(row(&known).contains("by token from 127.0.0.1 (local, websocket)"), "{list}");
    assert!(row(&token).contains("credential:token by token"), "{list}");
    assert!(!list.contains('\u{1b}') && list.lines().count() == 3, "{list:?}");
    assert!(list.contains("(this command)"), "{list}");
    assert!(!list.contains(gateway.token()), "{list}");

    let began = Instant::now();
    done(&home, &["clients", "kill", &token]);
    assert!(bare.try_call("health", json!({})).await.is_none(), "nothing is answered any more");
    let close = bare.wait_for_close().await;
    assert_eq!((close.code, close.reason.as_str()), (Some(1008), "the owner ended this session"));
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    assert_eq!(run(PROGRAM, &home, &["clients", "kill", &token]).status.code(), Some(1), "it is gone");
    assert!(device.call("health", json!({})).await.is_ok(), "the others go on");
    done(&home, &["clients", "kill", "--all"]);
    assert_eq!(device.wait_for_close().await.code, Some(1008));
    assert!(owner(&gateway, 1).open().await.is_ok(), "its device stays paired");
    assert!(book_in(home.path()).contains("clients.end"), "and the book is told");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_lists_and_ends_others_with_the_right_to_alone() {
    let (_model, _home, gateway) = house(|_| {});
    let other = gateway.connect().open().await.unwrap();
    let writer = gateway.connect().open().await.unwrap();
    for (method, params, scope) in [
        ("clients.list", json!({}), "operator.pairing"),
        ("clients.kill", json!({"all": true}), "operator.pairing"),
        ("clients.kill", json!({"id": id_of(&other)}), "operator.pairing"),
        ("clients.reload", json!({}), "operator.admin"),
    ] {
        let refused = writer.call(method, params).await.unwrap_err();
        assert_eq!(refused.message, format!("missing scope: {scope}"), "{method}");
    }
    let owner = owner(&gateway, 1).open().await.unwrap();
    for params in [json!({}), json!({"all": false}), json!({"id": "x", "all": true}), json!({"id": "x"})] {
        assert!(owner.call("clients.kill", params.clone()).await.is_err(), "{params}");
    }
    assert!(other.call("health", json!({})).await.is_ok(), "it was ended by none of them");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_ends_when_it_is_idle_or_old_and_not_while_it_asks() {
    let (_model, home, mut gateway) = house(|config| {
        config["gateway"]["clients"] = json!({"idleSeconds": 1, "longestSeconds": 3});
    });
    let began = Instant::now();
    let mut idle = gateway.connect().open().await.unwrap();
    let mut busy = gateway.connect().open().await.unwrap();
    let asking = async {
        while busy.try_call("health", json!({})).await.is_some() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        began.elapsed()
    };
    let (close, asked) = tokio::join!(async { (idle.wait_for_close().await, began.elapsed()) }, asking);
    let (close, ended) = close;
    assert_eq!((close.code, close.reason.as_str()), (Some(1008), "the session is over: sign in again"));
    assert!((1..3).contains(&ended.as_secs()), "idle for {ended:?}");
    assert!((3..5).contains(&asked.as_secs()), "busy for {asked:?}");
    assert_eq!(busy.wait_for_close().await.code, Some(1008));
    assert!(gateway.terminate().success());
    let book = book_in(home.path());
    assert!(book.contains("it was idle for too long") && book.contains("its time is over"), "both are told");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn o02_a_rotated_token_ends_within_a_second_what_the_old_one_opened() {
    let model = ScriptedModel::queue([Reply::Stall(vec!["I am".into()])]);
    let home = Home::with_model(&model);
    let gateway = Gateway::start(PROGRAM, &home);
    let old = gateway.token().to_owned();
    let mut bare = gateway.connect().open().await.unwrap();
    let mut admin = owner(&gateway, 1).open().await.unwrap();
    let held = admin.hello["auth"]["deviceToken"].as_str().unwrap().to_owned();
    let by_device = owner(&gateway, 1).token(&held).open().await.unwrap();
    let mut streaming = stream(&gateway, &old);
    let started = streaming.first_line();
    assert!(started.contains("200"), "{started}");

    let printed = done(&home, &["gateway", "rotate-token"]);
    let began = Instant::now();
    assert_eq!(bare.wait_for_close().await.reason, "the gateway's token or password was changed");
    assert_eq!(admin.wait_for_close().await.code, Some(1008));
    streaming.wait_for_end();
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    assert!(by_device.call("health", json!({})).await.is_ok(), "a device's own token is another credential");

    let new = done(&home, &["secrets", "get", "gateway.auth.token", "--raw"]);
    assert_ne!(new, old);
    assert!(!printed.contains(&new) && !printed.contains(&old), "neither is printed");
    assert!(gateway.connect().open().await.is_err(), "the old one is none");
    assert_eq!((completion(&gateway, &old), completion(&gateway, "x")), (401, 401));
    assert!(gateway.connect().token(&new).open().await.is_ok(), "the new one is");
    let (book, log) = (book_in(home.path()), gateway.printed());
    assert!(book.contains("clients.credential"));
    assert!([&book, &log].iter().all(|text| !text.contains(&new) && !text.contains(&old)), "in no log");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_credential_that_is_set_while_the_gateway_runs_counts_at_once() {
    let (_model, home, gateway) = house(|_| {});
    let mut before = gateway.connect().open().await.unwrap();
    let token = "Zr3VtLx0NwYbE5mKc7HdPfJ2sGuA9o1QiTeXyBvRMq8";
    set(&home, "gateway.auth.token", token, Some(0));
    assert_eq!(before.wait_for_close().await.code, Some(1008));
    let after = gateway.connect().token(token).open().await.unwrap();
    // One that is weak changes nothing: neither the config's file nor who may come in.
    let text = home.config_text().unwrap();
    let owner = Connect::to(gateway.port()).token(token).device(&Device::from_seed(1), SignatureVersion::V3);
    let owner = owner.open().await.unwrap();
    home.change_config(|config| config["gateway"]["auth"]["token"] = json!("short"));
    let refused = owner.call("clients.reload", json!({})).await.unwrap_err();
    assert!(refused.message.contains("the credential of before counts"), "{refused:?}");
    home.write_config_text(&text);
    let same = owner.call("clients.reload", json!({})).await.unwrap();
    assert_eq!(same["changed"], json!(false));
    assert!(after.call("health", json!({})).await.is_ok() && owner.call("health", json!({})).await.is_ok());
}

fn set(home: &Home, place: &str, value: &str, code: Option<i32>) {
    let mut child = command(PROGRAM, home, &["secrets", "set", place]);
    let mut child = child.stdin(std::process::Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(value.as_bytes()).unwrap();
    assert_eq!(child.wait().unwrap().code(), code, "{place}");
}

/// An answer that is read as it comes.
struct Streaming(BufReader<TcpStream>);

#[expect(clippy::disallowed_methods, reason = "a client of the tests, to a gateway on loopback")]
fn stream(gateway: &Gateway, token: &str) -> Streaming {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, gateway.port())).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let body = json!({"model": "moltbot", "stream": true, "messages": [{"role": "user", "content": "x"}]});
    let body = body.to_string();
    write!(
        stream,
        "POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer {token}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    Streaming(BufReader::new(stream))
}

impl Streaming {
    fn first_line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        line
    }

    /// Until the connection is cut, in whatever way.
    fn wait_for_end(&mut self) {
        let mut rest = Vec::new();
        drop(self.0.read_to_end(&mut rest));
        assert!(!String::from_utf8_lossy(&rest).contains("[DONE]"), "the answer was not finished");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_over_http_share_a_record_and_a_devices_token_signs_them_in() {
    let (_model, home, mut gateway) = house(|_| {});
    let device = owner(&gateway, 1).open().await.unwrap();
    let held = device.hello["auth"]["deviceToken"].as_str().unwrap().to_owned();
    for _ in 0..5 {
        assert_eq!(completion(&gateway, gateway.token()), 200);
        assert_eq!(completion(&gateway, &held), 200);
    }
    // What is approved for the device, and not more.
    done(
        &home,
        &["devices", "rotate", "--device", &Device::from_seed(1).id(), "--scope", "operator.read", "--json"],
    );
    assert_eq!(completion(&gateway, &held), 401, "what was rotated is none");
    let reader = owner(&gateway, 2).scopes(&["operator.read"]).open().await.unwrap();
    let reader = reader.hello["auth"]["deviceToken"].as_str().unwrap().to_owned();
    assert_eq!(completion(&gateway, &reader), 403, "it may read and does not write");
    let writer = owner(&gateway, 3).scopes(&["operator.write"]).open().await.unwrap();
    let writer = writer.hello["auth"]["deviceToken"].as_str().unwrap().to_owned();
    assert_eq!(completion(&gateway, &writer), 200);
    done(&home, &["devices", "revoke", "--device", &Device::from_seed(3).id()]);
    assert_eq!(completion(&gateway, &writer), 401, "what was revoked is none, at once");
    assert!(gateway.terminate().success());
    let book = book_in(home.path());
    let lines = book.lines().filter(|line| line.contains("auth.sign_in") && line.contains(r#""way":"http""#));
    let lines: Vec<&str> = lines.filter(|line| !line.contains("refused")).collect();
    let of = |actor: &str| lines.iter().filter(|line| line.contains(actor)).count();
    // One that lets in and one that counts; one more when the minute ends meanwhile.
    assert!((2..=4).contains(&of("credential:token")), "{lines:#?}");
    assert!(
        lines.iter().any(|line| line.contains(r#""count":"4""#) || line.contains(r#""count":"3""#)),
        "{lines:#?}"
    );
    assert!(!book.contains(&held) && !book.contains(&writer));
}

/// A method before a sign-in, and a client that calls itself the page of the gateway: neither gets anywhere.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a03_a06_nothing_is_done_before_a_sign_in_and_a_clients_id_confers_nothing() {
    let (_model, home, gateway) = house(|_| {});
    let config = home.config_text().unwrap();
    for method in ["config.apply", "config.set", "clients.reload", "health"] {
        let mut socket = RawSocket::open(gateway.port());
        assert!(format!("{:?}", socket.next_frame()).contains("connect.challenge"));
        let frame = json!({"type": "req", "id": "1", "method": method, "params": {"cliPath": "/bin/sh"}});
        socket.text(&frame.to_string()).unwrap();
        let told = format!("{:?}", socket.next_frame());
        assert!(told.contains("first request must be connect"), "{method}: {told}");
    }
    for (id, mode) in [("moltbot-control-ui", "webchat"), ("clawdbot-control-ui", "webchat"), ("cli", "cli")]
    {
        let nobody = Connect::to(gateway.port()).client(id, mode).open().await;
        assert!(nobody.is_err(), "{id} without a credential");
        if let Ok(client) = gateway.connect().client(id, mode).open().await {
            assert_eq!(client.hello["auth"]["scopes"], json!(["operator.read", "operator.write"]), "{id}");
            assert!(client.call("clients.reload", json!({})).await.is_err(), "{id}");
            let told = client.call("config.get", json!({})).await.unwrap().to_string();
            assert!(!told.contains("gateway"), "{id} sees nothing of what is in the config: {told}");
        }
    }
    assert_eq!(home.config_text().unwrap(), config, "the config is as it was");
}
