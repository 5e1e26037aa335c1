//! Attacks that are data: calls, and settings, with the refusal that each must get.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use moltbot_testkit::home::Home;
use moltbot_testkit::model::ScriptedModel;
use moltbot_testkit::process::{Gateway, run};
use moltbot_testkit::raw::{dial, http};
use serde_json::{Value, json};

use super::{GENERIC, GITHUB, House, PROGRAM, SLACK, STRIPE, TOKEN, home, now, sum};

/// Every file of a folder, by its name.
#[expect(clippy::disallowed_methods, reason = "a test reads its own data")]
fn files(folder: &str) -> Vec<(String, Value)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/hostile").join(folder);
    let mut paths: Vec<PathBuf> = folder.read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let read = |path: PathBuf| {
        let text = std::fs::read_to_string(&path).unwrap();
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        (name, value)
    };
    paths.into_iter().map(read).collect()
}

/// Calls with everything wrong that a caller can do wrong. After each the hook answers an honest caller.
#[test]
fn c02_c03_c04_c11_c12_hostile_calls_get_the_refusal_of_their_file() {
    let attacks = files("hooks");
    assert!(attacks.len() >= 45, "{} files", attacks.len());
    let house = House::echo();
    for (name, attack) in attacks {
        match attack.get("config") {
            None => play(&name, &attack, house.gateway.port(), house.gateway.token()),
            Some(change) => {
                let model = ScriptedModel::echo();
                let home = home(&model);
                home.change_config(|config| merge(&mut config["hooks"], change));
                let gateway = Gateway::start(PROGRAM, &home);
                play(&name, &attack, gateway.port(), gateway.token());
            }
        }
        // Known, and then refused for what it says: this resets the failures before the next attack.
        let honest = house.call("/hooks/agent", &json!({"message": ""}));
        assert_eq!(honest.status, 400, "after {name}: {}", honest.text());
    }
    assert_eq!(house.model.requests().len(), 0, "no turn was caused");
}

fn merge(into: &mut Value, from: &Value) {
    for (name, value) in from.as_object().unwrap() {
        into[name] = value.clone();
    }
}

fn play(name: &str, attack: &Value, port: u16, gateway_token: &str) {
    let (request, expect) = (&attack["request"], &attack["expect"]);
    let signature = attack.get("sign").map(|sign| signed(sign, gateway_token)).unwrap_or_default();
    let filled = |text: &str| {
        text.replace("$GATEWAY", gateway_token)
            .replace("$TOKEN", TOKEN)
            .replace("$SIGNATURE", &signature)
            .replace("$NOW", &now().to_string())
            .replace("$BIG", &format!("{{\"message\":\"{}\"}}", "x".repeat(262_144)))
            .replace("$DEEP", &format!("{{\"message\":{}", "[".repeat(100_000)))
    };
    let text = |value: &Value| filled(value.as_str().unwrap());
    let headers: Vec<(String, String)> = request["headers"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(key, value)| (key.clone(), text(value)))
        .collect();
    let headers: Vec<(&str, &str)> = headers.iter().map(|(key, value)| (&**key, &**value)).collect();
    let (method, path, body) = (text(&request["method"]), text(&request["path"]), text(&request["body"]));
    let answer = http(port, &method, &path, &headers, body.as_bytes());
    assert_eq!(json!(answer.status), expect["status"], "{name}: {}", answer.text());
    let told = answer.text();
    assert!(told.contains(expect["body"].as_str().unwrap()), "{name}: {told}");
    assert!(!told.contains(TOKEN) && !told.contains(gateway_token), "{name}: {told}");
    if let Some(header) = expect.get("header") {
        assert_eq!(answer.header(header[0].as_str().unwrap()), header[1].as_str(), "{name}: {}", answer.head);
    }
}

/// The signature that a file asks for: right but for what the file changes.
fn signed(sign: &Value, gateway_token: &str) -> String {
    let own = match sign["kind"].as_str().unwrap() {
        "github" => GITHUB,
        "slack" => SLACK,
        "stripe" => STRIPE,
        _ => GENERIC,
    };
    let key = match sign["key"].as_str() {
        None => own,
        Some("$TOKEN") => TOKEN,
        Some("$STRIPE") => STRIPE,
        Some("$GATEWAY") => gateway_token,
        Some(other) => other,
    };
    let body = sign["body"].as_str().unwrap();
    let time = i64::try_from(now()).unwrap() - sign["age"].as_i64().unwrap_or_default();
    match sign["kind"].as_str().unwrap() {
        "github" => format!("sha256={}", sum(key, body)),
        "slack" => format!("v0={}", sum(key, &format!("v0:{time}:{body}"))),
        _ => format!("t={time},v1={}", sum(key, &format!("{time}.{body}"))),
    }
}

/// Settings that would lower a guard, or that nothing here obeys.
#[test]
fn c03_c07_c12_f08_hostile_settings_stop_the_start_with_a_sentence() {
    let attacks = files("hooks-config");
    assert!(attacks.len() >= 30, "{} files", attacks.len());
    for (name, attack) in attacks {
        let model = ScriptedModel::echo();
        let home = Home::with_model(&model);
        let token = home.token().unwrap();
        home.change_config(|config| {
            config["hooks"] = json!({"enabled": true, "token": TOKEN});
            let hooks: Value =
                serde_json::from_str(&attack["hooks"].to_string().replace("$GATEWAY", &token)).unwrap();
            merge(&mut config["hooks"], &hooks);
            if hooks.get("token").is_some_and(Value::is_null) {
                config["hooks"].as_object_mut().unwrap().remove("token");
            }
        });
        let refused = run(PROGRAM, &home, &["gateway", "run"]);
        let told = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert_eq!(refused.status.code(), Some(78), "{name}: {told}");
        assert!(told.contains(attack["error"].as_str().unwrap()), "{name}: {told}");
        assert!(!told.contains(&token) && !told.contains("3f9Q7xkV2m"), "{name}: {told}");
        let listed = run(PROGRAM, &home, &["hooks", "list"]);
        assert_eq!(listed.status.code(), Some(78), "{name}");
    }
}

/// A body of a stranger is neither gathered nor parsed: what says that it is large is refused by its head, what is slow is
/// cut, and few are read at once.
#[test]
fn k01_large_slow_and_deep_bodies_of_strangers_cost_nothing() {
    let house = House::echo();
    let signature = format!("x-hub-signature-256: sha256={}", "0".repeat(64));
    house.call("/hooks/agent", &json!({"message": ""}));
    let before = resident(house.gateway.pid());
    let began = Instant::now();
    let open = |path: &str, header: &str, length: usize| {
        let mut stream = dial(house.gateway.port());
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\n{header}\r\ncontent-length: {length}\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).unwrap();
        stream
    };
    let mut slow: Vec<_> = (0..8).map(|_| open("/hooks/push", &signature, 100_000)).collect();
    std::thread::sleep(Duration::from_millis(200));
    let status = |stream: &mut std::net::TcpStream| {
        let mut text = Vec::new();
        drop(std::io::Read::read_to_end(stream, &mut text));
        String::from_utf8_lossy(&text).split(' ').nth(1).unwrap_or_default().to_owned()
    };
    assert_eq!(status(&mut open("/hooks/push", &signature, 100_000)), "429", "eight are read at once");
    assert_eq!(status(&mut open("/hooks/push", &signature, 100_000_000)), "429");
    assert_eq!(status(&mut open("/hooks/agent", "x-a: b", 100_000_000)), "401", "before its body");
    let honest = house.call("/hooks/agent", &json!({"message": ""}));
    assert_eq!(honest.status, 400, "who presents the token is not held up by them");
    for stream in &mut slow {
        while began.elapsed() < Duration::from_secs(12) && stream.write_all(b"[").is_ok() {
            std::thread::sleep(Duration::from_millis(150));
            if began.elapsed() > Duration::from_secs(2) {
                break;
            }
        }
    }
    let ends: Vec<String> = slow.iter_mut().map(status).collect();
    assert_eq!(ends, ["408"; 8]);
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    assert_eq!(status(&mut open("/hooks/push", &signature, 100_000_000)), "413");
    let grown = resident(house.gateway.pid()).saturating_sub(before);
    assert!(grown < 1024 * 1024, "{grown} bytes");
}

/// The memory of its own that a process holds, in bytes: pages of the program that are read for the first time are none.
#[expect(clippy::disallowed_methods, reason = "the kernel tells of processes in files")]
fn resident(pid: u32) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
}
