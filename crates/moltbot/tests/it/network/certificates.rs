//! The gateway's certificate: one that was made, and the owner's with everything that can be wrong with it.

use std::path::Path;

use moltbot_testkit::home::Home;
use moltbot_testkit::model::ScriptedModel;
use moltbot_testkit::process::{Gateway, run};
use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use serde_json::json;

use super::{
    ADDRESS, PROGRAM, answer, believing, certificate, home, is_private, request, require_no_start, secured,
    text, tls,
};
use crate::secrets::files;

/// Made once, sealed with its key, kept over restarts, and told wherever the owner looks.
#[test]
fn a_made_certificate_is_kept_and_its_key_is_in_no_file() {
    let model = ScriptedModel::echo();
    let home = home(&model, tls);
    let none = run(PROGRAM, &home, &["gateway", "fingerprint"]);
    assert_eq!(none.status.code(), Some(69), "{}", text(&none));
    let mut gateway = Gateway::start(PROGRAM, &home);
    let fingerprint = text(&run(PROGRAM, &home, &["gateway", "fingerprint"])).trim().to_owned();
    assert_eq!(fingerprint.matches(':').count(), 31, "{fingerprint}");
    assert_eq!(fingerprint, openssl_fingerprint(&certificate(&home)), "what another program says");
    for command in [&["gateway", "status"][..], &["status"]] {
        let told = text(&run(PROGRAM, &home, command));
        assert!(told.contains(&fingerprint) && told.contains(&format!("https://{ADDRESS}:")), "{told}");
    }
    assert!(gateway.printed().contains(&fingerprint), "{}", gateway.printed());
    assert!(is_private(&certificate(&home)));
    gateway.terminate();
    // The command line's own device key is in the form of existing clients.
    for (path, bytes) in files(home.path()).into_iter().filter(|(path, _)| !path.ends_with("device.json")) {
        assert!(!bytes.windows(11).any(|window| window == b"PRIVATE KEY"), "{path} has a key in it");
    }
    gateway.restart(&home);
    assert_eq!(text(&run(PROGRAM, &home, &["gateway", "fingerprint"])).trim(), fingerprint);
    gateway.terminate();
    let removed = run(PROGRAM, &home, &["secrets", "unset", "--store", "gateway-tls"]);
    assert!(removed.status.success(), "{}", text(&removed));
    gateway.restart(&home);
    assert_ne!(text(&run(PROGRAM, &home, &["gateway", "fingerprint"])).trim(), fingerprint);
}

/// Python's own TLS says what the certificate's digest is.
#[expect(clippy::disallowed_methods, reason = "a foreign program, as a child of the test")]
fn openssl_fingerprint(certificate: &Path) -> String {
    const SCRIPT: &str = "import hashlib,ssl,sys; d=hashlib.sha256(ssl.PEM_cert_to_DER_cert(open(sys.argv[1]).read()))\n\
                          print(':'.join(f'{byte:02X}' for byte in d.digest()))";
    let output =
        std::process::Command::new("python3").args(["-c", SCRIPT]).arg(certificate).output().unwrap();
    text(&output).trim().to_owned()
}

struct Pair {
    certificate: String,
    key: String,
}

fn pair(change: impl FnOnce(&mut CertificateParams)) -> Pair {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec![ADDRESS.to_owned()]).unwrap();
    change(&mut params);
    Pair { certificate: params.self_signed(&key).unwrap().pem(), key: key.serialize_pem() }
}

/// A home with these files as its certificate and key, the key with that mode.
#[expect(clippy::disallowed_methods, reason = "files of the owner's")]
fn with(model: &ScriptedModel, pair: &Pair, mode: u32) -> Home {
    let home = home(model, |_| ());
    let (certificate, key) = (home.path().join("own.pem"), home.path().join("own.key"));
    std::fs::write(&certificate, &pair.certificate).unwrap();
    std::fs::write(&key, &pair.key).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(mode);
    std::fs::set_permissions(&key, mode).unwrap();
    let tls = json!({"enabled": true, "certPath": certificate.display().to_string(), "keyPath": key.display().to_string()});
    home.change_config(|config| config["gateway"]["tls"] = tls);
    home
}

#[test]
fn the_owners_certificate_is_shown() {
    let model = ScriptedModel::echo();
    let home = with(&model, &pair(|_| ()), 0o600);
    let _gateway = Gateway::start(PROGRAM, &home);
    let own = home.path().join("own.pem");
    let stream = secured(believing(&own), ADDRESS, home.port()).unwrap();
    let host = format!("{ADDRESS}:{}", home.port());
    assert!(answer(stream, &request(&[("host", &host)])).ends_with(b"ok"));
    assert!(!certificate(&home).exists(), "none is made beside it");
}

/// What is wrong stops the start, and is told with the setting, its value and what to do.
#[test]
fn a_certificate_or_key_that_is_wrong_stops_the_start_and_is_told() {
    let model = ScriptedModel::echo();
    let expired = pair(|params| {
        (params.not_before, params.not_after) = (date_time_ymd(2019, 1, 1), date_time_ymd(2020, 2, 3));
    });
    require_no_start(
        &with(&model, &expired, 0o600),
        78,
        &["gateway.tls.certPath", "own.pem", "2020-02-03", "renew"],
    );
    let early = pair(|params| params.not_before = date_time_ymd(2090, 1, 1));
    require_no_start(&with(&model, &early, 0o600), 78, &["gateway.tls.certPath", "2090-01-01"]);
    let stranger = Pair { key: pair(|_| ()).key, ..pair(|_| ()) };
    require_no_start(
        &with(&model, &stranger, 0o600),
        78,
        &["gateway.tls.keyPath", "own.key", "does not belong"],
    );
    require_no_start(
        &with(&model, &pair(|_| ()), 0o644),
        78,
        &["gateway.tls.keyPath", "own.key", "644", "chmod 600"],
    );
    for (certificate, key, words) in [
        ("no certificate", None, "gateway.tls.certPath"),
        ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", None, "gateway.tls.certPath"),
        ("", Some("no key"), "gateway.tls.keyPath"),
    ] {
        let mut wrong = pair(|_| ());
        match key {
            None => wrong.certificate = certificate.to_owned(),
            Some(key) => wrong.key = key.to_owned(),
        }
        require_no_start(&with(&model, &wrong, 0o600), 78, &[words]);
    }
    for (settings, words) in [
        (json!({"enabled": true, "certPath": "/none.pem", "keyPath": "/none.key"}), "/none.pem"),
        (json!({"enabled": true, "certPath": "/none.pem"}), "belong together"),
        (json!({"enabled": true, "autoGenerate": false}), "gateway.tls.autoGenerate"),
    ] {
        require_no_start(&home(&model, |gateway| gateway["tls"] = settings), 78, &[words]);
    }
}
