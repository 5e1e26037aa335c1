//! Who the gateway is over TLS: a certificate, its key, and the fingerprint that clients pin.

use std::sync::Arc;

use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::NoServerSessionStorage;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use secrecy::SecretString;
use sha2::{Digest as _, Sha256};
use thiserror::Error;
use time::OffsetDateTime;
use tokio_rustls::TlsAcceptor;

/// How long a certificate that is made here is valid, in milliseconds: ten years, as upstream. Who pins one by its
/// fingerprint has to be told of each new one.
const VALID_MS: u64 = 3650 * 24 * 60 * 60 * 1000;
/// How long before its making it is valid, in milliseconds: clocks differ.
const BEFORE_MS: u64 = 24 * 60 * 60 * 1000;

/// Why a certificate and key are no identity.
#[derive(Debug, Error)]
#[expect(missing_docs, reason = "each message names its fields")]
#[non_exhaustive]
pub enum IdentityError {
    /// Its time is over.
    #[error("the certificate has expired: it was valid until {until}")]
    Expired { until: String },
    /// Something is not in PEM, or not there.
    #[error("there is no {what} in it; it has to be in PEM form")]
    Missing { what: &'static str },
    /// The key is another certificate's, or of a kind that TLS does not use here.
    #[error("the key does not belong to the certificate, or is of a kind that is not used")]
    Mismatch { source: rustls::Error },
    /// Its time has not come.
    #[error("the certificate is not valid before {from}; check this machine's clock")]
    NotYet { from: String },
    /// The bytes are no certificate.
    #[error("it is no certificate that can be read")]
    Unreadable,
    /// No certificate could be made.
    #[error("no certificate can be made")]
    Unmade { source: rcgen::Error },
}

/// A certificate that was made here, with its key, both in PEM.
pub struct MadeCertificate {
    /// The certificate.
    pub certificate: String,
    /// Its key.
    pub key: SecretString,
}

/// Who we are to a server that asks for a certificate.
#[derive(Clone)]
pub struct ClientIdentity(Arc<SingleCertAndKey>);

impl std::fmt::Debug for ClientIdentity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClientIdentity").finish_non_exhaustive()
    }
}

impl ClientIdentity {
    /// Reads a certificate and its key, both in PEM. Whether it is valid is for the server to say: those that know us by
    /// its fingerprint look at nothing else.
    ///
    /// # Errors
    /// When one of them cannot be read, or they do not belong together.
    pub fn from_pem(certificates: &[u8], key: &[u8]) -> Result<Self, IdentityError> {
        let missing = |what| move |_| IdentityError::Missing { what };
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(certificates).collect();
        let chain = chain.map_err(missing("certificate"))?;
        if chain.is_empty() {
            return Err(IdentityError::Missing { what: "certificate" });
        }
        let key = PrivateKeyDer::from_pem_slice(key).map_err(missing("key"))?;
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        let own = CertifiedKey::from_der(chain, key, &provider);
        let own = own.map_err(|source| IdentityError::Mismatch { source })?;
        Ok(Self(Arc::new(SingleCertAndKey::from(own))))
    }

    pub(crate) fn resolver(&self) -> Arc<SingleCertAndKey> {
        Arc::clone(&self.0)
    }
}

/// Who a server is: what it shows, and what it proves it with.
#[derive(Clone)]
pub struct ServerIdentity {
    acceptor: TlsAcceptor,
    fingerprint: Fingerprint,
}

impl std::fmt::Debug for ServerIdentity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServerIdentity").field("fingerprint", &self.fingerprint).finish_non_exhaustive()
    }
}

impl ServerIdentity {
    /// Reads a certificate (with those between it and its authority, when it has one) and its key, both in PEM. TLS 1.2 and
    /// 1.3 are spoken, and HTTP/1.1 in it; no session is taken up again, so that nothing of it waits in memory.
    ///
    /// # Errors
    /// When one of them cannot be read, they do not belong together, or the certificate is not valid at `now_ms`.
    pub fn from_pem(certificates: &[u8], key: &[u8], now_ms: u64) -> Result<Self, IdentityError> {
        let missing = |what| move |_| IdentityError::Missing { what };
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(certificates).collect();
        let chain = chain.map_err(missing("certificate"))?;
        let own = chain.first().ok_or(IdentityError::Missing { what: "certificate" })?.clone();
        let key = PrivateKeyDer::from_pem_slice(key).map_err(missing("key"))?;
        Validity::of(&own).ok_or(IdentityError::Unreadable)?.require(now_ms)?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mismatch = |source| IdentityError::Mismatch { source };
        let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let builder = builder.map_err(mismatch)?.with_no_client_auth();
        let mut config = builder.with_single_cert(chain, key).map_err(mismatch)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        config.send_tls13_tickets = 0;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        let acceptor = TlsAcceptor::from(Arc::new(config));
        Ok(Self { acceptor, fingerprint: Fingerprint::of(&own) })
    }

    /// What clients pin.
    pub const fn fingerprint(&self) -> &Fingerprint {
        &self.fingerprint
    }

    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        self.acceptor.clone()
    }
}

/// Makes a certificate for these names and addresses that vouches for itself, with a fresh P-256 key, valid for ten years.
///
/// # Errors
/// When a name is none, or there are no random bytes.
pub fn make_certificate(names: &[String], now_ms: u64) -> Result<MadeCertificate, IdentityError> {
    let unmade = |source| IdentityError::Unmade { source };
    let key = KeyPair::generate().map_err(unmade)?;
    let mut params = CertificateParams::new(names.to_vec()).map_err(unmade)?;
    params.distinguished_name.push(DnType::CommonName, "moltbot gateway");
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.not_before = moment(now_ms.saturating_sub(BEFORE_MS)).unwrap_or(params.not_before);
    params.not_after = moment(now_ms.saturating_add(VALID_MS)).unwrap_or(params.not_after);
    let certificate = params.self_signed(&key).map_err(unmade)?;
    Ok(MadeCertificate { certificate: certificate.pem(), key: SecretString::from(key.serialize_pem()) })
}

/// The SHA-256 digest of a certificate.
#[derive(Clone, Copy, Eq, PartialEq)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    pub(crate) fn of(certificate: &CertificateDer<'_>) -> Self {
        Self(Sha256::digest(certificate).into())
    }

    /// The digest itself.
    pub const fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Reads 64 hexadecimal digits, with or without colons.
    pub fn parse(text: &str) -> Option<Self> {
        let digits: Vec<u32> =
            text.trim().chars().filter(|c| *c != ':').map(|c| c.to_digit(16)).collect::<Option<_>>()?;
        let bytes: Vec<u8> = digits
            .chunks_exact(2)
            .filter_map(|pair| u8::try_from(pair.iter().fold(0, |byte, digit| byte * 16 + digit)).ok())
            .collect();
        (digits.len() == 64).then_some(())?;
        bytes.try_into().ok().map(Self)
    }
}

impl std::fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let bytes = self.0.map(|byte| format!("{byte:02X}"));
        f.write_str(&bytes.join(":"))
    }
}

impl std::fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self}")
    }
}

/// When the first of these certificates ends, in milliseconds since the epoch; nothing when there is none that can be read.
pub fn certificate_end(certificates: &[u8]) -> Option<u64> {
    let own = CertificateDer::pem_slice_iter(certificates).next()?.ok()?;
    u64::try_from(Validity::of(&own)?.until.0).ok()
}

/// A time in milliseconds since the epoch, and its day.
type Moment = (i128, String);

/// When a certificate is valid.
struct Validity {
    from: Moment,
    until: Moment,
}

impl Validity {
    /// The fourth or fifth member of a certificate's body (RFC 5280, 4.1): after its version (when it has one), number,
    /// algorithm and issuer.
    fn of(certificate: &CertificateDer<'_>) -> Option<Self> {
        let read = yasna::parse_der(certificate, |reader| {
            reader.read_sequence(|certificate| {
                let validity = certificate.next().read_sequence(|body| {
                    body.read_optional(|reader| {
                        reader.read_tagged(yasna::Tag::context(0), |version| version.read_der())
                    })?;
                    for _ in ["number", "algorithm", "issuer"] {
                        body.next().read_der()?;
                    }
                    let validity = body.next().read_sequence(|validity| {
                        Ok((read_time(validity.next())?, read_time(validity.next())?))
                    })?;
                    while body.read_optional(|reader| reader.read_der())?.is_some() {}
                    Ok(validity)
                })?;
                while certificate.read_optional(|reader| reader.read_der())?.is_some() {}
                Ok(validity)
            })
        });
        let (from, until) = read.ok()?;
        Some(Self { from, until })
    }

    fn require(&self, now_ms: u64) -> Result<(), IdentityError> {
        let now = i128::from(now_ms);
        if now < self.from.0 {
            return Err(IdentityError::NotYet { from: self.from.1.clone() });
        }
        if now > self.until.0 {
            return Err(IdentityError::Expired { until: self.until.1.clone() });
        }
        Ok(())
    }
}

fn read_time(reader: yasna::BERReader<'_, '_>) -> yasna::ASN1Result<Moment> {
    let tag = reader.lookahead_tag()?;
    let time = if tag == yasna::tags::TAG_UTCTIME {
        *reader.read_utctime()?.datetime()
    } else {
        *reader.read_generalized_time()?.datetime()
    };
    Ok((time.unix_timestamp_nanos() / 1_000_000, time.date().to_string()))
}

fn moment(ms: u64) -> Option<OffsetDateTime> {
    OffsetDateTime::from_unix_timestamp(i64::try_from(ms / 1000).ok()?).ok()
}
