//! The way out of a sandbox: what is reached, what is refused, what nobody sees, and what is in the book.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use moltbot_config::settings::{OutboundConfig, OutboundCredential, OutboundHost};
use moltbot_net::{Authorities, Proxy};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::book::{book, decisions};
use crate::stream::certified;

/// A proxy at a port of this machine, which stands for one within a sandbox.
struct Way {
    port: u16,
    proxy: Arc<Proxy>,
    serving: JoinHandle<std::io::Result<()>>,
    folder: tempfile::TempDir,
    ledger: moltbot_ledger::Ledger,
}

#[expect(clippy::disallowed_methods, reason = "stands for the socket that the sandbox makes")]
fn way(allow: &[&str], authorities: Authorities, more: impl FnOnce(&mut OutboundConfig)) -> Way {
    let (folder, ledger) = book();
    let allow = allow.iter().map(|host| OutboundHost::parse(host).expect("a host")).collect();
    let mut rules = OutboundConfig { allow, ..OutboundConfig::default() };
    more(&mut rules);
    let socket = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = socket.local_addr().expect("an address").port();
    let proxy = Arc::new(Proxy::new(rules, authorities, Arc::new(ledger.clone()), "agent:r".into()));
    let serving = tokio::spawn(Arc::clone(&proxy).serve(OwnedFd::from(socket)));
    Way { port, proxy, serving, folder, ledger }
}

impl Way {
    #[expect(clippy::disallowed_methods, reason = "stands for a command in a sandbox")]
    async fn connect(&self) -> TcpStream {
        TcpStream::connect(("127.0.0.1", self.port)).await.expect("the proxy")
    }

    /// What the proxy answers to these bytes, to the end of the connection.
    async fn say(&self, bytes: &[u8]) -> String {
        let mut stream = self.connect().await;
        stream.write_all(bytes).await.expect("sent");
        let mut answer = Vec::new();
        let read =
            tokio::time::timeout(std::time::Duration::from_secs(5), stream.read_to_end(&mut answer)).await;
        assert!(read.is_ok(), "the proxy neither answers nor ends: {}", String::from_utf8_lossy(&answer));
        String::from_utf8_lossy(&answer).into_owned()
    }

    fn written(self) -> Vec<String> {
        self.serving.abort();
        drop(self.proxy);
        drop(self.ledger);
        decisions(&self.folder)
    }
}

/// A server that answers each connection with what it was sent, as HTTP.
#[expect(clippy::disallowed_methods, reason = "a stand-in for somebody else's server")]
async fn echo(acceptor: Option<TlsAcceptor>) -> u16 {
    let socket = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = socket.local_addr().expect("an address").port();
    tokio::spawn(async move {
        loop {
            let (stream, _) = socket.accept().await.expect("a connection");
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                match acceptor {
                    None => answer(stream).await,
                    Some(acceptor) => answer(acceptor.accept(stream).await.expect("a handshake")).await,
                }
            });
        }
    });
    port
}

async fn answer(mut stream: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin) {
    let mut request = Vec::new();
    let mut piece = [0; 4096];
    while !request.windows(4).any(|end| end == b"\r\n\r\n") {
        match stream.read(&mut piece).await {
            Ok(0) | Err(_) => return,
            Ok(read) => request.extend_from_slice(&piece[..read]),
        }
    }
    if request.starts_with(b"GET /big ") {
        request.resize(1_500_000, b'x');
    }
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close, x-mine\r\nx-mine: 1\r\n\r\n",
        request.len()
    );
    stream.write_all(head.as_bytes()).await.expect("a head");
    stream.write_all(&request).await.ok();
    stream.shutdown().await.ok();
}

#[tokio::test]
async fn a_request_in_clear_is_written_anew_for_a_host_that_was_named() {
    let port = echo(None).await;
    let way = way(&[&format!("127.0.0.1:{port}")], Authorities::System, |_| {});
    let request = format!(
        "GET http://127.0.0.1:{port}/a?b=c HTTP/1.1\r\nHost: other.example\r\nProxy-Authorization: Basic c2VjcmV0\r\n\
         Proxy-Connection: keep-alive\r\nConnection: close, x-hop\r\nx-hop: 1\r\nx-kept: 2\r\n\r\n"
    );
    let told = way.say(request.as_bytes()).await;
    let (head, echoed) = told.split_once("\r\n\r\n").expect("a head");
    assert!(head.starts_with("HTTP/1.1 200 OK") && !head.contains("x-mine"), "{head}");
    assert_eq!(
        echoed.to_ascii_lowercase(),
        format!("get /a?b=c http/1.1\r\nhost: 127.0.0.1:{port}\r\nx-kept: 2\r\n\r\n")
    );
    let traffic = way.proxy.traffic();
    assert_eq!((traffic.connections, traffic.refused), (1, 0));
    assert!(traffic.bytes > 100, "{traffic:?}");
    let written = way.written();
    assert!(
        written.iter().any(|line| line.contains("allowed") && line.contains(&format!("127.0.0.1:{port}"))),
        "{written:?}"
    );
}

#[tokio::test]
async fn what_the_owner_did_not_name_is_refused_and_recorded() {
    let port = echo(None).await;
    let way =
        way(&["api.example.com", "*.pkg.example", &format!("127.0.0.1:{port}")], Authorities::System, |_| {});
    for (request, status, code) in [
        ("CONNECT evil.test:443 HTTP/1.1\r\nHost: a\r\n\r\n", "403", "may not reach evil.test:443"),
        ("CONNECT api.example.com:22 HTTP/1.1\r\nHost: a\r\n\r\n", "403", "may not reach"),
        ("CONNECT 169.254.169.254:80 HTTP/1.1\r\nHost: a\r\n\r\n", "403", "may not reach"),
        ("CONNECT localhost:443 HTTP/1.1\r\nHost: a\r\n\r\n", "403", "may not reach"),
        ("CONNECT 0x7f.0.0.1:443 HTTP/1.1\r\nHost: a\r\n\r\n", "403", "not plainly"),
        ("CONNECT evil.test@a.pkg.example:443 HTTP/1.1\r\nHost: a\r\n\r\n", "403", "CONNECT needs"),
        (
            "GET http://evil.test/ HTTP/1.1\r\nHost: api.example.com\r\nConnection: close\r\n\r\n",
            "403",
            "may not reach evil.test:80",
        ),
        (
            "GET http://u:p@api.example.com/ HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
            "403",
            "http://",
        ),
        ("GET /latest HTTP/1.1\r\nHost: api.example.com\r\nConnection: close\r\n\r\n", "403", "http://"),
        ("GET ftp://api.example.com/ HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", "403", "http://"),
        ("CONNECT evil.test%00.pkg.example:443 HTTP/1.1\r\nHost: a\r\n\r\n", "40", ""),
        ("CONNECT evil.test\0.pkg.example:443 HTTP/1.1\r\nHost: a\r\n\r\n", "400", ""),
        ("\u{5}\u{1}\0", "400", ""),
    ] {
        // Some are closed after the answer, some would wait for more.
        let mut stream = way.connect().await;
        stream.write_all(request.as_bytes()).await.expect("sent");
        stream.shutdown().await.expect("an end");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.ok();
        let answer = String::from_utf8_lossy(&answer).into_owned();
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status}")) && answer.contains(code),
            "{request:?}: {answer}"
        );
    }
    assert_eq!(way.proxy.traffic().connections, 0);
    let refused = way.proxy.traffic().refused;
    let written = way.written();
    assert_eq!(
        written.iter().filter(|line| line.contains("refused")).count(),
        usize::try_from(refused).unwrap()
    );
    assert!(refused >= 9, "{refused}");
}

async fn tunnel(way: &Way, target: &str) -> TcpStream {
    let mut stream = way.connect().await;
    stream
        .write_all(format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n").as_bytes())
        .await
        .expect("sent");
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.expect("an answer"));
    }
    assert!(head.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&head));
    stream
}

fn connector(authority: &str) -> TlsConnector {
    use tokio_rustls::rustls::pki_types::CertificateDer;
    use tokio_rustls::rustls::pki_types::pem::PemObject as _;
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.as_bytes()).expect("PEM")).expect("an authority");
    let provider = Arc::new(tokio_rustls::rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions");
    TlsConnector::from(Arc::new(builder.with_root_certificates(roots).with_no_client_auth()))
}

#[tokio::test]
async fn a_tunnel_carries_tls_to_its_host() {
    let (authority, _, acceptor) = certified("localhost");
    let port = echo(Some(acceptor)).await;
    let way = way(&[&format!("127.0.0.1:{port}")], Authorities::System, |_| {});
    let stream = tunnel(&way, &format!("127.0.0.1:{port}")).await;
    let name = ServerName::try_from("localhost").expect("a name");
    let mut stream = connector(&authority).connect(name, stream).await.expect("TLS through the tunnel");
    stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await.expect("sent");
    let mut text = String::new();
    stream.read_to_string(&mut text).await.expect("an answer");
    assert!(text.ends_with("GET / HTTP/1.1\r\n\r\n"), "{text}");
}

/// A name of a host that is allowed would else lead, by domain fronting, to any other host behind the same address.
#[tokio::test]
async fn a_tunnel_for_one_host_does_not_carry_another_or_anything_but_tls() {
    let (authority, _, _) = certified("localhost");
    let way = way(&["api.example.com"], Authorities::System, |_| {});
    let stream = tunnel(&way, "api.example.com:443").await;
    let name = ServerName::try_from("evil.test").expect("a name");
    let error = connector(&authority).connect(name, stream).await.expect_err("another host");
    assert!(error.to_string().contains("AccessDenied"), "{error}");
    for first in [&b"SSH-2.0-x\r\n"[..], b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x00\x04\x05\x00\x00\x00"] {
        let mut stream = tunnel(&way, "api.example.com:443").await;
        stream.write_all(first).await.expect("sent");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.ok();
        assert_eq!(answer.get(..7), Some(&[21, 3, 3, 0, 2, 2, 49][..]), "{first:?}");
    }
    let written = way.written();
    assert_eq!(
        written.iter().filter(|line| line.contains("outbound_tunnel_refused")).count(),
        4,
        "{written:?}"
    );
}

#[tokio::test]
async fn a_credential_is_added_on_the_way_and_only_for_its_host() {
    let (authority, _, acceptor) = certified("127.0.0.1");
    let (secure, clear) = (echo(Some(acceptor)).await, echo(None).await);
    let hosts = [format!("127.0.0.1:{secure}"), format!("127.0.0.1:{clear}")];
    let authorities = Authorities::only(authority.as_bytes()).expect("an authority");
    let way = way(&[&hosts[0], &hosts[1]], authorities, |rules| {
        let host = OutboundHost::parse(&hosts[0]).expect("a host");
        rules.inject = vec![OutboundCredential {
            host,
            header: "authorization".into(),
            value: "Bearer canary-7".to_owned().into(),
        }];
    });
    let ask = |host: String| {
        format!("GET http://{host}/ HTTP/1.1\r\nHost: x\r\nAuthorization: mine\r\nConnection: close\r\n\r\n")
    };
    // The server with TLS answers a request that the command made in clear.
    let told = way.say(ask(hosts[0].clone()).as_bytes()).await;
    assert!(
        told.contains("200 OK") && told.contains("authorization: Bearer canary-7") && !told.contains("mine"),
        "{told}"
    );
    let told = way.say(ask(hosts[1].clone()).as_bytes()).await;
    assert!(told.contains("200 OK") && told.contains("mine") && !told.contains("canary"), "{told}");
    let written = way.written();
    assert!(written.len() >= 2 && !written.iter().any(|line| line.contains("canary")), "{written:?}");
}

#[tokio::test]
async fn a_command_has_a_budget_of_bytes() {
    let port = echo(None).await;
    let way = way(&[&format!("127.0.0.1:{port}")], Authorities::System, |rules| rules.max_megabytes = 1);
    let told = way
        .say(
            format!("GET http://127.0.0.1:{port}/big HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                .as_bytes(),
        )
        .await;
    assert!(told.starts_with("HTTP/1.1 200") && told.len() < 1_100_000, "{}", told.len());
    let again = format!("GET http://127.0.0.1:{port}/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    let told = way.say(again.as_bytes()).await;
    assert!(told.starts_with("HTTP/1.1 502"), "{told}");
}

#[tokio::test]
async fn dropping_the_proxy_ends_its_connections() {
    let port = echo(None).await;
    let way = way(&[&format!("127.0.0.1:{port}")], Authorities::System, |_| {});
    let mut idle = way.connect().await;
    let mut busy = tunnel(&way, &format!("127.0.0.1:{port}")).await;
    way.serving.abort();
    for stream in [&mut idle, &mut busy] {
        let mut rest = Vec::new();
        let ended =
            tokio::time::timeout(std::time::Duration::from_secs(2), stream.read_to_end(&mut rest)).await;
        assert!(ended.is_ok(), "a connection outlived its proxy");
    }
}
