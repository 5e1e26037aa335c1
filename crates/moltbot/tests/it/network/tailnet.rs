//! Requests that Tailscale on this machine passes on. A stand-in plays tailscaled's interface for programs of the machine;
//! what plays the proxy is a request with the headers that it adds.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::{Arc, Mutex};

use moltbot_testkit::home::Home;
use moltbot_testkit::model::ScriptedModel;
use moltbot_testkit::process::{Gateway, run};
use moltbot_testkit::raw::{RawSocket, http};
use moltbot_testkit::skip::skip;
use serde_json::{Value, json};

use super::{PROGRAM, require_no_start, text};

const NAME: &str = "desk.tail0123.ts.net";
const PASSWORD: &str = "seven green kettles sing";

/// tailscaled's socket with two people behind it, and what it was asked.
struct Tailscaled {
    asked: Arc<Mutex<Vec<String>>>,
    passes_on: Arc<Mutex<Value>>,
}

impl Tailscaled {
    #[expect(clippy::disallowed_methods, reason = "a stand-in for another program of this machine")]
    fn serve(path: &Path) -> Self {
        let listener = UnixListener::bind(path).unwrap();
        let asked = Arc::<Mutex<Vec<String>>>::default();
        let heard = Arc::clone(&asked);
        let passes_on = Arc::new(Mutex::new(Value::Null));
        let told = Arc::clone(&passes_on);
        std::thread::spawn(move || {
            while let Ok((mut stream, _)) = listener.accept() {
                let mut head = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
                let line = head.next().unwrap_or_default();
                let host = head
                    .take_while(|line| !line.is_empty())
                    .any(|line| line.eq_ignore_ascii_case("host: local-tailscaled.sock"));
                let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
                let (status, body) =
                    if host { answer(&path, &told.lock().unwrap()) } else { (403, json!("wrong host")) };
                heard.lock().unwrap().push(path);
                let body = body.to_string();
                let head = format!(
                    "HTTP/1.1 {status} X\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                    body.len()
                );
                drop(stream.write_all((head + &body).as_bytes()));
            }
        });
        Self { asked, passes_on }
    }

    fn questions(&self) -> usize {
        self.asked.lock().unwrap().iter().filter(|path| path.contains("addr=100.64.0.")).count()
    }
}

fn answer(path: &str, passes_on: &Value) -> (u16, Value) {
    let of =
        |login: &str| (200, json!({"Node": {"Name": "x"}, "UserProfile": {"ID": 1, "LoginName": login}}));
    match path {
        "/localapi/v0/status?peers=false" => (
            200,
            json!({"BackendState": "Running", "Self": {"DNSName": format!("{NAME}."), "TailscaleIPs": ["100.64.9.9"]}}),
        ),
        "/localapi/v0/serve-config" => (200, passes_on.clone()),
        "/localapi/v0/whois?addr=100.64.9.9:0" | "/localapi/v0/whois?addr=100.64.0.7:0" => {
            of("Ann@example.com")
        }
        "/localapi/v0/whois?addr=100.64.0.8:0" => of("eve@example.com"),
        _ => (404, json!("no match for IP:port")),
    }
}

/// A home that wants what Tailscale passes on, and tailscaled.
fn house(model: &ScriptedModel, mode: &str, change: impl FnOnce(&mut Value)) -> (Home, Tailscaled) {
    let home = Home::with_model(model);
    let path = home.path().join("tailscaled.sock");
    let tailscaled = Tailscaled::serve(&path);
    home.change_config(|config| {
        config["gateway"]["tailscale"] = json!({"mode": mode, "socketPath": path.display().to_string()});
        change(&mut config["gateway"]);
    });
    (home, tailscaled)
}

/// What Tailscale adds to a request of the person with that login and address.
fn of<'a>(login: &'a str, address: &'a str) -> Vec<(&'a str, &'a str)> {
    vec![
        ("host", NAME),
        ("tailscale-user-login", login),
        ("x-forwarded-for", address),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", NAME),
    ]
}

/// 404 for who is let in, because there is nothing; 401 for who is not.
fn status(home: &Home, headers: &[(&str, &str)]) -> u16 {
    http(home.port(), "GET", "/none", headers, b"").status
}

fn sign_ins(home: &Home) -> Vec<Value> {
    let found = run(PROGRAM, home, &["ledger", "search", "--action", "auth.sign_in", "--json"]);
    let found = String::from_utf8(found.stdout).unwrap();
    found.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

#[test]
fn who_the_tailnet_knows_signs_in_by_that_and_nobody_by_a_header_alone() {
    let model = ScriptedModel::echo();
    let (home, tailscaled) = house(&model, "serve", |_| ());
    let gateway = Gateway::start(PROGRAM, &home);
    let ann = of("ann@example.com", "100.64.0.7");
    assert_eq!(status(&home, &ann), 404, "{}", gateway.printed());
    let upgraded = RawSocket::upgrade(home.port(), &ann);
    assert!(upgraded.is_ok(), "a WebSocket is begun");
    let without = |name: &str| -> Vec<(&str, &str)> {
        ann.iter().copied().filter(|(header, _)| *header != name).collect()
    };
    for (name, headers) in [
        ("no login", without("tailscale-user-login")),
        ("no address", without("x-forwarded-for")),
        ("a stranger's address", of("ann@example.com", "100.64.0.77")),
        ("another's address", of("ann@example.com", "100.64.0.8")),
    ] {
        assert_eq!(status(&home, &headers), 401, "{name}");
    }
    // Let in, Ann's failures are forgotten; then the rest, which would be too many at once.
    assert_eq!(status(&home, &ann), 404);
    for (name, headers) in [
        ("no scheme", without("x-forwarded-proto")),
        ("no host", without("x-forwarded-host")),
        ("a person who is known and not let in", of("eve@example.com", "100.64.0.8")),
        ("two logins", [&ann[..], &[("tailscale-user-login", "eve@example.com")]].concat()),
    ] {
        assert_eq!(status(&home, &headers), 401, "{name}");
    }
    assert!(tailscaled.questions() >= 5, "{:?}", tailscaled.asked.lock().unwrap());
    let told = sign_ins(&home);
    let has = |method: &str, tailnet: &str| {
        told.iter().any(|line| line["details"]["method"] == method && line["details"]["tailnet"] == tailnet)
    };
    assert!(has("tailscale", "ann@example.com"), "{told:#?}");
    for code in [
        "tailscale_proxy_missing",
        "tailscale_whois_failed",
        "tailscale_user_mismatch",
        "tailscale_user_not_allowed",
        "tailscale_user_missing",
    ] {
        assert!(has("token", code), "no {code} in {told:#?}");
    }
}

/// The shared secret is tried when the claim does not hold, and both are in the book.
#[test]
fn d_08_a_failed_claim_leaves_the_shared_secret_and_both_are_recorded() {
    let model = ScriptedModel::echo();
    let (home, _tailscaled) = house(&model, "serve", |_| ());
    let gateway = Gateway::start(PROGRAM, &home);
    let right = format!("Bearer {}", gateway.token());
    for (bearer, expected) in [(right.as_str(), 404), ("Bearer wrong", 401)] {
        let headers = [&of("ann@example.com", "100.64.0.8")[..], &[("authorization", bearer)]].concat();
        assert_eq!(status(&home, &headers), expected, "{bearer:.10}");
    }
    let told = sign_ins(&home);
    let both: Vec<(&str, &str)> = told
        .iter()
        .filter(|line| line["details"]["tailnet"] == "tailscale_user_mismatch")
        .map(|line| (line["decision"].as_str().unwrap(), line["details"]["method"].as_str().unwrap()))
        .collect();
    assert_eq!(both, [("allowed", "token"), ("refused", "token")], "{told:#?}");
}

/// Without a shared secret the gateway does not start, whoever the tailnet knows.
#[test]
fn d_07_a_shared_secret_stays_mandatory_beside_tailscale() {
    let model = ScriptedModel::echo();
    let (home, _tailscaled) = house(&model, "serve", |gateway| gateway["auth"] = json!({"mode": "token"}));
    require_no_start(&home, 78, &["oken"]);
    let (home, _tailscaled) =
        house(&model, "serve", |gateway| gateway["auth"] = json!({"allowTailscale": true}));
    require_no_start(&home, 78, &["oken"]);
}

#[test]
fn d_15_of_the_names_of_tailnets_this_machines_own_is_taken_alone() {
    let model = ScriptedModel::echo();
    let (home, _tailscaled) = house(&model, "serve", |_| ());
    let _gateway = Gateway::start(PROGRAM, &home);
    for (host, expected) in [
        (NAME, 200),
        ("other.tail0123.ts.net", 403),
        ("evil.ts.net", 403),
        ("desk.tail0123.ts.net.evil.test", 403),
        ("x.desk.tail0123.ts.net", 403),
    ] {
        assert_eq!(http(home.port(), "GET", "/healthz", &[("host", host)], b"").status, expected, "{host}");
    }
}

/// A header says nothing where nobody asked for Tailscale, and tailscaled is not troubled with it.
#[test]
fn a14_identity_headers_are_ignored_where_tailscale_is_off_or_open_to_the_internet() {
    let model = ScriptedModel::echo();
    let ann = of("ann@example.com", "100.64.0.7");
    let (home, tailscaled) = house(&model, "off", |gateway| {
        gateway["allowedHosts"] = json!([NAME]);
        gateway["auth"]["allowTailscale"] = json!(true);
    });
    let _gateway = Gateway::start(PROGRAM, &home);
    assert_eq!((status(&home, &ann), tailscaled.questions()), (401, 0));

    let funnel = |gateway: &mut Value| {
        gateway["auth"] = json!({"mode": "password", "password": PASSWORD, "allowTailscale": true})
    };
    let (home, tailscaled) = house(&model, "funnel", funnel);
    let _gateway = Gateway::start(PROGRAM, &home);
    assert_eq!((status(&home, &ann), tailscaled.questions()), (401, 0));
    let bearer = format!("Bearer {PASSWORD}");
    assert_eq!(
        status(&home, &[("host", NAME), ("x-forwarded-for", "203.0.113.9"), ("authorization", &bearer)]),
        404
    );
}

#[test]
fn the_internet_needs_a_password_and_tailscale_no_other_bind() {
    let model = ScriptedModel::echo();
    let (home, _tailscaled) = house(&model, "funnel", |_| ());
    require_no_start(&home, 78, &["funnel", "needs a password"]);
    let (home, _tailscaled) = house(&model, "serve", |gateway| {
        (gateway["bind"], gateway["customBindHost"]) = (json!("custom"), json!(super::ADDRESS));
        super::tls(gateway);
    });
    require_no_start(&home, 78, &["gateway.tailscale.mode", "loopback"]);
}

/// Tailscale's own settings are looked at: the internet where the tailnet was meant, and connections without a word of who
/// they are from, stop the start.
#[test]
fn what_tailscale_passes_on_has_to_be_what_the_config_asks_for() {
    let model = ScriptedModel::echo();
    let (home, tailscaled) = house(&model, "serve", |_| ());
    let mut gateway = Gateway::start(PROGRAM, &home);
    let command = format!("tailscale serve --bg {}", home.port());
    assert!(gateway.printed().contains(&command), "{}", gateway.printed());
    gateway.terminate();
    let place = format!("{NAME}:443");
    let web = json!({&place: {"Handlers": {"/": {"Proxy": format!("http://127.0.0.1:{}", home.port())}}}});
    let set = |value: Value| *tailscaled.passes_on.lock().unwrap() = value;
    set(json!({"TCP": {"443": {"HTTPS": true}}, "Web": web, "AllowFunnel": {&place: true}}));
    require_no_start(&home, 78, &["opens port", "to the internet", "tailscale funnel reset"]);
    set(json!({"TCP": {"443": {"TCPForward": format!("127.0.0.1:{}", home.port())}}}));
    require_no_start(&home, 78, &["as it is", "tailscale serve reset"]);
    set(json!({"TCP": {"443": {"HTTPS": true}}, "Web": web}));
    gateway.restart(&home);
    assert_eq!(gateway.printed().matches(&command).count(), 1, "it is set up: {}", gateway.printed());
}

/// What was asked for is served or the gateway does not start.
#[test]
fn without_tailscale_the_gateway_does_not_start() {
    let model = ScriptedModel::echo();
    let home = Home::with_model(&model);
    let missing = home.path().join("none.sock").display().to_string();
    home.change_config(|config| {
        config["gateway"]["tailscale"] = json!({"mode": "serve", "socketPath": missing})
    });
    require_no_start(&home, 75, &["none.sock", "Tailscale does not answer"]);
    home.change_config(|config| config["gateway"]["tailscale"]["socketPath"] = json!("none.sock"));
    require_no_start(&home, 78, &["socketPath", "absolute"]);
}

/// Somebody else's socket in its place is not believed. Only root can play somebody else.
#[test]
#[expect(clippy::disallowed_methods, reason = "another user's program, as a child of the test")]
fn a_socket_of_another_user_is_not_believed() {
    const SERVER: &str = "import os,socket,sys,time\n\
        s=socket.socket(socket.AF_UNIX); s.bind(sys.argv[1]); s.listen(); os.chmod(sys.argv[1],0o777)\n\
        print('up',flush=True); time.sleep(60)";
    if !rustix::process::geteuid().is_root() {
        return skip(
            "a_socket_of_another_user_is_not_believed",
            "only root can start a program of another user",
        );
    }
    let model = ScriptedModel::echo();
    let home = Home::with_model(&model);
    let folder = tempfile::Builder::new().prefix("moltbot-socket-").tempdir().unwrap();
    std::fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    let path = folder.path().join("tailscaled.sock");
    let mut command = std::process::Command::new("python3");
    std::os::unix::process::CommandExt::uid(&mut command, 65534);
    let mut server =
        command.args(["-c", SERVER]).arg(&path).stdout(std::process::Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(server.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "up\n");
    home.change_config(|config| {
        config["gateway"]["tailscale"] = json!({"mode": "serve", "socketPath": path.display().to_string()});
    });
    let refused = run(PROGRAM, &home, &["gateway", "run"]);
    server.kill().unwrap();
    server.wait().unwrap();
    assert_eq!(refused.status.code(), Some(75), "{}", text(&refused));
    assert!(text(&refused).contains("served by the user 65534"), "{}", text(&refused));
}
