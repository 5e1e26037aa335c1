//! Who may vouch for a server.

use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::BuilderVerifierExt as _;
use thiserror::Error;

use crate::identity::ClientIdentity;

/// Who may vouch for a server over TLS.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum Authorities {
    /// Those in this text (PEM), and no others.
    Only(Arc<[u8]>),
    /// Those of this machine.
    #[default]
    System,
}

/// A text without a certificate of an authority in it.
#[derive(Debug, Error)]
#[error("there is no certificate of an authority in it; it has to be in PEM form")]
pub struct NotCertificates;

impl Authorities {
    /// Those in a text that has at least one certificate and nothing that is not one.
    ///
    /// # Errors
    /// When it has none, or something that cannot be one.
    pub fn only(pem: &[u8]) -> Result<Self, NotCertificates> {
        roots(pem)?;
        Ok(Self::Only(pem.into()))
    }

    /// How a connection over TLS is set up: 1.2 or 1.3, the server's name verified. Costs milliseconds for
    /// [`Self::System`], because it reads this machine's certificates.
    pub(crate) fn client_config(&self, own: Option<&ClientIdentity>) -> Result<ClientConfig, rustls::Error> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        let builder = match self {
            Self::System => builder.with_platform_verifier()?,
            Self::Only(pem) => {
                let roots = roots(pem).map_err(|error| rustls::Error::General(error.to_string()))?;
                builder.with_root_certificates(roots)
            }
        };
        Ok(match own {
            None => builder.with_no_client_auth(),
            Some(own) => builder.with_client_cert_resolver(own.resolver()),
        })
    }
}

fn roots(pem: &[u8]) -> Result<RootCertStore, NotCertificates> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|_| NotCertificates)?;
        roots.add(certificate).map_err(|_| NotCertificates)?;
    }
    if roots.is_empty() { Err(NotCertificates) } else { Ok(roots) }
}
