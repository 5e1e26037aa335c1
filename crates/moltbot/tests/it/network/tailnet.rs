//! Requests that Tailscale on this machine passes on. A stand-in plays tailscaled's interface for programs of the machine;
//! what plays the proxy is a request with the headers that it adds.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::{Arc, Mutex};

use moltbot_testkit::home::Home;
use moltbot_testkit::model::ScriptedModel;
use moltbot_testkit::process::{Gateway, run};
use moltbot_testkit::raw::{RawSocket, http};
use moltbot_testkit::skip::skip;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::{PROGRAM, require_no_start, text};

const NAME: &str = "desk.tail0123.ts.net";
const PASSWORD: &str = "seven green kettles sing";

/// tailscaled's socket with two people behind it, what it was asked, and what it passes on.
struct Tailscaled {
    asked: Arc<Mutex<Vec<String>>>,
    passes_on: Arc<Mutex<Value>>,
    rules: Arc<Mutex<Rules>>,
}

/// What tailscaled knows and lets its programs do.
struct Rules {
    certificates: Vec<&'static str>,
    capabilities: Value,
    takes_changes: bool,
    /// What somebody else sets up right before the next change.
    meanwhile: Option<Value>,
}

/// A request of the gateway.
struct Asked {
    line: String,
    headers: Vec<(String, String)>,
    body: String,
}

impl Asked {
    fn read(stream: &UnixStream) -> Self {
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let mut next = || {
            let mut line = String::new();
            reader.read_line(&mut line).unwrap();
            line.trim_end().to_owned()
        };
        let line = next();
        let headers = std::iter::from_fn(|| Some(next()).filter(|line| !line.is_empty()));
        let headers = headers.filter_map(|line| {
            line.split_once(": ").map(|(name, value)| (name.to_lowercase(), value.to_owned()))
        });
        let mut asked = Self { line, headers: headers.collect(), body: String::new() };
        let length = asked.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        asked.body = String::from_utf8(body).unwrap();
        asked
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(header, _)| header == name).map(|(_, value)| value.as_str())
    }
}

impl Tailscaled {
    #[expect(clippy::disallowed_methods, reason = "a stand-in for another program of this machine")]
    fn serve(path: &Path) -> Self {
        let listener = UnixListener::bind(path).unwrap();
        let rules = Rules {
            certificates: vec![NAME],
            capabilities: json!({"https": null, "funnel": null}),
            takes_changes: true,
            meanwhile: None,
        };
        let served = Self {
            asked: Arc::default(),
            passes_on: Arc::new(Mutex::new(Value::Null)),
            rules: Arc::new(Mutex::new(rules)),
        };
        let (asked, passes_on, rules) =
            (Arc::clone(&served.asked), Arc::clone(&served.passes_on), Arc::clone(&served.rules));
        std::thread::spawn(move || {
            while let Ok((mut stream, _)) = listener.accept() {
                let request = Asked::read(&stream);
                asked.lock().unwrap().push(request.line.trim_end_matches(" HTTP/1.1").to_owned());
                let (status, body) =
                    answer(&request, &mut passes_on.lock().unwrap(), &mut rules.lock().unwrap());
                let (etag, body) = (version(&passes_on.lock().unwrap()), body.to_string());
                let head = format!(
                    "HTTP/1.1 {status} X\r\ncontent-length: {}\r\netag: {etag}\r\nconnection: close\r\n\r\n",
                    body.len()
                );
                drop(stream.write_all((head + &body).as_bytes()));
            }
        });
        served
    }

    fn questions(&self) -> usize {
        self.asked.lock().unwrap().iter().filter(|path| path.contains("addr=100.64.0.")).count()
    }

    fn changes(&self) -> usize {
        self.asked.lock().unwrap().iter().filter(|line| line.starts_with("POST ")).count()
    }

    fn set(&self, value: Value) {
        *self.passes_on.lock().unwrap() = value;
    }

    fn passes_on(&self) -> Value {
        self.passes_on.lock().unwrap().clone()
    }
}

/// The version of what is passed on, as tailscaled makes it.
fn version(passes_on: &Value) -> String {
    Sha256::digest(passes_on.to_string()).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn answer(request: &Asked, passes_on: &mut Value, rules: &mut Rules) -> (u16, Value) {
    if request.header("host") != Some("local-tailscaled.sock") {
        return (403, json!("wrong host"));
    }
    let of =
        |login: &str| (200, json!({"Node": {"Name": "x"}, "UserProfile": {"ID": 1, "LoginName": login}}));
    match request.line.trim_end_matches(" HTTP/1.1") {
        "GET /localapi/v0/status?peers=false" => (
            200,
            json!({
                "BackendState": "Running", "CertDomains": rules.certificates,
                "Self": {"DNSName": format!("{NAME}."), "TailscaleIPs": ["100.64.9.9"], "CapMap": rules.capabilities},
            }),
        ),
        "GET /localapi/v0/serve-config" => (200, passes_on.clone()),
        "POST /localapi/v0/serve-config" if !rules.takes_changes => (403, json!("serve config denied")),
        "POST /localapi/v0/serve-config" => {
            if let Some(meanwhile) = rules.meanwhile.take() {
                *passes_on = meanwhile;
            }
            if request.header("if-match") != Some(version(passes_on).as_str()) {
                return (412, json!("etag mismatch"));
            }
            *passes_on = serde_json::from_str(&request.body).unwrap();
            (200, json!(""))
        }
        "GET /localapi/v0/whois?addr=100.64.9.9:0" | "GET /localapi/v0/whois?addr=100.64.0.7:0" => {
            of("Ann@example.com")
        }
        "GET /localapi/v0/whois?addr=100.64.0.8:0" => of("eve@example.com"),
        _ => (404, json!("no match for IP:port")),
    }
}

/// What Tailscale passes on when the gateway set it up.
fn own_way(home: &Home) -> Value {
    json!({
        "TCP": {"443": {"HTTPS": true}},
        "Web": {format!("{NAME}:443"): {"Handlers": {"/": {"Proxy": format!("http://127.0.0.1:{}", home.port())}}}},
    })
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

/// What Tailscale passes on is looked at: the internet where the tailnet was meant, and connections without a word of who
/// they are from, stop the start.
#[test]
fn what_tailscale_passes_on_has_to_be_what_the_config_asks_for() {
    let model = ScriptedModel::echo();
    let (home, tailscaled) = house(&model, "serve", |_| ());
    let own = own_way(&home);
    let mut open = own.clone();
    open["AllowFunnel"] = json!({format!("{NAME}:443"): true});
    tailscaled.set(open);
    require_no_start(&home, 78, &["opens port", "to the internet", "tailscale funnel reset"]);
    tailscaled.set(json!({"TCP": {"443": {"TCPForward": format!("127.0.0.1:{}", home.port())}}}));
    require_no_start(&home, 78, &["as it is", "tailscale serve reset"]);
    // What the owner set up by himself is as good, on whatever port, and stays his.
    let by_himself = json!({"TCP": {"8443": {"HTTPS": true}}, "Web": {format!("{NAME}:8443"): own["Web"][format!("{NAME}:443")]}});
    tailscaled.set(by_himself.clone());
    home.change_config(|config| config["gateway"]["tailscale"]["resetOnExit"] = json!(true));
    let mut gateway = Gateway::start(PROGRAM, &home);
    gateway.terminate();
    assert_eq!((tailscaled.passes_on(), tailscaled.changes()), (by_himself, 0), "{}", gateway.printed());
}

/// The gateway has Tailscale pass requests on, once, beside what others set up, and takes back exactly that.
#[test]
fn tailscale_is_set_up_by_the_gateway_and_what_is_others_stays() {
    let model = ScriptedModel::echo();
    let (home, tailscaled) = house(&model, "serve", |_| ());
    let others = json!({"TCP": {"22": {"TCPForward": "127.0.0.1:22"}}, "Services": {"svc:x": {"Tun": true}}});
    tailscaled.set(json!({}));
    tailscaled.rules.lock().unwrap().meanwhile = Some(others.clone());
    let mut expected = own_way(&home);
    expected["TCP"]["22"] = others["TCP"]["22"].clone();
    expected["Services"] = others["Services"].clone();
    let mut gateway = Gateway::start(PROGRAM, &home);
    assert_eq!(tailscaled.passes_on(), expected, "also what came at the same moment: {}", gateway.printed());
    assert_eq!(tailscaled.changes(), 2, "the first was made from what was not so any more");
    assert_eq!(status(&home, &of("ann@example.com", "100.64.0.7")), 404);
    gateway.kill9();
    gateway.restart(&home);
    gateway.terminate();
    assert_eq!((tailscaled.passes_on(), tailscaled.changes()), (expected, 2), "it is set up, and stays");

    home.change_config(|config| config["gateway"]["tailscale"]["resetOnExit"] = json!(true));
    gateway.restart(&home);
    gateway.terminate();
    assert_eq!(tailscaled.passes_on(), others, "{}", gateway.printed());
    let book = crate::secrets::book_in(home.path());
    let target = format!("https://{NAME} to 127.0.0.1:{}", home.port());
    let count = |action: &str| {
        let lines = book.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.filter(|line| line["action"] == action && line["target"] == target.as_str()).count()
    };
    assert_eq!((count("gateway.forward"), count("gateway.unforward")), (1, 1));
}

/// From the tailnet to the internet and back: what the gateway set up itself follows the config; a password is needed.
#[test]
fn the_internet_is_let_in_and_kept_out_as_the_config_says() {
    let model = ScriptedModel::echo();
    let (home, tailscaled) = house(&model, "serve", |gateway| {
        gateway["auth"] = json!({"mode": "password", "password": PASSWORD});
    });
    let (own, place) = (own_way(&home), format!("{NAME}:443"));
    let mut gateway = Gateway::start(PROGRAM, &home);
    assert_eq!(tailscaled.passes_on(), own);
    for (mode, is_open) in [("funnel", true), ("serve", false)] {
        gateway.terminate();
        home.change_config(|config| config["gateway"]["tailscale"]["mode"] = json!(mode));
        gateway.restart(&home);
        let mut expected = own.clone();
        if is_open {
            expected["AllowFunnel"] = json!({&place: true});
        }
        assert_eq!(tailscaled.passes_on(), expected, "{mode}: {}", gateway.printed());
    }
    gateway.terminate();
    home.change_config(|config| config["gateway"]["tailscale"]["mode"] = json!("funnel"));
    tailscaled.rules.lock().unwrap().capabilities = json!({"https": null});
    require_no_start(&home, 75, &["`funnel` of its policy"]);
    assert_eq!(tailscaled.passes_on(), own, "nothing was opened");
}

/// Attacks and accidents: nothing of somebody else is replaced, and what cannot be set up stops the start.
#[test]
fn what_tailscale_cannot_be_set_up_to_pass_on_stops_the_start_and_changes_nothing() {
    let model = ScriptedModel::echo();
    let (home, tailscaled) = house(&model, "serve", |gateway| {
        gateway["tailscale"]["resetOnExit"] = json!(true);
    });
    let shop = json!({
        "TCP": {"443": {"HTTPS": true}}, "Web": {format!("{NAME}:443"): {"Handlers": {"/": {"Proxy": "http://127.0.0.1:1"}}}},
    });
    for taken in [
        shop.clone(),
        json!({"TCP": {"443": {"TCPForward": "127.0.0.1:22"}}}),
        json!({"Foreground": {"session": shop}}),
        json!({"AllowFunnel": {format!("{NAME}:443"): true}}),
    ] {
        tailscaled.set(taken.clone());
        require_no_start(&home, 78, &["port 443", NAME, "--https=8443"]);
        assert_eq!(tailscaled.passes_on(), taken);
    }
    tailscaled.set(Value::Null);
    tailscaled.rules.lock().unwrap().certificates = vec!["other.tail0123.ts.net"];
    require_no_start(&home, 75, &["no certificates"]);
    tailscaled.rules.lock().unwrap().certificates = vec![NAME];
    tailscaled.rules.lock().unwrap().takes_changes = false;
    require_no_start(&home, 78, &["tailscale set", "--operator"]);
    assert_eq!(tailscaled.passes_on(), Value::Null);
    // What somebody put in its place while it ran is his.
    tailscaled.rules.lock().unwrap().takes_changes = true;
    let mut gateway = Gateway::start(PROGRAM, &home);
    tailscaled.set(shop.clone());
    gateway.terminate();
    assert_eq!(tailscaled.passes_on(), shop);
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
