//! Where the real binary connects: what strangers' answers make it do, and what it listens for without being asked.

use std::io::Read as _;
use std::sync::{Arc, Mutex};

use moltbot_testkit::home::Home;
use moltbot_testkit::home::PROVIDER_KEY;
use moltbot_testkit::model::{Reply, ScriptedModel};
use moltbot_testkit::process::{Gateway, run};
use serde_json::{Value, json};

use super::{PROGRAM, text};

/// A server that answers each connection with this head, and keeps what it was sent.
struct Place {
    port: u16,
    heard: Arc<Mutex<Vec<String>>>,
}

impl Place {
    #[expect(clippy::disallowed_methods, reason = "a stand-in for somebody else's server")]
    fn answering(head: String) -> Self {
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let heard = Arc::<Mutex<Vec<String>>>::default();
        let kept = Arc::clone(&heard);
        std::thread::spawn(move || {
            while let Ok((mut stream, _)) = listener.accept() {
                let mut buffer = [0; 64 * 1024];
                let read = stream.read(&mut buffer).unwrap_or(0);
                kept.lock().unwrap().push(String::from_utf8_lossy(&buffer[..read]).into_owned());
                drop(std::io::Write::write_all(&mut stream, head.as_bytes()));
            }
        });
        Self { port, heard }
    }

    fn heard(&self) -> Vec<String> {
        self.heard.lock().unwrap().clone()
    }
}

/// A home whose provider is at that address.
fn home_at(model: &ScriptedModel, base: &str) -> Home {
    let home = Home::with_model(model);
    home.change_config(|config| config["models"]["providers"]["scripted"]["baseUrl"] = json!(base));
    home
}

fn ask(home: &Home) -> std::process::Output {
    run(PROGRAM, home, &["agent", "--message", "private words", "--timeout", "60"])
}

fn egress(home: &Home) -> Vec<Value> {
    let found = run(PROGRAM, home, &["ledger", "search", "--action", "egress.open", "--json"]);
    let found = String::from_utf8(found.stdout).unwrap();
    found.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

#[test]
fn h01_h04_where_machines_credentials_are_served_is_reached_under_no_spelling() {
    let model = ScriptedModel::echo();
    for base in [
        "http://169.254.169.254/v1",
        "http://169.254.169.254./v1",
        "http://0xa9fea9fe/v1",
        "http://2852039166/v1",
        "http://[::ffff:169.254.169.254]/v1",
        "http://１６９.254.169.254/v1",
    ] {
        let home = home_at(&model, base);
        let _gateway = Gateway::start(PROGRAM, &home);
        let failed = ask(&home);
        assert!(!failed.status.success(), "{base}: {}", text(&failed));
        let recorded = egress(&home);
        let refused =
            |line: &Value| line["decision"] == "refused" && line["details"]["code"] == "egress_refused";
        assert!(recorded.iter().any(refused), "{base}: {recorded:#?}");
    }
}

/// The answer of a provider takes neither the key, nor the words, nor the connection anywhere else.
#[test]
fn h07_h08_a_redirect_takes_neither_the_body_nor_the_key_elsewhere() {
    let model = ScriptedModel::echo();
    let elsewhere = Place::answering("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}".into());
    for status in ["301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"] {
        let location = format!("http://127.0.0.1:{}/v1/chat/completions", elsewhere.port);
        let provider = Place::answering(format!(
            "HTTP/1.1 {status}\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n"
        ));
        let home = home_at(&model, &format!("http://127.0.0.1:{}/v1", provider.port));
        let _gateway = Gateway::start(PROGRAM, &home);
        let failed = ask(&home);
        assert!(!failed.status.success(), "{status}: {}", text(&failed));
        let told = provider.heard().concat();
        assert!(told.contains(PROVIDER_KEY), "{status}: the provider itself was asked: {told}");
    }
    assert_eq!(elsewhere.heard(), Vec::<String>::new(), "what came to the other place");
}

/// A model that names an address has nothing that goes there, and its words open no door.
#[test]
fn h08_no_tool_takes_an_address_from_the_model() {
    let elsewhere = Place::answering("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n".into());
    let url = format!("http://127.0.0.1:{}/?d=secret", elsewhere.port);
    for tool in ["web_fetch", "web_search", "browser", "fetch", "http"] {
        let model = ScriptedModel::queue([Reply::tool(tool, &json!({"url": url})), Reply::text("done")]);
        let home = Home::with_model(&model);
        let gateway = Gateway::start(PROGRAM, &home);
        let told = ask(&home);
        assert!(told.status.success(), "{tool}: {}", text(&told));
        let offered = model.requests()[0].body["tools"].to_string();
        assert!(!offered.contains("url") && !offered.contains(tool), "{tool}: {offered}");
        let opened = egress(&home);
        let places: Vec<&str> = opened.iter().filter_map(|line| line["target"].as_str()).collect();
        assert!(places.iter().all(|place| *place == format!("127.0.0.1:{}", model.port())), "{places:?}");
        drop(gateway);
    }
    assert_eq!(elsewhere.heard(), Vec::<String>::new());
}

/// Nothing is announced by default, nor when nobody on a network could reach it: there is not even a socket.
#[test]
#[expect(clippy::disallowed_methods, reason = "the kernel tells of sockets in files")]
fn p03_nothing_is_announced_by_default_or_from_loopback() {
    let model = ScriptedModel::echo();
    let home = Home::with_model(&model);
    for discovery in [
        json!({}),
        json!({"mdns": {"mode": "off"}, "wideArea": {"enabled": true}}),
        json!({"mdns": {"mode": "minimal"}}),
    ] {
        home.change_config(|config| config["discovery"] = discovery);
        let gateway = Gateway::start(PROGRAM, &home);
        let open = std::fs::read_dir(format!("/proc/{}/fd", gateway.pid())).unwrap();
        let sockets: Vec<String> = open
            .filter_map(|entry| entry.unwrap().path().read_link().ok())
            .filter_map(|link| {
                Some(link.to_str()?.strip_prefix("socket:[")?.trim_end_matches(']').to_owned())
            })
            .collect();
        assert!(!sockets.is_empty(), "it listens");
        for table in ["udp", "udp6", "raw", "raw6"] {
            let table =
                std::fs::read_to_string(format!("/proc/{}/net/{table}", gateway.pid())).unwrap_or_default();
            let inodes = table.lines().skip(1).filter_map(|line| line.split_whitespace().nth(9));
            let ours: Vec<&str> =
                inodes.filter(|inode| sockets.iter().any(|socket| socket == inode)).collect();
            assert_eq!(ours, Vec::<&str>::new(), "datagrams may be sent");
        }
    }
}
