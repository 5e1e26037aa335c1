//! Where the real binary listens, and what travels there. Every address is one of loopback: 127.0.0.5 stands for one of the
//! network, because to the program it is any address but 127.0.0.1 and ::1.

use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::{Duration, Instant};

use moltbot_testkit::home::Home;
use moltbot_testkit::model::{Reply, ScriptedModel, echo_of};
use moltbot_testkit::process::{Gateway, run};
use serde_json::{Value, json};

mod announcements;
mod certificates;
mod egress;
mod elsewhere;
mod locality;
pub(crate) mod peer;
mod tailnet;

use peer::{answer, believing, dial, listens, request, secured};

const PROGRAM: &str = env!("CARGO_BIN_EXE_moltbot");
pub(crate) const ADDRESS: &str = "127.0.0.5";

/// A home whose gateway is to listen on [`ADDRESS`].
fn home(model: &ScriptedModel, change: impl FnOnce(&mut Value)) -> Home {
    let home = Home::with_model(model);
    home.change_config(|config| {
        config["gateway"]["bind"] = json!("custom");
        config["gateway"]["customBindHost"] = json!(ADDRESS);
        change(&mut config["gateway"]);
    });
    home
}

pub(crate) fn tls(gateway: &mut Value) {
    gateway["tls"] = json!({"enabled": true});
}

/// The certificate that was made, as the owner gives it to clients.
pub(crate) fn certificate(home: &Home) -> PathBuf {
    home.state_path().join("tls/gateway.pem")
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// Demands that the gateway does not start, with this exit code and these words, and that nothing listens.
fn require_no_start(home: &Home, code: i32, words: &[&str]) {
    let refused = run(PROGRAM, home, &["gateway", "run"]);
    let told = text(&refused);
    assert_eq!(refused.status.code(), Some(code), "{told}");
    for word in words {
        assert!(told.contains(word), "no {word:?} in {told}");
    }
    for address in ["127.0.0.1", ADDRESS] {
        assert!(!listens(address, home.port()), "{address} is open");
    }
}

#[test]
fn a07_beyond_loopback_without_tls_the_gateway_does_not_start() {
    let model = ScriptedModel::echo();
    let refused = home(&model, |_| ());
    require_no_start(&refused, 78, &[ADDRESS, "without TLS", "gateway.tls.enabled"]);
    let told = run(PROGRAM, &refused, &["doctor"]);
    assert!(text(&told).contains("gateway.bind"), "{}", text(&told));
    // Whatever this machine's own addresses are, `lan` is refused before any of them is opened.
    for bind in ["lan", "tailnet"] {
        refused.change_config(|config| config["gateway"]["bind"] = json!(bind));
        require_no_start(&refused, 78, &["gateway.bind"]);
    }
}

#[test]
fn a07_plaintext_beyond_loopback_is_one_dangerous_setting_that_is_told_everywhere() {
    let model = ScriptedModel::echo();
    let home = home(&model, |gateway| gateway["dangerouslyAllowPlaintextBind"] = json!(true));
    let told = text(&run(PROGRAM, &home, &["doctor"]));
    assert!(told.contains("dangerouslyAllowPlaintextBind"), "{told}");
    let gateway = Gateway::start(PROGRAM, &home);
    let host = format!("{ADDRESS}:{}", home.port());
    let healthy = answer(dial(ADDRESS, home.port()).unwrap(), &request(&[("host", &host)]));
    assert!(String::from_utf8_lossy(&healthy).ends_with("ok"), "{healthy:?}");
    let printed = gateway.printed();
    for word in ["dangerouslyAllowPlaintextBind", &format!("http://{host}"), "plaintext"] {
        assert!(printed.contains(word), "no {word:?} in {printed}");
    }
    let listened = run(PROGRAM, &home, &["ledger", "search", "--action", "gateway.listen", "--json"]);
    assert!(text(&listened).contains("plaintext"), "{}", text(&listened));
}

#[test]
fn a20_beyond_loopback_a_weak_or_missing_credential_does_not_start() {
    let model = ScriptedModel::echo();
    for token in ["changeme", "undefined", "null", "a-token-of-23-character", ""] {
        let home = home(&model, |gateway| {
            tls(gateway);
            gateway["auth"] = if token.is_empty() { json!({}) } else { json!({"token": token}) };
        });
        require_no_start(&home, 78, &["oken"]);
    }
    // A proxy on this machine changes nothing of it, and a password is held to rules as well.
    let home = home(&model, |gateway| {
        tls(gateway);
        gateway["trustedProxies"] = json!(["127.0.0.1"]);
        gateway["auth"] = json!({"mode": "password", "password": "changeme"});
    });
    require_no_start(&home, 78, &["assword"]);
}

#[test]
fn d_14_an_address_that_cannot_be_bound_is_not_replaced_by_another() {
    let model = ScriptedModel::echo();
    let foreign = home(&model, |gateway| {
        tls(gateway);
        gateway["customBindHost"] = json!("203.0.114.77");
    });
    require_no_start(&foreign, 78, &["203.0.114.77", "no such address"]);
    for every in ["0.0.0.0", "::"] {
        foreign.change_config(|config| config["gateway"]["customBindHost"] = json!(every));
        require_no_start(&foreign, 78, &["customBindHost", every]);
    }
    let taken = home(&model, tls);
    #[expect(clippy::disallowed_methods, reason = "another program on that port")]
    let _other = std::net::TcpListener::bind((ADDRESS, taken.port())).unwrap();
    let refused = run(PROGRAM, &taken, &["gateway", "run"]);
    assert_eq!(refused.status.code(), Some(75), "{}", text(&refused));
    assert!(text(&refused).contains(&format!("{ADDRESS}:{}", taken.port())), "{}", text(&refused));
    assert!(!listens("127.0.0.1", taken.port()), "loopback was opened without the other");
}

/// Loopback stays as it was for who speaks plaintext there, TLS is spoken there too, and elsewhere nothing but TLS is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_tls_the_gateway_is_reached_from_elsewhere_and_in_plaintext_from_here_alone() {
    let model = ScriptedModel::echo();
    let home = home(&model, tls);
    let gateway = Gateway::start(PROGRAM, &home);
    let port = home.port();
    let here = gateway.connect().open().await.unwrap().chat("main", "hello").await;
    assert_eq!((here.state.as_str(), here.text), ("final", echo_of("hello")));

    let host = format!("{ADDRESS}:{port}");
    for address in [ADDRESS, "127.0.0.1"] {
        let host = format!("{address}:{port}");
        let stream = secured(believing(&certificate(&home)), address, port).unwrap();
        let healthy = answer(stream, &request(&[("host", &host)]));
        assert!(healthy.ends_with(b"ok"), "{address}: {}", String::from_utf8_lossy(&healthy));
    }
    // In plaintext there is no word of HTTP, neither to a request nor to a WebSocket's.
    for more in [&[][..], &[("upgrade", "websocket"), ("connection", "Upgrade")]] {
        let headers = [&[("host", host.as_str())], more].concat();
        let said = answer(dial(ADDRESS, port).unwrap(), &request(&headers));
        assert!(!said.windows(4).any(|window| window == b"HTTP"), "{said:?}");
    }
    // Neither a version that is broken nor another protocol than HTTP/1.1 is agreed on.
    let mut other = believing(&certificate(&home));
    other.alpn_protocols = vec![b"h2".to_vec()];
    assert!(secured(other, ADDRESS, port).is_err(), "h2");
    assert!(!gateway.printed().contains("panicked"), "{}", gateway.printed());
}

/// A peer that begins TLS and goes on no further, or says nothing at all, is let go of.
#[test]
fn a_half_open_handshake_is_cut_at_its_deadline() {
    let model = ScriptedModel::echo();
    let home = home(&model, tls);
    let _gateway = Gateway::start(PROGRAM, &home);
    let began = Instant::now();
    let mut silent = dial(ADDRESS, home.port()).unwrap();
    let mut begun = dial(ADDRESS, home.port()).unwrap();
    // The head of a record of 512 bytes, of which none follow.
    std::io::Write::write_all(&mut begun, &[0x16, 0x03, 0x01, 0x02, 0x00, 0x01]).unwrap();
    let mut here = dial("127.0.0.1", home.port()).unwrap();
    std::io::Write::write_all(&mut here, &[0x16]).unwrap();
    for (name, stream) in [("silent", &mut silent), ("begun", &mut begun), ("on loopback", &mut here)] {
        let mut rest = Vec::new();
        drop(std::io::Read::read_to_end(stream, &mut rest)); // reset or closed: either way it ends
        let after = began.elapsed();
        assert!(after > Duration::from_secs(3) && after <= Duration::from_secs(10), "{name}: {after:?}");
        assert!(!rest.starts_with(b"HTTP"), "{name}: {rest:?}");
    }
}

/// What waits in TLS's own buffer waits for the peer as well: who takes nothing of an answer is let go of.
#[test]
fn an_answer_that_nobody_takes_over_tls_is_given_up() {
    const ANSWER: usize = 12 * 1024 * 1024;
    let model = ScriptedModel::queue([Reply::Huge(ANSWER)]);
    let home = home(&model, tls);
    let gateway = Gateway::start(PROGRAM, &home);
    let body = json!({"model": "moltbot", "messages": [{"role": "user", "content": "go"}]}).to_string();
    let request = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: {ADDRESS}\r\nauthorization: Bearer {}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        gateway.token(),
        body.len()
    );
    let mut stream = secured(believing(&certificate(&home)), ADDRESS, home.port()).unwrap();
    std::io::Write::write_all(&mut stream, request.as_bytes()).unwrap();
    assert!(is_served(home.port()), "it is connected");
    let deadline = Instant::now() + Duration::from_secs(90);
    while is_served(home.port()) {
        assert!(Instant::now() < deadline, "the connection is kept, with nobody at its other end");
        std::thread::sleep(Duration::from_millis(250));
    }
    let mut taken = Vec::new();
    drop(std::io::Read::read_to_end(&mut stream, &mut taken));
    assert!(taken.len() < ANSWER, "all of it arrived: {}", taken.len());
}

/// Whether the gateway has a connection on [`ADDRESS`] that it has not closed.
#[expect(clippy::disallowed_methods, reason = "the kernel tells of connections in files")]
fn is_served(port: u16) -> bool {
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let local = format!("0500007F:{port:04X}");
    let rows = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    rows.into_iter().any(|row| row.get(1) == Some(&local.as_str()) && row.get(3) == Some(&"01"))
}

/// The names that are taken are those that the gateway is bound to or was told, over TLS as in plaintext, and a page of
/// any other origin is refused.
#[test]
fn d_15_over_tls_the_bound_addresses_and_the_owners_names_are_taken_and_no_others() {
    let model = ScriptedModel::echo();
    let home = home(&model, |gateway| {
        tls(gateway);
        gateway["allowedHosts"] = json!(["moltbot.lan"]);
    });
    let _gateway = Gateway::start(PROGRAM, &home);
    let port = home.port();
    let (own, page) = (format!("{ADDRESS}:{port}"), format!("https://{ADDRESS}:{port}"));
    let (insecure, named) = (format!("http://{ADDRESS}:{port}"), format!("https://moltbot.lan:{port}"));
    for (headers, expected) in [
        (vec![("host", own.as_str())], "200"),
        (vec![("host", "moltbot.lan")], "200"),
        (vec![("host", own.as_str()), ("origin", page.as_str())], "200"),
        (vec![("host", "moltbot.lan"), ("origin", named.as_str())], "200"),
        (vec![("host", "evil.test")], "403"),
        (vec![("host", "evil.moltbot.lan")], "403"),
        (vec![("host", "127.0.0.6")], "403"),
        (vec![("host", "any.tailnet.ts.net")], "403"),
        (vec![("host", own.as_str()), ("origin", insecure.as_str())], "403"),
        (vec![("host", own.as_str()), ("origin", "https://evil.test")], "403"),
        (vec![("host", own.as_str()), ("sec-fetch-site", "cross-site")], "403"),
    ] {
        let stream = secured(believing(&certificate(&home)), ADDRESS, port).unwrap();
        let said = answer(stream, &request(&headers));
        assert_eq!(String::from_utf8_lossy(&said).get(9..12), Some(expected), "{headers:?}");
    }
    home.change_config(|config| config["gateway"]["allowedHosts"] = json!(["*.ts.net"]));
    let refused = run(PROGRAM, &home, &["config", "validate"]);
    assert_eq!(refused.status.code(), Some(78), "{}", text(&refused));
}

/// Whether a file is of its owner alone.
fn is_private(path: &Path) -> bool {
    std::os::unix::fs::PermissionsExt::mode(&path.metadata().unwrap().permissions()) & 0o077 == 0
}
