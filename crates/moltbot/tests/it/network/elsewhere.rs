//! The command line against the gateway of another machine: the pinned certificate is believed, and nothing is sent to a
//! server with any other.

use std::io::Read as _;
use std::sync::Arc;
use std::thread::JoinHandle;

use moltbot_testkit::home::Home;
use moltbot_testkit::model::ScriptedModel;
use moltbot_testkit::process::{Gateway, run};
use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::json;

use super::{ADDRESS, PROGRAM, home, text, tls};

/// An installation whose commands talk to the gateway at that address.
fn remote(url: &str, token: &str, fingerprint: &str) -> Home {
    let home = Home::empty().unwrap();
    let mut remote = json!({"url": url, "token": token});
    if !fingerprint.is_empty() {
        remote["tlsFingerprint"] = json!(fingerprint);
    }
    home.write_config(
        &json!({"gateway": {"mode": "remote", "remote": remote, "auth": {"token": super_token()}}}),
    );
    home
}

/// The credential of the installation itself, which is no other gateway's.
fn super_token() -> String {
    "Zr3VtLx0NwYbE5mKc7HdPfJ2sGuA9o1QiTeXyBvRMq8".to_owned()
}

#[test]
fn with_the_fingerprint_a_command_talks_to_a_gateway_elsewhere() {
    let model = ScriptedModel::echo();
    let house = home(&model, tls);
    let gateway = Gateway::start(PROGRAM, &house);
    let fingerprint = text(&run(PROGRAM, &house, &["gateway", "fingerprint"])).trim().to_owned();
    let url = format!("wss://{ADDRESS}:{}", house.port());
    for pin in [fingerprint.clone(), fingerprint.replace(':', "").to_lowercase()] {
        let remote = remote(&url, gateway.token(), &pin);
        let called = run(PROGRAM, &remote, &["gateway", "call", "health"]);
        assert!(called.status.success(), "{}", text(&called));
        let status = run(PROGRAM, &remote, &["gateway", "status"]);
        assert!(status.status.success() && text(&status).contains(&url), "{}", text(&status));
        let recorded =
            text(&run(PROGRAM, &remote, &["ledger", "search", "--action", "egress.open", "--json"]));
        assert!(recorded.contains(ADDRESS) && recorded.contains("gateway"), "{recorded}");
        let started = run(PROGRAM, &remote, &["gateway", "run"]);
        assert_eq!(started.status.code(), Some(78), "no gateway starts here: {}", text(&started));
    }
    // Without a pin the authorities of this machine would have to vouch, and none does.
    let unpinned = run(PROGRAM, &remote(&url, gateway.token(), ""), &["gateway", "call", "health"]);
    assert_eq!(unpinned.status.code(), Some(69), "{}", text(&unpinned));
    assert!(text(&unpinned).contains("encrypted connection"), "{}", text(&unpinned));
    // In clear nothing is sent to another machine at all.
    let clear = url.replace("wss://", "ws://");
    let clear = run(PROGRAM, &remote(&clear, gateway.token(), &fingerprint), &["gateway", "call", "health"]);
    assert_eq!(clear.status.code(), Some(78), "{}", text(&clear));
    assert!(text(&clear).contains("wss://"), "{}", text(&clear));
}

/// A server that shows a certificate of its own, and keeps what it is sent.
#[expect(clippy::disallowed_methods, reason = "an impostor of the tests, on loopback")]
fn impostor() -> (u16, JoinHandle<Vec<u8>>) {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec![ADDRESS.to_owned()]).unwrap().self_signed(&key).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder =
        ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let config =
        builder.with_no_client_auth().with_single_cert(vec![certificate.der().clone()], key).unwrap();
    let listener = std::net::TcpListener::bind((ADDRESS, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let heard = std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(std::time::Duration::from_secs(30))).unwrap();
        let mut heard = Vec::new();
        let server = ServerConnection::new(Arc::new(config)).unwrap();
        drop(StreamOwned::new(server, stream).read_to_end(&mut heard)); // the client goes without a word
        heard
    });
    (port, heard)
}

/// Who stands between, or in the place of, the gateway learns neither the token nor that one was there.
#[test]
fn p02_nothing_is_sent_to_a_server_with_another_certificate_than_the_pinned_one() {
    let model = ScriptedModel::echo();
    let house = home(&model, tls);
    let _gateway = Gateway::start(PROGRAM, &house);
    let pinned = text(&run(PROGRAM, &house, &["gateway", "fingerprint"])).trim().to_owned();
    let (port, heard) = impostor();
    let remote =
        remote(&format!("wss://{ADDRESS}:{port}"), "a-token-that-no-impostor-may-see-0123456789", &pinned);
    let refused = run(PROGRAM, &remote, &["gateway", "call", "health"]);
    assert_eq!(refused.status.code(), Some(77), "{}", text(&refused));
    assert!(text(&refused).contains("another certificate"), "{}", text(&refused));
    assert_eq!(heard.join().unwrap(), b"", "what the impostor was sent");
}
