//! All of a permit's addresses or none.
#![expect(clippy::disallowed_methods, reason = "peers of the listener under test, on loopback")]

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

use moltbot_config::settings::{Address, AuthConfig, BindMode, GatewayConfig};
use moltbot_net::{HandedSockets, ListenError, Listener, Wire, listen};
use moltbot_policy::authentication::Credential;
use moltbot_policy::network::{BindPermit, bind};
use moltbot_policy::{Recorded, record};
use moltbot_testkit::home::free_port;
use moltbot_testkit::skip::skip;
use tokio::io::AsyncReadExt;
use tokio::net::TcpSocket;

use crate::book::book;

fn permit(port: u16) -> Recorded<BindPermit> {
    let (_folder, ledger) = book();
    let permit = bind(
        &GatewayConfig { port, unix_socket: false, ..GatewayConfig::default() },
        &credential(),
        &[],
        Path::new("/"),
    )
    .expect("a permit");
    record(permit, &ledger).expect("a line in the book")
}

fn credential() -> Credential {
    let token = Some("q8Zr3VtLx0NwYbE5mKc7HdPfJ2sGuA9o1QiTeXyBvRM".into());
    Credential::from_config(&AuthConfig { token, ..AuthConfig::default() }).expect("a strong token")
}

/// Loopback and one address more, in plaintext.
fn permit_with(address: &str, port: u16) -> Recorded<BindPermit> {
    let (_folder, ledger) = book();
    let gateway = GatewayConfig {
        bind: BindMode::Custom,
        custom_bind_host: Some(Address(address.parse().expect("an address"))),
        dangerously_allow_plaintext_bind: true,
        port,
        unix_socket: false,
        ..GatewayConfig::default()
    };
    record(bind(&gateway, &credential(), &[], Path::new("/")).expect("a permit"), &ledger)
        .expect("a line in the book")
}

async fn connect(listener: &Listener, address: SocketAddr) -> SocketAddr {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }.expect("a socket");
    let (ours, accepted) = tokio::join!(socket.connect(address), listener.accept());
    let (theirs, peer) = accepted.expect("a connection");
    let Ok(Wire::Plain(theirs)) = theirs.open().await else { panic!("another wire than it was") };
    assert!(theirs.nodelay().expect("an option"), "small frames would wait for each other");
    assert_eq!(peer, ours.expect("a connection").local_addr().expect("an address"));
    peer
}

fn has_ipv6() -> bool {
    TcpSocket::new_v6().and_then(|socket| socket.bind((Ipv6Addr::LOCALHOST, 0).into())).is_ok()
}

#[tokio::test]
async fn a_free_port_is_the_same_on_every_address() {
    let listener = listen(permit(0), None, HandedSockets::default()).expect("a listener");
    assert_ne!(listener.port(), 0);
    for _ in 0..3 {
        connect(&listener, (Ipv4Addr::LOCALHOST, listener.port()).into()).await;
    }
    if !has_ipv6() {
        return skip("a_free_port_is_the_same_on_every_address", "this machine has no ::1");
    }
    connect(&listener, (Ipv6Addr::LOCALHOST, listener.port()).into()).await;
}

#[tokio::test]
async fn a_port_in_use_is_an_error_that_names_the_way_out() {
    let first = listen(permit(0), None, HandedSockets::default()).expect("a listener");
    let error = listen(permit(first.port()), None, HandedSockets::default()).expect_err("the port is taken");
    assert!(matches!(error, ListenError::InUse { .. }), "{error:?}");
    let expected = format!(
        "cannot listen on 127.0.0.1:{}: another program is using that port; stop it or choose another with `--port`",
        first.port()
    );
    assert_eq!(error.to_string(), expected);
}

#[tokio::test]
async fn no_address_is_kept_when_another_is_taken() {
    if !has_ipv6() {
        return skip("no_address_is_kept_when_another_is_taken", "this machine has no ::1");
    }
    // Not a port that the kernel may give to a neighbour's connection at any moment.
    let port = free_port();
    let taken = TcpSocket::new_v6().expect("a socket");
    taken.bind((Ipv6Addr::LOCALHOST, port).into()).expect("a port");
    let _taken = taken.listen(1).expect("a listener");
    let error = listen(permit(port), None, HandedSockets::default()).expect_err("::1 is taken");
    assert!(error.to_string().contains(&format!("[::1]:{port}")), "{error}");
    let free = TcpSocket::new_v4().expect("a socket");
    free.set_reuseaddr(true).expect("an option"); // old connections may linger; a listener may not
    free.bind((Ipv4Addr::LOCALHOST, port).into()).expect("127.0.0.1 was given back");
    free.listen(1).expect("nobody listens there");
}

#[tokio::test]
async fn a_restart_gets_its_port_back_at_once() {
    let first = listen(permit(0), None, HandedSockets::default()).expect("a listener");
    let port = first.port();
    // A connection that we close first stays behind in the kernel for a minute.
    let socket = TcpSocket::new_v4().expect("a socket");
    let (theirs, accepted) = tokio::join!(socket.connect((Ipv4Addr::LOCALHOST, port).into()), first.accept());
    drop((accepted.expect("a connection"), first));
    let read = theirs.expect("a connection").read(&mut [0; 1]).await;
    assert_eq!(read.expect("the end"), 0);
    assert_eq!(
        listen(permit(port), None, HandedSockets::default()).expect("the port is free again").port(),
        port
    );
}

/// Neither a name nor another address stands in for the one that is not there, and loopback is given back.
#[tokio::test]
async fn d_14_an_address_that_this_machine_has_not_is_an_error_and_nothing_is_listened_on() {
    for address in ["203.0.114.77", "2606:4700::77"] {
        let port = free_port();
        let error = listen(permit_with(address, port), None, HandedSockets::default())
            .expect_err("nobody's address here");
        assert!(matches!(error, ListenError::Foreign { .. } | ListenError::Bind { .. }), "{error:?}");
        assert!(error.to_string().contains(address), "{error}");
        let free = TcpSocket::new_v4().expect("a socket");
        free.set_reuseaddr(true).expect("an option"); // old connections may linger; a listener may not
        free.bind((Ipv4Addr::LOCALHOST, port).into()).expect("127.0.0.1 was given back");
        free.listen(1).expect("nobody listens there");
    }
}
