//! The way out of the walls, through the real program: hosts that the owner named, and nothing else.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;

use moltbot_testkit::home::Home;
use moltbot_testkit::model::ScriptedModel;
use moltbot_testkit::process::{Circumstances, Gateway, command, command_in};
use serde_json::{Value, json};

use super::stage::{NOBODY, PROGRAM, Stage, program_for, users};

/// A server of this machine that answers `served`.
#[expect(clippy::disallowed_methods, reason = "a stand-in for somebody else's server")]
fn server() -> u16 {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = socket.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in socket.incoming() {
            let Ok(mut stream) = stream else { return };
            let _read = stream.read(&mut [0; 4096]);
            let _sent =
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\nserved");
        }
    });
    port
}

async fn stage(user: Option<u32>, sandbox: Value, outbound: Value) -> Stage {
    let model = ScriptedModel::queue([]);
    let home = Home::with_model(&model);
    home.change_config(|config| {
        config["agents"]["defaults"]["sandbox"] = sandbox;
        config["agents"]["defaults"]["outbound"] = outbound;
    });
    let mut program = PROGRAM.into();
    if let Some(user) = user {
        home.give_to(user);
        program = program_for(&home);
    }
    let circumstances = Circumstances { user, ..Circumstances::default() };
    let gateway = Gateway::start_in(circumstances, &program, &home);
    let client = gateway.connect().open().await.unwrap();
    Stage { model, home, gateway, client }
}

/// What the book says of connections of commands: decision, target and code.
fn decisions(home: &Home, user: Option<u32>) -> Vec<(String, String, String)> {
    let program = if user.is_some() { program_for(home) } else { PROGRAM.into() };
    let circumstances = Circumstances { user, ..Circumstances::default() };
    let arguments = ["ledger", "search", "--action", "egress.open", "--json"];
    let found = command_in(&circumstances, program, home, &arguments).output().unwrap();
    let text = String::from_utf8(found.stdout).unwrap();
    let records = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let commands = records.filter(|record| record["details"]["purpose"] == "command");
    let told = |record: Value| {
        let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        (word(&record["decision"]), word(&record["target"]), word(&record["details"]["code"]))
    };
    commands.map(told).collect()
}

fn ask(url: &str) -> String {
    format!(
        "python3 -c 'import urllib.request as u\ntry: print(u.urlopen(\"{url}\", timeout=5).read().decode())\n\
         except Exception as e: print(getattr(e, \"code\", e), e.read().decode() if hasattr(e, \"read\") else \"\")'"
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h12_a_command_reaches_the_hosts_that_were_named_and_the_book_knows_each() {
    for user in users("h12_a_command_reaches_the_hosts_that_were_named_and_the_book_knows_each") {
        let (named, other) = (server(), server());
        let outbound = json!({"allow": [format!("127.0.0.1:{named}"), "api.example.com"]});
        let mut stage = stage(user, json!({"network": "proxy"}), outbound).await;
        let told = stage.exec(&ask(&format!("http://127.0.0.1:{named}/"))).await;
        assert!(told.contains("served") && told.contains("(network: 1 connections, 0 refused,"), "{told}");
        for (url, status, code) in [
            (format!("http://127.0.0.1:{other}/"), "403", "outbound_refused"),
            (format!("http://127.0.0.1:{}/", stage.gateway.port()), "403", "outbound_refused"),
            (format!("http://0x7f000001:{named}/"), "403", "outbound_host_unclear"),
            ("http://169.254.169.254/latest/meta-data/".into(), "403", "outbound_refused"),
            ("https://evil.test/".into(), "403", "outbound_refused"),
        ] {
            let told = stage.exec(&ask(&url)).await;
            assert!(!told.contains("served") && told.contains(status), "{url}: {told}");
            assert!(told.contains("(network: 0 connections, 1 refused,"), "{url}: {told}");
            let all = decisions(&stage.home, user);
            let last = all.last().unwrap_or_else(|| panic!("the book says nothing of {url}"));
            assert_eq!((last.0.as_str(), last.2.as_str()), ("refused", code), "{url}: {last:?}");
        }
        // Not by the proxy: the walls are as they were.
        let direct = format!("(exec 3<>/dev/tcp/127.0.0.1/{named}) 2>/dev/null && echo reached; true");
        assert!(!stage.exec(&direct).await.contains("reached"));
        assert!(decisions(&stage.home, user).contains(&(
            "allowed".into(),
            format!("127.0.0.1:{named}"),
            String::new()
        )));
    }
}

/// A credential is not in the sandbox: neither in the environment, nor in a file, nor in what the proxy answers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_never_has_the_credential_that_is_added_for_it() {
    const SECRET: &str = "canary-outbound-9fJ3kQ7zX1mB5vN8cW2dR6tY4hG0";
    let port = server();
    let host = format!("127.0.0.1:{port}");
    let credential = json!({"host": host, "header": "authorization", "value": SECRET});
    let outbound = json!({"allow": [host], "inject": [credential]});
    let mut stage = stage(None, json!({"network": "proxy"}), outbound).await;
    let (first, second) = SECRET.split_at(20);
    let search = format!(
        "env; cat /proc/self/environ /proc/*/cmdline 2>/dev/null; grep -rlF -D skip -e {first}''{second} /tmp /workspace /etc 2>/dev/null"
    );
    let told = stage.exec(&search).await;
    assert!(!told.contains(SECRET) && !told.contains("\n/workspace"), "{told}");
    // The server speaks no TLS, so what would carry the credential is not sent at all.
    let told = stage.exec(&ask(&format!("http://{host}/"))).await;
    assert!(!told.contains("served") && told.contains("502") && !told.contains(SECRET), "{told}");
    let files = super::stage::files_below(&stage.home.state_path());
    // Where its owner wrote it, until it is sealed.
    let config = stage.home.config_path();
    for (path, ..) in files.into_iter().filter(|(path, ..)| path.is_file() && *path != config) {
        #[expect(clippy::disallowed_methods, reason = "a look at what is on disk")]
        let bytes = std::fs::read(&path).unwrap();
        assert!(!bytes.windows(SECRET.len()).any(|window| window == SECRET.as_bytes()), "{}", path.display());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_without_named_hosts_reaches_none_and_one_without_a_proxy_has_no_socket() {
    let port = server();
    for (sandbox, expected) in [(json!({"network": "proxy"}), "403"), (json!({}), "Operation not permitted")]
    {
        let mut stage = stage(None, sandbox, json!({})).await;
        let told = stage.exec(&ask(&format!("http://127.0.0.1:{port}/"))).await;
        assert!(told.contains(expected) && !told.contains("served"), "{told}");
    }
    assert_ne!(rustix::process::geteuid().as_raw(), NOBODY, "tried as root or a person");
}

#[test]
fn hosts_that_cannot_be_meant_are_refused_when_the_config_is_read() {
    for host in [
        "*",
        "https://api.example.com",
        "API.example.com",
        "api.example.com/x",
        "localhost",
        "user@api.example.com",
        "127.1",
    ] {
        let home = Home::empty().unwrap();
        home.write_config(&json!({"agents": {"defaults": {"outbound": {"allow": [host]}}}}));
        let ran = command(PROGRAM, &home, &["config", "validate"]).output().unwrap();
        let said = String::from_utf8_lossy(&ran.stderr).into_owned() + &String::from_utf8_lossy(&ran.stdout);
        assert_eq!(ran.status.code(), Some(78), "{host}: {said}");
        assert!(said.contains("outbound.allow[0]") && said.contains("api.example.com"), "{host}: {said}");
    }
}
