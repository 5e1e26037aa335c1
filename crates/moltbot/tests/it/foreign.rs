//! Clients that other people wrote: the official OpenAI libraries for Python and Node.

use std::path::PathBuf;
use std::process::Command;

use moltbot_testkit::home::Home;
use moltbot_testkit::model::ScriptedModel;
use moltbot_testkit::process::{Gateway, run};
use moltbot_testkit::skip::skip;
use serde_json::json;

const PROGRAM: &str = env!("CARGO_BIN_EXE_moltbot");
/// An address of loopback that is, to the gateway, one of the network.
const ADDRESS: &str = "127.0.0.5";

pub(crate) fn repository() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap().to_path_buf()
}

/// Where `make test` put the libraries.
pub(crate) fn tools() -> PathBuf {
    repository().join("target/test-tools")
}

fn talk(program: PathBuf, script: &str, name: &str, there: bool) {
    if !there {
        return skip(name, "its library is not installed; `make test` installs it");
    }
    let model = ScriptedModel::echo();
    let home = Home::with_model(&model);
    home.change_config(|config| {
        config["gateway"]["http"]["endpoints"] = json!({"responses": {"enabled": true}});
    });
    let gateway = Gateway::start(PROGRAM, &home);
    pass(
        program,
        script,
        &format!("http://127.0.0.1:{}/v1", gateway.port()),
        &gateway,
        &[("RESPONSES", "1")],
    );
}

/// The same on another address over TLS, with the certificate that the gateway made as all that is believed.
fn talk_over_tls(program: PathBuf, script: &str, name: &str, there: bool) {
    if !there {
        return skip(name, "its library is not installed; `make test` installs it");
    }
    let model = ScriptedModel::echo();
    let home = Home::with_model(&model);
    home.change_config(|config| {
        config["gateway"]["bind"] = json!("custom");
        config["gateway"]["customBindHost"] = json!(ADDRESS);
        config["gateway"]["tls"] = json!({"enabled": true});
    });
    let gateway = Gateway::start(PROGRAM, &home);
    let certificate = home.state_path().join("tls/gateway.pem").display().to_string();
    let fingerprint = run(PROGRAM, &home, &["gateway", "fingerprint"]).stdout;
    let fingerprint = String::from_utf8(fingerprint).unwrap().trim().to_owned();
    let port = gateway.port().to_string();
    let environment = [
        ("SSL_CERT_FILE", certificate.as_str()),
        ("NODE_EXTRA_CA_CERTS", &certificate),
        ("FINGERPRINT", &fingerprint),
        ("HOST", ADDRESS),
        ("PORT", &port),
        // Of its own since Node 20; without asking since 22.
        ("NODE_OPTIONS", "--experimental-websocket"),
    ];
    pass(program, script, &format!("https://{ADDRESS}:{port}/v1"), &gateway, &environment);
}

#[expect(clippy::disallowed_methods, reason = "a foreign client, as a child of the test")]
fn pass(program: PathBuf, script: &str, url: &str, gateway: &Gateway, environment: &[(&str, &str)]) {
    let output = Command::new(program)
        .arg(repository().join("tests/compat").join(script))
        .env("BASE_URL", url)
        .env("TOKEN", gateway.token())
        .env("MODULES", tools().join("node"))
        .env("NO_PROXY", "*")
        .envs(environment.iter().copied())
        .output()
        .unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && out.trim() == "passed", "{out}{err}");
}

#[test]
fn the_openai_library_for_python_talks_to_us() {
    let python = tools().join("python/bin/python");
    let there = python.exists();
    talk(python, "openai_client.py", "the_openai_library_for_python_talks_to_us", there);
}

#[test]
fn the_openai_library_for_node_talks_to_us() {
    let there = tools().join("node/node_modules/openai").exists();
    talk("node".into(), "openai_client.mjs", "the_openai_library_for_node_talks_to_us", there);
}

#[test]
fn the_openai_library_for_python_talks_to_us_over_tls() {
    let python = tools().join("python/bin/python");
    let there = python.exists();
    talk_over_tls(python, "openai_client.py", "the_openai_library_for_python_talks_to_us_over_tls", there);
}

#[test]
fn the_openai_library_for_node_talks_to_us_over_tls() {
    let there = tools().join("node/node_modules/openai").exists();
    talk_over_tls(
        "node".into(),
        "openai_client.mjs",
        "the_openai_library_for_node_talks_to_us_over_tls",
        there,
    );
}

#[test]
fn node_sees_the_fingerprint_and_chats_over_its_own_websocket() {
    talk_over_tls(
        "node".into(),
        "tls_chat.mjs",
        "node_sees_the_fingerprint_and_chats_over_its_own_websocket",
        true,
    );
}
