//! A stream over TLS: whom it trusts, what it says of what was read, and what is in the book.

use std::sync::Arc;

use moltbot_net::{Authorities, FetchError, StreamClient};
use moltbot_policy::network::{Destination, Purpose};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs::default_provider;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::server::TlsStream;

use crate::book::{book, decisions};

/// An authority in PEM, and a server with a certificate for `name`.
pub(crate) fn certified(name: &str) -> (String, TlsAcceptor, TlsAcceptor) {
    let key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::new(Vec::new()).expect("parameters");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = params.self_signed(&key).expect("an authority").pem();
    let issuer = Issuer::new(params, key);
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new(vec![name.to_owned()]).expect("parameters");
    let certificate = params.signed_by(&key, &issuer).expect("a certificate").der().clone();
    let acceptor = |version| {
        let builder = ServerConfig::builder_with_provider(Arc::new(default_provider()));
        let builder = builder.with_protocol_versions(&[version]).expect("a version").with_no_client_auth();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let config = builder.with_single_cert(vec![certificate.clone()], key).expect("a server");
        TlsAcceptor::from(Arc::new(config))
    };
    (authority, acceptor(&TLS12), acceptor(&TLS13))
}

/// A server that hands its first connection to `serve`.
#[expect(clippy::disallowed_methods, reason = "a stand-in for somebody else's server")]
async fn server<F, T>(serve: impl FnOnce(TcpStream) -> F + Send + 'static) -> (u16, oneshot::Receiver<T>)
where
    F: Future<Output = T> + Send,
    T: Send + 'static,
{
    let socket = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = socket.local_addr().expect("an address").port();
    let (sender, heard) = oneshot::channel();
    tokio::spawn(async move {
        let (stream, _) = socket.accept().await.expect("a connection");
        sender.send(serve(stream).await).ok();
    });
    (port, heard)
}

fn client(authority: &str, host: &str, port: u16, ledger: moltbot_ledger::Ledger) -> StreamClient {
    let authorities = Authorities::only(authority.as_bytes()).expect("an authority");
    let destination = Destination::tls(host, port).expect("a destination");
    StreamClient::new(authorities, Purpose::Syslog, destination, Arc::new(ledger))
}

async fn read_to_end(stream: &mut TlsStream<TcpStream>) -> String {
    let mut text = String::new();
    stream.read_to_string(&mut text).await.expect("an end with a goodbye");
    text
}

#[tokio::test]
async fn what_is_sent_arrives_and_its_end_is_confirmed_with_each_version() {
    let (authority, old, new) = certified("localhost");
    for acceptor in [old, new] {
        let (folder, ledger) = book();
        let (port, heard) = server(move |stream| async move {
            let mut stream = acceptor.accept(stream).await.expect("a handshake");
            read_to_end(&mut stream).await
        })
        .await;
        let client = client(&authority, "localhost", port, ledger);
        let mut stream = client.connect("gateway").await.expect("a stream");
        stream.send(b"one ").await.expect("sent");
        stream.send(b"two").await.expect("sent");
        stream.finish().await.expect("read to the end");
        assert_eq!(heard.await.expect("the server"), "one two");
        assert_eq!(decisions(&folder), [format!("allowed localhost:{port}")]);
    }
}

#[tokio::test]
async fn a_server_that_reads_only_a_part_has_not_confirmed() {
    let (authority, _, acceptor) = certified("localhost");
    let (_folder, ledger) = book();
    let (port, heard) = server(move |stream| async move {
        let mut stream = acceptor.accept(stream).await.expect("a handshake");
        let mut some = [0; 3];
        stream.read_exact(&mut some).await.expect("the beginning");
        // Ended with the rest unread, as by a kill.
    })
    .await;
    let client = client(&authority, "localhost", port, ledger);
    let mut stream = client.connect("gateway").await.expect("a stream");
    let sent = async {
        for _ in 0..64 {
            stream.send(&[b'x'; 64 * 1024]).await?;
        }
        stream.finish().await
    };
    let error = sent.await.expect_err("not everything was read");
    assert!(matches!(error, FetchError::Interrupted { .. }), "{error:?}");
    heard.await.expect("the server");
}

#[tokio::test]
async fn a_server_that_ends_is_noticed_without_sending() {
    let (authority, _, acceptor) = certified("localhost");
    let (_folder, ledger) = book();
    let (port, _heard) = server(move |stream| async move {
        let mut stream = acceptor.accept(stream).await.expect("a handshake");
        stream.write_all(b"go away").await.expect("a word");
    })
    .await;
    let client = client(&authority, "localhost", port, ledger);
    let mut stream = client.connect("gateway").await.expect("a stream");
    assert!(matches!(stream.ended().await, FetchError::Interrupted { .. }));
}

#[tokio::test]
async fn a_server_of_another_authority_or_name_is_sent_nothing() {
    let (authority, _, _) = certified("localhost");
    for (name, host) in [("localhost", "localhost"), ("other.test", "localhost"), ("localhost", "127.0.0.1")]
    {
        let (own, _, acceptor) = certified(name);
        let trusted = if (name, host) == ("localhost", "localhost") { &authority } else { &own };
        let (_folder, ledger) = book();
        let (port, heard) = server(move |stream| async move { acceptor.accept(stream).await.is_err() }).await;
        let error = client(trusted, host, port, ledger).connect("gateway").await.expect_err(name);
        assert!(matches!(error, FetchError::Tls { .. }), "{name} as {host}: {error:?}");
        assert!(heard.await.expect("the server"), "{name} as {host}: no handshake");
    }
}

#[tokio::test]
async fn an_address_out_of_reach_is_refused_and_that_is_recorded() {
    let (authority, _, _) = certified("localhost");
    let (folder, ledger) = book();
    let error = client(&authority, "169.254.169.254", 6514, ledger.clone()).connect("gateway").await;
    assert!(matches!(error, Err(FetchError::Refused(_))), "{error:?}");
    assert_eq!(decisions(&folder), ["refused 169.254.169.254:6514 egress_refused"]);
    ledger.shutdown();
    let error = client(&authority, "127.0.0.1", 1, ledger).connect("gateway").await;
    assert!(matches!(error, Err(FetchError::Unrecorded(_))), "{error:?}");
}

#[test]
fn a_text_without_certificates_is_no_authority() {
    for text in ["", "nothing", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
        assert!(Authorities::only(text.as_bytes()).is_err(), "{text:?}");
    }
}
