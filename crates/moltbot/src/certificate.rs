//! The gateway's certificate: the owner's, or one that is made at the first start with TLS and sealed with its key.

use std::net::IpAddr;
use std::path::Path;

use moltbot_config::limits;
use moltbot_config::settings::{BindMode, GatewayConfig, TlsConfig};
use moltbot_ledger::Ledger;
use moltbot_net::{IdentityError, ServerIdentity, certificate_end, make_certificate};
use moltbot_policy::record;
use moltbot_policy::secret::{SecretAct, SecretPermit};
use moltbot_vault::{OwnerFile, SecretStore, StateDir, read_public};
use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret as _, SecretString};

use crate::clock;
use crate::exit::Exit;
use crate::home::{self, Home};

/// The name of the secret that holds a made certificate and its key, in PEM. In the store, because that is sealed again
/// when the root key rotates, and leaves with the other secrets when they are moved.
const MADE: &str = "gateway-tls";
/// The folder of its public copy in the state folder, and the copy's name.
const FOLDER: &str = "tls";
const COPY: &str = "gateway.pem";

/// When the certificate that the gateway shows ends, in milliseconds since the epoch; nothing when it shows none that is known.
pub(crate) fn end(tls: &TlsConfig, state: &StateDir) -> Option<u64> {
    if !tls.enabled {
        return None;
    }
    let chain = match &tls.cert_path {
        Some(path) => read_public(Path::new(path), limits::CERTIFICATE_BYTES).ok()?,
        None => state.find_folder(FOLDER).ok()??.read(COPY, limits::CERTIFICATE_BYTES).ok()??,
    };
    certificate_end(&chain)
}

/// The addresses of this machine, when the gateway is to listen on more than loopback.
pub(crate) fn own_addresses(gateway: &GatewayConfig) -> anyhow::Result<Vec<IpAddr>> {
    match gateway.bind {
        BindMode::Loopback | BindMode::Custom => Ok(Vec::new()),
        BindMode::Auto | BindMode::Lan | BindMode::Tailnet => moltbot_net::own_addresses()
            .map_err(|error| Exit::Failed.because(format!("cannot read this machine's addresses: {error}"))),
    }
}

/// Who the gateway is over TLS, when the config says that it speaks it.
pub(crate) fn identity(
    home: &Home,
    gateway: &GatewayConfig,
    own: &[IpAddr],
    ledger: &Ledger,
) -> anyhow::Result<Option<ServerIdentity>> {
    let TlsConfig { auto_generate, cert_path, enabled, key_path } = &gateway.tls;
    if !enabled {
        return Ok(None);
    }
    match (cert_path, key_path, auto_generate) {
        (Some(certificate), Some(key), _) => owners(certificate, key).map(Some),
        (None, None, true) => made(home, gateway, own, ledger).map(Some),
        (None, None, false) => Err(Exit::Config.because(
            "gateway.tls.enabled is true, and there is no certificate: name one in gateway.tls.certPath and \
             gateway.tls.keyPath, or set gateway.tls.autoGenerate to true",
        )),
        (Some(_), None, _) | (None, Some(_), _) => Err(Exit::Config.because(
            "gateway.tls.certPath and gateway.tls.keyPath belong together, and one of them is missing; set both, or \
             neither to have a certificate made",
        )),
    }
}

fn owners(certificate_path: &str, key_path: &str) -> anyhow::Result<ServerIdentity> {
    let wrong = |setting: &str, path: &str, why: String, fix: &str| {
        Exit::Config.because(format!("gateway.tls.{setting} is {path:?}: {why}; {fix}"))
    };
    let chain = read_public(Path::new(certificate_path), limits::CERTIFICATE_BYTES).map_err(|error| {
        let fix = "give the absolute path of a file that nobody else can change";
        wrong("certPath", certificate_path, home::chain(&error), fix)
    })?;
    let fix = "give the absolute path of a file that its owner alone can read (`chmod 600`)";
    let key = OwnerFile::at(key_path).read(limits::CERTIFICATE_BYTES);
    let key = key.map_err(|error| wrong("keyPath", key_path, home::chain(&error), fix))?;
    let key = key.ok_or_else(|| wrong("keyPath", key_path, "there is no such file".into(), fix))?;
    let key = Zeroizing::new(key);
    ServerIdentity::from_pem(&chain, &key, clock::now_ms()).map_err(|error| match &error {
        IdentityError::Missing { what: "key" } | IdentityError::Mismatch { .. } => {
            wrong("keyPath", key_path, home::chain(&error), "give the key of the certificate in certPath")
        }
        _ => {
            let fix = "renew it, or remove certPath and keyPath to have one made";
            wrong("certPath", certificate_path, home::chain(&error), fix)
        }
    })
}

/// The certificate that was made here, or a new one when there is none.
fn made(
    home: &Home,
    gateway: &GatewayConfig,
    own: &[IpAddr],
    ledger: &Ledger,
) -> anyhow::Result<ServerIdentity> {
    let permit = record(SecretPermit::for_owner(SecretAct::Load, MADE, "gateway"), ledger);
    let permit = permit.map_err(|error| Exit::Busy.because(error))?;
    let secrets = home.vault()?.secrets(&permit);
    let store = SecretStore::of(&home.state);
    let failed = |error: &dyn std::error::Error| Exit::Config.because(home::chain(error));
    let kept = store.get(MADE, &secrets).map_err(|error| failed(&error))?;
    let pem = match kept {
        Some(pem) => pem,
        None => {
            let pem = make(gateway, own)?;
            let permit = record(SecretPermit::for_owner(SecretAct::Seal, MADE, "gateway"), ledger);
            let permit = permit.map_err(|error| Exit::Busy.because(error))?;
            let secrets = home.vault()?.secrets(&permit);
            store.set(MADE, &pem, clock::now_ms(), &secrets).map_err(|error| failed(&error))?;
            pem
        }
    };
    let bytes = pem.expose_secret().as_bytes();
    let identity = ServerIdentity::from_pem(bytes, bytes, clock::now_ms()).map_err(|error| {
        Exit::Config.because(format!(
            "the certificate that was made for the gateway (the secret {MADE}) cannot be used: {}; `moltbot secrets unset \
             --store {MADE}` has the next start make another",
            home::chain(&error)
        ))
    })?;
    copy(home, &pem)?;
    Ok(identity)
}

/// A certificate for every name that this machine may be called by, and its key, in one text.
fn make(gateway: &GatewayConfig, own: &[IpAddr]) -> anyhow::Result<SecretString> {
    let mut names: Vec<String> = ["localhost", "127.0.0.1", "::1"].map(str::to_owned).to_vec();
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let is_name =
        |name: &str| !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "-.".contains(c));
    names.extend(Some(host).filter(|host| is_name(host)));
    names.extend(gateway.custom_bind_host.map(|address| address.0.to_string()));
    names.extend(own.iter().map(ToString::to_string));
    names.extend(gateway.allowed_hosts.iter().map(|host| host.0.clone()));
    names.sort_unstable();
    names.dedup();
    let made = make_certificate(&names, clock::now_ms()).map_err(|error| home::failed(&error))?;
    Ok(SecretString::from(format!("{}{}", made.certificate, made.key.expose_secret())))
}

/// The public part, for clients that are given the certificate as their authority.
fn copy(home: &Home, pem: &SecretString) -> anyhow::Result<()> {
    let certificate = pem.expose_secret().split("-----BEGIN PRIVATE KEY").next().unwrap_or_default();
    let folder = home.state.folder(FOLDER).map_err(|error| home::failed(&error))?;
    let kept = folder.read(COPY, limits::CERTIFICATE_BYTES).map_err(|error| home::failed(&error))?;
    if kept.as_deref() != Some(certificate.as_bytes()) {
        folder.write(COPY, certificate.as_bytes()).map_err(|error| home::failed(&error))?;
    }
    Ok(())
}
