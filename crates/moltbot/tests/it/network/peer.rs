//! Peers of the gateway's listener on an address of loopback: in plaintext, and over TLS with rustls of our own making.

use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

const PATIENCE: Duration = Duration::from_secs(30);

/// A connection in plaintext.
#[expect(clippy::disallowed_methods, reason = "a peer of the tests, to a gateway on loopback")]
pub(crate) fn dial(address: &str, port: u16) -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect(SocketAddr::new(address.parse().unwrap(), port))?;
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    Ok(stream)
}

/// Whether anything listens there.
pub(super) fn listens(address: &str, port: u16) -> bool {
    dial(address, port).is_ok()
}

/// Everything that a peer says to these bytes until it closes.
pub(super) fn answer(mut stream: impl std::io::Read + std::io::Write, request: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    if stream.write_all(request.as_bytes()).and_then(|()| stream.flush()).is_ok() {
        drop(stream.read_to_end(&mut bytes)); // an end without a goodbye is an end
    }
    bytes
}

/// A request for the sign of life, with these headers.
pub(super) fn request(headers: &[(&str, &str)]) -> String {
    let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    format!("GET /healthz HTTP/1.1\r\nconnection: close\r\n{headers}\r\n")
}

/// How a client sets TLS up that believes the certificates of this file.
#[expect(clippy::disallowed_methods, reason = "a certificate that the program wrote")]
pub(crate) fn believing(certificate: &Path) -> ClientConfig {
    let pem = std::fs::read(certificate).unwrap();
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        roots.add(certificate.unwrap()).unwrap();
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    builder.unwrap().with_root_certificates(roots).with_no_client_auth()
}

/// A connection over TLS, set up.
pub(crate) fn secured(
    config: ClientConfig,
    address: &str,
    port: u16,
) -> std::io::Result<StreamOwned<ClientConnection, TcpStream>> {
    let name = ServerName::IpAddress(address.parse::<std::net::IpAddr>().unwrap().into());
    let client = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut stream = StreamOwned::new(client, dial(address, port)?);
    while stream.conn.is_handshaking() {
        stream.conn.complete_io(&mut stream.sock)?;
    }
    Ok(stream)
}
