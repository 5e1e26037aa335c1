//! An authority of the test's own, and certificates from it.

use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use tempfile::TempDir;

pub(super) struct Authority {
    folder: TempDir,
    file: PathBuf,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    #[expect(clippy::disallowed_methods, reason = "a file for another program")]
    pub(super) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.distinguished_name.push(DnType::CommonName, "an authority of a test");
        let certificate = params.self_signed(&key).unwrap();
        let file = folder.path().join("ca.pem");
        std::fs::write(&file, certificate.pem()).unwrap();
        Self { folder, file, issuer: Issuer::new(params, key) }
    }

    /// Its certificate, as a file.
    pub(super) fn file(&self) -> &Path {
        &self.file
    }

    /// A certificate for `name` and its key, as files.
    #[expect(clippy::disallowed_methods, reason = "files for another program")]
    pub(super) fn vouch_for(&self, name: &str) -> (PathBuf, PathBuf) {
        let key = KeyPair::generate().unwrap();
        let certificate =
            CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, &self.issuer);
        let (one, other) = (self.folder.path().join("server.pem"), self.folder.path().join("server.key"));
        std::fs::write(&one, certificate.unwrap().pem()).unwrap();
        std::fs::write(&other, key.serialize_pem()).unwrap();
        (one, other)
    }
}
